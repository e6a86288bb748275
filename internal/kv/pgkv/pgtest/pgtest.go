// Package pgtest starts real PostgreSQL servers for tests: as the server's own
// user where the test is root, on sockets in directories of the test, ending
// with it. In CI a missing server fails the test.
//
// The package must not know what is kept in the database.
package pgtest

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

// Server is a PostgreSQL of a test's own, on a socket in its directory. The
// server refuses to be root, so as root it runs as the user postgres.
type Server struct {
	// Dir has the socket and the data below.
	Dir  string
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

// Run runs a tool of the server's package to its end.
func (s *Server) Run(tb testing.TB, name string, args ...string) {
	tb.Helper()
	cmd := exec.Command(filepath.Join(binDir, name), args...)
	cmd.SysProcAttr = s.cred
	cmd.Dir = s.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// Data is the directory of the database.
func (s *Server) Data() string { return filepath.Join(s.Dir, "data") }

// DSN names the database of this server and those after it.
func DSN(all ...*Server) string {
	hosts := ""
	for _, s := range all {
		if hosts != "" {
			hosts += ","
		}
		hosts += s.Dir
	}
	return fmt.Sprintf("host=%s user=postgres dbname=postgres target_session_attrs=read-write", hosts)
}

// Start makes a database and starts it.
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	s := &Server{cred: need(tb)}
	s.Dir = newDir(tb, s.cred)
	s.Run(tb, "initdb", "-D", s.Data(), "-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale", "C")
	s.Start(tb, options...)
	return s
}

// Start runs the server until the test ends and waits until it answers.
func (s *Server) Start(tb testing.TB, options ...string) {
	tb.Helper()
	args := []string{"-D", s.Data(), "-k", s.Dir, "-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c", "max_connections=120", "-c", "autovacuum=off"}
	for _, o := range options {
		args = append(args, "-c", o)
	}
	log := &serverLog{ready: make(chan struct{})}
	cmd := exec.Command(filepath.Join(binDir, "postgres"), args...)
	cmd.SysProcAttr, cmd.Dir, cmd.Stderr = s.cred, s.Dir, log
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

// Kill ends the server and all its processes as a power cut does.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		tb.Fatal(err)
	}
	<-s.done
}

// SQL runs one statement.
func (s *Server) SQL(tb testing.TB, q string) {
	tb.Helper()
	c, err := pgx.Connect(tb.Context(), fmt.Sprintf("host=%s user=postgres dbname=postgres", s.Dir))
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

// Standby copies s and follows it.
func (s *Server) Standby(tb testing.TB, options ...string) *Server {
	tb.Helper()
	b := &Server{cred: s.cred, Dir: newDir(tb, s.cred)}
	b.Run(tb, "pg_basebackup", "-D", b.Data(), "-h", s.Dir, "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync")
	b.Start(tb, append(options, "primary_conninfo=host="+s.Dir+" user=postgres")...)
	return b
}

// Schema makes an empty schema and returns the connection string that uses it.
func (s *Server) Schema(tb testing.TB, name string) string {
	tb.Helper()
	s.SQL(tb, "create schema "+name)
	return DSN(s) + " search_path=" + name
}
