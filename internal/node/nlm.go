package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"syscall"

	"manifold/internal/fs/core"
	"manifold/internal/meta"
	"manifold/internal/ports"
	"manifold/internal/wire/nfs3/nlm"
)

// newNLM builds the lock manager on a file system. resolve answers what a file
// handle of the NFS server stands for.
func newNLM(ctx context.Context, f *core.FS, l *ports.Ledger, name string, resolve nlm.Resolve, log *slog.Logger) (*nlm.Service, error) {
	return nlm.New(ctx, nlm.Options{
		FS: f, Resolve: resolve, Store: hostStore{f.DB()}, Name: name, Logger: log,
		Dial: func(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
			id := ports.NLMOut
			if to.Port() == 111 {
				id = ports.RPCBindOut
			}
			return dialPrivileged(ctx, l, id, to.String(), from)
		},
	})
}

// dialPrivileged connects from a port that only root can have, which peers take
// for more trustworthy, and where that is not to be had from any.
func dialPrivileged(ctx context.Context, l *ports.Ledger, id ports.ID, address string, from netip.Addr) (net.Conn, error) {
	for port := uint16(1023); port > 1023-32; port-- {
		c, err := l.Dial(ctx, id, "tcp", address, ports.DialOptions{LocalAddr: from, LocalPort: port})
		switch {
		case err == nil:
			return c, nil
		case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
			return l.Dial(ctx, id, "tcp", address, ports.DialOptions{LocalAddr: from})
		case !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL):
			return nil, err
		}
	}
	return l.Dial(ctx, id, "tcp", address, ports.DialOptions{LocalAddr: from})
}

// hostStore keeps the clients of the lock manager in the metadata engine's
// records of clients, JSON under "h" and what tells hosts apart. The record "s"
// is our own state number.
type hostStore struct{ db *meta.DB }

var _ nlm.Store = hostStore{}

type stateRecord struct {
	State uint32 `json:"state"`
}

type hostRecord struct {
	Name  string     `json:"name"`
	Addr  netip.Addr `json:"addr"`
	Local netip.Addr `json:"local"`
	State uint32     `json:"state"`
}

const stateName = "s"

func hostName(h nlm.Host) string { return "h" + h.Addr.String() + "/" + h.Name }

// Load implements nlm.Store.
func (s hostStore) Load(ctx context.Context) (state uint32, hosts []nlm.Host, err error) {
	err = s.db.View(ctx, func(r *meta.Reader) error {
		state, hosts = 0, nil
		return r.Clients(ctx, meta.ClientNSM, func(name string, v []byte) error {
			if name == stateName {
				var rec stateRecord
				err := json.Unmarshal(v, &rec)
				state = rec.State
				return err
			}
			var rec hostRecord
			if err := json.Unmarshal(v, &rec); err != nil {
				return err
			}
			hosts = append(hosts, nlm.Host(rec))
			return nil
		})
	})
	if err != nil {
		err = fmt.Errorf("clients of the lock manager: %w", err)
	}
	return state, hosts, err
}

// SetState implements nlm.Store.
func (s hostStore) SetState(ctx context.Context, state uint32) error {
	return s.put(ctx, stateName, stateRecord{state})
}

// Put implements nlm.Store.
func (s hostStore) Put(ctx context.Context, h nlm.Host) error {
	return s.put(ctx, hostName(h), hostRecord(h))
}

// Remove implements nlm.Store.
func (s hostStore) Remove(ctx context.Context, h nlm.Host) error {
	return s.db.Update(ctx, func(tx *meta.Txn) error {
		tx.PutClient(meta.ClientNSM, hostName(h), nil)
		return nil
	})
}

func (s hostStore) put(ctx context.Context, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(tx *meta.Txn) error {
		tx.PutClient(meta.ClientNSM, name, b)
		return nil
	})
}
