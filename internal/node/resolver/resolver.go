// Package resolver turns names into addresses and back: overrides first, then a
// cache, then the servers in their order.
//
// Invariants: it opens no socket itself; an answer is remembered for a bounded
// time and in a bounded number; what no server could answer is remembered only
// shortly. The package must not know where its settings are kept.
package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Override answers for an address and some names.
type Override struct {
	Address netip.Addr
	Names   []string
}

// Config is what a resolver follows.
type Config struct {
	// Servers are asked in order; none: those of the machine.
	Servers []netip.Addr
	// Search are domains that a name without a dot is tried in.
	Search    []string
	Overrides []Override
}

// Options shape a Resolver. Config and Dial are required.
type Options struct {
	// Config is asked for at every lookup.
	Config func() Config
	// Dial opens a socket to a server.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Timeout of one server; 0 is 3 s.
	Timeout time.Duration
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

const (
	// TTL is how long an answer is remembered; the library below does not tell
	// what the zone allows.
	TTL = time.Minute
	// FailTTL is how long a failure is.
	FailTTL = 5 * time.Second
	maxKept = 4096
)

// Resolver is safe for concurrent use.
type Resolver struct {
	o  Options
	mu struct {
		sync.Mutex
		forward map[string]answer[netip.Addr]
		reverse map[netip.Addr]answer[string]
	}
}

type answer[T any] struct {
	found []T
	err   error
	until time.Time
}

// New makes a Resolver.
func New(o Options) *Resolver {
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Resolver{o: o}
	r.Clear(true, true)
	return r
}

// Clear forgets answers.
func (r *Resolver) Clear(forward, reverse bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if forward {
		r.mu.forward = map[string]answer[netip.Addr]{}
	}
	if reverse {
		r.mu.reverse = map[netip.Addr]answer[string]{}
	}
}

func fold(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// LookupNetIP answers the addresses of a name; network is "ip", "ip4" or "ip6".
func (r *Resolver) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	key := fold(name)
	c := r.o.Config()
	var found []netip.Addr
	for _, o := range c.Overrides {
		for _, n := range o.Names {
			if fold(n) == key {
				found = append(found, o.Address)
			}
		}
	}
	if len(found) > 0 {
		return family(found, network)
	}
	r.mu.Lock()
	kept, ok := r.mu.forward[key]
	r.mu.Unlock()
	if !ok || !r.o.Now().Before(kept.until) {
		kept.found, kept.err = r.forward(ctx, &c, name)
		keep(r, &r.mu.forward, key, &kept)
	}
	if kept.err != nil {
		return nil, kept.err
	}
	return family(kept.found, network)
}

func family(all []netip.Addr, network string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range all {
		a = a.Unmap()
		if network == "ip" || network == "ip4" && a.Is4() || network == "ip6" && a.Is6() {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return nil, &net.DNSError{Err: "no address of that family", IsNotFound: true}
	}
	return out, nil
}

// keep remembers an answer, unless it was cut off by the caller's own patience.
func keep[K comparable, T any](r *Resolver, kept *map[K]answer[T], key K, a *answer[T]) {
	if errors.Is(a.err, context.Canceled) {
		return
	}
	ttl := TTL
	if a.err != nil {
		ttl = FailTTL
	}
	a.until = r.o.Now().Add(ttl)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(*kept) >= maxKept {
		clear(*kept)
	}
	(*kept)[key] = *a
}

// forward tries the search domains for a name without a dot, then the name.
func (r *Resolver) forward(ctx context.Context, c *Config, name string) ([]netip.Addr, error) {
	names := []string{strings.TrimSuffix(name, ".") + "."}
	if !strings.Contains(name, ".") {
		names = names[:0]
		for _, d := range c.Search {
			names = append(names, name+"."+strings.TrimSuffix(d, ".")+".")
		}
		names = append(names, name+".")
	}
	var found []netip.Addr
	var err error
	for _, n := range names {
		err = r.each(ctx, c, func(ctx context.Context, dns *net.Resolver) (err error) {
			found, err = dns.LookupNetIP(ctx, "ip", n)
			return err
		})
		if err == nil {
			return found, nil
		}
	}
	return nil, err
}

// LookupAddr answers the names of an address, with a dot at their end as the
// zone has them unless an override gives them.
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	a = a.Unmap().WithZone("")
	c := r.o.Config()
	for _, o := range c.Overrides {
		if o.Address.Unmap() == a {
			return o.Names, nil
		}
	}
	r.mu.Lock()
	kept, ok := r.mu.reverse[a]
	r.mu.Unlock()
	if !ok || !r.o.Now().Before(kept.until) {
		kept.err = r.each(ctx, &c, func(ctx context.Context, dns *net.Resolver) (err error) {
			kept.found, err = dns.LookupAddr(ctx, a.String())
			return err
		})
		keep(r, &r.mu.reverse, a, &kept)
	}
	return kept.found, kept.err
}

// each asks the servers in order until one answers, be it that there is nothing.
func (r *Resolver) each(ctx context.Context, c *Config, ask func(context.Context, *net.Resolver) error) error {
	if len(c.Servers) == 0 {
		return r.one(ctx, netip.Addr{}, ask)
	}
	var err error
	for _, s := range c.Servers {
		var e *net.DNSError
		if err = r.one(ctx, s, ask); err == nil || errors.As(err, &e) && e.IsNotFound {
			return err
		}
	}
	return err
}

// one asks one server, or those of the machine.
func (r *Resolver) one(ctx context.Context, server netip.Addr, ask func(context.Context, *net.Resolver) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	return ask(ctx, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if server.IsValid() {
			address = netip.AddrPortFrom(server, 53).String()
		}
		return r.o.Dial(ctx, strings.TrimRight(network, "46"), address)
	}})
}
