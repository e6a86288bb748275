package nfs

import (
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/peers"
)

// slice is a first walk through a mount at /mnt; its output is the same on
// every server.
const slice = `
set -e
cd /mnt
mkdir -m 750 d
echo hello >d/f
echo world >>d/f
cat d/f
cp d/f d/g; ln d/f d/h; ln -s f d/s
mv d/g d/i
chmod 640 d/f
stat -c '%n %F %a' d; stat -c '%n %F %a %h %s' d/f d/s
ls -1 d
dd if=/dev/zero of=d/big bs=1M count=8 conv=fsync 2>/dev/null
printf x | dd of=d/big bs=1 seek=5000000 conv=notrunc 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
md5sum <d/big
truncate -s 100000000 d/sparse; stat -c %s d/sparse; rm d/sparse
touch -d '2001-02-03 04:05:06.789' d/f; stat -c %Y d/f
mkfifo d/p; test -p d/p
rmdir d 2>/dev/null || echo not empty
rm -r d
ls -1a | grep -v snapshot
`

const sliceOutput = `hello
world
d directory 750
d/f regular file 640 2 12
d/s symbolic link 777 1 1
f
h
i
s
36f84be4c29c526a1c803a0a5c44d862  -
100000000
981173106
not empty
.
..
`

func TestSlice(t *testing.T) {
	s := harness.StartServer(t)
	idle, err := harness.UsageOf(s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("resident when idle: %d MiB", idle.ResidentBytes>>20)
	if idle.ResidentBytes > 150<<20 {
		t.Error("more than 150 MiB")
	}
	// Without ports: the client asks rpcbind for NFS and MOUNT.
	checkSlice(t, s.Net, "mount -t nfs -o vers=3,proto=tcp,nolock $SERVER:/ /mnt || exit 1")
	s.Stop(t)
	s.Fsck(t)
}

// The expectations are those of an independent server.
func TestSlice_ganesha(t *testing.T) {
	g := peers.StartGanesha(t, t.TempDir())
	checkSlice(t, g.Net, "mount -t nfs -o vers=3,proto=tcp,port=2049,mountport=20048,mountproto=tcp,nolock $SERVER:"+g.Dir+" /mnt || exit 1")
}

func checkSlice(t *testing.T, net *netns.Namespace, mount string) {
	t.Helper()
	guest := harness.Guest{Net: net, Realtime: true, Timeout: 5 * time.Minute}
	res := guest.Run(t, mount+"\n"+slice)
	if res.Code != 0 || res.Stdout != sliceOutput {
		t.Errorf("exit code %d\nstdout:\n%s\nwant:\n%s\nstderr:\n%s", res.Code, res.Stdout, sliceOutput, res.Stderr)
	}
}
