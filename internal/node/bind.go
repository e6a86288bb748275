package node

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"

	"manifold/internal/ports"
)

// served are the ports that a node binds.
var served = []ports.ID{ports.REST, ports.NFS, ports.RPCBind, ports.SSH}

// standard are ports whose standard number a service of this machine may have
// for good reason: its rpcbind, which can tell clients our ports, and its own
// SSH server, by which it is administered.
var standard = map[ports.ID]uint16{ports.RPCBind: 111, ports.SSH: 22}

// bind binds every port that is served, or none. Where a service of the machine
// has the standard number of one of ours we do without: foreign has those. In
// place of our rpcbind that is only good if the other answers probe.
func bind(ctx context.Context, l *ports.Ledger, probe func(context.Context) error) (socks map[ports.ID]*ports.Sockets, foreign map[ports.ID]bool, err error) {
	socks, err = l.Bind(ctx, served...)
	var all *ports.ConflictError
	if !errors.As(err, &all) {
		return socks, nil, err
	}
	rest, foreign := split(all.Conflicts)
	if foreign[ports.RPCBind] && (probe == nil || probe(ctx) != nil) {
		return nil, nil, err
	}
	if len(rest) > 0 {
		return nil, nil, &ports.ConflictError{Conflicts: rest}
	}
	others := slices.DeleteFunc(slices.Clone(served), func(id ports.ID) bool { return foreign[id] })
	if socks, err = l.Bind(ctx, others...); err != nil {
		return nil, nil, err
	}
	return socks, foreign, nil
}

// split takes out the conflicts that mean that a service of the machine has the
// standard number of a port, and answers whose.
func split(all []ports.Conflict) (rest []ports.Conflict, foreign map[ports.ID]bool) {
	foreign = map[ports.ID]bool{}
	for _, c := range all {
		if n := standard[c.ID]; n != 0 && c.Number == n && errors.Is(c.Err, syscall.EADDRINUSE) {
			foreign[c.ID] = true
			continue
		}
		rest = append(rest, c)
	}
	return rest, foreign
}

// closeSockets closes what no server has closed before.
func closeSockets(m map[ports.ID]*ports.Sockets) error {
	var errs []error
	for _, s := range m {
		for _, l := range s.Listeners {
			errs = append(errs, l.Close())
		}
		for _, p := range s.Packets {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil || errors.Is(err, net.ErrClosed) })...)
}
