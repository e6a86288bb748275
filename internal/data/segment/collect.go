package segment

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"manifold/internal/data"
)

// Segments implements data.Segmented.
func (s *Store) Segments() []data.SegmentInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]data.SegmentInfo, 0, len(s.mu.segs))
	for _, sg := range s.mu.segs {
		infos = append(infos, s.info(sg))
	}
	slices.SortFunc(infos, func(a, b data.SegmentInfo) int { return cmp.Compare(a.Num, b.Num) })
	return infos
}

// Segment implements data.Segmented.
func (s *Store) Segment(num uint64) (data.SegmentInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sg := s.mu.segs[num]
	if sg == nil {
		return data.SegmentInfo{}, false
	}
	return s.info(sg), true
}

// info needs mu.
func (s *Store) info(sg *seg) data.SegmentInfo {
	return data.SegmentInfo{Num: sg.num, Bytes: sg.bytes, Mine: sg.mine, Open: s.busy(sg), Last: sg.num+1 == s.mu.next}
}

// busy tells whether the segment is or may yet be written. Needs mu.
func (s *Store) busy(sg *seg) bool {
	_, dirty := s.mu.dirty[sg]
	return dirty || sg.writers > 0 || slices.Contains(s.mu.active[:], sg)
}

// Seal implements data.Segmented.
func (s *Store) Seal(num uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, sg := range s.mu.active {
		if sg != nil && sg.num == num {
			s.mu.active[c] = nil
			s.unpin(sg)
		}
	}
}

// Condemn implements data.Segmented.
func (s *Store) Condemn(num uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sg := s.mu.segs[num]; sg != nil {
		sg.condemned.Store(true)
	}
}

// Remove implements data.Segmented.
func (s *Store) Remove(num uint64) error {
	s.calls.RLock()
	defer s.calls.RUnlock()
	s.mu.Lock()
	sg := s.mu.segs[num]
	switch {
	case s.mu.closed:
		s.mu.Unlock()
		return data.ErrClosed
	case sg == nil:
		s.mu.Unlock()
		return nil
	case s.busy(sg):
		s.mu.Unlock()
		return fmt.Errorf("segment: %s is in use", nameOf(num))
	}
	last := num+1 == s.mu.next
	s.mu.Unlock()

	// The name of the last one says which numbers were used.
	if last {
		if err := s.disk.Truncate(nameOf(num), 0); err != nil {
			return fmt.Errorf("segment: empty %s: %w", nameOf(num), err)
		}
		s.mu.Lock()
		sg.bytes = 0
		s.mu.Unlock()
		return nil
	}
	sp := spare{num, sg.bytes}
	kept := s.wantsSpare(sg) && s.disk.Rename(nameOf(num), sp.name()) == nil
	if !kept {
		if err := s.removeFile(nameOf(num)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	delete(s.mu.segs, num)
	sg.removed = true
	if sg.idle != nil {
		s.closeIdle(sg)
	}
	// Who reads it still must not see it written over.
	free := sg.refs == 0
	if kept && free {
		s.mu.spares = append(s.mu.spares, sp)
	}
	s.mu.Unlock()
	if kept && !free {
		return s.removeFile(sp.name())
	}
	return nil
}

func (s *Store) removeFile(name string) error {
	if err := s.disk.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("segment: remove %s: %w", name, err)
	}
	return nil
}

// smallestForgotten: the pages of smaller extents are shared with others or not
// worth a call each.
const smallestForgotten = 64 << 10

// Forget implements data.Segmented. What has had a record was synced, so that
// nothing need be written first. What fails costs memory only.
func (s *Store) Forget(rec data.Record) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	if rec.IsInline || rec.StoredBytes() < smallestForgotten {
		return
	}
	s.mu.Lock()
	sg := s.mu.segs[rec.Segment]
	// A file that has been closed is not worth opening.
	if s.mu.closed || sg == nil || sg.file == nil {
		s.mu.Unlock()
		return
	}
	s.pin(sg)
	s.mu.Unlock()
	defer s.release(sg)
	if e, ok := sg.file.(evicter); ok {
		_ = e.Evict(int64(rec.Offset), rec.StoredBytes())
	}
}

// Trim implements data.Segmented.
func (s *Store) Trim(num uint64, end int64) error {
	s.calls.RLock()
	defer s.calls.RUnlock()
	s.mu.Lock()
	sg := s.mu.segs[num]
	closed := s.mu.closed
	ok := sg != nil && !sg.mine && end >= 0 && end < sg.bytes
	s.mu.Unlock()
	if closed {
		return data.ErrClosed
	}
	if !ok {
		return nil
	}
	if err := s.disk.Truncate(nameOf(num), end); err != nil {
		return fmt.Errorf("segment: trim %s: %w", nameOf(num), err)
	}
	s.mu.Lock()
	sg.bytes = end
	s.mu.Unlock()
	return nil
}

// Relocate implements data.Segmented.
func (s *Store) Relocate(ctx context.Context, rec data.Record) (data.Record, error) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	stored, err := s.stored(ctx, rec, false)
	if err != nil {
		return data.Record{}, err
	}
	return s.write(relocation, rec, [][]byte{stored})
}

// Verify implements data.Segmented.
func (s *Store) Verify(ctx context.Context, rec data.Record) error {
	s.calls.RLock()
	defer s.calls.RUnlock()
	_, err := s.stored(ctx, rec, true)
	return err
}

// stored reads all stored bytes of an extent and verifies them.
func (s *Store) stored(ctx context.Context, rec data.Record, fromDisk bool) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := rec.Check(); err != nil {
		return nil, err
	}
	if rec.IsInline {
		return nil, readInline(rec, 0, nil)
	}
	sg, err := s.acquire(rec.Segment)
	if err != nil {
		return nil, err
	}
	defer s.release(sg)
	b := make([]byte, rec.StoredBytes())
	if e, ok := sg.file.(evicter); ok && fromDisk {
		if err := e.Evict(int64(rec.Offset), int64(len(b))); err != nil {
			return nil, fmt.Errorf("segment: evict extent %d: %w", rec.ID, err)
		}
	}
	if err := readFull(sg.file, rec, 0, b, int64(rec.Offset)); err != nil {
		return nil, err
	}
	for i, p := 0, b; len(p) > 0; i++ {
		n := rec.BlockLength(i)
		if rec.Stored != nil {
			n = int(rec.Stored[i])
		}
		if data.Sum(rec.ID, p[:n]) != rec.Sums[i] {
			return nil, &data.CorruptError{Extent: rec.ID, Block: i}
		}
		p = p[n:]
	}
	return b, nil
}

// Entries implements data.Segmented.
func (s *Store) Entries(ctx context.Context, num uint64, fn func(data.Entry) error) (sound bool, err error) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	sg, err := s.acquire(num)
	if err != nil {
		return false, err
	}
	defer s.release(sg)
	s.mu.Lock()
	end := sg.bytes
	if sg.mine {
		end = sg.end
	}
	s.mu.Unlock()
	var h [headerBytes]byte
	walked := &seg{num: num}
	for off := int64(0); off+headerBytes <= end; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if n, err := sg.file.ReadAt(h[:], off); n < len(h) {
			if errors.Is(err, io.EOF) {
				return true, nil
			}
			return false, fmt.Errorf("segment: read %s: %w", nameOf(num), err)
		}
		if h == [headerBytes]byte{} {
			return true, nil
		}
		if off == 0 && isHead(h[:], num) {
			walked.reused = true
			off = pageBytes
			continue
		}
		e, ok := decodeHeader(walked, h[:])
		if !ok || off+headerBytes+int64(e.Bytes) > end {
			return walked.reused, nil // behind the end of a reused file lies what was there before
		}
		e.Offset = uint64(off) + headerBytes
		if err := fn(e); err != nil {
			return false, err
		}
		off += walked.padded(headerBytes + int64(e.Bytes))
	}
	return true, nil
}

// maxStored bounds what an entry may hold: an encrypted extent of the largest size.
const maxStored = data.MaxExtentBytes + data.MaxExtentBytes/data.BlockBytes*data.TagBytes

// decodeHeader decodes an entry's header in the file of sg.
func decodeHeader(sg *seg, h []byte) (data.Entry, bool) {
	if len(h) < headerBytes {
		return data.Entry{}, false
	}
	e := data.Entry{ID: data.ExtentID(binary.BigEndian.Uint64(h[8:])), Bytes: binary.BigEndian.Uint32(h[16:])}
	return e, [headerBytes]byte(h) == header(sg, e.ID, e.Bytes) && e.ID != 0 && e.Bytes > 0 && e.Bytes <= maxStored
}
