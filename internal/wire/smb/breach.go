package smb

import (
	"context"
	"sync/atomic"

	"manifold/internal/fs"
)

var _ fs.Breaker = (*Server)(nil)

// breaches counts what others do to files just now, by a hash of the file, so
// that nothing is granted which they would make false. A counter that two files
// share costs no more than a grant.
type breaches [256]atomic.Int32

func (b *breaches) of(n fs.Node) *atomic.Int32 {
	return &b[uint64(n.ID)*0x9e3779b97f4a7c15>>56]
}

// Caching implements fs.Breaker.
func (s *Server) Caching() bool { return s.caching.Load() > 0 }

// Break implements fs.Breaker. Calls of this protocol have seen to caches
// themselves, in their own order.
func (s *Server) Break(ctx context.Context, c *fs.Caller, n fs.Node, sid fs.StreamID, b fs.Breach, may func() error) (func(), error) {
	if c.Protocol == fs.ProtoSMB {
		return nil, nil
	}
	var end func()
	if b != fs.BreachRead {
		// Counted before it is looked: who opens a file looks here afterwards.
		busy := s.breaches.of(n)
		busy.Add(1)
		end = func() { busy.Add(-1) }
	}
	if s.caching.Load() == 0 {
		return end, nil
	}
	wait, stands := s.breakCaches(fileKey{n, sid}, b, false)
	if stands {
		if err := may(); err != nil {
			if end != nil {
				end()
			}
			return nil, err
		}
		wait, _ = s.breakCaches(fileKey{n, sid}, b, true)
	}
	for _, w := range wait {
		select {
		case <-w:
		case <-ctx.Done():
			if end != nil {
				end()
			}
			return nil, ctx.Err()
		}
	}
	return end, nil
}

// breakCaches tells clients what to give up and answers what to wait for. Unless
// it may, it only answers whether anything stands against the breach.
func (s *Server) breakCaches(k fileKey, b fs.Breach, may bool) (wait []chan struct{}, stands bool) {
	var ns []notice
	s.mu.Lock()
	f := s.files[k]
	if f == nil {
		s.mu.Unlock()
		return nil, false
	}
	seen := map[*cache]bool{}
	for _, o := range f.opens {
		c := o.cache
		if c == nil || seen[c] {
			continue
		}
		seen[c] = true
		to := uint32(0)
		switch b {
		case fs.BreachRead, fs.BreachLock: // who may write may keep its locks to itself
			to = c.state &^ leaseW
		case fs.BreachName:
			to = c.state &^ leaseH
		}
		if c.state&^to == 0 {
			continue
		}
		if !may {
			s.mu.Unlock()
			return nil, true
		}
		if o.sess == nil {
			// Who lost its connection cannot be asked and must not come back to it.
			done := make(chan struct{})
			wait = append(wait, done)
			s.wg.Add(1)
			go func() {
				defer s.wg.Done()
				_ = s.closeOpen(s.ctx, o)
				close(done)
			}()
			continue
		}
		if c.lease == nil {
			to &= leaseR
		}
		if s.breakTo(c, to, &ns) {
			wait = append(wait, c.done)
		}
	}
	s.mu.Unlock()
	sendAll(ns)
	return wait, may
}
