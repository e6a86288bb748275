package node

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// namesTimeout is how long a client waits for its names to be looked up.
const namesTimeout = 5 * time.Second

// lookuper is the part of a resolver that names needs.
type lookuper interface {
	LookupAddr(ctx context.Context, addr string) ([]string, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// names answers the confirmed names of clients for export rules that name
// hosts: those of the reverse zone whose forward lookup leads back. Whoever
// controls a reverse zone can put any name there.
//
// It is asked at every call of such a client: the resolver remembers answers.
type names struct{ dns lookuper }

// of answers the names of a, none if there are none or nobody knows. It may wait.
func (n names) of(ctx context.Context, a netip.Addr) []string {
	a = a.Unmap().WithZone("")
	ctx, cancel := context.WithTimeout(ctx, namesTimeout)
	defer cancel()
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
