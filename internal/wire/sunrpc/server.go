package sunrpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// A Program answers the calls of one RPC program.
type Program struct {
	Number uint32
	// Versions that are served, ascending.
	Versions []uint32
	// Packet allows the program over datagrams too.
	Packet bool
	// Handle decodes Call.Args, does the work and encodes into Call.Reply.
	// It may wait; many calls of one connection run at once.
	Handle func(ctx context.Context, c *Call) Accept
	// ReplySize, if set, tells from the arguments, without consuming them from
	// Call.Args, how long the reply may get. Long replies count against the
	// server's memory before the call starts.
	ReplySize func(c *Call) int
	// Once, if set, tells which procedures must not run twice for one call.
	Once func(vers, proc uint32) bool
	// Quick, if set, tells which procedures seldom wait for anything. Such a
	// call that comes alone is run by the goroutine that read it; others of the
	// program are if the client has sent its calls one by one for a while.
	Quick func(vers, proc uint32) bool
}

func (p *Program) has(vers uint32) bool { return slices.Contains(p.Versions, vers) }

// Options configure a Server. Zero values mean the defaults given.
type Options struct {
	Programs []*Program
	Logger   *slog.Logger // discards
	// MaxRecord bounds one call: 1 MiB + 64 KiB.
	MaxRecord int
	// MaxConns bounds connections (16,384), MaxConnsPerAddr those of one
	// client address (4,096).
	MaxConns, MaxConnsPerAddr int
	// MaxCallsPerConn (256) and MaxBytesPerConn (64 MiB) bound what one
	// connection has in flight; then it is not read from.
	MaxCallsPerConn int
	MaxBytesPerConn int64
	// MaxRequestBytes and MaxReplyBytes (256 MiB each) bound what all calls in
	// flight hold.
	MaxRequestBytes, MaxReplyBytes int64
	// MaxWorkers bounds calls that run at once: 2,048.
	MaxWorkers int
	// StallTimeout closes a connection that takes longer to complete a record
	// or to take a batch of replies: 60 s.
	StallTimeout time.Duration
	// CacheEntries and CacheBytes bound the cache of answered calls: 16,384
	// and 16 MiB. CachePerAddr bounds what one client address has in it: 2,048.
	CacheEntries, CachePerAddr int
	CacheBytes                 int64
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
	orDefault(&o.MaxRecord, 1<<20+64<<10)
	orDefault(&o.MaxConns, 16384)
	orDefault(&o.MaxConnsPerAddr, 4096)
	orDefault(&o.MaxCallsPerConn, 256)
	orDefault(&o.MaxBytesPerConn, 64<<20)
	orDefault(&o.MaxRequestBytes, 256<<20)
	orDefault(&o.MaxReplyBytes, 256<<20)
	orDefault(&o.MaxWorkers, 2048)
	orDefault(&o.StallTimeout, 60*time.Second)
	orDefault(&o.CacheEntries, 16384)
	orDefault(&o.CachePerAddr, 2048)
	orDefault(&o.CacheBytes, 16<<20)
	o.MaxRequestBytes = max(o.MaxRequestBytes, int64(o.MaxRecord)+smallReply)
}

// smallReply is counted for every call; only longer replies are counted apart.
const smallReply = 2048

// Stats are counters since the start, and gauges where they say so.
type Stats struct {
	Conns        int64 // now open
	Accepted     uint64
	Refused      uint64 // connections over a limit
	Stalled      uint64 // connections closed for standing still
	BadRecords   uint64 // connections closed for records that are too long or no calls
	Calls        uint64
	Denied       uint64 // calls with a wrong RPC version or credential
	Unserved     uint64 // calls to unknown programs, versions or procedures, or with bad arguments
	CacheHits    uint64 // repeated calls answered from the cache
	CacheJoined  uint64 // repeated calls that waited for the first to end
	Waits        uint64 // times a connection was not read from because a limit was reached
	PacketsLost  uint64 // datagrams dropped: bad, or too many at once
	Handed       uint64 // calls of connections that were handed to workers
	TakenOver    uint64 // times the reader of a connection ran a call so long that another went on
	RequestBytes int64  // now held by calls in flight
}

type counters struct {
	conns, requestBytes                                   atomic.Int64
	accepted, refused, stalled, badRecords, calls, denied atomic.Uint64
	unserved, cacheHits, cacheJoined, waits, packetsLost  atomic.Uint64
	handed, takenOver                                     atomic.Uint64
}

// A Server answers calls on the listeners and packet connections it is given.
type Server struct {
	o        Options
	programs map[uint32][]*Program // by number; several share one if their versions differ
	requests *semaphore.Weighted
	replies  *semaphore.Weighted
	cache    *cache
	n        counters

	work    chan *Call
	workers atomic.Int64
	idle    atomic.Int64

	quiet rate.Sometimes // of messages that peers can cause

	patrol patrol

	tick atomic.Int64 // coarse clock of the sweeper; starts at 1

	mu       sync.Mutex
	draining bool
	conns    map[*conn]struct{}
	perAddr  map[netip.Addr]int
	closers  map[int]func() // stop accepting, by listener
	nextID   int
	started  bool
	running  sync.WaitGroup // listeners and connections
	helpers  sync.WaitGroup // workers and sweeper
	stop     chan struct{}  // ends helpers
}

// ErrShutdown says that the server no longer takes listeners.
var ErrShutdown = errors.New("sunrpc: server is shut down")

// New builds a server. It owns no goroutine until Serve or ServePacket.
func New(o Options) *Server {
	o.defaults()
	s := &Server{
		o:        o,
		programs: map[uint32][]*Program{},
		requests: semaphore.NewWeighted(o.MaxRequestBytes),
		replies:  semaphore.NewWeighted(o.MaxReplyBytes),
		cache:    newCache(o.CacheEntries, o.CachePerAddr, o.CacheBytes),
		work:     make(chan *Call),
		conns:    map[*conn]struct{}{},
		perAddr:  map[netip.Addr]int{},
		closers:  map[int]func(){},
		stop:     make(chan struct{}),
		quiet:    rate.Sometimes{First: 20, Interval: time.Second},
	}
	s.patrol.conns, s.patrol.wake = map[*conn]struct{}{}, make(chan struct{}, 1)
	for _, p := range o.Programs {
		s.programs[p.Number] = append(s.programs[p.Number], p)
	}
	s.tick.Store(1)
	return s
}

// Stats answers the counters.
func (s *Server) Stats() Stats {
	n := &s.n
	return Stats{
		Conns: n.conns.Load(), Accepted: n.accepted.Load(), Refused: n.refused.Load(),
		Stalled: n.stalled.Load(), BadRecords: n.badRecords.Load(), Calls: n.calls.Load(),
		Denied: n.denied.Load(), Unserved: n.unserved.Load(), CacheHits: n.cacheHits.Load(),
		CacheJoined: n.cacheJoined.Load(), Waits: n.waits.Load(), PacketsLost: n.packetsLost.Load(),
		Handed: n.handed.Load(), TakenOver: n.takenOver.Load(), RequestBytes: n.requestBytes.Load(),
	}
}

// enter registers a listener; leave must be called when it is done.
func (s *Server) enter(closeIt func()) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return nil, ErrShutdown
	}
	if !s.started {
		s.started = true
		s.helpers.Add(2)
		go s.sweep()
		go s.runPatrol()
	}
	id := s.nextID
	s.nextID++
	s.closers[id] = closeIt
	s.running.Add(1)
	return func() {
		s.mu.Lock()
		delete(s.closers, id)
		s.mu.Unlock()
		s.running.Done()
	}, nil
}

// Serve accepts connections until ctx ends or Shutdown is called, then answers
// nil when all its connections are closed. The end of ctx closes them at once.
// The listener is closed in any case.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	leave, err := s.enter(func() { _ = l.Close() })
	if err != nil {
		_ = l.Close()
		return err
	}
	defer leave()
	var mine sync.WaitGroup
	defer mine.Wait()
	ctx, cancel := context.WithCancel(ctx)
	stopAfter := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stopAfter()
	backoff := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				cancel()
				return nil
			}
			if errors.Is(err, net.ErrClosed) {
				if !s.isDraining() {
					cancel()
					return err
				}
				// The connections drain; their calls keep their context.
				mine.Wait()
				cancel()
				return nil
			}
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.o.Logger.WarnContext(ctx, "accepting a connection failed", "error", err, "retry_in", backoff)
			select {
			case <-time.After(backoff):
			case <-ctx.Done():
			case <-s.stop:
			}
			continue
		}
		backoff = 0
		c := newConn(s, nc)
		if !s.admit(c) {
			_ = nc.Close()
			continue
		}
		mine.Add(1)
		go func() {
			defer mine.Done()
			defer s.dismiss(c)
			c.serve(ctx)
		}()
	}
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || len(s.conns) >= s.o.MaxConns || s.perAddr[c.peer.Addr()] >= s.o.MaxConnsPerAddr {
		s.n.refused.Add(1)
		return false
	}
	s.conns[c] = struct{}{}
	s.perAddr[c.peer.Addr()]++
	s.running.Add(1)
	s.n.conns.Add(1)
	s.n.accepted.Add(1)
	return true
}

func (s *Server) dismiss(c *conn) {
	s.patrol.unlist(c)
	s.mu.Lock()
	delete(s.conns, c)
	if a := c.peer.Addr(); s.perAddr[a] > 1 {
		s.perAddr[a]--
	} else {
		delete(s.perAddr, a)
	}
	s.mu.Unlock()
	s.n.conns.Add(-1)
	s.running.Done()
}

// Shutdown stops accepting and reading, and returns when every call that had
// arrived is answered. When ctx ends first, connections are cut and its error
// is returned; calls that are still running then end by themselves.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.draining
	s.draining = true
	for _, closeIt := range s.closers {
		closeIt()
	}
	for c := range s.conns {
		c.interrupt()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		if first {
			close(s.stop)
		}
		s.helpers.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.nc.Close()
	}
	s.mu.Unlock()
	return ctx.Err()
}

// sweep closes connections that stand still. One goroutine and a coarse clock
// cost less than a timer on every read and write.
func (s *Server) sweep() {
	defer s.helpers.Done()
	const parts = 4
	t := time.NewTicker(max(s.o.StallTimeout/parts, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.stop:
			return
		}
		now := s.tick.Add(1)
		s.mu.Lock()
		for c := range s.conns {
			r, w := c.readingSince.Load(), c.writingSince.Load()
			if r != 0 && now-r > parts || w != 0 && now-w > parts {
				s.n.stalled.Add(1)
				s.quiet.Do(func() {
					s.o.Logger.Warn("connection closed: it stands still", "peer", c.peer, "in_record", r != 0, "in_reply", w != 0)
				})
				_ = c.nc.Close()
			}
		}
		s.mu.Unlock()
	}
}

// dispatch hands a call to a worker. It waits when all are busy.
func (s *Server) dispatch(ctx context.Context, c *Call) {
	select {
	case s.work <- c:
		return
	default:
	}
	if s.workers.Add(1) <= int64(s.o.MaxWorkers) {
		s.helpers.Add(1)
		go s.worker(ctx, c)
		return
	}
	s.workers.Add(-1)
	s.n.waits.Add(1)
	s.work <- c // workers always come back: every call ends
}

// maxIdle workers stay, with their grown stacks, for the next call.
const maxIdle = 64

func (s *Server) worker(_ context.Context, c *Call) {
	defer s.helpers.Done()
	defer s.workers.Add(-1)
	for {
		s.run(c)
		if s.idle.Add(1) > maxIdle {
			s.idle.Add(-1)
			return
		}
		select {
		case c = <-s.work:
			s.idle.Add(-1)
		case <-s.stop:
			s.idle.Add(-1)
			return
		}
	}
}
