package smb

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/identity/attempts"
	"manifold/internal/identity/ntlm"
	"manifold/internal/wire/smb/rpc"
)

// Share is what a client connects to.
type Share struct {
	Name        string
	Description string
	// Path of Root, for administrators.
	Path     string
	Root     fs.Node
	ReadOnly bool
	// Encrypt refuses clients that do not encrypt.
	Encrypt bool
	// Hidden keeps it out of listings, as a name that ends in '$' does.
	Hidden bool
	// AccessBasedEnumeration lists only what the caller may read.
	AccessBasedEnumeration bool
	// Guest lets guests and anonymous callers in.
	Guest bool
	// Rights cap what anybody may do through the share; 0 means no cap.
	Rights fs.Rights
	// FileMode and DirMode are given to what is made where nothing is
	// inherited: 0644 and 0755 if zero.
	FileMode, DirMode fs.Mode
	// KeepInheritedFlag keeps the mark of automatic inheritance in security
	// descriptors even if the client does not ask for it.
	KeepInheritedFlag bool
	// HideName, if set, tells which names are shown as hidden.
	HideName func(name string) bool
	// NoStreams and NoChangeNotify switch features off.
	NoStreams, NoChangeNotify bool
	// ACL says who may do what through it, to administrators; nil if unknown.
	ACL *fs.ACL
}

// Shares finds shares; the caller is nil for the listing of a server's names.
type Shares interface {
	// Share answers the share of that name, matched without case, as this
	// caller sees it. fs.NotExist if there is none or the caller must not know,
	// fs.Access if it may not connect.
	Share(ctx context.Context, name string, c *fs.Caller) (*Share, error)
	// List yields what a caller may see.
	List(ctx context.Context, c *fs.Caller, yield func(*Share) bool) error
}

// ShareChange says what of a share is to be different; nil leaves it as it is.
type ShareChange struct {
	Description, Path               *string
	AccessBasedEnumeration, Encrypt *bool
	ACL                             *fs.ACL
}

// Admin is what administrators change over named pipes. Errors are those of
// package rpc where they fit.
type Admin interface {
	// May tells whether a caller may do something that is for administrators.
	May(ctx context.Context, c *fs.Caller, a rpc.Act) bool
	// AddShare makes a share of name, description, path and ACL, which may be nil.
	AddShare(ctx context.Context, c *fs.Caller, s *Share) error
	ChangeShare(ctx context.Context, c *fs.Caller, name string, x ShareChange) error
	DeleteShare(ctx context.Context, c *fs.Caller, name string) error
	// Closed is told of a session or file that a caller has closed for another.
	Closed(ctx context.Context, c *fs.Caller, a rpc.Act, id uint64)
}

// Principals translates between principals and security identifiers, in their
// binary form ([MS-DTYP] 2.4.2.2).
type Principals interface {
	SID(ctx context.Context, a identity.AuthID) []byte
	// AuthID may make a number for a SID that has none, which is kept.
	AuthID(ctx context.Context, sid []byte) (identity.AuthID, error)
	// For are the same for somebody who may not make as many as it likes.
	For(c *identity.Credential) Principals
}

// Encryption says how keen the server is on encryption.
type Encryption uint8

// Encryption modes.
const (
	EncryptOff Encryption = iota // only where the share demands it
	EncryptPreferred
	EncryptRequired
)

// Options configure a Server. FS, Accounts and Shares must be set; the zero
// value of everything else means the default given.
type Options struct {
	FS         fs.FS
	Accounts   ntlm.Authenticator
	Shares     Shares
	Principals Principals // LocalPrincipals of the server's GUID
	// Admin lets administrators change things over named pipes; nil: members of
	// Administrators see everything, and shares are not changed.
	Admin Admin
	// Directory are the local accounts that named pipes show; nil: none.
	Directory rpc.Accounts
	Logger    *slog.Logger
	// Name and Domain are NetBIOS names: MANIFOLD and WORKGROUP.
	Name, Domain string
	GUID         [16]byte // of the server; random
	// Policy in force from the start; see [Server.Apply].
	Policy
	Guest *identity.Credential
	// MaxTransact, MaxRead and MaxWrite bound one request: 8 MiB each.
	MaxTransact, MaxRead, MaxWrite int
	// MaxCredits a connection may hold: 8,192.
	MaxCredits int
	// MaxConns, MaxSessions, MaxOpens of the server: 16,384, 65,536 and 1,048,576.
	MaxConns, MaxSessions, MaxOpens int
	// MaxPerClient bounds the connections of one address: 2,048. MaxLogins bounds
	// those that have no session yet, a quarter of them from one address: 1,024;
	// they have LoginTimeout for it: 60 s.
	MaxPerClient, MaxLogins int
	LoginTimeout            time.Duration
	// HeadStart is how long a request that may depend on the one before waits for
	// it; 0 is 20 ms. What takes longer, takes it beside others.
	HeadStart time.Duration
	// BreakTimeout is how long a client may take to give up an oplock or lease: 35 s.
	BreakTimeout time.Duration
	// DurableTimeout is how long an open of a lost client is kept: 60 s, and at
	// most DurableMax (300 s) where the client says.
	DurableTimeout, DurableMax time.Duration
	// MaxRequestBytes bounds what all requests in flight hold: 256 MiB.
	MaxRequestBytes int64
	// Observer is told of every request when it has been answered; nil for none.
	// It must not block.
	Observer func(Op)
	// Access is told who signs in and what is connected to; nil for none. It
	// must not block.
	Access func(Access)
	// Interfaces lists the server's addresses for multichannel.
	Interfaces func() []Interface
	// ShortNames offers names of the form 8.3 beside longer ones.
	ShortNames bool
	// TestFsctls answers the private controls that Samba's test suite uses.
	TestFsctls bool
	// Attempts counts sign-ins that failed, maybe with those of other
	// protocols; nil makes one.
	Attempts *attempts.Table
	Now      func() time.Time
}

// Op is a request that was answered.
type Op struct {
	// Name as in [MS-SMB2], "CREATE".
	Name string
	// Duration from the time its frame was read, waiting included.
	Duration time.Duration
	// Bytes of request and response.
	Bytes  int
	Failed bool
}

// Interface is one address of the server.
type Interface struct {
	Index    uint32
	Addr     netip.Addr
	LinkRate uint64 // bits per second
	RSS      bool
}

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

func (o *Options) defaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" {
		o.Name = "MANIFOLD"
	}
	if o.Domain == "" {
		o.Domain = "WORKGROUP"
	}
	if o.Principals == nil {
		o.Principals = NewLocalPrincipals(o.GUID)
	}
	o.Policy.defaults()
	if o.Guest == nil {
		o.Guest = identity.New(identity.Guest, identity.Guests, nil, nil)
	}
	orDefault(&o.MaxTransact, 8<<20)
	orDefault(&o.MaxRead, 8<<20)
	orDefault(&o.MaxWrite, 8<<20)
	orDefault(&o.MaxCredits, 8192)
	orDefault(&o.MaxConns, 16384)
	orDefault(&o.MaxPerClient, 2048)
	orDefault(&o.MaxLogins, 1024)
	orDefault(&o.LoginTimeout, 60*time.Second)
	orDefault(&o.MaxSessions, 65536)
	orDefault(&o.MaxOpens, 1<<20)
	orDefault(&o.HeadStart, 20*time.Millisecond)
	orDefault(&o.BreakTimeout, 35*time.Second)
	orDefault(&o.DurableTimeout, 60*time.Second)
	orDefault(&o.DurableMax, 300*time.Second)
	orDefault(&o.MaxRequestBytes, 256<<20)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Attempts == nil {
		o.Attempts = attempts.New(o.Now)
	}
}
