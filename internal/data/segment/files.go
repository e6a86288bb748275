package segment

import (
	"errors"
	"fmt"
	"io/fs"

	"manifold/internal/data"
)

// acquire returns the segment with its file open; release it.
func (s *Store) acquire(num uint64) (*seg, error) {
	s.mu.Lock()
	sg, err := s.pinOpen(num)
	s.mu.Unlock()
	if sg != nil || err != nil {
		return sg, err
	}
	f, err := s.disk.Open(nameOf(num))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s: %w", data.ErrMoved, nameOf(num), err)
	}
	if err != nil {
		return nil, fmt.Errorf("segment: open %s: %w", nameOf(num), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sg, err = s.pinOpen(num)
	if sg != nil || err != nil { // opened or removed by another meanwhile
		return sg, errors.Join(err, f.Close())
	}
	sg = s.mu.segs[num]
	sg.file = f
	s.pin(sg)
	return sg, nil
}

// pinOpen pins the segment if it is open; neither segment nor error if it must
// be opened first. Needs mu.
func (s *Store) pinOpen(num uint64) (*seg, error) {
	if s.mu.closed {
		return nil, data.ErrClosed
	}
	sg := s.mu.segs[num]
	if sg == nil {
		return nil, fmt.Errorf("%w: there is no %s", data.ErrMoved, nameOf(num))
	}
	if sg.file == nil {
		return nil, nil
	}
	s.pin(sg)
	return sg, nil
}

func (s *Store) release(sg *seg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unpin(sg)
}

// pin keeps an open file open. Needs mu.
func (s *Store) pin(sg *seg) {
	sg.refs++
	if sg.idle != nil {
		s.mu.idle.Remove(sg.idle)
		sg.idle = nil
	}
}

// unpin lets the file be closed when nobody needs it. A failed close loses
// nothing here: what matters was synced. Needs mu.
func (s *Store) unpin(sg *seg) {
	sg.refs--
	if sg.refs > 0 {
		return
	}
	if sg.removed {
		_ = sg.file.Close()
		sg.file = nil
		return
	}
	sg.idle = s.mu.idle.PushBack(sg)
	for s.mu.idle.Len() > s.o.OpenFiles {
		s.closeIdle(s.mu.idle.Front().Value.(*seg))
	}
}

// closeIdle closes the file of a segment without refs. Needs mu.
func (s *Store) closeIdle(sg *seg) {
	s.mu.idle.Remove(sg.idle)
	sg.idle = nil
	_ = sg.file.Close()
	sg.file = nil
}
