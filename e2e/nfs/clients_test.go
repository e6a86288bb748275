package nfs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
)

// agentScript mounts, says "ready" and does what its host asks for: the file
// cmd.N is the Nth order, the line "N ..." the answer.
const agentScript = `
hostname $NAME; echo "$CLIENT $NAME" >>/etc/hosts
if [ -d /run/guest/nfs ]; then
  # What a disk would have kept over a reboot; sm-notify runs at boot.
  cp -a /run/guest/nfs/. /var/lib/nfs/; chown -R statd /var/lib/nfs
  /sbin/sm-notify -f || exit 1
fi
mount -t nfs -o vers=3,proto=tcp,hard,actimeo=0,lookupcache=none $SERVER:/ /mnt || exit 1
[ -e /mnt/f ] || echo data >/mnt/f
cat >/tmp/agent.py <<'PY'
import errno, fcntl, os, subprocess, sys, threading, time
f = open("/mnt/f", "r+b", 0)
kinds = {"EX": fcntl.LOCK_EX, "SH": fcntl.LOCK_SH}
def answer(n, fn):
    try:
        r = fn()
        r = "ok" if r is None else r
    except OSError as e:
        r = errno.errorcode[e.errno]
    print(n, r, flush=True)
def lock(kind, off, length, flag):
    fcntl.lockf(f, kinds[kind] | flag, int(length), int(off))
def unlock(off, length):
    fcntl.lockf(f, fcntl.LOCK_UN, int(length), int(off))
def other(kind, off, length):
    code = "import fcntl; f = open('/mnt/f', 'r+b', 0); fcntl.lockf(f, %d, %s, %s)" % (kinds[kind] | fcntl.LOCK_NB, length, off)
    p = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    return "ok" if p.returncode == 0 else p.stderr.strip().split("\n")[-1].split("]")[0].split(" ")[-1]
def excl(count):
    won = 0
    for i in range(int(count)):
        try:
            os.close(os.open("/mnt/excl%d" % i, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            won += 1
        except FileExistsError:
            pass
    return won
def silly():
    # A file that is open goes on after unlink and after a rename over it.
    for way in "unlink", "rename":
        with open("/mnt/s1", "w") as g:
            g.write("first")
        with open("/mnt/s2", "w") as g:
            g.write("second")
        g = open("/mnt/s1")
        if way == "unlink":
            os.unlink("/mnt/s1")
        else:
            os.rename("/mnt/s2", "/mnt/s1")
        hidden = [n for n in os.listdir("/mnt") if n.startswith(".nfs")]
        text = g.read()
        if text != "first" or len(hidden) != 1:
            return "%s: %r %r" % (way, text, hidden)
        g.close()
        # The client removes it without waiting for the answer.
        end = time.monotonic() + 10
        while hidden := [n for n in os.listdir("/mnt") if n.startswith(".nfs")]:
            if time.monotonic() > end:
                return "%s: left %r" % (way, hidden)
            time.sleep(0.05)
    return open("/mnt/s1").read()
def crash():
    subprocess.run("mkdir -p /run/guest/nfs; cp -a /var/lib/nfs/sm /var/lib/nfs/state /run/guest/nfs/; echo 0 >/run/guest/rc; sync -f /run/guest/rc; echo o >/proc/sysrq-trigger", shell=True)
    time.sleep(60)
n = int(os.environ["FIRST"])
print("ready", flush=True)
while True:
    n += 1
    order = "/run/guest/cmd.%d" % n
    while not os.path.exists(order):
        time.sleep(0.05)
    verb, *args = open(order).read().split()
    if verb == "quit":
        break
    if verb == "try":
        answer(n, lambda: lock(*args, fcntl.LOCK_NB))
    elif verb == "wait":
        threading.Thread(target=answer, args=(n, lambda a=args: lock(*a, 0))).start()
    elif verb == "other":
        threading.Thread(target=answer, args=(n, lambda a=args: other(*a))).start()
    else:
        answer(n, lambda: {"unlock": unlock, "excl": excl, "silly": silly, "crash": crash}[verb](*args))
f.close()
PY
python3 -u /tmp/agent.py; rc=$?
umount /mnt; exit $rc
`

// agent is a kernel client that takes orders.
type agent struct {
	t     *testing.T
	name  string
	dir   string
	n     int
	lines chan string
	done  chan harness.Result
	got   map[string]string
}

// startAgent boots a guest; first is how many orders a guest before it had.
func startAgent(t *testing.T, s *harness.Server, index int, name, dir string, first int) *agent {
	t.Helper()
	a := &agent{t: t, name: name, dir: dir, n: first, lines: make(chan string, 1000), done: make(chan harness.Result, 1), got: map[string]string{}}
	if err := os.MkdirAll(filepath.Join(dir, "io"), 0o755); err != nil {
		t.Fatal(err)
	}
	guest := harness.Guest{Net: s.Net, Index: index, Dir: dir, MemoryMB: 256, Realtime: true, Timeout: 8 * time.Minute,
		OnLine: func(line string) { a.lines <- line }}
	script := fmt.Sprintf("export NAME=%s FIRST=%d\n%s", name, first, agentScript)
	go func() { a.done <- guest.Run(t, script) }()
	return a
}

// await waits for the answer to an order.
func (a *agent) await(key string, limit time.Duration) string {
	a.t.Helper()
	timeout := time.After(limit)
	for {
		if r, ok := a.got[key]; ok {
			return r
		}
		select {
		case line := <-a.lines:
			k, r, _ := strings.Cut(line, " ")
			a.got[k] = r
		case res := <-a.done:
			a.t.Fatalf("%s has ended: %+v", a.name, res)
		case <-timeout:
			a.t.Fatalf("%s does not answer %s in %v; so far %v", a.name, key, limit, a.got)
		}
	}
}

// order gives an order and answers its number.
func (a *agent) order(format string, args ...any) string {
	a.t.Helper()
	a.n++
	path := filepath.Join(a.dir, "io", fmt.Sprintf("cmd.%d", a.n))
	if err := os.WriteFile(path+".new", fmt.Appendf(nil, format, args...), 0o644); err != nil {
		a.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		a.t.Fatal(err)
	}
	return fmt.Sprint(a.n)
}

func (a *agent) want(result, format string, args ...any) {
	a.t.Helper()
	if got := a.await(a.order(format, args...), 60*time.Second); got != result {
		a.t.Errorf("%s: %s is answered %q, want %q", a.name, fmt.Sprintf(format, args...), got, result)
	}
}

// TestTwoClients: locks of two kernel clients conflict, wait and are granted;
// both reclaim theirs after a crash of the server, and nobody steals one
// meanwhile; a client that reboots loses its own.
func TestTwoClients(t *testing.T) {
	s := harness.StartServer(t)
	rest := s.Login(t)
	type lock struct {
		OwnerName string `json:"owner_name"`
		Offset    string `json:"offset"`
	}
	locks := func(what string) (l []lock) {
		t.Helper()
		var doc struct{ Grants, Waiters []lock }
		rest.Must(t, "GET", "/v1/files/%2Ff/locks/nlm/byte-range/"+what, nil, &doc)
		return append(doc.Grants, doc.Waiters...)
	}
	until := func(what string, limit time.Duration, ok func() bool) {
		t.Helper()
		if !harness.Within(limit, ok) {
			t.Fatalf("%s: not in %v; held %v, waiting %v", what, limit, locks(""), locks("waiters/"))
		}
	}
	ofClient := func(name string) (n int) {
		for _, l := range locks("") {
			if l.OwnerName == name {
				n++
			}
		}
		return n
	}
	a := startAgent(t, s, 0, "alice", t.TempDir(), 0)
	a.await("ready", 90*time.Second)
	bobDir := t.TempDir()
	b := startAgent(t, s, 1, "bob", bobDir, 0)
	a.want("second", "silly")
	b.await("ready", 90*time.Second)

	a.want("ok", "try EX 0 10")
	b.want("EAGAIN", "try EX 5 10")
	b.want("ok", "try SH 20 5")
	a.want("ok", "try SH 20 5")
	a.want("EAGAIN", "try EX 20 5")
	waiting := b.order("wait EX 0 10")
	until("the request waits", 20*time.Second, func() bool { return len(locks("waiters/")) == 1 })
	a.want("ok", "unlock 0 10")
	// A client asks again by itself only after 30 s.
	if got := b.await(waiting, 20*time.Second); got != "ok" {
		t.Errorf("the lock that was waited for: %s", got)
	}
	one, two := a.order("excl 40"), b.order("excl 40")
	var won [2]int
	for i, r := range []string{a.await(one, time.Minute), b.await(two, time.Minute)} {
		if _, err := fmt.Sscan(r, &won[i]); err != nil {
			t.Error(r)
		}
	}
	if won[0]+won[1] != 40 {
		t.Errorf("of 40 exclusive creations %v succeeded", won)
	}
	a.want("ok", "try EX 100 10")

	s.Kill9()
	s.Start(t)
	rest = s.Login(t)
	thief := b.order("other EX 100 10")
	until("both reclaim", 40*time.Second, func() bool { return ofClient("alice") == 2 && ofClient("bob") == 2 })
	if got := b.await(thief, 2*time.Minute); got != "11" { // EAGAIN, after the grace period
		t.Errorf("a third party asked for a lock that was reclaimed: %s", got)
	}
	a.want("EAGAIN", "try EX 0 10")
	a.want("ok", "try EX 200 1")

	b.order("crash")
	<-b.done
	if n := ofClient("bob"); n != 2 {
		t.Errorf("a client that went silent holds %d locks, want 2", n)
	}
	b = startAgent(t, s, 1, "bob", bobDir, b.n)
	b.await("ready", 90*time.Second)
	until("locks of a client that has rebooted are freed", 30*time.Second, func() bool { return ofClient("bob") == 0 })
	a.want("ok", "try EX 0 10")
	if n := ofClient("alice"); n == 0 {
		t.Error("locks of another client are gone")
	}
	a.order("quit")
	b.order("quit")
	for _, x := range []*agent{a, b} {
		if res := <-x.done; res.Code != 0 {
			t.Errorf("%s: %+v", x.name, res)
		}
	}
	until("all locks are gone", 10*time.Second, func() bool { return len(locks("")) == 0 })
	s.Stop(t)
	s.Fsck(t)
}
