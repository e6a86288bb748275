package smb

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"manifold/internal/fs"
	"manifold/internal/identity/ntlm"
	"manifold/internal/wire/accept"
	"manifold/internal/wire/smb/rpc"
)

// Server answers SMB on the listeners that it is given.
type Server struct {
	o      Options
	ntlm   ntlm.Options
	pool   bufferPool
	memory *semaphore.Weighted
	policy atomic.Pointer[Policy]

	padReads atomic.Bool  // test control: responses to READ have a gap
	caching  atomic.Int64 // open files, which others may have to break
	breaches breaches

	rpc *rpc.Server // of the named pipes

	quiet rate.Sometimes // of messages that peers can cause

	start time.Time
	hint  []byte

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	parked     chan *conn    // whose reading somebody shall take over
	parkClosed chan struct{} // closed when nobody shall wait for one any more
	idle       atomic.Int32  // goroutines that wait

	mu        sync.Mutex
	draining  bool
	accepted  uint64
	places    *accept.Places // has its own lock
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	sessions  map[uint64]*session
	files     map[fileKey]*file // open files by what they are
	opens     map[uint64]*open  // by persistent id
	leases    map[leaseID]*lease
	creating  map[createID]struct{} // durable creates that are not answered yet
	clients   map[[16]byte][]*conn  // live connections by client GUID, in order

	names       nameLocks
	nextID      atomic.Uint64
	nextSession atomic.Uint32
}

// ErrShutdown says that the server takes no more listeners.
var ErrShutdown = errors.New("smb: server is shut down")

// New builds a server; ctx bounds everything it does.
func New(ctx context.Context, o Options) *Server {
	if o.GUID == ([16]byte{}) {
		_, _ = rand.Read(o.GUID[:])
	}
	o.defaults()
	s := &Server{
		o: o, memory: semaphore.NewWeighted(o.MaxRequestBytes), start: o.Now(), hint: ntlm.Hint(),
		ntlm:   ntlm.Options{Computer: o.Name, Domain: o.Domain, Now: o.Now},
		quiet:  rate.Sometimes{First: 20, Interval: time.Second},
		places: accept.NewPlaces(accept.Limits{Conns: o.MaxConns, PerClient: o.MaxPerClient, Logins: o.MaxLogins, LoginsPerClient: (o.MaxLogins + 3) / 4}),
		parked: make(chan *conn), parkClosed: make(chan struct{}),
		conns: map[*conn]struct{}{}, listeners: map[net.Listener]struct{}{}, sessions: map[uint64]*session{},
		files: map[fileKey]*file{}, opens: map[uint64]*open{}, leases: map[leaseID]*lease{}, creating: map[createID]struct{}{}, clients: map[[16]byte][]*conn{},
	}
	s.policy.Store(&o.Policy)
	s.rpc = s.newRPC()
	var seed [8]byte
	_, _ = rand.Read(seed[:])
	s.nextID.Store(uint64(binary.LittleEndian.Uint32(seed[:])) << 8)
	s.nextSession.Store(binary.LittleEndian.Uint32(seed[4:]) >> 1)
	s.ctx, s.cancel = context.WithCancel(ctx)
	return s
}

// Serve accepts connections until the listener is closed.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return ErrShutdown
	}
	s.listeners[l] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		s.wg.Done()
	}()
	for delay := time.Duration(0); ; {
		nc, err := l.Accept()
		if err == nil {
			delay = 0
			s.ServeConn(nc)
			continue
		}
		s.mu.Lock()
		draining := s.draining
		s.mu.Unlock()
		if draining || errors.Is(err, net.ErrClosed) {
			return nil
		}
		// Out of descriptors, or a client that left early: neither ends the others.
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		s.o.Logger.Warn("accepting a connection failed", "protocol", "smb", "error", err, "retry_in", delay)
		t := time.NewTimer(delay)
		select {
		case <-t.C:
		case <-s.ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// ServeConn serves one connection in the background.
func (s *Server) ServeConn(nc net.Conn) {
	place := s.places.Take(addrOf(nc).Addr())
	s.mu.Lock()
	if s.draining || place == nil || len(s.policy.Load().Dialects) == 0 {
		s.mu.Unlock()
		if place != nil {
			place.Leave()
		} else {
			s.quiet.Do(func() {
				s.o.Logger.Warn("connection refused by a limit", "protocol", "smb", "client", addrOf(nc))
			})
		}
		_ = nc.Close()
		return
	}
	c := newConn(s, nc)
	c.place = place
	s.conns[c] = struct{}{}
	c.number = s.accepted
	s.accepted++
	s.wg.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.wg.Done()
		c.serve()
	}()
}

// Shutdown takes no new work, answers what is under way for as long as ctx lets
// it, and closes connections, and every open with them.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if !s.draining {
		close(s.parkClosed)
	}
	s.draining = true
	for l := range s.listeners {
		_ = l.Close()
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.drain()
	}
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
		for _, c := range conns {
			_ = c.nc.Close()
			c.cancel()
		}
		<-done
	}
	for {
		s.mu.Lock()
		var o *open
		for _, o = range s.opens {
			break
		}
		s.mu.Unlock()
		if o == nil {
			break
		}
		s.closeOpen(s.ctx, o)
	}
	s.cancel()
	return err
}

// Stats are figures of the server.
type Stats struct {
	Accepted uint64 // connections so far
	Conns    int    // that are open
	Sessions int
	Opens    int
}

// Stats answers them.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{s.accepted, len(s.conns), len(s.sessions), len(s.opens)}
}

func (s *Server) drop(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	if list := slices.DeleteFunc(s.clients[c.clientGUID], func(x *conn) bool { return x == c }); len(list) > 0 {
		s.clients[c.clientGUID] = list
	} else {
		delete(s.clients, c.clientGUID)
	}
	s.mu.Unlock()
}

// known notes whose connection it is.
func (s *Server) known(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, live := s.conns[c]; live {
		s.clients[c.clientGUID] = append(s.clients[c.clientGUID], c)
	}
}

func addrOf(nc net.Conn) netip.AddrPort {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

func localAddrOf(nc net.Conn) netip.AddrPort {
	if a, ok := nc.LocalAddr().(*net.TCPAddr); ok {
		return a.AddrPort()
	}
	return netip.AddrPort{}
}

// nameLocks serialise opens of one name, so that who checks oplocks and who is
// given one do not pass each other.
type nameLocks struct {
	shards [256]sync.Mutex
}

func (n *nameLocks) of(dir fs.Node, name string) *sync.Mutex {
	h := uint64(dir.ID) * 0x9e3779b97f4a7c15
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' {
			c -= 32
		}
		if c >= 0x80 {
			c = 0 // folding beyond ASCII may change bytes
			continue
		}
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	return &n.shards[h>>56]
}
