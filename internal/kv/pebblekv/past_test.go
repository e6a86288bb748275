package pebblekv

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/kv"
)

func TestPast(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem()})
	t.Cleanup(func() { e.Close() })
	put := func() kv.Rev {
		t.Helper()
		rev, err := e.Update(t.Context(), func(tx kv.Txn) error { tx.Put([]byte("k"), []byte("v")); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return rev
	}
	view := func(fn func(kv.Reader)) {
		t.Helper()
		if err := e.View(t.Context(), kv.Linearizable, func(r kv.Reader) error { fn(r); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	first := put()
	view(func(kv.Reader) {
		if !e.Past(first) {
			t.Error("a View after the commit counts as one before it")
		}
		second := put()
		view(func(kv.Reader) {
			if e.Past(second) {
				t.Error("the View before the commit is forgotten")
			}
		})
		if !e.Past(first) || e.Past(second) {
			t.Error("an inner View changed what is past")
		}
	})
	last := put()
	if !e.Past(last) {
		t.Error("no View runs, and the last commit is not past")
	}
}
