package pebblekv

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"manifold/internal/kv"
)

const slotBits = 18

// slots hold the number of the last commit by hash: keys in the lower half,
// prefixes in the upper.
type slots struct {
	seed maphash.Seed
	mask uint64 // tests make it small to force collisions
	n    []atomic.Uint64
}

func (s *slots) init() {
	s.seed = maphash.MakeSeed()
	s.mask = 1<<slotBits - 1
	s.n = make([]atomic.Uint64, 2<<slotBits)
}

func (s *slots) hash(b []byte) uint64 { return maphash.Bytes(s.seed, b) }

// keySlot returns the slot of a key by its hash.
func (s *slots) keySlot(h uint64) uint32 { return uint32(h & s.mask) }

// prefixSlot returns the slot of the prefix of key.
func (s *slots) prefixSlot(key []byte) uint32 {
	return uint32(s.hash(kv.PrefixOf(key))&s.mask) | 1<<slotBits
}

func (s *slots) load(i uint32) uint64 { return s.n[i].Load() }

func (s *slots) raise(i uint32, n uint64) { s.n[i].Store(n) }

// syncer knows up to which number commits are durable.
type syncer struct {
	done    atomic.Uint64
	waiters atomic.Int64
	mu      sync.Mutex
	ch      chan struct{} // closed when done grows
	failed  chan struct{}
}

func (s *syncer) init() {
	s.ch = make(chan struct{})
	s.failed = make(chan struct{})
}

func (s *syncer) fail() { close(s.failed) }

// advance says that all commits up to n are durable.
func (s *syncer) advance(n uint64) {
	for {
		d := s.done.Load()
		if d >= n {
			return
		}
		if s.done.CompareAndSwap(d, n) {
			break
		}
	}
	if s.waiters.Load() > 0 {
		s.mu.Lock()
		close(s.ch)
		s.ch = make(chan struct{})
		s.mu.Unlock()
	}
}

// wait returns when all commits up to n are durable.
func (s *syncer) wait(ctx context.Context, n uint64) error {
	if s.done.Load() >= n {
		return nil
	}
	s.waiters.Add(1)
	defer s.waiters.Add(-1)
	for {
		s.mu.Lock()
		ch := s.ch
		s.mu.Unlock()
		if s.done.Load() >= n {
			return nil
		}
		select {
		case <-ch:
		case <-s.failed:
			return kv.ErrUnavailable
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
