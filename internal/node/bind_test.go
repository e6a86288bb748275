package node

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"manifold/internal/ports"
)

func loopback(t *testing.T, move map[ports.ID]uint16) *ports.Ledger {
	t.Helper()
	m := map[ports.ID]uint16{ports.REST: 0, ports.NFS: 0, ports.RPCBind: 0, ports.CIFS: 0}
	for id, n := range move {
		m[id] = n
	}
	l, err := ports.New(ports.Options{Move: m, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestBind_allOrNothing(t *testing.T) {
	first := loopback(t, nil)
	socks, foreign, err := bind(t.Context(), first, nil)
	if err != nil || foreign || len(socks) != 4 {
		t.Fatalf("%v %v %v", socks, foreign, err)
	}
	defer func() { _ = closeSockets(socks) }()
	// A second server on the same numbers learns of both conflicts at once,
	// and rpcbind being elsewhere changes nothing.
	second := loopback(t, map[ports.ID]uint16{ports.REST: first.Number(ports.REST), ports.NFS: first.Number(ports.NFS)})
	probed := false
	_, _, err = bind(t.Context(), second, func(context.Context) error { probed = true; return nil })
	var all *ports.ConflictError
	if !errors.As(err, &all) {
		t.Fatalf("%v", err)
	}
	ids := map[ports.ID]bool{}
	for _, c := range all.Conflicts {
		ids[c.ID] = true
	}
	if !ids[ports.REST] || !ids[ports.NFS] || ids[ports.RPCBind] || probed {
		t.Errorf("%v, probed %v", all, probed)
	}
}
