package cli

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"manifold/client"
)

func TestSize(t *testing.T) {
	for s, want := range map[string]client.Number{
		"0": 0, "100": 100, "5B": 5, "1k": 1024, "10GiB": 10 << 30, "2 TB": 2e12, "15EiB": 15 << 60, "18446744073709551615": 1<<64 - 1,
	} {
		if got, err := size(s); err != nil || got != want {
			t.Errorf("%q: %d %v", s, got, err)
		}
	}
	for _, s := range []string{"", "GiB", "-1", "1.5GB", "16EiB", "1XB", "1 2"} {
		if n, err := size(s); err == nil {
			t.Errorf("%q: %d", s, n)
		}
	}
	for n, want := range map[client.Number]string{0: "0B", 1023: "1023B", 1024: "1.0KiB", 1536 << 20: "1.5GiB", 1<<64 - 1: "16.0EiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestPlace(t *testing.T) {
	for s, want := range map[string]string{"/a": "/ a", "/a/b/": "/a b", "/a//b/../c": "/a c"} {
		if dir, name, err := place(s); err != nil || string(dir)+" "+name != want {
			t.Errorf("%q: %s %s %v", s, dir, name, err)
		}
	}
	for _, s := range []string{"", "/", "a", "a/b", "/.."} {
		if _, _, err := place(s); err == nil {
			t.Errorf("%q: accepted", s)
		}
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{"ä b": "ä b", "a\nb": `"a\nb"`, "\x1b[31m": `"\x1b[31m"`, "\u009b": `"\u009b"`} {
		if got := printable(s); got != want {
			t.Errorf("%q: %s", s, got)
		}
	}
}

// The shell of a server reads none of the server's files.
func TestNoLocalFiles(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		_, _ = io.WriteString(w, `[{"id":"500","name":"jane"}]`)
	}))
	defer srv.Close()
	c, err := client.New(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	const file = "cli_test.go"
	for _, args := range [][]string{
		{"s3", "policy", "set", "b", file}, {"ssh", "key", "add", "jane", file}, {"fs", "write", "/f", file}, {"nfs", "export", "add", "/e", "/e", "--restrictions", file},
	} {
		root := &cobra.Command{Use: "manifold", SilenceUsage: true, SilenceErrors: true}
		root.AddCommand(New(Options{Client: c, Out: io.Discard, Err: io.Discard, In: strings.NewReader("{}")})...)
		root.SetArgs(args)
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "no local files") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

var update = flag.Bool("update", false, "rewrite generated documents")

// The command list is what the commands say of themselves.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Commands of an operator

Generated from internal/control/cli; do not edit. Every command takes --host, --port,
--json, --insecure and --trust-new-certificate. A file is an absolute path or an id.

`)
	var walk func(prefix string, c *cobra.Command)
	walk = func(prefix string, c *cobra.Command) {
		if c.Hidden {
			return
		}
		if !c.HasSubCommands() {
			fmt.Fprintf(&b, "- `%s%s`: %s.", prefix, c.Use, c.Short)
			c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name != "help" {
					fmt.Fprintf(&b, " `--%s`: %s.", f.Name, f.Usage)
				}
			})
			b.WriteByte('\n')
		}
		for _, sub := range c.Commands() {
			walk(prefix+c.Name()+" ", sub)
		}
	}
	for _, c := range New(Options{Home: t.TempDir()}) {
		walk("manifold ", c)
	}
	const path = "../../../docs/reference/commands.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the code says (%v); run: go test ./internal/control/cli -run TestDocs -update", path, err)
	}
}

// Every method of the client is behind some command.
func TestMethods(t *testing.T) {
	// Parts of others, or not for people.
	not := []string{"Close", "Do", "SetToken", "Token", "Server", "AddQuota"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				used[s.Sel.Name] = true
			}
			return true
		})
	}
	c := reflect.TypeFor[*client.Client]()
	for i := range c.NumMethod() {
		if name := c.Method(i).Name; !used[name] && !slices.Contains(not, name) {
			t.Errorf("no command uses %s", name)
		}
	}
}

func newRoot(o Options) *cobra.Command {
	root := &cobra.Command{Use: "manifold", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(New(o)...)
	return root
}

// Aliases stand for commands that there are, with arguments that they take.
func TestAliases(t *testing.T) {
	root := newRoot(Options{Home: t.TempDir()})
	seen := map[string]bool{}
	for _, x := range aliases {
		if seen[x.name] {
			t.Errorf("%s is there twice", x.name)
		}
		seen[x.name] = true
		words, always, _ := strings.Cut(x.to, " --")
		c, rest, err := root.Find(strings.Fields(words))
		if err != nil || len(rest) != 0 && c.Name() != "raw" || c.HasSubCommands() || c.Hidden {
			t.Errorf("%s: there is no command %q", x.name, x.to)
			continue
		}
		if always, _, _ := strings.Cut(always, "="); always != "" && c.Flag(always) == nil {
			t.Errorf("%s: %q has no --%s", x.name, x.to, always)
		}
		takes := slices.DeleteFunc(slices.Clone(x.args), func(a string) bool { return strings.HasPrefix(a, "&") })
		if places := len(strings.Fields(c.Use)) - 1; len(takes) > places {
			t.Errorf("%s: %q takes %d arguments, not %d", x.name, c.Use, places, len(x.args))
		}
		for _, to := range x.flags {
			to, conversion, _ := strings.Cut(to, "|")
			if conversion != "" && !strings.HasPrefix(conversion, "+") && !strings.HasSuffix(conversion, ":") && conversions[conversion] == nil {
				t.Errorf("%s: there is no conversion %s", x.name, conversion)
			}
			to, _, _ = strings.Cut(to, "=")
			if to != "" && c.Flag(strings.TrimPrefix(to, "--")) == nil {
				t.Errorf("%s: %q has no %s", x.name, x.to, to)
			}
		}
		name, _, _ := strings.Cut(x.name, " ")
		if a, _, err := root.Find([]string{name}); err != nil || name != a.Name() || !a.Hidden {
			t.Errorf("%s is no hidden command", x.name)
		}
	}
	for _, x := range []struct {
		args, want string
	}{
		{"fs_read_dir --path /a", "fs ls /a"}, {"fs_read_dir --id=2 --snapshot 7", "fs ls 2 --snapshot 7"}, {"quota_create_quota --limit 5GB --path /a", "quota set /a 5GB"},
		{"dns_resolve_ips --ips 1.2.3.4 5.6.7.8", "dns resolve 1.2.3.4 5.6.7.8"}, {"nfs_add_export --fs-path /b --export-path /a --create-fs-path", "nfs export add /a /b --create-directory"},
		{"fs_create_file --name f --path /d/", "fs create /d/f"}, {"fs_rename --old-path /a --path / --name b --clobber", "fs mv /a /b --force"}, {"fs_create_file --name f", ""},
		{"snapshot_create_policy hourly_or_less -n p --path /a --period 15minutes -s 8:00 -e 18:00 -d MON,TUE -t 2days --disabled", "snapshot policy add p /a --every=15m --on=mon,tue --ttl 2days --disabled --window=8:00-18:00"},
		{"snapshot_create_policy daily --name p --file-id 5 --at 20:00 -d ALL -z UTC --enabled", "snapshot policy add p 5 --at 20:00 --timezone UTC --disabled=false"},
		{"snapshot_create_policy monthly --name p --path / --at 20:00 -d 7", "snapshot policy add p / --at 20:00 --day-of-month 7"},
		{"snapshot_modify_policy change_to_monthly -i 3 --last-day-of-month -a 1:30", "snapshot policy modify 3 --day-of-month=last --at 1:30"},
		{"snapshot_modify_policy modify_non_schedule_fields --id 3 --name q", "snapshot policy modify 3 --name q"},
		{"snapshot_create_policy --name p", ""}, {"snapshot_create_policy hourly_or_less --name p --path / --period 3weeks", ""},
		{"snapshot_create_snapshot --path /a -n x -t 7days", "snapshot create /a --name x --ttl 7days"}, {"snapshot_modify_snapshot -i 4 -e never", "snapshot modify 4 --expires never"},
		{"snapshot_create_snapshot --id 5 --expiration 2030-01-31T00:00:00Z", "snapshot create 5 --expires 2030-01-31T00:00:00Z"},
		{"fs_modify_acl --path /a add_entry -t uid:1000 -y Allowed -r Read Execute/Traverse -f Object~inherit Container~inherit", "fs acl add /a --who uid:1000 --type Allowed --rights=READ,READ_EA,READ_ATTR,READ_ACL,EXECUTE --flags=OBJECT_INHERIT,CONTAINER_INHERIT"},
		{"fs_modify_acl --id 7 add_entry -t Everyone -y Denied -r Delete~child,~Read~contents --insert-after 2", "fs acl add 7 --who Everyone --type Denied --rights=DELETE_CHILD,READ --after 2"},
		{"fs_modify_acl --path /a remove_entry -p 2 -d", "fs acl rm /a --position 2 --dry-run"},
		{"fs_modify_acl --path /a modify_entry --old-trustee jane --new-rights All -a", "fs acl modify /a --old-who jane --rights=" + aliasRightNames["all"] + " --all"},
		{"fs_modify_acl --path /a set_posix_special_permissions -p Sticky~bit Set~gid", "fs acl special /a --bits=STICKY_BIT,SET_GID"},
		{"fs_modify_acl --path /a", ""}, {"fs_modify_acl --path /a add_entry -t x -r Fly", ""}, {"fs_modify_acl add_entry --path /a -r", ""},
		{"s3_add_bucket --name b --fs-path /b --create-fs-path --enable-object-lock", "s3 bucket add b /b --create-directory --object-lock"}, {"s3_add_bucket --name b", "s3 bucket add b"},
		{"s3_delete_bucket --name b --delete-root-dir", "s3 bucket delete b --directory"}, {"s3_modify_bucket --name b --suspend-versioning", "s3 bucket modify b --versioning=Suspended"},
		{"s3_modify_bucket --name b --enable-object-lock", "s3 bucket modify b --object-lock"}, {"s3_list_uploads --bucket b", "s3 upload list b"}, {"s3_abort_upload --bucket b --upload-id u", "s3 upload abort b u"},
		{"s3_set_bucket_policy --bucket b --file f --allow-remove-self", "s3 policy set b f --allow-remove-self"},
		{"fs_acl_explain_rights --path /a -u jane -p uid:1 -g a b", "fs acl explain /a jane --group uid:1 --also=a,b"},
		{"auth_mod_user --id 1000 --home-directory /h", "user modify 1000 --home /h"}, {"smb_mod_share --id 1 --new-name n", "smb share modify 1 --name n"},
		{"nfs_mod_export --export-path /a --new-export-path /b", "nfs export modify /a --export-path /b"},
		{"auth_find_identity --uid 1000", "identity find uid:1000"}, {"auth_expand_identity local:jane", "identity expand local:jane"},
		{"auth_create_access_token --expiration-time 2030-01-31T00:00:00Z jane", "access-token create jane --expires=2030-01-31T00:00:00Z"},
		{"auth_modify_access_token 7 --disable", "access-token disable 7"}, {"auth_modify_access_token 7 --expiration-time 2030-01-31T00:00:00Z", "access-token modify 7 --expires=2030-01-31T00:00:00Z"},
		{"auth_modify_role -r R -d text -G A B -R C", "role modify R --description text --grant=A,B --revoke=C"}, {"auth_assign_role -r R -t local:jane", "role assign R local:jane"},
		{"audit_set_syslog_config --enable --server-address a --server-port 601 --json", "audit send a --server-port 601 --format=json"}, {"audit_set_syslog_config --disable", "audit off"},
		{"audit_set_syslog_config --local-disable", "audit local --off"},
		{"fs_create_symlink --path /d --target t --name n", "fs ln t /d/n --symbolic"}, {"fs_read --path /a --file x", "fs download /a x"}, {"fs_read --path /a", "fs cat /a"},
		{"fs_file_set_attr --path /a --mode 0600 --owner-uid 7", "fs set /a --mode 0600 --owner 7"}, {"fs_file_set_smb_attrs --path /a --hidden true", "fs set /a --hidden=true"}, {"fs_file_set_smb_attrs --path /a --hidden x", ""},
		{"fs_file_modify_lock --path /a --enable-legal-hold", "fs lock /a --legal-hold=on"}, {"fs_file_set_lock --path /a --days 0", ""},
		{"fs_list_locks --protocol smb --lock-type share-mode --path /a", "smb lock share-modes --file /a"}, {"fs_list_locks --protocol smb --lock-type byte-range --ip 192.0.2.1", "smb lock list --address 192.0.2.1"},
		{"fs_list_locks --protocol nlm --lock-type byte-range", "nfs lock list"}, {"fs_set_atime_settings --enable --granularity DAY", "fs settings modify --atime=day"}, {"fs_set_atime_settings --disable", "fs settings modify --atime=off"},
		{"fs_set_permissions_settings NATIVE", "fs settings modify --permissions=native"}, {"fs_set_notify_settings --recursive-mode DISABLED_IGNORE", "fs settings modify --notify=disabled-ignore"},
		{"fs_get_user_metadata --path /a --key k --s3", "fs metadata get /a k --space=s3"}, {"ftp_modify_settings --enabled true --chroot-users False", "ftp modify --enabled=true --chroot-users=false"},
		{"identity_attributes_set uid:7 --home-directory /h", "identity home uid:7 /h"}, {"network_poll --interface-id 1 --node-id 2", "network status 1"}, {"quota_list_quotas --page-size 9", "quota list"},
		{"nfs_add_export --export-path /e --fs-path /d --no-restrictions --fields-to-present-as-32-bit FILE_IDS FS_SIZE", "nfs export add /e /d --host-rule=* --show-32-bit=FILE_IDS,FS_SIZE"},
		{"nfs_mod_export --export-id 7 --fields-to-present-as-32-bit NONE", "nfs export modify 7 --show-32-bit="},
		{"nfs_mod_export_host_access --export-path /e add_entry -o 192.0.2.1 192.0.2.7-9 --ro --root-squash --anon-uid 9 --anon-gid 8 -a 1", "nfs export rule add /e --host-rule=192.0.2.1,192.0.2.7-9 --read-only --squash=root --map-user 9 --map-group 8 --after 1"},
		{"nfs_mod_export_host_access --export-id 1 modify_entry -p 2 --rw --no-root-squash", "nfs export rule modify 1 2 --read-only=false --squash=none"}, {"nfs_mod_export_host_access --id 1 remove_entry --position 2", "nfs export rule rm 1 2"},
		{"nfs_mod_export_host_access --export-id 1", ""}, {"nfs_modify_settings --disable-auth-sys --enable-krb5", "nfs settings modify --auth-sys=false --krb5=true"},
		{"s3_modify_bucket --name b --enable-object-lock-with-retention-days 30", "s3 bucket modify b --default-retention=30days"}, {"s3_modify_bucket --name b --enable-object-lock-without-retention", "s3 bucket modify b --object-lock"},
		{"s3_modify_bucket_policy --bucket b append_statement --type Allow --principals local:jane,Everyone --actions s3:GetObject", "s3 policy statement add b --effect Allow --principal local:jane,Everyone --action s3:GetObject"},
		{"s3_modify_bucket_policy --bucket b modify_statement --index 2 --new-actions s3:*", "s3 policy statement modify b 2 --action s3:*"}, {"s3_modify_bucket_policy --bucket b delete_statement --index 1", "s3 policy statement rm b 1"},
		{"s3_bucket_policy_explain_access --bucket b --auth-id 500", "s3 policy explain b auth_id:500"}, {"s3_create_access_key --auth-id 500", "s3 access-key create auth_id:500"}, {"s3_modify_settings --enable --insecure", "s3 modify --enabled=true --secure=false"},
		{"smb_mod_share_permissions --name s add_entry -t jane -y Allowed -r Read Change~permissions", "smb share permission add s --who jane --type Allowed --rights=READ,CHANGE_PERMISSIONS"},
		{"smb_mod_share_permissions --id 1 remove_entry -p 2 -d", "smb share permission rm 1 --position 2 --dry-run"}, {"smb_mod_share_permissions --id 1 modify_entry -p 2 --new-rights All", "smb share permission modify 1 --position 2 --rights=ALL"},
		{"smb_mod_share_permissions --id 1 replace --grant-read-write-access jane uid:7", "smb share modify 1 --grant-write=jane,uid:7"}, {"smb_mod_share_permissions --id 1 replace --no-access", "smb share modify 1 --grant="},
		{"smb_add_share --name s --fs-path /d --read-only --deny-hosts 192.0.2.1 --full-control-hosts *", "smb share add s /d --grant-read=world:Everyone --deny-host=192.0.2.1 --host=*"},
		{"smb_modify_settings -e REQUIRED -d SMB2_DIALECT_3_0 smb2_dialect_3_11 --signing-required true", "smb settings modify --encryption=required --dialects=3_0,3_11 --signing-required=true"},
		{"time_set --ntp-servers a,b --unset-use-ad", "time modify --server=a,b --use-ad=false"}, {"dns_modify_system_config --dns-servers 192.0.2.1 192.0.2.2 --clear-dns-search-domains", "dns modify --server=192.0.2.1,192.0.2.2 --search="},
		{"ssl_modify_ciphers --tls12 A B", "ssl ciphers set --tls12=A,B"}, {"web_ui_modify_settings --inactivity-timeout 15", "web modify --inactivity-timeout=15m"}, {"metrics_get", "raw GET /v2/metrics/endpoints/default/data"},
		{"snapshot_unlock_snapshot -i 3 -k key", "snapshot unlock 3 key"}, {"whoami", ""}, {"quota_create_quota --limit 5GB", ""}, {"fs_read_dir --path", ""},
	} {
		f := strings.Fields(x.args)
		if f[0] == "whoami" {
			continue
		}
		for i := range f { // a space within an argument
			f[i] = strings.ReplaceAll(f[i], "~", " ")
		}
		var got []string
		a, args, err := findAlias(f[0], f[1:])
		if err == nil {
			got, err = a.translate(args)
		}
		if (err != nil) != (x.want == "") || err == nil && strings.Join(got, " ") != x.want {
			t.Errorf("%s: %q %v", x.args, got, err)
		}
	}
}

// The shells' scripts are made, and names come from the server.
func TestComplete(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/entries/"):
			_, _ = io.WriteString(w, `{"files":[{"name":"src","type":"FS_FILE_TYPE_DIRECTORY"},{"name":"sea","type":"FS_FILE_TYPE_FILE"},{"name":"x"}]}`)
		case strings.HasPrefix(r.URL.Path, "/v1/users"):
			_, _ = io.WriteString(w, `[{"id":"500","name":"admin"},{"id":"1000","name":"jane"}]`)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer srv.Close()
	cl, err := client.New(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	complete := func(args ...string) string {
		var out strings.Builder
		root := newRoot(Options{Client: cl, Out: &out, Err: io.Discard})
		root.SetOut(&out)
		root.SetErr(io.Discard)
		root.SetArgs(append([]string{"__complete"}, args...))
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		names, _, _ := strings.Cut(out.String(), ":")
		return strings.Join(strings.Fields(names), " ")
	}
	for _, x := range []struct{ args, want string }{
		{"fs ls /s", "/src/ /sea"}, {"fs stat /a/", "/a/src/ /a/sea /a/x"}, {"fs rm /x /s", "/src/ /sea"}, {"user show ", "admin jane"}, {"user show j", "jane"}, {"group show ", ""},
		{"user show jane ", ""}, {"snapshot pol", "policy"}, {"fs_read_d", ""},
	} {
		args := strings.Split(x.args, " ")
		if got, _, _ := strings.Cut(complete(args...), "\t"); !strings.HasPrefix(got, x.want) || x.want == "" && got != "" {
			t.Errorf("%q: %q, want %q", x.args, got, x.want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		var out strings.Builder
		root := newRoot(Options{Client: cl})
		root.SetOut(&out)
		root.SetArgs([]string{"completion", shell})
		if err := root.Execute(); err != nil || !strings.Contains(out.String(), "manifold") {
			t.Errorf("%s: %d bytes, %v", shell, out.Len(), err)
		}
	}
}

func TestMeter(t *testing.T) {
	now := time.Unix(0, 0)
	var out strings.Builder
	m := &meter{w: &out, what: "copied", total: 100 << 20, now: func() time.Time { return now }, start: now, shown: now}
	m.set(1 << 20)
	if out.Len() != 0 {
		t.Error("shown too soon")
	}
	now = now.Add(2 * time.Second)
	m.set(50 << 20)
	if s := out.String(); !strings.Contains(s, "copied 50.0MiB of 100.0MiB, 50%, 25.0MiB/s, 2s left") {
		t.Errorf("%q", s)
	}
	m.end()
	if s := out.String(); !strings.HasSuffix(s, " \r") {
		t.Errorf("the line stays: %q", s)
	}
	silent := (&app{o: Options{Err: io.Discard}}).meter("x", 1)
	silent.set(1)
	silent.end()
}

// Errors say what to do.
func TestAdvise(t *testing.T) {
	for _, x := range []struct {
		err  error
		want string
	}{
		{&client.Error{Status: 401}, "manifold login"}, {&client.Error{Status: 403}, "whoami"}, {&client.Error{Status: 412}, "look at it again"},
		{fmt.Errorf("dial: %w", syscall.ECONNREFUSED), "--host"}, {&net.DNSError{Err: "no such host"}, "check the name"}, {&client.Error{Status: 503}, "try again"},
	} {
		if got := advise(x.err, "https://h:8000"); !strings.Contains(got.Error(), x.want) || !errors.Is(got, x.err) {
			t.Errorf("%v: %v", x.err, got)
		}
	}
	if advise(nil, "") != nil || advise(io.EOF, "") != io.EOF {
		t.Error("advice for nothing")
	}
}
