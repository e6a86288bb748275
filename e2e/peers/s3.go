package peers

import (
	"os"
	"os/exec"
	"testing"

	"manifold/e2e/harness"
)

// S3ID and S3Secret are the access key of the S3 peers.
const (
	S3ID     = "benchmark"
	S3Secret = "benchmark-secret"
)

// StartMinIO serves dir by S3 on port 9000 with the program bin, on one drive.
func StartMinIO(tb testing.TB, bin, dir string) *Peer {
	tb.Helper()
	harness.Require(tb, "ip")
	cmd := exec.Command(bin, "server", "--quiet", "--address", ":9000", "--console-address", "127.0.0.1:9001", dir)
	cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+S3ID, "MINIO_ROOT_PASSWORD="+S3Secret, "MINIO_UPDATE=off", "MINIO_BROWSER=off", "MINIO_CI_CD=1", "HOME="+tb.TempDir())
	return start(tb, "9000", cmd)
}

// StartVersityGW serves dir by S3 on port 9000 with the program bin. It
// acknowledges before anything is on disk.
func StartVersityGW(tb testing.TB, bin, dir string) *Peer {
	tb.Helper()
	harness.Require(tb, "ip")
	return start(tb, "9000", exec.Command(bin, "--port", ":9000", "--access", S3ID, "--secret", S3Secret, "--region", "us-east-1", "--quiet", "--keep-alive", "posix", dir))
}
