package node

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"manifold/internal/ports"
)

// login answers a token of the administrator.
func (r *running) login(t *testing.T) string {
	t.Helper()
	var out struct {
		Token string `json:"bearer_token"`
	}
	code, body := r.rest(t, "POST", "/v1/session/login", "", map[string]string{"username": "admin", "password": "Serve-Test-1"})
	if err := json.Unmarshal([]byte(body), &out); code != 200 || err != nil {
		t.Fatalf("login: %d %s", code, body)
	}
	return out.Token
}

// listens tells whether something accepts connections on a port.
func (r *running) listens(id ports.ID) bool {
	c, err := net.Dial("tcp", r.address(id))
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

// must is rest for what has to succeed.
func (r *running) must(t *testing.T, method, path, token string, in, out any) {
	t.Helper()
	code, body := r.rest(t, method, path, token, in)
	if code != 200 {
		t.Fatalf("%s %s: %d %s", method, path, code, body)
	}
	if out != nil {
		if err := json.Unmarshal([]byte(body), out); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServe_s3(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := startServer(t, dir)
	token := r.login(t)
	const settings = "/v1/s3/settings"
	var s struct {
		Enabled  bool   `json:"enabled"`
		Secure   bool   `json:"secure"`
		BasePath string `json:"base_path"`
		Expiry   string `json:"multipart_upload_expiry_interval"`
	}
	r.must(t, "GET", settings, token, nil, &s)
	if s.Enabled || !s.Secure || s.BasePath != "/" || s.Expiry != "1days" {
		t.Errorf("a fresh system has %+v", s)
	}
	if n := r.ledger.Number(ports.S3); n != 0 {
		t.Errorf("S3 is on port %d before it was switched on", n)
	}
	for _, bad := range []map[string]any{
		{"multipart_upload_expiry_interval": "soon"}, {"base_path": "/nowhere"}, {"base_path": "here"}, {"domains": []string{"127.0.0.1"}},
	} {
		if code, body := r.rest(t, "PATCH", settings, token, bad); code < 400 || code >= 500 {
			t.Errorf("%v: %d %s", bad, code, body)
		}
	}
	r.must(t, "PATCH", settings, token, map[string]any{"enabled": true}, &s)
	if !s.Enabled || !r.listens(ports.S3) {
		t.Fatalf("not served: %+v", s)
	}
	var key struct {
		ID     string `json:"access_key_id"`
		Secret string `json:"secret_access_key"`
	}
	user := map[string]any{"user": map[string]string{"name": "admin"}}
	r.must(t, "POST", "/v1/s3/access-keys/", token, user, &key)
	r.must(t, "POST", "/v1/s3/access-keys/", token, user, nil)
	if code, body := r.rest(t, "POST", "/v1/s3/access-keys/", token, user); code != 409 || !strings.Contains(body, "s3_access_key_limit_reached_error") {
		t.Errorf("a third key: %d %s", code, body)
	}
	if _, body := r.rest(t, "GET", "/v1/s3/access-keys/?user=500", token, nil); !strings.Contains(body, key.ID) || strings.Contains(body, key.Secret) {
		t.Errorf("keys: %s", body)
	}

	client := func(secure bool) *minio.Client {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // self-signed
		t.Cleanup(tr.CloseIdleConnections)
		c, err := minio.New(r.address(ports.S3), &minio.Options{Creds: credentials.NewStaticV4(key.ID, key.Secret, ""), Secure: secure, Transport: tr, MaxRetries: 1})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ctx := t.Context()
	c := client(true)
	if err := c.MakeBucket(ctx, "things", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("manifold "), 20000)
	if _, err := c.PutObject(ctx, "things", "a/b.txt", bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if code, body := r.rest(t, "GET", "/v1/files/%2Fthings%2Fa%2Fb.txt/data", token, nil); code != 200 || body != string(data) {
		t.Errorf("over REST: %d, %d bytes", code, len(body))
	}
	read := func(c *minio.Client) error {
		o, err := c.GetObject(ctx, "things", "a/b.txt", minio.GetObjectOptions{})
		if err != nil {
			return err
		}
		defer func() { _ = o.Close() }()
		b, err := io.ReadAll(o)
		if err == nil && !bytes.Equal(b, data) {
			err = fmt.Errorf("%d bytes", len(b))
		}
		return err
	}
	if err := read(c); err != nil {
		t.Error(err)
	}
	if err := read(client(false)); err == nil {
		t.Error("plain HTTP is answered though it was not allowed")
	}
	r.must(t, "PATCH", settings, token, map[string]any{"secure": false}, nil)
	for _, secure := range []bool{true, false} {
		if err := read(client(secure)); err != nil {
			t.Errorf("insecure, TLS %v: %v", secure, err)
		}
	}
	if code, body := r.rest(t, "GET", "/v2/metrics/endpoints/default/data", token, nil); code != 200 ||
		!strings.Contains(body, `qumulo_protocol_operations_count{data_type="data",io_type="write",op_name="PutObject",protocol="s3"} 1`) {
		t.Errorf("metrics: %d", code)
	}
	if _, body := r.rest(t, "GET", "/v1/ports", token, nil); !strings.Contains(body, `"s3"`) {
		t.Errorf("ports: %s", body)
	}

	at := r.address(ports.S3)
	r.must(t, "PATCH", settings, token, map[string]any{"enabled": false}, nil)
	if nc, err := net.Dial("tcp", at); err == nil {
		_ = nc.Close()
		t.Error("the port is still open")
	}
	r.must(t, "PATCH", settings, token, map[string]any{"enabled": true, "secure": true}, nil)
	if err := read(client(true)); err != nil {
		t.Error(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	// The next process opens it by itself, and knows the secret.
	r = startServer(t, dir)
	if err := read(client(true)); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	r.must(t, "DELETE", "/v1/s3/access-keys/"+key.ID, token, nil, nil)
	if err := read(client(true)); minio.ToErrorResponse(err).Code != "InvalidAccessKeyId" {
		t.Errorf("a revoked key: %v", err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

func TestServe_s3PortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := startServer(t, filepath.Join(t.TempDir(), "data"), func(o *ports.Options) {
		o.Move[ports.S3] = uint16(taken.Addr().(*net.TCPAddr).Port)
	})
	token := r.login(t)
	code, body := r.rest(t, "PATCH", "/v1/s3/settings", token, map[string]any{"enabled": true})
	if code != 409 || !strings.Contains(body, "in use") {
		t.Errorf("%d %s", code, body)
	}
	if _, body := r.rest(t, "GET", "/v1/s3/settings", token, nil); !strings.Contains(body, `"enabled":false`) {
		t.Errorf("after a failure: %s", body)
	}
	_ = taken.Close()
	r.must(t, "PATCH", "/v1/s3/settings", token, map[string]any{"enabled": true}, nil)
	if !r.listens(ports.S3) {
		t.Error("not served")
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

func TestServe_s3PortDisabled(t *testing.T) {
	r := startServer(t, filepath.Join(t.TempDir(), "data"), func(o *ports.Options) { o.Disable = []ports.ID{ports.S3} })
	if code, body := r.rest(t, "PATCH", "/v1/s3/settings", r.login(t), map[string]any{"enabled": true}); code != 409 || !strings.Contains(body, "disabled") {
		t.Errorf("%d %s", code, body)
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}
