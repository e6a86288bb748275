// Package errfs spoils a file system: a decorator of the contract that fails or
// delays chosen calls, and a collection of bugs that a suite must notice.
//
// Invariants: without hooks it changes nothing. An error of a hook reaches the
// caller as the contract wants it, as an *fs.Error of the kind it has.
//
// The package must not know any implementation.
package errfs

import (
	"context"
	"errors"
	"sync"

	"manifold/internal/fs"
)

// Call is one call of the contract. Op is the method's name, of handles with
// the prefix "Handle.".
type Call struct {
	Op   string
	Node fs.Node // the object or directory, zero if none
	Name string
}

// Options of New. Hooks are called from many goroutines, and may block: that
// delays the call.
type Options struct {
	// Before may fail a call that has not been made.
	Before func(ctx context.Context, c Call) error
	// After gets the outcome and says what the caller is told. An error in
	// place of nil leaves the caller in doubt: what was asked for is done.
	After func(ctx context.Context, c Call, err error) error
}

// FS decorates a file system.
type FS struct {
	fs.FS
	o Options
}

var _ fs.FS = (*FS)(nil)

// New decorates f.
func New(f fs.FS, o Options) *FS { return &FS{f, o} }

// Crash passes a crash on, if the decorated file system knows how to.
func (f *FS) Crash() {
	if c, ok := f.FS.(interface{ Crash() }); ok {
		c.Crash()
	}
}

// FailOn answers a Before hook that fails the nth call of op from now, counted
// from 1, and no other.
func FailOn(op string, n int, err error) func(context.Context, Call) error {
	var mu sync.Mutex
	return func(_ context.Context, c Call) error {
		mu.Lock()
		defer mu.Unlock()
		if c.Op != op {
			return nil
		}
		if n--; n == 0 {
			return err
		}
		return nil
	}
}

// Gate holds calls of one method until it is opened.
type Gate struct {
	op      string
	arrived chan Call
	open    chan struct{}
	once    sync.Once
}

// NewGate makes a closed gate for calls of op.
func NewGate(op string) *Gate {
	return &Gate{op: op, arrived: make(chan Call, 1024), open: make(chan struct{})}
}

// Before is a hook for Options.
func (g *Gate) Before(ctx context.Context, c Call) error {
	if c.Op != g.op {
		return nil
	}
	select {
	case g.arrived <- c:
	default: // nobody counts that many
	}
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return errors.Join(fs.Canceled, ctx.Err())
	}
}

// Arrived tells of each call that came to the gate.
func (g *Gate) Arrived() <-chan Call { return g.arrived }

// Open lets all calls pass, those to come too.
func (g *Gate) Open() { g.once.Do(func() { close(g.open) }) }

// contract makes err one of the contract.
func contract(c Call, err error) error {
	var known *fs.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	k := fs.KindOf(err)
	if err == error(k) {
		return fs.E(c.Op, c.Node, c.Name, k, nil)
	}
	return fs.E(c.Op, c.Node, c.Name, k, err)
}

func (f *FS) begin(ctx context.Context, c Call) error {
	if f.o.Before == nil {
		return nil
	}
	return contract(c, f.o.Before(ctx, c))
}

func (f *FS) end(ctx context.Context, c Call, err error) error {
	if f.o.After == nil {
		return err
	}
	return contract(c, f.o.After(ctx, c, err))
}

// run makes a call between its hooks.
func run[T any](ctx context.Context, f *FS, op string, n fs.Node, name string, call func() (T, error)) (T, error) {
	var none T
	c := Call{op, n, name}
	if err := f.begin(ctx, c); err != nil {
		return none, err
	}
	v, err := call()
	if err = f.end(ctx, c, err); err != nil {
		return v, err
	}
	return v, nil
}

// act is run of a call that answers only an error.
func act(ctx context.Context, f *FS, op string, n fs.Node, name string, call func() error) error {
	_, err := run(ctx, f, op, n, name, func() (struct{}, error) { return struct{}{}, call() })
	return err
}
