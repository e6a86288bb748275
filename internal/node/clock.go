package node

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/node/ntpcheck"
	"manifold/internal/node/resolver"
	"manifold/internal/ports"
	"manifold/internal/telemetry"
)

// newResolver makes the resolver that the settings describe.
func newResolver(c *config.Store, l *ports.Ledger) *resolver.Resolver {
	return resolver.New(resolver.Options{
		Config: func() resolver.Config {
			g := c.GeneralInForce()
			out := resolver.Config{Search: g.DNS.Search}
			for _, s := range g.DNS.Servers {
				if a, err := netip.ParseAddr(s); err == nil {
					out.Servers = append(out.Servers, a)
				}
			}
			for _, o := range g.Overrides {
				if a, err := netip.ParseAddr(o.Address); err == nil {
					out.Overrides = append(out.Overrides, resolver.Override{Address: a, Names: o.Names})
				}
			}
			return out
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return l.Dial(ctx, ports.DNSOut, network, address, ports.DialOptions{})
		},
	})
}

// clock is the comparison with time servers as administrators see it.
type clock struct{ *ntpcheck.Monitor }

// describe declares what the metrics say about the clock.
func (c clock) describe(r *telemetry.Registry) {
	r.Gauge("qumulo_time_is_not_synchronizing", "Whether the clock does not agree with a time server, or none is asked.", func() float64 {
		if _, ok := c.Status(); ok {
			return 0
		}
		return 1
	}, "node_id", nodeID)
}

// newClock compares the clock with the servers of the settings, whose names the
// resolver knows.
func newClock(c *config.Store, l *ports.Ledger, r *resolver.Resolver, log *slog.Logger) clock {
	return clock{ntpcheck.New(ntpcheck.Options{
		Servers: func() []string { return c.GeneralInForce().Time.Servers }, Changed: c.Changed, Logger: log,
		Dial: func(ctx context.Context, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			addrs, err := r.LookupNetIP(ctx, "ip", host)
			if err != nil {
				return nil, err
			}
			return l.Dial(ctx, ports.NTPOut, "udp", net.JoinHostPort(addrs[0].String(), port), ports.DialOptions{})
		},
	})}
}

// NTPStatus implements control.Clock.
func (c clock) NTPStatus() (out []control.NTPServer, synchronised bool) {
	servers, ok := c.Status()
	for _, s := range servers {
		out = append(out, control.NTPServer(s))
	}
	return out, ok
}
