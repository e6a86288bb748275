package pebblekv

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"manifold/internal/kv"
	"manifold/internal/kv/kvtest"
)

// TestCrashChain crashes the same store again and again, each time at a random
// operation of the run or of the opening that follows, with a memtable so small
// that logs are recycled: what was promised in any life holds in all later ones.
func TestCrashChain(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	c := kvtest.NewCrash(3, 20_000)
	mem := vfs.NewCrashableMem()
	lives := int(rounds(24))
	var revs kv.Rev
	for life := range lives {
		var mu sync.Mutex
		var next *vfs.MemFS
		var promise kvtest.Promise
		at := rng.IntN(400)
		if life%4 == 3 {
			at = rng.IntN(30) // while it opens
		}
		copied := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return next != nil
		}
		fs := &copyFS{mem: mem}
		before := func(errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if at--; at == 0 {
				promise = c.Promised()
				next = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			}
			return nil
		}
		fs.before.Store(&before)
		e, err := Open(t.Context(), Options{Dir: "store", FS: fs.fs(), MemTableBytes: 256 << 10})
		if err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		if err := c.Check(t.Context(), e, c.Promised()); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		rev, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put([]byte("life"), nil); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if !copied() {
			if rev <= revs {
				t.Errorf("life %d: revision %d after %d was acknowledged", life, rev, revs)
			}
			revs = rev
		}
		if !copied() {
			if err := c.Run(t.Context(), e, 60, uint64(life)); err != nil {
				t.Fatal(err)
			}
		}
		mu.Lock()
		if next == nil {
			promise = c.Promised()
			next = mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		}
		at = 0
		mu.Unlock()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		c.Forget(promise)
		mem = next
	}
	t.Logf("%d lives, %d transactions acknowledged", lives, c.Acknowledged())
}
