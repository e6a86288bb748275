package nfs

import (
	"sync/atomic"
	"testing"
	"time"

	"manifold/e2e/harness"
)

// rideScript copies files with and without fsync and asks for kills while
// dirty pages, unstable writes and calls are under way.
const rideScript = `
mount -t nfs -o vers=3,proto=tcp,nolock,hard $SERVER:/ /mnt || exit 1
mkdir /tmp/src
for i in $(seq 60); do head -c $((i * 13001)) /dev/urandom >/tmp/src/f$i; done
writer() {
  for i in $(seq 60); do
    cp /tmp/src/f$i /mnt/f$i || exit 1
    [ $((i % 7)) = 0 ] && { sync -d /mnt/f$i || exit 1; }
    mv /mnt/f$i /mnt/g$i || exit 1
  done
  dd if=/tmp/src/f60 of=/mnt/big bs=1M conv=fsync 2>/dev/null || exit 1
}
writer & w=$!
for k in 1 2 3 4; do sleep 0.7; echo kill; sleep 1.5; done
wait $w || { echo "the writer failed"; exit 1; }
sync; echo 3 >/proc/sys/vm/drop_caches
for i in $(seq 60); do cmp /tmp/src/f$i /mnt/g$i || exit 1; done
cmp /tmp/src/f60 /mnt/big || exit 1
test $(ls /mnt | wc -l) = 61 || { ls /mnt; exit 1; }
umount /mnt; echo done
`

// A mounted kernel client rides through crashes of the server: it repeats its
// calls and, since the write verifier changes, its uncommitted writes.
func TestClientRidesThroughCrashes(t *testing.T) {
	s := harness.StartServer(t)
	var kills atomic.Int32
	guest := harness.Guest{Net: s.Net, Realtime: true, Timeout: 8 * time.Minute, OnLine: func(line string) {
		if line != "kill" {
			return
		}
		s.Kill9()
		if err := s.Launch(); err != nil {
			t.Error(err)
			return
		}
		kills.Add(1)
	}}
	res := guest.Run(t, rideScript)
	if res.Code != 0 {
		t.Errorf("exit code %d\n%s\n%s", res.Code, res.Stdout, res.Stderr)
	}
	if n := kills.Load(); n != 4 {
		t.Errorf("%d kills", n)
	}
	s.Stop(t)
	s.Fsck(t)
}
