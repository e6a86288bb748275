// Package netns gives a test a network namespace of its own: every port is
// free in it and no packet leaves it.
//
// Invariants: a namespace and the processes started in it end with the test; a
// process started here is killed when the test binary dies. The package must
// not know what runs inside.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Server is the address that servers have on the namespace's own subnet.
const Server = "198.51.100.1"

// Namespace is a named network namespace with loopback and one subnet,
// 198.51.100.0/24, that has a carrier only while a guest is attached.
type Namespace struct{ Name string }

var count atomic.Int32

// New makes a namespace that lives as long as the test.
func New(tb testing.TB) *Namespace {
	tb.Helper()
	n := &Namespace{fmt.Sprintf("mf%d-%d", os.Getpid(), count.Add(1))}
	for _, args := range [][]string{
		{"netns", "add", n.Name},
		{"-n", n.Name, "link", "set", "lo", "up"},
		// A tap without a user stands for the subnet, so that servers which
		// look at their interfaces find one.
		{"-n", n.Name, "tuntap", "add", "dev", "mfnet", "mode", "tap"},
		{"-n", n.Name, "addr", "add", Server + "/24", "dev", "mfnet"},
		{"-n", n.Name, "link", "set", "mfnet", "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			tb.Fatalf("ip %v: %v\n%s", args, err, out)
		}
		if args[0] == "netns" {
			tb.Cleanup(func() {
				if out, err := exec.Command("ip", "netns", "del", n.Name).CombinedOutput(); err != nil {
					tb.Errorf("ip netns del: %v\n%s", err, out)
				}
			})
		}
	}
	return n
}

// Do runs fn on a thread inside the namespace. What fn starts on its own
// goroutine is there as well; goroutines that it starts are not.
func (n *Namespace) Do(fn func() error) error {
	ch := make(chan error, 1)
	go func() {
		// The thread is not unlocked: it ends with the goroutine, since it
		// stays in the other namespace.
		runtime.LockOSThread()
		f, err := os.Open(filepath.Join("/run/netns", n.Name))
		if err != nil {
			ch <- err
			return
		}
		err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		f.Close()
		if err == nil {
			err = fn()
		}
		ch <- err
	}()
	return <-ch
}

// Dial connects to a literal address inside the namespace.
func (n *Namespace) Dial(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = n.Do(func() error {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Listen takes a port inside the namespace, for tests of conflicts.
func (n *Namespace) Listen(network, addr string) (l net.Listener, err error) {
	err = n.Do(func() error {
		l, err = net.Listen(network, addr)
		return err
	})
	return l, err
}

// Process is a program running in the namespace.
type Process struct {
	Cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start runs a command in the namespace, in a process group of its own. The
// kernel kills it when the thread that started it ends, so that thread stays
// until the process has ended.
func (n *Namespace) Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	p := &Process{Cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		err := n.Do(func() error {
			err := cmd.Start()
			started <- err
			if err != nil {
				return err
			}
			p.err = cmd.Wait()
			close(p.done)
			return nil
		})
		if err != nil {
			select {
			case started <- err:
			default:
			}
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Run runs a command in the namespace to its end and answers how that was. When
// ctx ends before, it kills the command and its children, and says so.
func (n *Namespace) Run(ctx context.Context, cmd *exec.Cmd) error {
	p, err := n.Start(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
		return p.Err()
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("killed: %w", ctx.Err())
	}
}

// Ran tells whether what Run answered is how a command ended, and not that it
// did not start or was killed.
func Ran(err error) bool {
	var ended *exec.ExitError
	return err == nil || errors.As(err, &ended)
}

// Done is closed when the process has ended and its output is complete.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process ended; valid after Done.
func (p *Process) Err() error { return p.err }

// Pid is the process id.
func (p *Process) Pid() int { return p.Cmd.Process.Pid }

// Kill ends the process and its children at once and waits for it.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL)
	<-p.done
}
