package ports

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"
)

// spanTries is how many ports of a range are tried before the rest counts as taken.
const spanTries = 256

// ListenIn binds one free TCP port of the row id, which is a range, on one
// address: for a connection that a client is about to make. low and high narrow
// or move the range; both 0 mean the row's own. The port is chosen at random,
// so that nobody can be waiting at the next one, and another is tried when it
// is taken.
func (l *Ledger) ListenIn(ctx context.Context, id ID, local netip.Addr, low, high uint16) (net.Listener, error) {
	p, ok := l.rows[id]
	if !ok || !p.inbound() || p.Low == p.High {
		return nil, fmt.Errorf("listen: %q is not an inbound range of ports", id)
	}
	if !l.Enabled(id) {
		return nil, fmt.Errorf("listen: port range %q is disabled or not built", id)
	}
	if low == 0 && high == 0 {
		low, high = p.Low, p.High
	}
	if low == 0 || high < low {
		return nil, fmt.Errorf("listen %s: %d-%d is no range", id, low, high)
	}
	n := int(high-low) + 1
	at := rand.IntN(n) //nolint:gosec // a client is checked by its address, not by knowing the port
	// A connection of one transfer: multipath TCP and probes of idle peers would
	// cost each of them some system calls and serve none; the protocols have
	// time limits of their own.
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	var last error
	for range min(n, spanTries) {
		ln, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(local.Unmap(), low+uint16(at)).String())
		if err == nil {
			return ln, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("listen %s: %w", id, err)
		}
		last = err
		if at++; at == n {
			at = 0
		}
	}
	return nil, fmt.Errorf("listen %s: no free port found in %d-%d: %w", id, low, high, last)
}
