// Package memkv is the model of the key store and its fake: an engine in
// memory that is simple enough to be believed.
//
// Invariants:
//   - The state is one immutable tree; a snapshot is its root.
//   - An Update validates exactly what it read: the revision of every key and
//     the contents of every range up to where its scan stopped.
//   - Durability can be held back with HoldSync: a commit is then seen by
//     others but neither it nor those who saw it return, and Crash forgets it.
//
// The package must not know what the keys mean.
package memkv

import (
	"context"
	"iter"
	"sync"
	"time"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// Options shape an Engine. The zero value works.
type Options struct {
	// Now is the clock for the age limits; nil means time.Now.
	Now func() time.Time
}

// state is what a commit makes and a crash keeps.
type state struct {
	root *node
	rev  kv.Rev
	ids  uint64 // the last session id given out
}

// Engine implements kv.Engine in memory.
type Engine struct {
	now      func() time.Time
	runner   kvbase.Runner
	gate     *kvbase.Gate
	sessions kvbase.Sessions
	hub      kvbase.Hub

	mu      sync.Mutex
	cur     state         // what transactions see
	synced  state         // what a crash keeps
	held    bool          // commits do not become durable
	changed chan struct{} // closed when synced or dead changes
	dead    bool          // crashed
}

var _ kv.Engine = (*Engine)(nil)

// New returns an empty store.
func New() *Engine { return NewWith(Options{}) }

// NewWith returns an empty store with options.
func NewWith(o Options) *Engine { return open(o, state{}) }

func open(o Options, s state) *Engine {
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Engine{now: o.Now, gate: kvbase.NewGate(), cur: s, synced: s, changed: make(chan struct{})}
	e.sessions.Commit = &e.mu
	e.runner = kvbase.Runner{Limits: kv.DefaultLimits, Now: o.Now, Begin: e.begin}
	return e
}

// HoldSync makes later commits visible but not durable until ReleaseSync.
func (e *Engine) HoldSync() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = true
}

// ReleaseSync makes all commits durable and lets those that wait return.
func (e *Engine) ReleaseSync() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = false
	e.sync()
}

// sync makes the current state durable; e.mu is held.
func (e *Engine) sync() {
	if !e.dead {
		e.synced = e.cur
		e.wake()
	}
}

func (e *Engine) wake() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// Rev returns the revision of the last commit, durable or not.
func (e *Engine) Rev() kv.Rev {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cur.rev
}

// Clone returns a new engine as a restart after a power cut at this moment
// would find it: without the commits that are not durable, without sessions.
func (e *Engine) Clone() *Engine {
	e.mu.Lock()
	defer e.mu.Unlock()
	return open(Options{Now: e.now}, e.synced)
}

// Crash is Clone and the end of e: whatever waits for durability and
// everything later fails with ErrUnavailable; nothing later reaches the clone.
func (e *Engine) Crash() *Engine {
	c := e.Clone()
	e.mu.Lock()
	e.dead = true
	e.wake()
	e.mu.Unlock()
	e.sessions.EndAll()
	return c
}

// waitSync waits until the commits up to rev are durable.
func (e *Engine) waitSync(ctx context.Context, rev kv.Rev, lost error) error {
	for {
		e.mu.Lock()
		ok, dead, ch := e.synced.rev >= rev, e.dead, e.changed
		e.mu.Unlock()
		switch {
		case ok:
			return nil
		case dead:
			return lost
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (e *Engine) current() (state, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dead {
		return state{}, kv.ErrUnavailable
	}
	return e.cur, nil
}

// View implements kv.Engine.
func (e *Engine) View(ctx context.Context, _ kv.Freshness, fn func(kv.Reader) error) error {
	if !e.gate.Enter() {
		return kv.ErrClosed
	}
	defer e.gate.Leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := e.current()
	if err != nil {
		return err
	}
	r := &reader{root: s.root, now: e.now, start: e.now()}
	err = func() error {
		defer func() { r.done = true }()
		return fn(r)
	}()
	if werr := e.waitSync(ctx, s.rev, kv.ErrUnavailable); werr != nil {
		return werr
	}
	return err
}

// Update implements kv.Engine.
func (e *Engine) Update(ctx context.Context, fn func(kv.Txn) error) (kv.Rev, error) {
	if !e.gate.Enter() {
		return 0, kv.ErrClosed
	}
	defer e.gate.Leave()
	return e.runner.Update(ctx, fn)
}

// Watch implements kv.Engine.
func (e *Engine) Watch(ctx context.Context, r kv.Range) (<-chan kv.Batch, error) {
	return e.hub.Watch(ctx, r)
}

// NewSession implements kv.Engine.
func (e *Engine) NewSession(ctx context.Context, ttl time.Duration, info []byte) (kv.Session, error) {
	if !e.gate.Enter() {
		return nil, kv.ErrClosed
	}
	defer e.gate.Leave()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dead {
		return nil, kv.ErrUnavailable
	}
	// Ids outlive a crash at once: nobody may meet one twice.
	e.cur.ids++
	e.synced.ids = e.cur.ids
	return e.sessions.Add(e.cur.ids, ttl, info), nil
}

// Sessions implements kv.Engine.
func (e *Engine) Sessions(context.Context) ([]kv.SessionInfo, error) {
	if !e.gate.Enter() {
		return nil, kv.ErrClosed
	}
	defer e.gate.Leave()
	return e.sessions.List(), nil
}

// EndSession implements kv.Engine.
func (e *Engine) EndSession(_ context.Context, id uint64) error {
	if !e.gate.Enter() {
		return kv.ErrClosed
	}
	defer e.gate.Leave()
	e.sessions.End(id)
	return nil
}

// Limits implements kv.Engine.
func (e *Engine) Limits() kv.Limits { return kv.DefaultLimits }

// Close implements kv.Engine.
func (e *Engine) Close() error {
	e.gate.Shut()
	e.sessions.EndAll()
	e.hub.Close()
	return nil
}

// reader reads one root.
type reader struct {
	root  *node
	now   func() time.Time
	start time.Time
	done  bool
}

func (r *reader) check() error {
	if r.done {
		return kvbase.ErrDone
	}
	if r.now().Sub(r.start) > kv.DefaultLimits.MaxSnapshotAge {
		return kv.ErrSnapshotTooOld
	}
	return nil
}

func (r *reader) Get(_ context.Context, key []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if err := kvbase.CheckKey(key); err != nil {
		return nil, err
	}
	if n := r.root.get(key); n != nil {
		return n.val, nil
	}
	return nil, kv.ErrNotFound
}

func (r *reader) GetMany(ctx context.Context, keys [][]byte) ([][]byte, error) {
	out := make([][]byte, len(keys))
	for i, k := range keys {
		v, err := r.Get(ctx, k)
		if err != nil && err != kv.ErrNotFound {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (r *reader) Scan(ctx context.Context, rg kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		left := o.Limit
		stopped := false
		var failed error
		if failed = r.check(); failed == nil {
			r.root.walk(rg, o.Reverse, func(n *node) bool {
				if failed = r.check(); failed == nil {
					failed = ctx.Err()
				}
				if failed != nil {
					return false
				}
				x := kv.KV{Key: n.key}
				if !o.KeysOnly {
					x.Value = n.val
				}
				stopped = !yield(x, nil)
				left--
				return !stopped && left != 0
			})
		}
		if failed != nil && !stopped {
			yield(kv.KV{}, failed)
		}
	}
}
