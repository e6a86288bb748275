package memkv

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"manifold/internal/kv"
	"manifold/internal/kv/kvtest"
)

func TestSuite(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Engine { return New() })
}

func TestAges(t *testing.T) {
	kvtest.RunAges(t, func(_ *testing.T, now func() time.Time) kv.Engine { return NewWith(Options{Now: now}) })
}

func put(t *testing.T, e *Engine, k, v string) {
	t.Helper()
	if _, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put([]byte(k), []byte(v)); return nil }); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, e *Engine, k string) (v string) {
	t.Helper()
	err := e.View(t.Context(), kv.Linearizable, func(r kv.Reader) error {
		b, err := r.Get(t.Context(), []byte(k))
		v = string(b)
		return err
	})
	if errors.Is(err, kv.ErrNotFound) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestCrash stages a commit that others see and a power cut takes back.
func TestCrash(t *testing.T) {
	e := New()
	put(t, e, "a", "old")
	e.HoldSync()
	committed := make(chan error, 1)
	go func() {
		_, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put([]byte("a"), []byte("new")); return nil })
		committed <- err
	}()
	viewed := make(chan error, 1)
	go func() {
		for {
			var saw string
			err := e.View(t.Context(), kv.Linearizable, func(r kv.Reader) error {
				b, err := r.Get(t.Context(), []byte("a"))
				saw = string(b)
				return err
			})
			if err != nil || saw == "new" {
				viewed <- err
				return
			}
		}
	}()
	for e.Rev() != 2 {
		runtime.Gosched()
	}
	select {
	case err := <-committed:
		t.Errorf("a commit that is not durable was acknowledged: %v", err)
	default:
	}
	c := e.Crash()
	if err := <-committed; !errors.Is(err, kv.ErrUnknownOutcome) {
		t.Errorf("the commit: %v, want ErrUnknownOutcome", err)
	}
	if err := <-viewed; !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("the View that saw it: %v, want ErrUnavailable", err)
	}
	if got := get(t, c, "a"); got != "old" {
		t.Errorf("after the crash: %q", got)
	}
	put(t, c, "a", "newer")
	if got := get(t, c, "a"); got != "newer" {
		t.Errorf("the clone: %q", got)
	}
}

func TestReleaseSync(t *testing.T) {
	e := New()
	e.HoldSync()
	done := make(chan error, 1)
	go func() {
		_, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put([]byte("a"), []byte("1")); return nil })
		done <- err
	}()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := e.Update(ctx, func(kv.Txn) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	e.ReleaseSync()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := get(t, e.Clone(), "a"); got != "1" {
		t.Errorf("the clone has %q", got)
	}
}

// TestCrashes runs the crash workload and clones at random moments.
func TestCrashes(t *testing.T) {
	e := New()
	c := kvtest.NewCrash(4, 10)
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context(), e, 300, 1) }()
	rng := rand.New(rand.NewPCG(1, 2))
	for running := true; running; {
		if rng.IntN(2) == 0 {
			e.HoldSync()
		}
		p := c.Promised()
		clone := e.Clone()
		if err := c.Check(t.Context(), clone, p); err != nil {
			t.Fatal(err)
		}
		e.ReleaseSync()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			running = false
		default:
		}
	}
}
