package rest

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"manifold/internal/control/cli"
)

// terminal runs commands against a server over TLS, with a home of its own.
type terminal struct {
	t        *testing.T
	home     string
	host     string
	in       string
	password string
	env      map[string]string
}

func newTerminal(t *testing.T, a *api) *terminal {
	srv := httptest.NewTLSServer(a.handler)
	t.Cleanup(srv.Close)
	return &terminal{t: t, home: t.TempDir(), host: strings.TrimPrefix(srv.URL, "https://"), env: map[string]string{}}
}

func (x *terminal) try(args ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	root := &cobra.Command{Use: "manifold", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(cli.New(cli.Options{
		Out: &out, Err: &errOut, In: strings.NewReader(x.in), Home: x.home,
		Env:          func(k string) string { return x.env[k] },
		ReadPassword: func(string) (string, error) { return x.password, nil },
	})...)
	root.SetArgs(args)
	err = root.ExecuteContext(x.t.Context())
	return out.String(), errOut.String(), err
}

func (x *terminal) run(args ...string) string {
	x.t.Helper()
	out, errOut, err := x.try(args...)
	if err != nil {
		x.t.Fatalf("manifold %s: %v\n%s%s", strings.Join(args, " "), err, out, errOut)
	}
	return out
}

func (x *terminal) fails(want string, args ...string) {
	x.t.Helper()
	_, _, err := x.try(args...)
	if err == nil || !strings.Contains(err.Error(), want) {
		x.t.Errorf("manifold %s: %v, want an error with %q", strings.Join(args, " "), err, want)
	}
}

func TestCLI_session(t *testing.T) {
	a := newAPI(t)
	x := newTerminal(t, a)
	x.fails("manifold login", "whoami", "--host", x.host)
	x.password = "wrong"
	x.fails("cred_error", "login", "--host", x.host)
	x.password = adminPassword
	x.run("login", "admin", "--host", x.host)
	if out := x.run("whoami"); !strings.Contains(out, "admin") {
		t.Error(out)
	}
	path := filepath.Join(x.home, ".manifold", "credentials")
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	// Another certificate than the first one is refused, until it is accepted.
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Current string
		Servers map[string]map[string]string
	}
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	pin := c.Servers[c.Current]["fingerprint"]
	if len(pin) != 64 {
		t.Fatalf("%s", b)
	}
	other := strings.Repeat("0", 64)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), pin, other)), 0o600); err != nil {
		t.Fatal(err)
	}
	x.fails("trust-new-certificate", "whoami")
	x.run("whoami", "--insecure")
	x.fails("trust-new-certificate", "whoami")
	x.run("whoami", "--trust-new-certificate")
	x.run("whoami")

	x.in = adminPassword + "\nAnother-horse-2\n"
	x.run("change-password", "--password-stdin")
	x.in = "Another-horse-2\n"
	x.run("login", "--password-stdin")
	x.run("logout")
	x.fails("manifold login", "whoami")
	x.env["MANIFOLD_PASSWORD"] = "Another-horse-2"
	x.run("login", "-u", "admin")
	x.env["MANIFOLD_TOKEN"] = "1:nonsense"
	x.fails("manifold login", "whoami")
	delete(x.env, "MANIFOLD_TOKEN")
	x.env["MANIFOLD_PORT"] = "x"
	x.fails("MANIFOLD_PORT", "whoami")
}

func TestCLI_files(t *testing.T) {
	a := newAPI(t)
	x := newTerminal(t, a)
	x.run("login", "--host", x.host, "-p", adminPassword)
	x.run("fs", "mkdir", "-p", "/a/b c/d")
	x.run("fs", "mkdir", "-p", "/a/b c/d")
	x.fails("fs_entry_exists_error", "fs", "mkdir", "/a")
	x.in = "hello world"
	x.run("fs", "write", "--create", "/a/b c/f")
	if out := x.run("fs", "cat", "/a/b c/f"); out != "hello world" {
		t.Errorf("%q", out)
	}
	x.in = "W"
	x.run("fs", "write", "/a/b c/f", "-", "--offset", "6")
	if out := x.run("fs", "cat", "/a/b c/f", "--offset", "6", "--length", "2"); out != "Wo" {
		t.Errorf("%q", out)
	}
	local := filepath.Join(t.TempDir(), "local")
	if err := os.WriteFile(local, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.run("fs", "create", "/a/g")
	x.run("fs", "write", "/a/g", local)
	x.run("fs", "truncate", "/a/g", "4")
	if out := x.run("fs", "cat", "/a/g"); out != "from" {
		t.Errorf("%q", out)
	}
	x.run("fs", "ln", "/a/g", "/a/h")
	x.run("fs", "ln", "-s", "../x", "/a/s")
	x.run("fs", "mv", "/a/h", "/a/b c") // into it
	x.fails("fs_entry_exists_error", "fs", "mv", "/a/b c/h", "/a/s")
	x.run("fs", "mv", "-f", "/a/b c/h", "/a/s")
	x.run("fs", "chmod", "0750", "/a/g")
	x.run("fs", "chown", "1000:100", "/a/g")
	x.run("fs", "chown", "admin:Users", "/a")
	out := x.run("fs", "stat", "/a/g", "--json")
	if !strings.Contains(out, `"mode": "0750"`) || !strings.Contains(out, `"id_type": "NFS_UID"`) {
		t.Error(out)
	}
	if out := x.run("fs", "stat", "/a/g"); !strings.Contains(out, "NFS_UID 1000") {
		t.Error(out)
	}
	if out := x.run("fs", "ls", "/a"); out != "b c/\ng\ns\n" {
		t.Errorf("%q", out)
	}
	if out := x.run("fs", "ls", "-l", "/a", "--pattern", "G"); !strings.Contains(out, "-0750  2") || strings.Contains(out, "b c") {
		t.Error(out)
	}
	if out := x.run("fs", "aggregates", "/"); !strings.Contains(out, "a/") || !strings.Contains(out, "CAPACITY") {
		t.Error(out)
	}
	x.run("fs", "aggregates", "-r", "/")
	a.create("2", "esc\x1b[31m")
	if out := x.run("fs", "ls", "/"); strings.Contains(out, "\x1b") {
		t.Errorf("drives the terminal: %q", out)
	}
	x.run("fs", "rm", "/a/g", "/a/s")
	x.fails("fs_no_such_entry_error", "fs", "rm", "/a/g")
	x.fails("absolute path", "fs", "rm", "a/g")
	x.fails("--yes", "fs", "tree-delete", "/a")
	x.run("fs", "tree-delete", "/a", "--yes")
	x.run("fs", "tree-delete-status")
	x.fails("fs_no_such_entry_error", "fs", "stat", "/a")
}

func TestCLI_admin(t *testing.T) {
	a := newAPI(t)
	x := newTerminal(t, a)
	x.run("login", "--host", x.host, "-p", adminPassword)
	x.run("fs", "mkdir", "/d")

	first := strings.Fields(x.run("snapshot", "create", "/d", "--name", "one", "--ttl", "2days"))
	x.run("fs", "create", "/d/f")
	second := strings.Fields(x.run("snapshot", "create", "/d", "--name", "two"))
	if first[1] != first[0]+"_one" {
		t.Errorf("%q", first)
	}
	if out := x.run("snapshot", "diff", first[0], second[0]); !strings.Contains(out, "CREATE  f\n") {
		t.Errorf("%q", out)
	}
	if out := x.run("snapshot", "list"); !strings.Contains(out, second[1]) || !strings.Contains(out, "/d/") {
		t.Error(out)
	}
	if out := x.run("snapshot", "capacity"); !strings.Contains(out, "ID  FREED\n"+first[0]+"   0B\n") {
		t.Errorf("%q", out)
	}
	if out := x.run("snapshot", "capacity", first[0], second[0]) + x.run("snapshot_calculate_used_capacity", "--ids", first[0]+","+second[0]); out != "0B\n0B\n" {
		t.Errorf("%q", out)
	}
	x.run("snapshot", "modify", first[0], "--expires", "2100-01-01T00:00:00Z")
	if out := x.run("snapshot", "show", first[0]); !strings.Contains(out, "2100-01-01T00:00:00Z") {
		t.Error(out)
	}
	x.run("snapshot", "modify", first[0], "--expires", "never")
	x.run("snapshot", "delete", first[0])
	if out := x.run("snapshot", "list", "--json"); strings.Contains(out, "_one") {
		t.Error(out)
	}

	x.run("quota", "set", "/d", "1GiB")
	x.run("quota", "set", "/d", "2 GB")
	if out := x.run("quota", "show", "/d"); !strings.Contains(out, "2000000000") {
		t.Error(out)
	}
	if out := x.run("quota", "list"); !strings.Contains(out, "/d/") {
		t.Error(out)
	}
	x.fails("unit", "quota", "set", "/d", "20000000000GiB")
	x.run("quota", "rm", "/d")
	x.fails("api_quotas_quota_limit_not_found_error", "quota", "show", "/d")

	id := strings.TrimSpace(x.run("nfs", "export", "add", "/share", "/new/dir", "--create-directory", "--host-rule", "10.0.0.0/8,*.example.com", "--read-only", "--squash", "all", "--map-user", "1000", "--map-group", "100"))
	if out := x.run("nfs", "export", "list"); !strings.Contains(out, "10.0.0.0/8,*.example.com:ro,all_squash") {
		t.Error(out)
	}
	x.run("nfs", "export", "modify", "/share", "--description", "text", "--export-path", "/other")
	if out := x.run("nfs", "export", "show", id); !strings.Contains(out, "/other") || !strings.Contains(out, "text") || !strings.Contains(out, "10.0.0.0/8") {
		t.Error(out)
	}
	x.in = `[{"host_restrictions":["::1"],"user_mapping":"NFS_MAP_NONE"},{"host_restrictions":[],"read_only":true,"user_mapping":"NFS_MAP_ROOT"}]`
	x.run("nfs", "export", "modify", id, "--restrictions", "-")
	if out := x.run("nfs", "export", "show", "/other"); !strings.Contains(out, "Rule 2       everyone:ro,root_squash") {
		t.Error(out)
	}
	x.fails("exclude", "nfs", "export", "modify", id, "--restrictions", "-", "--read-only")
	x.run("nfs", "export", "delete", "/other")
	x.fails("nfs_export_doesnt_exist_error", "nfs", "export", "delete", id)

	if out := x.run("node", "version"); !strings.Contains(out, "test") {
		t.Error(out)
	}
	x.run("node", "state")
	x.run("node", "df")
	out := x.run("raw", "post", "/v1/files/%2F/entries/", `{"name":"r","action":"CREATE_FILE"}`)
	if !json.Valid([]byte(out)) || !strings.Contains(out, `"path":"/r"`) {
		t.Error(out)
	}
	x.fails("JSON", "raw", "POST", "/v1/files/2/entries/", "{")
	for _, noun := range []string{"fs", "snapshot", "quota", "nfs", "node"} {
		if out := x.run(noun); !strings.Contains(out, "Usage") {
			t.Error(out)
		}
	}
	x.fails("unknown command", "snapshot", "frob")
}
func TestCLI_top(t *testing.T) {
	a := newAPI(t)
	x := newTerminal(t, a)
	x.run("login", "--host", x.host, "-p", adminPassword)
	if out := x.run("top", "-i", "100ms", "-n", "1"); !strings.Contains(out, "PROTOCOL") {
		t.Error(out)
	}
	if out := x.run("top", "-i", "100ms", "-n", "2", "--json"); strings.Count(out, "\n") != 2 || !strings.Contains(out, `"operations":[]`) {
		t.Error(out)
	}
	x.fails("100ms", "top", "-i", "1ms")
}
