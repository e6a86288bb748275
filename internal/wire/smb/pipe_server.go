package smb

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/wire/smb/rpc"
)

// newRPC builds what named pipes work on.
func (s *Server) newRPC() *rpc.Server {
	o := rpc.Options{
		Name: s.o.Name, Domain: s.o.Domain, Comment: "manifold", Shares: pipeShares{s}, Clients: pipeClients{s}, Accounts: s.o.Directory,
		Start: s.start, Now: s.o.Now, Logger: s.o.Logger,
	}
	if a := s.o.Admin; a != nil {
		o.May = func(ctx context.Context, c *rpc.Caller, act rpc.Act) bool { return a.May(ctx, c.Caller, act) }
	}
	return rpc.New(o)
}

// pipeShares are the shares as rpc wants them.
type pipeShares struct{ s *Server }

// Shares implements rpc.Shares.
func (p pipeShares) Shares(ctx context.Context, c *rpc.Caller) ([]rpc.Share, error) {
	uses := map[string]int{}
	for _, x := range p.s.Sessions() {
		for _, name := range x.Shares {
			uses[strings.ToLower(name)]++
		}
	}
	var list []rpc.Share
	err := p.s.o.Shares.List(ctx, c.Caller, func(x *Share) bool {
		r := rpc.Share{
			Name: x.Name, Comment: x.Description, Path: x.Path, Hidden: x.Hidden, AccessBased: x.AccessBasedEnumeration, Encrypt: x.Encrypt,
			Uses: uses[strings.ToLower(x.Name)],
		}
		if x.ACL != nil {
			r.Security = encodeSD(ctx, p.s.o.Principals, x.ACL, secDACL)
		}
		list = append(list, r)
		return true
	})
	return list, err
}

// acl reads a share's descriptor, of which only the list counts.
func (p pipeShares) acl(ctx context.Context, c *rpc.Caller, sd []byte) (*fs.ACL, error) {
	if len(sd) == 0 {
		return nil, nil
	}
	a, has, st := decodeSD(ctx, p.s.o.Principals.For(c.Cred), onlyParts(sd, secDACL), false)
	if st != stOK || has&secDACL == 0 {
		return nil, rpc.ErrInvalid
	}
	return &a, nil
}

// AddShare implements rpc.Shares.
func (p pipeShares) AddShare(ctx context.Context, c *rpc.Caller, x rpc.Share) error {
	if p.s.o.Admin == nil {
		return rpc.ErrAccess
	}
	a, err := p.acl(ctx, c, x.Security)
	if err != nil {
		return err
	}
	return p.s.o.Admin.AddShare(ctx, c.Caller, &Share{Name: x.Name, Description: x.Comment, Path: x.Path, ACL: a})
}

// ChangeShare implements rpc.Shares.
func (p pipeShares) ChangeShare(ctx context.Context, c *rpc.Caller, name string, x rpc.ShareChange) error {
	if p.s.o.Admin == nil {
		return rpc.ErrAccess
	}
	a, err := p.acl(ctx, c, x.Security)
	if err != nil {
		return err
	}
	return p.s.o.Admin.ChangeShare(ctx, c.Caller, name, ShareChange{
		Description: x.Comment, Path: x.Path, AccessBasedEnumeration: x.AccessBased, Encrypt: x.Encrypt, ACL: a,
	})
}

// DeleteShare implements rpc.Shares.
func (p pipeShares) DeleteShare(ctx context.Context, c *rpc.Caller, name string) error {
	if p.s.o.Admin == nil {
		return rpc.ErrAccess
	}
	return p.s.o.Admin.DeleteShare(ctx, c.Caller, name)
}

// pipeClients are the sessions and opens as rpc wants them.
type pipeClients struct{ s *Server }

// Sessions implements rpc.Clients.
func (p pipeClients) Sessions() []rpc.Session {
	all := p.s.Sessions()
	out := make([]rpc.Session, 0, len(all))
	for _, x := range all {
		out = append(out, rpc.Session{
			ID: x.ID, Client: x.Client.Addr(), User: p.s.userOf(x.ID), Opens: x.Opens, Opened: x.Opened, Active: x.Active, Guest: x.Guest, Shares: x.Shares,
		})
	}
	return out
}

// userOf is the name that a session was opened with.
func (s *Server) userOf(id uint64) string {
	x := s.session(id)
	if x == nil {
		return ""
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ident == nil {
		return ""
	}
	return x.ident.User
}

// Opens implements rpc.Clients.
func (p pipeClients) Opens() []rpc.Open {
	s := p.s
	type who struct {
		at   int
		sess *session
	}
	var out []rpc.Open
	var users []who
	s.mu.Lock()
	for _, o := range s.opens {
		if o.handle == nil || o.closed || o.tree == nil {
			continue
		}
		path := "/" + strings.ReplaceAll(o.path, "\\", "/")
		if share := o.tree.shared(); share != nil {
			path = strings.TrimSuffix(share.Path, "/") + path
		}
		if o.sess != nil {
			users = append(users, who{len(out), o.sess})
		}
		out = append(out, rpc.Open{
			ID: o.id, Path: path, Read: o.granted&fs.RightRead != 0, Write: o.granted&fs.RightModify != 0, Create: o.granted&fs.RightExtend != 0, Locks: o.locks,
		})
	}
	s.mu.Unlock()
	for _, w := range users {
		w.sess.mu.Lock()
		if w.sess.ident != nil {
			out[w.at].User = w.sess.ident.User
		}
		w.sess.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b rpc.Open) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// CloseSession implements rpc.Clients.
func (p pipeClients) CloseSession(ctx context.Context, c *rpc.Caller, id uint64) error {
	if !p.s.CloseSession(id) {
		return rpc.ErrNotFound
	}
	if p.s.o.Admin != nil {
		p.s.o.Admin.Closed(ctx, c.Caller, rpc.CloseSessions, id)
	}
	return nil
}

// CloseOpen implements rpc.Clients.
func (p pipeClients) CloseOpen(ctx context.Context, c *rpc.Caller, id uint64) error {
	if !p.s.CloseOpen(ctx, id) {
		return rpc.ErrNotFound
	}
	if p.s.o.Admin != nil {
		p.s.o.Admin.Closed(ctx, c.Caller, rpc.CloseFiles, id)
	}
	return nil
}
