// Package accept runs the accept loops of a server and keeps its connections:
// how many there may be, whose they are, and how they end.
//
// Invariants: every connection has one goroutine, which Close and Shutdown wait
// for; a connection beyond a bound is closed before anything is read from it;
// Shutdown lets what a client is waiting for finish, and nothing begin.
//
// The package must not know any protocol.
package accept

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Options shape a Set.
type Options struct {
	// Name of the protocol, for the log.
	Name string
	Limits
	// Changed, if set, is told the number of connections whenever it changes.
	Changed func(n int)
	Logger  *slog.Logger // discards
}

// A Handler is what is done with connections.
type Handler struct {
	// Serve runs in a goroutine of its own for each connection, with a context
	// that ends when the connection has to. It need not close the connection.
	Serve func(context.Context, *Conn)
	// Refuse, if set, may say something to a connection that is beyond a bound
	// before it is closed. It must not wait long.
	Refuse func(net.Conn)
}

// A Set is the listeners and connections of one server.
type Set struct {
	o      Options
	places *Places
	wg     sync.WaitGroup
	quiet  rate.Sometimes // of messages that peers can cause

	mu struct {
		sync.Mutex
		closed, draining bool
		accepted         uint64
		conns            map[*Conn]struct{}
		listeners        map[net.Listener]struct{}
	}
}

// New makes an empty Set. It owns no goroutine until it serves.
func New(o Options) *Set {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Set{o: o, places: NewPlaces(o.Limits), quiet: rate.Sometimes{First: 20, Interval: time.Second}}
	s.mu.conns = map[*Conn]struct{}{}
	s.mu.listeners = map[net.Listener]struct{}{}
	return s
}

// A Conn is one connection of a Set.
type Conn struct {
	net.Conn
	// From is the client, Local the address that it came to.
	From, Local netip.AddrPort
	Since       time.Time

	s      *Set
	place  *Place
	cancel context.CancelFunc
	// Guarded by s.mu.
	user string // of the account, "" until logged in
	busy int
}

// Client is a connection as administrators see it.
type Client struct {
	Addr netip.AddrPort
	// User is the name of the account, "" until logged in.
	User  string
	Since time.Time
}

// Serve accepts connections until ctx ends, the listener fails or the Set is
// closed. It closes the listener; connections live on until ctx ends, Close or
// Shutdown.
func (s *Set) Serve(ctx context.Context, l net.Listener, h Handler) error {
	s.mu.Lock()
	if s.mu.closed || s.mu.draining {
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
			s.Add(ctx, c, h)
		case errors.Is(err, net.ErrClosed):
			return ctx.Err()
		default: // out of descriptors, or a client that left early
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.o.Logger.WarnContext(ctx, "accept", "protocol", s.o.Name, "error", err)
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

// Add takes one connection as Serve does.
func (s *Set) Add(ctx context.Context, nc net.Conn, h Handler) {
	c := &Conn{Conn: newQuiet(nc), From: AddrPort(nc.RemoteAddr()), Local: AddrPort(nc.LocalAddr()), Since: time.Now(), s: s, place: s.places.Take(AddrPort(nc.RemoteAddr()).Addr())}
	ctx, c.cancel = context.WithCancel(ctx)
	s.mu.Lock()
	if s.mu.closed || s.mu.draining || c.place == nil {
		s.mu.Unlock()
		c.cancel()
		if c.place != nil {
			c.place.Leave()
		}
		if h.Refuse != nil {
			h.Refuse(nc)
		}
		_ = nc.Close()
		s.quiet.Do(func() {
			s.o.Logger.WarnContext(ctx, "connection refused by a limit", "protocol", s.o.Name, "client", c.From)
		})
		return
	}
	s.mu.accepted++
	s.mu.conns[c] = struct{}{}
	n := len(s.mu.conns)
	s.wg.Add(1)
	s.mu.Unlock()
	s.tell(n)
	go func() {
		defer s.wg.Done()
		defer s.left(c)
		h.Serve(ctx, c)
	}()
}

func (s *Set) tell(n int) {
	if s.o.Changed != nil {
		s.o.Changed(n)
	}
}

func (s *Set) left(c *Conn) {
	c.cancel()
	_ = c.Conn.Close()
	c.place.Leave()
	s.mu.Lock()
	delete(s.mu.conns, c)
	n := len(s.mu.conns)
	s.mu.Unlock()
	s.tell(n)
}

// LoggedIn notes whose the connection is.
func (c *Conn) LoggedIn(user string) {
	c.place.LoggedIn()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.user = user
}

// Cancel ends the context of the connection.
func (c *Conn) Cancel() { c.cancel() }

// Begin says that the client waits for something which Shutdown should let
// finish; each Begin has its End.
func (c *Conn) Begin() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.busy++
}

// End says that what was begun has been answered.
func (c *Conn) End() {
	c.s.mu.Lock()
	c.busy--
	over := c.busy == 0 && c.s.mu.draining
	c.s.mu.Unlock()
	if over {
		c.cancel()
	}
}

// Close ends all connections and waits for what they were doing.
func (s *Set) Close() error {
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

// Shutdown takes no more connections, ends those that do nothing, and the
// others when they have done it. When ctx ends, it is Close and answers the
// error of ctx.
func (s *Set) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.mu.draining = true
	for l := range s.mu.listeners {
		_ = l.Close()
	}
	for c := range s.mu.conns {
		if c.busy == 0 {
			c.cancel()
		}
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return s.Close()
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.Close())
	}
}

// Stats are counts since the Set was made.
type Stats struct {
	Accepted uint64
	Open     int
}

// Stats answers them.
func (s *Set) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{s.mu.accepted, len(s.mu.conns)}
}

// Connections counts connections, logged in or not.
func (s *Set) Connections() int { return s.Stats().Open }

// Clients lists the connections.
func (s *Set) Clients() []Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Client, 0, len(s.mu.conns))
	for c := range s.mu.conns {
		out = append(out, Client{c.From, c.user, c.Since})
	}
	return out
}

// Disconnect ends the connections of an account that was taken away or
// changed, and answers how many there were.
func (s *Set) Disconnect(user string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for c := range s.mu.conns {
		if c.user == user && user != "" {
			c.cancel()
			n++
		}
	}
	return n
}

// AddrPort is a TCP address, IPv4 in its short form.
func AddrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}
