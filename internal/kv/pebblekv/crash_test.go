package pebblekv

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"manifold/internal/kv"
	"manifold/internal/kv/kvtest"
)

// copyFS is a file layer that can be copied as a power cut would leave it.
type copyFS struct {
	mem *vfs.MemFS
	// before is called ahead of every change of a file.
	before atomic.Pointer[func(errorfs.Op) error]
}

func newCopyFS() *copyFS { return &copyFS{mem: vfs.NewCrashableMem()} }

func (c *copyFS) fs() vfs.FS {
	return errorfs.Wrap(c.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f := c.before.Load(); f != nil && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return (*f)(op)
		}
		return nil
	}))
}

// ofLog tells whether an operation is on the log.
func ofLog(op errorfs.Op) bool { return strings.HasPrefix(op.Path, "store/"+logDir+"/") }

// rounds shortens a test for the race detector, which runs a quarter.
func rounds(n uint64) uint64 {
	if testing.Short() {
		return n / 4
	}
	return n
}

// TestCrashes copies the file layer ahead of file operations picked at random,
// with none, some or all of the unsynced data, and opens every copy.
func TestCrashes(t *testing.T) {
	copies := int(rounds(24))
	for _, percent := range []int{0, 50, 100} {
		type copied struct {
			fs *vfs.MemFS
			p  kvtest.Promise
		}
		c := kvtest.NewCrash(4, 2000)
		fs := newCopyFS()
		e := open(t, Options{FS: fs.fs()})
		var mu sync.Mutex
		rng := rand.New(rand.NewPCG(uint64(percent), 7))
		var all []copied
		skip := 0
		before := func(errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if skip > 0 || len(all) == copies {
				skip--
				return nil
			}
			skip = rng.IntN(12)
			p := c.Promised()
			all = append(all, copied{fs.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}), p})
			return nil
		}
		fs.before.Store(&before)
		if err := c.Run(t.Context(), e, 300, uint64(percent)); err != nil {
			t.Fatal(err)
		}
		// A flush and what follows it are moments to crash at too.
		mu.Lock()
		skip = 0
		mu.Unlock()
		if err := e.db.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		fs.before.Store(nil)
		for i, x := range all {
			e, err := Open(t.Context(), Options{Dir: "store", FS: x.fs})
			if err != nil {
				t.Fatalf("%d%%, copy %d: %v", percent, i, err)
			}
			if err := c.Check(t.Context(), e, x.p); err != nil {
				t.Errorf("%d%%, copy %d: %v", percent, i, err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		t.Logf("%d%%: %d copies, %d transactions acknowledged", percent, len(all), c.Acknowledged())
	}
}

// TestCrashInFlush does the same with a memtable so small that flushes,
// compactions and new logs happen all the time.
func TestCrashInFlush(t *testing.T) {
	c := kvtest.NewCrash(4, 40_000)
	fs := newCopyFS()
	e := open(t, Options{FS: fs.fs(), MemTableBytes: 256 << 10, LogAhead: 32 << 10})
	rng := rand.New(rand.NewPCG(3, 4))
	type copied struct {
		fs *vfs.MemFS
		p  kvtest.Promise
	}
	var mu sync.Mutex
	var all []copied
	n, copies := 0, int(rounds(28))
	before := func(op errorfs.Op) error {
		mu.Lock()
		defer mu.Unlock()
		// Every operation that is not the log's own, and few of those.
		if n++; len(all) < copies && (!ofLog(op) && n%3 == 0 || n%40 == 0) {
			p := c.Promised()
			all = append(all, copied{fs.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 30, RNG: rng}), p})
		}
		return nil
	}
	fs.before.Store(&before)
	if err := c.Run(t.Context(), e, 100, 5); err != nil {
		t.Fatal(err)
	}
	fs.before.Store(nil)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for i, x := range all {
		e, err := Open(t.Context(), Options{Dir: "store", FS: x.fs})
		if err != nil {
			t.Fatalf("copy %d: %v", i, err)
		}
		if err := c.Check(t.Context(), e, x.p); err != nil {
			t.Errorf("copy %d: %v", i, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d copies, %d transactions acknowledged", len(all), c.Acknowledged())
}

// TestLogFailure breaks the log at a random operation: the engine must call
// Fatal, acknowledge nothing afterwards, and lose nothing it acknowledged.
func TestLogFailure(t *testing.T) {
	for _, kind := range []errorfs.OpKind{errorfs.OpFileWrite, errorfs.OpFileSyncData} {
		for seed := range rounds(4) {
			c := kvtest.NewCrash(4, 500)
			fs := newCopyFS()
			fatal := make(chan error, 1)
			e := open(t, Options{FS: fs.fs(), Fatal: func(err error) { fatal <- err }})
			var left atomic.Int64
			left.Store(int64(50 + 37*seed))
			before := func(op errorfs.Op) error {
				if ofLog(op) && (op.Kind == kind || left.Load() <= 0) && left.Add(-1) <= 0 {
					return errorfs.ErrInjected
				}
				return nil
			}
			fs.before.Store(&before)
			if err := c.Run(t.Context(), e, 1_000_000, seed); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-fatal:
				if !errors.Is(err, errorfs.ErrInjected) {
					t.Errorf("Fatal got %v", err)
				}
			default:
				t.Fatal("Fatal was not called")
			}
			if _, err := e.Update(t.Context(), func(kv.Txn) error { return nil }); !errors.Is(err, kv.ErrUnavailable) {
				t.Errorf("Update after the failure: %v", err)
			}
			err := e.View(t.Context(), kv.Linearizable, func(kv.Reader) error { return nil })
			if !errors.Is(err, kv.ErrUnavailable) {
				t.Errorf("View after the failure: %v", err)
			}
			p := c.Promised()
			e2, err := Open(t.Context(), Options{Dir: "store", FS: fs.mem.CrashClone(vfs.CrashCloneCfg{})})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Check(t.Context(), e2, p); err != nil {
				t.Errorf("kind %v, seed %d: %v", kind, seed, err)
			}
			if err := e2.Close(); err != nil {
				t.Error(err)
			}
			_ = e.Close()
		}
	}
}

// heldSync makes the log's syncs wait, to stage commits that are visible but
// not durable.
type heldSync struct {
	held    atomic.Bool
	release chan struct{}
	arrived chan struct{}
}

func (h *heldSync) op(op errorfs.Op) error {
	if op.Kind == errorfs.OpFileSyncData && ofLog(op) && h.held.Load() {
		select {
		case h.arrived <- struct{}{}:
		default:
		}
		<-h.release
	}
	return nil
}

// TestReadsWaitForSync stages a commit whose sync hangs. Who reads it waits,
// who reads something else does not.
func TestReadsWaitForSync(t *testing.T) {
	fs := newCopyFS()
	e := open(t, Options{FS: fs.fs()})
	a, b := benchKey(1), benchKey(2)
	write := func(k []byte, v string) error {
		_, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put(k, []byte(v)); return nil })
		return err
	}
	read := func(ctx context.Context, k []byte) (v string, err error) {
		err = e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
			got, err := r.Get(ctx, k)
			v = string(got)
			return err
		})
		return v, err
	}
	for _, k := range [][]byte{a, b} {
		if err := write(k, "old"); err != nil {
			t.Fatal(err)
		}
	}
	h := &heldSync{release: make(chan struct{}), arrived: make(chan struct{}, 1)}
	before := h.op
	fs.before.Store(&before)
	h.held.Store(true)
	done := make(chan error, 1)
	go func() { done <- write(a, "new") }()
	<-h.arrived
	// The log is written before the commit becomes visible.
	for e.committed.Load() != e.issued.Load() {
		runtime.Gosched()
	}
	if v, err := read(t.Context(), b); v != "old" || err != nil {
		t.Errorf("the key beside: %q, %v", v, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := e.Update(t.Context(), func(x kv.Txn) error {
		_, err := x.Get(t.Context(), b)
		return err
	})
	if err != nil {
		t.Errorf("an Update that reads the key beside: %v", err)
	}
	cancelled := errors.New("saw the new value")
	check := func(what string, err error) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s saw a commit that is not durable and returned %v", what, err)
		}
	}
	err = e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		if v, err := r.Get(ctx, a); err != nil || string(v) != "new" {
			t.Errorf("the new value is not visible: %q, %v", v, err)
		}
		cancel()
		return nil
	})
	check("a View", err)
	ctx, cancel = context.WithCancel(t.Context())
	err = e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		for range r.Scan(ctx, kv.Range{}, kv.ScanOptions{}) {
		}
		cancel()
		return nil
	})
	check("a View that scans all", err)
	ctx, cancel = context.WithCancel(t.Context())
	_, err = e.Update(ctx, func(x kv.Txn) error {
		_, err := x.Get(ctx, a)
		cancel()
		if err != nil {
			return err
		}
		return cancelled
	})
	check("an Update that fails", err)
	// What a power cut would leave now must not have it.
	clone, err := Open(t.Context(), Options{Dir: "store", FS: fs.mem.CrashClone(vfs.CrashCloneCfg{})})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := fetch(clone.db, a); string(v) != "old" || err != nil {
		t.Errorf("the copy has %q, %v", v, err)
	}
	if err := clone.Close(); err != nil {
		t.Error(err)
	}
	h.held.Store(false)
	close(h.release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if v, err := read(t.Context(), a); v != "new" || err != nil {
		t.Errorf("after the sync: %q, %v", v, err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestReopen checks what must outlive a restart.
func TestReopen(t *testing.T) {
	dir := t.TempDir() + "/deep/store"
	e := open(t, Options{Dir: dir})
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil {
		t.Fatal("the directory was opened twice")
	}
	s1, err := e.NewSession(t.Context(), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	k := benchKey(1)
	rev1, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put(k, []byte("v")); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if rev1, err = e.Update(t.Context(), func(x kv.Txn) error { x.Put(k, []byte("v")); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	copyDir := t.TempDir() + "/copy"
	if err := e.Checkpoint(t.Context(), copyDir); err != nil {
		t.Fatal(err)
	}
	if err := e.Checkpoint(t.Context(), copyDir); err == nil {
		t.Error("a checkpoint went into a directory that exists")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, copyDir} {
		e = open(t, Options{Dir: d})
		if v, err := fetch(e.db, k); err != nil || string(v) != "v" {
			t.Errorf("%s: %q, %v", d, v, err)
		}
		s2, err := e.NewSession(t.Context(), 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s2.ID() == s1.ID() {
			t.Error("a session id came back after a restart")
		}
		rev2, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put(k, []byte("v")); return nil })
		if err != nil {
			t.Fatal(err)
		}
		if rev2 <= rev1 {
			t.Errorf("revisions went back: %d after %d", rev2, rev1)
		}
		// The engine's own keys are nobody else's business.
		n := 0
		if err := e.View(t.Context(), kv.Linearizable, func(r kv.Reader) error {
			for _, err := range r.Scan(t.Context(), kv.Range{}, kv.ScanOptions{Reverse: true}) {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		}); err != nil || n != 1 {
			t.Errorf("a scan of everything yields %d keys, %v", n, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
	}
}

// TestFormatPinned fails when an upgrade of Pebble would change the format of
// the directory by itself.
func TestFormatPinned(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem()})
	defer e.Close()
	if v := e.db.FormatMajorVersion(); v != pebble.FormatValueSeparation {
		t.Errorf("format %v", v)
	}
}

// TestCollisions runs histories with few slots, where nearly everything
// collides: slower, but never wrong.
func TestCollisions(t *testing.T) {
	for seed := range uint64(3) {
		e := open(t, Options{FS: vfs.NewMem()})
		e.slots.mask = 1
		if err := (kvtest.History{Seed: seed, Workers: 4, Each: 60, Keys: 6}).Check(t.Context(), e); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHistories runs more histories than the suite does.
func TestHistories(t *testing.T) {
	for seed := range rounds(20) {
		e := open(t, Options{FS: vfs.NewMem()})
		h := kvtest.History{Seed: 100 + seed, Workers: 2 + int(seed%7), Each: 80, Keys: 3 + int(seed%5)}
		if err := h.Check(t.Context(), e); err != nil {
			t.Errorf("%+v: %v", h, err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCrashCheckFindsLoss proves the check: an engine that does not sync loses
// what it acknowledged.
func TestCrashCheckFindsLoss(t *testing.T) {
	c := kvtest.NewCrash(2, 100)
	fs := newCopyFS()
	e := open(t, Options{FS: fs.fs(), NoSync: true})
	if err := c.Run(t.Context(), e, 20, 1); err != nil {
		t.Fatal(err)
	}
	clone := open(t, Options{FS: fs.mem.CrashClone(vfs.CrashCloneCfg{})})
	if err := c.Check(t.Context(), clone, c.Promised()); err == nil {
		t.Error("the loss was not found")
	}
	if err := errors.Join(clone.Close(), e.Close()); err != nil {
		t.Error(err)
	}
}
