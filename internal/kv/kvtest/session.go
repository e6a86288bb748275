package kvtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"manifold/internal/kv"
)

func newSession(t *testing.T, e kv.Engine, info string) kv.Session {
	t.Helper()
	s, err := e.NewSession(ctxOf(t), time.Minute, []byte(info))
	if err != nil {
		t.Fatalf("NewSession: %v", err)
	}
	return s
}

// fenced puts k in a transaction that is fenced by s.
func fenced(t *testing.T, e kv.Engine, s kv.Session, k []byte) error {
	t.Helper()
	_, err := e.Update(ctxOf(t), func(x kv.Txn) error {
		x.Fence(s)
		x.Put(k, []byte("fenced"))
		return nil
	})
	return err
}

func wait(t *testing.T, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-ctxOf(t).Done():
		t.Fatalf("%s did not happen", what)
	}
}

func testSessions(t *testing.T, e kv.Engine) {
	one, two := newSession(t, e, "one"), newSession(t, e, "two")
	if one.ID() == two.ID() {
		t.Fatalf("two sessions have the id %d", one.ID())
	}
	list, err := e.Sessions(ctxOf(t))
	if err != nil {
		t.Fatal(err)
	}
	for s, info := range map[kv.Session]string{one: "one", two: "two"} {
		if !slices.ContainsFunc(list, func(i kv.SessionInfo) bool { return i.ID == s.ID() && string(i.Info) == info }) {
			t.Errorf("session %s is not in the list %v", info, list)
		}
		if left, ok := s.Valid(); !ok || left <= 0 || left > time.Minute {
			t.Errorf("a new session: valid for %v, %v", left, ok)
		}
	}
	a := key(1, "a")
	if err := fenced(t, e, one, a); err != nil {
		t.Errorf("a valid fence: %v", err)
	}
	if err := e.EndSession(ctxOf(t), one.ID()); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "the fence of an ended session", fenced(t, e, one, key(1, "b")), kv.ErrFenced)
	equal(t, "write behind the fence", viewGet(t, e, key(1, "b")), "-")
	_, err = e.Update(ctxOf(t), func(x kv.Txn) error { x.Fence(one); return nil })
	wantErr(t, "the fence of an ended session without writes", err, kv.ErrFenced)
	wait(t, "the loss of an ended session", one.Lost())
	if _, ok := one.Valid(); ok {
		t.Error("an ended session is valid")
	}
	if err := fenced(t, e, two, a); err != nil {
		t.Errorf("the other session: %v", err)
	}
	// A session that ends while the transaction runs.
	runs := 0
	_, err = e.Update(ctxOf(t), func(x kv.Txn) error {
		if runs++; runs == 1 {
			if err := two.Close(ctxOf(t)); err != nil {
				t.Error(err)
			}
		}
		x.Fence(two)
		x.Put(key(1, "c"), nil)
		return nil
	})
	wantErr(t, "a session that ended meanwhile", err, kv.ErrFenced)
	wait(t, "the loss of a closed session", two.Lost())
	for range 2 {
		if err := two.Close(ctxOf(t)); err != nil {
			t.Errorf("Close again: %v", err)
		}
		if err := e.EndSession(ctxOf(t), two.ID()); err != nil {
			t.Errorf("EndSession again: %v", err)
		}
	}
	three := newSession(t, e, "three")
	if three.ID() == one.ID() || three.ID() == two.ID() {
		t.Error("an id came back")
	}
	if list, err = e.Sessions(ctxOf(t)); err != nil || len(list) != 1 || list[0].ID != three.ID() {
		t.Errorf("Sessions: %v, %v", list, err)
	}
}

func testWatch(t *testing.T, e kv.Engine) {
	ctx, cancel := context.WithCancel(ctxOf(t))
	defer cancel()
	ch, err := e.Watch(ctx, kv.Prefix(key(1, "")))
	if err != nil {
		t.Fatal(err)
	}
	put(t, e, key(2, "outside"), "1")
	want := map[string]bool{}
	var last kv.Rev
	for _, k := range []string{"a", "b", "c"} {
		last = put(t, e, key(1, k), "1")
		want[string(key(1, k))] = true
	}
	update(t, e, func(x kv.Txn) error { x.Delete(key(1, "a")); return nil })
	for len(want) > 0 {
		b := next(t, ch)
		if b.Resync {
			break
		}
		for _, k := range b.Keys {
			if !kv.Prefix(key(1, "")).Contains(k) {
				t.Errorf("an event for the key %q outside the range", k)
			}
			delete(want, string(k))
		}
		if len(want) == 0 && b.Rev < last {
			t.Errorf("the last batch has revision %d, the commit had %d", b.Rev, last)
		}
	}
	cancel()
	for range ch {
	}
	// The engine's end ends a watch too; Run closes it and fails on a leak.
	if ch, err = e.Watch(ctxOf(t), kv.Prefix(key(1, ""))); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for range ch {
	}
}

func next(t *testing.T, ch <-chan kv.Batch) kv.Batch {
	t.Helper()
	select {
	case b, ok := <-ch:
		if !ok {
			t.Fatal("the watch ended early")
		}
		return b
	case <-ctxOf(t).Done():
		t.Fatal("no event came")
	}
	return kv.Batch{}
}

func testClose(t *testing.T, e kv.Engine) {
	s := newSession(t, e, "s")
	inside, leave := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	ctx := ctxOf(t)
	go func() {
		done <- e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
			close(inside)
			<-leave
			_, err := r.Get(ctx, key(1, "a"))
			return err
		})
	}()
	<-inside
	closed := make(chan error, 1)
	go func() { closed <- e.Close() }()
	close(leave)
	wantErr(t, "a View that runs during Close", <-done, kv.ErrNotFound)
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	wait(t, "the loss of the session", s.Lost())
	_, err := e.Update(ctx, func(kv.Txn) error { return nil })
	wantErr(t, "Update", err, kv.ErrClosed)
	wantErr(t, "View", e.View(ctx, kv.Linearizable, func(kv.Reader) error { return nil }), kv.ErrClosed)
	_, err = e.Watch(ctx, kv.Range{})
	wantErr(t, "Watch", err, kv.ErrClosed)
	_, err = e.NewSession(ctx, time.Minute, nil)
	wantErr(t, "NewSession", err, kv.ErrClosed)
	_, err = e.Sessions(ctx)
	wantErr(t, "Sessions", err, kv.ErrClosed)
	wantErr(t, "EndSession", e.EndSession(ctx, s.ID()), kv.ErrClosed)
	if _, err := e.Update(ctx, func(kv.Txn) error { return errors.New("ran") }); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Update after Close: %v", err)
	}
}
