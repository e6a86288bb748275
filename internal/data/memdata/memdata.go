// Package memdata is a data.Store in memory: the model of the contract and the
// fake for tests of those who use it.
//
// Invariants: it keeps every promise of data.Store, forgets what was not synced
// on Crash, and fails as told. Space is never given back, since there are no
// segments to collect.
package memdata

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"manifold/internal/data"
)

// Options shape a Store. The zero value works.
type Options struct {
	// InlineMax is the largest payload for the key store; default data.DefaultInlineMax.
	InlineMax int
	// Capacity bounds the bytes appended; 0: 1 TiB.
	Capacity uint64
}

// Faults are errors that calls return instead of working. A Sync error is final.
type Faults struct{ Append, Sync, Read error }

// Store is a data.Store.
type Store struct {
	o Options

	mu       sync.Mutex
	closed   bool
	failed   error
	faults   Faults
	payloads map[uint64][]byte // by Record.Offset
	synced   uint64            // payloads up to this offset survive a crash
	next     uint64
	used     uint64
}

var _ data.Store = (*Store)(nil)

// New returns an empty Store.
func New(o Options) *Store {
	if o.InlineMax == 0 {
		o.InlineMax = data.DefaultInlineMax
	}
	if o.Capacity == 0 {
		o.Capacity = 1 << 40
	}
	return &Store{o: o, payloads: map[uint64][]byte{}}
}

// SetFaults replaces the faults.
func (s *Store) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Crash returns what a power loss now would leave: what was synced.
func (s *Store) Crash() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := New(s.o)
	c.next, c.synced = s.next, s.synced
	for off, p := range s.payloads {
		if off <= s.synced {
			c.payloads[off] = p
			c.used += uint64(len(p))
		}
	}
	return c
}

// Corrupt inverts a bit of an extent.
func (s *Store) Corrupt(rec data.Record, at uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := bytes.Clone(s.payloads[rec.Offset])
	p[at] ^= 1
	s.payloads[rec.Offset] = p
}

// InlineMax implements data.Store.
func (s *Store) InlineMax() int { return s.o.InlineMax }

// Append implements data.Store.
func (s *Store) Append(ctx context.Context, id data.ExtentID, parts [][]byte) (data.Record, error) {
	if err := ctx.Err(); err != nil {
		return data.Record{}, err
	}
	p := bytes.Join(parts, nil)
	if id == 0 || len(p) == 0 || len(p) > data.MaxExtentBytes {
		return data.Record{}, fmt.Errorf("%w: append of %d bytes as extent %d", data.ErrRange, len(p), id)
	}
	rec := data.Record{ID: id, Length: uint32(len(p)), Sums: data.Sums(id, p), Segment: 1}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return data.Record{}, data.ErrClosed
	case s.failed != nil:
		return data.Record{}, s.failed
	case s.faults.Append != nil:
		return data.Record{}, s.faults.Append
	case s.used+uint64(len(p)) > s.o.Capacity:
		return data.Record{}, fmt.Errorf("%w: %d of %d bytes used", data.ErrNoSpace, s.used, s.o.Capacity)
	}
	s.next++
	s.used += uint64(len(p))
	rec.Offset = s.next
	s.payloads[s.next] = p
	return rec, nil
}

// Sync implements data.Store.
func (s *Store) Sync(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return data.ErrClosed
	case s.failed != nil:
		return s.failed
	case s.faults.Sync != nil:
		s.failed = fmt.Errorf("%w: %w", data.ErrFailed, s.faults.Sync)
		return s.failed
	}
	s.synced = s.next
	return nil
}

// ReadAt implements data.Store.
func (s *Store) ReadAt(ctx context.Context, rec data.Record, off uint64, dst []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := rec.CheckRange(off, len(dst)); err != nil {
		return err
	}
	if err := rec.Check(); err != nil {
		return err
	}
	s.mu.Lock()
	p, closed, err := s.payloads[rec.Offset], s.closed, s.faults.Read
	s.mu.Unlock()
	switch {
	case closed:
		return data.ErrClosed
	case err != nil:
		return err
	case rec.IsInline:
		p = rec.Inline
	case p == nil:
		return fmt.Errorf("%w: extent %d", data.ErrMoved, rec.ID)
	}
	if len(p) != int(rec.Length) {
		return &data.CorruptError{Extent: rec.ID, Block: -1}
	}
	for b := off / data.BlockBytes; b*data.BlockBytes < off+uint64(len(dst)); b++ {
		from := b * data.BlockBytes
		if data.Sum(rec.ID, p[from:from+uint64(rec.BlockLength(int(b)))]) != rec.Sums[b] {
			return &data.CorruptError{Extent: rec.ID, Block: int(b)}
		}
	}
	copy(dst, p[off:])
	return nil
}

// Space implements data.Store.
func (s *Store) Space(context.Context) (data.Space, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return data.Space{}, data.ErrClosed
	}
	return data.Space{Total: s.o.Capacity, Free: s.o.Capacity - s.used}, nil
}

// Close implements data.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
