package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Sockets are the bound sockets of one port, one per address.
type Sockets struct {
	Listeners []net.Listener
	Packets   []net.PacketConn
}

// Close closes all of them.
func (s *Sockets) Close() error {
	var errs []error
	for _, l := range s.Listeners {
		errs = append(errs, l.Close())
	}
	for _, p := range s.Packets {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// ErrDisabled: the operator started the process without the port.
var ErrDisabled = errors.New("the port is disabled on the command line")

// Conflict is one port that could not be bound.
type Conflict struct {
	ID        ID
	Transport string
	Address   string // as tried, "[::]:2049"
	Number    uint16
	// Owner is who seems to hold it ("rpcbind, pid 612"), "" if unknown.
	Owner string
	Err   error
}

// ConflictError lists every port that could not be bound, at once.
type ConflictError struct{ Conflicts []Conflict }

// Error says for each port what is wrong and what to do about it.
func (e *ConflictError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d port(s) cannot be bound:\n", len(e.Conflicts))
	denied := false
	for _, c := range e.Conflicts {
		fmt.Fprintf(&b, "  %s: %s %s: ", c.ID, c.Transport, c.Address)
		switch {
		case errors.Is(c.Err, syscall.EADDRINUSE):
			b.WriteString("in use")
			if c.Owner != "" {
				b.WriteString(" by " + c.Owner)
			}
		case errors.Is(c.Err, syscall.EACCES), errors.Is(c.Err, syscall.EPERM):
			denied = true
			b.WriteString("not allowed (ports below 1024 need root or CAP_NET_BIND_SERVICE)")
		case errors.Is(c.Err, syscall.EADDRNOTAVAIL):
			b.WriteString("no interface of this machine has the address")
		default:
			b.WriteString(c.Err.Error())
		}
		fmt.Fprintf(&b, "; move it with --port %s=N or do without it with --disable %s\n", c.ID, c.ID)
	}
	b.WriteString("All fixed ports move together with --port-offset N")
	if denied {
		b.WriteString(", for instance --port-offset 10000 without root")
	}
	b.WriteString(".")
	return b.String()
}

// Unwrap returns the causes.
func (e *ConflictError) Unwrap() []error {
	errs := make([]error, len(e.Conflicts))
	for i := range e.Conflicts {
		errs[i] = e.Conflicts[i].Err
	}
	return errs
}

// Bind binds all ports of ids that are enabled, or none: if any fails it
// closes what it bound and returns a *ConflictError that names every failure.
func (l *Ledger) Bind(ctx context.Context, ids ...ID) (map[ID]*Sockets, error) {
	out := map[ID]*Sockets{}
	var all ConflictError
	for _, id := range ids {
		if !l.Enabled(id) {
			continue
		}
		s, conflicts := l.bindOne(ctx, id)
		all.Conflicts = append(all.Conflicts, conflicts...)
		out[id] = s
	}
	if len(all.Conflicts) > 0 {
		for id, s := range out {
			_ = s.Close()
			l.forget(id)
		}
		return nil, &all
	}
	return out, nil
}

// Listen binds one enabled port. Where the port is disabled or not built it
// answers empty Sockets.
func (l *Ledger) Listen(ctx context.Context, id ID) (*Sockets, error) {
	m, err := l.Bind(ctx, id)
	if err != nil {
		return nil, err
	}
	if s := m[id]; s != nil {
		return s, nil
	}
	return &Sockets{}, nil
}

// Release says that the sockets of a port were closed for good.
func (l *Ledger) Release(id ID) { l.forget(id) }

func (l *Ledger) forget(id ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.mu.bound, id)
}

// bindOne binds every transport on every address. With number 0 the first
// socket chooses and the rest follow.
func (l *Ledger) bindOne(ctx context.Context, id ID) (*Sockets, []Conflict) {
	p := l.rows[id]
	s := &Sockets{}
	var conflicts []Conflict
	number := p.Low
	for _, a := range l.o.Addresses {
		for _, t := range p.Transports {
			addr := netip.AddrPortFrom(a, number)
			got, err := s.bind(ctx, t, addr)
			if err != nil {
				conflicts = append(conflicts, Conflict{ID: id, Transport: t, Address: addr.String(), Number: number, Owner: ownerOf(t, number), Err: err})
				continue
			}
			if number == 0 {
				number = got
			}
			l.o.Logger.DebugContext(ctx, "port bound", "port", string(id), "transport", t, "address", addr.String())
		}
	}
	if len(conflicts) == 0 {
		l.mu.Lock()
		l.mu.bound[id] = number
		l.mu.Unlock()
	}
	return s, conflicts
}

// bind opens one socket. The unspecified IPv6 address takes IPv4 too, and
// gives way to IPv4 alone where the system has no IPv6.
func (s *Sockets) bind(ctx context.Context, transport string, a netip.AddrPort) (uint16, error) {
	network := transport
	if a.Addr() != netip.IPv6Unspecified() {
		network += map[bool]string{true: "4", false: "6"}[a.Addr().Is4() || a.Addr().Is4In6()]
	}
	// A wildcard without a host lets the net package open one dual-stack socket.
	target := a.String()
	if a.Addr() == netip.IPv6Unspecified() {
		target = ":" + strconv.Itoa(int(a.Port()))
	}
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 6}}
	if transport == "udp" {
		pc, err := lc.ListenPacket(ctx, network, target)
		if err != nil {
			return 0, err
		}
		s.Packets = append(s.Packets, pc)
		return addrPort(pc.LocalAddr()), nil
	}
	ln, err := lc.Listen(ctx, network, target)
	if err != nil {
		return 0, err
	}
	s.Listeners = append(s.Listeners, ln)
	return addrPort(ln.Addr()), nil
}

func addrPort(a net.Addr) uint16 {
	switch a := a.(type) {
	case *net.TCPAddr:
		return uint16(a.Port)
	case *net.UDPAddr:
		return uint16(a.Port)
	}
	return 0
}

// DialOptions shape an outbound connection.
type DialOptions struct {
	// Timeout of the connection; 0 means 10 s.
	Timeout time.Duration
	// LocalAddr and LocalPort to come from; the zero values are any.
	LocalAddr netip.Addr
	LocalPort uint16
}

// Dial opens an outbound connection for the row id, to address "host:port".
// A fixed row demands its number unless a setting can move it.
func (l *Ledger) Dial(ctx context.Context, id ID, transport, address string, o DialOptions) (net.Conn, error) {
	p, ok := l.rows[id]
	if !ok || p.Direction == In {
		return nil, fmt.Errorf("dial: %q is not an outbound port", id)
	}
	if p.State == Planned {
		return nil, fmt.Errorf("dial: outbound port %q is not built", id)
	}
	if err := checkDial(p, transport, address); err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: o.Timeout}
	if d.Timeout == 0 {
		d.Timeout = 10 * time.Second
	}
	if o.LocalPort != 0 || o.LocalAddr.IsValid() {
		from := net.TCPAddr{IP: net.IP(o.LocalAddr.AsSlice()), Port: int(o.LocalPort), Zone: o.LocalAddr.Zone()}
		if transport == "udp" {
			d.LocalAddr = (*net.UDPAddr)(&from)
		} else {
			d.LocalAddr = &from
		}
	}
	return d.DialContext(ctx, transport, address)
}

// DialUnix connects to a socket in the file system, which is no port and so has
// no row: a service of this machine.
func DialUnix(ctx context.Context, path string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	return d.DialContext(ctx, "unix", path)
}

func checkDial(p Port, transport, address string) error {
	found := false
	for _, t := range p.Transports {
		found = found || t == transport
	}
	if !found {
		return fmt.Errorf("dial: %s does not use %s", p.ID, transport)
	}
	_, num, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: %w", p.ID, err)
	}
	if p.Direction == Out && p.Setting == "" {
		n, err := strconv.ParseUint(num, 10, 16)
		if err != nil || uint16(n) < p.Low || uint16(n) > p.High {
			return fmt.Errorf("dial: %s goes to port %d, not %s", p.ID, p.Low, num)
		}
	}
	return nil
}
