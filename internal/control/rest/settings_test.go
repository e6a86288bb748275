package rest

import (
	"strings"
	"testing"

	"manifold/internal/control"
)

func TestClusterSettings(t *testing.T) {
	a := newAPI(t)
	c := a.must(200, "GET", "/v1/cluster/settings", nil)
	c = a.must(200, "PUT", "/v1/cluster/settings", object{"cluster_name": "Rack-7"}, "If-Match", c.header.Get("ETag"))
	if c.str("cluster_name") != "Rack-7" {
		t.Errorf("%s", c.raw)
	}
	a.fails(400, "http_bad_request_error", "PUT", "/v1/cluster/settings", object{"cluster_name": "x"})
	a.fails(412, "http_precondition_failed_error", "PUT", "/v1/cluster/settings", object{"cluster_name": "Rack-8"}, "If-Match", `"x"`)
}

func TestSSL(t *testing.T) {
	a := newAPI(t)
	const ca = "/v2/cluster/settings/ssl/ca-certificate"
	a.fails(404, "api_ssl_ca_cert_not_found_error", "GET", ca, nil)
	rec, err := a.config.Certificate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a.must(200, "PUT", ca, object{"ca_certificate": rec.Value.Chain})
	if got := a.must(200, "GET", ca, nil); got.str("ca_certificate") != rec.Value.Chain || !strings.HasSuffix(rec.Value.Chain, "\n") {
		t.Errorf("%s", got.raw)
	}
	a.fails(400, "ssl_certificate_invalid_error", "PUT", ca, object{"ca_certificate": "nonsense"})
	a.must(200, "DELETE", ca, nil)
	a.fails(404, "api_ssl_ca_cert_not_found_error", "DELETE", ca, nil)
	const cert = "/v2/cluster/settings/ssl/certificate"
	if got := a.must(200, "PUT", cert, object{"certificate": rec.Value.Chain, "private_key": rec.Value.Key}); len(got.raw) != 0 {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "PUT", "/v1/cluster/settings/ssl", object{"certificate": rec.Value.Chain, "private_key": rec.Value.Key})
	a.fails(400, "ssl_certificate_invalid_error", "PUT", cert, object{"certificate": rec.Value.Chain, "private_key": "x"})
}

func TestSyslogSettings(t *testing.T) {
	a := newAPI(t)
	const path = "/v1/audit/syslog/config"
	if got := a.must(200, "GET", path, nil); string(got.raw) != `{"enabled":false,"server_address":"","server_port":514,"local_enabled":false,"format":"csv","tls_enabled":false}` {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "PUT", path, object{"enabled": true, "server_address": "10.0.0.9", "server_port": 5514})
	if want := (control.AuditTarget{Enabled: true, Server: "10.0.0.9:5514", Format: "csv"}); a.audit.target != want {
		t.Errorf("%+v", a.audit.target)
	}
	if got := a.must(200, "PATCH", path, object{"format": "json"}); got.str("format") != "json" || got.at("enabled") != true {
		t.Errorf("%s", got.raw)
	}
	a.must(200, "PATCH", path, object{"enabled": false})
	n := len(a.audit.events)
	if n < 2 || a.audit.events[n-2].Operation != "begin_audit_modify_syslog_config" || a.audit.events[n-1].Operation != "audit_modify_syslog_config" {
		t.Errorf("%+v", a.audit.events)
	}
	for _, bad := range []object{{"format": "xml"}, {"enabled": true, "server_address": ""}, {"enabled": true, "server_address": "x", "server_port": 0}, {"server_address": "a b"}} {
		a.fails(400, "http_bad_request_error", "PATCH", path, bad)
	}
	if got := a.must(200, "GET", "/v1/audit/syslog/status", nil); got.str("connection_status") != "AUDIT_LOG_DISABLED" {
		t.Errorf("%s", got.raw)
	}
}

// Whatever changes something is recorded: by its own name, or as what it does to files.
// Records say what an operation was about.
func TestAudit_about(t *testing.T) {
	a := newAPI(t)
	snap := object{"name_suffix": "before"}
	for _, c := range []struct {
		method, path  string
		in            any
		extra, extra2 string
	}{
		{"POST", "/v1/users/", object{"name": "jane", "primary_group": "513"}, "jane", ""},
		{"PUT", "/v1/users/1000", object{"id": "1000", "name": "joan", "primary_group": "513"}, "1000", "joan"},
		{"POST", "/v1/groups/", object{"name": "ops"}, "ops", ""},
		{"POST", "/v1/groups/1001/members/", object{"member_id": "1000"}, "1001", "1000"},
		{"POST", "/v1/auth/roles/", object{"name": "Helpers", "privileges": []string{}}, "Helpers", ""},
		{"POST", "/v1/auth/roles/Helpers/members", object{"name": "joan", "domain": "LOCAL"}, "Helpers", `LOCAL\joan`},
		{"POST", "/v1/auth/roles/Helpers/members", object{"auth_id": "501"}, "Helpers", "auth_id:501"},
		{"POST", "/v1/auth/access-tokens/", object{"user": object{"name": "joan"}}, "joan", ""},
		{"POST", "/v1/s3/access-keys/", object{"user": object{"uid": 7}}, "uid:7", ""},
		{"POST", "/v1/s3/buckets/", object{"name": "bucket", "path": "/bucket", "create_fs_path": true}, "bucket", ""},
		{"POST", "/v2/nfs/exports/", object{"export_path": "/e", "fs_path": "/", "restrictions": []object{}}, "/e", ""},
		{"POST", "/v2/smb/shares/", object{"share_name": "s", "fs_path": "/", "permissions": []object{}}, "s", ""},
		{"POST", "/v1/smb/sessions/close", []object{{"location": "1"}, {"location": "2"}}, "1 2", ""},
		{"POST", "/v3/snapshots/", snap, "before", ""},
		{"POST", "/v3/snapshots/", object{"source_file_id": "2"}, "2", ""},
		{"POST", "/v3/snapshots/policies/", object{"policy_name": "nightly", "source_file_id": "2", "schedule": dailySchedule("")}, "nightly", ""},
		{"POST", "/v1/files/quotas/", object{"id": "2", "limit": "1000000"}, "2", ""},
		{"PUT", "/v1/files/quotas/2", object{"id": "2", "limit": "2000000"}, "2", ""},
		{"POST", "/v1/tree-delete/jobs/", object{"id": "/none"}, "/none", ""},
		{"POST", "/v1/users/1000/ssh-keys/", object{"public_key": "ssh-ed25519 one"}, "1000", "SHA256:one/+"},
		{"POST", "/v1/groups/", object{"name": strings.Repeat("ä", 1000)}, strings.Repeat("ä", 512), ""},
	} {
		a.audit.events = nil
		a.send(c.method, c.path, c.in)
		if n := len(a.audit.events); n != 1 || a.audit.events[0].Extra != c.extra || a.audit.events[0].Extra2 != c.extra2 {
			t.Errorf("%s %s: %+v, want %q %q", c.method, c.path, a.audit.events, c.extra, c.extra2)
		}
	}
}

func TestAudit(t *testing.T) {
	a := newAPI(t)
	known := map[string]bool{}
	for _, r := range allRoutes() {
		_, path, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
		known[r.Method+" /"+path] = true
		changes := r.Method != "GET" && !strings.Contains(path, "/info/acl/explain") && !strings.HasSuffix(path, "/find") && !strings.HasSuffix(path, "/expand") && path != "files/resolve" && !strings.Contains(path, "/resolve-") && path != "dns/resolve/" && path != "snapshots/calculate-used-capacity"
		onFiles := strings.HasPrefix(path, "files/{ref}") || path == "session/login"
		if changes && !onFiles && r.auditName() == "" {
			t.Errorf("%s %s leaves no record", r.Method, r.Path)
		}
	}
	// What is made has no name in the path, so the body has to tell.
	for _, r := range allRoutes() {
		nameless := r.Method == "POST" && strings.HasSuffix(r.Path, "/") && !strings.HasSuffix(r.Path, "/ssh-keys/") && r.auditName() != ""
		if _, ok := r.In.(auditable); nameless && !ok {
			t.Errorf("the record of %s %s does not say of what", r.Method, r.Path)
		}
	}
	for op := range auditNames {
		if !known[op] {
			t.Errorf("there is no %s", op)
		}
	}
	a.login("admin", adminPassword)
	a.fails(401, "cred_error", "POST", "/v1/session/login", object{"username": "guest", "password": "wrong"})
	a.must(200, "POST", "/v1/users/", object{"name": "jane", "primary_group": "513"})
	a.fails(404, "http_not_found_error", "DELETE", "/v1/users/77777", nil)
	want := []control.AuditEvent{
		{User: 500, Operation: "rest_login", Status: "ok", Extra: "admin"}, {User: 501, Operation: "rest_login", Status: "cred", Extra: "guest"},
		{User: 500, Operation: "auth_create_user", Status: "ok", Extra: "jane"}, {User: 500, Operation: "auth_delete_user", Status: "http_not_found", Extra: "77777"},
	}
	for i, e := range a.audit.events {
		if !e.Client.IsLoopback() {
			t.Errorf("%+v", e)
		}
		e.Client = want[i].Client
		if e != want[i] {
			t.Errorf("%+v, want %+v", e, want[i])
		}
	}
	if len(a.audit.events) != len(want) {
		t.Errorf("%+v", a.audit.events)
	}
}
