package core_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"manifold/internal/data/segment"
	"manifold/internal/fs"
	"manifold/internal/fs/core"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
	"manifold/internal/kv/pgkv"
	"manifold/internal/meta"
)

var root = &fs.Caller{Cred: fs.SystemCaller().Cred}

func newFS(t testing.TB, engine kv.Engine) *core.FS {
	t.Helper()
	ctx := t.Context()
	store, err := segment.Open(segment.OSDisk{Dir: t.TempDir()}, segment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := meta.Format(ctx, engine, meta.FormatOptions{Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	o := core.Options{KV: engine, Store: store}
	if _, ok := engine.(*pgkv.Engine); ok {
		// A View that crosses a roll may have to be asked again there, which the
		// suite's callers do not do; totals roll when they are asked for.
		o.RollEvery = time.Hour
	}
	f, err := core.New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if tt, ok := t.(*testing.T); ok && !tt.Failed() {
			mustCheck(tt, f, engine)
		}
		if err := f.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
		_ = store.Close()
		_ = engine.Close()
	})
	return f
}

// mustCheck fails the test for everything that the check of the stored records finds.
func mustCheck(t *testing.T, f *core.FS, engine kv.Engine) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if err := f.Quiesce(ctx); err != nil {
		t.Error(err)
	}
	_, err := core.Check(ctx, engine, func(x core.Finding) { t.Errorf("check: %+v", x) }, nil)
	if err != nil {
		t.Error(err)
	}
}

func mustCreate(t testing.TB, f *core.FS, dir fs.Node, name string, typ fs.Type) fs.Node {
	t.Helper()
	r, err := f.Create(t.Context(), root, dir, name, &fs.CreateSpec{Type: typ, Target: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	return r.Attr.Node
}

func TestSmoke(t *testing.T) {
	f := newFS(t, memkv.New())
	ctx := t.Context()
	d := mustCreate(t, f, fs.Root, "d", fs.Directory)
	n := mustCreate(t, f, d, "f", fs.File)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
	for off := 0; off < len(payload); off += 1 << 20 {
		b := payload[off:min(off+1<<20, len(payload))]
		if _, err := f.Write(ctx, root, n, &fs.WriteRequest{Offset: uint64(off), Data: b}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(n fs.Node) []byte {
		b := make([]byte, len(payload)+10)
		r, err := f.Read(ctx, root, n, &fs.ReadRequest{}, b)
		if err != nil {
			t.Fatal(err)
		}
		return b[:r.N]
	}
	if !bytes.Equal(read(n), payload) {
		t.Fatal("buffered bytes differ")
	}
	if _, _, err := f.Commit(ctx, root, n, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(n), payload) {
		t.Fatal("committed bytes differ")
	}
	s, err := f.TakeSnapshot(ctx, fs.SnapshotSpec{Root: fs.RootID})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(ctx, root, n, &fs.WriteRequest{Offset: 5, Data: []byte("changed"), Stability: fs.FileSync}); err != nil {
		t.Fatal(err)
	}
	tot, err := f.TotalsOf(ctx, fs.Root)
	if err != nil {
		t.Fatal(err)
	}
	if tot.Files != 1 || tot.Directories != 1 || tot.LogicalBytes != uint64(len(payload)) {
		t.Fatalf("totals %+v", tot)
	}
	old, err := f.Resolve(ctx, root, "/.snapshot/"+s.Name+"/d/f", fs.AttrBasic)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(old.Node), payload) {
		t.Fatal("snapshot changed")
	}
	if _, err := f.Remove(ctx, root, d, "f", fs.RemoveAny); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Remove(ctx, root, fs.Root, "d", fs.RemoveAny); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(old.Node), payload) {
		t.Fatal("snapshot lost")
	}
	tot, err = f.TotalsOf(ctx, fs.Root)
	if err != nil || tot.Files != 0 || tot.Directories != 0 || tot.LogicalBytes != 0 || tot.DataBytes != 0 {
		t.Fatalf("totals %+v %v", tot, err)
	}
	tot, err = f.TotalsOf(ctx, fs.Node{ID: fs.RootID, Snap: s.ID})
	if err != nil || tot.Files != 1 || tot.Directories != 1 || tot.LogicalBytes != uint64(len(payload)) {
		t.Fatalf("totals of snapshot %+v %v", tot, err)
	}
	if err := f.DeleteSnapshot(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		mustCreate(t, f, fs.Root, fmt.Sprintf("file%d", i), fs.File)
	}
	n2 := 0
	if _, err := f.ReadDir(ctx, root, fs.Root, 0, fs.AttrBasic, func(e *fs.Dirent) bool { n2++; return true }); err != nil || n2 != 1000 {
		t.Fatal(n2, err)
	}
}
