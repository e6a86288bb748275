package nfs

import (
	"sync"
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
	guest := harness.Guest{Net: s.Net, Realtime: true, Timeout: 5 * time.Minute}
	res := guest.Run(t, lockScript)
	if res.Code != 0 || res.Stdout != lockOutput {
		t.Errorf("exit code %d\nstdout:\n%s\nwant:\n%s\nstderr:\n%s", res.Code, res.Stdout, lockOutput, res.Stderr)
	}
}

const reclaimScript = `
mount -t nfs -o vers=3,proto=tcp,hard $SERVER:/ /mnt || exit 1
echo data >/mnt/f
cat >/tmp/hold.py <<'PY'
import fcntl, os, time
f = open("/mnt/f", "r+")
fcntl.lockf(f, fcntl.LOCK_EX, 10, 5)
print("locked")
while not os.path.exists("/mnt/go"):
    time.sleep(0.2)
fcntl.lockf(f, fcntl.LOCK_UN, 10, 5)
print("unlocked")
PY
python3 -u /tmp/hold.py; rc=$?
umount /mnt; exit $rc
`

// A lock outlives a crash of the server: the client is told of the restart and
// takes its lock again.
func TestLockIsReclaimedAfterCrash(t *testing.T) {
	s := harness.StartServer(t)
	held := func(r *harness.REST) int {
		t.Helper()
		var doc struct{ Grants []map[string]any }
		r.Must(t, "GET", "/v1/files/locks/nlm/byte-range/", nil, &doc)
		return len(doc.Grants)
	}
	locked, done := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var res harness.Result
	go func() {
		defer close(done)
		defer once.Do(func() { close(locked) })
		guest := harness.Guest{Net: s.Net, Realtime: true, Timeout: 6 * time.Minute, OnLine: func(line string) {
			if line == "locked" {
				once.Do(func() { close(locked) })
			}
		}}
		res = guest.Run(t, reclaimScript)
	}()
	<-locked
	if n := held(s.Login(t)); n != 1 {
		t.Errorf("%d locks are held, want 1", n)
	}
	s.Kill9()
	s.Start(t)
	r := s.Login(t)
	if !harness.Within(90*time.Second, func() bool { return held(r) == 1 }) {
		t.Error("the lock was not reclaimed")
	}
	r.Must(t, "POST", "/v1/files/2/entries/", map[string]string{"action": "CREATE_FILE", "name": "go"}, nil)
	<-done
	if res.Code != 0 || res.Stdout != "locked\nunlocked\n" {
		t.Errorf("exit code %d\n%s\n%s", res.Code, res.Stdout, res.Stderr)
	}
	if n := held(r); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}
