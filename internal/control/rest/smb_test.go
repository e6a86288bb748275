package rest

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// clients are two sessions and a handle that can be closed.
type clients struct{ closed []uint64 }

func (c *clients) Sessions() []control.SMBSession {
	at := netip.MustParseAddrPort("[::ffff:192.0.2.7]:5000")
	return []control.SMBSession{
		{ID: 5, Client: at, Server: netip.MustParseAddrPort("192.0.2.1:445"), User: identity.Admin, Opens: 2, Opened: time.Unix(0, 0), Active: time.Unix(1, 0), Shares: []string{"Files"}},
		{ID: 6, Client: at, User: identity.Guest, Guest: true},
	}
}

func (c *clients) Opens() []control.SMBOpen {
	return []control.SMBOpen{{ID: 9, Node: fs.Root, Access: 0x00120081, Locks: 1, User: identity.Admin, Share: fs.ShareRead, Client: netip.MustParseAddrPort("[::ffff:192.0.2.7]:5000")}}
}
func (c *clients) CloseSession(id uint64) bool { c.closed = append(c.closed, id); return id == 5 }
func (c *clients) CloseOpen(_ context.Context, id uint64) bool {
	c.closed = append(c.closed, id)
	return id == 9
}

func TestShares(t *testing.T) {
	a := newAPI(t)
	first := a.must(200, "GET", "/v2/smb/shares/Files", nil)
	if first.str("fs_path") != "/" || first.str("permissions", 0, "trustee", "name") != "Everyone" || first.str("permissions", 0, "rights", 2) != "CHANGE_PERMISSIONS" || first.str("bytes_per_sector") != "512" {
		t.Errorf("%s", first.raw)
	}
	in := object{
		"share_name": "Docs", "fs_path": "/docs", "description": "d", "access_based_enumeration_enabled": true, "default_file_create_mode": "0640", "require_encryption": true,
		"permissions": []object{
			{"type": "DENIED", "trustee": object{"name": "guest"}, "rights": []string{"ALL"}},
			{"type": "ALLOWED", "trustee": object{"auth_id": "513"}, "rights": []string{"READ", "DELETE"}},
		},
		"network_permissions": []object{{"type": "ALLOWED", "address_ranges": []string{"10.0.0.0/8"}, "rights": []string{"READ"}}},
	}
	a.fails(404, "fs_no_such_entry_error", "POST", "/v2/smb/shares/", in)
	made := a.must(200, "POST", "/v2/smb/shares/?allow-fs-path-create=true", in)
	id := made.str("id")
	if made.str("permissions", 1, "trustee", "name") != "Users" || strings.Join(strs(made.list("permissions", 1, "rights")), " ") != "READ DELETE" ||
		strings.Join(strs(made.list("permissions", 0, "rights")), " ") != "READ WRITE CHANGE_PERMISSIONS" || made.str("default_directory_create_mode") != "0755" {
		t.Errorf("%s", made.raw)
	}
	a.fails(409, "smb_share_already_exists_error", "POST", "/v3/smb/shares/", object{"share_name": "DOCS", "fs_path": "/", "permissions": []object{}})
	etag := made.header.Get("ETag")
	for _, p := range []string{"/v2/smb/shares/docs", "/v2/smb/shares/" + id, "/v3/smb/shares/" + id, "/v1/smb/shares/" + id} {
		if got := a.must(200, "GET", p, nil); got.str("share_name") != "Docs" || got.header.Get("ETag") != etag {
			t.Errorf("%s: %s", p, got.raw)
		}
	}
	a.fails(404, "smb_share_doesnt_exist_error", "GET", "/v3/smb/shares/Docs", nil)
	a.must(200, "GET", "/v1/smb/shares/", nil).str(1, "id")
	a.must(200, "GET", "/v3/smb/shares/", nil).str("entries", 1, "id")
	got := a.must(200, "PATCH", "/v3/smb/shares/"+id, object{"network_permissions": []object{}}, "If-Match", etag)
	if len(got.list("network_permissions")) != 0 || got.str("description") != "d" {
		t.Errorf("%s", got.raw)
	}
	a.fails(412, "http_precondition_failed_error", "PATCH", "/v3/smb/shares/"+id, object{"description": "e"}, "If-Match", etag)
	got = a.must(200, "PUT", "/v1/smb/shares/"+id, object{"share_name": "Old", "fs_path": "/docs", "read_only": true, "allow_guest_access": true})
	if got.at("read_only") != true || got.at("allow_guest_access") != true || got.at("access_based_enumeration_enabled") != false {
		t.Errorf("%s", got.raw)
	}
	for _, bad := range []object{
		{"share_name": "x"}, {"share_name": "a/b", "fs_path": "/"}, {"share_name": "x", "fs_path": "docs"}, {"share_name": "x", "fs_path": "/", "bytes_per_sector": "4096"},
		{"share_name": "x", "fs_path": "/", "permissions": []object{{"type": "ALLOWED", "trustee": object{"name": "admin"}, "rights": []string{"FLY"}}}},
		{"share_name": "x", "fs_path": "/", "network_permissions": []object{{"type": "ALLOWED", "address_ranges": []string{"nonsense"}, "rights": []string{"READ"}}}},
	} {
		a.must(400, "POST", "/v2/smb/shares/", bad)
	}
	a.must(200, "DELETE", "/v2/smb/shares/old", nil)
	a.fails(404, "smb_share_doesnt_exist_error", "DELETE", "/v2/smb/shares/old", nil)
}

func strs(in []any) []string {
	var out []string
	for _, x := range in {
		s, _ := x.(string)
		out = append(out, s)
	}
	return out
}

func TestSMBSettings(t *testing.T) {
	a := newAPI(t)
	const path = "/v1/smb/settings"
	got := a.must(200, "GET", path, nil)
	if string(got.raw) != `{"session_encryption":"NONE","supported_dialects":["SMB2_DIALECT_2_002","SMB2_DIALECT_2_1","SMB2_DIALECT_3_0","SMB2_DIALECT_3_11"],"hide_shares_from_unauthorized_users":false,"hide_shares_from_unauthorized_hosts":false,"snapshot_directory_mode":"VISIBLE","bypass_traverse_checking":false,"signing_required":false}` {
		t.Errorf("%s", got.raw)
	}
	etag := got.header.Get("ETag")
	got = a.must(200, "PATCH", path, object{"session_encryption": "REQUIRED", "supported_dialects": []string{}, "signing_required": true})
	if v := a.config.SMBInForce(); len(v.Dialects) != 0 || !v.SigningRequired || got.str("session_encryption") != "REQUIRED" {
		t.Errorf("%+v %s", v, got.raw)
	}
	a.fails(412, "http_precondition_failed_error", "PUT", path, object{}, "If-Match", etag)
	a.fails(400, "decode_error", "PATCH", path, object{"supported_dialects": []string{"NT1"}})
	a.fails(400, "decode_error", "PATCH", path, object{"snapshot_directory_mode": "GONE"})
	if got := a.must(200, "PUT", path, object{"snapshot_directory_mode": "HIDDEN"}); len(got.list("supported_dialects")) != 4 || got.str("snapshot_directory_mode") != "HIDDEN" {
		t.Errorf("%s", got.raw)
	}
}

func TestSMBClients(t *testing.T) {
	a := newAPI(t)
	got := a.must(200, "GET", "/v1/smb/sessions/?limit=1", nil)
	if got.str("session_infos", 0, "location") != "1.5" || got.str("session_infos", 0, "originator") != "192.0.2.7" || got.str("session_infos", 0, "user", "name") != "admin" {
		t.Errorf("%s", got.raw)
	}
	if got = a.must(200, "GET", got.str("paging", "next"), nil); got.str("session_infos", 0, "location") != "1.6" || got.str("paging", "next") != "" {
		t.Errorf("%s", got.raw)
	}
	if got = a.must(200, "GET", "/v1/smb/sessions/?identity=local:guest", nil); len(got.list("session_infos")) != 1 {
		t.Errorf("%s", got.raw)
	}
	got = a.must(200, "GET", "/v1/smb/files/?resolve_paths=True", nil)
	if got.str("file_handles", 0, "file_number") != "2" || got.str("file_handles", 0, "handle_info", "path") != "/" || got.str("file_handles", 0, "handle_info", "access_mask", 1) != "MS_ACCESS_FILE_READ_ATTRIBUTES" {
		t.Errorf("%s", got.raw)
	}
	got = a.must(200, "POST", "/v1/smb/files/close", []any{got.at("file_handles", 0), object{"handle_info": object{"location": "1.10"}}})
	if got.str(0, "error_message") != "" || got.str(1, "error_message") == "" {
		t.Errorf("%s", got.raw)
	}
	got = a.must(200, "POST", "/v1/smb/sessions/close", []object{{"location": "1.5"}, {"location": "2.5"}, {"location": "x"}})
	if got.str(0, "error_message") != "" || got.str(1, "error_message") == "" || got.str(2, "error_message") == "" {
		t.Errorf("%s", got.raw)
	}
}

func TestSMB_commands(t *testing.T) {
	a := newAPI(t)
	x := newTerminal(t, a)
	x.run("login", "--host", x.host, "-p", adminPassword)
	x.run("smb", "share", "add", "Docs", "/docs", "--create-directory", "--grant", "local:admin", "--grant-read", "Everyone,guest", "--deny-host", "10.0.0.1", "--host", "10.0.0.0/8")
	if out := x.run("smb", "share", "list"); !strings.Contains(out, "local:admin:READ,WRITE,CHANGE_PERMISSIONS; Everyone:READ; local:guest:READ") ||
		!strings.Contains(out, "not 10.0.0.1:READ,WRITE,CHANGE_PERMISSIONS; 10.0.0.0/8:") {
		t.Error(out)
	}
	x.run("smb", "share", "modify", "docs", "--name", "Papers", "--require-encryption", "--file-mode", "0600")
	if out := x.run("smb", "share", "show", "papers"); !strings.Contains(out, "0600") || !strings.Contains(out, "Requires encryption") {
		t.Error(out)
	}
	x.run("smb", "share", "delete", "Papers")
	if out := x.run("smb", "settings", "modify", "--dialects", "3_0,3_11", "--encryption", "preferred"); !strings.Contains(out, "3_0, 3_11") || !strings.Contains(out, "PREFERRED") {
		t.Error(out)
	}
	if out := x.run("smb", "settings", "modify", "--dialects", "none"); !strings.Contains(out, "SMB is off") {
		t.Error(out)
	}
	if out := x.run("smb", "session", "list"); !strings.Contains(out, "1.5") || !strings.Contains(out, "local:admin") {
		t.Error(out)
	}
	if out := x.run("smb", "file", "list"); !strings.Contains(out, "1.9") {
		t.Error(out)
	}
	x.run("smb", "session", "close", "1.5")
	x.fails("there is no", "smb", "file", "close", "1.9", "1.77")
}
