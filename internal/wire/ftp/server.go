package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/wire/accept"
)

// ErrDenied is what an Authenticator answers for a wrong password and for a
// user who is not there, without telling which.
var ErrDenied = errors.New("ftp: login denied")

// An Account is a user who has been recognised.
type Account struct {
	// User is the name as the account has it.
	User string
	Cred *identity.Credential
	// Home is the path of the home directory; "" is "/".
	Home string
	// ReadOnly refuses changes of files.
	ReadOnly bool
}

// An Authenticator recognises users. Any error refuses; one that is not
// ErrDenied is logged as a fault.
type Authenticator interface {
	Password(ctx context.Context, user, password string, from netip.AddrPort) (Account, error)
	// Anonymous answers the account that anonymous logins are mapped to,
	// ErrDenied if there is none.
	Anonymous(ctx context.Context, from netip.AddrPort) (Account, error)
}

// Ports opens data connections.
type Ports interface {
	// ListenData binds a free port of the passive range on one address of this
	// machine, for one transfer.
	ListenData(ctx context.Context, local netip.Addr) (net.Listener, error)
	// DialData connects to the port that a client has named, from the address
	// of the control connection.
	DialData(ctx context.Context, local netip.Addr, to netip.AddrPort) (net.Conn, error)
}

// Settings may change at any time; a connection keeps those of its start.
type Settings struct {
	// AllowUnencrypted lets users log in and transfer without TLS.
	AllowUnencrypted bool
	// ChrootUsers makes the home directory the root of all that a user sees.
	ChrootUsers bool
	// AnyRemoteHost lets data connections go to and come from other hosts than
	// the client's (FXP).
	AnyRemoteHost bool
	// ExpandWildcards takes patterns in the last component of LIST and NLST.
	ExpandWildcards bool
	// RequireSessionReuse refuses encrypted data connections that do not resume
	// the TLS session of their control connection.
	RequireSessionReuse bool
	// AllowUncleanEnd takes the end of an encrypted upload from clients that
	// close the connection without closing the TLS session: anybody on the way
	// can then cut a file short.
	AllowUncleanEnd bool
	// LogOperations logs every command that reads or changes files.
	LogOperations bool
	// Greeting is the text of the 220 reply.
	Greeting string
	// PassiveAddress is told to clients by PASV in place of the address they
	// came to: that of a translating router.
	PassiveAddress netip.Addr
}

// Login is an attempt to log in.
type Login struct {
	User   string // as the client sent it
	Client netip.AddrPort
	TLS    bool
	OK     bool
}

// Op is a command that was answered.
type Op struct {
	User    string
	Client  netip.AddrPort
	Command string
	// Code of the reply.
	Code     int
	Duration time.Duration
	// In and Out are bytes of file data written and read.
	In, Out uint64
	// Resumed says that an encrypted transfer resumed the session of its
	// control connection.
	Resumed bool
}

// An Observer is told what happens. It must be quick.
type Observer interface {
	Login(l Login)
	Observe(o Op)
	// Connected tells the number of connections whenever it changes.
	Connected(n int)
}

// Options configure a Server. FS, Auth and Ports are needed.
type Options struct {
	FS    fs.FS
	Auth  Authenticator
	Ports Ports
	// Settings are asked for every connection; nil: the zero value.
	Settings func() Settings
	// TLS is asked for every connection, so that certificates can change; the
	// configuration is copied, with ticket keys and protocols of its own. nil:
	// there is no TLS.
	TLS func() *tls.Config
	// Identities shows owners; nil is identity.Numeric.
	Identities identity.Resolver
	// Umask is taken off 0666 and 0777 for what is created: 022.
	Umask *fs.Mode

	// LoginTimeout is the time from connecting to being logged in: 60 s.
	LoginTimeout time.Duration
	// IdleTimeout ends sessions without commands and transfers: 5 min.
	IdleTimeout time.Duration
	// DataTimeout is the time for a data connection to come about, 30 s, and
	// StallTimeout the time in which it must move something: 5 min.
	DataTimeout, StallTimeout time.Duration
	// FailDelay is waited after a failed login: 1 s; negative: none.
	FailDelay time.Duration
	// MaxTries are failed logins of one connection: 3.
	MaxTries int
	// MaxConnections and MaxPerClient (one address) bound connections: 1,000 and
	// 100. MaxLogins bounds those that are not logged in yet, a quarter of them from
	// one address: 200.
	MaxConnections, MaxPerClient, MaxLogins int

	Observer Observer     // may be nil
	Logger   *slog.Logger // discards
}

// A Server serves FTP on the listeners it is given. The Set has its connections.
type Server struct {
	*accept.Set
	o     Options
	umask fs.Mode
}

// New builds a server. It owns no goroutine until it serves.
func New(o Options) (*Server, error) {
	if o.FS == nil || o.Auth == nil || o.Ports == nil {
		return nil, errors.New("ftp: FS, Auth and Ports are needed")
	}
	wait := func(t *time.Duration, d time.Duration) {
		if *t == 0 {
			*t = d
		}
	}
	wait(&o.LoginTimeout, time.Minute)
	wait(&o.IdleTimeout, 5*time.Minute)
	wait(&o.DataTimeout, 30*time.Second)
	wait(&o.StallTimeout, 5*time.Minute)
	wait(&o.FailDelay, time.Second)
	count := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	count(&o.MaxTries, 3)
	count(&o.MaxConnections, 1000)
	count(&o.MaxLogins, 200)
	count(&o.MaxPerClient, 100)
	if o.Settings == nil {
		o.Settings = func() Settings { return Settings{} }
	}
	if o.Identities == nil {
		o.Identities = identity.Numeric{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, umask: 0o022}
	if o.Umask != nil {
		s.umask = *o.Umask
	}
	s.Set = accept.New(accept.Options{
		Name: "ftp", Logger: o.Logger,
		Limits: accept.Limits{Conns: o.MaxConnections, PerClient: o.MaxPerClient, Logins: o.MaxLogins, LoginsPerClient: (o.MaxLogins + 3) / 4},
		Changed: func(n int) {
			if o.Observer != nil {
				o.Observer.Connected(n)
			}
		},
	})
	return s, nil
}

// Serve accepts connections until ctx ends, the listener fails or the server is
// closed. It closes the listener; connections live on. With implicit, TLS
// starts with the connection (port 990).
func (s *Server) Serve(ctx context.Context, l net.Listener, implicit bool) error {
	return s.Set.Serve(ctx, l, s.handler(implicit))
}

func (s *Server) handler(implicit bool) accept.Handler {
	h := accept.Handler{Serve: func(ctx context.Context, c *accept.Conn) { newConn(s, c, implicit).serve(ctx) }}
	if !implicit {
		h.Refuse = func(nc net.Conn) {
			_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = nc.Write([]byte("421 Too many connections, try again later.\r\n"))
		}
	}
	return h
}

// pause waits, or answers false when ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
