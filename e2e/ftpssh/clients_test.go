package ftpssh

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

func TestCurl(t *testing.T) {
	w := newWorld(t)
	data := w.write("up", 3<<20+7, 1)
	for name, args := range map[string][]string{
		"explicit": {ftpURL}, "pasv": {"--disable-epsv", ftpURL}, "implicit": {"ftps://" + netns.Server},
	} {
		base, opts := args[len(args)-1], args[:len(args)-1]
		curl := func(args ...string) string {
			t.Helper()
			return w.curl(append(append([]string{}, opts...), args...)...)
		}
		curl("--ftp-create-dirs", "-T", "up", base+"/"+name+"/a%20b/up")
		curl("-o", "down-"+name, base+"/"+name+"/a%20b/up")
		w.same("down-"+name, data)
		if out := curl(base + "/" + name + "/a%20b/"); !strings.Contains(out, " up") {
			t.Errorf("%s: %q", name, out)
		}
		curl("-Q", "-RNFR /"+name+"/a b/up", "-Q", "-RNTO /"+name+"/moved", "-l", base+"/"+name+"/")
		if out := curl("-l", base+"/"+name+"/"); !strings.Contains(out, "moved") {
			t.Errorf("%s: %q", name, out)
		}
	}
	// Unencrypted only when it is allowed, anonymous only when it has a user.
	plain := []string{"-sS", "--max-time", "20", "-u", "admin:" + harness.Password, ftpURL + "/"}
	w.fails("530", "", "curl", plain...)
	w.fails("530", "", "curl", "-sS", "-k", "--ssl-reqd", "--max-time", "20", ftpURL+"/")
	w.s.MustCLI(t, "ftp", "modify", "--allow-unencrypted", "--anonymous-user", "ann", "--greeting", "Hello")
	w.must("curl", plain...)
	// In the clear only: curl 7.88 forgets the handshake of active data connections.
	active := append([]string{"--ftp-port", netns.Server}, plain[:len(plain)-1]...)
	w.must("curl", append(active, "-T", "up", ftpURL+"/active")...)
	w.must("curl", append(active, "-o", "down-active", ftpURL+"/active")...)
	w.same("down-active", data)
	// Anonymous users see the home of theirs, and nothing else.
	w.must("curl", "-sS", "-T", "up", ftpURL+"/anonymous")
	if out := w.must("curl", "-sS", "-l", ftpURL+"/"); strings.TrimSpace(out) != "anonymous" {
		t.Errorf("%q", out)
	}
	w.s.MustCLI(t, "ftp", "disable")
	w.fails("connect", "", "curl", plain...)
	w.s.MustCLI(t, "ftp", "enable")
	w.must("curl", plain...)
}

const ftplib = `
import ftplib, io, os, ssl, sys
context = ssl._create_unverified_context()
class Reusing(ftplib.FTP_TLS):
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
        return conn, size
f = (Reusing if sys.argv[3] == 'reuse' else ftplib.FTP_TLS)(context=context)
f.connect(sys.argv[1], 21, timeout=30)
f.login('admin', sys.argv[2])
f.prot_p()
data = os.urandom(1 << 20)
f.storbinary('STOR bin', io.BytesIO(data))
got = io.BytesIO()
f.retrbinary('RETR bin', got.write)
assert got.getvalue() == data
got = io.BytesIO()
f.retrbinary('RETR bin', got.write, rest=1000)
assert got.getvalue() == data[1000:]
f.storbinary('STOR bin', io.BytesIO(b'xyz'), rest=10)
f.storbinary('APPE bin', io.BytesIO(b'tail'))
assert f.sendcmd('TYPE I') and f.size('bin') == len(data) + 4
assert f.mkd('dir "q"') == '/dir "q"'
f.cwd('dir "q"')
assert f.pwd() == '/dir "q"'
f.cwd('..')
facts = dict(f.mlsd())
assert facts['bin']['type'] == 'file', facts
f.sendcmd('MFMT 20010203040506 bin')
assert f.sendcmd('MDTM bin').startswith('213 20010203040506')
f.sendcmd('SITE CHMOD 600 bin')
f.rename('bin', 'moved')
f.delete('moved')
f.rmd('dir "q"')
f.set_pasv(False)
f.storbinary('STOR active', io.BytesIO(data))
got = io.BytesIO()
f.retrbinary('RETR active', got.write)
assert got.getvalue() == data
try:
    f.cwd('/nowhere')
    assert False
except ftplib.error_perm as e:
    assert str(e).startswith('550')
f.quit()
`

func TestFtplib(t *testing.T) {
	w := newWorld(t)
	if err := os.WriteFile(w.path("client.py"), []byte(ftplib), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"new", "reuse"} {
		w.must("python3", "client.py", netns.Server, harness.Password, mode)
	}
}

// A connection that was cut is resumed, both ways and with both protocols.
func TestResume(t *testing.T) {
	w := newWorld(t)
	data := w.write("big", 12<<20+3, 5)
	size := func(name string) int64 {
		st, err := os.Stat(w.path(name))
		if err != nil {
			return 0
		}
		return st.Size()
	}
	remote := func(path string) bool {
		out, _, err := w.s.CLI(t.Context(), "fs", "stat", path, "--json")
		return err == nil && !strings.Contains(out, `"size": "0"`)
	}
	slow := []string{"-sS", "-k", "--ssl-reqd", "-u", "admin:" + harness.Password, "--limit-rate", "2M"}

	p, _ := w.start("", "curl", append(slow, "-T", "big", ftpURL+"/byftp")...)
	w.until("part of an upload", func() bool { return remote("/byftp") })
	p.Kill()
	w.curl("-C", "-", "-T", "big", ftpURL+"/byftp")
	p, _ = w.start("", "curl", append(slow, "-o", "ftpback", ftpURL+"/byftp")...)
	w.until("part of a download", func() bool { return size("ftpback") > 0 })
	p.Kill()
	if n := size("ftpback"); n >= int64(len(data)) {
		t.Fatalf("the download was over: %d", n)
	}
	w.curl("-C", "-", "-o", "ftpback", ftpURL+"/byftp")
	w.same("ftpback", data)

	p, _ = w.start("put big /bysftp\n", "sftp", w.sshArgs("admin", "-l", "20000", "-b", "-", netns.Server)...)
	w.until("part of an upload", func() bool { return remote("/bysftp") })
	p.Kill()
	w.sftp("admin", "reput big /bysftp\n")
	p, _ = w.start("get /bysftp sftpback\n", "sftp", w.sshArgs("admin", "-l", "20000", "-b", "-", netns.Server)...)
	w.until("part of a download", func() bool { return size("sftpback") > 0 })
	p.Kill()
	w.sftp("admin", "reget /bysftp sftpback\n")
	w.same("sftpback", data)
}

var restarted = regexp.MustCompile(`---> REST ([1-9]\d*)(?s:.*?)---> (STOR|RETR) f1`)

// A mirror that was cut goes on with the file in which it was cut, both ways.
func TestResume_mirror(t *testing.T) {
	w := newWorld(t)
	const files = 5
	for i := range files {
		name := fmt.Sprintf("tree/d/f%d", i)
		w.write(name, 4<<20+i, byte(i))
		// lftp takes only what is younger than its source for a part of it.
		hourAgo := time.Now().Add(-time.Hour)
		if err := os.Chtimes(w.path(name), hourAgo, hourAgo); err != nil {
			t.Fatal(err)
		}
	}
	cut := func(what, script string, part func() int64) int64 {
		t.Helper()
		p, out := w.start("", "lftp", "-u", "admin,"+harness.Password, netns.Server, "-e", lftpSet+"set net:limit-rate 3M; set net:limit-total-rate 3M; "+script+"; exit")
		w.until("part of the second file", func() bool { return part() > 0 })
		p.Kill()
		if n := part(); n < 4<<20 {
			return n
		}
		t.Fatalf("%s: the second file was complete\n%s", what, out)
		return 0
	}
	// What has arrived before is not sent again: the client says where it goes on.
	resumed := func(script, verb string, had int64) {
		t.Helper()
		log := w.path("commands")
		w.lftp("debug -o " + log + " 5; " + script)
		b, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		at := int64(-1)
		if m := restarted.FindSubmatch(b); m != nil && string(m[2]) == verb {
			at, _ = strconv.ParseInt(string(m[1]), 10, 64)
		}
		if at < had || at > 4<<20 || bytes.Contains(b, []byte(verb+" f0")) {
			t.Errorf("%d bytes of the second file were there, and it went on at %d:\n%s", had, at, b)
		}
		_ = os.Remove(log)
	}
	up := cut("upload", "mirror -R -v tree /mirrored", func() int64 {
		out, _, err := w.s.CLI(t.Context(), "fs", "stat", "/mirrored/d/f1", "--json")
		if err != nil {
			return 0
		}
		var st struct {
			Size int64 `json:"size,string"`
		}
		if err := json.Unmarshal([]byte(out), &st); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return st.Size
	})
	resumed("mirror -R -c -v tree /mirrored", "STOR", up)
	w.lftp("mirror /mirrored whole")
	w.must("diff", "-r", "tree", "whole")

	down := cut("download", "mirror -v /mirrored back", func() int64 {
		st, err := os.Stat(w.path("back/d/f1"))
		if err != nil {
			return 0
		}
		return st.Size()
	})
	resumed("mirror -c -v /mirrored back", "RETR", down)
	w.must("diff", "-r", "tree", "back")
}

// Stopping lets transfers finish, and what they were told is durable is there.
func TestStop(t *testing.T) {
	w := newWorld(t)
	data := w.write("big", 12<<20+3, 6)
	idle := w.control("990")
	up, out := w.start("", "curl", "-sS", "-k", "--ssl-reqd", "-u", "admin:"+harness.Password, "--limit-rate", "4M", "-T", "big", ftpURL+"/byftp")
	put, sout := w.start("put big /bysftp\n", "sftp", w.sshArgs("admin", "-l", "40000", "-b", "-", netns.Server)...)
	w.until("both uploads", func() bool {
		a, _, err1 := w.s.CLI(t.Context(), "fs", "stat", "/byftp", "--json")
		b, _, err2 := w.s.CLI(t.Context(), "fs", "stat", "/bysftp", "--json")
		return err1 == nil && err2 == nil && !strings.Contains(a+b, `"size": "0"`)
	})
	w.s.Stop(t)
	closed(t, idle.nc)
	<-up.Done()
	<-put.Done()
	if up.Err() != nil {
		t.Errorf("FTP: %v\n%s", up.Err(), out)
	}
	// The connection ends with the last open file, maybe before the client has
	// said goodbye.
	if put.Err() != nil {
		t.Logf("sftp: %v\n%s", put.Err(), sout)
	}
	w.s.Start(t)
	w.curl("-o", "ftpback", ftpURL+"/byftp")
	w.same("ftpback", data)
	w.curl("-o", "sftpback", ftpURL+"/bysftp")
	w.same("sftpback", data)
}

func TestShell(t *testing.T) {
	w := newWorld(t)
	ssh := func(user string, command ...string) []string {
		return append(w.sshArgs(user, netns.Server), command...)
	}
	w.must("ssh", ssh("admin", "snapshot create /home --name kept")...)
	if out := w.must("ssh", ssh("admin", "snapshot", "list", "--json")...); !strings.Contains(out, "kept") {
		t.Error(out)
	}
	if out := w.must("ssh", ssh("ann", "whoami")...); !strings.Contains(out, "ann") {
		t.Error(out)
	}
	w.fails("PRIVILEGE_SNAPSHOT_READ", "", "ssh", ssh("ann", "snapshot list")...)
	w.fails("no local files", "", "ssh", ssh("admin", "fs write /x /etc/passwd")...)
	w.fails("unknown flag: --host", "", "ssh", ssh("admin", "whoami --host 127.0.0.1")...)
	w.fails("unknown command", "", "ssh", ssh("admin", "sh")...)
	w.input("content", "ssh", ssh("admin", "fs write --create /x")...)
	if out := w.must("ssh", ssh("admin", "fs cat /x")...); out != "content" {
		t.Error(out)
	}
	if out := w.input("whoa\t\rfs ls /\rexit\r", "ssh", append(w.sshArgs("admin", "-tt"), netns.Server)...); !strings.Contains(out, "home/") || !strings.Contains(out, "admin@manifold> ") {
		t.Error(out)
	}
	// Nothing is forwarded.
	w.fails("", "", "ssh", append(w.sshArgs("admin", "-o", "ExitOnForwardFailure=yes", "-R", "4711:localhost:8000"), netns.Server, "whoami")...)
	w.fails("", "", "ssh", append(w.sshArgs("admin", "-W", "localhost:8000"), netns.Server)...)
	// Keys alone, and no SFTP, when it is so set.
	w.s.MustCLI(t, "ssh", "modify", "--passwords=false", "--sftp=false")
	if out := w.must("ssh", ssh("admin", "whoami")...); !strings.Contains(out, "admin") {
		t.Error(out)
	}
	w.fails("", "ls\n", "sftp", w.sshArgs("admin", "-b", "-", netns.Server)...)
	w.fails("Permission denied (publickey)", "", "ssh", "-F", "none", "-o", "StrictHostKeyChecking=accept-new", "-o", "UserKnownHostsFile="+w.path("hosts"),
		"-o", "BatchMode=yes", "-o", "IdentityFile=none", "admin@"+netns.Server, "whoami")
}
