// Package segment keeps extents in append-only segment files of one directory,
// as docs/format/extents.md describes.
//
// Invariants:
//   - A segment is written from front to end once; a file is never appended to
//     after the store was closed. Opening starts a new segment with the first
//     append, without replay; the old tail is dead space.
//   - Segment numbers grow and are never used again, not even after a removal:
//     the file of the highest number is emptied but stays.
//   - The file of a removed segment may become a new one, under a new number:
//     only when no reader has it open, and its head says which segment it is
//     now before the new name does. See spare.go.
//   - A failed sync is never retried: the kernel may have dropped the pages and
//     say success the next time. The store refuses all writes from then on,
//     since Sync cannot know whose bytes were lost; reads go on.
//   - Foreground appends never eat the reserve of the disk; relocation may.
//
// The package must not know the key store.
package segment

import (
	"container/list"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"manifold/internal/data"
)

const (
	magic       uint32 = 0x4d46_4558 // "MFEX"
	headMagic   uint32 = 0x4d46_5347 // "MFSG"
	headerBytes        = 24
	suffix             = ".seg"
	ballastName        = "ballast"

	// smallestSegment is made when the disk has no room for a whole one.
	smallestSegment = 8 << 20
)

// Options shape a store. The zero value works.
type Options struct {
	// SegmentBytes is the size of a segment; default 256 MiB.
	SegmentBytes int64
	// ReserveBytes must stay free on the disk: no segment is created that would
	// eat them, so that the key store can go on deleting; default 1 GiB, negative none.
	ReserveBytes int64
	// BallastBytes of the reserve lie in a file that is given up when the disk
	// fills all the same; default an eighth of the reserve, negative none.
	BallastBytes int64
	// InlineMax is the largest payload for the key store; default data.DefaultInlineMax.
	InlineMax int
	// CacheBytes bounds the cache of verified blocks that were read in part;
	// default 32 MiB, negative none.
	CacheBytes int64
	// Compress stores the blocks of new extents compressed where that shrinks
	// them. Extents are readable whatever it says.
	Compress bool
	// Keys make new extents encrypted; nil: none are, and encrypted ones cannot be read.
	Keys data.Keys
	// SpareBytes bounds the files of removed segments that are kept to become
	// new ones, as does an eighth of the free space: writing over blocks that the
	// file has costs a fraction of what fresh ones do; default 4 GiB, negative none.
	SpareBytes int64
	// OpenFiles bounds idle open segments; default 512.
	OpenFiles int
}

// Validate reports options that cannot work.
func (o Options) Validate() error {
	if o.SegmentBytes != 0 && o.SegmentBytes < data.MaxExtentBytes+headerBytes {
		return fmt.Errorf("segment: SegmentBytes %d cannot hold an extent of %d", o.SegmentBytes, data.MaxExtentBytes)
	}
	if o.InlineMax < 0 || o.InlineMax > data.BlockBytes {
		return fmt.Errorf("segment: InlineMax %d is not within 0 to %d", o.InlineMax, data.BlockBytes)
	}
	if o.OpenFiles < 0 {
		return fmt.Errorf("segment: OpenFiles %d is negative", o.OpenFiles)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 256 << 20
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 1 << 30
	}
	o.ReserveBytes = max(o.ReserveBytes, 0)
	if o.BallastBytes == 0 {
		o.BallastBytes = o.ReserveBytes / 8
	}
	o.BallastBytes = min(max(o.BallastBytes, 0), o.ReserveBytes)
	if o.InlineMax == 0 {
		o.InlineMax = data.DefaultInlineMax
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.SpareBytes == 0 {
		o.SpareBytes = 4 << 30
	}
	if o.OpenFiles == 0 {
		o.OpenFiles = 512
	}
	return o
}

// class separates appends that are young from those that have lasted.
type class int

const (
	foreground class = iota
	relocation
	classes
)

// seg is one segment file. All but condemned is guarded by Store.mu.
type seg struct {
	num     uint64
	bytes   int64 // on the disk
	end     int64 // where the next append goes; only of mine
	mine    bool
	reused  bool // the file was another segment's; only of mine
	writers int
	removed bool

	file File          // nil while not open
	refs int           // of file: active, dirty, writers, readers
	idle *list.Element // in Store.mu.idle while refs is 0

	condemned atomic.Bool
}

// Store is a data.Segmented.
type Store struct {
	disk    Disk
	o       Options
	calls   sync.RWMutex // held shared by running calls, exclusively by Close
	scratch sync.Pool    // of *block
	cache   *cache
	zstd    codec

	count counters

	// create serialises creation of segments; taken before mu.
	create sync.Mutex
	// ballast tells whether that file exists; guarded by create.
	ballast bool

	mu struct {
		sync.Mutex
		closed  bool
		failed  error
		next    uint64
		active  [classes]*seg
		segs    map[uint64]*seg
		spares  []spare
		idle    *list.List        // open segments without refs, the longest unused in front
		dirty   map[*seg]struct{} // with finished writes that no sync covers
		waiting *round            // the sync that has not begun
		running *round            // the last that was begun
	}
}

var _ data.Segmented = (*Store)(nil)

// Open opens the store on disk. It reads names and sizes only, and writes nothing.
func Open(disk Disk, o Options) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	names, err := disk.List()
	if err != nil {
		return nil, fmt.Errorf("segment: list: %w", err)
	}
	s := &Store{disk: disk, o: o.withDefaults()}
	if err := s.zstd.open(); err != nil {
		return nil, err
	}
	s.scratch.New = func() any { return new(block) }
	s.cache = newCache(s.o.CacheBytes, &s.scratch)
	s.mu.next = 1
	s.mu.segs = map[uint64]*seg{}
	s.mu.idle = list.New()
	s.mu.dirty = map[*seg]struct{}{}
	for _, n := range names {
		if n == ballastName {
			s.ballast = true
		}
		num, ok := parseName(n, suffix)
		old, isSpare := parseName(n, spareSuffix)
		if !ok && !isSpare {
			continue
		}
		size, err := disk.Stat(n)
		if err != nil {
			return nil, fmt.Errorf("segment: size of %s: %w", n, err)
		}
		if isSpare {
			s.mu.spares = append(s.mu.spares, spare{old, size})
			s.mu.next = max(s.mu.next, old+1)
			continue
		}
		s.mu.segs[num] = &seg{num: num, bytes: size}
		s.mu.next = max(s.mu.next, num+1)
	}
	return s, nil
}

func nameOf(num uint64) string { return nameWith(num, suffix) }

func nameWith(num uint64, suffix string) string { return fmt.Sprintf("%016x%s", num, suffix) }

func parseName(n, suffix string) (uint64, bool) {
	h, ok := strings.CutSuffix(n, suffix)
	if !ok || len(h) != 16 {
		return 0, false
	}
	num, err := strconv.ParseUint(h, 16, 64)
	return num, err == nil && h == fmt.Sprintf("%016x", num)
}

// InlineMax implements data.Store.
func (s *Store) InlineMax() int { return s.o.InlineMax }

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
	for _, sg := range s.mu.active {
		if sg != nil && sg.end < sg.bytes { // what was preallocated and not needed
			errs = append(errs, s.disk.Truncate(nameOf(sg.num), sg.end))
		}
	}
	for _, sg := range s.mu.segs {
		if sg.file != nil {
			errs = append(errs, sg.file.Close())
		}
	}
	s.cache.drop()
	s.zstd.close()
	return errors.Join(errs...)
}
