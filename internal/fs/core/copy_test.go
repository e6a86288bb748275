package core_test

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"manifold/internal/data"
	"manifold/internal/data/segment"
	"manifold/internal/fs"
	"manifold/internal/fs/core"
	"manifold/internal/kv"
)

// stored counts the records of extents and their references.
func stored(t *testing.T, x *faulty) (extents, refs uint64) {
	t.Helper()
	ctx := t.Context()
	if err := x.Quiesce(ctx); err != nil {
		t.Fatal(err)
	}
	rep, err := core.Check(ctx, x.kv, func(f core.Finding) { t.Errorf("check: %+v", f) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rep.ExtentRecords, rep.References
}

func fill(t *testing.T, f *core.FS, n fs.Node, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(b)
	for off := 0; off < size; off += 1 << 20 {
		part := b[off:min(off+1<<20, size)]
		if _, err := f.Write(t.Context(), root, n, &fs.WriteRequest{Offset: uint64(off), Data: part}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func readAll(t *testing.T, f *core.FS, n fs.Node) []byte {
	t.Helper()
	a, err := f.GetAttr(t.Context(), root, n, fs.AttrSize)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, a.Size)
	if _, err := f.Read(t.Context(), root, n, &fs.ReadRequest{}, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// A copy takes references, not data, wherever it begins; what is shared goes
// with the last that maps it.
func TestCopyRange_reference(t *testing.T) {
	x := newFaulty(t, core.Options{}, segment.Options{})
	ctx := t.Context()
	src, dst := mustCreate(t, x.FS, fs.Root, "src", fs.File), mustCreate(t, x.FS, fs.Root, "dst", fs.File)
	want := fill(t, x.FS, src, 20<<20+12345) // buffered in part
	extents, refs := stored(t, x)
	if refs != 0 {
		t.Fatalf("%d references of a file without copies", refs)
	}
	n, err := x.CopyRange(ctx, root, src, 0, 0, dst, 0, 0, 1<<40)
	if err != nil || n != uint64(len(want)) {
		t.Fatalf("copied %d, %v", n, err)
	}
	if !bytes.Equal(readAll(t, x.FS, dst), want) {
		t.Fatal("copy differs")
	}
	now, refs := stored(t, x)
	if refs == 0 || now > extents+1 { // the end may lie inline
		t.Fatalf("%d extents, were %d, and %d references", now, extents, refs)
	}
	// Within the file itself and not aligned, over chunk boundaries.
	if n, err = x.CopyRange(ctx, root, dst, 0, 1001, dst, 0, 30<<20+7, 9<<20); err != nil || n != 9<<20 {
		t.Fatalf("copied %d, %v", n, err)
	}
	want2 := append(append(bytes.Clone(want), make([]byte, 30<<20+7-len(want))...), want[1001:1001+9<<20]...)
	if !bytes.Equal(readAll(t, x.FS, dst), want2) {
		t.Fatal("copy within the file differs")
	}
	s, err := x.TakeSnapshot(ctx, fs.SnapshotSpec{Root: fs.RootID})
	if err != nil {
		t.Fatal(err)
	}
	zero := uint64(0)
	for _, n := range []fs.Node{src, dst} {
		if _, err := x.SetAttr(ctx, root, n, &fs.SetAttr{Size: &zero}); err != nil {
			t.Fatal(err)
		}
	}
	old := fs.Node{ID: dst.ID, Snap: s.ID}
	if n, err = x.CopyRange(ctx, root, old, 0, 0, dst, 0, 0, 1<<40); err != nil || n != uint64(len(want2)) {
		t.Fatalf("restored %d, %v", n, err)
	}
	if err := x.DeleteSnapshot(ctx, s.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := x.Quiesce(ctx); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readAll(t, x.FS, dst), want2) {
			t.Fatal("restored file differs")
		}
		x.reopen()
	}
	for _, name := range []string{"src", "dst"} {
		if _, err := x.Remove(ctx, root, fs.Root, name, fs.RemoveAny); err != nil {
			t.Fatal(err)
		}
	}
	for start := time.Now(); ; { // what had no name left is freed in the background
		var left, queued, refs int
		err := x.kv.View(ctx, kv.Linearizable, func(r kv.Reader) error {
			recs, _, _, err := data.Extents(ctx, r, 0, 10_000)
			if err != nil {
				return err
			}
			ids, err := data.Queued(ctx, r, 0, 10_000)
			if err != nil {
				return err
			}
			rows, err := data.Refs(ctx, r, data.Ref{}, 10_000)
			left, queued, refs = len(recs), len(ids), len(rows)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Quiesce(ctx); err != nil {
			t.Fatal(err)
		}
		if left == queued && refs == 0 {
			return
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%d extents, of which %d are to be freed, and %d references are left", left, queued, refs)
		}
	}
}
