package core_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

// counting counts the keys that Views read.
type counting struct {
	kv.Engine
	keys atomic.Int64
}

func (c *counting) View(ctx context.Context, fr kv.Freshness, fn func(kv.Reader) error) error {
	return c.Engine.View(ctx, fr, func(r kv.Reader) error { return fn(countingReader{r, c, ctx}) })
}

// countingReader counts for those who ask with the mark that countedBy sets.
type countingReader struct {
	kv.Reader
	c   *counting
	ctx context.Context
}

type countedMark struct{}

func counted(ctx context.Context) context.Context {
	return context.WithValue(ctx, countedMark{}, true)
}

func (r countingReader) add(n int) {
	if r.ctx.Value(countedMark{}) != nil {
		r.c.keys.Add(int64(n))
	}
}

func (r countingReader) Get(ctx context.Context, key []byte) ([]byte, error) {
	r.add(1)
	return r.Reader.Get(ctx, key)
}

func (r countingReader) GetMany(ctx context.Context, keys [][]byte) ([][]byte, error) {
	r.add(len(keys))
	return r.Reader.GetMany(ctx, keys)
}

func (r countingReader) Scan(ctx context.Context, g kv.Range, o kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		for e, err := range r.Reader.Scan(ctx, g, o) {
			r.add(1)
			if !yield(e, err) {
				return
			}
		}
	}
}

// Whether an object is in a tree that is being deleted costs no key while none
// is, and one key at any depth while one is.
func TestTreeDelete_keysRead(t *testing.T) {
	engine := &counting{Engine: memkv.New()}
	f := newFS(t, engine)
	ctx := t.Context()
	dir := fs.Root
	for i := range 10 {
		dir = mustCreate(t, f, dir, fmt.Sprint("d", i), fs.Directory)
	}
	n := mustCreate(t, f, dir, "f", fs.File)
	gone := mustCreate(t, f, fs.Root, "gone", fs.Directory)
	for i := range 500 {
		mustCreate(t, f, gone, fmt.Sprint("n", i), fs.File)
	}
	getattr := func() int64 {
		t.Helper()
		before := engine.keys.Load()
		if _, err := f.GetAttr(counted(ctx), root, n, 0); err != nil {
			t.Fatal(err)
		}
		return engine.keys.Load() - before
	}
	if keys := getattr(); keys != 1 {
		t.Errorf("without a deletion an object costs %d keys", keys)
	}
	if _, err := f.StartTreeDelete(ctx, root, gone.ID); err != nil {
		t.Fatal(err)
	}
	getattr() // fills the cache of parents
	most := int64(0)
	for {
		keys := getattr()
		most = max(most, keys)
		if keys > 2 {
			t.Fatalf("during a deletion an object costs %d keys", keys)
		}
		if _, err := f.TreeDelete(ctx, gone.ID); err != nil && keys == 1 {
			break // over, and known to be
		}
	}
	t.Logf("at most %d keys during a deletion", most)
}

// Deletions that were called off or refused leave nothing behind, and what was
// put back is to be had again.
func TestTreeDelete_putBack(t *testing.T) {
	engine := &counting{Engine: memkv.New()}
	f := newFS(t, engine)
	ctx := t.Context()
	events, err := f.Watch(ctx, fs.RootID, false, fs.EventRemoved|fs.EventAdded)
	if err != nil {
		t.Fatal(err)
	}
	var d fs.Node
	for files, done := 250, false; !done; files *= 2 { // until the worker is not the quicker one
		d = mustCreate(t, f, fs.Root, "d", fs.Directory)
		sub := mustCreate(t, f, d, "sub", fs.Directory)
		for i := range files {
			mustCreate(t, f, sub, fmt.Sprint("n", i), fs.File)
		}
		if _, err := f.StartTreeDelete(ctx, &fs.Caller{ReadOnly: true}, d.ID); fs.KindOf(err) != fs.ReadOnly {
			t.Errorf("by a read-only way in: %v", err)
		}
		<-events // its creation
		if _, err := f.StartTreeDelete(ctx, root, d.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := f.GetAttr(ctx, root, sub, 0); fs.KindOf(err) != fs.Stale {
			t.Errorf("in the detached tree: %v", err)
		}
		err := f.CancelTreeDelete(ctx, d.ID)
		if err != nil && fs.KindOf(err) != fs.NotExist {
			t.Fatal(err)
		}
		if e := <-events; e.Type != fs.EventRemoved || e.Name != "d" || e.ID != d.ID {
			t.Errorf("event %+v of a removal", e)
		}
		done = err == nil
	}
	if e := <-events; e.Type != fs.EventAdded || e.Name != "d" || e.ID != d.ID {
		t.Errorf("event %+v of what was put back", e)
	}
	a, err := f.Resolve(counted(ctx), root, "/d", fs.AttrType)
	if err != nil || a.Node != d {
		t.Errorf("what was put back: %v, %v", a.Node, err)
	}
	before := engine.keys.Load()
	if _, err := f.GetAttr(counted(ctx), root, d, 0); err != nil || engine.keys.Load() != before+1 {
		t.Errorf("it costs %d keys: %v", engine.keys.Load()-before, err)
	}
}

// What goes with trees and with snapshots is counted in full, once.
func TestReclaimed(t *testing.T) {
	f := newFS(t, memkv.New())
	ctx := t.Context()
	write := func(n fs.Node, data string) {
		t.Helper()
		if _, err := f.Write(ctx, root, n, &fs.WriteRequest{Data: []byte(data), Stability: fs.FileSync}); err != nil {
			t.Fatal(err)
		}
	}
	d := mustCreate(t, f, fs.Root, "d", fs.Directory)
	sub := mustCreate(t, f, d, "sub", fs.Directory)
	for i := range 30 {
		write(mustCreate(t, f, sub, fmt.Sprint("n", i), fs.File), strings.Repeat("x", 1000*(i+1)))
	}
	tot, err := f.TotalsOf(ctx, d)
	if err != nil || tot.DataBytes == 0 {
		t.Fatal(tot, err)
	}
	kept := mustCreate(t, f, fs.Root, "kept", fs.File)
	write(kept, strings.Repeat("a", 1<<20))
	s, err := f.TakeSnapshot(ctx, fs.SnapshotSpec{Root: fs.RootID})
	if err != nil {
		t.Fatal(err)
	}
	write(kept, strings.Repeat("b", 1<<20))
	if trees, snapshots := f.Reclaimed(); trees != 0 || snapshots != 0 {
		t.Errorf("%d and %d bytes before anything was deleted", trees, snapshots)
	}
	if err := f.DeleteSnapshot(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, n := f.Reclaimed(); return n >= 1<<20 })
	if _, err := f.StartTreeDelete(ctx, root, d.ID); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { _, err := f.TreeDelete(ctx, d.ID); return fs.KindOf(err) == fs.NotExist })
	if trees, snapshots := f.Reclaimed(); trees != tot.DataBytes || snapshots != 1<<20 {
		t.Errorf("%d and %d bytes, want %d and %d", trees, snapshots, tot.DataBytes, 1<<20)
	}
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}
