package ftpssh

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// Users of every world: ann has a home and no role.
const (
	annPassword = "Ann-has-1-too"
	annHome     = "/home/ann"
)

// world is a server with FTP switched on, and clients beside it.
type world struct {
	*testing.T
	s   *harness.Server
	dir string // of the clients
}

func newWorld(t *testing.T) *world {
	t.Helper()
	for _, p := range []string{"curl", "lftp", "python3", "ssh", "sftp", "scp", "ssh-keygen", "diff"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%s is missing: make setup, as root", p)
		}
	}
	w := &world{T: t, s: harness.StartServer(t), dir: t.TempDir()}
	w.s.MustCLI(t, "login", "--password", harness.Password)
	w.s.MustCLI(t, "ftp", "enable")
	w.s.MustCLI(t, "fs", "mkdir", "-p", annHome)
	r := w.s.Login(t)
	r.Must(t, "POST", "/v1/users/", map[string]any{"name": "ann", "primary_group": "513", "uid": "1001", "home_directory": annHome, "password": annPassword}, nil)
	w.s.MustCLI(t, "fs", "chown", "ann", annHome)
	w.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "id")
	for _, u := range []string{"admin", "ann"} {
		w.s.MustCLI(t, "ssh", "key", "add", u, filepath.Join(w.dir, "id.pub"))
	}
	return w
}

// client is a command and what it says.
func (w *world) client(stdin, name string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = strings.NewReader(stdin), &out, &out, w.dir
	cmd.Env = append(os.Environ(), "HOME="+w.dir)
	return cmd, &out
}

// start starts a client.
func (w *world) start(stdin, name string, args ...string) (*netns.Process, *bytes.Buffer) {
	w.Helper()
	cmd, out := w.client(stdin, name, args...)
	p, err := w.s.Net.Start(cmd)
	if err != nil {
		w.Fatal(err)
	}
	return p, out
}

// run answers what a client says and how it ended.
func (w *world) run(stdin, name string, args ...string) (string, error) {
	w.Helper()
	cmd, out := w.client(stdin, name, args...)
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Minute+time.Duration(treeFiles())*20*time.Millisecond)
	defer cancel()
	err := w.s.Net.Run(ctx, cmd)
	if !netns.Ran(err) {
		w.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out.String(), err
}

func (w *world) must(name string, args ...string) string {
	w.Helper()
	return w.input("", name, args...)
}

func (w *world) input(stdin, name string, args ...string) string {
	w.Helper()
	out, err := w.run(stdin, name, args...)
	if err != nil {
		w.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// fails wants a client to fail and to say why.
func (w *world) fails(want, stdin, name string, args ...string) {
	w.Helper()
	if out, err := w.run(stdin, name, args...); err == nil || !strings.Contains(out, want) {
		w.Errorf("%s %q %q: %v, want a failure with %q\n%s", name, args, stdin, err, want, out)
	}
}

// sshArgs are options of all OpenSSH clients.
func (w *world) sshArgs(user string, more ...string) []string {
	return append([]string{
		"-F", "none", "-i", filepath.Join(w.dir, "id"), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=accept-new",
		"-o", "UserKnownHostsFile=" + filepath.Join(w.dir, "hosts"), "-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "User=" + user,
	}, more...)
}

func (w *world) sftp(user, batch string) string {
	w.Helper()
	return w.input(batch, "sftp", w.sshArgs(user, "-b", "-", netns.Server)...)
}

func (w *world) curl(args ...string) string {
	w.Helper()
	return w.must("curl", append([]string{"-sS", "-k", "--ssl-reqd", "--max-time", "100", "-u", "admin:" + harness.Password}, args...)...)
}

const ftpURL = "ftp://" + netns.Server

const lftpSet = "set net:max-retries 1; set net:timeout 30; set ssl:verify-certificate no; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; "

// lftp runs a script as a user over explicit TLS.
func (w *world) lftp(script string) string {
	w.Helper()
	return w.must("lftp", "-u", "admin,"+harness.Password, netns.Server, "-e", lftpSet+script+"; exit")
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// write makes a local file of seeded content.
func (w *world) write(name string, size int, seed byte) []byte {
	w.Helper()
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), b, 0o640); err != nil {
		w.Fatal(err)
	}
	return b
}

func (w *world) same(name string, want []byte) {
	w.Helper()
	got, err := os.ReadFile(w.path(name))
	if err != nil {
		w.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		w.Errorf("%s has %d bytes that are not the %d that were sent", name, len(got), len(want))
	}
}

// treeFiles is how many files a tree has: MANIFOLD_FTPSSH_FILES, else few.
func treeFiles() int {
	if n, err := strconv.Atoi(os.Getenv("MANIFOLD_FTPSSH_FILES")); err == nil && n > 0 {
		return n
	}
	return 400
}

// tree makes a local tree: many small files, some large, awkward names, an old
// time and a symlink.
func (w *world) tree() map[string][]byte {
	w.Helper()
	files := map[string][]byte{}
	for i := range treeFiles() {
		name := fmt.Sprintf("d%d/e%d/f %d", i%23, i%7, i)
		files[name] = w.write("tree/"+name, i*37%9000, byte(i))
	}
	files["ü'\" x"] = w.write("tree/ü'\" x", 3<<20+1, 1)
	files["empty"] = w.write("tree/empty", 0, 0)
	if err := os.Symlink("d0/e0", w.path("tree/link")); err != nil {
		w.Fatal(err)
	}
	old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	if err := os.Chtimes(w.path("tree/empty"), old, old); err != nil {
		w.Fatal(err)
	}
	return files
}

// until waits for what gives no event.
func (w *world) until(what string, ok func() bool) {
	w.Helper()
	if !harness.Within(30*time.Second, ok) {
		w.Fatalf("waited in vain for %s", what)
	}
}
