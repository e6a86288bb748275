package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"manifold/internal/data"
)

// Append implements data.Store.
func (s *Store) Append(ctx context.Context, id data.ExtentID, parts [][]byte) (data.Record, error) {
	s.calls.RLock()
	defer s.calls.RUnlock()
	if err := ctx.Err(); err != nil {
		return data.Record{}, err
	}
	n := 0
	for _, p := range parts {
		n += len(p)
		if n > data.MaxExtentBytes {
			break
		}
	}
	if id == 0 || n == 0 || n > data.MaxExtentBytes {
		return data.Record{}, fmt.Errorf("%w: append of %d bytes as extent %d", data.ErrRange, n, id)
	}
	if s.o.Compress || s.o.Keys != nil {
		rec, stored, err := s.encode(ctx, id, n, parts)
		if err != nil {
			return data.Record{}, err
		}
		return s.write(foreground, rec, [][]byte{stored})
	}
	rec := data.Record{ID: id, Length: uint32(n), Sums: data.Sums(id, parts...)}
	return s.write(foreground, rec, parts)
}

// write appends the stored bytes of rec and sets its location and fence.
func (s *Store) write(c class, rec data.Record, stored [][]byte) (data.Record, error) {
	n := rec.StoredBytes()
	sg, off, err := s.reserve(c, headerBytes+n)
	if err != nil {
		return data.Record{}, err
	}
	h := header(sg, rec.ID, uint32(n))
	if pad := sg.padded(headerBytes+n) - headerBytes - n; sg.reused && pad > 0 {
		stored = append(slices.Clone(stored), zeros[:pad])
	}
	err = writeAll(sg.file, h[:], stored, off)
	s.mu.Lock()
	defer s.mu.Unlock()
	sg.writers--
	if err == nil {
		// Only now: a sync that began earlier does not cover it.
		if _, ok := s.mu.dirty[sg]; !ok {
			s.mu.dirty[sg] = struct{}{}
			s.pin(sg)
		}
	}
	s.unpin(sg)
	if err != nil {
		return data.Record{}, fmt.Errorf("segment: write extent %d: %w", rec.ID, noSpace(err))
	}
	s.count.appended.Add(1)
	s.count.appendedBytes.Add(uint64(n))
	rec.Segment, rec.Offset = sg.num, uint64(off)+headerBytes
	rec.Fence = sg.fence
	return rec, nil
}

// header is what lies in front of a payload.
func header(sg *seg, id data.ExtentID, n uint32) (h [headerBytes]byte) {
	binary.BigEndian.PutUint32(h[0:], magic)
	binary.BigEndian.PutUint32(h[4:], 1)
	binary.BigEndian.PutUint64(h[8:], uint64(id))
	binary.BigEndian.PutUint32(h[16:], n)
	if sg.reused {
		binary.BigEndian.PutUint32(h[4:], 2)
		binary.BigEndian.PutUint32(h[20:], sumOf(sg.num, id, h[:20]))
	} else {
		binary.BigEndian.PutUint32(h[20:], data.Sum(id, h[:20]))
	}
	return h
}

// sumOf is the checksum of a header in a reused file: one of the segment that
// the file was before fails it.
func sumOf(num uint64, id data.ExtentID, h []byte) uint32 {
	return data.Sum(id, binary.BigEndian.AppendUint64(append(make([]byte, 0, headerBytes+4), h...), num))
}

// zeros fill the last page of an entry in a reused file.
var zeros [pageBytes]byte

// padded is how many bytes an entry of n takes.
func (sg *seg) padded(n int64) int64 {
	if sg.reused {
		return (n + pageBytes - 1) &^ (pageBytes - 1)
	}
	return (n + 7) &^ 7
}

func (sg *seg) fence() error {
	if sg.condemned.Load() {
		return fmt.Errorf("%w: %s is being removed", data.ErrMoved, nameOf(sg.num))
	}
	return nil
}

func writeAll(f File, head []byte, parts [][]byte, off int64) error {
	bufs := make([][]byte, 0, 1+len(parts))
	bufs = append(bufs, head)
	for _, p := range parts {
		if len(p) > 0 {
			bufs = append(bufs, p)
		}
	}
	if v, ok := f.(vectorWriter); ok {
		return v.WriteVec(bufs, off)
	}
	for _, b := range bufs {
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", data.ErrNoSpace, err)
	}
	return err
}

// take reserves n bytes in the active segment and pins it for a writer; nil if
// it has no room.
func (s *Store) take(c class, n int64) (*seg, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, 0, data.ErrClosed
	}
	if s.mu.failed != nil {
		return nil, 0, s.mu.failed
	}
	sg := s.mu.active[c]
	if sg == nil || sg.end+n > sg.bytes {
		return nil, 0, nil
	}
	off := sg.end
	sg.end += sg.padded(n)
	sg.writers++
	s.pin(sg)
	return sg, off, nil
}

func (s *Store) reserve(c class, n int64) (*seg, int64, error) {
	if sg, off, err := s.take(c, n); sg != nil || err != nil {
		return sg, off, err
	}
	s.create.Lock()
	defer s.create.Unlock()
	if sg, off, err := s.take(c, n); sg != nil || err != nil {
		return sg, off, err // another made it meanwhile
	}
	if c == foreground { // what is moved shall lie close
		if sg := s.adopt(); sg != nil {
			s.activate(c, sg)
			return s.take(c, n)
		}
	}
	size, err := s.sizeOfNext(c)
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	num := s.mu.next
	s.mu.next++ // a number is spent even when creation fails
	s.mu.Unlock()
	f, err := s.disk.Create(nameOf(num), size)
	if err != nil {
		return nil, 0, fmt.Errorf("segment: create %s: %w", nameOf(num), noSpace(err))
	}
	s.activate(c, &seg{num: num, file: f, bytes: size, mine: true})
	return s.take(c, n)
}

// activate makes sg the segment that is appended to.
func (s *Store) activate(c class, sg *seg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.mu.active[c]; old != nil {
		s.unpin(old)
	}
	s.mu.active[c], s.mu.segs[sg.num] = sg, sg
	s.pin(sg)
}

// sizeOfNext is how large the next segment may be. Needs create.
func (s *Store) sizeOfNext(c class) (int64, error) {
	_, free, err := s.disk.Space()
	if err != nil {
		return 0, fmt.Errorf("segment: space: %w", err)
	}
	keep := s.o.ReserveBytes
	if s.ballast {
		keep -= s.o.BallastBytes // already taken from free
	}
	most := s.o.SegmentBytes
	if c == relocation && int64(min(free, 1<<62))-keep < most {
		dropped, err := s.dropSpares()
		if err != nil {
			return 0, err
		}
		if dropped {
			if _, free, err = s.disk.Space(); err != nil {
				return 0, fmt.Errorf("segment: space: %w", err)
			}
		}
	}
	if c == relocation {
		if int64(min(free, 1<<62))-keep < most {
			// It lives on the reserve: a large one would take what collecting wins.
			most = min(smallestSegment, most)
		}
		keep /= 4 // the key store needs room to commit the moves
	}
	room := int64(min(free, 1<<62)) - keep
	if room >= most {
		return most, nil
	}
	room &^= 1<<20 - 1
	if room >= min(smallestSegment, s.o.SegmentBytes) {
		return room, nil
	}
	return 0, fmt.Errorf("%w: %d bytes free, %d of them in reserve", data.ErrNoSpace, free, keep)
}
