package s3

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

const (
	address = netns.Server + ":9000"
	// Debian's own, whatever else is in the path.
	aws    = "/usr/bin/aws"
	python = "/usr/bin/python3"
)

// world is a server with S3 switched on, also without TLS, and clients beside it.
type world struct {
	*testing.T
	s          *harness.Server
	dir        string // of the clients
	id, secret string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	for _, p := range []string{aws, python, "s3cmd", "rclone", "diff", "lftp", "scp", "ssh-keygen", "smbclient"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%s is missing: make setup, as root", p)
		}
	}
	w := &world{T: t, s: harness.StartServer(t), dir: t.TempDir()}
	w.s.MustCLI(t, "login", "--password", harness.Password)
	w.s.MustCLI(t, "s3", "modify", "--secure=false")
	w.s.MustCLI(t, "s3", "enable")
	w.id, w.secret = w.key("admin")
	return w
}

// key makes an access key of a user.
func (w *world) key(user string) (id, secret string) {
	w.Helper()
	f := strings.Fields(w.s.MustCLI(w.T, "s3", "access-key", "create", user))
	if len(f) != 2 {
		w.Fatalf("%q", f)
	}
	return f[0], f[1]
}

// must runs a client to success and answers what it says.
func (w *world) must(name string, args ...string) string {
	w.Helper()
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, w.dir
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "AWS_ACCESS_KEY_ID="+w.id, "AWS_SECRET_ACCESS_KEY="+w.secret, "AWS_DEFAULT_REGION=us-east-1",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CA_BUNDLE=", "PYTHONWARNINGS=ignore")
	ctx, cancel := context.WithTimeout(w.Context(), patience())
	defer cancel()
	if err := w.s.Net.Run(ctx, cmd); err != nil {
		w.Fatalf("%s %q: %v\n%s", name, args, err, &out)
	}
	return out.String()
}

// patience is how long one run of a client may take.
func patience() time.Duration {
	if treeFiles() > 1000 || os.Getenv("MANIFOLD_S3_BIG") != "" {
		return 30 * time.Minute
	}
	return 2 * time.Minute
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

// write makes a local file of seeded content.
func (w *world) write(name string, size int, seed byte) []byte {
	w.Helper()
	b := content(size, seed)
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), b, 0o640); err != nil {
		w.Fatal(err)
	}
	return b
}

func content(size int, seed byte) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// treeFiles is how many files a tree has: MANIFOLD_S3_FILES, else few.
func treeFiles() int {
	if n, err := strconv.Atoi(os.Getenv("MANIFOLD_S3_FILES")); err == nil && n > 0 {
		return n
	}
	return 120
}

// tree makes a local tree: many small files, a large one, awkward names.
func (w *world) tree() map[string][]byte {
	w.Helper()
	files := map[string][]byte{}
	for i := range treeFiles() {
		name := fmt.Sprintf("d%d/e%d/f %d", i%23, i%7, i)
		files[name] = w.write("tree/"+name, i*37%9000+1, byte(i))
	}
	files["ü' + x"] = w.write("tree/ü' + x", 17<<20+1, 1)
	files["empty"] = w.write("tree/empty", 0, 0)
	return files
}

// minio is a client of that library.
func (w *world) minio(id, secret string, secure bool) *minio.Client {
	w.Helper()
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return w.s.Net.Dial(ctx, network, addr)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // a fresh server signs its own certificate
	}
	w.Cleanup(tr.CloseIdleConnections)
	c, err := minio.New(address, &minio.Options{Creds: credentials.NewStaticV4(id, secret, ""), Secure: secure, Transport: tr, MaxRetries: 2})
	if err != nil {
		w.Fatal(err)
	}
	return c
}
