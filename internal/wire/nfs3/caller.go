package nfs3

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/identity"
	"manifold/internal/wire/sunrpc"
)

// maxKnown bounds the callers remembered for one connection; a shared host has
// many users.
const maxKnown = 64

// known is a caller on a connection: who it is under an export's rules. A nil
// caller has no access.
type known struct {
	export   *export.Export
	flavor   sunrpc.Flavor
	uid, gid uint32
	gids     []uint32
	caller   *fs.Caller
	version  uint64
	until    time.Time
}

// callers is what a connection's sunrpc.Session holds; never changed, replaced.
type callers struct{ list []*known }

func (k *known) is(x *export.Export, c *sunrpc.Cred) bool {
	return k.export == x && k.flavor == c.Flavor && k.uid == c.UID && k.gid == c.GID && slices.Equal(k.gids, c.GIDs())
}

// callerOf answers who calls under export x, or nil if that host has no access.
func (s *Server) callerOf(ctx context.Context, c *sunrpc.Call, x *export.Export) (*fs.Caller, error) {
	version := s.version()
	var old *callers
	if c.Session != nil {
		if old, _ = c.Session.Value.Load().(*callers); old != nil {
			for _, k := range old.list {
				if k.is(x, &c.Cred) && k.version == version && c.Start.Before(k.until) {
					return k.caller, nil
				}
			}
		}
	}
	caller, err := s.expand(ctx, c, x)
	if err != nil {
		return nil, err
	}
	if caller == nil {
		s.quiet.Do(func() {
			s.o.Logger.WarnContext(ctx, "client refused by an export's rules", "client", c.Peer, "export", x.ID, "path", x.Path)
		})
	}
	if c.Session != nil {
		k := &known{
			export: x, flavor: c.Cred.Flavor, uid: c.Cred.UID, gid: c.Cred.GID,
			gids: slices.Clone(c.Cred.GIDs()), caller: caller, version: version, until: c.Start.Add(s.o.IdentityTTL),
		}
		next := &callers{list: []*known{k}}
		if old != nil {
			for _, o := range old.list {
				if len(next.list) < maxKnown && !o.is(x, &c.Cred) && c.Start.Before(o.until) {
					next.list = append(next.list, o)
				}
			}
		}
		c.Session.Value.Store(next) // a lost race costs one more expansion
	}
	return caller, nil
}

// expand applies the export's rules and asks for the groups of the caller.
func (s *Server) expand(ctx context.Context, c *sunrpc.Call, x *export.Export) (*fs.Caller, error) {
	rule, ok := s.match(ctx, c.Peer, x)
	if !ok {
		return nil, nil
	}
	var cred *identity.Credential
	if c.Cred.Flavor == sunrpc.FlavorSys {
		var err error
		if cred, err = s.o.Identities.Expand(ctx, c.Cred.UID, c.Cred.GID, c.Cred.GIDs()); err != nil {
			return nil, err
		}
	} else {
		cred = export.Nobody()
	}
	return &fs.Caller{Cred: rule.Squash(cred), Protocol: fs.ProtoNFS3, Client: c.Peer, ReadOnly: rule.ReadOnly}, nil
}

func (s *Server) match(ctx context.Context, peer netip.AddrPort, x *export.Export) (export.Rule, bool) {
	var names func() []string
	if s.o.Names != nil {
		names = func() []string { return s.o.Names(ctx, peer.Addr()) }
	}
	return x.Match(peer.Addr(), peer.Port(), names)
}
