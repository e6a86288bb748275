// Package peers runs the servers of others that tests compare with, each in a
// network namespace without a way out.
//
// Invariants: a peer ends with its test, whatever happens to the test; only
// processes started here are ended. The package must not know our server.
package peers

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"manifold/e2e/netns"
)

//go:embed ganesha.sh
var ganeshaScript []byte

// Ganesha is a running NFS-Ganesha: MOUNT on 20048, NFS on 2049.
type Ganesha struct {
	Net *netns.Namespace
	Dir string // the exported folder
	pid int
}

// StartGanesha exports dir over NFSv3. Where Ganesha or root is missing the
// test is skipped, in CI it fails.
func StartGanesha(tb testing.TB, dir string) *Ganesha {
	tb.Helper()
	need(tb, "ganesha.nfsd", "rpcbind", "unshare", "setpriv")
	state := tb.TempDir()
	g := &Ganesha{Net: netns.New(tb), Dir: dir}
	script := filepath.Join(state, "ganesha.sh")
	if err := os.WriteFile(script, ganeshaScript, 0o700); err != nil {
		tb.Fatal(err)
	}
	p, err := g.Net.Start(exec.Command("unshare", "-m", "bash", script, state, dir))
	if err != nil {
		tb.Fatal(err)
	}
	g.pid = p.Pid()
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			if log, err := os.ReadFile(filepath.Join(state, "ganesha.log")); err == nil {
				tb.Logf("ganesha.log:\n%s", log)
			}
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		c, err := g.Net.Dial(tb.Context(), "tcp", "127.0.0.1:2049")
		if err == nil {
			c.Close()
			return g
		}
		if time.Now().After(deadline) {
			tb.Fatalf("ganesha does not answer: %v", err)
		}
	}
}

// Pid is the server's process: the script hands its own over to Ganesha.
func (g *Ganesha) Pid() int { return g.pid }

// need skips on a laptop without root or a program, and fails in CI.
func need(tb testing.TB, programs ...string) {
	tb.Helper()
	missing := ""
	if os.Getuid() != 0 {
		missing = "root"
	}
	for _, p := range append(programs, "ip") {
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
