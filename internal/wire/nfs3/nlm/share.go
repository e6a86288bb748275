package nlm

import (
	"context"
	"fmt"

	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

// Share modes and access of DOS clients: bit 0 is reading, bit 1 writing.
const (
	shareRead  = 1
	shareWrite = 2
)

// maxShares bounds opens held for DOS clients, maxHostShares those of one client.
const (
	maxShares     = 16384
	maxHostShares = 1024
)

type shareArgs struct {
	cookie, caller, fh, oh []byte
	deny, access           uint32
}

func (a *shareArgs) decode(d *sunrpc.Decoder) {
	a.cookie, a.caller, a.fh, a.oh = d.Opaque(maxObject), d.Opaque(maxCaller), d.Opaque(maxObject), d.Opaque(maxObject)
	a.deny, a.access = d.U32(), d.U32()
	d.Bool() // a reclaim is an open like any other: grace is about locks
	if a.deny > 3 || a.access > 3 {
		d.Fail()
	}
}

// share is an open that lives from SHARE to UNSHARE.
type share struct {
	client string
	handle fs.Handle
}

// share opens or closes a file with a share mode.
func (s *Service) share(ctx context.Context, c *sunrpc.Call, a *shareArgs, on bool) Status {
	if !s.running() {
		return DeniedGrace
	}
	n, caller, err := s.o.Resolve(ctx, c, a.fh)
	if err != nil {
		return statusOf(err)
	}
	h := Host{Name: string(a.caller), Addr: c.Peer.Addr(), Local: c.Local.Addr()}
	key := fmt.Sprintf("%d.%d.%q.%q", n.ID, n.Snap, h.client(), a.oh)
	s.smu.Lock() // one at a time, or a repeat would leave an open behind
	defer s.smu.Unlock()
	s.mu.Lock()
	old := s.shares[key]
	mine := 0
	for _, x := range s.shares {
		if x.client == h.client() {
			mine++
		}
	}
	full := old == nil && (len(s.shares) >= maxShares || mine >= maxHostShares)
	if !on {
		delete(s.shares, key)
	}
	s.mu.Unlock()
	switch {
	case !on:
		if old != nil {
			if err := old.handle.Close(ctx); err != nil {
				return statusOf(err)
			}
		}
		return Granted
	case full:
		return DeniedNoLocks
	}
	if err := s.remember(ctx, h); err != nil {
		return DeniedNoLocks
	}
	o := &fs.OpenSpec{Dir: n, Disposition: fs.OpenExisting, Share: fs.ShareAll, MustNotBeDir: true,
		Owner: fs.LockOwner{Client: h.client(), Owner: string(a.oh), Addr: h.Addr.String()}}
	if a.access&shareRead != 0 {
		o.Desired |= fs.RightRead
	}
	if a.access&shareWrite != 0 {
		o.Desired |= fs.RightModify | fs.RightExtend
	}
	if a.deny&shareRead != 0 {
		o.Share &^= fs.ShareRead
	}
	if a.deny&shareWrite != 0 {
		o.Share &^= fs.ShareWrite
	}
	if old != nil {
		// The client changes its mind: what it had must not be in its own way.
		if err := old.handle.Close(ctx); err != nil {
			return statusOf(err)
		}
	}
	f, _, err := s.o.FS.Open(ctx, caller, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		delete(s.shares, key)
		return statusOf(err)
	case s.closed:
		_ = f.Close(ctx)
		return DeniedGrace
	}
	s.shares[key] = &share{client: h.client(), handle: f}
	return Granted
}

// closeShares closes all opens of a client.
func (s *Service) closeShares(ctx context.Context, client string) {
	var gone []fs.Handle
	s.mu.Lock()
	for k, x := range s.shares {
		if x.client == client {
			delete(s.shares, k)
			gone = append(gone, x.handle)
		}
	}
	s.mu.Unlock()
	for _, h := range gone {
		if err := h.Close(ctx); err != nil {
			s.o.Logger.WarnContext(ctx, "closing a client's open file", "error", err)
		}
	}
}
