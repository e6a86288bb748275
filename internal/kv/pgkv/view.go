package pgkv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// reader is the Reader of a View. Its first statement may be repeated on
// another connection, as nothing was seen yet; later a lost connection or a
// conflict ends the View.
type reader struct {
	e      *Engine
	t      tx
	start  time.Time
	served bool // a statement succeeded
	done   bool
}

// View implements kv.Engine. Every snapshot is the newest of the primary, so
// that every Freshness is met.
func (e *Engine) View(ctx context.Context, _ kv.Freshness, fn func(kv.Reader) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.gate.Leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := e.acquire(ctx)
	if err != nil {
		return err
	}
	r := &reader{e: e, t: tx{e: e, c: c, begin: beginView}, start: e.o.Now()}
	defer func() { r.t.release(ctx) }()
	err = func() error {
		defer func() { r.done = true }()
		return fn(r)
	}()
	// The database may find only now that this snapshot fits in no serial
	// order.
	if r.t.c != nil && !r.t.c.Conn().IsClosed() && !r.failed(err) {
		if cerr := r.t.commit(ctx); cerr != nil {
			return r.translate(cerr)
		}
	}
	return err
}

// failed tells whether the function returned an error of the engine, after
// which there is nothing to commit.
func (r *reader) failed(err error) bool {
	return errors.Is(err, kv.ErrSnapshotTooOld) || errors.Is(err, kv.ErrUnavailable)
}

func (r *reader) check() error {
	if r.done {
		return kvbase.ErrDone
	}
	if r.e.o.Now().Sub(r.start) > kv.DefaultLimits.MaxSnapshotAge {
		return kv.ErrSnapshotTooOld
	}
	return nil
}

// translate makes an error of a View: a conflict means to run it again.
func (r *reader) translate(err error) error {
	switch {
	case errors.Is(err, kvbase.ErrConflict):
		return fmt.Errorf("%w: no serial order has it", kv.ErrSnapshotTooOld)
	case errors.Is(err, errBroken):
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
	}
	return err
}

// try runs a statement, the first one again on another connection if need be.
func (r *reader) try(ctx context.Context, stmt func() error) error {
	if err := r.check(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		err := stmt()
		if err == nil || errors.Is(err, kv.ErrNotFound) {
			r.served = true
			return err
		}
		again := errors.Is(err, kvbase.ErrConflict) || errors.Is(err, errBroken)
		if r.served || !again {
			return r.translate(err)
		}
		r.t.release(ctx)
		if err := kvbase.Backoff(ctx, n); err != nil {
			return err
		}
		c, err := r.e.acquire(ctx)
		if err != nil {
			return err
		}
		r.t = tx{e: r.e, c: c, begin: beginView}
	}
}

func (r *reader) Get(ctx context.Context, key []byte) (v []byte, err error) {
	if err := kvbase.CheckKey(key); err != nil {
		return nil, err
	}
	err = r.try(ctx, func() error { v, err = r.t.get(ctx, key); return err })
	return v, err
}

func (r *reader) GetMany(ctx context.Context, keys [][]byte) (vs [][]byte, err error) {
	for _, k := range keys {
		if err := kvbase.CheckKey(k); err != nil {
			return nil, err
		}
	}
	err = r.try(ctx, func() error { vs, err = r.t.getMany(ctx, keys); return err })
	return vs, err
}

func (r *reader) Scan(ctx context.Context, rg kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		if !r.served {
			// Settle the snapshot first, so that the scan need not start over.
			if err := r.try(ctx, func() error { _, err := r.t.getMany(ctx, nil); return err }); err != nil {
				yield(kv.KV{}, err)
				return
			}
		}
		for x, err := range r.t.scan(ctx, rg, o, r.check) {
			if err != nil {
				err = r.translate(err)
			}
			if !yield(x, err) {
				return
			}
		}
	}
}
