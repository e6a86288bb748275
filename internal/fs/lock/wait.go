package lock

import (
	"context"
	"slices"

	"manifold/internal/fs"
)

// ownerKey tells owners apart in the graph of who waits for whom.
type ownerKey struct {
	client, owner string
	space         fs.LockSpace
	handle        uint64
}

func (h *held) key() ownerKey {
	return ownerKey{h.owner.Client, h.owner.Owner, h.space, h.handle}
}

// waiter implements [fs.Waiter].
type waiter struct {
	t        *Table
	f        *file
	want     held
	granted  chan struct{}
	canceled chan struct{}
	done     bool // left the queue; under the shard's mu
}

// Granted implements [fs.Waiter].
func (w *waiter) Granted() <-chan struct{} { return w.granted }

// Canceled implements [fs.Waiter].
func (w *waiter) Canceled() <-chan struct{} { return w.canceled }

// Cancel implements [fs.Waiter].
func (w *waiter) Cancel() bool {
	t := w.t
	t.world.RLock()
	defer t.world.RUnlock()
	s := t.shard(w.f.node)
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.done {
		select {
		case <-w.granted:
			return false
		default:
			return true
		}
	}
	t.leave(w)
	close(w.canceled)
	t.wake(w.f) // those behind it
	s.tidy(w.f)
	return true
}

// LockWait implements [fs.Locks].
func (t *Table) LockWait(_ context.Context, _ *fs.Caller, r *fs.LockRequest) (fs.Waiter, error) {
	want, err := request("lock", r)
	if err != nil {
		return nil, err
	}
	if err := t.admit("lock", r); err != nil {
		return nil, err
	}
	if done, err := t.tryNow(r.Node, &want); done || err != nil {
		return nil, err
	}
	// It looks like waiting: look at all files at rest.
	t.world.Lock()
	defer t.world.Unlock()
	s := t.shard(r.Node)
	f := s.file(r.Node)
	defer s.tidy(f)
	if err := t.room("lock", r.Node); err != nil {
		return nil, err
	}
	w := &waiter{t: t, f: f, want: want, granted: make(chan struct{}), canceled: make(chan struct{})}
	free := f.blocker(&want, t.strict.Load()) == nil
	switch {
	case free && (!t.queuedFor(f, &want) || f.owns(&want) || t.endless(w)):
		// Waiting behind others is a courtesy; it must not lock anybody up.
		t.grant(f, &want)
		t.wake(f)
		return nil, nil
	case t.endless(w):
		return nil, fs.E("lock", r.Node, "", fs.Deadlock, nil)
	}
	f.queue = append(f.queue, w)
	t.count.Add(1)
	t.waits.Lock()
	k := want.key()
	t.waits.of[k] = append(t.waits.of[k], w)
	t.waits.Unlock()
	return w, nil
}

// tryNow grants the lock if nobody holds or waits for anything in the way.
func (t *Table) tryNow(n fs.Node, want *held) (bool, error) {
	t.world.RLock()
	defer t.world.RUnlock()
	s := t.shard(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file(n)
	defer s.tidy(f)
	if f.blocker(want, t.strict.Load()) != nil || t.queuedFor(f, want) {
		return false, nil
	}
	if err := t.room("lock", n); err != nil {
		return false, err
	}
	t.grant(f, want)
	t.wake(f)
	return true, nil
}

// queuedFor tells whether want should wait behind others. SMB knows no such
// courtesy: there a request fails or succeeds by what is held.
func (t *Table) queuedFor(f *file, want *held) bool {
	return want.space == fs.LockPOSIX && f.ahead(want, t.strict.Load(), len(f.queue)) != nil
}

// ahead answers a waiter of another owner among the first n of the queue that
// would be in the way of want if it were granted.
func (f *file) ahead(want *held, strict bool, n int) *waiter {
	for _, w := range f.queue[:n] {
		if w.want.blocks(want, strict) && !w.want.same(want) {
			return w
		}
	}
	return nil
}

// owns tells whether the owner of want holds anything in the same stream.
func (f *file) owns(want *held) bool {
	return slices.ContainsFunc(f.held, func(h held) bool { return h.stream == want.stream && h.same(want) })
}

// endless tells whether w, if it waited, would wait for itself. Only POSIX
// owners do: an SMB handle that waits can still unlock. The caller holds world
// for writing.
func (t *Table) endless(w *waiter) bool {
	if w.want.space != fs.LockPOSIX {
		return false
	}
	self := w.want.key()
	seen := map[ownerKey]bool{}
	todo := t.waitsFor(nil, w, len(w.f.queue))
	for len(todo) > 0 {
		k := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if k == self {
			return true
		}
		if seen[k] {
			continue
		}
		seen[k] = true
		for _, next := range t.waits.of[k] {
			todo = t.waitsFor(todo, next, slices.Index(next.f.queue, next))
		}
	}
	return false
}

// waitsFor adds the owners that w, at place n of the queue, waits for.
func (t *Table) waitsFor(ks []ownerKey, w *waiter, n int) []ownerKey {
	for i := range w.f.held {
		if h := &w.f.held[i]; h.blocks(&w.want, t.strict.Load()) {
			ks = append(ks, h.key())
		}
	}
	for _, q := range w.f.queue[:n] {
		if q.want.blocks(&w.want, t.strict.Load()) && !q.want.same(&w.want) {
			ks = append(ks, q.want.key())
		}
	}
	return ks
}

// wake grants waiters of f that nothing blocks any more, in order. One may
// replace its owner's stronger lock and so let an earlier one in: repeat.
func (t *Table) wake(f *file) {
	for again := true; again; {
		again = false
		for i := 0; i < len(f.queue); {
			w := f.queue[i]
			if f.blocker(&w.want, t.strict.Load()) != nil || f.ahead(&w.want, t.strict.Load(), i) != nil {
				i++
				continue
			}
			t.leave(w)
			t.grant(f, &w.want)
			close(w.granted)
			again = true
		}
	}
}

// leave takes w out of the queue and the graph.
func (t *Table) leave(w *waiter) {
	w.done = true
	t.count.Add(-1)
	if i := slices.Index(w.f.queue, w); i >= 0 {
		w.f.queue = slices.Delete(w.f.queue, i, i+1)
	}
	k := w.want.key()
	t.waits.Lock()
	defer t.waits.Unlock()
	ws := t.waits.of[k]
	if i := slices.Index(ws, w); i >= 0 {
		ws = slices.Delete(ws, i, i+1)
	}
	if len(ws) == 0 {
		delete(t.waits.of, k)
	} else {
		t.waits.of[k] = ws
	}
}
