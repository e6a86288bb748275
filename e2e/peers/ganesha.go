// Package peers runs the servers of others that tests compare with, each in a
// network namespace without a way out.
//
// Invariants: a peer ends with its test, whatever happens to the test; only
// processes started here are ended. The package must not know our server: of the
// harness it takes what waits and what says that a program is missing.
package peers

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"manifold/e2e/harness"
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
	harness.Require(tb, "ip", "ganesha.nfsd", "rpcbind", "unshare", "setpriv")
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
	if err := harness.Answers(tb.Context(), g.Net, p, "127.0.0.1:2049", 30*time.Second); err != nil {
		tb.Fatalf("ganesha: %v", err)
	}
	return g
}

// Pid is the server's process: the script hands its own over to Ganesha.
func (g *Ganesha) Pid() int { return g.pid }
