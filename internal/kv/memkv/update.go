package memkv

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// attempt is one try of an Update: a snapshot and what was read of it.
type attempt struct {
	e      *Engine
	s      state
	r      reader
	keys   [][]byte
	ranges []kv.Range
	turn   *kvbase.Ticket
}

func (e *Engine) begin(_ context.Context, _ int, own *kvbase.Ticket) (kvbase.Attempt, error) {
	s, err := e.current()
	if err != nil {
		return nil, err
	}
	return &attempt{e: e, turn: own, s: s, r: reader{root: s.root, now: e.now, start: e.now()}}, nil
}

func (a *attempt) Get(ctx context.Context, key []byte) ([]byte, error) {
	a.keys = append(a.keys, bytes.Clone(key))
	return a.r.Get(ctx, key)
}

func (a *attempt) GetMany(ctx context.Context, keys [][]byte) ([][]byte, error) {
	for _, k := range keys {
		a.keys = append(a.keys, bytes.Clone(k))
	}
	return a.r.GetMany(ctx, keys)
}

// Scan puts into the read set what the scan has passed, not what it might have.
func (a *attempt) Scan(ctx context.Context, r kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		passed := kv.Range{Start: bytes.Clone(r.Start), End: bytes.Clone(r.End)}
		a.ranges = append(a.ranges, passed)
		i := len(a.ranges) - 1
		n, stopped := 0, false
		var last []byte
		for x, err := range a.r.Scan(ctx, r, o) {
			n++
			last = append(last[:0], x.Key...)
			if !yield(x, err) {
				stopped = true
				break
			}
			if err != nil {
				return
			}
		}
		p := &a.ranges[i]
		if stopped || o.Limit > 0 && n == o.Limit {
			if o.Reverse {
				p.Start = bytes.Clone(last)
			} else {
				p.End = append(bytes.Clone(last), 0)
			}
		}
	}
}

func (a *attempt) Guard(r kv.Range) {
	a.ranges = append(a.ranges, kv.Range{Start: bytes.Clone(r.Start), End: bytes.Clone(r.End)})
}

func (a *attempt) Unvalidated() kv.Reader { return &a.r }

// valid tells whether all that was read still holds in the tree.
func (a *attempt) valid(root *node) bool {
	if root == a.s.root {
		return true
	}
	for _, k := range a.keys {
		x, y := a.s.root.get(k), root.get(k)
		if (x == nil) != (y == nil) || x != nil && x.rev != y.rev {
			return false
		}
	}
	for _, r := range a.ranges {
		if !sameIn(a.s.root, root, r) {
			return false
		}
	}
	return true
}

func (a *attempt) Commit(ctx context.Context, b *kvbase.Buffer) (kv.Rev, error) {
	e := a.e
	rev, err := a.apply(b)
	if err != nil {
		return 0, err
	}
	if err := e.waitSync(ctx, rev, kv.ErrUnknownOutcome); err != nil {
		return 0, unknown(err)
	}
	e.hub.Publish(rev, b.Writes)
	return rev, nil
}

// unknown says that a commit that was applied may or may not last.
func unknown(err error) error {
	if err == kv.ErrUnknownOutcome {
		return err
	}
	return fmt.Errorf("%w: %w", kv.ErrUnknownOutcome, err)
}

func (a *attempt) apply(b *kvbase.Buffer) (kv.Rev, error) {
	e := a.e
	e.runner.Turn.Yield(a.turn)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dead {
		return 0, kv.ErrUnavailable
	}
	if !a.valid(e.cur.root) {
		return 0, kvbase.ErrConflict
	}
	if err := e.sessions.Check(b.Fences); err != nil {
		return 0, err
	}
	if len(b.Writes) == 0 {
		return e.cur.rev, nil
	}
	rev := e.cur.rev + 1
	root := e.cur.root
	for _, w := range b.Writes {
		if w.Value == nil {
			root = root.del(w.Key)
		} else {
			root = root.put(&node{key: w.Key, val: w.Value, rev: rev, pri: priority(w.Key)})
		}
	}
	e.cur.root, e.cur.rev = root, rev
	if !e.held {
		e.sync()
	}
	return rev, nil
}

// Validate has nothing to compare: the reads are of one snapshot, and the
// transaction is placed there.
func (a *attempt) Validate(ctx context.Context) (kv.Rev, error) {
	if err := a.e.waitSync(ctx, a.s.rev, kv.ErrUnavailable); err != nil {
		return 0, err
	}
	return a.s.rev, nil
}

func (a *attempt) Abort() { a.r.done = true }
