package ssh_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
	"manifold/internal/wire/ssh"
	"manifold/internal/wire/ssh/sftp"

	"go.uber.org/goleak"
	xssh "golang.org/x/crypto/ssh"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// users are the accounts of a test. Servers read them, so they are complete
// before the server of a test begins.
type users struct {
	accounts  map[string]ssh.Account
	passwords map[string]string
	keys      map[string]string // wire form by user
}

func (u *users) Password(_ context.Context, user, password string, _ netip.AddrPort) (ssh.Account, error) {
	a, ok := u.accounts[user]
	if p := u.passwords[user]; !ok || p == "" || p != password {
		return ssh.Account{}, ssh.ErrDenied
	}
	return a, nil
}

func (u *users) PublicKey(_ context.Context, user string, key ssh.PublicKey, _ netip.AddrPort) (ssh.Account, error) {
	a, ok := u.accounts[user]
	if k := u.keys[user]; !ok || k != string(key.Wire) {
		return ssh.Account{}, ssh.ErrDenied
	}
	return a, nil
}

// echo is a shell that says what it was asked.
type echo struct{}

func (echo) Exec(ctx context.Context, s *ssh.Session, command string) int {
	switch {
	case command == "cat":
		_, _ = io.Copy(s.Stdout, s.Stdin)
		return 0
	case command == "hang":
		<-ctx.Done()
		return 1
	}
	fmt.Fprintf(s.Stdout, "%s ran %s LANG=%s\n", s.Account.User, command, s.Env["LANG"])
	fmt.Fprintln(s.Stderr, "to stderr")
	return 7
}

// Shell runs the lines that it reads; "hang" until it is interrupted.
func (echo) Shell(ctx context.Context, s *ssh.Session) int {
	t := s.Terminal
	if t == nil {
		_, _ = io.Copy(s.Stdout, s.Stdin)
		return 0
	}
	fmt.Fprintf(s.Stdout, "terminal %s %dx%d\n", t.Name, t.Window.Columns, t.Window.Rows)
	e := s.Editor("> ", []string{"older", "newer"}, func(line string, pos int) (string, int, bool) {
		return line[:pos] + "shot" + line[pos:], pos + 4, true
	})
	defer e.Close()
	for {
		line, err := e.ReadLine()
		if err != nil {
			return 0
		}
		code := s.Interruptible(ctx, func(ctx context.Context) int {
			if line == "hang" {
				fmt.Fprintln(e, "hanging")
				<-ctx.Done()
				return 130
			}
			return 0
		})
		fmt.Fprintf(e, "<%s> %d\n", line, code)
	}
}

type logins struct {
	mu     sync.Mutex
	ops    []string
	logins chan ssh.Login
}

func (l *logins) Login(x ssh.Login) {
	select {
	case l.logins <- x:
	default:
	}
}

func (l *logins) SFTP(_ *ssh.Account, o sftp.Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, o.Name)
}

func (l *logins) Connected(int) {}

type world struct {
	t      testing.TB
	fs     fs.FS
	seen   *logins
	server *ssh.Server
	addr   string
	port   string
	dir    string // for keys
	hosts  []byte
	signer xssh.Signer
}

func newWorld(t testing.TB, change func(*ssh.Options)) *world {
	t.Helper()
	m := memfs.New(memfs.Options{RootMode: 0o777})
	w := &world{t: t, fs: m, seen: &logins{logins: make(chan ssh.Login, 100)}, dir: t.TempDir()}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	w.signer, err = xssh.NewSignerFromKey(key)
	must(t, err)
	spub, err := xssh.NewPublicKey(pub)
	must(t, err)
	block, err := xssh.MarshalPrivateKey(key, "")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(w.dir, "id"), pem.EncodeToMemory(block), 0o600))
	cred := identity.POSIX(1000, 1000, nil)
	u := &users{
		accounts: map[string]ssh.Account{
			"ann":    {User: "ann", Cred: cred},
			"jailed": {User: "jailed", Cred: cred, Home: "/home/jailed", Chroot: true},
			"nohome": {User: "nohome", Cred: cred, Home: "/nowhere", Chroot: true},
			"reader": {User: "reader", Cred: cred, ReadOnly: true, NoShell: true},
		},
		passwords: map[string]string{"ann": "secret", "jailed": "secret", "nohome": "secret", "reader": "secret"},
		keys:      map[string]string{"ann": string(spub.Marshal()), "jailed": string(spub.Marshal()), "reader": string(spub.Marshal()), "nohome": string(spub.Marshal())},
	}
	home := w.make(fs.Root, "home", fs.Directory, "")
	w.make(home, "jailed", fs.Directory, "")
	w.make(fs.Root, "secret", fs.File, "")
	hk, err := ssh.GenerateHostKey(ssh.Ed25519, "test")
	must(t, err)
	o := ssh.Options{HostKeys: [][]byte{hk}, Auth: u, Shell: echo{}, FS: m, Observer: w.seen, LoginTimeout: 20 * time.Second}
	if change != nil {
		change(&o)
	}
	w.server, err = ssh.New(o)
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.addr = l.Addr().String()
	_, w.port, _ = net.SplitHostPort(w.addr)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = w.server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
		must(t, w.server.Close())
		if n := w.server.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) make(dir fs.Node, name string, typ fs.Type, target string) fs.Node {
	w.t.Helper()
	mode := fs.Mode(0o777)
	cred := identity.POSIX(1000, 1000, nil)
	r, err := w.fs.Create(context.Background(), &fs.Caller{Cred: cred}, dir, name, &fs.CreateSpec{Type: typ, Target: []byte(target), Set: fs.SetAttr{Mode: &mode}, Want: fs.AttrBasic})
	must(w.t, err)
	return r.Attr.Node
}

func (w *world) dial(user string, auth ...xssh.AuthMethod) (*xssh.Client, error) {
	return xssh.Dial("tcp", w.addr, &xssh.ClientConfig{
		User: user, Auth: auth, HostKeyCallback: xssh.InsecureIgnoreHostKey(), Timeout: 20 * time.Second,
	})
}

func (w *world) client(user string) *xssh.Client {
	w.t.Helper()
	c, err := w.dial(user, xssh.PublicKeys(w.signer))
	must(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestLogin(t *testing.T) {
	w := newWorld(t, nil)
	_, other, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	stranger, err := xssh.NewSignerFromKey(other)
	must(t, err)
	ask := func(answer string) xssh.AuthMethod {
		return xssh.KeyboardInteractive(func(_, _ string, q []string, _ []bool) ([]string, error) {
			return []string{answer}[:len(q)], nil
		})
	}
	for _, c := range []struct {
		name, user string
		auth       xssh.AuthMethod
		ok         bool
	}{
		{"key", "ann", xssh.PublicKeys(w.signer), true},
		{"key after another", "ann", xssh.PublicKeys(stranger, w.signer), true},
		{"wrong key", "ann", xssh.PublicKeys(stranger), false},
		{"password", "ann", xssh.Password("secret"), true},
		{"wrong password", "ann", xssh.Password("Secret"), false},
		{"empty password", "ann", xssh.Password(""), false},
		{"nobody", "bob", xssh.Password("secret"), false},
		{"interactive", "ann", ask("secret"), true},
		{"interactive wrong", "ann", ask("no"), false},
	} {
		cl, err := w.dial(c.user, c.auth)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if cl != nil {
			_ = cl.Close()
		}
	}
	for good, bad := 0, 0; good < 4 || bad < 6; {
		select {
		case l := <-w.seen.logins:
			if l.OK {
				good++
			} else {
				bad++
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the observer saw %d logins and %d refusals", good, bad)
		}
	}
}

// A key that was shown but not proved gives no rights: the account is that of
// the method which succeeded.
func TestLogin_shownKeyIsNotUsed(t *testing.T) {
	w := newWorld(t, func(o *ssh.Options) {
		u := o.Auth.(*users)
		u.accounts["two"] = ssh.Account{User: "two", Cred: identity.POSIX(2, 2, nil)}
		u.passwords["two"] = "secret"
	})
	c, err := w.dial("two", xssh.PublicKeys(w.signer), xssh.Password("secret"))
	must(t, err)
	defer c.Close()
	s, err := c.NewSession()
	must(t, err)
	out, _ := s.Output("whoami")
	if !strings.HasPrefix(string(out), "two ran whoami") {
		t.Fatalf("%s", out)
	}
}

func TestExec(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("ann")
	s, err := c.NewSession()
	must(t, err)
	var stdout, stderr bytes.Buffer
	s.Stdout, s.Stderr = &stdout, &stderr
	must(t, s.Setenv("LANG", "C.UTF-8"))
	if err := s.Setenv("LD_PRELOAD", "x"); err == nil {
		t.Error("LD_PRELOAD was taken")
	}
	var exit *xssh.ExitError
	if err := s.Run("snapshot list --json"); !errors.As(err, &exit) || exit.ExitStatus() != 7 {
		t.Fatalf("%v", err)
	}
	if stdout.String() != "ann ran snapshot list --json LANG=C.UTF-8\n" || stderr.String() != "to stderr\n" {
		t.Fatalf("%q %q", stdout.String(), stderr.String())
	}

	s, err = c.NewSession()
	must(t, err)
	s.Stdin = strings.NewReader("through and back")
	out, err := s.Output("cat")
	if err != nil || string(out) != "through and back" {
		t.Fatalf("%q %v", out, err)
	}
}

func TestShell_terminal(t *testing.T) {
	w := newWorld(t, nil)
	s, err := w.client("ann").NewSession()
	must(t, err)
	must(t, s.RequestPty("xterm", 24, 80, xssh.TerminalModes{}))
	must(t, s.WindowChange(30, 100))
	in, err := s.StdinPipe()
	must(t, err)
	out, err := s.StdoutPipe()
	must(t, err)
	must(t, s.Shell())
	r := bufio.NewReader(out)
	until := func(want string) {
		t.Helper()
		var got strings.Builder
		for !strings.HasSuffix(got.String(), want) {
			b, err := r.ReadByte()
			if err != nil {
				t.Fatalf("%q does not end in %q: %v", got.String(), want, err)
			}
			got.WriteByte(b)
		}
	}
	typ := func(keys string) {
		t.Helper()
		_, err := io.WriteString(in, keys)
		must(t, err)
	}
	until("terminal xterm 80x24\r\n> ")
	typ("snap\t list\r")
	until("<snapshot list> 0\r\n")
	typ("\x1b[A\x1b[A\r") // two up
	until("<newer> 0\r\n")
	typ("hang\r")
	until("hanging\r\n")
	typ("typed ahead\r\x03")
	until("<hang> 130\r\n")
	typ("after\r")
	until("<after> 0\r\n")
	typ("hang\r")
	until("hanging\r\n")
	must(t, s.Signal(xssh.SIGINT))
	until("<hang> 130\r\n")
	typ("\x04")
	must(t, s.Wait())
}

// A client that goes away takes the shell with it.
func TestShell_hangup(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("ann")
	s, err := c.NewSession()
	must(t, err)
	must(t, s.RequestPty("xterm", 24, 80, xssh.TerminalModes{}))
	in, err := s.StdinPipe()
	must(t, err)
	must(t, s.Shell())
	_, err = io.WriteString(in, "hang\r")
	must(t, err)
	must(t, c.Close())
}

func TestShell_refused(t *testing.T) {
	w := newWorld(t, nil)
	s, err := w.client("reader").NewSession()
	must(t, err)
	if err := s.Shell(); err == nil {
		t.Error("an account without a shell got one")
	}
}

func TestForwarding_refused(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("ann")
	if _, err := c.Dial("tcp", w.addr); err == nil {
		t.Error("direct-tcpip was opened")
	}
	if _, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("tcpip-forward was granted")
	}
	if _, err := c.ListenUnix("/tmp/x"); err == nil {
		t.Error("streamlocal-forward was granted")
	}
	s, err := c.NewSession()
	must(t, err)
	for _, r := range []string{"auth-agent-req@openssh.com", "x11-req"} {
		if ok, err := s.SendRequest(r, true, nil); err != nil || ok {
			t.Errorf("%s: %v %v", r, ok, err)
		}
	}
}

func TestAlgorithms_weakAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	for name, c := range map[string]xssh.Config{
		"cipher": {Ciphers: xssh.InsecureAlgorithms().Ciphers},
		"kex":    {KeyExchanges: xssh.InsecureAlgorithms().KeyExchanges},
		"mac":    {Ciphers: []string{"aes128-ctr"}, MACs: xssh.InsecureAlgorithms().MACs},
	} {
		_, err := xssh.Dial("tcp", w.addr, &xssh.ClientConfig{
			Config: c, User: "ann", Auth: []xssh.AuthMethod{xssh.PublicKeys(w.signer)}, HostKeyCallback: xssh.InsecureIgnoreHostKey(), Timeout: 20 * time.Second,
		})
		if err == nil {
			t.Errorf("an insecure %s was agreed on", name)
		}
	}
}

func TestLimits(t *testing.T) {
	w := newWorld(t, func(o *ssh.Options) { o.MaxPerClient = 2; o.MaxChannels = 2 })
	c := w.client("ann")
	for i := range 3 {
		s, err := c.NewSession()
		if (err == nil) != (i < 2) {
			t.Fatalf("session %d: %v", i, err)
		}
		if err == nil {
			must(t, s.Start("hang"))
		}
	}
	w.client("ann")
	if c, err := w.dial("ann", xssh.PublicKeys(w.signer)); err == nil {
		_ = c.Close()
		t.Error("a third connection was let in")
	}
}

func TestLimits_login(t *testing.T) {
	w := newWorld(t, func(o *ssh.Options) { o.LoginTimeout = 50 * time.Millisecond; o.MaxTries = 2 })
	c, err := net.Dial("tcp", w.addr)
	must(t, err)
	defer c.Close()
	must(t, c.SetReadDeadline(time.Now().Add(20*time.Second)))
	if b, err := io.ReadAll(c); err != nil && len(b) == 0 {
		t.Errorf("the silent connection was not ended: %v", err)
	}
}

func TestLimits_idle(t *testing.T) {
	w := newWorld(t, func(o *ssh.Options) { o.IdleTimeout = 50 * time.Millisecond })
	c := w.client("ann")
	if err := c.Wait(); err == nil {
		t.Error("no error")
	}
}

func TestDisconnect(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client("ann")
	w.client("reader")
	<-w.seen.logins
	<-w.seen.logins
	if l := w.server.Clients(); len(l) != 2 || l[0].User == l[1].User {
		t.Errorf("%+v", l)
	}
	if n := w.server.Disconnect("ann"); n != 1 {
		t.Errorf("%d ended", n)
	}
	if err := c.Wait(); err == nil {
		t.Error("the connection ended without an error")
	}
}

func TestKeys(t *testing.T) {
	for _, kt := range []ssh.KeyType{ssh.Ed25519, ssh.ECDSA} {
		k, err := ssh.GenerateHostKey(kt, "host")
		must(t, err)
		s, err := xssh.ParsePrivateKey(k)
		must(t, err)
		line := strings.TrimSpace(string(xssh.MarshalAuthorizedKey(s.PublicKey()))) + " me@there"
		p, err := ssh.ParsePublicKey(line)
		must(t, err)
		if p.String() != line || p.Fingerprint() != xssh.FingerprintSHA256(s.PublicKey()) || p.Comment != "me@there" {
			t.Errorf("%+v", p)
		}
	}
	for _, bad := range []string{
		"", "ssh-ed25519", "ssh-ed25519 AAAA", `command="x" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKPgHfT9tqmcvFcgCqyKd1sq0FCy4IsAX0iqsPjqPVvV`,
		strings.Repeat("a", 20<<10),
	} {
		if _, err := ssh.ParsePublicKey(bad); err == nil {
			t.Errorf("%.40q was taken", bad)
		}
	}
	if _, err := ssh.New(ssh.Options{HostKeys: [][]byte{[]byte("x")}, Auth: &users{}}); err == nil {
		t.Error("a bad host key was taken")
	}
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKPgHfT9tqmcvFcgCqyKd1sq0FCy4IsAX0iqsPjqPVvV c")
	f.Fuzz(func(t *testing.T, line string) {
		k, err := ssh.ParsePublicKey(line)
		if err != nil {
			return
		}
		again, err := ssh.ParsePublicKey(k.String())
		if err != nil || !bytes.Equal(again.Wire, k.Wire) {
			t.Fatalf("%q became %q: %v", line, k.String(), err)
		}
	})
}
