package ssh

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/wire/accept"

	"golang.org/x/crypto/ssh"
)

// Algorithms. The client's order decides, so that none may be here which it had
// better not choose. ChaCha20-Poly1305 is not: clients ask for it first, and
// AES-GCM, which they have as well, is several times faster where the machine
// does it in hardware.
var (
	kexes = []string{
		ssh.KeyExchangeMLKEM768X25519, ssh.KeyExchangeCurve25519,
		ssh.KeyExchangeECDHP256, ssh.KeyExchangeECDHP384, ssh.KeyExchangeECDHP521, ssh.KeyExchangeDH16SHA512,
	}
	ciphers = []string{ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherAES256CTR, ssh.CipherAES192CTR, ssh.CipherAES128CTR}
	macs    = []string{ssh.HMACSHA256ETM, ssh.HMACSHA512ETM}
	userKey = []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
)

// conn is one connection of a client.
type conn struct {
	s    *Server
	nc   *accept.Conn
	from netip.AddrPort
}

type accountKey struct{}

// login is what a callback found out, carried to the connection only with the
// method that was verified.
type login struct {
	account Account
	method  string
	key     string
}

func (c *conn) config(ctx context.Context) *ssh.ServerConfig {
	cfg := &ssh.ServerConfig{
		Config:                  ssh.Config{KeyExchanges: kexes, Ciphers: ciphers, MACs: macs},
		PublicKeyAuthAlgorithms: userKey,
		MaxAuthTries:            c.s.o.MaxTries,
		ServerVersion:           "SSH-2.0-manifold",
	}
	for _, h := range c.s.hosts {
		cfg.AddHostKey(h)
	}
	perms := func(l login) *ssh.Permissions {
		return &ssh.Permissions{ExtraData: map[any]any{accountKey{}: l}}
	}
	cfg.PublicKeyCallback = func(m ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if err := checkKey(k); err != nil {
			return nil, ErrDenied
		}
		pk := PublicKey{Type: k.Type(), Wire: k.Marshal()}
		a, err := c.s.o.Auth.PublicKey(ctx, m.User(), pk, c.from)
		if err != nil {
			return nil, c.refused(ctx, err)
		}
		return perms(login{a, "publickey", ssh.FingerprintSHA256(k)}), nil
	}
	if c.s.o.NoPasswords == nil || !c.s.o.NoPasswords() {
		password := func(user, pass string) (*ssh.Permissions, error) {
			a, err := c.s.o.Auth.Password(ctx, user, pass, c.from)
			if err != nil {
				return nil, c.refused(ctx, err)
			}
			return perms(login{a, "password", ""}), nil
		}
		cfg.PasswordCallback = func(m ssh.ConnMetadata, p []byte) (*ssh.Permissions, error) {
			return password(m.User(), string(p))
		}
		cfg.KeyboardInteractiveCallback = func(m ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			answers, err := ask("", "", []string{"Password: "}, []bool{false})
			if err != nil || len(answers) != 1 {
				return nil, ErrDenied
			}
			return password(m.User(), answers[0])
		}
	}
	if b := c.s.o.Banner; b != nil {
		cfg.BannerCallback = func(ssh.ConnMetadata) string { return b() }
	}
	cfg.AuthLogCallback = func(m ssh.ConnMetadata, method string, err error) {
		var partial *ssh.PartialSuccessError
		if method == "none" || err == nil || errors.As(err, &partial) {
			return // success is told when the handshake is over
		}
		c.login(Login{User: m.User(), Client: c.from, Method: method})
	}
	return cfg
}

func (c *conn) login(l Login) {
	if c.s.o.Observer != nil {
		c.s.o.Observer.Login(l)
	}
}

func (c *conn) refused(ctx context.Context, err error) error {
	if !errors.Is(err, ErrDenied) {
		c.s.o.Logger.ErrorContext(ctx, "ssh: a login could not be checked", "client", c.from, "err", err)
	}
	return ErrDenied
}

func (c *conn) serve(ctx context.Context) {
	defer c.nc.Cancel()
	defer c.recovered(ctx)
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() })
	defer stop()
	defer c.nc.Close()
	t := &timed{Conn: c.nc, write: c.s.o.WriteTimeout}
	deadline := time.Now().Add(c.s.o.LoginTimeout)
	_ = c.nc.SetDeadline(deadline)
	sc, channels, requests, err := c.handshake(ctx, t)
	if err != nil {
		return
	}
	defer sc.Close()
	l, ok := sc.Permissions.ExtraData[accountKey{}].(login)
	if !ok {
		return
	}
	c.nc.LoggedIn(l.account.User)
	c.login(Login{User: sc.User(), Client: c.from, Method: l.method, Key: l.key, OK: true})
	t.idle.Store(int64(c.s.o.IdleTimeout))
	_ = c.nc.SetWriteDeadline(time.Time{})
	_ = c.nc.SetReadDeadline(time.Now().Add(c.s.o.IdleTimeout))
	c.channels(ctx, sc, &l.account, channels, requests)
}

func (c *conn) handshake(ctx context.Context, nc net.Conn) (*ssh.ServerConn, <-chan ssh.NewChannel, <-chan *ssh.Request, error) {
	sc, channels, requests, err := ssh.NewServerConn(nc, c.config(ctx))
	if err != nil {
		c.s.o.Logger.DebugContext(ctx, "ssh: connection ended before login", "client", c.from, "err", err)
	}
	return sc, channels, requests, err
}

func (c *conn) recovered(ctx context.Context) {
	if p := recover(); p != nil {
		c.s.o.Logger.ErrorContext(ctx, "ssh: connection ended by a bug", "client", c.from, "panic", p, "stack", string(debug.Stack()))
	}
}

// channels serves what the client opens until the connection ends.
func (c *conn) channels(ctx context.Context, sc *ssh.ServerConn, a *Account, channels <-chan ssh.NewChannel, requests <-chan *ssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Add(1)
	go func() { // global requests: forwarding is refused, keep-alives get their refusal as an answer
		defer wg.Done()
		ssh.DiscardRequests(requests)
	}()
	slots := make(chan struct{}, c.s.o.MaxChannels)
	for nch := range channels {
		if nch.ChannelType() != "session" {
			_ = nch.Reject(ssh.Prohibited, "forwarding is not allowed")
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = nch.Reject(ssh.ResourceShortage, "too many sessions")
			continue
		}
		ch, reqs, err := nch.Accept()
		if err != nil {
			<-slots
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			defer c.recovered(ctx)
			c.session(ctx, a, ch, reqs)
		}()
	}
}

// timed gives each read and write of a connection its time, or up to an eighth
// less: so deadlines are not set for every packet. What arrives is read in
// pieces of more than a packet's usual size, which what is above does not.
type timed struct {
	net.Conn
	idle  atomic.Int64 // nanoseconds; 0 while logging in, which has a deadline of its own
	write time.Duration

	// Each is of the one who reads and the one who writes.
	in, out deadline
	buf     []byte
	ahead   []byte // of buf: what has been read and not taken
}

// deadline is one that is moved on now and then.
type deadline struct{ set time.Time }

func (d *deadline) move(in time.Duration, set func(time.Time) error) error {
	now := time.Now()
	if now.Sub(d.set) < in/8 {
		return nil
	}
	d.set = now
	return set(now.Add(in))
}

// readAhead is what is read at once.
const readAhead = 8 << 10

func (t *timed) Read(b []byte) (int, error) {
	if len(t.ahead) == 0 {
		if d := t.idle.Load(); d > 0 {
			if err := t.in.move(time.Duration(d), t.Conn.SetReadDeadline); err != nil {
				return 0, err
			}
		}
		if len(b) >= readAhead {
			return t.Conn.Read(b)
		}
		if t.buf == nil {
			t.buf = make([]byte, readAhead)
		}
		n, err := t.Conn.Read(t.buf)
		t.ahead = t.buf[:n]
		if n == 0 {
			return 0, err
		}
	}
	n := copy(b, t.ahead)
	t.ahead = t.ahead[n:]
	return n, nil
}

func (t *timed) Write(b []byte) (int, error) {
	if t.idle.Load() > 0 {
		if err := t.out.move(t.write, t.Conn.SetWriteDeadline); err != nil {
			return 0, err
		}
	}
	return t.Conn.Write(b)
}
