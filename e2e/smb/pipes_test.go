package smb

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// refuses runs a program that must fail and say why.
func (x *tools) refuses(t *testing.T, why, name string, args ...string) {
	t.Helper()
	if out, _ := x.run(t, name, args...); !strings.Contains(out, why) {
		t.Errorf("%s %q: want %q in\n%s", name, args, why, out)
	}
}

// A talk is an smbclient that is told one thing after another.
type talk struct {
	in  io.WriteCloser
	mu  sync.Mutex
	out bytes.Buffer
}

func (k *talk) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.out.Write(p)
}

func (k *talk) heard() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.out.String()
}

// says tells it something and waits for an answer.
func (k *talk) says(t *testing.T, line, answer string) {
	t.Helper()
	if _, err := io.WriteString(k.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
	k.hears(t, answer)
}

func (k *talk) hears(t *testing.T, answer string) {
	t.Helper()
	if !harness.Within(20*time.Second, func() bool { return strings.Contains(k.heard(), answer) }) {
		t.Fatalf("no %q in %q", answer, k.heard())
	}
}

// talk begins one.
func (x *tools) talk(t *testing.T, who string) *talk {
	t.Helper()
	k := &talk{}
	cmd := exec.Command("stdbuf", "-o0", "smbclient", "--configfile="+filepath.Join(x.dir, "smb.conf"), who, share)
	cmd.Dir, cmd.Stdout, cmd.Stderr = x.dir, k, k
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	k.in = in
	p, err := x.s.Net.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		p.Kill()
		<-p.Done()
	})
	return k
}

// What administrators and security dialogs ask for over named pipes.
func TestPipes(t *testing.T) {
	x := newTools(t)
	rest := x.s.Login(t)
	rest.Must(t, "POST", "/v1/users/", map[string]any{"name": "jane", "primary_group": "513", "password": "Jane-Pass-1"}, nil)
	const jane = "--user=jane%Jane-Pass-1"
	rpc := func(t *testing.T, who, commands string, want ...string) string {
		t.Helper()
		return x.wants(t, want, "rpcclient", who, netns.Server, "-c", commands)
	}
	net := func(args ...string) []string { return append(args, "-S", netns.Server, user) }
	domain := regexp.MustCompile(`S-1-5-21-\d+-\d+-\d+`).FindString(rpc(t, user, "lookupnames admin", "(User: 1)"))

	t.Run("names", func(t *testing.T) {
		rpc(t, jane, "getusername", "Account Name: jane")
		rpc(t, jane, "lsaquery", "Domain Name: WORKGROUP")
		rpc(t, jane, "lookupnames jane Users Everyone nosuch", domain+"-", domain+"-513 (Domain Group: 2)", "Everyone S-1-1-0", "nosuch S-0-0 (UNKNOWN: 8)")
		rpc(t, jane, "lookupnames4 admin", domain+"-500 (User: 1)")
		rpc(t, jane, "lookupsids "+domain+"-500 S-1-5-32-544 S-1-5-18 S-1-1-0 S-1-5-88-1-1000 S-1-5-21-1-2-3-4",
			`\admin (1)`, `BUILTIN\Administrators (4)`, `NT AUTHORITY\SYSTEM (5)`, `\Everyone (5)`, `Unix User\1000 (1)`, `*unknown*\*unknown* (8)`)
		rpc(t, jane, "lookupsids3 "+domain+"-501", "guest (1)")
		x.refuses(t, "NT_STATUS_ACCESS_DENIED", "rpcclient", jane, netns.Server, "-c", "lsaenumsid")
		rpc(t, user, "lsaenumsid", "S-1-5-32-544", domain+"-512")
		rpc(t, user, "lsaenumacctrights S-1-5-32-544", "SeBackupPrivilege", "SeRestorePrivilege")
		rpc(t, user, "enumprivs", "SeTakeOwnershipPrivilege")
		rpc(t, user, "getdispname SeBackupPrivilege", "Back up files")
		x.refuses(t, "NT_STATUS_RPC_PROCNUM_OUT_OF_RANGE", "rpcclient", user, netns.Server, "-c", "lsaaddacctrights S-1-1-0 SeBackupPrivilege")
		x.wants(t, []string{`BUILTIN\Administrators`}, "net", net("rpc", "rights", "list", "accounts")...)
		x.wants(t, []string{domain}, "net", net("rpc", "getsid")...)
	})
	t.Run("accounts", func(t *testing.T) {
		x.refuses(t, "NT_STATUS_ACCESS_DENIED", "rpcclient", jane, netns.Server, "-c", "enumdomusers")
		rpc(t, user, "enumdomains", "name:[Builtin]")
		rpc(t, user, "querydominfo", "Total Users:	3", "Total Groups:	3")
		rpc(t, user, "enumdomusers", "user:[admin] rid:[0x1f4]", "user:[guest] rid:[0x1f5]", "user:[jane]")
		rpc(t, user, "enumdomgroups", "group:[Administrators] rid:[0x200]", "group:[Users] rid:[0x201]")
		rpc(t, user, "enumalsgroups builtin", "group:[Administrators] rid:[0x220]")
		rpc(t, user, "queryuser jane", "User Name   :	jane", "group_rid:	0x201", "acb_info :	0x00000210")
		rpc(t, user, "queryusergroups 500", "group rid:[0x200]", "group rid:[0x201]")
		rpc(t, user, "querygroup 512", "Group Name:	Administrators", "Num Members:1")
		rpc(t, user, "querygroupmem 512", "rid:[0x1f4]")
		rpc(t, user, "queryaliasmem builtin 544", domain+"-512")
		rpc(t, user, "samlookupnames domain admin guest", "name admin: 0x1f4 (1)")
		rpc(t, user, "samlookuprids domain 500 513", "rid 0x201: Users (2)")
		rpc(t, user, "querydispinfo", "Account: jane")
		rpc(t, user, "getdompwinfo", "min_password_length: 8")
		x.wants(t, []string{"admin", "jane"}, "net", net("rpc", "user")...)
		x.wants(t, []string{"Administrators", "Users"}, "net", net("rpc", "user", "info", "admin")...)
		x.wants(t, []string{`\admin`}, "net", net("rpc", "group", "members", "Administrators")...)
		x.wants(t, []string{"Domain SID: " + domain}, "net", net("rpc", "info")...)
	})
	t.Run("server", func(t *testing.T) {
		rpc(t, jane, "srvinfo", "manifold", "server type     :	0x9003")
		rpc(t, jane, "netremotetod; netnamevalidate good 9; netdiskenum; wkssvc_wkstagetinfo 100")
		rpc(t, jane, "wkssvc_getjoininformation", "WORKGROUP (2)")
		x.wants(t, []string{"20"}, "net", "time", "-S", netns.Server)
	})
	t.Run("shares", func(t *testing.T) {
		x.wants(t, nil, "smbclient", user, share, "-c", "mkdir proj; put smb.conf proj\\f")
		x.wants(t, nil, "net", net("rpc", "share", "add", `Proj=c:\proj`, "--comment=ours")...)
		x.wants(t, []string{"Files", "Proj"}, "net", net("rpc", "share", "list")...)
		x.wants(t, []string{"Proj", "ours"}, "smbclient", jane, "-L", netns.Server)
		x.wants(t, []string{" f "}, "smbclient", jane, "//"+netns.Server+"/proj", "-c", "ls")
		x.refuses(t, "NT_STATUS_ACCESS_DENIED", "smbclient", jane, "//"+netns.Server+"/proj", "-c", "put smb.conf g")
		rpc(t, user, "netsharegetinfo Proj", `path:	C:\proj`, "remark:	ours", "SID: S-1-1-0")
		if out := rpc(t, jane, "netsharegetinfo Proj", "remark:	ours"); strings.Contains(out, `C:\proj`) || strings.Contains(out, "S-1-1-0") {
			t.Errorf("a user sees where a share lies and who may what:\n%s", out)
		}
		rpc(t, user, "netsharesetinfo Proj theirs", "remark:	theirs")
		rpc(t, user, "netsharesetdfsflags Proj 0x800", "flags: 0x800")
		var got struct {
			Description string `json:"description"`
			ABE         bool   `json:"access_based_enumeration_enabled"`
		}
		rest.Must(t, "GET", "/v2/smb/shares/proj", nil, &got)
		if got.Description != "theirs" || !got.ABE {
			t.Errorf("over REST it is %+v", got)
		}
		x.refuses(t, "already been shared", "net", net("rpc", "share", "add", `proj=c:\proj`)...)
		x.refuses(t, "does not exist", "net", net("rpc", "share", "add", `nowhere=c:\nowhere`)...)
		x.refuses(t, "Access is denied", "net", "rpc", "share", "add", `hers=c:\proj`, "-S", netns.Server, jane)
		x.wants(t, nil, "net", net("rpc", "share", "delete", "Proj")...)
		x.refuses(t, "WERR_NERR_NETNAMENOTFOUND", "rpcclient", user, netns.Server, "-c", "netsharegetinfo Proj")
		x.refuses(t, "NT_STATUS_BAD_NETWORK_NAME", "smbclient", user, "//"+netns.Server+"/proj", "-c", "ls")
	})
	t.Run("sessions and files", func(t *testing.T) {
		x.wants(t, nil, "smbclient", user, share, "-c", "mkdir open; put smb.conf open\\f")
		rest.Must(t, "PATCH", "/v1/files/%2Fopen/info/attributes", map[string]any{"mode": "0777"}, nil)
		rest.Must(t, "PATCH", "/v1/files/%2Fopen%2Ff/info/attributes", map[string]any{"mode": "0666"}, nil)
		k := x.talk(t, jane)
		k.says(t, `open open\f`, "open file")
		files := x.wants(t, []string{"jane", `C:\open\f`}, "net", net("rpc", "file")...)
		x.wants(t, []string{`C:\open\f`}, "net", net("rpc", "file", "user", "jane")...)
		x.refuses(t, "WERR_ACCESS_DENIED", "rpcclient", jane, netns.Server, "-c", "netfileenum")
		x.refuses(t, "WERR_ACCESS_DENIED", "rpcclient", jane, netns.Server, "-c", "netsessenum")
		for _, line := range strings.Split(files, "\n") {
			if f := strings.Fields(line); len(f) > 4 && f[1] == "jane" {
				x.wants(t, nil, "net", net("rpc", "file", "close", f[0])...)
			}
		}
		if out, _ := x.run(t, "net", net("rpc", "file")...); strings.Contains(out, "jane") {
			t.Errorf("the file is still open:\n%s", out)
		}
		k.says(t, "ls open\\*", "blocks available")
		rpc(t, user, "netconnenum Files; netsessenum", "Received")
		from := regexp.MustCompile(`\d+\.\d+\.\d+\.\d+`).FindString(netns.Server)
		rpc(t, user, `netsessdel \\`+from+" jane")
		k.says(t, "ls open\\*", "NT_STATUS_")
		x.refuses(t, "WERR_NERR_CLIENTNAMENOTFOUND", "rpcclient", user, netns.Server, "-c", `netsessdel \\192.0.2.1 jane`)
	})
}

// What smbclient can do, one thing after another, with checks of what became of it.
func TestSmbclient_commands(t *testing.T) {
	x := newTools(t)
	for name, text := range map[string]string{"tree/a/one": "1", "tree/a/two": "22", "tree/b/three": "333", "hello": "hello\n", "small": "s"} {
		name = filepath.Join(x.dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := func(commands string, want ...string) string {
		t.Helper()
		return x.wants(t, want, "smbclient", user, share, "-c", commands)
	}
	local := func(name, want string) {
		t.Helper()
		if got, err := os.ReadFile(filepath.Join(x.dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, want %q: %v", name, got, want, err)
		}
	}
	c("mkdir t; cd t; put hello; ls; pwd", "hello ", `\Files\t\`)
	c("cd t; du *; allinfo hello; altname hello; volume", "Total number of bytes: 6", "::$DATA], 6 bytes", "HELLO", "|Files|")
	c("cd t; hardlink hello linked; scopy hello copied; rename hello renamed; ls", "linked ", "copied ", "renamed ")
	c("cd t; get linked l; get copied c; get renamed r; more renamed", "hello")
	for _, name := range []string{"l", "c", "r"} {
		local(name, "hello\n")
	}
	c("cd t; setmode copied +rsh; ls copied", " AHSR ")
	c("cd t; setmode copied -rsh; utimes copied 2001:02:03-04:05:06 2002:02:03-04:05:06 2003:02:03-04:05:06 -1; allinfo copied",
		"create_time:    Sat Feb  3 04:05:06 2001", "access_time:    Sun Feb  3 04:05:06 2002", "write_time:     Mon Feb  3 04:05:06 2003", "attributes: A (20)")
	c("cd t; setea copied user value; geteas copied", "user (0) =", "value")
	c("cd t; showacls; ls renamed", "FILENAME:renamed", "SEC_DESC_DACL_PRESENT")
	c("cd t; put hello over; put small over; get over -", "sgetting")
	c("cd t; recurse on; prompt off; mput tree; cd tree; ls", "one ", "two ", "three ")
	if err := os.RemoveAll(filepath.Join(x.dir, "tree")); err != nil {
		t.Fatal(err)
	}
	c("cd t; recurse on; prompt off; mget tree")
	local("tree/b/three", "333")
	c("cd t; tar c out.tar tree")
	c("mkdir back; cd back; tar x out.tar; cd t\\tree\\a; get two two")
	local("two", "22")
	c("cd t\\tree\\a; mask t*; recurse off; prompt off; del one; ls", "two ")
	c("cd t; get renamed part; reget renamed part; reput hello again; get again a")
	local("a", "hello\n")
	c("cd t; timeout 20; iosize 65536; lowercase; listconnect; showconnect; tcon Files; ls", "renamed ")
	x.refuses(t, "NT_STATUS_DIRECTORY_NOT_EMPTY", "smbclient", user, share, "-c", "rmdir t")
	x.refuses(t, "NT_STATUS_NO_SUCH_FILE", "smbclient", user, share, "-c", "del t\\nothing")
	x.refuses(t, "NT_STATUS_OBJECT_NAME_COLLISION", "smbclient", user, share, "-c", "mkdir t")
	// There are no extensions for POSIX, and none are pretended.
	for _, cmd := range []string{"posix", "chmod 600 t\\renamed", "chown 1 1 t\\renamed", "getfacl t\\renamed", "stat t\\renamed"} {
		x.refuses(t, "doesn't support UNIX CIFS", "smbclient", user, share, "-c", cmd)
	}
	c("deltree t; deltree back")
	if out := c("ls"); strings.Contains(out, " t ") || strings.Contains(out, "back") {
		t.Errorf("something is left:\n%s", out)
	}
	c("mkdir t")
	k := x.talk(t, user)
	if _, err := io.WriteString(k.in, "notify t\n"); err != nil {
		t.Fatal(err)
	}
	// The watch is set up when a change is heard of, so there must be several.
	if !harness.Within(20*time.Second, func() bool {
		c("mkdir t\\watched; rmdir t\\watched")
		return strings.Contains(k.heard(), "watched")
	}) {
		t.Errorf("no change is heard of: %q", k.heard())
	}
}

func TestSmbget(t *testing.T) {
	x := newTools(t)
	x.wants(t, nil, "smbclient", user, share, "-c", "mkdir d; mkdir d\\e; put smb.conf d\\f; put smb.conf d\\e\\g")
	get := func(args ...string) {
		t.Helper()
		cmd := exec.Command("smbget", append([]string{"--user=admin%" + harness.Password, "-q"}, args...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &out, x.dir
		if err := x.s.Net.Run(t.Context(), cmd); err != nil {
			t.Fatalf("smbget %q: %v\n%s", args, err, &out)
		}
	}
	want, err := os.ReadFile(filepath.Join(x.dir, "smb.conf"))
	if err != nil {
		t.Fatal(err)
	}
	get("-o", "one", "smb:"+share+"/d/f")
	get("-e", "-o", "two", "smb:"+share+"/d/f")
	get("-R", "smb:"+share+"/d")
	for _, name := range []string{"one", "two", "f", "e/g"} {
		if got, err := os.ReadFile(filepath.Join(x.dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs: %v", name, err)
		}
	}
}

// The file that is shown to be a member's of BUILTIN\Users can be read by one.
func TestSmbcacls_commands(t *testing.T) {
	x := newTools(t)
	rest := x.s.Login(t)
	rest.Must(t, "POST", "/v1/users/", map[string]any{"name": "jane", "primary_group": "513", "password": "Jane-Pass-1"}, nil)
	const jane = "--user=jane%Jane-Pass-1"
	x.wants(t, nil, "smbclient", user, share, "-c", "mkdir d; mkdir d\\e; put smb.conf d\\f; put smb.conf d\\e\\g")
	acl := func(name string, want []string, args ...string) string {
		t.Helper()
		return x.wants(t, want, "smbcacls", append([]string{user, share, name}, args...)...)
	}
	acl("d/f", nil, "--set", `ACL:admin:ALLOWED/0x0/FULL`)
	x.refuses(t, "NT_STATUS_ACCESS_DENIED", "smbclient", jane, share, "-c", "get d\\f got")
	acl("d/f", nil, "--set", `ACL:admin:ALLOWED/0x0/FULL,ACL:BUILTIN\Users:ALLOWED/0x0/READ`)
	acl("d/f", []string{`ACL:BUILTIN\Users:ALLOWED/0x0/READ`, `\admin:ALLOWED/0x0/FULL`})
	x.wants(t, nil, "smbclient", jane, share, "-c", "get d\\f got")
	acl("d/f", nil, "--modify", `ACL:BUILTIN\Users:ALLOWED/0x0/CHANGE`)
	acl("d/f", []string{`ACL:BUILTIN\Users:ALLOWED/0x0/CHANGE`, "Maximum access: 0x1f01ff"}, "-x")
	acl("d/f", nil, "--delete", `ACL:BUILTIN\Users:ALLOWED/0x0/CHANGE`)
	x.refuses(t, "NT_STATUS_ACCESS_DENIED", "smbclient", jane, share, "-c", "get d\\f got")
	acl("d/f", nil, "--chown", "jane")
	acl("d/f", nil, "--chgrp", "Guests")
	acl("d/f", []string{`\jane`, `\Guests`})
	acl("d", nil, "--propagate-inheritance", "--add", `ACL:Everyone:ALLOWED/OI|CI/FULL`)
	acl("d/e/g", []string{"ACL:Everyone:ALLOWED/I/FULL"})
	acl("d/e", nil, "--inherit", "copy")
	acl("d/e", []string{"PD", "ACL:Everyone:ALLOWED/OI|CI/FULL"})
	acl("d/e", nil, "--inherit", "allow")
	acl("d/e", []string{"ACL:Everyone:ALLOWED/OI|CI|I/FULL"})
}
