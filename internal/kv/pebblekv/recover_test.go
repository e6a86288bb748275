package pebblekv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/kv"
	"manifold/internal/kv/kvtest"
)

// TestUpgrade opens a store that has Pebble's log, as versions before our own
// made it, and that was not closed: with what is in that log, and again after a
// crash of the first opening and of the second.
func TestUpgrade(t *testing.T) {
	mem := vfs.NewCrashableMem()
	old, err := pebble.Open("store", &pebble.Options{FS: mem, FormatMajorVersion: formatVersion, MemTableSize: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	epoch := binary.BigEndian.AppendUint64(nil, 7)
	if err := old.Set(epochKey, epoch, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	value := func(i, life uint64) []byte {
		return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(make([]byte, 500), i), life)
	}
	const n = 2000
	for i := range uint64(n) {
		if err := old.Set(damageKey(i), value(i, 0), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	left := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	changed := map[uint64]uint64{}
	rng := rand.New(rand.NewPCG(9, 10))
	for life := uint64(1); life <= 4; life++ {
		e := open(t, Options{FS: left, MemTableBytes: 256 << 10})
		if e.epoch != 7+life {
			t.Errorf("life %d: opening %d", life, e.epoch)
		}
		for i := range uint64(n) {
			v, err := fetch(e.db, damageKey(i))
			if err != nil || string(v) != string(value(i, changed[i])) {
				t.Fatalf("life %d, key %d: %x, %v", life, i, v, err)
			}
		}
		for range 300 {
			i := rng.Uint64N(n)
			if _, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put(damageKey(i), value(i, life)); return nil }); err != nil {
				t.Fatal(err)
			}
			changed[i] = life
		}
		left = left.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMissingSegments: a store whose log lacks a segment does not open.
func TestMissingSegments(t *testing.T) {
	mem := vfs.NewCrashableMem()
	e := open(t, Options{FS: mem, MemTableBytes: 1 << 20})
	k := e.keeper
	e.stopKeeper()
	e.keeper = nil
	e.wal.limit = 64 << 10
	for range 6 {
		fill(t, e, 500, 100)
		if err := k.tend(); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, e, 10, 100)
	have := segmentsOf(t, mem)
	inUse := int(e.wal.file.no)
	if inUse < 4 {
		t.Fatalf("segment %d of %d is in use", inUse, len(have))
	}
	for i, name := range have[:inUse] {
		clone := mem.CrashClone(vfs.CrashCloneCfg{})
		if err := clone.Remove(name); err != nil {
			t.Fatal(err)
		}
		if e, err := Open(t.Context(), Options{Dir: "store", FS: clone}); !errors.Is(err, errLogDamaged) {
			t.Errorf("without segment %d of %d: %v", i+1, inUse, err)
			if err == nil {
				_ = e.Close()
			}
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	// A closed store needs no log.
	if err := mem.RemoveAll("store/" + logDir); err != nil {
		t.Fatal(err)
	}
	e = open(t, Options{FS: mem})
	if _, err := fetch(e.db, damageKey(499)); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestCheckpointInUse copies a store while it is written to, and crashes copies:
// each has all that was acknowledged before the copy.
func TestCheckpointInUse(t *testing.T) {
	c := kvtest.NewCrash(4, 5000)
	mem := vfs.NewCrashableMem()
	e := open(t, Options{FS: mem, MemTableBytes: 256 << 10})
	type copied struct {
		dir string
		p   kvtest.Promise
	}
	var all []copied
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 8 {
			x := copied{fmt.Sprintf("copies/%d", i), c.Promised()}
			if err := e.Checkpoint(t.Context(), x.dir); err != nil {
				t.Error(err)
				return
			}
			all = append(all, x)
		}
	})
	if err := c.Run(t.Context(), e, 200, 11); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	left := mem.CrashClone(vfs.CrashCloneCfg{})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		for range 2 { // the second opens what a crash left of the first
			e := open(t, Options{Dir: x.dir, FS: left})
			if err := c.Check(t.Context(), e, x.p); err != nil {
				t.Errorf("%s: %v", x.dir, err)
			}
			next := left.CrashClone(vfs.CrashCloneCfg{})
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			left = next
		}
	}
}

// TestTablesAhead crashes when tables have commits that the log does not: the
// state is that of the tables, and goes on from there.
func TestTablesAhead(t *testing.T) {
	fs := newCopyFS()
	e := open(t, Options{FS: fs.fs()})
	fill(t, e, 100, 100)
	h := &heldSync{release: make(chan struct{}), arrived: make(chan struct{}, 1)}
	before := h.op
	fs.before.Store(&before)
	h.held.Store(true)
	done := make(chan error, 1)
	go func() {
		_, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put(damageKey(5000), nil); x.Delete(damageKey(0)); return nil })
		done <- err
	}()
	<-h.arrived
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	left := fs.mem.CrashClone(vfs.CrashCloneCfg{})
	h.held.Store(false)
	close(h.release)
	if err := errors.Join(<-done, e.Close()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		e := open(t, Options{FS: left})
		if _, err := fetch(e.db, damageKey(5000)); err != nil {
			t.Error(err)
		}
		if _, err := fetch(e.db, damageKey(0)); err != kv.ErrNotFound {
			t.Error(err)
		}
		fill(t, e, 10, 100)
		if _, err := e.Update(t.Context(), func(x kv.Txn) error { x.Delete(damageKey(0)); return nil }); err != nil {
			t.Fatal(err)
		}
		next := left.CrashClone(vfs.CrashCloneCfg{})
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		left = next
	}
}
