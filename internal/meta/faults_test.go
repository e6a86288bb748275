package meta_test

import (
	"context"
	"fmt"
	"testing"

	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

// faulty is a store that loses some of what is written to it.
type faulty struct {
	kv.Engine
	put    func(key []byte) bool // false: lost
	delete func(key []byte) bool
}

func (f *faulty) Update(ctx context.Context, fn func(kv.Txn) error) (kv.Rev, error) {
	return f.Engine.Update(ctx, func(tx kv.Txn) error { return fn(&faultyTxn{tx, f}) })
}

type faultyTxn struct {
	kv.Txn
	f *faulty
}

func (t *faultyTxn) Put(key, value []byte) {
	if t.f.put == nil || t.f.put(key) {
		t.Txn.Put(key, value)
	}
}

func (t *faultyTxn) Delete(key []byte) {
	if t.f.delete == nil || t.f.delete(key) {
		t.Txn.Delete(key)
	}
}

func (t *faultyTxn) DeleteOnce(key []byte) {
	if t.f.delete == nil || t.f.delete(key) {
		t.Txn.DeleteOnce(key)
	}
}

// TestModelCatches proves that the model notices defects: each fault makes the
// engine forget one thing, as a mistake in the code would.
func TestModelCatches(t *testing.T) {
	tag := func(b byte) func([]byte) bool { return func(k []byte) bool { return k[0] != b } }
	// sometimes loses every fifth write of a table, so that the fault is rare.
	sometimes := func(b byte) func([]byte) bool {
		n := 0
		return func(k []byte) bool {
			if k[0] != b {
				return true
			}
			n++
			return n%5 != 0
		}
	}
	for _, c := range []struct {
		name        string
		put, delete func([]byte) bool
	}{
		{name: "history of inodes is not kept", put: tag(0x50)},
		{name: "history of names is not kept", put: tag(0x51)},
		{name: "history of listings is not kept", put: tag(0x52)},
		{name: "history of chunk maps is not kept", put: tag(0x58)},
		{name: "history of xattrs is not kept", put: tag(0x56)},
		{name: "history of totals is not kept", put: tag(0x5d)},
		{name: "history of further links is not kept", put: tag(0x53)},
		{name: "death lists lose entries", put: sometimes(0x20)},
		{name: "old versions are never removed", delete: tag(0x58)},
		{name: "releases get lost", put: sometimes(0x24)},
		{name: "deltas get lost", put: sometimes(0x1c)},
		{name: "deltas are applied twice", delete: tag(0x1c)},
		{name: "releases are repeated", delete: tag(0x24)},
		{name: "topology version stays", put: tag(0x04)},
		{name: "removed names stay in listings", delete: sometimes(0x12)},
		{name: "orphan marks get lost", put: sometimes(0x1a)},
		{name: "removed xattrs stay", delete: sometimes(0x16)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(60) {
				if err := caught(t.Context(), seed, &faulty{memkv.New(), c.put, c.delete}); err != nil {
					return
				}
			}
			t.Error("no run noticed")
		})
	}
}

func caught(ctx context.Context, seed uint64, e kv.Engine) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return runBounded(ctx, seed, e)
}

// runBounded is run with background work that cannot go on for ever.
func runBounded(ctx context.Context, seed uint64, e kv.Engine) error {
	w, err := newWorld(ctx, seed, e)
	if err != nil {
		return err
	}
	w.bound = 2000
	return w.play(seed, 300)
}
