package core_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"manifold/internal/data/segment"
	"manifold/internal/fs"
	"manifold/internal/fs/core"
)

// jumpyClock is set to any time.
type jumpyClock struct{ at atomic.Int64 }

func (c *jumpyClock) now() time.Time      { return time.Unix(0, c.at.Add(int64(time.Microsecond))) }
func (c *jumpyClock) set(t time.Time)     { c.at.Store(t.UnixNano()) }
func (c *jumpyClock) add(d time.Duration) { c.at.Add(int64(d)) }

// TestFault_clockJumps sets the clock back and forth by years. What clients
// cache by, ctime and change, only grows; nothing fails; data stays.
func TestFault_clockJumps(t *testing.T) {
	clock := &jumpyClock{}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock.set(start)
	x := newFaulty(t, core.Options{Now: clock.now, RollEvery: time.Millisecond}, segment.Options{SegmentBytes: 8 << 20})
	ctx := t.Context()
	const year = 365 * 24 * time.Hour
	have := map[string][]byte{}
	type seen struct {
		ctime  fs.Time
		change uint64
	}
	last := map[fs.FileID]seen{}
	look := func(n fs.Node, changed bool, what string) {
		t.Helper()
		a, err := x.GetAttr(ctx, root, n, fs.AttrBasic)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		was, known := last[n.ID]
		c := a.Ctime.Compare(was.ctime)
		if known && (c < 0 || a.Change < was.change || changed && (c == 0 || a.Change == was.change)) {
			t.Errorf("%s: ctime %v after %v, change %d after %d", what, a.Ctime, was.ctime, a.Change, was.change)
		}
		last[n.ID] = seen{a.Ctime, a.Change}
	}
	first, err := x.Create(ctx, root, fs.Root, "first", &fs.CreateSpec{Type: fs.File})
	if err != nil {
		t.Fatal(err)
	}
	look(fs.Root, false, "root")
	look(first.Attr.Node, false, "first")
	for i, jump := range []time.Duration{0, -20 * year, 50 * year, -time.Hour, -45 * year, time.Second, 15 * year} {
		clock.add(jump)
		what := fmt.Sprintf("after jump %d by %v", i, jump)
		name := fmt.Sprintf("f%d", i)
		have[name] = []byte(name)
		if err := x.put(name, have[name]); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		look(fs.Root, true, what+", root after create")
		if _, err := x.Write(ctx, root, first.Attr.Node, &fs.WriteRequest{Data: []byte{byte(i)}}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		look(first.Attr.Node, true, what+", after write")
		mode := fs.Mode(0o600 + i)
		if _, err := x.SetAttr(ctx, root, first.Attr.Node, &fs.SetAttr{Mode: &mode}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		look(first.Attr.Node, true, what+", after chmod")
		// Whatever mtime somebody has set, a write is later.
		future := fs.TimeOf(clock.now().Add(100 * year))
		if _, err := x.SetAttr(ctx, root, first.Attr.Node, &fs.SetAttr{Mtime: &fs.TimeSet{Time: future}}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if r, err := x.Write(ctx, root, first.Attr.Node, &fs.WriteRequest{Data: []byte{byte(i)}}); err != nil || r.File.After.Mtime == future {
			t.Fatalf("%s: mtime %v of a write to a file from the future, %v", what, r.File.After.Mtime, err)
		}
		if _, _, err := x.Commit(ctx, root, first.Attr.Node, 0, 0, 0); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		look(first.Attr.Node, false, what+", after commit")
		if i%3 == 2 {
			x.reopen() // the next process believes the clock as well
			look(first.Attr.Node, false, what+", after restart")
		}
		x.mustHave(have)
	}
}

// TestFault_clockJumpsAndSnapshots: a clock that goes back deletes nothing and
// hides nothing; one that goes forward deletes what has an end before the new
// time, and nothing else.
func TestFault_clockJumpsAndSnapshots(t *testing.T) {
	clock := &jumpyClock{}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	clock.set(start)
	x := newFaulty(t, core.Options{Now: clock.now}, segment.Options{SegmentBytes: 8 << 20})
	ctx := t.Context()
	if err := x.put("f", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	take := func(expires time.Time) *fs.Snapshot {
		t.Helper()
		s, err := x.TakeSnapshot(ctx, fs.SnapshotSpec{Root: fs.RootID, Expires: expires})
		if err != nil {
			t.Fatal(err)
		}
		return &s
	}
	forever := take(time.Time{})
	short, long := take(start.Add(time.Hour)), take(start.AddDate(10, 0, 0))
	listed := func(s *fs.Snapshot) (found bool) {
		t.Helper()
		err := x.ListSnapshots(ctx, 0, func(o *fs.Snapshot) bool {
			found = found || o.ID == s.ID && !o.InDelete
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	there := func(s *fs.Snapshot) bool {
		t.Helper()
		found := listed(s)
		if found {
			a, err := x.Resolve(ctx, root, "/.snapshot/"+s.Name+"/f", fs.AttrBasic)
			b := make([]byte, 10)
			if err == nil {
				var r fs.ReadResult
				r, err = x.Read(ctx, root, a.Node, &fs.ReadRequest{}, b)
				b = b[:r.N]
			}
			if err != nil || string(b) != "kept" {
				t.Errorf("snapshot %s: %q %v", s.Name, b, err)
			}
		}
		return found
	}
	expire := func() {
		t.Helper()
		x.reopen() // expiry is looked at when workers start
		for deadline := time.Now().Add(time.Minute); ; {
			if clock.now().Before(start.Add(time.Hour)) || !listed(short) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("a snapshot is not deleted after its end")
			}
		}
	}
	clock.set(start.AddDate(-30, 0, 0))
	expire()
	past := take(clock.now().Add(time.Hour))
	for _, s := range []*fs.Snapshot{forever, short, long, past} {
		if !there(s) {
			t.Errorf("snapshot %s is gone after the clock went back", s.Name)
		}
	}
	if past.ID <= long.ID {
		t.Errorf("ids do not grow: %d after %d", past.ID, long.ID)
	}
	clock.set(start.AddDate(5, 0, 0))
	expire()
	if !there(forever) || !there(long) {
		t.Error("a snapshot is gone before its end")
	}
	if _, err := x.Resolve(ctx, root, "/.snapshot/"+short.Name, fs.AttrBasic); !errors.Is(err, fs.NotExist) {
		t.Errorf("a deleted snapshot: %v", err)
	}
	x.mustHave(map[string][]byte{"f": []byte("kept")})
}
