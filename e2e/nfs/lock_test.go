package nfs

import (
	"testing"
	"time"

	"manifold/e2e/harness"
)

// lockScript goes through lockd and NLM to the server; the conflict within one
// client is its kernel's, the last lock shows that the unlock arrived.
const lockScript = `
mount -t nfs -o vers=3,proto=tcp $SERVER:/ /mnt || exit 1
cd /mnt; echo data >f
cat >/tmp/lock.py <<'PY'
import errno, fcntl, os
f = open("/mnt/f", "r+")
fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 1)
print("locked")
if os.fork() == 0:
    g = open("/mnt/f", "r+")
    try:
        fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2)
        print("child got it too")
    except OSError as e:
        print("child:", errno.errorcode[e.errno])
    fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 4)
    print("child has another range")
    os._exit(0)
os.wait()
fcntl.lockf(f, fcntl.LOCK_UN, 3, 1)
fcntl.lockf(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
print("done")
PY
python3 -u /tmp/lock.py
cd /; umount /mnt
`

const lockOutput = `locked
child: EAGAIN
child has another range
done
`

func TestLocks(t *testing.T) {
	s := harness.StartServer(t)
	guest := harness.Guest{Net: s.Net, Realtime: true, Timeout: 2 * time.Minute}
	res := guest.Run(t, lockScript)
	if res.Code != 0 || res.Stdout != lockOutput {
		t.Errorf("exit code %d\nstdout:\n%s\nwant:\n%s\nstderr:\n%s", res.Code, res.Stdout, lockOutput, res.Stderr)
	}
}
