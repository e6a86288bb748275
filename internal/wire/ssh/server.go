package ssh

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/wire/ssh/sftp"

	"golang.org/x/crypto/ssh"
)

// ErrDenied is what an Authenticator answers for a wrong password, a key that
// is not the user's and a user who is not there, without telling which.
var ErrDenied = errors.New("ssh: permission denied")

// An Account is a user who has been recognised.
type Account struct {
	// User is the name as the account has it.
	User string
	Cred *identity.Credential
	// Home is the path of the home directory in the file system; "" is "/".
	Home string
	// Chroot makes Home the root of all that SFTP shows.
	Chroot bool
	// ReadOnly refuses changes of files.
	ReadOnly bool
	// NoSFTP and NoShell close one of the two doors.
	NoSFTP, NoShell bool
}

// An Authenticator recognises users. Any error refuses; one that is not
// ErrDenied is logged as a fault.
type Authenticator interface {
	Password(ctx context.Context, user, password string, from netip.AddrPort) (Account, error)
	// PublicKey says whose key this is. It is asked before the client has proved
	// that it holds the key, maybe many times, and must record nothing.
	PublicKey(ctx context.Context, user string, key PublicKey, from netip.AddrPort) (Account, error)
}

// Login is an attempt to log in that has ended.
type Login struct {
	User   string // as the client sent it
	Client netip.AddrPort
	// Method is "password" or "publickey".
	Method string
	// Key is the fingerprint of the key that was used.
	Key string
	OK  bool
}

// An Observer is told what happens. It must be quick.
type Observer interface {
	Login(l Login)
	SFTP(a *Account, op sftp.Op)
	// Connected tells the number of connections whenever it changes.
	Connected(n int)
}

// Options configure a Server.
type Options struct {
	// HostKeys are private keys in PEM form, at least one.
	HostKeys [][]byte
	Auth     Authenticator
	// Shell runs commands and interactive shells; nil: there are none.
	Shell Handler
	// FS is what SFTP serves; nil: there is no SFTP.
	FS fs.FS
	// Identities shows owners of files; nil is identity.Numeric.
	Identities identity.Resolver
	// UserName and GroupName give names to the numbers of owners; may be nil.
	UserName, GroupName func(ctx context.Context, id uint32) string
	// Banner is shown before the login.
	Banner func() string
	// NoPasswords accepts public keys only. It is asked for every connection.
	NoPasswords func() bool

	// LoginTimeout is the time from connecting to being logged in: 60 s.
	LoginTimeout time.Duration
	// IdleTimeout ends connections on which nothing arrives: 1 h. Keep-alive
	// messages of the client count.
	IdleTimeout time.Duration
	// WriteTimeout ends connections whose client takes nothing: 5 min.
	WriteTimeout time.Duration
	// MaxTries are failed attempts on one connection: 6.
	MaxTries int
	// MaxConnections, MaxPerClient (one address) and MaxLogins (not yet logged
	// in) bound connections: 1,000, 100 and 100.
	MaxConnections, MaxPerClient, MaxLogins int
	// MaxChannels bounds the sessions of one connection: 10.
	MaxChannels int

	Observer Observer     // may be nil
	Logger   *slog.Logger // discards
}

func (o *Options) defaults() {
	set := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	wait := func(t *time.Duration, d time.Duration) {
		if *t <= 0 {
			*t = d
		}
	}
	wait(&o.LoginTimeout, time.Minute)
	wait(&o.IdleTimeout, time.Hour)
	wait(&o.WriteTimeout, 5*time.Minute)
	set(&o.MaxTries, 6)
	set(&o.MaxConnections, 1000)
	set(&o.MaxPerClient, 100)
	set(&o.MaxLogins, 100)
	set(&o.MaxChannels, 10)
	if o.Identities == nil {
		o.Identities = identity.Numeric{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// A Server serves SSH on the listeners it is given.
type Server struct {
	o     Options
	hosts []ssh.Signer
	wg    sync.WaitGroup

	mu struct {
		sync.Mutex
		closed    bool
		logins    int
		conns     map[*conn]struct{}
		perClient map[netip.Addr]int
		listeners map[net.Listener]struct{}
	}
}

// New builds a server. It owns no goroutine until it serves.
func New(o Options) (*Server, error) {
	if o.Auth == nil || len(o.HostKeys) == 0 {
		return nil, errors.New("ssh: Auth and HostKeys are needed")
	}
	o.defaults()
	s := &Server{o: o}
	for _, k := range o.HostKeys {
		signer, err := parseHostKey(k)
		if err != nil {
			return nil, err
		}
		s.hosts = append(s.hosts, signer)
	}
	s.mu.conns = map[*conn]struct{}{}
	s.mu.perClient = map[netip.Addr]int{}
	s.mu.listeners = map[net.Listener]struct{}{}
	return s, nil
}

// Serve accepts connections until ctx ends, the listener fails or Close. It
// closes the listener; connections live on until ctx ends or Close.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		_ = l.Close()
		return net.ErrClosed
	}
	s.mu.listeners[l] = struct{}{}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer func() {
		stop()
		_ = l.Close()
		s.mu.Lock()
		delete(s.mu.listeners, l)
		s.mu.Unlock()
	}()
	for delay := time.Duration(0); ; {
		c, err := l.Accept()
		switch {
		case err == nil:
			delay = 0
			s.start(ctx, c)
		case errors.Is(err, net.ErrClosed):
			return ctx.Err()
		default: // out of descriptors, or a client that left early
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.o.Logger.WarnContext(ctx, "ssh: accept", "err", err)
			t := time.NewTimer(delay)
			select {
			case <-t.C:
			case <-ctx.Done():
				t.Stop()
				return ctx.Err()
			}
		}
	}
}

// Close ends all connections and waits for what they were doing.
func (s *Server) Close() error {
	s.mu.Lock()
	s.mu.closed = true
	for l := range s.mu.listeners {
		_ = l.Close()
	}
	for c := range s.mu.conns {
		c.cancel()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// Connections counts connections, logged in or not.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.conns)
}

// A Client is a connection as administrators see it.
type Client struct {
	Addr netip.AddrPort
	// User is the name of the account, "" until logged in.
	User  string
	Since time.Time
}

func (c *conn) client() Client {
	k := Client{Addr: c.from, Since: c.since}
	if n := c.name.Load(); n != nil {
		k.User = *n
	}
	return k
}

// Clients lists the connections.
func (s *Server) Clients() []Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Client, 0, len(s.mu.conns))
	for c := range s.mu.conns {
		out = append(out, c.client())
	}
	return out
}

// Disconnect ends the connections of an account that was taken away or
// changed, and answers how many there were.
func (s *Server) Disconnect(user string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.mu.conns {
		if k := c.client(); k.User == user && user != "" {
			c.cancel()
			n++
		}
	}
	return n
}

func (s *Server) start(ctx context.Context, nc net.Conn) {
	c := &conn{s: s, nc: nc, from: addrPort(nc.RemoteAddr()), since: time.Now()}
	ctx, c.cancel = context.WithCancel(ctx)
	who := c.from.Addr()
	s.mu.Lock()
	full := s.mu.closed || len(s.mu.conns) >= s.o.MaxConnections || s.mu.logins >= s.o.MaxLogins || s.mu.perClient[who] >= s.o.MaxPerClient
	if full {
		s.mu.Unlock()
		c.cancel()
		_ = nc.Close()
		s.o.Logger.WarnContext(ctx, "ssh: connection refused by a limit", "client", c.from)
		return
	}
	s.mu.conns[c] = struct{}{}
	s.mu.perClient[who]++
	s.mu.logins++
	n := len(s.mu.conns)
	s.wg.Add(1)
	s.mu.Unlock()
	if s.o.Observer != nil {
		s.o.Observer.Connected(n)
	}
	go func() {
		defer s.wg.Done()
		defer s.left(c, who)
		c.serve(ctx)
	}()
}

// loggedIn gives the place among those that log in free.
func (s *Server) loggedIn() {
	s.mu.Lock()
	s.mu.logins--
	s.mu.Unlock()
}

func (s *Server) left(c *conn, who netip.Addr) {
	s.mu.Lock()
	delete(s.mu.conns, c)
	if s.mu.perClient[who]--; s.mu.perClient[who] <= 0 {
		delete(s.mu.perClient, who)
	}
	n := len(s.mu.conns)
	s.mu.Unlock()
	if s.o.Observer != nil {
		s.o.Observer.Connected(n)
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
