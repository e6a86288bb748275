package ftp_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
	"manifold/internal/wire/ftp"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type users struct{ anonymous atomic.Bool }

func (u *users) Password(_ context.Context, user, password string, _ netip.AddrPort) (ftp.Account, error) {
	a := ftp.Account{User: user, Cred: identity.POSIX(1000, 1000, nil)}
	switch user {
	case "ann":
	case "jailed":
		a.Home = "/home/jailed"
	case "nohome":
		a.Home = "/nowhere"
	case "reader":
		a.ReadOnly = true
	default:
		return ftp.Account{}, ftp.ErrDenied
	}
	if password != "secret" {
		return ftp.Account{}, ftp.ErrDenied
	}
	return a, nil
}

func (u *users) Anonymous(context.Context, netip.AddrPort) (ftp.Account, error) {
	if !u.anonymous.Load() {
		return ftp.Account{}, ftp.ErrDenied
	}
	return ftp.Account{User: "guest", Cred: identity.POSIX(65534, 65534, nil), Home: "/home", ReadOnly: true}, nil
}

// ports opens real sockets, and counts those of transfers that are open.
type ports struct {
	mu   sync.Mutex
	open map[net.Listener]bool
}

type counted struct {
	net.Listener
	p *ports
}

func (c *counted) Close() error {
	c.p.mu.Lock()
	delete(c.p.open, c)
	c.p.mu.Unlock()
	return c.Listener.Close()
}

func (p *ports) ListenData(ctx context.Context, local netip.Addr) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(local, 0).String())
	if err != nil {
		return nil, err
	}
	c := &counted{l, p}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[c] = true
	return c, nil
}

func (p *ports) DialData(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
	return d.DialContext(ctx, "tcp", to.String())
}

type seen struct {
	ops    chan ftp.Op
	logins chan ftp.Login
	conns  chan int
}

func (s *seen) Login(l ftp.Login) {
	select {
	case s.logins <- l:
	default:
	}
}

func (s *seen) Observe(o ftp.Op) {
	select {
	case s.ops <- o:
	default:
	}
}

func (s *seen) Connected(n int) {
	select {
	case s.conns <- n:
	default:
	}
}

type world struct {
	t        testing.TB
	fs       fs.FS
	users    *users
	ports    *ports
	seen     *seen
	server   *ftp.Server
	addr     string
	implicit string
	dir      string
	roots    *x509.CertPool
}

type change func(o *ftp.Options, s *ftp.Settings)

func newWorld(t testing.TB, ch change) *world {
	t.Helper()
	w := &world{
		t: t, fs: memfs.New(memfs.Options{RootMode: 0o777}), users: &users{}, ports: &ports{open: map[net.Listener]bool{}},
		seen: &seen{make(chan ftp.Op, 100), make(chan ftp.Login, 100), make(chan int, 100)}, dir: t.TempDir(),
	}
	home := w.make(fs.Root, "home", fs.Directory, "")
	w.make(home, "jailed", fs.Directory, "")
	w.put("/secret", "secret")
	cert := w.certificate()
	o := ftp.Options{
		FS: w.fs, Auth: w.users, Ports: w.ports, Observer: w.seen, FailDelay: -1,
		TLS: func() *tls.Config {
			return &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
		},
	}
	set := ftp.Settings{AllowUnencrypted: true, ChrootUsers: true, ExpandWildcards: true}
	if ch != nil {
		ch(&o, &set)
	}
	o.Settings = func() ftp.Settings { return set }
	s, err := ftp.New(o)
	must(t, err)
	w.server = s
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	listen := func(implicit bool) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		wg.Add(1)
		go func() { defer wg.Done(); _ = s.Serve(ctx, l, implicit) }()
		return l.Addr().String()
	}
	w.addr, w.implicit = listen(false), listen(true)
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		must(t, s.Close())
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if n := len(w.ports.open); n != 0 {
			t.Errorf("%d data ports are left open", n)
		}
		_ = w.fs.Opens(context.Background(), fs.Node{}, func(i fs.OpenInfo) bool { t.Errorf("%v is left open", i.Node); return true })
	})
	return w
}

func (w *world) certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(w.t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), NotBefore: time.Now().Add(-time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	must(w.t, err)
	p := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(w.t, os.WriteFile(filepath.Join(w.dir, "ca.pem"), p, 0o600))
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM(p)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

var ann = &fs.Caller{Cred: identity.POSIX(1000, 1000, nil)}

func (w *world) make(dir fs.Node, name string, typ fs.Type, target string) fs.Node {
	w.t.Helper()
	mode := fs.Mode(0o755)
	r, err := w.fs.Create(context.Background(), ann, dir, name, &fs.CreateSpec{Type: typ, Target: []byte(target), Set: fs.SetAttr{Mode: &mode}, Want: fs.AttrBasic})
	must(w.t, err)
	return r.Attr.Node
}

func (w *world) put(path, data string) {
	w.t.Helper()
	dir, name := fs.Root, path[1:]
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		a, err := w.fs.Resolve(context.Background(), ann, path[:i], fs.AttrType)
		must(w.t, err)
		dir, name = a.Node, path[i+1:]
	}
	n := w.make(dir, name, fs.File, "")
	_, err := w.fs.Write(context.Background(), ann, n, &fs.WriteRequest{Data: []byte(data)})
	must(w.t, err)
}

func (w *world) get(path string) string {
	w.t.Helper()
	a, err := w.fs.Resolve(context.Background(), fs.SystemCaller(), path, fs.AttrSize)
	must(w.t, err)
	b := make([]byte, a.Size)
	_, err = w.fs.Read(context.Background(), fs.SystemCaller(), a.Node, &fs.ReadRequest{}, b)
	must(w.t, err)
	return string(b)
}

// peer is a client.
type peer struct {
	t    testing.TB
	w    *world
	raw  net.Conn
	c    net.Conn
	r    *bufio.Reader
	tls  *tls.Config
	prot bool
}

func (w *world) connect() *peer {
	w.t.Helper()
	c, err := net.Dial("tcp", w.addr)
	must(w.t, err)
	w.t.Cleanup(func() { _ = c.Close() })
	must(w.t, c.SetDeadline(time.Now().Add(30*time.Second)))
	p := &peer{t: w.t, w: w, raw: c, c: c, r: bufio.NewReader(c)}
	p.want(220)
	return p
}

func (w *world) login(user string) *peer {
	w.t.Helper()
	p := w.connect()
	p.cmd(331, "USER "+user)
	p.cmd(230, "PASS secret")
	return p
}

func (p *peer) upgrade() {
	p.t.Helper()
	p.cmd(234, "AUTH TLS")
	p.tls = &tls.Config{RootCAs: p.w.roots, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	t := tls.Client(p.raw, p.tls)
	must(p.t, t.Handshake())
	p.c, p.r = t, bufio.NewReader(t)
	p.cmd(200, "PBSZ 0")
	p.cmd(200, "PROT P")
	p.prot = true
}

// reply reads one reply and answers its code and lines.
func (p *peer) reply() (int, string) {
	p.t.Helper()
	var all strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			return 0, all.String() + err.Error()
		}
		all.WriteString(line)
		if len(line) > 3 && line[3] == ' ' && line[0] >= '1' && line[0] <= '5' {
			var code int
			_, _ = fmt.Sscanf(line, "%d", &code)
			return code, all.String()
		}
	}
}

func (p *peer) want(code int) string {
	p.t.Helper()
	got, text := p.reply()
	if got != code {
		p.t.Fatalf("%d, want %d: %s", got, code, text)
	}
	return text
}

func (p *peer) send(line string) {
	p.t.Helper()
	_, err := io.WriteString(p.c, line+"\r\n")
	must(p.t, err)
}

func (p *peer) cmd(code int, line string) string {
	p.t.Helper()
	p.send(line)
	got, text := p.reply()
	if got != code {
		p.t.Fatalf("%.60s: %d, want %d: %s", line, got, code, text)
	}
	return text
}

// dial makes a data connection by EPSV; its handshake, if any, comes later.
func (p *peer) dial() net.Conn {
	p.t.Helper()
	text := p.cmd(229, "EPSV")
	var port int
	_, err := fmt.Sscanf(text[strings.Index(text, "(|||"):], "(|||%d|)", &port)
	must(p.t, err)
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(p.t, err)
	p.t.Cleanup(func() { _ = c.Close() })
	must(p.t, c.SetDeadline(time.Now().Add(30*time.Second)))
	return c
}

func (p *peer) wrap(c net.Conn) net.Conn {
	p.t.Helper()
	if !p.prot {
		return c
	}
	t := tls.Client(c, p.tls)
	must(p.t, t.Handshake())
	return t
}

func (p *peer) retr(cmd string) string {
	p.t.Helper()
	c := p.dial()
	p.cmd(150, cmd)
	d := p.wrap(c)
	b, err := io.ReadAll(d)
	must(p.t, err)
	_ = d.Close()
	p.want(226)
	return string(b)
}

func (p *peer) stor(cmd, data string) {
	p.t.Helper()
	c := p.dial()
	p.cmd(150, cmd)
	d := p.wrap(c)
	_, err := io.WriteString(d, data)
	must(p.t, err)
	must(p.t, d.Close())
	p.want(226)
}
