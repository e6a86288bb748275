package nfs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// besideRpcbind runs the system's rpcbind and the server ($@) with a /run of
// their own.
const besideRpcbind = `
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/rpcbind
setpriv --pdeathsig KILL rpcbind -f -w &
while [ ! -S /run/rpcbind.sock ]; do sleep 0.02; done
exec "$@"
`

// Where rpcbind runs already the server registers with it.
func TestSystemRpcbind(t *testing.T) {
	s := harness.NewServer(t) // for its namespace only
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command("unshare", "-m", "bash", "-c", besideRpcbind, "server", harness.Binary(t), "serve", "--data", filepath.Join(dir, "data"))
	cmd.Env = append(os.Environ(), "MANIFOLD_ADMIN_PASSWORD="+harness.Password)
	cmd.Stdout, cmd.Stderr = log, log
	p, err := s.Net.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("%s", b)
		}
	})
	registered := func() string {
		t.Helper()
		q := exec.Command("rpcinfo", "-p", netns.Server)
		var out strings.Builder
		q.Stdout, q.Stderr = &out, &out
		if err := s.Net.Run(t.Context(), q); !netns.Ran(err) { // if it failed, rpcbind is not up yet
			t.Fatal(err)
		}
		return out.String()
	}
	if !harness.Within(20*time.Second, func() bool { return strings.Contains(registered(), "100003    3   tcp   2049") }) {
		t.Fatalf("not registered:\n%s", registered())
	}
	checkSlice(t, s.Net, "mount -t nfs -o vers=3,proto=tcp,nolock $SERVER:/ /mnt || exit 1")

	// rpcbind ends with the server here, so the registration is looked at
	// while the server drains.
	if err := syscall.Kill(p.Pid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(20 * time.Second):
		t.Error("does not end on SIGTERM")
	}
}
