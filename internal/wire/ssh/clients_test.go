package ssh_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/internal/fs"
)

// need skips on a laptop without the programs, and fails in CI.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing: make setup", p)
			}
			t.Skipf("%s is missing: make setup", p)
		}
	}
}

func (w *world) options(user string) []string {
	return []string{
		"-F", "none", "-i", filepath.Join(w.dir, "id"), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no",
		"-o", "UserKnownHostsFile=" + filepath.Join(w.dir, "hosts"), "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "User=" + user,
	}
}

// sftp runs a batch of commands of OpenSSH's client.
func (w *world) sftp(user, batch string) (string, error) {
	w.t.Helper()
	args := append(w.options(user), "-P", w.port, "-b", "-", "127.0.0.1")
	c := exec.CommandContext(w.t.(*testing.T).Context(), "sftp", args...)
	c.Stdin = strings.NewReader(batch)
	c.Dir = w.dir
	out, err := c.CombinedOutput()
	return string(out), err
}

func (w *world) run(name string, args ...string) string {
	w.t.Helper()
	c := exec.CommandContext(w.t.(*testing.T).Context(), name, args...)
	c.Dir = w.dir
	out, err := c.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func (w *world) write(name string, size int, seed uint64) []byte {
	w.t.Helper()
	b := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = rnd.Read(b)
	p := filepath.Join(w.dir, name)
	must(w.t, os.MkdirAll(filepath.Dir(p), 0o755))
	must(w.t, os.WriteFile(p, b, 0o640))
	return b
}

func (w *world) same(name string, want []byte) {
	w.t.Helper()
	got, err := os.ReadFile(filepath.Join(w.dir, name))
	must(w.t, err)
	if sha256.Sum256(got) != sha256.Sum256(want) {
		w.t.Errorf("%s has %d bytes that are not the %d that were put", name, len(got), len(want))
	}
}

func TestClient_sftp(t *testing.T) {
	need(t, "sftp")
	w := newWorld(t, nil)
	data := w.write("local", 3<<20+17, 1)
	w.write("empty", 0, 0)
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	must(t, os.Chtimes(filepath.Join(w.dir, "local"), old, old))
	out, err := w.sftp("ann", `
put -p local remote
put empty
put -f local flushed
ls -l
mkdir dir
chmod 600 remote
rename remote dir/moved
symlink moved dir/link
ln dir/moved dir/hard
ls -la dir
copy dir/moved dir/copied
get -p dir/moved back
get dir/link back2
get dir/copied back3
get empty back4
df -h
df -i
lpwd
pwd
rm dir/hard
rm dir/link
rm dir/moved
rm dir/copied
rmdir dir
ls -1
`)
	must2(t, out, err)
	for _, f := range []string{"back", "back2", "back3"} {
		w.same(f, data)
	}
	w.same("back4", nil)
	st, err := os.Stat(filepath.Join(w.dir, "back"))
	must(t, err)
	if st.Mode().Perm() != 0o600 || !st.ModTime().Equal(old) {
		t.Errorf("mode %v, time %v, want 0600 and %v", st.Mode(), st.ModTime(), old)
	}
	for _, want := range []string{"-rw-r-----", "lrwxrwxrwx", "Remote working directory: /"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if !strings.HasSuffix(out, "empty\nflushed\nhome\nsecret\n") {
		t.Errorf("the end is\n%s", out)
	}
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	for _, op := range []string{"posix-rename@openssh.com", "hardlink@openssh.com", "statvfs@openssh.com", "fsync@openssh.com", "copy-data", "limits@openssh.com"} {
		if !strings.Contains(strings.Join(w.seen.ops, " "), op) {
			t.Errorf("%s was not used", op)
		}
	}
}

func must2(t *testing.T, out string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestClient_sftpResume(t *testing.T) {
	need(t, "sftp")
	w := newWorld(t, nil)
	data := w.write("local", 1<<20, 2)
	must(t, os.WriteFile(filepath.Join(w.dir, "part"), data[:300_000], 0o600))
	out, err := w.sftp("ann", "put part remote\nreput local remote\nget remote whole\n")
	must2(t, out, err)
	w.same("whole", data)
	out, err = w.sftp("ann", "reget remote part\n")
	must2(t, out, err)
	w.same("part", data)
}

func TestClient_trees(t *testing.T) {
	need(t, "sftp", "scp", "diff")
	w := newWorld(t, nil)
	for i := range 300 {
		w.write(fmt.Sprintf("tree/d%d/e%d/f%d", i%7, i%3, i), i*37, uint64(i))
	}
	w.write("tree/sp ace/ü\"'", 100, 3)
	out, err := w.sftp("ann", "put -r tree\nget -r tree back\n")
	must2(t, out, err)
	w.run("diff", "-r", "tree", "back")

	scp := append(w.options("ann"), "-s", "-P", w.port)
	w.run("scp", append(scp, "-r", "-p", "tree", "127.0.0.1:byscp")...)
	w.run("scp", append(scp, "-r", "-p", "127.0.0.1:byscp", "back2")...)
	w.run("diff", "-r", "tree", "back2")
	w.run("scp", append(scp, "127.0.0.1:byscp/d0/e0/f0", "127.0.0.1:/copy")...)
}

func TestClient_ssh(t *testing.T) {
	need(t, "ssh")
	w := newWorld(t, nil)
	c := exec.CommandContext(t.Context(), "ssh", append(w.options("ann"), "-p", w.port, "127.0.0.1", "snapshot", "list", "--json")...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); c.ProcessState == nil || c.ProcessState.ExitCode() != 7 {
		t.Fatalf("%v %s", err, errs.String())
	}
	if !strings.HasPrefix(out.String(), "ann ran snapshot list --json") {
		t.Errorf("%q", out.String())
	}
	c = exec.CommandContext(t.Context(), "ssh", append(w.options("ann"), "-tt", "-p", w.port, "127.0.0.1")...)
	c.Stdin = strings.NewReader("typed\r\x04")
	b, err := c.Output()
	if err != nil || !strings.Contains(string(b), "terminal") || !strings.Contains(string(b), "<typed> 0\r\n") {
		t.Errorf("%q %v", b, err)
	}
}

func TestClient_sftpRefusals(t *testing.T) {
	need(t, "sftp")
	w := newWorld(t, nil)
	home, err := w.fs.Lookup(t.Context(), fs.SystemCaller(), fs.Root, "home", 0)
	must(t, err)
	jail, err := w.fs.Lookup(t.Context(), fs.SystemCaller(), home.Node, "jailed", 0)
	must(t, err)
	w.make(jail.Node, "out", fs.Symlink, "../../secret")
	w.make(jail.Node, "abs", fs.Symlink, "/secret")
	w.write("local", 10, 1)
	for _, c := range []struct{ user, batch, want string }{
		{"jailed", "get ../../secret", "not found"},
		{"jailed", "get out", "No such file"},
		{"jailed", "get abs", "No such file"},
		{"jailed", "put local ../../../stolen\nls /stolen\nls -1 /stolen", "/stolen"},
		{"jailed", "mkdir .snapshot", "remote mkdir"},
		{"jailed", "put local .snapshot/x", "Permission denied"},
		{"jailed", "rename out .snapshot/x", "remote rename"},
		{"jailed", "rmdir /", "remote rmdir"},
		{"jailed", "rm /.snapshot", "remote delete"},
		{"jailed", "put local " + strings.Repeat("n", 256), "dest open"},
		{"nohome", "ls", "home directory cannot be used"},
		{"reader", "put local x", "Permission denied"},
		{"reader", "rm secret", "Permission denied"},
		{"reader", "mkdir x", "Permission denied"},
	} {
		out, err := w.sftp(c.user, c.batch+"\n")
		if strings.Contains(c.batch, "stolen") {
			must2(t, out, err)
		} else if err == nil {
			t.Errorf("%s: %q was allowed", c.user, c.batch)
		}
		if !strings.Contains(out, c.want) {
			t.Errorf("%s: %q says\n%s", c.user, c.batch, out)
		}
	}
	if _, err := w.fs.Lookup(t.Context(), fs.SystemCaller(), fs.Root, "stolen", 0); fs.KindOf(err) != fs.NotExist {
		t.Errorf("a file got out of the jail: %v", err)
	}
}
