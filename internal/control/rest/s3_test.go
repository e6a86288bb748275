package rest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// protocolS3 stands for the S3 server: it takes every name and policy that has
// no word "bad".
type protocolS3 struct{ store *config.Store }

func (p protocolS3) ValidBucketName(name string) bool { return !strings.Contains(name, "bad") }
func (p protocolS3) RemoveBucket(ctx context.Context, _ *fs.Caller, name string, _ bool) error {
	return p.store.DeleteBucket(ctx, name)
}
func (p protocolS3) CheckPolicy(_ string, doc []byte) error {
	if bytes.Contains(doc, []byte("bad")) {
		return control.ErrS3Policy
	}
	return nil
}
func (p protocolS3) ExplainPolicy(context.Context, string, []byte, identity.AuthID) (control.S3Access, error) {
	return control.S3Access{}, nil
}
func (p protocolS3) Retention([]byte) *control.S3Retention                    { return nil }
func (p protocolS3) RetentionDocument(r *control.S3Retention) ([]byte, error) { return nil, nil }
func (p protocolS3) Uploads(context.Context, string, string, int) ([]control.S3Upload, string, error) {
	return []control.S3Upload{{ID: "u1", Key: "k", Owner: 500}}, "", nil
}
func (p protocolS3) AbortUpload(_ context.Context, _, id string) error {
	if id != "u1" {
		return config.ErrNotFound
	}
	return nil
}

// Clients insist that answers of S3 administration have no entity tag, but the policy's.
func TestS3_tags(t *testing.T) {
	a := newAPI(t)
	a.must(200, "POST", "/v1/s3/buckets/", object{"name": "things"})
	for path, want := range map[string]bool{
		"/v1/s3/settings": false, "/v1/s3/access-keys/": false, "/v1/s3/buckets/": false, "/v1/s3/buckets/things/uploads/": false, "/v1/s3/buckets/things/policy": true,
	} {
		if got := a.must(200, "GET", path, nil).header.Get("ETag") != ""; got != want {
			t.Errorf("%s has a tag: %v", path, got)
		}
	}
	const policy = "/v1/s3/buckets/things/policy"
	tag := strings.Trim(a.must(200, "GET", policy, nil).header.Get("ETag"), `"`)
	doc := object{"Statement": []object{{"Effect": "Allow", "Action": "s3:*", "Principal": object{"Qumulo": "local:admin"}}}}
	if r := a.send("PUT", policy, doc, "If-Match", tag); r.status != 200 {
		t.Errorf("%d %s", r.status, r.raw)
	}
	if r := a.send("PUT", policy, doc, "If-Match", tag); r.status != 412 {
		t.Errorf("stale: %d %s", r.status, r.raw)
	}
	if b, err := a.config.Bucket("things"); err != nil || !bytes.Contains(b.Value.Policy, []byte("auth_id:500")) {
		t.Errorf("%s %v", b.Value.Policy, err)
	}
	a.fails(400, "s3_bucket_policy_invalid_error", "PUT", policy, object{"Statement": []object{{"Sid": "bad"}}})
	// The S3 server knows fields in any case.
	a.must(200, "PUT", policy, object{"statement": []object{{"effect": "Allow", "action": "s3:*", "principal": object{"Qumulo": "local:admin"}}}})
	if b, err := a.config.Bucket("things"); err != nil || !bytes.Contains(b.Value.Policy, []byte("auth_id:500")) || bytes.Contains(b.Value.Policy, []byte("local:admin")) {
		t.Errorf("%s %v", b.Value.Policy, err)
	}
	a.fails(400, "s3_bucket_policy_invalid_error", "PUT", policy, object{"Statement": []object{{"Effect": "Allow", "Action": "s3:*", "Principal": "*", "resource": "*"}}})
	a.fails(400, "s3_bucket_policy_invalid_error", "PUT", policy, object{"Statement": []object{{"Effect": "Allow", "Action": "s3:*", "Principal": "*", "PRINCIPAL": "*"}}})
	a.fails(400, "s3_bucket_name_invalid_error", "POST", "/v1/s3/buckets/", object{"name": "bad"})
}

func TestCLI_s3(t *testing.T) {
	a := newAPI(t)
	x := newTerminal(t, a)
	x.password = adminPassword
	x.run("login", "admin", "--host", x.host)
	if out := x.run("s3", "show"); !strings.Contains(out, "false") || !strings.Contains(out, "1days") {
		t.Error(out)
	}
	x.run("s3", "enable")
	if out := x.run("s3", "modify", "--secure=false", "--upload-expiry", "never", "--domain", "s3.example"); !strings.Contains(out, "never") || !strings.Contains(out, "s3.example") {
		t.Error(out)
	}
	if v, _ := a.config.S3InForce(); !v.Enabled || !v.Insecure || len(v.Domains) != 1 {
		t.Errorf("%+v", v)
	}
	x.run("s3", "modify", "--domain", "")
	x.run("s3", "disable")
	if v, _ := a.config.S3InForce(); v.Enabled || len(v.Domains) != 0 {
		t.Errorf("%+v", v)
	}
	key := strings.Fields(x.run("s3", "access-key", "create", "local:admin"))
	if len(key) != 2 {
		t.Fatal(key)
	}
	if out := x.run("s3", "access-key", "list", "--user", "local:admin"); !strings.Contains(out, key[0]) || strings.Contains(out, key[1]) {
		t.Error(out)
	}
	x.run("s3", "access-key", "rm", key[0])
	x.run("s3", "bucket", "add", "things", "/a/b", "--create-directory")
	x.run("s3", "bucket", "modify", "things", "--versioning", "Enabled", "--anonymous")
	if out := x.run("s3", "bucket", "list"); !strings.Contains(out, "things") || !strings.Contains(out, "/a/b") || !strings.Contains(out, "Enabled") {
		t.Error(out)
	}
	file := filepath.Join(t.TempDir(), "policy")
	if err := os.WriteFile(file, []byte(`{"Statement":{"Effect":"Allow","Action":"s3:*","Principal":{"Qumulo":"uid:77"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	x.run("s3", "policy", "set", "things", file)
	if out := x.run("s3", "policy", "show", "things"); !strings.Contains(out, "uid:77") {
		t.Error(out)
	}
	x.run("s3", "policy", "delete", "things")
	if out := x.run("s3", "upload", "list", "things"); !strings.Contains(out, "u1") {
		t.Error(out)
	}
	x.run("s3", "upload", "abort", "things", "u1")
	x.fails("s3_upload_not_found_error", "s3", "upload", "abort", "things", "u2")
	x.run("s3", "bucket", "delete", "things")
}
