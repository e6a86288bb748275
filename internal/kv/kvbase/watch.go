package kvbase

import (
	"context"
	"sync"
	"sync/atomic"

	"manifold/internal/kv"
)

// maxPending is how many keys wait for a slow receiver before the watch turns
// to a resync.
const maxPending = 1024

// Hub fans commits out to watches. The zero value works.
type Hub struct {
	n      atomic.Int32
	mu     sync.Mutex
	all    map[*watcher]struct{}
	closed bool
	stop   chan struct{}
	wg     sync.WaitGroup
}

type watcher struct {
	r    kv.Range
	wake chan struct{}

	mu   sync.Mutex
	next kv.Batch
	some bool
}

// Watch starts a watch that ends with ctx or the hub.
func (h *Hub) Watch(ctx context.Context, r kv.Range) (<-chan kv.Batch, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, kv.ErrClosed
	}
	if h.all == nil {
		h.all = map[*watcher]struct{}{}
		h.stop = make(chan struct{})
	}
	w := &watcher{r: r, wake: make(chan struct{}, 1)}
	h.all[w] = struct{}{}
	h.n.Add(1)
	out := make(chan kv.Batch)
	h.wg.Add(1)
	go func() {
		defer h.wg.Done()
		defer close(out)
		defer h.remove(w)
		w.run(ctx, h.stop, out)
	}()
	return out, nil
}

func (h *Hub) remove(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.all, w)
	h.n.Add(-1)
}

func (w *watcher) run(ctx context.Context, stop chan struct{}, out chan<- kv.Batch) {
	for {
		select {
		case <-w.wake:
		case <-ctx.Done():
			return
		case <-stop:
			return
		}
		w.mu.Lock()
		b := w.next
		w.next, w.some = kv.Batch{}, false
		w.mu.Unlock()
		select {
		case out <- b:
		case <-ctx.Done():
			return
		case <-stop:
			return
		}
	}
}

// Watched tells whether anybody watches; it saves a commit the work otherwise.
func (h *Hub) Watched() bool { return h.n.Load() > 0 }

// Publish tells the watches of a commit. The keys are copied.
func (h *Hub) Publish(rev kv.Rev, ws []Write) {
	if !h.Watched() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.all {
		w.add(rev, ws)
	}
}

// Resync tells every watch that events were lost.
func (h *Hub) Resync(rev kv.Rev) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.all {
		w.mu.Lock()
		w.next = kv.Batch{Rev: max(rev, w.next.Rev), Resync: true}
		w.mark()
		w.mu.Unlock()
	}
}

func (w *watcher) add(rev kv.Rev, ws []Write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	hit := false
	for _, x := range ws {
		if !w.r.Contains(x.Key) {
			continue
		}
		hit = true
		if w.next.Resync {
			break
		}
		if len(w.next.Keys) == maxPending {
			w.next.Resync, w.next.Keys = true, nil
			break
		}
		w.next.Keys = append(w.next.Keys, append([]byte{}, x.Key...))
	}
	if hit {
		w.next.Rev = max(w.next.Rev, rev)
		w.mark()
	}
}

func (w *watcher) mark() {
	if !w.some {
		w.some = true
		w.wake <- struct{}{}
	}
}

// Close ends all watches and waits for them.
func (h *Hub) Close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		if h.stop != nil {
			close(h.stop)
		}
	}
	h.mu.Unlock()
	h.wg.Wait()
}
