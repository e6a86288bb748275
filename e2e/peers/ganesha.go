// Package peers runs the servers of others that tests compare with, each in a
// network namespace without a way out.
//
// Invariants: a peer ends with its test, whatever happens to the test; only
// processes started here are ended. The package must not know our server.
package peers

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed ganesha.sh
var ganeshaScript []byte

// Ganesha is a running NFS-Ganesha.
type Ganesha struct {
	Netns string // name for ip netns
	Dir   string // the exported folder
	cmd   *exec.Cmd
}

// StartGanesha exports a folder of the test over NFSv3. Where Ganesha or root
// is missing the test is skipped, in CI it fails.
func StartGanesha(tb testing.TB) *Ganesha {
	tb.Helper()
	require(tb)
	state := tb.TempDir()
	g := &Ganesha{Netns: fmt.Sprintf("mfpeer%d", os.Getpid()), Dir: tb.TempDir()}
	script := filepath.Join(state, "ganesha.sh")
	if err := os.WriteFile(script, ganeshaScript, 0o700); err != nil {
		tb.Fatal(err)
	}
	run(tb, "ip", "netns", "add", g.Netns)
	tb.Cleanup(func() { run(tb, "ip", "netns", "del", g.Netns) })
	run(tb, "ip", "-n", g.Netns, "link", "set", "lo", "up")

	g.cmd = exec.Command("ip", "netns", "exec", g.Netns, "unshare", "-m", "bash", script, state, g.Dir)
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := g.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
		_ = g.cmd.Wait()
		if tb.Failed() {
			if log, err := os.ReadFile(filepath.Join(state, "ganesha.log")); err == nil {
				tb.Logf("ganesha.log:\n%s", log)
			}
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c, err := g.Dial(tb.Context(), "127.0.0.1:2049")
		if err == nil {
			c.Close()
			return g
		}
		if time.Now().After(deadline) {
			tb.Fatalf("ganesha does not answer: %v", err)
		}
	}
}

// Dial connects to a literal address inside the peer's namespace.
func (g *Ganesha) Dial(ctx context.Context, addr string) (net.Conn, error) {
	type result struct {
		c   net.Conn
		err error
	}
	ch := make(chan result, 1)
	go func() {
		// The thread is not unlocked: it ends with the goroutine, since it
		// stays in the other namespace.
		runtime.LockOSThread()
		f, err := os.Open(filepath.Join("/run/netns", g.Netns))
		if err != nil {
			ch <- result{nil, err}
			return
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			ch <- result{nil, err}
			return
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		ch <- result{c, err}
	}()
	r := <-ch
	return r.c, r.err
}

func require(tb testing.TB) {
	tb.Helper()
	missing := ""
	if os.Getuid() != 0 {
		missing = "root"
	}
	for _, p := range []string{"ganesha.nfsd", "rpcbind", "ip", "unshare", "setpriv"} {
		if _, err := exec.LookPath(p); err != nil {
			missing = p
		}
	}
	switch {
	case missing == "":
	case os.Getenv("CI") != "":
		tb.Fatalf("%s is missing: make setup, as root", missing)
	default:
		tb.Skipf("%s is missing: make setup, as root", missing)
	}
}

func run(tb testing.TB, name string, args ...string) {
	tb.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		tb.Errorf("%s %v: %v\n%s", name, args, err, out)
	}
}
