// Package data is the contract of the data engine: immutable extents of up to
// [MaxExtentBytes], their records in the key store, and the [Store] that keeps
// their bytes.
//
// Invariants:
//   - An extent never changes. Its id is given by the caller and never reused.
//   - Order of a write: Append, Sync, then the transaction that calls
//     [PutExtent]. A crash leaves bytes without a record, never the reverse.
//   - Bytes are handed out only after their checksum was verified.
//   - Every record in a segment has one row in the index of that segment,
//     changed in the same transaction; so what lives in a segment is known
//     without its file.
//   - A segment is removed only after a transaction saw its index empty and
//     marked it condemned, see [Condemn]; [PutExtent] guards that mark.
//   - An extent lives while it has holds: an owner, references. A stream may
//     have several. The last to go queues it to be freed in the same transaction.
//
// The package must not know files, names or inodes; a stream is a number to it.
package data

import (
	"context"
	"errors"
	"fmt"
)

// ExtentID names an extent. 0 is no extent.
type ExtentID uint64

const (
	// BlockBytes is the unit of checksums.
	BlockBytes = 64 << 10
	// MaxExtentBytes bounds an extent.
	MaxExtentBytes = 4 << 20
	// DefaultInlineMax is the largest payload kept in the key store.
	DefaultInlineMax = 16 << 10
)

// Errors of the engine, possibly wrapped; test with errors.Is.
var (
	// ErrCorrupt: stored bytes or a stored record fail their check; see [CorruptError].
	ErrCorrupt = errors.New("data: corrupt")
	// ErrNotFound: there is no record of the extent.
	ErrNotFound = errors.New("data: no such extent")
	// ErrNoSpace: growing would eat the reserve.
	ErrNoSpace = errors.New("data: no space")
	// ErrFormat: a record was written by a newer version or uses what this one lacks.
	ErrFormat = errors.New("data: unknown record format")
	// ErrRange: an offset or length lies outside the extent, or an extent is empty or too long.
	ErrRange = errors.New("data: out of range")
	// ErrFailed: an earlier sync failed; the store takes no more writes until it is opened anew.
	ErrFailed = errors.New("data: store failed")
	// ErrMoved: the segment of the record is gone, since the extent was moved or
	// freed. Read the record again in a new View and retry once, see [Reread].
	ErrMoved = errors.New("data: extent moved")
	// ErrKey: the key of an encrypted extent is not to be had.
	ErrKey = errors.New("data: no key")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("data: store closed")
)

// CorruptError says which block of which extent is bad. It is an [ErrCorrupt].
type CorruptError struct {
	Extent ExtentID
	Block  int // -1: the record itself
	Cause  error
}

func (e *CorruptError) Error() string {
	s := fmt.Sprintf("data: extent %d block %d corrupt", e.Extent, e.Block)
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Is makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Cause }

// Keys gives the 256-bit keys that the keys of extents are derived from. Safe
// for concurrent use; it is asked for every encrypted extent, so it should
// answer from memory. A key is needed as long as an extent was made with it.
type Keys interface {
	// Current returns the key for new extents and its id.
	Current(ctx context.Context) (id uint32, key [32]byte, err error)
	// Key returns an older one.
	Key(ctx context.Context, id uint32) ([32]byte, error)
}

// Space is how full the store is, in bytes.
type Space struct{ Total, Free uint64 }

// Store keeps the bytes of extents. Safe for concurrent use.
type Store interface {
	// InlineMax is the largest payload to be given to PutInline instead of Append.
	InlineMax() int
	// Append writes the payload, the concatenation of parts, and returns the
	// record to install with PutExtent once Sync returned nil. It keeps none of parts.
	Append(ctx context.Context, id ExtentID, parts [][]byte) (Record, error)
	// Sync makes every Append that returned before the call durable.
	Sync(ctx context.Context) error
	// ReadAt fills dst from offset off of the extent with verified bytes. On an
	// error dst holds nothing to rely on. ErrMoved asks for a newer record.
	ReadAt(ctx context.Context, rec Record, off uint64, dst []byte) error
	// Space tells how full the store is.
	Space(ctx context.Context) (Space, error)
	// Close waits for running calls and releases the store.
	Close() error
}

// SegmentInfo describes one segment of a [Segmented] store.
type SegmentInfo struct {
	Num uint64
	// Bytes that the segment takes on the disk.
	Bytes int64
	// Open: appends still go there, or went there and are being written.
	Open bool
	// Mine: this process has begun it, so records of its appends may still be
	// on their way into a transaction.
	Mine bool
	// Last: it has the highest number, so that removing it leaves an empty file.
	Last bool
}

// Segmented is a Store whose space is given back segment by segment. The
// methods are for the collector and scrub; they are safe for concurrent use.
type Segmented interface {
	Store
	// Segments lists all segments in ascending order.
	Segments() []SegmentInfo
	// Segment describes one; false if it is gone.
	Segment(num uint64) (SegmentInfo, bool)
	// Seal ends appending to the segment if it is open; a later append begins
	// a new one.
	Seal(num uint64)
	// Relocate copies the stored bytes of rec, verified, to another segment and
	// returns rec with its new location, to install by Move after Sync. It may
	// use the reserve.
	Relocate(ctx context.Context, rec Record) (Record, error)
	// Condemn makes the Fence of every record in the segment fail from now on.
	Condemn(num uint64)
	// Remove deletes the segment; running readers finish. Its number stays
	// used for good. One that is gone already is no error.
	Remove(num uint64) error
	// Forget lets go of the memory in which the operating system caches an
	// extent that was freed, as removing a file would. Whoever still reads it
	// reads the disk.
	Forget(rec Record)
	// Trim cuts what lies behind end off a segment of an earlier process.
	Trim(num uint64, end int64) error
	// Verify reads all of rec from the disk, past every cache, and checks it.
	Verify(ctx context.Context, rec Record) error
	// Entries calls fn with the entries of a segment from the front. It ends
	// at the first that is not whole; sound tells whether that is where the
	// written part ends.
	Entries(ctx context.Context, num uint64, fn func(Entry) error) (sound bool, err error)
	// Reclaim gives the ballast of the reserve back to the disk when little is
	// free, and takes it again when there is plenty.
	Reclaim(ctx context.Context) error
}

// Entry is one append found in a segment, with or without a record.
type Entry struct {
	ID ExtentID
	// Offset of the payload and its stored length.
	Offset uint64
	Bytes  uint32
}

// Reread is ReadAt that looks the record up once more when the segment is gone.
// lookup must read from a new View. If the location is gone still, the extent is corrupt.
func Reread(ctx context.Context, s Store, rec Record, off uint64, dst []byte, lookup func(context.Context, ExtentID) (Record, error)) error {
	err := s.ReadAt(ctx, rec, off, dst)
	if !errors.Is(err, ErrMoved) {
		return err
	}
	if rec, err = lookup(ctx, rec.ID); err != nil {
		return err
	}
	if err = s.ReadAt(ctx, rec, off, dst); errors.Is(err, ErrMoved) {
		return &CorruptError{Extent: rec.ID, Block: int(off / BlockBytes), Cause: err}
	}
	return err
}
