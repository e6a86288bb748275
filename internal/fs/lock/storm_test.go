package lock

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"manifold/internal/fs"
)

// TestStorm: many owners at once. Plain counters guarded by nothing but the
// locks show, above all to the race detector, that exclusive means alone and
// that nobody is forgotten.
func TestStorm(t *testing.T) {
	const nodes, slots, workers, rounds = 3, 4, 8, 300
	l := New(Options{})
	var counters [nodes][slots]int
	var want, canceledWaits, deadlocks atomic.Int64
	stop := make(chan struct{})
	var side, wg sync.WaitGroup
	side.Go(func() { // an administrator looks on
		for {
			select {
			case <-stop:
				return
			default:
				_ = l.LockList(t.Context(), fs.Node{}, func(*fs.LockInfo) bool { return true })
			}
		}
	})
	for i := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 11))
			owner := fs.LockOwner{Client: fmt.Sprintf("c%d", i%3), Owner: fmt.Sprint(i)}
			for range rounds {
				n, s, span := rnd.IntN(nodes), rnd.IntN(slots), 1
				span += rnd.IntN(slots - s)
				r := &fs.LockRequest{Node: fs.Node{ID: fs.FileID(10 + n)}, Owner: owner, Exclusive: rnd.IntN(4) != 0,
					Range: fs.LockRange{Offset: uint64(s), Length: uint64(span)}}
				if i%2 == 1 {
					// SMB in streams of its own, since it does not see POSIX locks.
					r.Space, r.Handle = fs.LockSMB, uint64(i)
				}
				if i%2 == 1 || rnd.IntN(3) == 0 {
					if _, err := l.Lock(t.Context(), nil, r); err != nil {
						continue
					}
				} else {
					w, err := l.LockWait(t.Context(), nil, r)
					if errors.Is(err, fs.Deadlock) {
						deadlocks.Add(1)
						continue
					} else if err != nil {
						t.Error(err)
						return
					}
					if w != nil && rnd.IntN(5) == 0 && w.Cancel() {
						canceledWaits.Add(1)
						continue
					}
					if w != nil {
						<-w.Granted()
					}
				}
				if r.Space == fs.LockPOSIX {
					for j := s; j < s+span; j++ {
						if r.Exclusive {
							counters[n][j]++
							want.Add(1)
						} else {
							_ = counters[n][j]
						}
					}
				}
				if err := l.Unlock(t.Context(), nil, r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	side.Wait()
	got := int64(0)
	for _, c := range counters {
		for _, n := range c {
			got += int64(n)
		}
	}
	if got != want.Load() {
		t.Errorf("counted %d, want %d", got, want.Load())
	}
	if n := l.count.Load(); n != 0 || l.smbCount.Load() != 0 || len(l.waits.of) != 0 {
		t.Errorf("left: %d locks, %d SMB, %d waiting owners", n, l.smbCount.Load(), len(l.waits.of))
	}
	if deadlocks.Load() != 0 {
		t.Errorf("%d deadlocks among owners that hold one lock at a time", deadlocks.Load())
	}
}

// TestStorm_release: clients vanish while others wait for them. Every waiter ends.
func TestStorm_release(t *testing.T) {
	l := New(Options{})
	var wg sync.WaitGroup
	var ended, deadlocks atomic.Int64
	for i := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 13))
			client := fmt.Sprintf("c%d", i)
			for range 200 {
				for range 3 { // takes several, in any order: deadlocks are found
					r := &fs.LockRequest{Node: fs.Node{ID: fs.FileID(10 + rnd.IntN(3))}, Owner: fs.LockOwner{Client: client, Owner: "o"},
						Exclusive: rnd.IntN(3) != 0, Range: fs.LockRange{Offset: uint64(rnd.IntN(3)), Length: 1}}
					w, err := l.LockWait(t.Context(), nil, r)
					if errors.Is(err, fs.Deadlock) {
						deadlocks.Add(1)
						break
					}
					if err != nil {
						t.Error(err)
						return
					}
					if w != nil {
						select {
						case <-w.Granted():
						case <-w.Canceled():
						}
						ended.Add(1)
					}
				}
				// Sometimes another client is thrown out as well.
				if _, err := l.ReleaseClient(t.Context(), client); err != nil {
					t.Error(err)
				}
				if rnd.IntN(10) == 0 {
					if _, err := l.ReleaseClient(t.Context(), fmt.Sprintf("c%d", rnd.IntN(6))); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	for i := range 6 {
		if n, err := l.ReleaseClient(t.Context(), fmt.Sprintf("c%d", i)); n != 0 || err != nil {
			t.Errorf("client %d had %d locks left, %v", i, n, err)
		}
	}
	if l.count.Load() != 0 || len(l.waits.of) != 0 {
		t.Errorf("left: %d locks, %d waiting owners", l.count.Load(), len(l.waits.of))
	}
	t.Logf("%d waits ended, %d deadlocks", ended.Load(), deadlocks.Load())
}

func BenchmarkLockUnlock(b *testing.B) {
	l := New(Options{})
	var next atomic.Uint64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		id := next.Add(1)
		r := &fs.LockRequest{Node: fs.Node{ID: fs.FileID(10 + id)}, Owner: fs.LockOwner{Client: "c", Owner: fmt.Sprint(id)}, Exclusive: true, Range: fs.LockRange{Length: 1}}
		for pb.Next() {
			if _, err := l.Lock(b.Context(), nil, r); err != nil {
				b.Fatal(err)
			}
			if err := l.Unlock(b.Context(), nil, r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkLock_among1000(b *testing.B) {
	l := New(Options{})
	for i := range uint64(1000) {
		mustLock(b, l, posix(file1, fmt.Sprint("x", i), i*10, 1, true))
	}
	r := posix(file1, "a", 5, 1, true)
	for b.Loop() {
		mustLock(b, l, r)
		mustUnlock(b, l, r)
	}
}

func BenchmarkCheckIO(b *testing.B) {
	l := New(Options{})
	b.Run("no_smb_locks", func(b *testing.B) {
		for b.Loop() {
			l.CheckIO(fs.LockSMB, file1, 0, 0, 0, 4096, true)
		}
	})
	mustLock(b, l, smb(file2, 1, 0, 10, true))
	b.Run("other_file_locked", func(b *testing.B) {
		for b.Loop() {
			l.CheckIO(fs.LockSMB, file1, 0, 0, 0, 4096, true)
		}
	})
}
