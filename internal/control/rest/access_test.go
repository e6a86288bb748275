package rest

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"manifold/internal/config"
	"manifold/internal/control"
)

// doors are FTP and SSH of a node that serves neither.
type doors struct{ *config.Store }

func (doors) FTPStatus() control.ServiceStatus { return control.ServiceStatus{State: "STOPPED"} }
func (doors) SSHStatus() control.ServiceStatus {
	return control.ServiceStatus{State: "FAILED", Error: "in use"}
}
func (doors) HostKeys(context.Context) ([]config.SSHKey, error) {
	return []config.SSHKey{{Fingerprint: "SHA256:host", Type: "ssh-ed25519"}}, nil
}
func (doors) KeyLine(k config.SSHKey) string { return k.Type + " " + string(k.Wire) }
func (doors) ParseKey(line string) (config.SSHKey, error) {
	typ, wire, ok := strings.Cut(line, " ")
	if !ok {
		return config.SSHKey{}, &config.InvalidError{Field: "public_key", Reason: "is none"}
	}
	return config.SSHKey{Fingerprint: "SHA256:" + wire + "/+", Type: typ, Wire: []byte(wire)}, nil
}

// ok sends, wants success and decodes the answer.
func (a *api) ok(method, path string, in, out any) {
	a.t.Helper()
	got := a.must(200, method, path, in)
	if out == nil {
		return
	}
	if err := json.Unmarshal(got.raw, out); err != nil {
		a.t.Fatalf("%s %s: %v in %s", method, path, err, got.raw)
	}
}

func TestFTPSettings(t *testing.T) {
	a := newAPI(t)
	const path = "/v0/ftp/settings"
	var v ftpSettings
	a.ok("GET", path, nil, &v)
	if v != (ftpSettings{CheckRemoteHost: true}) {
		t.Errorf("%+v", v)
	}
	a.ok("PATCH", path, map[string]any{"enabled": true, "chroot_users": true, "greeting": "Welcome", "anonymous_user": map[string]string{"id_type": "LOCAL_USER", "id_value": "guest"}}, &v)
	a.ok("PATCH", path, map[string]any{"expand_wildcards": true}, &v)
	if !v.Enabled || !v.ChrootUsers || !v.ExpandWildcards || v.Greeting != "Welcome" || v.AnonymousUser == nil || v.AnonymousUser.Value != "guest" {
		t.Errorf("%+v", v)
	}
	a.fails(400, "cred_invalid_local_user_error", "PATCH", path, map[string]any{"anonymous_user": map[string]string{"id_type": "LOCAL_USER", "id_value": "nobody"}})
	a.fails(400, "ftp_anonymous_user_invalid_error", "PATCH", path, map[string]any{"anonymous_user": map[string]string{"id_type": "NFS_UID", "id_value": "5"}})
	a.fails(400, "http_bad_request_error", "PATCH", path, map[string]any{"greeting": "a\rb"})
	a.ok("PATCH", path, map[string]any{"anonymous_user": nil}, &v)
	if v.AnonymousUser != nil || !v.ChrootUsers {
		t.Errorf("%+v", v)
	}
	a.ok("PUT", path, map[string]any{"enabled": true}, &v)
	if v != (ftpSettings{Enabled: true, CheckRemoteHost: true}) {
		t.Errorf("%+v", v)
	}
	var s ftpStatus
	a.ok("GET", "/v0/ftp/status", nil, &s)
	if len(s.Statuses) != 1 || s.Statuses[0] != (ftpNodeStatus{1, "FTP_SERVER_STOPPED"}) || !s.Settings.Enabled {
		t.Errorf("%+v", s)
	}
}

func TestSSH(t *testing.T) {
	a := newAPI(t)
	var v sshSettings
	a.ok("PATCH", "/v1/ssh/settings", map[string]any{"password_authentication": false}, &v)
	if v != (sshSettings{Enabled: true, SFTPEnabled: true}) {
		t.Errorf("%+v", v)
	}
	var s sshStatus
	a.ok("GET", "/v1/ssh/status", nil, &s)
	if s.Statuses[0] != (sshNodeStatus{1, "SSH_SERVER_FAILED", "in use"}) {
		t.Errorf("%+v", s)
	}
	const keys = "/v1/users/500/ssh-keys/"
	var k sshKey
	a.ok("POST", keys, map[string]string{"public_key": "ssh-ed25519 one"}, &k)
	if k.Fingerprint != "SHA256:one/+" || k.PublicKey != "ssh-ed25519 one" || k.CreationTime == "" {
		t.Errorf("%+v", k)
	}
	a.fails(409, "ssh_key_already_exists_error", "POST", keys, map[string]string{"public_key": "ssh-ed25519 one"})
	a.fails(400, "http_bad_request_error", "POST", keys, map[string]string{"public_key": "nonsense"})
	a.fails(404, "http_not_found_error", "POST", "/v1/users/4711/ssh-keys/", map[string]string{"public_key": "ssh-ed25519 one"})
	var all sshKeys
	a.ok("GET", keys, nil, &all)
	if len(all.Entries) != 1 {
		t.Errorf("%+v", all)
	}
	a.ok("DELETE", keys+url.PathEscape(k.Fingerprint), nil, nil)
	a.fails(404, "http_not_found_error", "DELETE", keys+url.PathEscape(k.Fingerprint), nil)
}
