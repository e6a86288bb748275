package pebblekv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"manifold/internal/kv"
)

// In this workload each commit counts itself and changes what its number says. So
// a state tells by its count what all of it has to be.

var countKey = []byte("count")

// changes are those of commit n. Some keys are set once and deleted once, others
// are set and deleted over and over.
func changes(n uint64, set func(k, v string), del, delOnce func(k string)) {
	rng := rand.New(rand.NewPCG(n, 1))
	set(fmt.Sprintf("once%d", n), fmt.Sprint(n))
	if n > 40 {
		// Some are deleted while they are in a memtable, some from tables.
		if age := uint64(5 + 30*(n%2)); n%3 != 0 {
			delOnce(fmt.Sprintf("once%d", n-age))
		}
	}
	for range 1 + rng.IntN(4) {
		k := fmt.Sprintf("k%d", rng.IntN(60))
		if rng.IntN(3) == 0 {
			del(k)
		} else {
			set(k, fmt.Sprint(n, strings.Repeat("x", rng.IntN([]int{10, 100, 4000}[rng.IntN(3)]))))
		}
	}
}

// commitNext makes the next commit, whichever it is, and returns its number.
func commitNext(ctx context.Context, e *Engine) (n uint64, err error) {
	_, err = e.Update(ctx, func(x kv.Txn) error {
		v, err := x.Get(ctx, countKey)
		if err == nil {
			n = binary.BigEndian.Uint64(v) + 1
		} else if n = 1; !errors.Is(err, kv.ErrNotFound) {
			return err
		}
		x.Put(countKey, binary.BigEndian.AppendUint64(nil, n))
		changes(n, func(k, v string) { x.Put([]byte(k), []byte(v)) },
			func(k string) { x.Delete([]byte(k)) }, func(k string) { x.DeleteOnce([]byte(k)) })
		return nil
	})
	return n, err
}

// checkCount compares the engine with the state after as many commits as it counts,
// which it returns.
func checkCount(ctx context.Context, e *Engine) (uint64, error) {
	got, count := map[string]string{}, uint64(0)
	err := e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		for x, err := range r.Scan(ctx, kv.Range{}, kv.ScanOptions{}) {
			if err != nil {
				return err
			}
			if string(x.Key) == string(countKey) {
				count = binary.BigEndian.Uint64(x.Value)
				continue
			}
			got[string(x.Key)] = string(x.Value)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	want := map[string]string{}
	remove := func(k string) { delete(want, k) }
	for n := uint64(1); n <= count; n++ {
		changes(n, func(k, v string) { want[k] = v }, remove, remove)
	}
	for k, v := range want {
		if got[k] != v {
			err = errors.Join(err, fmt.Errorf("after %d commits %s is %.20q, want %.20q", count, k, got[k], v))
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			err = errors.Join(err, fmt.Errorf("after %d commits %s is back", count, k))
		}
	}
	return count, err
}

// TestCrashLeavesPrefix crashes a store again and again at a random operation,
// openings included. What is left is always what it was after some commit, none of
// those acknowledged missing: while tables run ahead of the log and the log of
// tables, segments give way and are used again, and the last round is kept in
// part.
func TestCrashLeavesPrefix(t *testing.T) { crashLeavesPrefix(t, 31, int(rounds(40))) }

func crashLeavesPrefix(t *testing.T, seed uint64, lives int) {
	rng := rand.New(rand.NewPCG(seed, 32))
	mem := vfs.NewCrashableMem()
	more := 0
	for life := range lives {
		var mu sync.Mutex
		var next *vfs.MemFS
		var acked atomic.Uint64
		var promised uint64
		at := rng.IntN(800)
		if life%4 == 3 {
			at = rng.IntN(60) // while it opens
		}
		clone := func() {
			promised = acked.Load()
			next = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 70, 100}[rng.IntN(4)], RNG: rng})
		}
		fs := &copyFS{mem: mem}
		before := func(errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if at--; at == 0 {
				clone()
			}
			return nil
		}
		fs.before.Store(&before)
		e, err := Open(t.Context(), Options{Dir: "store", FS: fs.fs(), MemTableBytes: 256 << 10, LogAhead: int64(rng.IntN(3)) * 16 << 10})
		if err != nil {
			t.Fatalf("seed %d, life %d: %v", seed, life, err)
		}
		count, err := checkCount(t.Context(), e)
		if err != nil {
			t.Fatalf("seed %d, life %d: %v", seed, life, err)
		}
		raise := func(n uint64) {
			for {
				if old := acked.Load(); old >= n || acked.CompareAndSwap(old, n) {
					return
				}
			}
		}
		mu.Lock()
		raise(count)
		mu.Unlock()
		var wg sync.WaitGroup
		for range 1 + life%4 {
			wg.Go(func() {
				for range 150 {
					mu.Lock()
					over := next != nil
					mu.Unlock()
					if over {
						return
					}
					n, err := commitNext(t.Context(), e)
					if err != nil {
						t.Error(err)
						return
					}
					raise(n)
					if n%64 == 0 {
						if err := e.db.Flush(); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Wait()
		mu.Lock()
		at = 0
		if next == nil {
			clone()
		}
		mu.Unlock()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		mem = next
		e = open(t, Options{FS: mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})})
		got, err := checkCount(t.Context(), e)
		if err != nil || got < promised {
			t.Fatalf("seed %d, life %d: %d commits of %d, %v", seed, life, got, promised, err)
		}
		if got > promised {
			more++
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d lives, %d with more than was promised", lives, more)
}
