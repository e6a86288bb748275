package pebblekv

import (
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestMarkers crashes ahead of every operation of an opening, many times each,
// on a file system that keeps any of the new and removed entries of a
// directory: the store must open and have what was in it.
func TestMarkers(t *testing.T) {
	mem := vfs.NewCrashableMem()
	e := open(t, Options{FS: mem})
	fill(t, e, 100, 200)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	fs := &copyFS{mem: mem}
	// Open syncs in its own goroutine and, when it flushes, in Pebble's as well.
	var mu sync.Mutex
	var copies []*vfs.MemFS
	before := func(op errorfs.Op) error {
		// What matters is between the making of a marker and the sync after it.
		if strings.HasPrefix(path.Base(op.Path), "marker.") || op.Kind == errorfs.OpFileSync {
			mu.Lock()
			defer mu.Unlock()
			for range rounds(12) {
				copies = append(copies, mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}))
			}
		}
		return nil
	}
	fs.before.Store(&before)
	e = open(t, Options{FS: fs.fs()})
	fs.before.Store(nil)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for i, c := range copies {
		e, err := Open(t.Context(), Options{Dir: "store", FS: c})
		if err != nil {
			t.Fatalf("copy %d: %v", i, err)
		}
		if _, err := fetch(e.db, damageKey(99)); err != nil {
			t.Errorf("copy %d: %v", i, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d copies", len(copies))
}
