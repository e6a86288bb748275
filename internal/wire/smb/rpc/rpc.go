// Package rpc serves DCE/RPC over the named pipes of SMB: associations of
// [MS-RPCE], and on them what administrators and the security dialogs of
// clients ask for: srvsvc ([MS-SRVS]), wkssvc ([MS-WKST]), lsarpc ([MS-LSAD],
// [MS-LSAT]) and samr ([MS-SAMR]). NDR and the shapes of calls are those of
// go-msrpc; what they answer is decided here.
//
// Invariants:
//   - A PDU or stub that does not parse is answered with a fault; it never
//     panics and never makes the server allocate more than a small multiple of
//     what was sent.
//   - What changes anything, or shows what others do, asks [Options].May first.
//   - A handle is good on the association that opened it only, and every
//     association holds a bounded number of them.
//   - Answers are bounded; who wants more than one holds gets a resume handle.
//
// The package must not know SMB, nor how shares, accounts or sessions are kept.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/identity/sid"
)

// Errors of what an administrator asks for; test with errors.Is.
var (
	ErrAccess   = errors.New("rpc: access denied")
	ErrNotFound = errors.New("rpc: no such object")
	ErrExists   = errors.New("rpc: exists already")
	// ErrPath: the directory of a share is not there.
	ErrPath = errors.New("rpc: no such directory")
	// ErrInvalid: a name, path or descriptor cannot be used.
	ErrInvalid = errors.New("rpc: invalid parameter")
)

// Caller is who calls.
type Caller struct {
	*fs.Caller
	// User and Domain are those that the caller signed in with; no user is an
	// anonymous caller.
	User, Domain string
	// Session is the number of the caller's own session.
	Session uint64
}

// Act is something that is for administrators.
type Act uint8

// Acts.
const (
	SeeShares Act = iota // paths and permissions; their names are for all
	ChangeShares
	SeeSessions
	CloseSessions
	SeeFiles
	CloseFiles
	SeeAccounts // lists and details; names and SIDs of accounts are for all who have signed in
)

// Share is one of the server's shares.
type Share struct {
	Name, Comment string
	Path          string // of the file system, with slashes
	Pipes         bool   // IPC$
	Hidden        bool   // not listed
	AccessBased   bool   // lists only what the caller may read
	Encrypt       bool   // refuses clients that do not
	Uses          int    // sessions that are connected to it
	// Security is the descriptor of who may do what through it; nil if unknown.
	Security []byte
}

// ShareChange says what is to be different; nil leaves it as it is.
type ShareChange struct {
	Comment, Path        *string
	AccessBased, Encrypt *bool
	Security             []byte
}

// Session is a client that has signed in.
type Session struct {
	ID             uint64
	Client         netip.Addr
	User           string
	Opens          int
	Opened, Active time.Time
	Guest          bool
	Shares         []string
}

// Open is an open file or pipe.
type Open struct {
	ID                  uint64
	Path                string // of the file system, with slashes
	User                string
	Read, Write, Create bool
	Locks               int
}

// Shares lists and changes the shares.
type Shares interface {
	// Shares answers what the caller may see.
	Shares(ctx context.Context, c *Caller) ([]Share, error)
	// AddShare, ChangeShare and DeleteShare answer one of the errors of this
	// package where it fits.
	AddShare(ctx context.Context, c *Caller, s Share) error
	ChangeShare(ctx context.Context, c *Caller, name string, x ShareChange) error
	DeleteShare(ctx context.Context, c *Caller, name string) error
}

// Clients are who is connected.
type Clients interface {
	// Sessions and Opens are in order of their ids.
	Sessions() []Session
	Opens() []Open
	// CloseSession and CloseOpen answer ErrNotFound if there is none of that id.
	CloseSession(ctx context.Context, c *Caller, id uint64) error
	CloseOpen(ctx context.Context, c *Caller, id uint64) error
}

// Account is a local user or group.
type Account struct {
	RID          uint32
	Name         string
	Group        bool
	PrimaryGroup uint32 // of a user
	Home         string
	Disabled     bool
}

// Accounts are the local users and groups.
type Accounts interface {
	// Domain is the SID to which RIDs are appended.
	Domain() sid.SID
	// Accounts lists all, by RID.
	Accounts(ctx context.Context) ([]Account, error)
	// Members lists the RIDs of a group's users.
	Members(ctx context.Context, group uint32) ([]uint32, error)
	// Groups lists the RIDs of a user's groups.
	Groups(ctx context.Context, user uint32) ([]uint32, error)
}

// Options are what the pipes work on. Shares and Clients must be set.
type Options struct {
	// Name and Domain are NetBIOS names of the server and its workgroup.
	Name, Domain string
	Comment      string
	Shares       Shares
	Clients      Clients
	Accounts     Accounts                                         // nil: there are none
	May          func(ctx context.Context, c *Caller, a Act) bool // nil: Administrator
	Start        time.Time
	Now          func() time.Time // nil: the system's clock
	Logger       *slog.Logger     // nil: none
}

// Server is what all associations share.
type Server struct{ o Options }

// New builds a Server.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.May == nil {
		o.May = Administrator
	}
	if o.Accounts == nil {
		o.Accounts = noAccounts{}
	}
	return &Server{o}
}

// noAccounts is a domain without accounts.
type noAccounts struct{}

func (noAccounts) Domain() sid.SID {
	n, _ := sid.ParseText("S-1-5-21-0-0-0")
	return n
}
func (noAccounts) Accounts(context.Context) ([]Account, error)       { return nil, nil }
func (noAccounts) Members(context.Context, uint32) ([]uint32, error) { return nil, ErrNotFound }
func (noAccounts) Groups(context.Context, uint32) ([]uint32, error)  { return nil, ErrNotFound }

// Administrator tells whether a caller is in the local group of that name: who
// may do everything where nothing else says.
func Administrator(_ context.Context, c *Caller, _ Act) bool {
	return c.Cred.Superuser || c.Cred.Privileges.Has(identity.FileFullAccess) || c.Cred.InGroup(identity.Administrators)
}
