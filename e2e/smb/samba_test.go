package smb

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// tools runs Samba's programs beside a server.
type tools struct {
	s   *harness.Server
	dir string
}

func newTools(t *testing.T) *tools {
	t.Helper()
	for _, p := range []string{"smbclient", "rpcclient", "smbcacls", "smbget", "net"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%s is missing: make setup, as root", p)
		}
	}
	x := &tools{s: harness.StartServer(t), dir: t.TempDir()}
	conf := "[global]\n workgroup = WORKGROUP\n client min protocol = SMB2_02\n private dir = " + x.dir + "\n lock directory = " + x.dir + "\n"
	if err := os.WriteFile(filepath.Join(x.dir, "smb.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	return x
}

// run answers what a program says and whether it liked what it got.
func (x *tools) run(t *testing.T, name string, args ...string) (string, bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.Command(name, append([]string{"--configfile=" + filepath.Join(x.dir, "smb.conf")}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, x.dir
	err := x.s.Net.Run(ctx, cmd)
	if !netns.Ran(err) {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &out)
	}
	return out.String(), err == nil
}

// wants runs a program that must succeed and say all of what is wanted.
func (x *tools) wants(t *testing.T, want []string, name string, args ...string) string {
	t.Helper()
	out, ok := x.run(t, name, args...)
	for _, w := range want {
		ok = ok && strings.Contains(out, w)
	}
	if !ok {
		t.Errorf("%s %q: want %q in\n%s", name, args, want, out)
	}
	return out
}

const user = "--user=admin%" + harness.Password

var share = "//" + netns.Server + "/Files"

func TestSmbclient(t *testing.T) {
	x := newTools(t)
	big := make([]byte, 20<<20+7)
	_, _ = rand.Read(big)
	if err := os.WriteFile(filepath.Join(x.dir, "big"), big, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, protect := range []string{"sign", "encrypt"} {
		c := func(want []string, commands string) string {
			return x.wants(t, want, "smbclient", user, "--client-protection="+protect, share, "-c", commands)
		}
		c([]string{"putting file big"}, "mkdir d; put big d\\big; ls d\\*")
		c([]string{"BIG", "::$DATA", "create_time"}, "allinfo d\\big")
		c(nil, "get d\\big back; rename d\\big d\\other; mkdir d\\e; rename d\\other d\\e\\Other")
		if got, err := os.ReadFile(filepath.Join(x.dir, "back")); err != nil || !bytes.Equal(got, big) {
			t.Errorf("%s: what came back differs, %v", protect, err)
		}
		c([]string{"Other"}, "cd D; cd E; ls OTHER")
		c([]string{"R"}, "setmode d\\e\\Other +r; ls d\\e\\Other")
		c([]string{"NT_STATUS_CANNOT_DELETE"}, "del d\\e\\Other")
		c([]string{"NT_STATUS_DIRECTORY_NOT_EMPTY"}, "rmdir d")
		c(nil, "setmode d\\e\\Other -r; del d\\e\\Other; rmdir d\\e; rmdir d")
		if out := c(nil, "ls"); strings.Contains(out, " d ") {
			t.Errorf("%s: d is still there\n%s", protect, out)
		}
	}
	for _, who := range [][]string{{"--user=admin%Wrong-Password-1"}, {"--user=nobody%x"}, {"--no-pass"}} {
		if out, ok := x.run(t, "smbclient", append(who, share, "-c", "ls")...); ok || !strings.Contains(out, "NT_STATUS_LOGON_FAILURE") && !strings.Contains(out, "NT_STATUS_ACCESS_DENIED") {
			t.Errorf("%q is let in:\n%s", who, out)
		}
	}
}

func TestSmbclient_listsShares(t *testing.T) {
	x := newTools(t)
	x.wants(t, []string{"Files", "Disk", "IPC$"}, "smbclient", user, "-L", netns.Server)
	x.wants(t, []string{"netname: Files", `path:	C:\`}, "rpcclient", user, netns.Server, "-c", "netshareenumall")
	x.wants(t, []string{"netname: Files"}, "rpcclient", user, netns.Server, "-c", "netsharegetinfo Files")
	x.wants(t, []string{"manifold"}, "rpcclient", user, netns.Server, "-c", "srvinfo")
	x.wants(t, []string{"Files"}, "net", "rpc", "share", "list", "-S", netns.Server, user)
}

// A user of another password than the first gets what the share and the files let it.
func TestUsers(t *testing.T) {
	x := newTools(t)
	rest := x.s.Login(t)
	rest.Must(t, "POST", "/v1/users/", map[string]any{"name": "jane", "primary_group": "513", "password": "Jane-Pass-1"}, nil)
	jane := "--user=jane%Jane-Pass-1"
	if out, ok := x.run(t, "smbclient", jane, share, "-c", "mkdir hers"); ok && !strings.Contains(out, "NT_STATUS_ACCESS_DENIED") {
		t.Errorf("jane writes where only root may:\n%s", out)
	}
	x.wants(t, nil, "smbclient", user, share, "-c", "mkdir open")
	rest.Must(t, "PATCH", "/v1/files/%2Fopen/info/attributes", map[string]any{"mode": "0777"}, nil)
	x.wants(t, nil, "smbclient", jane, share, "-c", "cd open; put smb.conf mine; ls")
	var attr struct {
		Owner struct {
			Value string `json:"id_value"`
		} `json:"owner_details"`
	}
	rest.Must(t, "GET", "/v1/files/%2Fopen%2Fmine/info/attributes", nil, &attr)
	if attr.Owner.Value != "jane" {
		t.Errorf("the owner is %q", attr.Owner.Value)
	}
}

func TestSmbcacls(t *testing.T) {
	x := newTools(t)
	x.wants(t, nil, "smbclient", user, share, "-c", "put smb.conf f")
	x.wants(t, []string{"OWNER:", "ACL:"}, "smbcacls", user, share, "f")
	x.wants(t, nil, "smbcacls", user, share, "f", "--add", "ACL:S-1-5-21-9-8-7-1234:ALLOWED/0x0/READ")
	x.wants(t, []string{"S-1-5-21-9-8-7-1234:0/0x0/0x001200a9"}, "smbcacls", user, "--numeric", share, "f")
	x.wants(t, nil, "smbcacls", user, share, "f", "--delete", "ACL:S-1-5-21-9-8-7-1234:ALLOWED/0x0/READ")
	if out, _ := x.run(t, "smbcacls", user, share, "f"); strings.Contains(out, "S-1-5-21-9-8-7-1234") {
		t.Errorf("the entry is still there:\n%s", out)
	}
}

// Settings and shares are in force for the next request.
func TestSettings(t *testing.T) {
	x := newTools(t)
	rest := x.s.Login(t)
	set := func(v map[string]any) { t.Helper(); rest.Must(t, "PATCH", "/v1/smb/settings", v, nil) }
	ls := func(commands string) string {
		out, _ := x.run(t, "smbclient", user, share, "-c", commands)
		return out
	}
	x.wants(t, nil, "smbclient", user, share, "-c", "mkdir d; put smb.conf d\\f")
	rest.Must(t, "POST", "/v3/snapshots/", map[string]any{"name_suffix": "s", "source_file_id": "2", "expiration": ""}, nil)
	if out := ls("ls"); !strings.Contains(out, ".snapshot") {
		t.Errorf("visible:\n%s", out)
	}
	x.wants(t, []string{" f "}, "smbclient", user, share, "-c", "cd .snapshot\\1_s\\d; ls")
	set(map[string]any{"snapshot_directory_mode": "HIDDEN"})
	if out := ls("ls"); strings.Contains(out, ".snapshot") {
		t.Errorf("hidden:\n%s", out)
	}
	x.wants(t, []string{" f "}, "smbclient", user, share, "-c", "cd .snapshot\\1_s\\d; ls")
	set(map[string]any{"snapshot_directory_mode": "DISABLED"})
	if out := ls("cd .snapshot\\1_s\\d; ls"); !strings.Contains(out, "NT_STATUS_OBJECT_PATH_NOT_FOUND") {
		t.Errorf("disabled:\n%s", out)
	}
	set(map[string]any{"session_encryption": "REQUIRED"})
	if out, ok := x.run(t, "smbclient", user, "--option=client max protocol=SMB2_10", share, "-c", "ls"); ok {
		t.Errorf("a client that cannot encrypt is let in:\n%s", out)
	}
	x.wants(t, nil, "smbclient", user, "--client-protection=encrypt", share, "-c", "ls")
	set(map[string]any{"session_encryption": "NONE", "supported_dialects": []string{"SMB2_DIALECT_2_1"}})
	x.wants(t, nil, "smbclient", user, share, "-c", "ls")
	if out, ok := x.run(t, "smbclient", user, "--option=client min protocol=SMB3_00", share, "-c", "ls"); ok {
		t.Errorf("SMB 3 is served:\n%s", out)
	}
	set(map[string]any{"supported_dialects": []string{}})
	if out, ok := x.run(t, "smbclient", user, share, "-c", "ls"); ok {
		t.Errorf("SMB is off and serves:\n%s", out)
	}
	set(map[string]any{"supported_dialects": []string{"SMB2_DIALECT_3_11"}})
	x.wants(t, nil, "smbclient", user, share, "-c", "ls")
	rest.Must(t, "POST", "/v2/smb/shares/", map[string]any{"share_name": "Guests", "fs_path": "/d", "permissions": []any{
		map[string]any{"type": "ALLOWED", "trustee": map[string]any{"name": "guest"}, "rights": []string{"READ"}},
		map[string]any{"type": "ALLOWED", "trustee": map[string]any{"name": "admin"}, "rights": []string{"READ"}},
	}}, nil)
	guests := "//" + netns.Server + "/Guests"
	x.wants(t, []string{" f "}, "smbclient", "--no-pass", guests, "-c", "ls")
	if out, _ := x.run(t, "smbclient", user, guests, "-c", "put smb.conf g"); !strings.Contains(out, "NT_STATUS_ACCESS_DENIED") {
		t.Errorf("an administrator writes where the share forbids it:\n%s", out)
	}
	rest.Must(t, "PATCH", "/v2/smb/shares/guests", map[string]any{"network_permissions": []any{map[string]any{"type": "DENIED", "address_ranges": []string{netns.Server}, "rights": []string{"ALL"}}}}, nil)
	if out, ok := x.run(t, "smbclient", user, guests, "-c", "ls"); ok {
		t.Errorf("a host without access is let in:\n%s", out)
	}
}

// Guessing passwords is slowed down, for the user who is guessed at and from
// where it is done only.
func TestGuessing(t *testing.T) {
	x := newTools(t)
	rest := x.s.Login(t)
	rest.Must(t, "POST", "/v1/users/", map[string]any{"name": "jane", "primary_group": "513", "password": "Jane-Pass-1"}, nil)
	for range 12 {
		if _, ok := x.run(t, "smbclient", "--user=jane%Guess-1", share, "-c", "ls"); ok {
			t.Fatal("a wrong password is taken")
		}
	}
	if _, ok := x.run(t, "smbclient", "--user=jane%Jane-Pass-1", share, "-c", "ls"); ok {
		t.Error("the twelfth guess may be right")
	}
	x.wants(t, nil, "smbclient", user, share, "-c", "ls")
}
