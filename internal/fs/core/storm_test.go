package core_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/core"
	"manifold/internal/kv/memkv"
	"manifold/internal/meta"
)

// TestStorm lets many callers fight over few names, with snapshots coming and
// going. Nothing may fail in an unexpected way, and what is left must agree
// with itself: newFS checks it at the end.
func TestStorm(t *testing.T) {
	f := newFS(t, newPebble(t))
	ctx := t.Context()
	dirs := []fs.Node{fs.Root}
	for i := range 3 {
		dirs = append(dirs, mustCreate(t, f, dirs[i], fmt.Sprintf("dir%d", i), fs.Directory))
	}
	var wg sync.WaitGroup
	for g := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 1))
			for n := range 250 {
				if err := stormStep(ctx, f, rnd, dirs); err != nil {
					t.Errorf("caller %d, step %d: %v", g, n, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// expected are the errors that a fight over names gives.
func expected(err error) error {
	switch fs.KindOf(err) {
	case fs.NotExist, fs.Exist, fs.NotEmpty, fs.IsDir, fs.NotDir, fs.Loop, fs.Stale, fs.NotFile, fs.Busy:
		return nil
	}
	return err
}

func stormStep(ctx context.Context, f *core.FS, rnd *rand.Rand, dirs []fs.Node) error {
	dir := dirs[rnd.IntN(len(dirs))]
	name := fmt.Sprintf("n%d", rnd.IntN(4))
	other := dirs[rnd.IntN(len(dirs))]
	toName := fmt.Sprintf("n%d", rnd.IntN(4))
	switch rnd.IntN(12) {
	case 0, 1, 2:
		_, err := f.Create(ctx, root, dir, name, &fs.CreateSpec{Type: fs.File})
		return expected(err)
	case 3:
		_, err := f.Create(ctx, root, dir, name, &fs.CreateSpec{Type: fs.Directory})
		return expected(err)
	case 4, 5:
		_, err := f.Remove(ctx, root, dir, name, fs.RemoveAny)
		return expected(err)
	case 6, 7:
		_, err := f.Rename(ctx, root, dir, name, other, toName, fs.RenameOptions{})
		return expected(err)
	case 8:
		a, err := f.Lookup(ctx, root, dir, name, fs.AttrBasic)
		if err != nil {
			return expected(err)
		}
		_, err = f.Link(ctx, root, a.Node, other, toName)
		if fs.KindOf(err) == fs.Perm {
			return nil // a directory
		}
		return expected(err)
	case 9, 10:
		a, err := f.Lookup(ctx, root, dir, name, fs.AttrBasic)
		if err != nil || a.Type != fs.File {
			return expected(err)
		}
		_, err = f.Write(ctx, root, a.Node, &fs.WriteRequest{Offset: uint64(rnd.IntN(30000)), Data: make([]byte, 1+rnd.IntN(30000)), Stability: fs.Stability(rnd.IntN(3))})
		return expected(err)
	default:
		if rnd.IntN(2) == 0 {
			_, err := f.TakeSnapshot(ctx, fs.SnapshotSpec{Root: dir.ID})
			return expected(err)
		}
		var ids []fs.SnapshotID
		if err := f.ListSnapshots(ctx, 0, func(s *fs.Snapshot) bool { ids = append(ids, s.ID); return true }); err != nil || len(ids) == 0 {
			return err
		}
		return expected(f.DeleteSnapshot(ctx, ids[rnd.IntN(len(ids))]))
	}
}

// TestQuotaStorm lets many callers write into a directory with a quota; it is
// never exceeded, and what was refused left nothing behind.
func TestQuotaStorm(t *testing.T) {
	f := newFS(t, memkv.New())
	ctx := t.Context()
	dir := mustCreate(t, f, fs.Root, "limited", fs.Directory)
	const limit = 1 << 20
	if _, err := f.SetQuota(ctx, dir.ID, limit, true, 0); err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for n := range 20 {
				r, err := f.Create(ctx, root, dir, fmt.Sprintf("f%d-%d", g, n), &fs.CreateSpec{Type: fs.File})
				if err == nil {
					_, err = f.Write(ctx, root, r.Attr.Node, &fs.WriteRequest{Data: make([]byte, 20_000), Stability: fs.Stability(n % 2 * 2)})
				}
				switch {
				case errors.Is(err, fs.QuotaExceeded):
					refused.Add(1)
				case err != nil:
					t.Error(err)
				}
				q, err := f.Quota(ctx, dir.ID)
				if err != nil || q.Used > limit {
					t.Errorf("used %d of %d: %v", q.Used, limit, err)
				}
			}
		})
	}
	wg.Wait()
	if refused.Load() == 0 {
		t.Error("nothing was refused")
	}
	tot, err := f.TotalsOf(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	q, err := f.Quota(ctx, dir.ID)
	if err != nil {
		t.Fatal(err)
	}
	if have := tot.DataBytes + tot.MetaBytes - meta.MetaBytesPerObject; have != q.Used || have > limit {
		t.Errorf("totals %d, quota counts %d of %d", have, q.Used, limit)
	}
	// What is removed can be used again.
	var names []string
	if _, err := f.ReadDir(ctx, root, dir, 0, 0, func(e *fs.Dirent) bool { names = append(names, e.Name); return true }); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if _, err := f.Remove(ctx, root, dir, n, fs.RemoveFile); err != nil {
			t.Fatal(err)
		}
	}
	if q, err := f.Quota(ctx, dir.ID); err != nil || q.Used != 0 {
		t.Errorf("an empty directory uses %d: %v", q.Used, err)
	}
}

// TestQuotaStorm_renames moves a directory into and out of one with a quota while
// files in it are being written: what is buffered meanwhile never makes the
// quota's tree larger than it may be.
func TestQuotaStorm_renames(t *testing.T) {
	f := newFS(t, memkv.New())
	ctx := t.Context()
	limited := mustCreate(t, f, fs.Root, "limited", fs.Directory)
	moved := mustCreate(t, f, fs.Root, "moved", fs.Directory)
	const limit = 200_000
	if _, err := f.SetQuota(ctx, limited.ID, limit, true, 0); err != nil {
		t.Fatal(err)
	}
	var files []fs.Node
	for g := range 4 {
		files = append(files, mustCreate(t, f, moved, fmt.Sprintf("f%d", g), fs.File))
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	for g, n := range files {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(g)))
			for {
				select {
				case <-ended:
					return
				default:
				}
				_, err := f.Write(ctx, root, n, &fs.WriteRequest{Offset: uint64(rnd.IntN(40)) * 4096, Data: make([]byte, 4096)})
				if err == nil && rnd.IntN(50) == 0 {
					size := uint64(0)
					_, err = f.SetAttr(ctx, root, n, &fs.SetAttr{Size: &size})
				}
				if err != nil && !errors.Is(err, fs.QuotaExceeded) {
					t.Error(err)
					return
				}
			}
		})
	}
	went := 0
	for range 200 {
		_, err := f.Rename(ctx, root, fs.Root, "moved", limited, "moved", fs.RenameOptions{})
		if errors.Is(err, fs.QuotaExceeded) {
			continue
		}
		if err != nil {
			t.Error(err)
			break
		}
		went++
		if err := f.Quiesce(ctx); err != nil {
			t.Error(err)
		}
		if q, err := f.Quota(ctx, limited.ID); err != nil || q.Used > limit {
			t.Errorf("used %d of %d: %v", q.Used, limit, err)
		}
		if _, err := f.Rename(ctx, root, limited, "moved", fs.Root, "moved", fs.RenameOptions{}); err != nil {
			t.Error(err)
			break
		}
	}
	close(ended)
	wg.Wait()
	if went == 0 {
		t.Error("nothing was moved")
	}
	t.Logf("%d of 200 renames went through", went)
}
