package core

import (
	"context"
	"errors"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// SetBreaker registers who knows what clients cache. It is called before the
// file system is served; nil takes it out.
func (f *FS) SetBreaker(b fs.Breaker) {
	if b == nil {
		f.breaker.Store(nil)
		return
	}
	f.breaker.Store(&b)
}

func nothing() {}

// allowed is the may of what was checked when a handle was opened.
func allowed() error { return nil }

// breach waits until nobody caches what is about to become false. Unless it
// fails, end must be called when that has happened. It is called without locks:
// what clients give up they write first. may is what the operation checks before
// it does anything, asked only if a client would have to give something up.
func (f *FS) breach(ctx context.Context, c *fs.Caller, n fs.Node, sid fs.StreamID, b fs.Breach, may func() error) (end func(), err error) {
	p := f.breaker.Load()
	if p == nil || !n.Live() {
		return nothing, nil
	}
	end, err = (*p).Break(ctx, c, n, sid, b, may)
	if err != nil {
		return nil, err
	}
	if end == nil {
		end = nothing
	}
	return end, nil
}

// breachName is breach for what a name stands for, if it stands for anything.
func (f *FS) breachName(ctx context.Context, c *fs.Caller, dir fs.Node, name string, may func() error) (end func(), err error) {
	p := f.breaker.Load()
	if p == nil || !dir.Live() || !(*p).Caching() {
		return nothing, nil
	}
	a, err := f.lookup(ctx, fs.SystemCaller(), dir, name)
	if err != nil {
		return nothing, nil // the operation says so itself
	}
	return f.breach(ctx, c, a.Node, 0, fs.BreachName, may)
}

// errTried ends a transaction that was only tried.
var errTried = errors.New("core: only tried")

// would runs the transaction of an operation without its commit, so that what it
// refuses is known before anything else is done for it.
func (f *FS) would(ctx context.Context, fn func(tx *meta.Txn) error) error {
	err := f.db.Update(ctx, func(tx *meta.Txn) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errTried
	})
	if errors.Is(err, errTried) {
		return nil
	}
	return err
}

// mayAt is the may of what is checked on the object alone.
func (f *FS) mayAt(ctx context.Context, n fs.Node, check func(r *meta.Reader, i *meta.Inode) error) func() error {
	return func() error { return f.load(ctx, n, check) }
}
