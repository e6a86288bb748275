// Package nlm is the lock manager of NFSv3: NLM version 4 and the status
// monitor NSM version 1 (X/Open XNFS, chapters 10 and 11), on the file system's
// one table of locks.
//
// Invariants:
//   - A lock is granted only after its host is in the Store, so that a restart
//     finds whom to tell.
//   - After a restart that finds hosts, only reclaims are granted until the grace
//     period is over. Before Start nothing is granted.
//   - A host is its address and the name it gives itself. Its word that it has
//     restarted is believed only from its address, and once for each state number.
//   - A blocked request that is granted belongs to the client when it says so,
//     by answering the callback or by asking again; else it is given back.
//
// Waiting requests, callbacks and notices are bounded and end with Shutdown.
//
// The package must not know file handles' contents, nor how the Store keeps
// hosts. It opens no sockets.
package nlm

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

// RPC program numbers.
const (
	Program        = 100021
	Version        = 4
	MonitorProgram = 100024
	MonitorVersion = 1
)

// Host is a client that holds or held locks.
type Host struct {
	// Name as the client gives it.
	Name string
	Addr netip.Addr
	// Local is the address of ours that it talks to.
	Local netip.Addr
	// State is the number that its last notice of a restart carried, 0 if none.
	State uint32
}

func (h Host) key() hostKey { return hostKey{h.Addr, h.Name} }

// client names the host in the lock table.
func (h Host) client() string { return h.key().client() }

type hostKey struct {
	addr netip.Addr
	name string
}

func (k hostKey) client() string { return "nlm:" + k.addr.String() + "/" + k.name }

// Store keeps hosts and our state number over restarts. What a call reports as
// done is durable.
type Store interface {
	// Load answers the state number of the last run, 0 at first, and the hosts.
	Load(ctx context.Context) (state uint32, hosts []Host, err error)
	SetState(ctx context.Context, state uint32) error
	// Put adds a host, or replaces the one of that name and address.
	Put(ctx context.Context, h Host) error
	Remove(ctx context.Context, h Host) error
}

// Dial connects from one of our addresses to a client, over TCP.
type Dial func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error)

// Resolve answers the object and caller of a file handle in a call; errors are
// of the file system's kinds.
type Resolve func(ctx context.Context, c *sunrpc.Call, fh []byte) (fs.Node, *fs.Caller, error)

// Options configure a Service.
type Options struct {
	FS      fs.FS
	Resolve Resolve
	Store   Store
	Dial    Dial
	// Name of this machine in notices, beside its address.
	Name string
	// Grace is how long only reclaims are granted after a restart: 45 s.
	Grace time.Duration
	// Retry is the pause after a callback or notice that failed: 5 s, doubled up to 1 min.
	Retry time.Duration
	// Patience is how long a callback or notice is tried: 90 s and 15 min.
	CallbackPatience, NoticePatience time.Duration
	// MaxWaiting (16,384) and MaxHosts (65,536) bound memory.
	MaxWaiting, MaxHosts int
	Logger               *slog.Logger // discards
}

// A Service answers NLM and NSM calls.
type Service struct {
	o Options

	ctx    context.Context // ends with Shutdown; callbacks and notices run under it
	cancel context.CancelFunc
	work   sync.WaitGroup
	async  chan struct{} // bounds answers to asynchronous calls

	mu      sync.Mutex
	started bool
	closed  bool
	graceOn bool
	over    chan struct{} // closed when the grace period is over
	state   uint32
	blocked map[string]*blocked
	shares  map[string]*share
	ports   map[portKey]uint16

	smu   sync.Mutex // held over opening and closing shares
	hmu   sync.Mutex // held over calls of the Store
	hosts map[hostKey]*monitored
}

// monitored is a host in the Store.
type monitored struct {
	Host
	// fresh: it took or reclaimed a lock since we started, so it must stay.
	fresh bool
}

// New builds a service. ctx is what callbacks and notices run under, until Shutdown.
func New(ctx context.Context, o Options) (*Service, error) {
	if o.FS == nil || o.Resolve == nil || o.Store == nil || o.Dial == nil {
		return nil, errors.New("nlm: FS, Resolve, Store and Dial are needed")
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&o.Grace, 45 * time.Second}, {&o.Retry, 5 * time.Second}, {&o.CallbackPatience, 90 * time.Second}, {&o.NoticePatience, 15 * time.Minute}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	if o.MaxWaiting <= 0 {
		o.MaxWaiting = 16384
	}
	if o.MaxHosts <= 0 {
		o.MaxHosts = 65536
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{o: o, async: make(chan struct{}, 64), blocked: map[string]*blocked{}, shares: map[string]*share{},
		ports: map[portKey]uint16{}, hosts: map[hostKey]*monitored{}, over: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s, nil
}

// Programs are to be served: locks over TCP, the monitor over UDP too.
func (s *Service) Programs() []*sunrpc.Program {
	return []*sunrpc.Program{
		{Number: Program, Versions: []uint32{Version}, Handle: s.handle, Once: once},
		{Number: MonitorProgram, Versions: []uint32{MonitorVersion}, Packet: true, Handle: s.monitor},
	}
}

// Start begins to grant locks: reclaims first, if clients may have some.
func (s *Service) Start(ctx context.Context) error {
	state, hosts, err := s.o.Store.Load(ctx)
	if err != nil {
		return err
	}
	// Odd numbers mean that we are up.
	state = state + 1 | 1
	if err := s.o.Store.SetState(ctx, state); err != nil {
		return err
	}
	s.hmu.Lock()
	for _, h := range hosts {
		s.hosts[h.key()] = &monitored{Host: h}
	}
	s.hmu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state, s.started = state, true
	if len(hosts) == 0 {
		close(s.over)
		return nil
	}
	s.graceOn = true
	s.o.FS.SetGrace(true)
	s.o.Logger.InfoContext(ctx, "clients may have held locks: only reclaims are granted for now", "clients", len(hosts), "grace", s.o.Grace)
	s.work.Add(1)
	go s.grace()
	s.work.Add(1)
	go s.notifyAll(hosts, state)
	return nil
}

func (s *Service) grace() {
	defer s.work.Done()
	t := time.NewTimer(s.o.Grace)
	defer t.Stop()
	select {
	case <-t.C:
		s.EndGrace()
	case <-s.ctx.Done():
	}
}

// EndGrace ends the grace period before its time.
func (s *Service) EndGrace() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.graceOn {
		return
	}
	s.graceOn = false
	s.o.FS.SetGrace(false)
	close(s.over)
	s.o.Logger.Info("the grace period for locks is over")
}

// Shutdown ends waiting requests, callbacks and notices. Locks stay with the
// file system; call it when no more calls come.
func (s *Service) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	shares := s.shares
	s.shares = map[string]*share{}
	s.mu.Unlock()
	s.cancel()
	for _, x := range shares {
		_ = x.handle.Close(ctx)
	}
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// spawn runs f under the service's context, or answers false after Shutdown.
func (s *Service) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Add(1)
	go func() {
		defer s.work.Done()
		f()
	}()
	return true
}
