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

	adminBuckets(t, r, token, c)

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

// adminBuckets administers buckets over REST.
func adminBuckets(t *testing.T, r *running, token string, c *minio.Client) {
	t.Helper()
	ctx := t.Context()
	fails := func(code int, class, method, path string, in any) {
		t.Helper()
		if got, body := r.rest(t, method, path, token, in); got != code || class != "" && !strings.Contains(body, class) {
			t.Errorf("%s %s: %d %s, want %d %s", method, path, got, body, code, class)
		}
	}
	type bucket struct {
		Name, Path, Versioning string
		Lock                   struct {
			Enabled   bool
			Retention *struct {
				Units string
				Value int
			} `json:"default_retention"`
		} `json:"lock_config"`
	}
	const all = "/v1/s3/buckets/"
	var b bucket
	fails(404, "fs_no_such_entry_error", "POST", all, map[string]any{"name": "more", "path": "/deep/er"})
	fails(400, "", "POST", all, map[string]any{"name": "No"})
	r.must(t, "POST", all, token, map[string]any{"name": "more", "path": "/deep/er", "create_fs_path": true}, &b)
	if b.Name != "more" || b.Path != "/deep/er" || b.Versioning != "Unversioned" || b.Lock.Enabled {
		t.Errorf("%+v", b)
	}
	fails(409, "s3_bucket_already_exists_error", "POST", all, map[string]any{"name": "more"})
	fails(405, "", "GET", all+"more", nil)
	var list struct{ Buckets []bucket }
	if r.must(t, "GET", all, token, nil, &list); len(list.Buckets) != 2 || list.Buckets[1].Name != "things" {
		t.Errorf("%+v", list)
	}
	r.must(t, "PATCH", all+"more", token, map[string]any{"versioning": "Enabled", "lock_config": map[string]any{"enabled": true, "default_retention": map[string]any{"units": "days", "value": 3}}}, &b)
	if b.Versioning != "Enabled" || !b.Lock.Enabled || b.Lock.Retention == nil || b.Lock.Retention.Value != 3 || b.Lock.Retention.Units != "days" {
		t.Errorf("%+v", b)
	}
	if _, mode, validity, _, err := c.GetObjectLockConfig(ctx, "more"); err != nil || mode.String() != "COMPLIANCE" || *validity != 3 {
		t.Errorf("over S3: %v %v %v", mode, validity, err)
	}
	fails(409, "", "PATCH", all+"more", map[string]any{"lock_config": map[string]any{"enabled": false}})
	fails(400, "", "PATCH", all+"more", map[string]any{"versioning": "Unversioned"})

	// A policy names people; it is stored by their ids.
	const policy = all + "more/policy"
	if _, body := r.rest(t, "GET", policy, token, nil); body != "{}" {
		t.Errorf("no policy: %s", body)
	}
	statement := map[string]any{"Sid": "s", "Effect": "Allow", "Action": []string{"s3:GetObject"}, "Principal": map[string]any{"Qumulo": []string{"local:guest", "world:Everyone"}}}
	doc := map[string]any{"Version": "2012-10-17", "Statement": []any{statement}}
	var got map[string]any
	r.must(t, "PUT", policy, token, doc, &got)
	if s := fmt.Sprint(got["Statement"]); !strings.Contains(s, "local:guest") || !strings.Contains(s, "Index:1") {
		t.Errorf("%s", s)
	}
	if s, err := c.GetBucketPolicy(ctx, "more"); err != nil || !strings.Contains(s, "auth_id:501") {
		t.Errorf("over S3: %s %v", s, err)
	}
	var x struct {
		Allowed []string `json:"allowed_actions"`
		RBAC    []string `json:"rbac_allowed_actions"`
	}
	r.must(t, "POST", policy+"/explain-access", token, map[string]any{"identity": nil}, &x)
	if len(x.Allowed) != 1 || x.Allowed[0] != "s3:GetObject" || len(x.RBAC) != 0 {
		t.Errorf("anonymous: %+v", x)
	}
	r.must(t, "POST", policy+"/explain-access", token, map[string]any{"identity": map[string]string{"name": "admin"}}, &x)
	if len(x.Allowed) < 30 || len(x.RBAC) != 9 {
		t.Errorf("the owner: %+v", x)
	}
	statement["Resource"] = "arn:aws:s3:::more/*"
	fails(400, "ResourceSpecified", "PUT", policy, doc)
	delete(statement, "Resource")
	statement["Principal"] = map[string]any{"Qumulo": []string{"local:nobody-here"}}
	fails(400, "cred_invalid_local_user_error", "PUT", policy, doc)
	r.must(t, "PUT", policy, token, map[string]any{}, nil)

	core := minio.Core{Client: c}
	id, err := core.NewMultipartUpload(ctx, "more", "big", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var ups struct {
		Uploads []struct{ ID, Key, Bucket string }
		Paging  map[string]any
	}
	r.must(t, "GET", all+"more/uploads/", token, nil, &ups)
	if len(ups.Uploads) != 1 || ups.Uploads[0].ID != id || ups.Uploads[0].Key != "big" || ups.Paging["next"] != nil {
		t.Errorf("%+v", ups)
	}
	fails(409, "s3_uploads_in_progress_error", "DELETE", all+"more?delete-root-dir=true", nil)
	r.must(t, "DELETE", all+"more/uploads/"+id, token, nil, nil)
	fails(404, "", "DELETE", all+"more/uploads/"+id, nil)
	fails(409, "fs_directory_not_empty_error", "DELETE", all+"things?delete-root-dir=true", nil)
	r.must(t, "DELETE", all+"more?delete-root-dir=true", token, nil, nil)
	fails(404, "s3_bucket_not_found_error", "DELETE", all+"more", nil)
	fails(404, "", "GET", "/v1/files/%2Fdeep%2Fer/info/attributes", nil)
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
