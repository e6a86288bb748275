// Package ntpcheck compares this machine's clock with NTP servers.
//
// Invariants: it only looks; steering the clock is the machine's business. One
// query of a server is under way at a time. The package must not know where
// the list of servers is kept, and opens no socket itself.
package ntpcheck

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/beevik/ntp"
)

// Options shape a Monitor. Servers, Changed and Dial are required.
type Options struct {
	// Servers answers the names or addresses to ask.
	Servers func() []string
	// Changed answers a channel that is closed when Servers may answer others.
	Changed func() <-chan struct{}
	// Dial opens a UDP socket to a host and port.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Every is the time between two rounds; 0 is 5 minutes.
	Every time.Duration
	// Timeout of one query; 0 is 5 s.
	Timeout time.Duration
	// Logger; nil discards.
	Logger *slog.Logger
}

// Server is how one server is.
type Server struct {
	Name string
	// Checked is when it was asked last, zero if never.
	Checked time.Time
	// Error says why its last answer does not count, "" if it does.
	Error string
	// Offset is what our clock is behind it.
	Offset, RoundTrip time.Duration
	Stratum           uint8
}

// Healthy tells whether the server's last answer counts.
func (s *Server) Healthy() bool { return !s.Checked.IsZero() && s.Error == "" }

// MaxOffset is how wrong a clock may be that still counts as synchronised.
const MaxOffset = time.Second

// Monitor asks servers. Run it once.
type Monitor struct {
	o  Options
	mu struct {
		sync.Mutex
		servers []Server
		wrong   bool // the clock was off in the last round
	}
}

// New makes a Monitor.
func New(o Options) *Monitor {
	if o.Every == 0 {
		o.Every = 5 * time.Minute
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Monitor{o: o}
}

// Run asks the servers in rounds until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	t := time.NewTimer(m.o.Every)
	defer t.Stop()
	for {
		changed := m.o.Changed()
		m.round(ctx)
		t.Reset(m.o.Every)
		for again := false; !again; {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				again = true
			case <-changed:
				// Other settings change as well.
				changed = m.o.Changed()
				again = !m.current(m.o.Servers())
			}
		}
	}
}

// current tells whether names are the servers that are known.
func (m *Monitor) current(names []string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(names) != len(m.mu.servers) {
		return false
	}
	for i := range names {
		if m.mu.servers[i].Name != names[i] {
			return false
		}
	}
	return true
}

func (m *Monitor) round(ctx context.Context) {
	var servers []Server
	for _, name := range m.o.Servers() {
		if ctx.Err() != nil {
			return
		}
		servers = append(servers, m.ask(ctx, name))
	}
	offset, ok := offset(servers)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.servers = servers
	wrong := ok && offset.Abs() > MaxOffset
	if wrong && !m.mu.wrong {
		m.o.Logger.WarnContext(ctx, "the clock of this machine is wrong", "offset", offset)
	}
	m.mu.wrong = wrong
}

func (m *Monitor) ask(ctx context.Context, name string) Server {
	s := Server{Name: name}
	r, err := ntp.QueryWithOptions(name, ntp.QueryOptions{
		Timeout: m.o.Timeout,
		Dialer: func(_, remote string) (net.Conn, error) {
			return m.o.Dial(ctx, remote)
		},
	})
	if err == nil {
		err = r.Validate()
	}
	s.Checked = time.Now()
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Offset, s.RoundTrip, s.Stratum = r.ClockOffset, r.RTT, r.Stratum
	return s
}

// offset is that of the answer that came quickest, which says most.
func offset(servers []Server) (time.Duration, bool) {
	best := -1
	for i := range servers {
		if servers[i].Healthy() && (best < 0 || servers[i].RoundTrip < servers[best].RoundTrip) {
			best = i
		}
	}
	if best < 0 {
		return 0, false
	}
	return servers[best].Offset, true
}

// Status answers the last round, and whether the clock agrees with the servers.
func (m *Monitor) Status() (servers []Server, synchronised bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	off, ok := offset(m.mu.servers)
	return append(servers, m.mu.servers...), ok && off.Abs() <= MaxOffset
}
