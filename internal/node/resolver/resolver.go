// Package resolver turns names into addresses and back: overrides first, then a
// cache, then the servers in their order.
//
// Invariants: it opens no socket itself; an answer is remembered for as long as
// its zone allows, within bounds, and in a bounded number; what no server could
// answer is remembered only shortly, and does not take the place of an answer
// that was good within the last hour; one question is asked once at a time. The
// package must not know where its settings are kept.
package resolver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
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

// Resolver is safe for concurrent use.
type Resolver struct {
	o       Options
	forward *table[string, netip.Addr]
	reverse *table[netip.Addr, string]
	mu      struct {
		sync.Mutex
		last Config // what the answers come from
	}
}

// New makes a Resolver.
func New(o Options) *Resolver {
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Resolver{o: o, forward: newTable[string, netip.Addr](o.Now), reverse: newTable[netip.Addr, string](o.Now)}
}

// Clear forgets answers.
func (r *Resolver) Clear(forward, reverse bool) {
	if forward {
		r.forward.clear()
	}
	if reverse {
		r.reverse.clear()
	}
}

// config answers the present settings. Answers of other servers, or of other
// search domains, are forgotten.
func (r *Resolver) config() Config {
	c := r.o.Config()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(c.Servers, r.mu.last.Servers) || !slices.Equal(c.Search, r.mu.last.Search) {
		r.Clear(true, true)
		r.mu.last = c
	}
	return c
}

func fold(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// LookupNetIP answers the addresses of a name; network is "ip", "ip4" or "ip6".
func (r *Resolver) LookupNetIP(ctx context.Context, network, name string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{a}, nil
	}
	key := fold(name)
	c := r.config()
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
	found, err := r.forward.get(ctx, key, func(ctx context.Context) ([]netip.Addr, ttl, error) { return r.addresses(ctx, &c, name) })
	if err != nil {
		return nil, err
	}
	return family(found, network)
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

// addresses tries the search domains for a name without a dot, then the name.
func (r *Resolver) addresses(ctx context.Context, c *Config, name string) (found []netip.Addr, life ttl, err error) {
	names := []string{strings.TrimSuffix(name, ".") + "."}
	if !strings.Contains(name, ".") {
		names = names[:0]
		for _, d := range c.Search {
			names = append(names, name+"."+strings.TrimSuffix(d, ".")+".")
		}
		names = append(names, name+".")
	}
	for _, n := range names {
		life, err = r.each(ctx, c, func(ctx context.Context, dns *net.Resolver) (err error) {
			found, err = dns.LookupNetIP(ctx, "ip", n)
			return err
		})
		if err == nil {
			return found, life, nil
		}
	}
	return nil, life, err
}

// LookupAddr answers the names of an address, with a dot at their end as the
// zone has them unless an override gives them.
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	a = a.Unmap().WithZone("")
	c := r.config()
	for _, o := range c.Overrides {
		if o.Address.Unmap() == a {
			return o.Names, nil
		}
	}
	return r.reverse.get(ctx, a, func(ctx context.Context) (names []string, life ttl, err error) {
		life, err = r.each(ctx, &c, func(ctx context.Context, dns *net.Resolver) (err error) {
			names, err = dns.LookupAddr(ctx, a.String())
			return err
		})
		return names, life, err
	})
}

// each asks the servers in order until one answers, be it that there is
// nothing, and says how long that holds.
func (r *Resolver) each(ctx context.Context, c *Config, ask func(context.Context, *net.Resolver) error) (ttl, error) {
	if len(c.Servers) == 0 {
		return r.one(ctx, netip.Addr{}, ask)
	}
	var err error
	for _, s := range c.Servers {
		var life ttl
		if life, err = r.one(ctx, s, ask); err == nil || notFound(err) || ctx.Err() != nil {
			return life, err
		}
	}
	return ttl{}, err
}

// notFound tells an answer that there is nothing from no answer.
func notFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}

// one asks one server, or those of the machine.
func (r *Resolver) one(ctx context.Context, server netip.Addr, ask func(context.Context, *net.Resolver) error) (ttl, error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	var w watch
	err := ask(ctx, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if server.IsValid() {
			address = netip.AddrPortFrom(server, 53).String()
		}
		c, err := r.o.Dial(ctx, strings.TrimRight(network, "46"), address)
		if err != nil {
			return nil, err
		}
		return w.conn(c), nil
	}})
	return w.life(), err
}
