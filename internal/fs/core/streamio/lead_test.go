package streamio

import (
	"runtime"
	"sync"
	"testing"

	"manifold/internal/fs"
)

// TestLead lets many wait for a flush that makes durable what all of them but one
// wait for: they are woken together, and that one flushes next.
func TestLead(t *testing.T) {
	const n = 8
	st := &stream{}
	f := &file{streams: map[fs.StreamID]*stream{0: st}}
	for i := range uint64(n) {
		st.insert(span{off: i * 10, data: make([]byte, 5), stable: true})
	}
	if !f.lead(0, 0, 5) {
		t.Fatal("nobody else flushes")
	}
	var wg sync.WaitGroup
	lead := make([]bool, n)
	for i := range uint64(n) {
		wg.Go(func() {
			if lead[i] = f.lead(0, i*10, i*10+5); lead[i] {
				f.follow()
			}
		})
	}
	for gathered := false; !gathered; runtime.Gosched() {
		f.mu.Lock()
		gathered = f.waiting == n
		f.mu.Unlock()
	}
	f.mu.Lock()
	st.capture(0, (n-1)*10, 7, 1<<20)
	st.settle(7, true)
	f.mu.Unlock()
	f.follow()
	wg.Wait()
	for i, led := range lead {
		if led != (i == n-1) {
			t.Errorf("%d has the turn: %v", i, led)
		}
	}
	// A failed flush leaves all to those who wait, one after the other.
	f.mu.Lock()
	st.capture(0, n*10, 8, 1<<20)
	st.settle(8, false)
	f.mu.Unlock()
	if !f.lead(0, (n-1)*10, n*10) || f.flushed != nil {
		t.Error("the turn did not come back")
	}
	f.follow()
}

// TestDirtyRange looks beside, at and across the edges of a span.
func TestDirtyRange(t *testing.T) {
	var d dirtySet
	d.insert(span{off: 10, data: make([]byte, 5)})
	for _, c := range []struct {
		from, to uint64
		want     bool
	}{{0, 10, false}, {0, 11, true}, {12, 13, true}, {14, 20, true}, {15, 20, false}} {
		if got := d.dirty(c.from, c.to); got != c.want {
			t.Errorf("[%d, %d): %v", c.from, c.to, got)
		}
	}
}
