package pebblekv

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"manifold/internal/kv"
	"manifold/internal/kv/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.Dir == "" {
		o.Dir = "store"
	}
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSuite(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Engine { return open(t, Options{FS: vfs.NewMem()}) })
}

func TestAges(t *testing.T) {
	kvtest.RunAges(t, func(t *testing.T, now func() time.Time) kv.Engine {
		return open(t, Options{FS: vfs.NewMem(), Now: now})
	})
}

// TestDeleteOnceLeavesNothing: keys that come and go between two flushes never
// reach a table, and those that were in one leave it.
func TestDeleteOnceLeavesNothing(t *testing.T) {
	fs := vfs.NewMem()
	e := open(t, Options{FS: fs, NoSync: true})
	tables := func() int { return len(filesOf(t, fs, ".sst")) }
	flush := func() {
		t.Helper()
		if err := e.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	change := func(f func(kv.Txn, []byte)) {
		t.Helper()
		for i := range uint64(100) {
			if _, err := e.Update(t.Context(), func(x kv.Txn) error { f(x, damageKey(i)); return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	flush()
	before := tables()
	write := func(x kv.Txn, k []byte) { x.Put(k, k) }
	remove := func(x kv.Txn, k []byte) { x.DeleteOnce(k) }
	change(write)
	change(remove)
	flush()
	if n := tables(); n != before {
		t.Errorf("%d tables, %d before", n, before)
	}
	change(write)
	flush()
	change(remove)
	flush()
	for i := range uint64(100) {
		if v, err := fetch(e.db, damageKey(i)); err != kv.ErrNotFound {
			t.Fatalf("key %d: %x, %v", i, v, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
