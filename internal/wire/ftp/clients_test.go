package ftp_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/internal/wire/ftp"
)

// need skips on a laptop without the programs, and fails in CI.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing: make setup", p)
			}
			t.Skipf("%s is missing: make setup", p)
		}
	}
}

func (w *world) run(name string, args ...string) string {
	w.t.Helper()
	c := exec.CommandContext(w.t.(*testing.T).Context(), name, args...)
	c.Dir = w.dir
	out, err := c.CombinedOutput()
	if err != nil {
		w.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func (w *world) local(name string, size int, seed byte) []byte {
	w.t.Helper()
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	p := filepath.Join(w.dir, name)
	must(w.t, os.MkdirAll(filepath.Dir(p), 0o755))
	must(w.t, os.WriteFile(p, b, 0o640))
	return b
}

func (w *world) same(name string, want []byte) {
	w.t.Helper()
	got, err := os.ReadFile(filepath.Join(w.dir, name))
	must(w.t, err)
	if sha256.Sum256(got) != sha256.Sum256(want) {
		w.t.Errorf("%s has %d bytes that are not the %d that were put", name, len(got), len(want))
	}
}

func onlyTLS(_ *ftp.Options, s *ftp.Settings) { s.AllowUnencrypted = false }

func TestClient_curl(t *testing.T) {
	need(t, "curl")
	for _, c := range []struct {
		name   string
		change change
		url    func(w *world) string
		args   []string
	}{
		{"plain", nil, func(w *world) string { return "ftp://" + w.addr }, nil},
		{"pasv", nil, func(w *world) string { return "ftp://" + w.addr }, []string{"--disable-epsv"}},
		{"active", nil, func(w *world) string { return "ftp://" + w.addr }, []string{"--ftp-port", "127.0.0.1"}},
		{"explicit", func(o *ftp.Options, s *ftp.Settings) { onlyTLS(o, s); s.RequireSessionReuse = true },
			func(w *world) string { return "ftp://" + w.addr }, []string{"--ssl-reqd", "--cacert", "ca.pem"}},
		{"implicit", onlyTLS, func(w *world) string { return "ftps://" + w.implicit }, []string{"--cacert", "ca.pem"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.change)
			data := w.local("up", 3<<20+7, 1)
			curl := func(args ...string) string {
				return w.run("curl", append(append([]string{"-sS", "--max-time", "60", "-u", "ann:secret"}, c.args...), args...)...)
			}
			u := c.url(w)
			curl("--ftp-create-dirs", "-T", "up", u+"/a/b/up")
			curl("-o", "down", u+"/a/b/up")
			w.same("down", data)
			must(t, os.WriteFile(filepath.Join(w.dir, "part"), data[:1<<20], 0o600))
			curl("-C", "-", "-o", "part", u+"/a/b/up")
			w.same("part", data)
			must(t, os.WriteFile(filepath.Join(w.dir, "half"), data[:1<<20], 0o600))
			curl("-T", "half", u+"/a/b/resumed")
			curl("-C", "-", "-T", "up", u+"/a/b/resumed")
			curl("-o", "down2", u+"/a/b/resumed")
			w.same("down2", data)
			if out := curl(u + "/a/b/"); !strings.Contains(out, " up\r\n") && !strings.Contains(out, " up\n") {
				t.Errorf("%s", out)
			}
			if out := curl("-I", u+"/a/b/up"); !strings.Contains(out, fmt.Sprintf("Content-Length: %d", len(data))) {
				t.Errorf("%s", out)
			}
			curl("-Q", "-DELE /a/b/up", "-Q", "-RNFR /a/b/resumed", "-Q", "-RNTO /a/b/renamed", "-l", u+"/a/b/")
			if out := curl("-l", u+"/a/b/"); out != "renamed\n" && out != "renamed\r\n" {
				t.Errorf("%q", out)
			}
		})
	}
}

func TestClient_lftp(t *testing.T) {
	need(t, "lftp", "diff")
	for name, ch := range map[string]change{
		"plain": func(o *ftp.Options, _ *ftp.Settings) { o.TLS = nil },
		"tls":   func(o *ftp.Options, s *ftp.Settings) { onlyTLS(o, s); s.RequireSessionReuse = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, ch)
			for i := range 60 {
				w.local(fmt.Sprintf("tree/d%d/e%d/f %d", i%7, i%3, i), i*37, byte(i))
			}
			old := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
			must(t, os.Chtimes(filepath.Join(w.dir, "tree/d0/e0/f 0"), old, old))
			w.local("tree/ü", 2<<20, 1)
			must(t, os.Symlink("d0/e0", filepath.Join(w.dir, "tree/link")))
			host, port, _ := net.SplitHostPort(w.addr)
			set := "set net:max-retries 1; set net:timeout 20; set ssl:ca-file ca.pem; set ssl:check-hostname no; "
			if name == "tls" {
				set += "set ftp:ssl-force yes; set ftp:ssl-protect-data yes; "
			}
			lftp := func(script string) string {
				return w.run("lftp", "-u", "ann,secret", "-p", port, host, "-e", set+script+"; exit")
			}
			lftp("mirror -R --parallel=3 tree remote")
			lftp("mirror --parallel=3 remote back")
			must(t, os.Remove(filepath.Join(w.dir, "tree/link")))
			_ = os.Remove(filepath.Join(w.dir, "back/link"))
			w.run("diff", "-r", "tree", "back")
			st, err := os.Stat(filepath.Join(w.dir, "back/d0/e0/f 0"))
			must(t, err)
			if !st.ModTime().Equal(old) {
				t.Errorf("the time is %v", st.ModTime())
			}
			// Nothing is transferred twice.
			if out := lftp("mirror -v -R --no-symlinks tree remote"); strings.Contains(out, "Transferring file") {
				t.Errorf("%s", out)
			}
			if out := lftp("chmod 600 remote/ü; cls -l remote/ü; mv remote/ü remote/x; rm -r remote/d0; cls -1 remote"); !strings.Contains(out, "-rw-------") || strings.Contains(out, "d0") {
				t.Errorf("%s", out)
			}
		})
	}
}

const ftplib = `
import ftplib, io, os, ssl, sys
host, port, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
class Reusing(ftplib.FTP_TLS):
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
        return conn, size
if mode == 'plain':
    f = ftplib.FTP()
else:
    f = (Reusing if mode == 'reuse' else ftplib.FTP_TLS)(context=ssl.create_default_context(cafile='ca.pem'))
f.connect(host, port, timeout=30)
f.login('ann', 'secret')
if mode != 'plain':
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
f.storlines('STOR text', io.BytesIO(b'one\ntwo\n'))
lines = []
f.retrlines('RETR text', lines.append)
assert lines == ['one', 'two'], lines
f.sendcmd('TYPE I')
assert f.size('bin') == len(data)
assert f.mkd('dir "q"') == '/dir "q"'
f.cwd('dir "q"')
assert f.pwd() == '/dir "q"'
f.cwd('..')
assert sorted(f.nlst()) == ['bin', 'dir "q"', 'home', 'secret', 'text'], f.nlst()
facts = dict(f.mlsd())
assert facts['bin']['type'] == 'file' and facts['bin']['size'] == str(len(data)), facts
out = []
f.dir(out.append)
assert len(out) == 5
f.rename('bin', 'moved')
f.delete('moved')
f.rmd('dir "q"')
f.set_pasv(False)
got = io.BytesIO()
f.retrbinary('RETR text', got.write)
assert got.getvalue() == b'one\r\ntwo\r\n'
# An aborted download leaves a session that works.
f.set_pasv(True)
f.storbinary('STOR big', io.BytesIO(data * 32))
try:
    f.cwd('/nowhere')
    assert False
except ftplib.error_perm as e:
    assert str(e).startswith('550')
f.quit()
`

func TestClient_ftplib(t *testing.T) {
	need(t, "python3")
	for mode, ch := range map[string]change{
		"plain": nil, "tls": onlyTLS,
		"reuse": func(o *ftp.Options, s *ftp.Settings) { onlyTLS(o, s); s.RequireSessionReuse = true },
	} {
		t.Run(mode, func(t *testing.T) {
			w := newWorld(t, ch)
			must(t, os.WriteFile(filepath.Join(w.dir, "client.py"), []byte(ftplib), 0o600))
			host, port, _ := net.SplitHostPort(w.addr)
			w.run("python3", "client.py", host, port, mode)
		})
	}
}
