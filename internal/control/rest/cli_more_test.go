package rest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func (x *terminal) has(want string, args ...string) string {
	x.t.Helper()
	out := x.run(args...)
	if !strings.Contains(out, want) {
		x.t.Errorf("manifold %s: %q is not in\n%s", strings.Join(args, " "), want, out)
	}
	return out
}

// keyFile writes an ECDSA key as openssl does.
func (x *terminal) keyFile(name string) string {
	x.t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		x.t.Fatal(err)
	}
	b, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		x.t.Fatal(err)
	}
	path := filepath.Join(x.home, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: b}), 0o600); err != nil {
		x.t.Fatal(err)
	}
	return path
}

func signedIn(t *testing.T) *terminal {
	x := newTerminal(t, newAPI(t))
	x.password = adminPassword
	x.run("login", "admin", "--host", x.host)
	return x
}

func TestCLI_settings(t *testing.T) {
	x := signedIn(t)
	x.has("ntp.example", "time", "modify", "--server", "198.51.100.1,ntp.example")
	x.has("TIME_", "time", "show", "--json")
	x.has("Europe/Berlin", "time", "zones")
	x.run("dns", "modify", "--server", "198.51.100.53", "--search", "example")
	x.run("dns", "override", "set", "198.51.100.7", "static.example", "other.example")
	x.has("198.51.100.7 static.example other.example", "dns", "show")
	x.has("198.51.100.7", "dns", "show", "--json")
	x.run("dns", "override", "rm", "198.51.100.7")
	x.fails("no override", "dns", "override", "rm", "198.51.100.7")
	x.run("dns", "clear-cache")
	x.run("web", "modify", "--login-banner", "Hello", "--inactivity-timeout", "15m")
	x.has("15m0s", "web", "show")
	x.run("web", "modify", "--inactivity-timeout", "never")
	x.has("never", "web", "show")
	x.run("fs", "settings", "modify", "--atime", "day", "--permissions", "native")
	x.has("NATIVE", "fs", "settings", "show")
	x.run("fs", "settings", "modify", "--permissions", "cross-protocol", "--atime", "off")
	x.fails("nothing to change", "fs", "settings", "modify")
	x.run("cluster", "rename", "depot")
	x.has("depot", "cluster", "show")
	x.has("1", "cluster", "nodes", "1")
	x.has("ID", "cluster", "nodes")
	x.has("home_directory", "identity", "home", "uid:77", "/home/x", "--json")
	x.has("/home/x", "identity", "home", "uid:77")
	x.run("identity", "home", "uid:77", "")
	x.run("identity", "clear-cache")
}

func TestCLI_permissions(t *testing.T) {
	x := signedIn(t)
	x.run("fs", "mkdir", "/d")
	x.run("fs", "create", "/d/f")
	x.run("fs", "acl", "set", "/d", "--allow", "local:guest=READ,EXECUTE", "--deny", "uid:7=DELETE", "--inherit")
	x.has("DENIED", "fs", "acl", "show", "/d")
	x.has("uid:8", "fs", "acl", "add", "/d", "--who", "uid:8", "--rights", "READ", "--type", "denied", "--dry-run")
	x.has("gid:9", "fs_modify_acl", "--path", "/d", "add_entry", "-t", "gid:9", "-y", "Allowed", "-r", "Read contents", "Execute", "-f", "Object inherit")
	x.has("MODIFY", "fs_modify_acl", "--path", "/d", "modify_entry", "--old-trustee", "gid:9", "--new-rights", "Write data")
	x.fails("no such entry", "fs", "acl", "rm", "/d", "--who", "gid:10")
	x.fails("say which entry", "fs", "acl", "rm", "/d")
	x.fails("no entry 9", "fs", "acl", "rm", "/d", "--position", "9")
	x.has("SET_GID", "fs_modify_acl", "--path", "/d", "set_posix_special_permissions", "-p", "Set gid")
	x.run("fs", "acl", "special", "/d")
	if got := x.run("fs_modify_acl", "--path", "/d", "remove_entry", "-t", "gid:9"); strings.Contains(got, "gid:9") {
		t.Error(got)
	}
	copied := x.run("fs", "acl", "show", "/d", "--json")
	x.in = copied
	x.run("fs", "acl", "set", "/d/f", "-")
	x.has("READ", "fs", "acl", "explain", "/d/f", "local:guest")
	x.has("effective_rights", "fs", "acl", "explain", "/d/f", "local:guest", "--json", "--group", "gid:9", "--also", "gid:10")
	x.has("Mode", "fs", "acl", "explain-mode", "/d")
	x.has("INSERT_ACE", "fs", "acl", "explain-chmod", "/d", "0750")
	x.fails("WHO=RIGHT", "fs", "acl", "set", "/d", "--allow", "guest")
	x.fails("give a file", "fs", "acl", "set", "/d")
	x.run("fs", "lock", "/d/f", "--until", "2099-01-01T00:00:00Z", "--legal-hold", "on")
	x.fails("", "fs", "rm", "/d/f")
	x.fails("", "fs", "tree-delete", "/d", "--yes")
	x.has("Legal hold  on", "fs", "stat", "/d/f", "--lock")
	x.has("2099-01-01T00:00:00Z", "fs_file_get_attr", "--path", "/d/f", "--retrieve-file-lock")
	x.run("fs", "lock", "/d/f", "--legal-hold", "off")
	x.fails("", "fs", "lock", "/d/f", "--until", "2050-01-01T00:00:00Z")
	x.fails("say --until", "fs", "lock", "/d/f")
}

func TestCLI_content(t *testing.T) {
	x := signedIn(t)
	local := filepath.Join(x.home, "in")
	data := strings.Repeat("0123456789", 100_000)
	if err := os.WriteFile(local, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
	x.run("fs", "mkdir", "/d")
	x.run("fs", "upload", local, "/d")
	x.fails("--force", "fs", "upload", local, "/d")
	x.run("fs", "upload", local, "/d/in", "--force")
	x.run("fs", "cp", "/d/in", "/d/copy")
	x.fails("--force", "fs", "cp", "/d/in", "/d/copy")
	x.run("fs", "cp", "/d/in", "/d/copy", "--force")
	out := filepath.Join(x.home, "out")
	x.run("fs", "download", "/d/copy", out)
	x.fails("--force", "fs", "download", "/d/copy", out)
	if b, err := os.ReadFile(out); err != nil || string(b) != data {
		t.Errorf("%d bytes came back, %v", len(b), err)
	}
	x.run("fs", "punch", "/d/copy", "0", "4")
	if got := x.run("fs", "cat", "/d/copy", "--length", "6"); got != "\x00\x00\x00\x0045" {
		t.Errorf("%q", got)
	}
	x.run("fs", "stream", "add", "/d/in", "s")
	x.in = "stream content"
	x.run("fs", "stream", "write", "/d/in", "s")
	x.has("14", "fs", "stream", "list", "/d/in")
	x.has("stream content", "fs", "stream", "cat", "/d/in", "S")
	x.run("fs", "stream", "truncate", "/d/in", "s", "6")
	x.run("fs", "stream", "punch", "/d/in", "s", "0", "1")
	x.run("fs", "stream", "cp", "/d/in", "s", "/d/copy")
	x.run("fs", "stream", "mv", "/d/in", "s", "t")
	x.has("1000000", "fs", "stream", "show", "/d/in", "t")
	x.run("fs", "stream", "rm", "/d/in", "t")
	x.fails("no stream", "fs", "stream", "rm", "/d/in", "t")
	x.run("fs", "metadata", "set", "/d/in", "colour", "blue", "--new")
	x.has("blue", "fs", "metadata", "get", "/d/in", "colour")
	x.has("colour", "fs", "metadata", "list", "/d/in")
	x.run("fs", "metadata", "rm", "/d/in", "colour")
	x.has("in", "fs", "sample", "/d", "-n", "100")
	x.run("ssl", "ciphers", "set", "--tls12", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")
	x.has("TLS_AES_128_GCM_SHA256", "ssl", "ciphers", "show")
	x.has("/d/", "fs", "ls", "/d", "--json")
	x.has(`"path": "/"`, "fs", "path", "2", "--json")
}

func TestCLI_policies(t *testing.T) {
	x := signedIn(t)
	x.run("fs", "mkdir", "/d")
	key, other := x.keyFile("key.pem"), x.keyFile("other.pem")
	x.run("snapshot", "key", "add", "vault", key, "--comment", "of the vault")
	x.has("vault", "snapshot", "key", "list")
	x.has("BEGIN", "snapshot", "key", "show", "vault", "--json")
	x.run("snapshot", "policy", "add", "nightly", "/d", "--at", "02:30", "--timezone", "Europe/Berlin", "--ttl", "14days", "--lock-key", "vault")
	x.run("snapshot", "policy", "add", "often", "/", "--every", "15m", "--window", "08:00-18:00", "--on", "mon,tue", "--ttl", "2days")
	x.run("snapshot", "policy", "add", "monthly", "/", "--at", "01:00", "--day-of-month", "last", "--disabled")
	x.has("every 15m from 08:00 to 18:00 on MON,TUE", "snapshot", "policy", "list")
	x.has("Europe/Berlin", "snapshot", "policy", "show", "1")
	x.has("last day", "snapshot", "policy", "show", "3")
	x.run("snapshot", "policy", "modify", "1", "--at", "03:00", "--ttl", "7days", "--disabled")
	x.has("03:00", "snapshot", "policy", "list")
	x.fails("say when", "snapshot", "policy", "add", "x", "/d")
	x.has("1", "snapshot", "key", "uses", "vault")
	out := strings.Fields(x.run("snapshot", "create", "/d", "--ttl", "2days"))
	x.run("snapshot", "lock", out[0], "vault")
	x.fails("", "snapshot", "delete", out[0])
	x.fails("signature", "snapshot", "unlock", out[0], other)
	x.run("snapshot", "key", "replace", "vault", key, other)
	x.run("snapshot", "unlock", out[0], other)
	x.run("snapshot", "delete", out[0])
	x.run("snapshot", "policy", "rm", "1")
	x.run("snapshot", "key", "modify", "vault", "--name", "old", "--disabled")
	x.run("snapshot", "key", "rm", "old")
	// The names of the reference command line.
	x.has("often", "snapshot_list_policies")
	x.has("/d", "fs_file_get_attr", "--path", "/d")
	x.run("quota_create_quota", "--path", "/d", "--limit", "5GB")
	x.has("/d", "quota_list_quotas")
}

// Parts of exports, shares and attributes change alone, under our names and those
// of the reference command line.
func TestCLI_parts(t *testing.T) {
	x := signedIn(t)
	x.run("fs", "mkdir", "/d")
	x.run("nfs_add_export", "--export-path", "/e", "--fs-path", "/d", "--no-restrictions", "--fields-to-present-as-32-bit", "FILE_IDS")
	x.run("nfs_mod_export_host_access", "--export-path", "/e", "add_entry", "-o", "192.0.2.1", "192.0.2.7-9", "--ro", "--root-squash", "--anon-uid", "9", "--anon-gid", "8", "-a", "0")
	x.has("192.0.2.1,192.0.2.7-9:ro,root_squash", "nfs", "export", "show", "/e")
	x.has(`"id_value": "9"`, "nfs", "export", "show", "/e", "--json")
	x.has("everyone:ro", "nfs", "export", "rule", "modify", "/e", "2", "--read-only")
	x.has("FILE_IDS", "nfs", "export", "rule", "rm", "/e", "2")
	x.fails("there is no rule 2; there are 1", "nfs", "export", "rule", "rm", "/e", "2")
	x.fails("there is no rule 3", "nfs", "export", "rule", "add", "/e", "--after", "3")
	x.fails("nothing to change", "nfs", "export", "rule", "modify", "/e", "1")
	if out := x.run("nfs", "export", "rule", "modify", "/e", "1", "--squash", "none", "--host-rule", "*", "--json"); strings.Contains(out, "192.0.2") || strings.Contains(out, `"9"`) {
		t.Error(out)
	}
	rules := filepath.Join(x.home, "rules.json")
	if err := os.WriteFile(rules, []byte(`{"restrictions": [{"host_restrictions": ["192.0.2.3"], "user_mapping": "all", "map_to_user": {"id_type": "LOCAL_USER", "id_value": "guest"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	x.run("nfs_mod_export", "--export-path", "/e", "--restrictions", rules)
	x.has("192.0.2.3:rw,all_squash", "nfs", "export", "show", "/e")

	x.run("smb_add_share", "--name", "s", "--fs-path", "/d", "--grant-read-write-access", "admin", "--deny-hosts", "192.0.2.1", "--full-control-hosts", "*")
	x.has("READ,WRITE", "smb", "share", "show", "s")
	x.has("not 192.0.2.1:READ,WRITE,CHANGE_PERMISSIONS; everyone:READ", "smb", "share", "show", "s")
	x.has("not local:guest:READ,WRITE,CHANGE_PERMISSIONS; local:admin:READ,WRITE", "smb_mod_share_permissions", "--name", "s", "add_entry", "-t", "local:guest", "-y", "Denied", "-r", "All")
	x.has("not local:guest:WRITE;", "smb", "share", "permission", "modify", "s", "--old-rights", "all", "--rights", "write")
	x.has("READ,CHANGE_PERMISSIONS", "smb_mod_share_permissions", "--name", "s", "modify_entry", "-p", "2", "--new-rights", "Read", "Change permissions")
	x.has("Permissions                  local:admin", "smb", "share", "permission", "rm", "s", "--position", "1", "--dry-run")
	x.has("not local:guest", "smb", "share", "show", "s")
	x.run("smb", "share", "permission", "rm", "s", "--who", "local:guest")
	x.fails("no such entry", "smb", "share", "permission", "rm", "s", "--who", "local:guest")
	x.run("smb_mod_share_permissions", "--name", "s", "replace", "--no-access")
	x.has("nobody", "smb", "share", "show", "s")

	x.run("fs", "create", "/d/f")
	x.run("fs_file_set_attr", "--path", "/d/f", "--mode", "0640", "--size", "3", "--owner-uid", "7", "--creation-time", "2020-01-31T00:00:00Z")
	x.run("fs_file_set_smb_attrs", "--path", "/d/f", "--hidden", "true")
	for _, want := range []string{`"mode": "0640"`, `"size": "3"`, `"creation_time": "2020-01-31T00:00:00Z"`, `"hidden": true`} {
		x.has(want, "fs", "stat", "/d/f", "--json")
	}
	x.fails("nothing to change", "fs", "set", "/d/f")
	x.fails("want a time", "fs", "set", "/d/f", "--access-time", "noon")

	over := filepath.Join(x.home, "over.json")
	if err := os.WriteFile(over, []byte(`{"lookup_overrides": [{"ip_address": "198.51.100.7", "aliases": ["a.example"]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	x.run("dns_set_lookup_overrides", "--file", over)
	x.has("198.51.100.7 a.example", "dns", "show")
	if err := os.WriteFile(over, []byte("Be *careful*."), 0o600); err != nil {
		t.Fatal(err)
	}
	x.fails("overrides:", "dns", "override", "load", over)
	x.has("Be *careful*.", "web_ui_modify_settings", "--login-banner", over, "--inactivity-timeout", "15")
	x.has(`"id": "1"`, "auth_create_access_token", "--expiration-time", "2030-01-31T00:00:00Z", "admin", "--json")
	x.run("auth_modify_access_token", "1", "--expiration-time", "2031-01-31T00:00:00Z")
	x.has("2031-01-31T00:00:00Z", "access-token", "list")
	x.run("access-token", "modify", "1", "--expires", "never")
	x.has("never", "access-token", "list")
	x.has("true", "auth_get_access_token", "1")
	x.fails("want a time", "access-token", "modify", "1", "--expires", "soon")

	x.run("user", "add", "jane", "--password", "Aa1!Aa1!")
	x.run("s3_add_bucket", "--name", "b")
	x.has("Enabled", "s3_modify_bucket", "--name", "b", "--enable-object-lock-with-retention-days", "30")
	x.fails("want a time as 30days", "s3", "bucket", "modify", "b", "--default-retention", "30")
	x.run("s3", "bucket", "modify", "b", "--default-retention", "none")
	x.has("Versioning         Enabled", "s3_get_bucket", "--name", "b")
	x.fails("there is no bucket c", "s3", "bucket", "show", "c")
	x.has(`"s3:GetObject"`, "s3_modify_bucket_policy", "--bucket", "b", "append_statement", "--type", "Allow", "--principals", "local:jane", "--actions", "s3:GetObject,s3:PutObject", "--sid", "one")
	x.has(`"Index": 2`, "s3", "policy", "statement", "add", "b", "--effect", "allow", "--principal", "Everyone", "--action", "s3:*")
	if out := x.has(`"Deny"`, "s3_modify_bucket_policy", "--bucket", "b", "modify_statement", "--index", "2", "--type", "Deny", "--new-principals", "local:guest"); strings.Contains(out, "Everyone") {
		t.Error(out)
	}
	if out := x.has("local:guest", "s3", "policy", "statement", "rm", "b", "1"); strings.Contains(out, "jane") || strings.Contains(out, "one") {
		t.Error(out)
	}
	x.fails("there is no statement 2; there are 1", "s3", "policy", "statement", "rm", "b", "2")
	x.fails("give --effect", "s3", "policy", "statement", "add", "b")
	x.fails("s3 policy delete", "s3_modify_bucket_policy", "--bucket", "b", "delete_statement", "--index", "1")
}
