// Package data is the contract of the data engine: immutable extents of up to
// [MaxExtentBytes], their records in the key store, and the [Store] that keeps
// their bytes.
//
// Invariants:
//   - An extent never changes. Its id is given by the caller and never reused.
//   - Order of a write: Append, Sync, then the transaction that calls
//     [PutExtent]. A crash leaves bytes without a record, never the reverse.
//   - Bytes are handed out only after their checksum was verified.
//   - An extent lives while it has an owner or a reference; then it is queued
//     to be freed in the same transaction.
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
	// error dst holds nothing to rely on.
	ReadAt(ctx context.Context, rec Record, off uint64, dst []byte) error
	// Space tells how full the store is.
	Space(ctx context.Context) (Space, error)
	// Close waits for running calls and releases the store.
	Close() error
}
