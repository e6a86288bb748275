package smb

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// SessionInfo describes a session to an administrator.
type SessionInfo struct {
	ID             uint64
	Client, Server netip.AddrPort // of its first connection
	User           identity.AuthID
	Opens          int
	Opened, Active time.Time
	Guest          bool
	Encrypted      bool
	Shares         []string
}

// OpenInfo describes an open file to an administrator.
type OpenInfo struct {
	ID     uint64
	Node   fs.Node
	Access uint32 // as it was granted, [MS-SMB2] 2.2.13.1
	Locks  int
	User   identity.AuthID
	Stream fs.StreamID
	Share  fs.Share       // what it lets others do
	Client netip.AddrPort // it was opened from; none while its client is lost
}

// Sessions lists the sessions that are signed in, by id.
func (s *Server) Sessions() []SessionInfo {
	s.mu.Lock()
	all := make([]*session, 0, len(s.sessions))
	for _, x := range s.sessions {
		all = append(all, x)
	}
	s.mu.Unlock()
	out := make([]SessionInfo, 0, len(all))
	for _, x := range all {
		x.mu.Lock()
		if x.state == sessionValid || x.state == sessionExpired {
			i := SessionInfo{
				ID: x.id, User: x.cred.User, Opens: len(x.opens), Opened: x.created, Active: time.Unix(0, x.active.Load()),
				Guest: x.ident.Guest || x.ident.Anonymous, Encrypted: x.encrypt,
			}
			for c := range x.channels {
				if a := c.remote; !i.Client.IsValid() || a.Compare(i.Client) < 0 {
					i.Client, i.Server = a, localAddrOf(c.nc)
				}
			}
			for _, t := range x.trees {
				if t.shared() != nil && !slices.Contains(i.Shares, t.name) {
					i.Shares = append(i.Shares, t.name)
				}
			}
			slices.Sort(i.Shares)
			out = append(out, i)
		}
		x.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b SessionInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Opens lists the open files, by id.
func (s *Server) Opens() []OpenInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]OpenInfo, 0, len(s.opens))
	for _, o := range s.opens {
		if o.handle != nil && !o.closed {
			i := OpenInfo{ID: o.id, Node: o.node, Access: uint32(o.granted), Locks: o.locks, User: o.user, Stream: o.stream, Share: o.share}
			if o.conn != nil {
				i.Client = o.conn.remote
			}
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b OpenInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// CloseSession ends a session with everything that it has open. It answers
// false if there is none of that id.
func (s *Server) CloseSession(id uint64) bool {
	x := s.session(id)
	if x != nil {
		x.end(false)
	}
	return x != nil
}

// CloseOpen closes an open file under its client's hands. It answers false if
// there is none of that id.
func (s *Server) CloseOpen(ctx context.Context, id uint64) bool {
	s.mu.Lock()
	o := s.opens[id]
	s.mu.Unlock()
	if o == nil || o.handle == nil {
		return false
	}
	_ = s.closeOpen(ctx, o) // its client would be told of a failure
	return true
}
