package kvbase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"manifold/internal/kv"
)

// TestBuffer compares the buffer with a map through random writes.
func TestBuffer(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var b Buffer
		b.reset()
		model := map[string]string{}
		for range rng.IntN(120) {
			k := fmt.Sprintf("k%02d", rng.IntN(60))
			v := bytes.Repeat([]byte("v"), rng.IntN(3000))
			if rng.IntN(4) == 0 {
				b.set([]byte(k), nil, false)
				model[k] = "-"
			} else {
				b.set([]byte(k), b.copy(v), false)
				model[k] = string(v)
				// The caller's memory is not the buffer's.
				clear(v)
			}
		}
		size := 0
		for k, v := range model {
			i := b.find([]byte(k))
			if i < 0 {
				t.Fatalf("seed %d: %s is missing", seed, k)
			}
			w := b.Writes[i]
			size += len(k)
			if v == "-" {
				if w.Value != nil {
					t.Errorf("seed %d: %s is not deleted", seed, k)
				}
				continue
			}
			size += len(v)
			if w.Value == nil || string(w.Value) != v {
				t.Errorf("seed %d: %s has %d bytes, want %d", seed, k, len(w.Value), len(v))
			}
		}
		if len(b.Writes) != len(model) || b.size != size {
			t.Errorf("seed %d: %d writes of %d bytes, want %d of %d", seed, len(b.Writes), b.size, len(model), size)
		}
		s := b.sorted(kv.Range{Start: []byte("k10"), End: []byte("k20")}, seed%2 == 0)
		ordered := slices.IsSortedFunc(s, func(x, y Write) int {
			if seed%2 == 0 {
				x, y = y, x
			}
			return bytes.Compare(x.Key, y.Key)
		})
		if !ordered {
			t.Errorf("seed %d: not sorted", seed)
		}
	}
}

// TestHub lets a receiver sleep while more comes than is kept for it.
func TestHub(t *testing.T) {
	var h Hub
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h.Publish(1, []Write{{Key: []byte("a")}}) // nobody watches
	ch, err := h.Watch(ctx, kv.Prefix([]byte("a")))
	if err != nil {
		t.Fatal(err)
	}
	h.Publish(2, []Write{{Key: []byte("a1")}, {Key: []byte("b")}})
	if b := <-ch; b.Rev != 2 || len(b.Keys) != 1 || string(b.Keys[0]) != "a1" || b.Resync {
		t.Errorf("%+v", b)
	}
	// The first may be under way already; what follows is joined, and is too much.
	for rev := range kv.Rev(3 * maxPending) {
		h.Publish(10+rev, []Write{{Key: []byte("a2")}})
	}
	last := kv.Rev(10 + 3*maxPending - 1)
	resync := false
	for {
		b := <-ch
		resync = resync || b.Resync
		if b.Resync && len(b.Keys) > 0 {
			t.Errorf("a resync with %d keys", len(b.Keys))
		}
		if b.Rev == last {
			break
		}
	}
	if !resync {
		t.Error("events were lost without a resync")
	}
	h.Publish(last+1, []Write{{Key: []byte("a3")}})
	if b := <-ch; b.Resync || len(b.Keys) != 1 {
		t.Errorf("after the resync: %+v", b)
	}
	h.Resync(last + 2)
	if b := <-ch; !b.Resync || b.Rev != last+2 {
		t.Errorf("a resync: %+v", b)
	}
	h.Close()
	if _, ok := <-ch; ok {
		t.Error("the watch outlived the hub")
	}
	if _, err := h.Watch(ctx, kv.Range{}); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("Watch after Close: %v", err)
	}
}

// TestGate closes the gate under traffic.
func TestGate(t *testing.T) {
	g := NewGate()
	var inside sync.WaitGroup
	in := make(chan struct{}, 8)
	leave := make(chan struct{})
	for range 8 {
		inside.Add(1)
		go func() {
			defer inside.Done()
			if !g.Enter() {
				t.Error("the open gate turned one away")
			}
			in <- struct{}{}
			<-leave
			g.Leave()
		}()
	}
	for range 8 {
		<-in
	}
	shut := make(chan bool, 2)
	for range 2 {
		go func() { shut <- g.Shut() }()
	}
	for g.Enter() {
		g.Leave()
	}
	select {
	case <-shut:
		t.Error("Shut did not wait")
	default:
	}
	close(leave)
	if a, b := <-shut, <-shut; a == b {
		t.Errorf("Shut returned %v twice", a)
	}
	inside.Wait()
}

// TestBackoff gives up with the context.
func TestBackoff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	for n := range 12 {
		if err := Backoff(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	for _, n := range []int{0, 20} {
		if err := Backoff(ctx, n); !errors.Is(err, kv.ErrTooManyRetries) || !errors.Is(err, context.Canceled) {
			t.Errorf("Backoff(%d): %v", n, err)
		}
	}
}

// failing is an attempt of which every read fails.
type failing struct {
	Attempt
	err     error
	aborted int
}

func (f *failing) Get(context.Context, []byte) ([]byte, error) { return nil, f.err }
func (f *failing) Abort()                                      { f.aborted++ }
func (f *failing) Commit(context.Context, *Buffer) (kv.Rev, error) {
	return 1, nil
}
func (f *failing) Validate(context.Context) (kv.Rev, error) { return 1, nil }

// TestErrorsStick commits nothing after a read that failed, even when the
// function takes no notice, and ends each attempt once.
func TestErrorsStick(t *testing.T) {
	broken := errors.New("broken disk")
	f := &failing{err: broken}
	r := Runner{Limits: kv.DefaultLimits, Now: time.Now, Begin: func(context.Context, int, *Ticket) (Attempt, error) { return f, nil }}
	_, err := r.Update(t.Context(), func(x kv.Txn) error {
		_, _ = x.Get(t.Context(), []byte("k"))
		x.Put([]byte("k"), nil)
		return nil
	})
	if !errors.Is(err, broken) || f.aborted != 1 {
		t.Errorf("%v, aborted %d times", err, f.aborted)
	}
	// A conflict is retried though the function hides it in its own error.
	f.err, f.aborted = ErrConflict, 0
	runs := 0
	_, err = r.Update(t.Context(), func(x kv.Txn) error {
		if runs++; runs == 3 {
			return nil
		}
		_, err := x.Get(t.Context(), []byte("k"))
		return fmt.Errorf("my words: %v", err)
	})
	if err != nil || runs != 3 || f.aborted != 3 {
		t.Errorf("%v after %d runs, aborted %d times", err, runs, f.aborted)
	}
	// A panic ends the attempt too.
	f.aborted = 0
	func() {
		defer func() { _ = recover() }()
		_, _ = r.Update(t.Context(), func(kv.Txn) error { panic("bug") })
	}()
	if f.aborted != 1 {
		t.Errorf("aborted %d times after a panic", f.aborted)
	}
}
