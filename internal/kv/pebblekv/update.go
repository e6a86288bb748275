package pebblekv

import (
	"context"
	"fmt"
	"iter"
	"time"

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
	// fixed: there were unvalidated reads, so that start must stay: nothing
	// tells whether they are true of another state.
	fixed bool
	// pin is a snapshot that all reads come from, once there is one: for scans
	// across prefixes, and for Updates that failed because of fixed.
	pin     *reader
	pinning bool // make pin for the first unvalidated read
	doomed  bool // a conflict that no read has reported yet
	turn    *kvbase.Ticket
	first   [24]uint32
}

// pinAfter is how many attempts may fail before unvalidated reads get a
// snapshot, which costs more and cannot fail.
const pinAfter = 3

func (e *Engine) begin(_ context.Context, n int, own *kvbase.Ticket) (kvbase.Attempt, error) {
	if p := e.failure.Load(); p != nil {
		return nil, fmt.Errorf("%w: %w", kv.ErrUnavailable, *p)
	}
	a := &attempt{e: e, start: e.committed.Load(), pinning: n >= pinAfter, turn: own}
	a.reads = a.first[:0]
	return a, nil
}

// slowSync is how long a sync may take before an operator is told.
const slowSync = 2 * time.Second

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
	if a.fixed {
		return kvbase.ErrConflict
	}
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

// add notes a read that was proven to be of the start.
func (a *attempt) add(i uint32, slot uint64, validate bool) {
	if validate {
		a.reads = append(a.reads, i)
	} else {
		a.fixed = true
	}
	a.seen = max(a.seen, slot)
}

func (a *attempt) Get(_ context.Context, key []byte) ([]byte, error) {
	return a.get(key, true)
}

// get reads key as of the start, and puts it in the read set if it is to be
// validated.
func (a *attempt) get(key []byte, validate bool) ([]byte, error) {
	if a.doomed {
		return nil, kvbase.ErrConflict
	}
	e := a.e
	h := e.slots.hash(key)
	i := e.slots.keySlot(h)
	if a.pin != nil {
		if validate {
			a.reads = append(a.reads, i)
		}
		return a.pin.get(key)
	}
	for {
		slot := e.slots.load(i)
		if slot <= a.start {
			v, ver, ok := e.rows.get(h, key, a.start)
			if !ok {
				var err error
				if v, err = fetch(e.db, key); err != nil && err != kv.ErrNotFound {
					return nil, err
				}
				if slot = e.slots.load(i); slot <= a.start {
					e.rows.put(h, key, v, slot, &e.slots.n[i])
					ver, ok = slot, true
				}
			}
			if ok {
				a.add(i, ver, validate)
				if v == nil {
					return nil, kv.ErrNotFound
				}
				return v, nil
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

func (a *attempt) Scan(ctx context.Context, r kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) { a.scan(ctx, r, o, true, yield) }
}

// scan needs one look at the slot, after the iterator was made: an iterator
// sees the state of its making.
func (a *attempt) scan(ctx context.Context, r kv.Range, o kv.ScanOptions, validate bool, yield func(kv.KV, error) bool) {
	if a.doomed {
		yield(kv.KV{}, kvbase.ErrConflict)
		return
	}
	i := a.e.slots.prefixSlot(r.Start)
	if a.pin != nil {
		if validate {
			a.reads = append(a.reads, i)
		}
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
			a.add(i, slot, validate)
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

// Guard needs no look: only the commit checks it.
func (a *attempt) Guard(r kv.Range) {
	a.reads = append(a.reads, a.e.slots.prefixSlot(r.Start))
}

// Unvalidated implements kvbase.Attempt.
func (a *attempt) Unvalidated() kv.Reader {
	if a.pinning {
		a.pinNow()
	}
	return (*unvalidated)(a)
}

// pinNow ties the attempt to a snapshot. Reads made before are of it too if
// none of them changed until after it was taken.
func (a *attempt) pinNow() {
	if a.pin != nil || a.doomed {
		return
	}
	a.pin = &reader{e: a.e, snap: a.e.acquire(), start: a.e.now()}
	// Of unvalidated reads nothing is known but that they are of the start.
	if a.hold() && (!a.fixed || a.pin.snap.high == a.start) {
		a.start = a.pin.snap.low
	} else {
		a.doomed = true
	}
}

// unvalidated reads as the attempt does, without the read set.
type unvalidated attempt

func (u *unvalidated) Get(_ context.Context, key []byte) ([]byte, error) {
	return (*attempt)(u).get(key, false)
}

func (u *unvalidated) GetMany(_ context.Context, keys [][]byte) ([][]byte, error) {
	out := make([][]byte, len(keys))
	for i, k := range keys {
		v, err := (*attempt)(u).get(k, false)
		if err != nil && err != kv.ErrNotFound {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (u *unvalidated) Scan(ctx context.Context, r kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		a := (*attempt)(u)
		if !r.WithinPrefix() {
			a.pinNow()
		}
		a.scan(ctx, r, o, false, yield)
	}
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
		switch {
		case w.Value != nil:
			err = pb.Set(w.Key, w.Value, nil)
		case w.Once:
			err = pb.SingleDelete(w.Key, nil)
		default:
			err = pb.Delete(w.Key, nil)
		}
		if err != nil {
			return 0, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		}
	}
	mark := pb.SetDeferred(len(markKey), markBytes) // its value is known in apply
	copy(mark.Key, markKey)
	e.syncing.Add(1)
	n, err := a.apply(pb, b, mark.Value)
	if err != nil {
		e.syncing.Add(-1)
		return 0, err
	}
	e.runner.Turn.Give(a.turn) // the others need not wait for the sync
	if e.noSync {
		e.syncing.Add(-1)
	} else {
		start := time.Now()
		err := e.wal.sync(n)
		e.syncing.Add(-1)
		if err != nil {
			e.fail(fmt.Errorf("pebblekv: write-ahead log: %w", err))
			return 0, kv.ErrUnknownOutcome
		}
		if d := time.Since(start); d > slowSync {
			e.log.Warn("the disk is slow to sync the key store's log", "duration", d)
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

// batchHeader is the length of what precedes the changes in one of Pebble's
// batches.
const batchHeader = 12

// apply validates and makes the writes visible, in that order, under the lock.
// mark is the value that the last change of pb sets the mark to.
func (a *attempt) apply(pb *pebble.Batch, b *kvbase.Buffer, mark []byte) (uint64, error) {
	e := a.e
	e.runner.Turn.Yield(a.turn)
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
		e.rows.write(h, w.Key, w.Value, n)
	}
	segment := uint64(0)
	if !e.noSync {
		segment = e.wal.add(n, pb.Repr()[batchHeader:pb.Len()-markChange])
	}
	putMark(mark, n, segment)
	if err := e.db.Apply(pb, pebble.NoSync); err != nil {
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
