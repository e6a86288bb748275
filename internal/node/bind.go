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
var served = []ports.ID{ports.REST, ports.NFS, ports.RPCBind, ports.CIFS}

// bind binds every port that is served, or none. Where the system's rpcbind has
// the port of ours, and it answers probe, we do without our own and are to
// register with it: foreign is true then.
func bind(ctx context.Context, l *ports.Ledger, probe func(context.Context) error) (socks map[ports.ID]*ports.Sockets, foreign bool, err error) {
	socks, err = l.Bind(ctx, served...)
	var all *ports.ConflictError
	if !errors.As(err, &all) {
		return socks, false, err
	}
	rest, taken := split(all.Conflicts)
	if !taken || probe == nil || probe(ctx) != nil {
		return nil, false, err
	}
	if len(rest) > 0 {
		return nil, false, &ports.ConflictError{Conflicts: rest}
	}
	var others []ports.ID
	for _, id := range served {
		if id != ports.RPCBind {
			others = append(others, id)
		}
	}
	socks, err = l.Bind(ctx, others...)
	return socks, err == nil, err
}

// split takes out the conflicts of rpcbind at its standard number that mean
// that another process has it, and tells whether there are any.
func split(all []ports.Conflict) (rest []ports.Conflict, taken bool) {
	for _, c := range all {
		if c.ID == ports.RPCBind && c.Number == 111 && errors.Is(c.Err, syscall.EADDRINUSE) {
			taken = true
			continue
		}
		rest = append(rest, c)
	}
	return rest, taken
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
