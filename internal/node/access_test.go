package node

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"manifold/internal/ports"
)

func (r *running) ok(t *testing.T, method, path, token string, body any) string {
	t.Helper()
	code, out := r.rest(t, method, path, token, body)
	if code != 200 {
		t.Fatalf("%s %s: %d %s", method, path, code, out)
	}
	return out
}

// FTP opens and closes while the node runs, and logs in whom the API knows.
func TestServe_ftp(t *testing.T) {
	r := startServer(t, filepath.Join(t.TempDir(), "data"))
	token := r.login(t)
	dial := func() (*textproto.Conn, error) { return textproto.Dial("tcp", r.address(ports.FTP)) }
	if c, err := dial(); err == nil {
		_ = c.Close()
		t.Fatal("FTP serves before it was switched on")
	}
	if out := r.ok(t, "GET", "/v0/ftp/settings", token, nil); out != `{"enabled":false,"check_remote_host":true,"log_operations":false,"chroot_users":false,"allow_unencrypted_connections":false,"expand_wildcards":false,"anonymous_user":null,"greeting":""}` {
		t.Error(out)
	}
	r.ok(t, "PATCH", "/v0/ftp/settings", token, map[string]any{"enabled": true, "greeting": "Hello", "anonymous_user": map[string]string{"id_type": "LOCAL_USER", "id_value": "guest"}})
	if out := r.ok(t, "GET", "/v0/ftp/status", token, nil); !strings.Contains(out, `"statuses":[{"node_id":1,"status":"FTP_SERVER_RUNNING"}]`) || !strings.Contains(out, `"anonymous_user":{"id_type":"LOCAL_USER","id_value":"guest"}`) {
		t.Error(out)
	}
	c, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	say := func(want int, line string) string {
		t.Helper()
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				t.Fatal(err)
			}
		}
		code, msg, err := c.ReadResponse(want)
		if err != nil {
			t.Fatalf("%s: %d %s %v", line, code, msg, err)
		}
		return msg
	}
	if msg := say(220, ""); msg != "Hello" {
		t.Error(msg)
	}
	say(530, "USER admin") // not without TLS
	_ = c.Close()

	tc, err := tls.Dial("tcp", r.address(ports.FTPS), &tls.Config{InsecureSkipVerify: true}) // self-signed
	if err != nil {
		t.Fatal(err)
	}
	c = textproto.NewConn(tc)
	say(220, "")
	say(331, "USER admin")
	say(530, "PASS wrong")
	say(331, "USER admin")
	say(230, "PASS Serve-Test-1")
	say(257, "MKD made")
	r.ok(t, "GET", "/v1/files/%2Fmade/info/attributes", token, nil)

	// Switched off it is gone, with its connections; switched on it is back.
	r.ok(t, "PATCH", "/v0/ftp/settings", token, map[string]any{"enabled": false})
	if _, err := c.ReadLine(); err == nil {
		t.Error("the connection lives on")
	}
	if c, err := dial(); err == nil {
		_ = c.Close()
		t.Error("FTP serves after it was switched off")
	}
	if out := r.ok(t, "GET", "/v0/ftp/status", token, nil); !strings.Contains(out, "FTP_SERVER_STOPPED") {
		t.Error(out)
	}
	r.ok(t, "PUT", "/v0/ftp/settings", token, map[string]any{"enabled": true})
	if c, err = dial(); err != nil {
		t.Fatal(err)
	}
	say(220, "")
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

func (r *running) ssh(t *testing.T, user string, auth xssh.AuthMethod) (*xssh.Client, error) {
	t.Helper()
	c, err := xssh.Dial("tcp", r.address(ports.SSH), &xssh.ClientConfig{User: user, Auth: []xssh.AuthMethod{auth}, HostKeyCallback: xssh.InsecureIgnoreHostKey()})
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

// command runs one command and answers its outputs and exit status.
func command(t *testing.T, c *xssh.Client, line, in string) (string, string, int) {
	t.Helper()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out, errs bytes.Buffer
	s.Stdout, s.Stderr, s.Stdin = &out, &errs, strings.NewReader(in)
	err = s.Run(line)
	code := 0
	if e, ok := err.(*xssh.ExitError); ok {
		code, err = e.ExitStatus(), nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), code
}

func TestServe_ssh(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	r := startServer(t, dir)
	token := r.login(t)
	if _, err := r.ssh(t, "admin", xssh.Password("wrong")); err == nil {
		t.Fatal("a wrong password was taken")
	}
	admin, err := r.ssh(t, "admin", xssh.Password("Serve-Test-1"))
	if err != nil {
		t.Fatal(err)
	}
	if out, errs, code := command(t, admin, "whoami --json", ""); code != 0 || !strings.Contains(out, `"name": "admin"`) {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if out, errs, code := command(t, admin, `fs write --create "/a b"`, "content"); code != 0 {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if out, errs, code := command(t, admin, `fs cat '/a b'`, ""); code != 0 || out != "content" {
		t.Errorf("%d %q%s", code, out, errs)
	}
	if _, errs, code := command(t, admin, "fs write --create /x /etc/passwd", ""); code != 1 || !strings.Contains(errs, "no local files") {
		t.Errorf("%d %s", code, errs)
	}
	for _, bad := range []string{"whoami --host example.com", "login", "serve", "no such"} {
		if out, errs, code := command(t, admin, bad, ""); code != 1 || errs == "" {
			t.Errorf("%s: %d %s%s", bad, code, out, errs)
		}
	}

	// A user with a key and no role: the same commands, fewer rights.
	out := r.ok(t, "POST", "/v1/users/", token, map[string]any{"name": "ann", "primary_group": "513", "password": "Serve-Test-2"})
	var ann struct{ ID string }
	if err := json.Unmarshal([]byte(out), &ann); err != nil {
		t.Fatal(err)
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := xssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	xpub, err := xssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.ssh(t, "ann", xssh.PublicKeys(signer)); err == nil {
		t.Fatal("an unknown key was taken")
	}
	line := strings.TrimSpace(string(xssh.MarshalAuthorizedKey(xpub)))
	r.ok(t, "POST", "/v1/users/"+ann.ID+"/ssh-keys/", token, map[string]string{"public_key": line + " ann@home"})
	if _, err := r.ssh(t, "admin", xssh.PublicKeys(signer)); err == nil {
		t.Fatal("the key of ann opens admin")
	}
	c, err := r.ssh(t, "ann", xssh.PublicKeys(signer))
	if err != nil {
		t.Fatal(err)
	}
	if out, errs, code := command(t, c, "whoami", ""); code != 0 || !strings.Contains(out, "ann") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	if out, errs, code := command(t, c, "user list", ""); code != 1 || !strings.Contains(errs, "PRIVILEGE_LOCAL_USER_READ") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	// Taking the key away ends the connection.
	code, body := r.rest(t, "DELETE", "/v1/users/"+ann.ID+"/ssh-keys/"+strings.NewReplacer("/", "%2F", "+", "%2B").Replace(xssh.FingerprintSHA256(xpub)), token, nil)
	if code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	_ = c.Wait()
	if _, err := r.ssh(t, "ann", xssh.PublicKeys(signer)); err == nil {
		t.Fatal("a key that was taken away is taken")
	}
	hosts := r.ok(t, "GET", "/v1/ssh/host-keys/", token, nil)
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	r = startServer(t, dir)
	if again := r.ok(t, "GET", "/v1/ssh/host-keys/", token, nil); again != hosts {
		t.Errorf("other host keys after a restart: %s, %s", hosts, again)
	}
	r.ok(t, "PATCH", "/v1/ssh/settings", token, map[string]any{"enabled": false})
	if _, err := r.ssh(t, "admin", xssh.Password("Serve-Test-1")); err == nil {
		t.Error("SSH serves after it was switched off")
	}
}

// The interactive shell completes, remembers and survives an interrupt.
func TestServe_shell(t *testing.T) {
	r := startServer(t, filepath.Join(t.TempDir(), "data"))
	c, err := r.ssh(t, "admin", xssh.Password("Serve-Test-1"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
		t.Fatal(err)
	}
	in, err := s.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shell(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(20*time.Second, func() { _ = c.Close() }) // ends a test that waits in vain
	defer late.Stop()
	until := func(want string) string {
		t.Helper()
		var b strings.Builder
		buf := make([]byte, 1)
		for !strings.Contains(b.String(), want) {
			n, err := out.Read(buf)
			if err != nil {
				t.Fatalf("no %q in %q: %v", want, b.String(), err)
			}
			b.Write(buf[:n])
		}
		return b.String()
	}
	until("> ")
	fmt.Fprint(in, "whoa\t\r")
	until("whoami \r\n")
	until("Name")
	until("> ")
	fmt.Fprint(in, "sna\t\t")
	if text := until("  show "); !strings.Contains(text, "  list ") {
		t.Errorf("%q", text)
	}
	until("> snapshot ")
	fmt.Fprint(in, "list --json\r")
	until("[]")
	until("> ")
	fmt.Fprint(in, "top\r")
	until("one moment")
	fmt.Fprint(in, "\x03")
	until("> ")
	fmt.Fprint(in, "\x1b[A\x1b[A") // the line before the last
	until("snapshot list --json")
	fmt.Fprint(in, "\r")
	until("> ")
	fmt.Fprint(in, "exit\r")
	if err := s.Wait(); err != nil {
		t.Error(err)
	}
}
