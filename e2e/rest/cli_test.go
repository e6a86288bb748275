package rest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"manifold/e2e/harness"
)

// Every noun of the command line is used once as an administrator would.
func TestCLI(t *testing.T) {
	s := harness.StartServer(t)
	dir := t.TempDir()
	in := filepath.Join(dir, "in")
	if err := os.WriteFile(in, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errOut, err := s.CLI(t.Context(), "fs", "ls", "/"); err == nil || !strings.Contains(errOut, "login") {
		t.Errorf("without a login: %v, %q", err, errOut)
	}
	for _, c := range []struct {
		args, want string // want is a regular expression
	}{
		{"login --password " + harness.Password, ""},
		{"whoami", `admin`},
		{"node version", `Qumulo Core 7\.2\.3`},
		{"node state", `ACTIVE`},
		{"node df", `Free +\d`},
		{"raw GET /v1/version", `"revision_id"`},

		{"fs mkdir /d", ""},
		{"fs create /d/f", ""},
		{"fs write /d/f " + in, ""},
		{"fs cat /d/f", `^hello\n$`},
		{"fs ln /d/f /d/h", ""},
		{"fs ln -s f /d/s", ""},
		{"fs mv /d/h /d/i", ""},
		{"fs ls /d", `^f\ni\ns@\n$`},
		{"fs chmod 600 /d/f", ""},
		{"fs truncate /d/f 3", ""},
		{"fs stat /d/f", `Mode +0600[\s\S]*Size +3[\s\S]*Links +2`},
		{"fs aggregates /", `/ +\S+ +3 +\S+ +1 +1 +1 +0`},

		{"quota set /d 1GiB", ""},
		{"quota list", `/d/ +1\.0GiB`},
		{"quota show /d", `Limit +1073741824`},
		{"quota rm /d", ""},

		{"snapshot create /d --name one", `1_one`},
		{"fs rm /d/i", ""},
		{"snapshot create /d --name two", `2_two`},
		{"snapshot list", `1_one[\s\S]*2_two`},
		{"snapshot diff 1 2", `DELETE +i\b`},
		{"fs cat /d/.snapshot/1_one/i", `^hel$`},
		{"snapshot delete 1", ""},

		{"nfs export add /e /d --description x", ""},
		{"nfs export list", `/e +/d`},
		{"nfs export show /e", `/d`},
		{"nfs export delete /e", ""},

		{"fs upload " + in + " /d/up", ""},
		{"fs cp /d/up /d/down", ""},
		{"fs download /d/down " + filepath.Join(dir, "out"), ""},
		{"fs acl show /d", `ALLOWED`},
		{"fs acl explain /d local:guest", `Effective +\S+`},
		{"fs metadata set /d/up k v", ""},
		{"fs metadata list /d/up", `GENERIC +k +v`},
		{"fs stream add /d/up s", ""},
		{"fs stream list /d/up", `\bs\b`},
		{"fs settings show", `Permissions +CROSS_PROTOCOL`},
		{"snapshot policy add often /d --every 15m --ttl 2days", ""},
		{"snapshot policy list", `every 15m`},
		{"snapshot policy rm 1", ""},
		{"cluster show", `Name`},
		{"cluster nodes", `ONLINE|online`},
		{"node ports", `REST|rest`},
		{"network interfaces", `NAME`},
		{"network connections", `CLIENT`},
		{"time show", `TIME_`},
		{"dns show", `Servers`},
		{"dns resolve localhost", `localhost`},
		{"web show", `never`},
		{"analytics activity", `RATE`},
		{"analytics capacity", `USED`},
		{"analytics series", `SAMPLES`},
		{"smb lock list", `FILE`},
		{"identity find local:guest", `501`},
		{"fs_read_dir --path /d", `up`},
		{"quota_list_quotas", `DIRECTORY|ID|PATH`},
		{"completion bash", `__complete|_manifold`},
		{"completion zsh", `compdef`},
		{"completion fish", `complete -c manifold`},
		{"__complete user show a", `^admin\n`},
		{"__complete fs ls /d/u", `^/d/up\n`},

		{"fs tree-delete /d --yes --wait", ""},
		{"fs ls /", `^$`},
		{"change-password --help", `assword`},
		{"logout", ""},
	} {
		out, errOut, err := s.CLI(t.Context(), strings.Fields(c.args)...)
		if err != nil || !regexp.MustCompile(c.want).MatchString(out) {
			t.Errorf("manifold %s: %v, want %q\n%s%s", c.args, err, c.want, out, errOut)
		}
	}
}

func TestCLI_json(t *testing.T) {
	s := harness.StartServer(t)
	s.MustCLI(t, "login", "--password", harness.Password)
	for _, args := range []string{
		"fs stat /", "fs ls /", "fs aggregates /", "quota list", "snapshot list", "nfs export list", "node version", "node df", "whoami",
		"fs acl show /", "fs acl explain / local:guest", "fs acl explain-mode /", "fs acl explain-chmod / 0700", "fs metadata list /", "fs stream list /", "fs settings show", "fs sample /",
		"snapshot policy list", "snapshot key list", "cluster show", "cluster nodes", "node ports", "network interfaces", "network connections", "time show", "time zones",
		"dns show", "dns resolve localhost", "web show", "analytics activity", "analytics capacity", "analytics series", "smb lock list", "smb lock share-modes",
	} {
		out := s.MustCLI(t, append(strings.Fields(args), "--json")...)
		if !json.Valid([]byte(out)) {
			t.Errorf("manifold %s --json: %q", args, out)
		}
	}
}

// An operator who lost the password gets in again, on the machine only.
func TestResetPassword(t *testing.T) {
	s := harness.StartServer(t)
	s.Stop(t)
	out := s.MustCLI(t, "reset-admin-password", "--help")
	if !strings.Contains(out, "--data") {
		t.Fatalf("%s", out)
	}
	s.MustCLI(t, "reset-admin-password", "--data", s.Data)
	s.Start(t)
	if got := s.Anonymous(t); got != nil {
		refused(t, got, "POST", "/v1/session/login", object{"username": "admin", "password": "something-Else-1"}, 401, "")
	}
	s.Login(t) // the new one is in MANIFOLD_ADMIN_PASSWORD, as at first start
}
