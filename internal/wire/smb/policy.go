package smb

import (
	"context"
	"slices"

	"manifold/internal/identity/ntlm"
)

// Policy is what an administrator may change while the server runs.
type Policy struct {
	// Dialects that are served: all if nil, and none of them if empty, which
	// closes the server.
	Dialects []uint16
	// SigningRequired refuses messages without signature, but of guests.
	SigningRequired bool
	Encryption      Encryption
	// Snapshots says how clients see ".snapshot".
	Snapshots SnapshotDirectories
	// BypassTraverse lets everybody pass through directories, whatever they permit.
	BypassTraverse bool
	// GuestAllowed maps users without account to Guest, and lets anonymous in.
	GuestAllowed bool
}

// SnapshotDirectories says how clients see ".snapshot".
type SnapshotDirectories uint8

// Modes of the snapshot directory.
const (
	SnapshotsHidden   SnapshotDirectories = iota // not listed, reachable by name
	SnapshotsVisible                             // and listed in the root of the share
	SnapshotsDisabled                            // only as previous versions
)

func (p *Policy) defaults() {
	if p.Dialects == nil {
		p.Dialects = []uint16{dialect202, dialect210, dialect300, dialect302, dialect311}
	}
}

// Apply puts a policy in force. Clients that have negotiated a dialect which is
// not served any more lose their connections; signing and encryption hold from
// the next session on. Shares are asked for again, so that what was taken from
// a connected client is gone for it, too.
func (s *Server) Apply(ctx context.Context, p Policy) {
	p.defaults()
	p.Dialects = slices.Clone(p.Dialects)
	s.policy.Store(&p)
	s.mu.Lock()
	var conns []*conn
	for c := range s.conns {
		conns = append(conns, c)
	}
	sessions := make([]*session, 0, len(s.sessions))
	for _, x := range s.sessions {
		sessions = append(sessions, x)
	}
	s.mu.Unlock()
	for _, c := range conns {
		if d := c.agreed.Load(); len(p.Dialects) == 0 || d != 0 {
			c.settle(uint16(d))
		}
	}
	for _, x := range sessions {
		x.refresh(ctx)
	}
}

// settle notes the dialect of a connection, which ends if that is not served now.
func (c *conn) settle(dialect uint16) {
	c.agreed.Store(uint32(dialect))
	if !slices.Contains(c.s.policy.Load().Dialects, dialect) {
		_ = c.nc.Close()
	}
}

// refresh asks for the shares of a session again.
func (s *session) refresh(ctx context.Context) {
	s.mu.Lock()
	ident := s.ident
	trees := make([]*tree, 0, len(s.trees))
	for _, t := range s.trees {
		trees = append(trees, t)
	}
	s.mu.Unlock()
	for _, t := range trees {
		old := t.shared()
		if old == nil {
			continue
		}
		t.mu.Lock()
		caller := t.caller
		t.mu.Unlock()
		share, st := s.s.findShare(ctx, t.name, caller, ident)
		if st != stOK || share.Root != old.Root {
			s.disconnect(ctx, t)
			continue
		}
		t.share.Store(share)
		t.mu.Lock()
		c := *t.caller
		c.ReadOnly, c.BypassTraverse = share.ReadOnly, s.s.policy.Load().BypassTraverse
		t.caller = &c
		t.mu.Unlock()
	}
}

// disconnect takes a tree from a session, with its opens.
func (s *session) disconnect(ctx context.Context, t *tree) {
	s.mu.Lock()
	_, there := s.trees[t.id]
	delete(s.trees, t.id)
	var opens []*open
	for o := range s.opens {
		if o.tree == t {
			opens = append(opens, o)
		}
	}
	s.mu.Unlock()
	for _, o := range opens {
		s.s.closeOpen(context.WithoutCancel(ctx), o)
	}
	if there {
		t.tellShare(Disconnect, stOK)
	}
}

// acceptor begins an exchange with a client.
func (s *Server) acceptor(c *conn) (*ntlm.Acceptor, *gate) {
	o, g := s.ntlm, &gate{s: s, client: c.remote.Addr()}
	o.Accounts, o.MapToGuest = g, s.policy.Load().GuestAllowed
	return ntlm.New(&o), g
}
