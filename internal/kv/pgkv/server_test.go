package pgkv

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// binDir is where Debian's package postgresql-15 puts the server.
const binDir = "/usr/lib/postgresql/15/bin"

// server is a PostgreSQL of a test's own, on a socket in its directory. The
// server refuses to be root, so as root it runs as the user postgres.
type server struct {
	dir  string // the socket and the data are below
	cred *syscall.SysProcAttr
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// need skips on a laptop without the server and fails in CI.
func need(tb testing.TB) *syscall.SysProcAttr {
	tb.Helper()
	missing := ""
	if _, err := os.Stat(filepath.Join(binDir, "postgres")); err != nil {
		missing = "postgresql-15"
	}
	// The server ends with the test, however that ends.
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			missing = "the user postgres"
		} else {
			uid, _ := strconv.Atoi(u.Uid)
			gid, _ := strconv.Atoi(u.Gid)
			attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	switch {
	case missing == "":
	case os.Getenv("CI") != "":
		tb.Fatalf("%s is missing: make setup, as root", missing)
	default:
		tb.Skipf("%s is missing: make setup, as root", missing)
	}
	return attr
}

// newDir makes a directory that the user of the server may enter; its path must be
// short enough for a socket.
func newDir(tb testing.TB, attr *syscall.SysProcAttr) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/tmp", "pgkv")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	if c := attr.Credential; c != nil {
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

func (s *server) run(tb testing.TB, name string, args ...string) {
	tb.Helper()
	cmd := exec.Command(filepath.Join(binDir, name), args...)
	cmd.SysProcAttr = s.cred
	cmd.Dir = s.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", name, err, out)
	}
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

// dsn names the database of this server and those after it.
func dsn(all ...*server) string {
	hosts := ""
	for _, s := range all {
		if hosts != "" {
			hosts += ","
		}
		hosts += s.dir
	}
	return fmt.Sprintf("host=%s user=postgres dbname=postgres target_session_attrs=read-write", hosts)
}

// startServer makes a database and starts it.
func startServer(tb testing.TB, options ...string) *server {
	tb.Helper()
	s := &server{cred: need(tb)}
	s.dir = newDir(tb, s.cred)
	s.run(tb, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale", "C")
	s.start(tb, options...)
	return s
}

// start runs the server until the test ends and waits until it answers.
func (s *server) start(tb testing.TB, options ...string) {
	tb.Helper()
	args := []string{"-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", "max_connections=120", "-c", "autovacuum=off"}
	for _, o := range options {
		args = append(args, "-c", o)
	}
	log := &serverLog{ready: make(chan struct{})}
	cmd := exec.Command(filepath.Join(binDir, "postgres"), args...)
	cmd.SysProcAttr, cmd.Dir, cmd.Stderr = s.cred, s.dir, log
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	done := make(chan struct{})
	s.cmd, s.done = cmd, done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	tb.Cleanup(func() {
		// SIGQUIT is the immediate shutdown; nobody needs the data again.
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		<-done
		if tb.Failed() {
			tb.Logf("the server's log: %s", log.tail())
		}
	})
	select {
	case <-log.ready:
	case <-done:
		tb.Fatalf("the server ended: %s", log.tail())
	}
}

// serverLog keeps what the server says and tells when it is ready.
type serverLog struct {
	mu    sync.Mutex
	all   bytes.Buffer
	said  bool
	ready chan struct{}
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(p)
	if !l.said && bytes.Contains(l.all.Bytes(), []byte("ready to accept")) {
		l.said = true
		close(l.ready)
	}
	return len(p), nil
}

func (l *serverLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.all.Bytes()
	return string(b[max(0, len(b)-4000):])
}

// kill ends the server and all its processes as a power cut does.
func (s *server) kill(tb testing.TB) {
	tb.Helper()
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		tb.Fatal(err)
	}
	<-s.done
}

func (s *server) sql(tb testing.TB, q string) {
	tb.Helper()
	c, err := pgx.Connect(tb.Context(), fmt.Sprintf("host=%s user=postgres dbname=postgres", s.dir))
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := c.Exec(tb.Context(), q); err != nil {
		tb.Fatalf("%s: %v", q, err)
	}
	if err := c.Close(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// schemas gives every engine a schema of its own on one server.
type schemas struct {
	s *server
	n int
}

func (x *schemas) open(t *testing.T, o Options) *Engine {
	t.Helper()
	x.n++
	x.s.sql(t, fmt.Sprintf("create schema s%d", x.n))
	o.DSN = x.dsn()
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// dsn names the schema opened last.
func (x *schemas) dsn() string { return dsn(x.s) + fmt.Sprintf(" search_path=s%d", x.n) }
