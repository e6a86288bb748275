package gc_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/data"
	"manifold/internal/data/datatest"
	"manifold/internal/data/scrub"
	"manifold/internal/kv"
	"manifold/internal/kv/pebblekv"
)

// Writers, readers and the collector at the same time. The clock runs so fast
// that readers meet removed segments; it stands still during a transaction, as
// the grace outlasts any.
func TestConcurrent(t *testing.T) {
	t.Run("memkv", func(t *testing.T) { concurrent(t, newWorld(t)) })
	t.Run("pebblekv", func(t *testing.T) {
		eng, err := pebblekv.Open(t.Context(), pebblekv.Options{Dir: "db", FS: vfs.NewMem()})
		if err != nil {
			t.Fatal(err)
		}
		defer eng.Close()
		concurrent(t, newWorldOn(t, eng))
	})
}

func concurrent(t *testing.T, w *world) {
	var txns sync.RWMutex // held by transactions, and by who moves the clock
	var next, again atomic.Uint64
	var mu sync.Mutex
	live := map[data.ExtentID]int{}

	write := func(ctx context.Context, n int) error {
		id := data.ExtentID(next.Add(1))
		for {
			rec, err := w.store.Append(ctx, id, [][]byte{datatest.Payload(uint64(id), n)})
			if err != nil {
				return err
			}
			if err := w.store.Sync(ctx); err != nil {
				return err
			}
			txns.RLock()
			_, err = w.eng.Update(ctx, func(tx kv.Txn) error { return data.PutExtent(tx, stream, rec) })
			txns.RUnlock()
			if errors.Is(err, data.ErrMoved) {
				again.Add(1)
				continue
			}
			mu.Lock()
			live[id] = n
			mu.Unlock()
			return err
		}
	}
	pick := func(r *rand.Rand, take bool) (data.ExtentID, int) {
		mu.Lock()
		defer mu.Unlock()
		skip := r.IntN(max(len(live), 1))
		for id, n := range live {
			if skip--; skip < 0 {
				if take {
					delete(live, id)
				}
				return id, n
			}
		}
		return 0, 0
	}
	read := func(ctx context.Context, id data.ExtentID, n int) error {
		rec, err := w.lookup(ctx, id)
		if errors.Is(err, data.ErrNotFound) { // dropped and freed meanwhile
			return nil
		}
		if err != nil {
			return err
		}
		got := make([]byte, n)
		err = data.Reread(ctx, w.store, rec, 0, got, w.lookup)
		if errors.Is(err, data.ErrNotFound) {
			return nil
		}
		if err == nil && !bytes.Equal(got, datatest.Payload(uint64(id), n)) {
			return errors.New("wrong bytes")
		}
		return err
	}

	ctx := t.Context()
	var workers, collector sync.WaitGroup
	stop := make(chan struct{})
	collector.Go(func() {
		for {
			if _, err := w.gc.Step(ctx); err != nil {
				t.Error(err)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
			txns.Lock()
			w.advance(20 * time.Second)
			txns.Unlock()
		}
	})
	for i := range uint64(4) {
		workers.Go(func() {
			r := rand.New(rand.NewPCG(i, 9))
			for range 120 {
				var err error
				switch r.IntN(5) {
				case 0, 1:
					err = write(ctx, r.IntN(300000)+1000)
				case 2:
					if id, n := pick(r, false); id != 0 {
						err = read(ctx, id, n)
					}
				default:
					if id, _ := pick(r, true); id != 0 {
						txns.RLock()
						_, err = w.eng.Update(ctx, func(tx kv.Txn) error { return data.DropRef(ctx, tx, id, stream) })
						txns.RUnlock()
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	collector.Wait()
	w.settle()
	for id, n := range live {
		rec, err := w.lookup(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, n)
		if err := w.store.ReadAt(ctx, rec, 0, got); err != nil || !bytes.Equal(got, datatest.Payload(uint64(id), n)) {
			t.Fatalf("extent %d: %v", id, err)
		}
	}
	rep, err := scrub.Run(ctx, w.eng, w.store, scrub.Options{})
	if err != nil || len(rep.Findings) > 0 || rep.Extents != uint64(len(live)) {
		t.Fatalf("%+v, %v, %d live", rep, err, len(live))
	}
	t.Logf("%+v; appended again %d times", w.gc.Stats(), again.Load())
}
