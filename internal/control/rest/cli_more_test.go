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
