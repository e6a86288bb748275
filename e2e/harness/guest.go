// Package harness drives the product from outside: today the Linux kernel NFS
// client as a user-mode Linux guest.
//
// Invariants: everything started here ends with its test; no packet leaves the
// machine, since guests live in a namespace without a route. The package must
// not know the product's internals.
package harness

import (
	"bytes"
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"manifold/e2e/netns"
)

//go:embed guest.sh
var guestScript []byte

// Guest is a kernel client; one at a time per namespace and Index.
type Guest struct {
	// Index tells guests apart that run at once: 0 is 198.51.100.11, 1 is .12.
	Index int
	// Dir, if set, is where the guest keeps what its host sees of it, instead of
	// a temporary folder; its subfolder "io" is /run/guest in the guest.
	Dir      string
	Net      *netns.Namespace // where the server listens on 0.0.0.0 or 198.51.100.1
	MemoryMB int              // default 512
	CPU      int              // host CPU that the guest is pinned to; GUEST_CPU overrides
	Realtime bool             // faster on a busy machine; not for benchmarks
	Timeout  time.Duration    // default 5 minutes
	// OnLine, if set, gets each line of stdout within milliseconds.
	OnLine func(line string)
}

// Result is what a script in the guest left.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Run boots the guest and runs a bash script in it as root; $SERVER and $CLIENT
// are addresses, /mnt is free. A guest that fails to boot fails the test.
func (g Guest) Run(tb testing.TB, script string) Result {
	tb.Helper()
	Require(tb, "linux.uml", "ip", "setpriv", "taskset", "mount.nfs", "rpcbind")
	if g.MemoryMB == 0 {
		g.MemoryMB = 512
	}
	if g.Timeout == 0 {
		g.Timeout = 5 * time.Minute
	}
	if s := os.Getenv("GUEST_CPU"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			tb.Fatalf("GUEST_CPU: %v", err)
		}
		g.CPU = n
	}
	ctl := g.Dir
	if ctl == "" {
		ctl = tb.TempDir()
	}
	launcher := filepath.Join(ctl, "guest.sh")
	for name, b := range map[string][]byte{launcher: guestScript, filepath.Join(ctl, "script"): []byte(script)} {
		if err := os.WriteFile(name, b, 0o700); err != nil {
			tb.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(tb.Context(), g.Timeout)
	defer cancel()
	var out bytes.Buffer
	_ = os.Remove(filepath.Join(ctl, "io/rc")) // of a guest before it in Dir
	cmd := exec.Command("bash", launcher, ctl, strconv.Itoa(g.CPU), strconv.Itoa(g.MemoryMB), strconv.Itoa(g.Index))
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if g.Realtime {
		cmd.Env = append(os.Environ(), "GUEST_REALTIME=1")
	}
	p, err := g.Net.Start(cmd)
	if err != nil {
		tb.Fatal(err)
	}
	var follower sync.WaitGroup
	if g.OnLine != nil {
		follower.Go(func() { follow(filepath.Join(ctl, "out"), p.Done(), g.OnLine) })
	}
	select {
	case <-p.Done():
		err = p.Err()
	case <-ctx.Done():
		p.Kill()
		err = ctx.Err()
	}
	follower.Wait()
	read := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(ctl, name))
		return string(b)
	}
	code, convErr := strconv.Atoi(strings.TrimSpace(read("io/rc")))
	if convErr != nil {
		tb.Fatalf("the guest left no exit code (%v): %s\nconsole:\n%s\nstdout:\n%s\nstderr:\n%s", err, out.String(), read("console"), read("out"), read("err"))
	}
	return Result{read("out"), read("err"), code}
}

// follow passes on the lines of a growing file until its writer is done.
func follow(path string, done <-chan struct{}, line func(string)) {
	var part []byte
	var off int64
	buf := make([]byte, 4096)
	for last := false; ; {
		if f, err := os.Open(path); err == nil {
			for {
				n, err := f.ReadAt(buf, off)
				off += int64(n)
				part = append(part, buf[:n]...)
				for {
					l, rest, ok := bytes.Cut(part, []byte("\n"))
					if !ok {
						break
					}
					line(string(l))
					part = rest
				}
				if err != nil || n == 0 {
					break
				}
			}
			f.Close()
		}
		if last {
			return
		}
		select {
		case <-done:
			last = true
		case <-time.After(3 * time.Millisecond):
		}
	}
}
