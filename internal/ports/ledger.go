package ports

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Options move and disable ports. The zero value binds the table's numbers on
// every address.
type Options struct {
	// Offset is added to the number of every fixed inbound and node port.
	Offset int
	// Move gives ports numbers of their own, which Offset does not touch. 0
	// lets the system choose.
	Move map[ID]uint16
	// Disable lists ports that must not be bound.
	Disable []ID
	// Addresses to listen on; empty means all.
	Addresses []netip.Addr
	// Logger receives a debug line for each port that is bound; nil discards.
	Logger *slog.Logger
}

// ParseMove reads "NAME=N".
func ParseMove(s string) (ID, uint16, error) {
	name, num, ok := strings.Cut(s, "=")
	if !ok {
		return "", 0, fmt.Errorf("port %q: want NAME=NUMBER", s)
	}
	n, err := strconv.ParseUint(num, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q: %q is not a port number", s, num)
	}
	return ID(name), uint16(n), nil
}

// Ledger is the table as configured for one process: what is bound where. Safe
// for concurrent use.
type Ledger struct {
	rows map[ID]Port // numbers as configured
	off  map[ID]bool // disabled
	o    Options

	mu struct {
		sync.Mutex
		bound map[ID]uint16 // what the system gave
	}
}

// New applies o to the table. It fails on unknown names, numbers out of range
// and two inbound ports on one number.
func New(o Options) (*Ledger, error) {
	l := &Ledger{rows: map[ID]Port{}, off: map[ID]bool{}, o: o}
	l.mu.bound = map[ID]uint16{}
	if l.o.Logger == nil {
		l.o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(l.o.Addresses) == 0 {
		l.o.Addresses = []netip.Addr{netip.IPv6Unspecified()}
	}
	for _, p := range Table() {
		if p.inbound() && p.Low == p.High {
			n := int(p.Low) + o.Offset
			if to, ok := o.Move[p.ID]; ok {
				n = int(to)
			} else if n < 1 || n > 65535 {
				return nil, fmt.Errorf("port offset %d moves %s from %d to %d, which is no port number", o.Offset, p.ID, p.Low, n)
			}
			p.Low, p.High = uint16(n), uint16(n)
		}
		l.rows[p.ID] = p
	}
	for id := range o.Move {
		if p, ok := l.rows[id]; !ok || !p.inbound() || p.Low != p.High {
			return nil, fmt.Errorf("unknown port %q; ports that can be moved: %s", id, strings.Join(movable(), ", "))
		}
	}
	for _, id := range o.Disable {
		if p, ok := l.rows[id]; !ok || !p.inbound() {
			return nil, fmt.Errorf("unknown port %q; ports that can be disabled: %s", id, strings.Join(movable(), ", "))
		}
		l.off[id] = true
	}
	return l, l.checkOverlap()
}

func (p *Port) inbound() bool { return p.Direction == In || p.Direction == Node }

func movable() []string {
	var names []string
	for _, p := range Table() {
		if p.inbound() && p.Low == p.High {
			names = append(names, string(p.ID))
		}
	}
	slices.Sort(names)
	return names
}

// checkOverlap finds two fixed inbound ports that are served and share a number and transport.
func (l *Ledger) checkOverlap() error {
	taken := map[string]ID{}
	for _, p := range Table() {
		p = l.rows[p.ID]
		if !p.inbound() || p.Low != p.High || p.Low == 0 || p.State == Planned || l.off[p.ID] {
			continue
		}
		for _, t := range p.Transports {
			key := t + "/" + strconv.Itoa(int(p.Low))
			if other, ok := taken[key]; ok {
				return fmt.Errorf("ports %s and %s are both on %s", other, p.ID, key)
			}
			taken[key] = p.ID
		}
	}
	return nil
}

// Enabled tells whether id is served: built, on and not disabled.
func (l *Ledger) Enabled(id ID) bool {
	p, ok := l.rows[id]
	return ok && p.State != Planned && !l.off[id]
}

// Listening tells whether id is bound.
func (l *Ledger) Listening(id ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.mu.bound[id]
	return ok
}

// Number is where id listens: as bound, else as configured.
func (l *Ledger) Number(id ID) uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, ok := l.mu.bound[id]; ok {
		return n
	}
	return l.rows[id].Low
}

// Addresses are those the ledger binds.
func (l *Ledger) Addresses() []netip.Addr { return slices.Clone(l.o.Addresses) }

// Listing is one row as it is on this node.
type Listing struct {
	Port
	// Disabled by the operator.
	Disabled bool `json:"disabled"`
	// Listening: bound by this process.
	Listening bool `json:"listening"`
}

// Listings answers the whole table with this node's numbers and state.
func (l *Ledger) Listings() []Listing {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Listing
	for _, p := range Table() {
		p = l.rows[p.ID]
		n, bound := l.mu.bound[p.ID]
		if bound {
			p.Low, p.High = n, n
		}
		if l.off[p.ID] && p.State == On {
			p.State = Off
		}
		out = append(out, Listing{Port: p, Disabled: l.off[p.ID], Listening: bound})
	}
	return out
}
