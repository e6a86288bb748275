package node

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	namesTTL     = time.Minute
	namesTimeout = 5 * time.Second
	namesMax     = 4096 // addresses remembered
)

// lookuper is the part of a resolver that names needs.
type lookuper interface {
	LookupAddr(ctx context.Context, addr string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// names answers the confirmed names of clients for export rules that name
// hosts: those of the reverse zone whose forward lookup leads back. Whoever
// controls a reverse zone can put any name there.
type names struct {
	dns lookuper
	now func() time.Time

	mu struct {
		sync.Mutex
		known map[netip.Addr]knownNames
	}
}

type knownNames struct {
	names []string
	until time.Time
}

func newNames(dns lookuper) *names {
	n := &names{dns: dns, now: time.Now}
	n.mu.known = map[netip.Addr]knownNames{}
	return n
}

// of answers the names of a, none if there are none or nobody knows. It may wait.
func (n *names) of(ctx context.Context, a netip.Addr) []string {
	a = a.Unmap().WithZone("")
	n.mu.Lock()
	k, ok := n.mu.known[a]
	n.mu.Unlock()
	if ok && n.now().Before(k.until) {
		return k.names
	}
	ctx, cancel := context.WithTimeout(ctx, namesTimeout)
	defer cancel()
	found := n.lookup(ctx, a)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.mu.known) >= namesMax {
		clear(n.mu.known)
	}
	n.mu.known[a] = knownNames{found, n.now().Add(namesTTL)}
	return found
}

func (n *names) lookup(ctx context.Context, a netip.Addr) []string {
	claimed, err := n.dns.LookupAddr(ctx, a.String())
	if err != nil {
		return nil
	}
	var out []string
	for _, name := range claimed[:min(len(claimed), 8)] {
		addrs, err := n.dns.LookupNetIP(ctx, "ip", name)
		if err != nil {
			continue
		}
		if slices.ContainsFunc(addrs, func(b netip.Addr) bool { return b.Unmap().WithZone("") == a }) {
			out = append(out, strings.TrimSuffix(name, "."))
		}
	}
	return out
}
