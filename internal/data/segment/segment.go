// Package segment keeps extents in append-only segment files of one directory,
// as docs/format/extents.md describes.
//
// Invariants:
//   - A segment is written from front to end once; a file is never appended to
//     after the store was closed. Opening starts a new segment with the first
//     append, without replay; the old tail is dead space.
//   - Segment numbers grow. No segment is ever removed by this package.
//   - A failed sync is never retried: the kernel may have dropped the pages and
//     say success the next time. The store refuses all writes from then on,
//     since Sync cannot know whose bytes were lost; reads go on.
//
// The package must not know the key store.
package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"manifold/internal/data"
)

const (
	magic       uint32 = 0x4d46_4558 // "MFEX"
	headerBytes        = 24
	suffix             = ".seg"
)

// Options shape a store. The zero value works.
type Options struct {
	// SegmentBytes is the size of a segment; default 256 MiB.
	SegmentBytes int64
	// ReserveBytes must stay free on the disk: no segment is created that would
	// eat them, so that the key store can go on deleting; default 1 GiB, negative none.
	ReserveBytes int64
	// InlineMax is the largest payload for the key store; default data.DefaultInlineMax.
	InlineMax int
}

// Validate reports options that cannot work.
func (o Options) Validate() error {
	if o.SegmentBytes != 0 && o.SegmentBytes < data.MaxExtentBytes+headerBytes {
		return fmt.Errorf("segment: SegmentBytes %d cannot hold an extent of %d", o.SegmentBytes, data.MaxExtentBytes)
	}
	if o.InlineMax < 0 || o.InlineMax > data.BlockBytes {
		return fmt.Errorf("segment: InlineMax %d is not within 0 to %d", o.InlineMax, data.BlockBytes)
	}
	return nil
}

type seg struct {
	num  uint64
	file File
	end  int64 // guarded by Store.mu
}

// Store is a data.Store.
type Store struct {
	disk    Disk
	o       Options
	calls   sync.RWMutex // held shared by running calls, exclusively by Close
	scratch sync.Pool

	// create serialises creation of segments; taken before mu.
	create sync.Mutex

	mu struct {
		sync.Mutex
		closed  bool
		failed  error
		next    uint64
		active  *seg
		open    map[uint64]*seg
		dirty   map[*seg]struct{} // with finished writes that no sync covers
		waiting *round            // the sync that has not begun
		running *round            // the last that was begun
	}
}

type round struct {
	done chan struct{}
	err  error // set before done is closed
}

var _ data.Store = (*Store)(nil)

// Open opens the store on disk. It reads the list of names only.
func Open(disk Disk, o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 256 << 20
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 1 << 30
	}
	if o.InlineMax == 0 {
		o.InlineMax = data.DefaultInlineMax
	}
	names, err := disk.List()
	if err != nil {
		return nil, fmt.Errorf("segment: list: %w", err)
	}
	s := &Store{disk: disk, o: o}
	s.scratch.New = func() any { return new([data.BlockBytes]byte) }
	s.mu.next = 1
	s.mu.open = map[uint64]*seg{}
	s.mu.dirty = map[*seg]struct{}{}
	for _, n := range names {
		if num, ok := parseName(n); ok && num >= s.mu.next {
			s.mu.next = num + 1
		}
	}
	return s, nil
}

func nameOf(num uint64) string { return fmt.Sprintf("%016x%s", num, suffix) }

func parseName(n string) (uint64, bool) {
	h, ok := strings.CutSuffix(n, suffix)
	if !ok || len(h) != 16 {
		return 0, false
	}
	num, err := strconv.ParseUint(h, 16, 64)
	return num, err == nil
}

// InlineMax implements data.Store.
func (s *Store) InlineMax() int { return s.o.InlineMax }

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
	}
	if id == 0 || n == 0 || n > data.MaxExtentBytes {
		return data.Record{}, fmt.Errorf("%w: append of %d bytes as extent %d", data.ErrRange, n, id)
	}
	// One buffer of header and payload makes one write of it.
	buf := make([]byte, headerBytes, headerBytes+n)
	for _, p := range parts {
		buf = append(buf, p...)
	}
	binary.BigEndian.PutUint32(buf[0:], magic)
	binary.BigEndian.PutUint32(buf[4:], 1)
	binary.BigEndian.PutUint64(buf[8:], uint64(id))
	binary.BigEndian.PutUint32(buf[16:], uint32(n))
	binary.BigEndian.PutUint32(buf[20:], data.Sum(id, buf[:20]))
	rec := data.Record{ID: id, Length: uint32(n), Sums: data.Sums(id, buf[headerBytes:])}

	sg, off, err := s.reserve(int64(len(buf)))
	if err != nil {
		return data.Record{}, err
	}
	if _, err := sg.file.WriteAt(buf, off); err != nil {
		return data.Record{}, fmt.Errorf("segment: write extent %d: %w", id, noSpace(err))
	}
	s.mu.Lock()
	s.mu.dirty[sg] = struct{}{} // only now: a sync that began earlier does not cover it
	s.mu.Unlock()
	rec.Segment, rec.Offset = sg.num, uint64(off)+headerBytes
	return rec, nil
}

func noSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", data.ErrNoSpace, err)
	}
	return err
}

// take reserves n bytes in the active segment, nil if it has no room.
func (s *Store) take(n int64) (*seg, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil, 0, data.ErrClosed
	}
	if s.mu.failed != nil {
		return nil, 0, s.mu.failed
	}
	sg := s.mu.active
	if sg == nil || sg.end+n > s.o.SegmentBytes {
		return nil, 0, nil
	}
	off := sg.end
	sg.end += (n + 7) &^ 7
	return sg, off, nil
}

func (s *Store) reserve(n int64) (*seg, int64, error) {
	if sg, off, err := s.take(n); sg != nil || err != nil {
		return sg, off, err
	}
	s.create.Lock()
	defer s.create.Unlock()
	if sg, off, err := s.take(n); sg != nil || err != nil {
		return sg, off, err // another made it meanwhile
	}
	if s.o.ReserveBytes > 0 {
		_, free, err := s.disk.Space()
		if err != nil {
			return nil, 0, fmt.Errorf("segment: space: %w", err)
		}
		if free < uint64(s.o.SegmentBytes)+uint64(s.o.ReserveBytes) {
			return nil, 0, fmt.Errorf("%w: %d bytes free, %d in reserve", data.ErrNoSpace, free, s.o.ReserveBytes)
		}
	}
	s.mu.Lock()
	num := s.mu.next
	s.mu.next++ // a number is spent even when creation fails
	s.mu.Unlock()
	f, err := s.disk.Create(nameOf(num), s.o.SegmentBytes)
	if err != nil {
		return nil, 0, fmt.Errorf("segment: create %s: %w", nameOf(num), noSpace(err))
	}
	sg := &seg{num: num, file: f}
	s.mu.Lock()
	s.mu.active, s.mu.open[num] = sg, sg
	s.mu.Unlock()
	return s.take(n)
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
		if e := sg.file.Sync(); e != nil {
			err = fmt.Errorf("%w: sync of %s: %w", data.ErrFailed, nameOf(sg.num), e)
		}
	}
	if err != nil {
		s.mu.Lock()
		s.mu.failed = err
		s.mu.Unlock()
	}
	r.err = err
	close(r.done)
	return err
}

// Space implements data.Store.
func (s *Store) Space(context.Context) (data.Space, error) {
	total, free, err := s.disk.Space()
	if err != nil {
		return data.Space{}, fmt.Errorf("segment: space: %w", err)
	}
	free -= min(free, uint64(max(s.o.ReserveBytes, 0)))
	s.mu.Lock()
	if sg := s.mu.active; sg != nil {
		free += uint64(s.o.SegmentBytes - min(sg.end, s.o.SegmentBytes))
	}
	s.mu.Unlock()
	return data.Space{Total: total, Free: free}, nil
}

// Close implements data.Store. It does not sync.
func (s *Store) Close() error {
	s.calls.Lock()
	defer s.calls.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return nil
	}
	s.mu.closed = true
	var errs []error
	for _, sg := range s.mu.open {
		errs = append(errs, sg.file.Close())
	}
	return errors.Join(errs...)
}
