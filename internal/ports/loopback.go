package ports

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// Loopback makes a connection of this process to itself for the row id, whose
// peer chooses the port, and answers both ends. Nobody else can have the place:
// a connection that is not ours is closed, and listening ends before it returns.
func (l *Ledger) Loopback(ctx context.Context, id ID) (from, to net.Conn, err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0).String())
	if err != nil {
		return nil, nil, fmt.Errorf("loopback %s: %w", id, err)
	}
	defer func() { err = errors.Join(err, ln.Close()) }()
	if to, err = l.Dial(ctx, id, "tcp", ln.Addr().String(), DialOptions{}); err != nil {
		return nil, nil, err
	}
	// It is in the queue already.
	if err := ln.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, nil, errors.Join(err, to.Close())
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("loopback %s: %w", id, err), to.Close())
		}
		if c.RemoteAddr().String() == to.LocalAddr().String() {
			return c, to, nil
		}
		_ = c.Close()
	}
}
