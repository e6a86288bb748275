package pebblekv

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
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

// TestOwnKeys: nobody sees the engine's own keys.
func TestOwnKeys(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem()})
	fill(t, e, 10, 10)
	beyond := bytes.Repeat([]byte{kv.EngineTag}, kv.MaxKeyBytes+2)
	for _, start := range [][]byte{nil, {kv.EngineTag}, {kv.EngineTag, 0}, beyond} {
		for _, end := range [][]byte{nil, {kv.EngineTag, 0}, beyond} {
			for _, reverse := range []bool{false, true} {
				n := 0
				if err := e.View(t.Context(), kv.Linearizable, func(r kv.Reader) error {
					for _, err := range r.Scan(t.Context(), kv.Range{Start: start, End: end}, kv.ScanOptions{Reverse: reverse}) {
						if err != nil {
							return err
						}
						n++
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				if want := 10; start == nil && n != want || start != nil && n != 0 {
					t.Errorf("from %.3x to %.3x: %d keys", start, end, n)
				}
			}
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestDeleteOnceLeavesNothing: keys that come and go between two flushes never
// reach a table, and those that were in one leave it.
func TestDeleteOnceLeavesNothing(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem(), NoSync: true})
	tables := func() (n int) { // with keys other than the engine's own
		levels, err := e.db.SSTables()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range levels {
			for _, x := range l {
				if bytes.Compare(x.Smallest.UserKey, private) < 0 {
					n++
				}
			}
		}
		return n
	}
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

// TestLogsAreFilledByThePiece: a log is as long as what was written to it and
// a piece at most, and an old log that is used again gets no more zeros.
func TestLogsAreFilledByThePiece(t *testing.T) {
	const piece = 64 << 10
	fs := newCopyFS()
	var zeros, reused atomic.Int64
	before := func(op errorfs.Op) error {
		switch {
		case op.Kind == errorfs.OpFileWriteAt && ofLog(op):
			zeros.Add(1)
		case op.Kind == errorfs.OpRename && strings.HasSuffix(op.Path, segmentTemp):
			reused.Add(1)
		}
		return nil
	}
	fs.before.Store(&before)
	e := open(t, Options{FS: fs.fs(), MemTableBytes: 256 << 10, LogAhead: piece})
	for _, n := range segmentsOf(t, fs.mem) {
		if s, err := fs.mem.Stat(n); err != nil || s.Size() > 2*piece {
			t.Errorf("the log of an empty store, %s, has %d bytes, %v", n, s.Size(), err)
		}
	}
	keeper := e.keeper
	e.stopKeeper()
	e.keeper = nil
	fill := func(n int) {
		t.Helper()
		for range n / 100 {
			fill(t, e, 100, 200)
			if err := keeper.tend(); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(1000)
	// Each record takes some 300 bytes of the log.
	if n := zeros.Load(); n < 3 || n > 10 {
		t.Errorf("1,000 records wrote zeros %d times", n)
	}
	for reused.Load() < 3 {
		fill(1000)
		if err := e.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	n := zeros.Load()
	for range 20 {
		fill(1000)
		if err := e.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if more := zeros.Load() - n; more > 10 { // of some 100 pieces written
		t.Errorf("old logs got zeros %d times", more)
	}
	if n := len(segmentsOf(t, fs.mem)); n > maxOld+4 {
		t.Errorf("there are %d segments", n)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestNoRoomForZeros: a store whose logs cannot be filled beforehand works, and
// takes little of the room.
func TestNoRoomForZeros(t *testing.T) {
	fs := newCopyFS()
	full := errors.New("no space left on device")
	refused := 0
	before := func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWriteAt && ofLog(op) {
			refused++
			return full
		}
		return nil
	}
	fs.before.Store(&before)
	e := open(t, Options{FS: fs.fs(), LogAhead: 4 << 20})
	logs := segmentsOf(t, fs.mem)
	for _, n := range logs {
		if s, err := fs.mem.Stat(n); err != nil || s.Size() >= 1<<20 {
			t.Errorf("%s has %d bytes, %v", n, s.Size(), err)
		}
	}
	if refused == 0 || len(logs) == 0 {
		t.Errorf("%d logs, %d writes", len(logs), refused)
	}
	fill(t, e, 100, 200)
	clone := fs.mem.CrashClone(vfs.CrashCloneCfg{})
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	e = open(t, Options{FS: clone})
	if _, err := fetch(e.db, damageKey(99)); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
