package harness_test

import (
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/peers"
)

func TestGuestMountsOverNFSv3(t *testing.T) {
	g := peers.StartGanesha(t, t.TempDir())
	guest := harness.Guest{Net: g.Net, Realtime: true, Timeout: time.Minute}
	res := guest.Run(t, `
set -e
mount -t nfs -o vers=3,proto=tcp,port=2049,mountport=20048,mountproto=tcp,nolock $SERVER:`+g.Dir+` /mnt
mkdir /mnt/d; echo hello >/mnt/d/f; cat /mnt/d/f; ls /mnt
echo complaint >&2; exit 7`)
	if res.Stdout != "hello\nd\n" || res.Stderr != "complaint\n" || res.Code != 7 {
		t.Fatalf("%+v", res)
	}
}
