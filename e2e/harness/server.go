package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"manifold/api/apitest"
	"manifold/e2e/netns"
	"manifold/e2e/nfsclient"
)

// Password is the administrator's in every server that tests start.
const Password = "Harness-1"

var binary struct {
	sync.Once
	path string
	err  error
}

// Binary is the product, built once for each test binary. MANIFOLD_BINARY
// names one that exists instead.
func Binary(tb testing.TB) string {
	tb.Helper()
	binary.Do(func() {
		if binary.path = os.Getenv("MANIFOLD_BINARY"); binary.path != "" {
			return
		}
		out, err := exec.Command("go", "env", "GOMOD").Output()
		if err != nil {
			binary.err = err
			return
		}
		root := filepath.Dir(strings.TrimSpace(string(out)))
		binary.path = filepath.Join(root, "bin", "manifold")
		cmd := exec.Command("go", "build", "-o", binary.path, "./cmd/manifold")
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			binary.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if binary.err != nil {
		tb.Fatal(binary.err)
	}
	return binary.path
}

// Server is the product running in a namespace of its own, on its usual ports.
type Server struct {
	Net  *netns.Namespace
	Data string // the data directory
	Log  string // what all processes so far wrote to the terminal

	args []string
	bin  string
	home string
	proc *netns.Process

	described struct {
		mu      sync.Mutex
		checker *apitest.Checker
	}
}

// StartServer starts a server on a fresh data directory, with more arguments
// of serve if given, and waits until it serves.
func StartServer(tb testing.TB, args ...string) *Server {
	tb.Helper()
	s := NewServer(tb, args...)
	s.Start(tb)
	return s
}

// NewServer prepares what StartServer starts.
func NewServer(tb testing.TB, args ...string) *Server {
	tb.Helper()
	Require(tb, "ip")
	dir := tb.TempDir()
	s := &Server{
		Net: netns.New(tb), Data: filepath.Join(dir, "data"), Log: filepath.Join(dir, "log"),
		args: args, bin: Binary(tb), home: dir,
	}
	tb.Cleanup(func() {
		if s.proc != nil {
			s.proc.Kill()
		}
		if tb.Failed() {
			tb.Logf("the server's last words:\n%s", s.tail(200))
		}
	})
	return s
}

func (s *Server) tail(lines int) string {
	b, _ := os.ReadFile(s.Log)
	all := strings.Split(string(b), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Start starts the server and waits until the REST API answers, by when the
// protocols have to serve as well. A server that does not come up ends the test.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	if err := s.Launch(); err != nil {
		tb.Fatal(err)
	}
	if err := s.Wait(tb.Context(), 30*time.Second); err != nil {
		tb.Fatal(err)
	}
}

// Launch starts the process without waiting for it to serve.
func (s *Server) Launch() error {
	if s.proc != nil && s.Running() {
		return errors.New("the server runs already")
	}
	log, err := os.OpenFile(s.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.bin, append([]string{"serve", "--data", s.Data}, s.args...)...)
	cmd.Env = s.env()
	cmd.Stdout, cmd.Stderr = log, log
	s.proc, err = s.Net.Start(cmd)
	return err
}

func (s *Server) env() []string {
	return append(os.Environ(), "MANIFOLD_ADMIN_PASSWORD="+Password, "HOME="+s.home)
}

// Wait returns once GET /v1/version answers over TLS.
func (s *Server) Wait(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r := s.anonymous()
	defer r.Close()
	for {
		var err error
		if _, err = r.Try(ctx, "GET", "/v1/version", nil, nil); err == nil {
			return nil
		}
		select {
		case <-s.proc.Done():
			return fmt.Errorf("the server ended: %w\n%s", s.proc.Err(), s.tail(50))
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w\n%s", err, s.tail(50))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Running says whether the process lives.
func (s *Server) Running() bool {
	select {
	case <-s.proc.Done():
		return false
	default:
		return true
	}
}

// Ended is closed when the process has ended.
func (s *Server) Ended() <-chan struct{} { return s.proc.Done() }

// Kill9 kills the process and waits for its end. Start starts it again.
func (s *Server) Kill9() { s.proc.Kill() }

// Stop asks the server to end, as an init system would, and wants success.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if err := syscall.Kill(s.proc.Pid(), syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
	select {
	case <-s.proc.Done():
		if err := s.proc.Err(); err != nil {
			tb.Fatalf("after SIGTERM: %v\n%s", err, s.tail(50))
		}
	case <-time.After(30 * time.Second):
		tb.Fatalf("does not end on SIGTERM\n%s", s.tail(50))
	}
}

// Pid is the server's process.
func (s *Server) Pid() int { return s.proc.Pid() }

// NFS connects to the NFS port, which serves MOUNT as well.
func (s *Server) NFS(tb testing.TB, cred nfsclient.Cred) *nfsclient.Conn {
	tb.Helper()
	nc, err := s.Net.Dial(tb.Context(), "tcp", netns.Server+":2049")
	if err != nil {
		tb.Fatal(err)
	}
	c := nfsclient.NewConn(nc, cred)
	tb.Cleanup(func() { c.Close() })
	return c
}

// CLI runs the command line in the namespace with the server's own home
// folder, so that a login lasts. It returns both outputs.
func (s *Server) CLI(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	cmd := exec.Command(s.bin, args...)
	cmd.Env = s.env()
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = s.Net.Run(ctx, cmd)
	return out.String(), errOut.String(), err
}

// MustCLI is CLI for commands that have to succeed.
func (s *Server) MustCLI(tb testing.TB, args ...string) string {
	tb.Helper()
	out, errOut, err := s.CLI(tb.Context(), args...)
	if err != nil {
		tb.Fatalf("manifold %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut)
	}
	return out
}

// Fsck checks the data directory of a stopped server.
func (s *Server) Fsck(tb testing.TB) {
	tb.Helper()
	s.MustCLI(tb, "fsck", "--data", s.Data)
}

// Usage is what a process took so far.
type Usage struct {
	ResidentBytes uint64
	CPU           time.Duration
}

// UsageOf reads /proc.
func UsageOf(pid int) (u Usage, err error) {
	f, err := statOf(pid)
	if err != nil {
		return u, err
	}
	if u.CPU, err = cpuOf(f); err != nil {
		return u, err
	}
	pages, err := strconv.ParseUint(f[21], 10, 64)
	if err != nil {
		return u, err
	}
	u.ResidentBytes = pages * uint64(os.Getpagesize())
	return u, nil
}

// KernelThreads returns the CPU time of each of the kernel's threads by its
// pid: what journals, writes back and serves loop devices on behalf of whoever
// writes, and is in no process's own time.
func KernelThreads() (map[int]time.Duration, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	out := map[int]time.Duration{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		f, err := statOf(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		const kthreadd = "2" // the parent of them all
		if f[1] != kthreadd {
			continue
		}
		if out[pid], err = cpuOf(f); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// statOf returns the fields of /proc/PID/stat from the state on.
func statOf(pid int) ([]string, error) {
	name := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	stat, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	// The command's name, in brackets, may hold anything.
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(f) < 22 {
		return nil, fmt.Errorf("%s: %d fields", name, len(f))
	}
	return f, nil
}

// cpuOf adds user and system time.
func cpuOf(stat []string) (time.Duration, error) {
	var ticks uint64
	for _, s := range stat[11:13] {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	const hertz = 100 // USER_HZ of every Linux that Go runs on
	return time.Duration(ticks) * time.Second / hertz, nil
}
