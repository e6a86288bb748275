package nfs3

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/identity"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/sunrpc"

	"golang.org/x/time/rate"
)

// Program is the RPC program number of NFS.
const Program = 100003

// Exports are the exports in force. An *export.Export never changes; a change
// makes another one appear under the same id.
type Exports interface {
	ByID(id uint32) (*export.Export, bool)
	// ByPath finds an export by its exact name.
	ByPath(path string) (*export.Export, bool)
	All() []*export.Export
}

// Versioned is implemented by an identity.Resolver whose answers change: the
// number grows when they may have.
type Versioned interface{ Version() uint64 }

// Op describes one answered call to an Observer.
type Op struct {
	// Program is "nfs3" or "mount"; Name the procedure in capitals.
	Program, Name string
	// Proc numbers the procedure.
	Proc   uint32
	Status Status
	// Duration from the arrival of the call until its reply was ready.
	Duration time.Duration
	// In and Out are bytes of file data written and read.
	In, Out int
	// Client is the address of the caller.
	Client netip.Addr
	// Export by the name that a call of MOUNT gives, and who makes that.
	Export string
	User   identity.AuthID
	// Refused: the call did not reach the file system, since a handle leads
	// nowhere or its export does not admit the caller, who is User by the call's
	// own word. File is what the handle is of, 0 if it is no handle.
	Refused bool
	File    fs.FileID
}

// Observer is told of every call. It must be quick.
type Observer interface{ Observe(o Op) }

// Options configure a Server.
type Options struct {
	FS      fs.FS
	Exports Exports
	// Identities expands callers and shows owners; nil is identity.Numeric.
	Identities identity.Resolver
	// IdentityTTL is how long an expanded caller is used again on its
	// connection, unless Identities is Versioned and says it changed: 60 s.
	IdentityTTL time.Duration
	// Names looks up the names of a client for rules that name hosts; nil: none.
	Names func(ctx context.Context, a netip.Addr) []string
	// AuthSys tells whether callers that nobody vouches for (AUTH_SYS and
	// AUTH_NONE) are served at all; nil: they are. It is asked for every call.
	AuthSys func() bool
	// HandleKey makes file handles unforgeable: at least 16 secret bytes, the
	// same after a restart and on every node.
	HandleKey []byte
	// FSID is the UUID of the file system.
	FSID [16]byte
	// Observer may be nil.
	Observer Observer
	Logger   *slog.Logger // discards
	// SlowOp is the duration from which a call is logged: 5 s.
	SlowOp time.Duration
	// RPC bounds connections and memory; its Programs and Logger are set here,
	// Extra is served beside NFS and MOUNT.
	RPC   sunrpc.Options
	Extra []*sunrpc.Program
}

// A Server serves NFS and MOUNT.
type Server struct {
	o       Options
	handles handler
	fsid    uint64
	rpc     *sunrpc.Server
	version func() uint64
	quiet   rate.Sometimes // of messages that clients can cause

	// roots remembers the directory of each export while its path stays as it is.
	roots sync.Map // uint32 -> rootEntry
	ops   [procCount]atomic.Uint64
}

type rootEntry struct {
	path string
	root fs.FileID
}

// New builds a server. It owns no goroutine until it serves.
func New(o Options) (*Server, error) {
	switch {
	case o.FS == nil || o.Exports == nil:
		return nil, errors.New("nfs3: FS and Exports are needed")
	case len(o.HandleKey) < 16:
		return nil, errors.New("nfs3: HandleKey needs at least 16 bytes")
	}
	if o.Identities == nil {
		o.Identities = identity.Numeric{}
	}
	if o.IdentityTTL <= 0 {
		o.IdentityTTL = time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.SlowOp <= 0 {
		o.SlowOp = 5 * time.Second
	}
	s := &Server{
		o: o, handles: newHandler(o.HandleKey, o.FSID),
		fsid:    binary.BigEndian.Uint64(o.FSID[:8]) ^ binary.BigEndian.Uint64(o.FSID[8:]),
		version: func() uint64 { return 0 },
		quiet:   rate.Sometimes{First: 100, Interval: 100 * time.Millisecond},
	}
	if v, ok := o.Identities.(Versioned); ok {
		s.version = v.Version
	}
	rpc := o.RPC
	rpc.Logger = o.Logger
	rpc.Programs = append([]*sunrpc.Program{
		{
			Number: Program, Versions: []uint32{3},
			Handle: s.handle, ReplySize: replySize, Once: once, Quick: quick,
		},
		mount.New(mount.Options{Backend: mountBackend{s}, Observe: s.observeMount}),
	}, o.Extra...)
	s.rpc = sunrpc.New(rpc)
	return s, nil
}

// Serve answers NFS and MOUNT calls on connections from l until ctx ends,
// which cuts them, or Shutdown is called. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error { return s.rpc.Serve(ctx, l) }

// ServePacket answers MOUNT calls in datagrams likewise.
func (s *Server) ServePacket(ctx context.Context, pc net.PacketConn) error {
	return s.rpc.ServePacket(ctx, pc)
}

// Shutdown stops taking calls and returns when those that arrived are answered,
// or cuts them when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error { return s.rpc.Shutdown(ctx) }

// Stats answers the counters of the RPC layer.
func (s *Server) Stats() sunrpc.Stats { return s.rpc.Stats() }

// rootOf answers the directory of an export, resolving its path if that is new
// or fresh is asked for. A directory that is renamed stays the export's until
// the next MOUNT finds another, or the export changes.
func (s *Server) rootOf(ctx context.Context, x *export.Export, fresh bool) (fs.FileID, error) {
	if !fresh {
		if r, ok := s.roots.Load(x.ID); ok && r.(rootEntry).path == x.FSPath {
			return r.(rootEntry).root, nil
		}
	}
	a, err := s.o.FS.Resolve(ctx, fs.SystemCaller(), x.FSPath, fs.AttrType)
	if err != nil {
		return 0, err
	}
	if a.Type != fs.Directory || !a.Node.Live() {
		return 0, fs.E("resolve export", a.Node, "", fs.NotDir, nil)
	}
	s.roots.Store(x.ID, rootEntry{x.FSPath, a.Node.ID})
	return a.Node.ID, nil
}
