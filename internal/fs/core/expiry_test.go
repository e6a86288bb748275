package core_test

import (
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/kv/memkv"
)

// Who asked for it is told of snapshots whose time has come, not of those that
// somebody deletes.
func TestOnExpiry(t *testing.T) {
	f := newFS(t, memkv.New())
	told := make(chan string, 8)
	f.OnExpiry(func(s fs.Snapshot) { told <- s.Name })
	take := func(s fs.SnapshotSpec) fs.Snapshot {
		s.Root = fs.RootID
		x, err := f.TakeSnapshot(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	forever := take(fs.SnapshotSpec{})
	short := take(fs.SnapshotSpec{Expires: time.Now().Add(-time.Second)})
	if err := f.DeleteSnapshot(t.Context(), forever.ID); err != nil { // which wakes the worker
		t.Fatal(err)
	}
	if name := <-told; name != short.Name {
		t.Errorf("told of %s", name)
	}
}
