package core

import (
	"context"

	"manifold/internal/fs"
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

// breach waits until nobody caches what is about to become false. Unless it
// fails, end must be called when that has happened. It is called without locks:
// what clients give up they write first.
func (f *FS) breach(ctx context.Context, c *fs.Caller, n fs.Node, sid fs.StreamID, b fs.Breach) (end func(), err error) {
	p := f.breaker.Load()
	if p == nil || !n.Live() {
		return nothing, nil
	}
	end, err = (*p).Break(ctx, c, n, sid, b)
	if err != nil {
		return nil, err
	}
	if end == nil {
		end = nothing
	}
	return end, nil
}

// breachName is breach for what a name stands for, if it stands for anything.
func (f *FS) breachName(ctx context.Context, c *fs.Caller, dir fs.Node, name string) (end func(), err error) {
	p := f.breaker.Load()
	if p == nil || !dir.Live() || !(*p).Caching() {
		return nothing, nil
	}
	a, err := f.lookup(ctx, fs.SystemCaller(), dir, name)
	if err != nil {
		return nothing, nil // the operation says so itself
	}
	return f.breach(ctx, c, a.Node, 0, fs.BreachName)
}
