package ssh

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/wire/accept"
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

// A Server serves SSH on the listeners it is given. The Set has its connections.
type Server struct {
	*accept.Set
	o     Options
	hosts []ssh.Signer
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
	s.Set = accept.New(accept.Options{
		Name: "ssh", Logger: o.Logger,
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
// closed. It closes the listener; connections live on.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.Set.Serve(ctx, l, accept.Handler{Serve: func(ctx context.Context, nc *accept.Conn) {
		c := &conn{s: s, nc: nc, from: nc.From}
		c.serve(ctx)
	}})
}
