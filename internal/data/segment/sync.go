package segment

import (
	"context"
	"fmt"

	"manifold/internal/data"
)

type round struct {
	done chan struct{}
	err  error // set before done is closed
}

// Sync implements data.Store. Waiters that come while a sync runs share the
// next one; the first of them performs it, whatever becomes of its ctx.
func (s *Store) Sync(ctx context.Context) error {
	s.calls.RLock()
	defer s.calls.RUnlock()
	s.mu.Lock()
	if err := s.mu.failed; err != nil || s.mu.closed {
		closed := s.mu.closed
		s.mu.Unlock()
		if closed {
			return data.ErrClosed
		}
		return err
	}
	if r := s.mu.waiting; r != nil {
		s.mu.Unlock()
		select {
		case <-r.done:
			return r.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r, before := &round{done: make(chan struct{})}, s.mu.running
	s.mu.waiting = r
	s.mu.Unlock()
	if before != nil {
		<-before.done
	}
	s.mu.Lock()
	s.mu.waiting, s.mu.running = nil, r
	dirty := s.mu.dirty
	s.mu.dirty = map[*seg]struct{}{}
	err := s.mu.failed
	s.mu.Unlock()
	for sg := range dirty {
		if err != nil {
			break
		}
		s.count.syncs.Add(1)
		if e := sg.file.Sync(); e != nil {
			err = fmt.Errorf("%w: sync of %s: %w", data.ErrFailed, nameOf(sg.num), e)
		}
	}
	s.mu.Lock()
	if err != nil {
		s.mu.failed = err
	}
	for sg := range dirty {
		s.unpin(sg)
	}
	s.mu.Unlock()
	r.err = err
	close(r.done)
	return err
}
