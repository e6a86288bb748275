package pebblekv

import (
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"manifold/internal/kv"
)

// TestGroups holds the sync of a commit while others come: these wait for one
// more sync together, and nothing is acknowledged or durable before its own sync.
func TestGroups(t *testing.T) {
	const group = 5
	fs := newCopyFS()
	e := open(t, Options{FS: fs.fs()})
	syncs, proceed := make(chan struct{}), make(chan struct{})
	before := func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData && ofLog(op) {
			syncs <- struct{}{}
			<-proceed
		}
		return nil
	}
	start := e.wal.durable.Load()
	acked := make(chan uint64, group)
	var wg sync.WaitGroup
	update := func(i uint64) {
		wg.Go(func() {
			if _, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put(damageKey(i), nil); return nil }); err != nil {
				t.Error(err)
			}
			acked <- i
		})
	}
	durable := func(want uint64) {
		t.Helper()
		if got := e.wal.durable.Load() - start; got != want {
			t.Errorf("%d commits count as durable, want %d", got, want)
		}
		left := open(t, Options{FS: fs.mem.CrashClone(vfs.CrashCloneCfg{})})
		for i := range uint64(group + 1) {
			if _, err := fetch(left.db, damageKey(i)); (err == nil) != (i < want) {
				t.Errorf("of %d commits, key %d: %v", want, i, err)
			}
		}
		if err := left.Close(); err != nil {
			t.Error(err)
		}
	}
	fs.before.Store(&before)
	update(0)
	<-syncs
	for i := range uint64(group) {
		update(i + 1)
	}
	for e.committed.Load() != start+1+group {
		runtime.Gosched()
	}
	durable(0)
	proceed <- struct{}{}
	if i := <-acked; i != 0 {
		t.Errorf("commit %d was acknowledged first", i)
	}
	<-syncs
	durable(1)
	select {
	case i := <-acked:
		t.Errorf("commit %d was acknowledged without a sync", i)
	default:
	}
	proceed <- struct{}{}
	for range group {
		<-acked
	}
	wg.Wait()
	fs.before.Store(nil)
	durable(1 + group)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestSegmentGivesWay holds the making of the next segment: commits go on in the
// one that is full, and in the next one once it is there.
func TestSegmentGivesWay(t *testing.T) {
	fs := newCopyFS()
	e := open(t, Options{FS: fs.fs(), MemTableBytes: 256 << 10})
	made, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	before := func(op errorfs.Op) error {
		if op.Kind == errorfs.OpRename && strings.HasSuffix(op.Path, segmentTemp) {
			once.Do(func() { close(made); <-proceed })
		}
		return nil
	}
	fs.before.Store(&before)
	first := e.wal.file.no
	fill(t, e, 2000, 500)
	<-made
	if e.wal.file.no != first || e.wal.file.end < 2*e.wal.limit {
		t.Errorf("segment %d has %d bytes", e.wal.file.no, e.wal.file.end)
	}
	close(proceed)
	for e.wal.file.no == first {
		fill(t, e, 10, 100)
	}
	left := fs.mem.CrashClone(vfs.CrashCloneCfg{})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, Options{FS: left})
	for i := range uint64(2000) {
		if _, err := fetch(e.db, damageKey(i)); err != nil {
			t.Fatalf("key %d: %v", i, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
