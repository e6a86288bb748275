package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"manifold/internal/data"
)

// Space implements data.Store.
func (s *Store) Space(context.Context) (data.Space, error) {
	total, free, err := s.disk.Space()
	if err != nil {
		return data.Space{}, fmt.Errorf("segment: space: %w", err)
	}
	s.create.Lock()
	keep := s.o.ReserveBytes
	if s.ballast {
		keep -= s.o.BallastBytes
	}
	s.create.Unlock()
	free -= min(free, uint64(keep))
	s.mu.Lock()
	if sg := s.mu.active[foreground]; sg != nil {
		free += uint64(max(sg.bytes-sg.end, 0))
	}
	free += uint64(s.spareBytes())
	s.mu.Unlock()
	return data.Space{Total: total, Free: free}, nil
}

// Reclaim implements data.Segmented.
func (s *Store) Reclaim(context.Context) error {
	s.calls.RLock()
	defer s.calls.RUnlock()
	s.create.Lock()
	defer s.create.Unlock()
	_, free, err := s.disk.Space()
	if err != nil {
		return fmt.Errorf("segment: space: %w", err)
	}
	reserve := uint64(s.o.ReserveBytes)
	if free < reserve+uint64(s.o.SegmentBytes) {
		dropped, err := s.dropSpares()
		if err != nil {
			return err
		}
		if dropped {
			if _, free, err = s.disk.Space(); err != nil {
				return fmt.Errorf("segment: space: %w", err)
			}
		}
	}
	if s.o.BallastBytes == 0 {
		return nil
	}
	switch {
	case s.ballast && free < reserve/4:
		if err := s.disk.Remove(ballastName); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("segment: give up the ballast: %w", err)
		}
		s.ballast = false
	case !s.ballast && free > reserve+reserve/2:
		f, err := s.disk.Create(ballastName, s.o.BallastBytes)
		if err != nil {
			// It may lie there cut short; the next try must not find it.
			if e := s.disk.Remove(ballastName); e != nil && !errors.Is(e, fs.ErrNotExist) {
				err = errors.Join(err, e)
			}
			return fmt.Errorf("segment: take the ballast: %w", err)
		}
		s.ballast = true
		if err := f.Close(); err != nil {
			return fmt.Errorf("segment: take the ballast: %w", err)
		}
	}
	return nil
}
