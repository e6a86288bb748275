package pebblekv

import (
	"context"
	"fmt"
	"iter"

	"github.com/cockroachdb/pebble/v2"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// attempt is one try of an Update.
type attempt struct {
	e     *Engine
	start uint64 // the state all reads so far belong to
	seen  uint64 // the newest commit the reads depend on
	// reads are the slots that must not be newer than start at the commit.
	reads []uint32
	// pin is set once Unvalidated was asked for: from then on all reads come
	// from one snapshot and start stays.
	pin    *reader
	doomed bool // a conflict that no read has reported yet
	first  [24]uint32
}

func (e *Engine) begin(context.Context) (kvbase.Attempt, error) {
	if p := e.failure.Load(); p != nil {
		return nil, fmt.Errorf("%w: %w", kv.ErrUnavailable, *p)
	}
	a := &attempt{e: e, start: e.committed.Load()}
	a.reads = a.first[:0]
	return a, nil
}

// hold tells whether all reads so far are still true.
func (a *attempt) hold() bool {
	for _, i := range a.reads {
		if a.e.slots.load(i) > a.start {
			return false
		}
	}
	return true
}

// extend moves the start to now if all reads so far are still true.
func (a *attempt) extend() error {
	a.e.mu.Lock()
	defer a.e.mu.Unlock()
	// After a failure slots stay ahead of what was committed for ever.
	if p := a.e.failure.Load(); p != nil {
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, *p)
	}
	if !a.hold() {
		return kvbase.ErrConflict
	}
	a.start = a.e.committed.Load()
	return nil
}

// add puts a slot, whose reading was proven to be of the start, in the read set.
func (a *attempt) add(i uint32, slot uint64) {
	a.reads = append(a.reads, i)
	a.seen = max(a.seen, slot)
}

func (a *attempt) Get(_ context.Context, key []byte) ([]byte, error) {
	if a.doomed {
		return nil, kvbase.ErrConflict
	}
	e := a.e
	h := e.slots.hash(key)
	i := e.slots.keySlot(h)
	if a.pin != nil {
		a.reads = append(a.reads, i)
		return a.pin.get(key)
	}
	for {
		slot := e.slots.load(i)
		if slot <= a.start {
			if v, ok := e.rows.get(h, key, slot); ok {
				a.add(i, slot)
				if v == nil {
					return nil, kv.ErrNotFound
				}
				return v, nil
			}
			v, err := fetch(e.db, key)
			if err != nil && err != kv.ErrNotFound {
				return nil, err
			}
			if slot = e.slots.load(i); slot <= a.start {
				a.add(i, slot)
				e.rows.put(h, key, v, a.start)
				return v, err
			}
		}
		if err := a.extend(); err != nil {
			return nil, err
		}
	}
}

func (a *attempt) GetMany(ctx context.Context, keys [][]byte) ([][]byte, error) {
	out := make([][]byte, len(keys))
	for i, k := range keys {
		v, err := a.Get(ctx, k)
		if err != nil && err != kv.ErrNotFound {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// Scan needs one look at the slot, after the iterator was made: an iterator
// sees the state of its making.
func (a *attempt) Scan(ctx context.Context, r kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		if a.doomed {
			yield(kv.KV{}, kvbase.ErrConflict)
			return
		}
		i := a.e.slots.prefixSlot(r.Start)
		if a.pin != nil {
			a.reads = append(a.reads, i)
			a.pin.Scan(ctx, r, o)(yield)
			return
		}
		for {
			it, err := newIter(a.e.db, r)
			if err != nil {
				yield(kv.KV{}, err)
				return
			}
			if slot := a.e.slots.load(i); slot <= a.start {
				a.add(i, slot)
				walk(it, o, yield, func() error { return nil })
				return
			}
			if err := it.Close(); err != nil {
				yield(kv.KV{}, readError(err))
				return
			}
			if err := a.extend(); err != nil {
				yield(kv.KV{}, err)
				return
			}
		}
	}
}

// Guard needs no look: only the commit checks it.
func (a *attempt) Guard(r kv.Range) {
	a.reads = append(a.reads, a.e.slots.prefixSlot(r.Start))
}

// Unvalidated pins the attempt to a snapshot. Reads made before are of it too
// if none of them changed until after it was taken.
func (a *attempt) Unvalidated() kv.Reader {
	if a.pin == nil {
		a.pin = &reader{e: a.e, snap: a.e.acquire(), start: a.e.now()}
		if a.hold() {
			a.start = a.pin.snap.low
		} else {
			a.doomed = true
		}
	}
	return a.pin
}

// Validate has nothing to compare: all reads are of one state, where the
// transaction is placed.
func (a *attempt) Validate(ctx context.Context) (kv.Rev, error) {
	if a.doomed {
		return 0, kvbase.ErrConflict
	}
	if a.pin != nil {
		a.seen = max(a.seen, a.pin.seen)
	}
	if err := a.e.sync.wait(ctx, a.seen); err != nil {
		return 0, err
	}
	return kv.Rev(a.start), nil
}

func (a *attempt) Commit(ctx context.Context, b *kvbase.Buffer) (kv.Rev, error) {
	e := a.e
	if len(b.Writes) == 0 {
		if err := a.fenced(b); err != nil {
			return 0, err
		}
		return a.Validate(ctx)
	}
	pb := e.db.NewBatch()
	defer pb.Close()
	for _, w := range b.Writes {
		var err error
		if w.Value == nil {
			err = pb.Delete(w.Key, nil)
		} else {
			err = pb.Set(w.Key, w.Value, nil)
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		}
	}
	n, err := a.apply(pb, b)
	if err != nil {
		return 0, err
	}
	if !e.noSync {
		if err := pb.SyncWait(); err != nil {
			e.fail(fmt.Errorf("pebblekv: write-ahead log: %w", err))
			return 0, kv.ErrUnknownOutcome
		}
	}
	if e.failure.Load() != nil {
		return 0, kv.ErrUnknownOutcome
	}
	e.sync.advance(n)
	e.forgetSnapshot()
	e.hub.Publish(kv.Rev(n), b.Writes)
	return kv.Rev(n), nil
}

// fenced checks a transaction that only has fences.
func (a *attempt) fenced(b *kvbase.Buffer) error {
	a.e.mu.Lock()
	defer a.e.mu.Unlock()
	if a.doomed || !a.hold() {
		return kvbase.ErrConflict
	}
	return a.e.sessions.Check(b.Fences)
}

// apply validates and makes the writes visible, in that order, under the lock.
func (a *attempt) apply(pb *pebble.Batch, b *kvbase.Buffer) (uint64, error) {
	e := a.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if p := e.failure.Load(); p != nil {
		return 0, fmt.Errorf("%w: %w", kv.ErrUnavailable, *p)
	}
	if a.doomed || !a.hold() {
		return 0, kvbase.ErrConflict
	}
	if err := e.sessions.Check(b.Fences); err != nil {
		return 0, err
	}
	n := e.issued.Load() + 1
	e.issued.Store(n)
	for _, w := range b.Writes {
		h := e.slots.hash(w.Key)
		e.slots.raise(e.slots.keySlot(h), n)
		e.slots.raise(e.slots.prefixSlot(w.Key), n)
		e.rows.refresh(h, w.Key, w.Value, n)
	}
	var err error
	if e.noSync {
		err = e.db.Apply(pb, pebble.NoSync)
	} else {
		err = e.db.ApplyNoSyncWait(pb, pebble.Sync)
	}
	if err != nil {
		e.fail(fmt.Errorf("pebblekv: apply: %w", err))
		return 0, kv.ErrUnknownOutcome
	}
	e.committed.Store(n)
	return n, nil
}

func (a *attempt) Abort() {
	if a.pin != nil && !a.pin.done {
		a.pin.done = true
		a.e.release(a.pin.snap)
	}
}
