package pebblekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// snapshot is a Pebble snapshot that Views share while nothing new commits:
// making one takes Pebble's big lock and a dozen allocations.
type snapshot struct {
	s *pebble.Snapshot
	// low: all commits up to it are in the snapshot. high: none after it is.
	low, high uint64
	refs      int // under Engine.snapMu; the engine's own counts
	// All that are open, from old to new; under Engine.snapMu.
	older, newer *snapshot
}

// acquire returns a snapshot that has every commit published so far.
func (e *Engine) acquire() *snapshot {
	e.snapMu.Lock()
	defer e.snapMu.Unlock()
	if s := e.snap; s != nil && s.low == e.committed.Load() {
		s.refs++
		return s
	}
	s := &snapshot{low: e.committed.Load(), refs: 2}
	s.s = e.db.NewSnapshot()
	s.high = e.issued.Load()
	if e.snap != nil {
		e.unref(e.snap)
	}
	e.snap = s
	if s.older = e.newest; s.older != nil {
		s.older.newer = s
	} else {
		e.oldest = s
	}
	e.newest = s
	return s
}

// Past implements kv.Horizon.
func (e *Engine) Past(rev kv.Rev) bool {
	e.snapMu.Lock()
	defer e.snapMu.Unlock()
	for s := e.oldest; s != nil && s.low < uint64(rev); s = s.newer {
		if s != e.snap || s.refs > 1 {
			return false
		}
	}
	return true
}

// release gives a snapshot back, and the engine's own too if it is outdated.
func (e *Engine) release(s *snapshot) {
	e.snapMu.Lock()
	defer e.snapMu.Unlock()
	e.unref(s)
}

// forgetSnapshot lets go of the snapshot kept for the next View, which a
// commit has just outdated.
func (e *Engine) forgetSnapshot() {
	e.snapMu.Lock()
	defer e.snapMu.Unlock()
	if e.snap != nil && e.snap.low != e.committed.Load() {
		e.unref(e.snap)
		e.snap = nil
	}
}

// unref is called with snapMu held.
func (e *Engine) unref(s *snapshot) {
	if s.refs--; s.refs == 0 {
		if s.older != nil {
			s.older.newer = s.newer
		} else {
			e.oldest = s.newer
		}
		if s.newer != nil {
			s.newer.older = s.older
		} else {
			e.newest = s.older
		}
		if err := s.s.Close(); err != nil {
			e.log.Error("close a snapshot", "err", err)
		}
	}
}

// reader reads a snapshot and remembers the newest commit it saw.
type reader struct {
	e     *Engine
	snap  *snapshot
	seen  uint64
	start time.Time
	done  bool
}

// View implements kv.Engine. The snapshot is always the newest, so that every
// Freshness is met.
func (e *Engine) View(ctx context.Context, _ kv.Freshness, fn func(kv.Reader) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.gate.Leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &reader{e: e, snap: e.acquire(), start: e.now()}
	err := r.run(fn)
	if werr := e.sync.wait(ctx, r.seen); werr != nil {
		return werr
	}
	return err
}

func (r *reader) run(fn func(kv.Reader) error) error {
	defer func() {
		r.done = true
		r.e.release(r.snap)
	}()
	return fn(r)
}

func (r *reader) check() error {
	if r.done {
		return kvbase.ErrDone
	}
	if r.e.now().Sub(r.start) > kv.DefaultLimits.MaxSnapshotAge {
		return kv.ErrSnapshotTooOld
	}
	return nil
}

// see notes that the reader depends on a commit.
func (r *reader) see(slot uint64) { r.seen = max(r.seen, min(slot, r.snap.high)) }

func (r *reader) Get(_ context.Context, key []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := kvbase.CheckKey(key); err != nil {
		return nil, err
	}
	return r.get(key)
}

func (r *reader) get(key []byte) ([]byte, error) {
	e := r.e
	h := e.slots.hash(key)
	if v, ver, ok := e.rows.get(h, key, r.snap.low); ok {
		r.see(ver)
		if v == nil {
			return nil, kv.ErrNotFound
		}
		return v, nil
	}
	v, err := fetch(r.snap.s, key)
	if err != nil && err != kv.ErrNotFound {
		return nil, err
	}
	i := e.slots.keySlot(h)
	slot := e.slots.load(i)
	r.see(slot)
	if slot <= r.snap.low {
		e.rows.put(h, key, v, slot, &e.slots.n[i])
	}
	return v, err
}

// fetch copies a value out of Pebble.
func fetch(p pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := p.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return nil, kv.ErrNotFound
		}
		return nil, readError(err)
	}
	c := make([]byte, len(v))
	copy(c, v)
	if err := closer.Close(); err != nil {
		return nil, readError(err)
	}
	return c, nil
}

func readError(err error) error { return fmt.Errorf("%w: read: %w", kv.ErrUnavailable, err) }

// sortedFrom is from how many keys on GetMany reads in key order with one
// iterator: neighbours then share the work of finding a block.
const sortedFrom = 32

func (r *reader) GetMany(_ context.Context, keys [][]byte) ([][]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	for _, k := range keys {
		if err := kvbase.CheckKey(k); err != nil {
			return nil, err
		}
	}
	out := make([][]byte, len(keys))
	if len(keys) >= sortedFrom {
		return out, r.getSorted(keys, out)
	}
	for i, k := range keys {
		v, err := r.get(k)
		if err != nil && err != kv.ErrNotFound {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// getSorted fills out. What it reads does not go into the row cache, which a
// long listing would otherwise empty.
func (r *reader) getSorted(keys, out [][]byte) error {
	e := r.e
	missing := make([]int, 0, len(keys))
	for i, k := range keys {
		h := e.slots.hash(k)
		if v, ver, ok := e.rows.get(h, k, r.snap.low); ok {
			r.see(ver)
			out[i] = v
			continue
		}
		missing = append(missing, i)
	}
	if len(missing) == 0 {
		return nil
	}
	slices.SortFunc(missing, func(a, b int) int { return bytes.Compare(keys[a], keys[b]) })
	it, err := r.snap.s.NewIter(nil)
	if err != nil {
		return readError(err)
	}
	defer func() { _ = it.Close() }() // its errors are those of the steps
	for _, i := range missing {
		if it.SeekGE(keys[i]) && bytes.Equal(it.Key(), keys[i]) {
			v, err := it.ValueAndErr()
			if err != nil {
				return readError(err)
			}
			out[i] = append(make([]byte, 0, len(v)), v...)
		}
		if err := it.Error(); err != nil {
			return readError(err)
		}
		r.see(e.slots.load(e.slots.keySlot(e.slots.hash(keys[i]))))
	}
	return nil
}

func (r *reader) Scan(ctx context.Context, rg kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		if err := r.check(); err != nil {
			yield(kv.KV{}, err)
			return
		}
		it, err := newIter(r.snap.s, rg)
		if err != nil {
			yield(kv.KV{}, err)
			return
		}
		if rg.WithinPrefix() {
			r.see(r.e.slots.load(r.e.slots.prefixSlot(rg.Start)))
		} else {
			r.see(r.snap.high)
		}
		n := 0
		walk(it, o, yield, func() error {
			// The clock and the context cost more than a step.
			if n++; n%64 != 0 {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			return r.check()
		})
	}
}

// newIter iterates over the callers' keys of a range.
func newIter(p pebble.Reader, r kv.Range) (*pebble.Iterator, error) {
	end := r.End
	if end == nil || bytes.Compare(end, private) > 0 {
		end = private
	}
	it, err := p.NewIter(&pebble.IterOptions{LowerBound: r.Start, UpperBound: end})
	if err != nil {
		return nil, readError(err)
	}
	return it, nil
}

// walk yields what an iterator has and closes it.
func walk(it *pebble.Iterator, o kv.ScanOptions, yield func(kv.KV, error) bool, step func() error) {
	stopped := false
	err := func() error {
		ok := false
		if o.Reverse {
			ok = it.Last()
		} else {
			ok = it.First()
		}
		for left := o.Limit; ok; {
			if err := step(); err != nil {
				return err
			}
			x := kv.KV{Key: it.Key()}
			if !o.KeysOnly {
				v, err := it.ValueAndErr()
				if err != nil {
					return readError(err)
				}
				x.Value = v
			}
			if stopped = !yield(x, nil); stopped {
				return nil
			}
			if left--; left == 0 {
				return nil
			}
			if o.Reverse {
				ok = it.Prev()
			} else {
				ok = it.Next()
			}
		}
		if err := it.Error(); err != nil {
			return readError(err)
		}
		return nil
	}()
	if cerr := it.Close(); cerr != nil && err == nil {
		err = readError(cerr)
	}
	if err != nil && !stopped {
		yield(kv.KV{}, err)
	}
}
