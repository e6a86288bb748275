package smb

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/nfsclient"
)

// lockBoth locks the same bytes through both mounts of the kernel, either first.
// Without a cache its SMB client asks the server for every lock.
const lockBoth = mountSMB + `
mkdir /mnt/n && mount -t nfs -o vers=3,proto=tcp,noac $SERVER:/ /mnt/n && cifs vers=3.1.1,cache=none || exit 1
cat >/tmp/lock.py <<'PY'
import fcntl
def hold(path):
    f = open(path, "r+")
    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 3, 1)
    return f
open("/mnt/n/f", "w").write("data and more")
for one, two in ("/mnt/s/f", "/mnt/n/f"), ("/mnt/n/f", "/mnt/s/f"):
    f = hold(one)
    try:
        hold(two).close()
        print(one, two, "both")
    except OSError:
        print(one, two, "conflict")
    f.close()
    hold(two).close()
PY
python3 -u /tmp/lock.py || exit 2
umount /mnt/s /mnt/n
`

// Byte ranges and share modes of SMB and NFS are independent of each other, and
// conflict with strict locking.
func TestStrictLocking(t *testing.T) {
	for name, args := range map[string][]string{"default": nil, "strict": {"--strict-locking"}} {
		t.Run(name, func(t *testing.T) {
			harness.Require(t, "smbtorture")
			s := harness.StartServer(t, args...)
			outcome := "both"
			if args != nil {
				outcome = "conflict"
			}
			guest := harness.Guest{Net: s.Net, Realtime: true, Timeout: 3 * time.Minute}
			res := guest.Run(t, lockBoth)
			if want := fmt.Sprintf("/mnt/s/f /mnt/n/f %s\n/mnt/n/f /mnt/s/f %[1]s\n", outcome); res.Code != 0 || res.Stdout != want {
				t.Errorf("exit code %d, got\n%s\nwant\n%s\n%s", res.Code, res.Stdout, want, res.Stderr)
			}
			shareModes(t, s, args != nil)
		})
	}
}

// shareModes writes and reads over NFS what an SMB client holds open with every
// share mode; files are named after those.
func shareModes(t *testing.T, s *harness.Server, strict bool) {
	dir := t.TempDir()
	cmd := exec.Command("smbtorture", "-p", "445", "-U", "admin%"+harness.Password, "--option=lock directory="+dir, "--option=private dir="+dir,
		"--option=state directory="+dir, "--option=cache directory="+dir, "--basedir="+dir, "//"+netns.Server+"/Files", "smb2.hold-sharemode")
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	p, err := s.Net.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		p.Kill()
		if t.Failed() {
			t.Logf("the client said\n%s", &said)
		}
	}()
	c := s.NFS(t, nfsclient.Cred{})
	ctx := t.Context()
	root, err := c.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	// The last that it opens is there when all are open.
	var held nfsclient.Handle
	all := func() bool {
		if held, _, err = c.Lookup(ctx, root, "sharemode_hold_test"); err == nil {
			_, _, err = c.Lookup(ctx, held, "RWD")
		}
		return err == nil
	}
	if !harness.Within(20*time.Second, all) {
		t.Fatal(err)
	}
	var last nfsclient.Handle
	for _, mode := range []string{"N", "R", "W", "D", "RW", "RD", "WD", "RWD"} {
		h, _, err := c.Lookup(ctx, held, mode)
		if err != nil {
			t.Fatal(mode, err)
		}
		expect := func(what string, err error, allowed bool) {
			t.Helper()
			if allowed = allowed || !strict; allowed != (err == nil) || err != nil && !errors.Is(err, nfsclient.Jukebox) {
				t.Errorf("%s beside an open that shares %s: %v", what, mode, err)
			}
		}
		_, err = c.Write(ctx, h, 0, []byte("x"), nfsclient.FileSync)
		expect("write", err, strings.Contains(mode, "W"))
		_, _, err = c.Read(ctx, h, 0, 1)
		expect("read", err, strings.Contains(mode, "R"))
		if mode == "N" {
			last = h
		}
	}
	p.Kill()
	// With its connection the client's opens go.
	gone := func() bool {
		_, err = c.Write(ctx, last, 0, []byte("y"), nfsclient.FileSync)
		return err == nil
	}
	if !harness.Within(20*time.Second, gone) {
		t.Errorf("write after the client was lost: %v", err)
	}
}
