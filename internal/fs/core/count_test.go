package core_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"manifold/internal/data"
	"manifold/internal/data/segment"
	"manifold/internal/fs"
	"manifold/internal/fs/core"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
	"manifold/internal/meta"
)

// byCaller marks the context of calls whose commits and syncs are counted: those
// of workers are not.
type byCaller struct{}

type countingEngine struct {
	kv.Engine
	updates atomic.Int64
}

func (e *countingEngine) Update(ctx context.Context, fn func(kv.Txn) error) (kv.Rev, error) {
	if ctx.Value(byCaller{}) != nil {
		e.updates.Add(1)
	}
	return e.Engine.Update(ctx, fn)
}

type countingStore struct {
	data.Segmented
	syncs atomic.Int64
}

func (s *countingStore) Sync(ctx context.Context) error {
	if ctx.Value(byCaller{}) != nil {
		s.syncs.Add(1)
	}
	return s.Segmented.Sync(ctx)
}

// newCounted opens a file system and answers a count of the commits (each one
// synced write of the log) and of the syncs of segments that a call makes.
func newCounted(t *testing.T) (*core.FS, func(fn func(ctx context.Context) error) (commits, syncs int64)) {
	t.Helper()
	seg, err := segment.Open(segment.OSDisk{Dir: t.TempDir()}, segment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = seg.Close() })
	engine, store := &countingEngine{Engine: memkv.New()}, &countingStore{Segmented: seg}
	if err := meta.Format(t.Context(), engine, meta.FormatOptions{Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	f, err := core.New(t.Context(), core.Options{KV: engine, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f, func(fn func(ctx context.Context) error) (int64, int64) {
		t.Helper()
		u, s := engine.updates.Load(), store.syncs.Load()
		if err := fn(context.WithValue(t.Context(), byCaller{}, true)); err != nil {
			t.Fatal(err)
		}
		return engine.updates.Load() - u, store.syncs.Load() - s
	}
}

// TestCommitsPerOperation asserts how often each operation makes the disk
// write: the price of "acknowledged is on disk" is one commit, not more.
func TestCommitsPerOperation(t *testing.T) {
	f, count := newCounted(t)
	var n fs.Node
	create := func(name string) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			r, err := f.Create(ctx, root, fs.Root, name, &fs.CreateSpec{Type: fs.File})
			n = r.Attr.Node
			return err
		}
	}
	write := func(off uint64, size int, how fs.Stability) func(ctx context.Context) error {
		return func(ctx context.Context) error {
			_, err := f.Write(ctx, root, n, &fs.WriteRequest{Offset: off, Data: make([]byte, size), Stability: how})
			return err
		}
	}
	commit := func(ctx context.Context) error {
		_, _, err := f.Commit(ctx, root, n, 0, 0, 0)
		return err
	}
	mode := fs.Mode(0o600)
	for _, c := range []struct {
		what           string
		fn             func(ctx context.Context) error
		commits, syncs int64
	}{
		// The first of each kind takes a batch of ids besides.
		{"first create", create("first"), 2, 0},
		{"create", create("a"), 1, 0},
		{"first create with data", func(ctx context.Context) error {
			_, err := f.Create(ctx, root, fs.Root, "whole", &fs.CreateSpec{Type: fs.File, Data: make([]byte, fs.MaxCreateData)})
			return err
		}, 2, 0},
		{"open that creates with data, and close", func(ctx context.Context) error {
			h, _, err := f.Open(ctx, root, &fs.OpenSpec{Dir: fs.Root, Name: "whole2", Desired: fs.RightsWriteData, Share: fs.ShareAll, Disposition: fs.OpenCreate,
				Create: fs.CreateSpec{Type: fs.File, Data: make([]byte, 4096)}})
			if err != nil {
				return err
			}
			return h.Close(ctx)
		}, 1, 0},
		{"set a mode", func(ctx context.Context) error {
			_, err := f.SetAttr(ctx, root, n, &fs.SetAttr{Mode: &mode})
			return err
		}, 1, 0},
		{"stable write of 4 KiB", write(0, 4096, fs.FileSync), 1, 0},
		{"stable write of 1 MiB", write(0, 1<<20, fs.FileSync), 1, 1},
		{"unstable write", write(0, 4096, fs.Unstable), 0, 0},
		{"commit", commit, 1, 0},
		{"commit of what is clean", commit, 0, 0},
		{"unstable writes here and there, commit", func(ctx context.Context) error {
			for i := range uint64(16) {
				if err := write(i<<22, 4096, fs.Unstable)(ctx); err != nil {
					return err
				}
			}
			return commit(ctx)
		}, 1, 0},
		{"rename", func(ctx context.Context) error {
			_, err := f.Rename(ctx, root, fs.Root, "a", fs.Root, "b", fs.RenameOptions{})
			return err
		}, 1, 0},
		{"open to be deleted at the close, and close", func(ctx context.Context) error {
			if err := create("c")(context.Background()); err != nil {
				return err
			}
			h, _, err := f.Open(ctx, root, &fs.OpenSpec{Dir: fs.Root, Name: "c", Desired: fs.RightDelete, Share: fs.ShareAll, Space: fs.LockSMB, Disposition: fs.OpenExisting, DeleteOnClose: true})
			if err != nil {
				return err
			}
			if err := h.Close(ctx); err != nil {
				return err
			}
			if _, err := f.Lookup(ctx, root, fs.Root, "c", 0); fs.KindOf(err) != fs.NotExist {
				return fmt.Errorf("after the close: %w", err)
			}
			return nil
		}, 1, 0},
		{"remove", func(ctx context.Context) error {
			_, err := f.Remove(ctx, root, fs.Root, "b", fs.RemoveFile)
			return err
		}, 1, 0},
	} {
		if commits, syncs := count(c.fn); commits != c.commits || syncs != c.syncs {
			t.Errorf("%s: %d commits and %d syncs of segments, want %d and %d", c.what, commits, syncs, c.commits, c.syncs)
		}
	}
}

// TestFlushOfLargeMaps writes as many pieces as one transaction takes, in as
// many chunks, whose maps are as long as they get and must be kept for a
// snapshot: it fits the limits of a transaction.
func TestFlushOfLargeMaps(t *testing.T) {
	f, count := newCounted(t)
	n := mustCreate(t, f, fs.Root, "f", fs.File)
	const chunks, chunk = 24, uint64(4 << 20)
	put := func(ctx context.Context, off uint64) error {
		_, err := f.Write(ctx, root, n, &fs.WriteRequest{Offset: off, Data: []byte(fmt.Sprint(off))})
		return err
	}
	for c := range uint64(chunks) {
		for i := range uint64(850) {
			if err := put(t.Context(), c*chunk+i*4096+1); err != nil {
				t.Fatal(err)
			}
		}
	}
	commit := func(ctx context.Context) error {
		_, _, err := f.Commit(ctx, root, n, 0, 0, 0)
		return err
	}
	if err := commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.TakeSnapshot(t.Context(), fs.SnapshotSpec{Root: fs.RootID}); err != nil {
		t.Fatal(err)
	}
	commits, _ := count(func(ctx context.Context) error {
		for i := range uint64(64) {
			if err := put(ctx, i%chunks*chunk+i*8192); err != nil {
				return err
			}
		}
		return commit(ctx)
	})
	if commits != 1 {
		t.Errorf("%d transactions", commits)
	}
}
