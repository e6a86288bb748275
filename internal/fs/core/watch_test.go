package core_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/core"
	"manifold/internal/kv/memkv"
)

// follow checks events of names against what they must be and counts changes.
// A rename is two events and one change.
type follow struct {
	t     *testing.T
	there map[string]fs.FileID
	moved map[uint64]fs.FileID
	count int
}

func (f *follow) event(e fs.Event) {
	id, taken := f.there[e.Path]
	switch e.Type {
	case fs.EventAdded:
		if taken {
			f.t.Fatalf("%q was made, but %d is there", e.Path, id)
		}
		f.there[e.Path] = e.ID
		f.count++
	case fs.EventRemoved, fs.EventMovedFrom:
		if id != e.ID {
			f.t.Fatalf("%q, which is %d, went as %d", e.Path, id, e.ID)
		}
		delete(f.there, e.Path)
		f.count++
		if e.Type == fs.EventMovedFrom {
			f.moved[e.Cookie] = e.ID
		}
	case fs.EventMovedTo:
		if f.moved[e.Cookie] != e.ID {
			f.t.Fatalf("%d came as %q, but not from anywhere", e.ID, e.Path)
		}
		delete(f.moved, e.Cookie)
		f.there[e.Path] = e.ID // replacing what was there
	default:
		f.t.Fatalf("%+v", e)
	}
}

// Of 100,000 changes that many make, to few names, none is missed and those of
// a name come in their order.
func TestWatch_manyChanges(t *testing.T) {
	changes := int64(100_000)
	if raceDetector {
		changes = 10_000
	}
	f := newFS(t, memkv.New())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dirs := []fs.Node{mustCreate(t, f, fs.Root, "a", fs.Directory)}
	dirs = append(dirs, mustCreate(t, f, dirs[0], "b", fs.Directory))
	const types = fs.EventAdded | fs.EventRemoved | fs.EventMovedFrom | fs.EventMovedTo
	events, err := f.Watch(ctx, dirs[0].ID, true, types|fs.EventResync)
	if err != nil {
		t.Fatal(err)
	}
	var made atomic.Int64
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 7))
			for made.Load() < changes {
				dir, name := dirs[rnd.IntN(2)], fmt.Sprint("n", rnd.IntN(20))
				var err error
				events := int64(1)
				switch rnd.IntN(6) {
				case 0, 1:
					_, err = f.Create(ctx, root, dir, name, &fs.CreateSpec{Type: fs.File})
				case 2, 3:
					_, err = f.Remove(ctx, root, dir, name, fs.RemoveFile)
				case 4:
					_, err = f.Rename(ctx, root, dir, name, dirs[rnd.IntN(2)], fmt.Sprint("n", rnd.IntN(20)), fs.RenameOptions{NoReplace: true})
				case 5:
					var staged fs.Node
					if staged, err = f.Stage(ctx, root, &fs.StageSpec{Dir: dir}); err == nil {
						var res fs.PublishResult
						res, err = f.Publish(ctx, root, staged, dir, name, &fs.PublishSpec{})
						if res.Replaced != (fs.Node{}) {
							events = 2
						}
					}
				}
				if err == nil {
					made.Add(events)
				} else if expected(err) != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	go func() {
		wg.Wait()
		cancel() // ends the watch once what was sent is read
	}()
	w := follow{t: t, there: map[string]fs.FileID{}, moved: map[uint64]fs.FileID{}}
	most := 0
	for e := range events {
		most = max(most, len(events))
		w.event(e)
	}
	// A rename to the same name is a success without an event.
	if n := int(made.Load()); w.count > n || w.count < n-n/20 || len(w.moved) > 0 {
		t.Errorf("%d changes, %d events", n, w.count)
	}
	left := 0
	for p, id := range w.there {
		a, err := f.Resolve(t.Context(), root, "/a/"+p, fs.AttrType)
		if err != nil || a.Node.ID != id {
			t.Errorf("%s is %d: %v", p, id, err)
		}
		left++
	}
	n := 0
	for _, d := range dirs {
		if _, err := f.ReadDir(t.Context(), root, d, 0, 0, func(e *fs.Dirent) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
	}
	if n-1 != left { // "b" was there before
		t.Errorf("%d names, %d by the events", n-1, left)
	}
	t.Logf("%d changes, at most %d events behind", made.Load(), most)
}

// Names that trees are deleted by are made anew at once by others: the events
// come in the order of the changes.
func TestWatch_treeDelete(t *testing.T) {
	f := newFS(t, memkv.New())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := f.Watch(ctx, fs.RootID, false, fs.EventAdded|fs.EventRemoved)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	made := make(chan fs.FileID)
	stop := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				r, err := f.Create(t.Context(), root, fs.Root, "d", &fs.CreateSpec{Type: fs.Directory})
				if err != nil {
					if fs.KindOf(err) != fs.Exist {
						t.Error(err)
					}
					r.Attr.Node.ID = 0
				}
				select {
				case made <- r.Attr.Node.ID:
				case <-stop:
					return
				}
			}
		})
	}
	wg.Go(func() {
		defer close(stop)
		for deleted := 0; deleted < 1500 && !t.Failed(); {
			id := <-made
			if id == 0 {
				continue
			}
			if _, err := f.StartTreeDelete(t.Context(), root, id); err != nil {
				t.Error(err)
			}
			deleted++
		}
	})
	go func() {
		wg.Wait()
		cancel()
	}()
	w := follow{t: t, there: map[string]fs.FileID{}}
	for e := range events {
		w.event(e)
	}
	if w.count < 3000 {
		t.Errorf("%d events", w.count)
	}
	waitTrees(t, f)
}

// waitTrees returns when no tree is being deleted.
func waitTrees(t *testing.T, f *core.FS) {
	t.Helper()
	for left := 1; left > 0; {
		left = 0
		if err := f.ListTreeDeletes(t.Context(), func(*fs.TreeDelete) bool { left++; return true }); err != nil {
			t.Fatal(err)
		}
	}
}

// One who does not read is told so after what there was room for, all of it
// from the beginning, and holds up nobody.
func TestWatch_overflow(t *testing.T) {
	f := newFS(t, memkv.New())
	slow, err := f.Watch(t.Context(), fs.RootID, false, fs.EventAdded|fs.EventResync)
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	for i := range n {
		mustCreate(t, f, fs.Root, fmt.Sprint(i), fs.File)
	}
	next := 0
	for e := range slow {
		switch {
		case e.Type == fs.EventResync:
			if next < 1000 || next >= n {
				t.Errorf("%d events before the overflow", next)
			}
			next = -1
		case e.Name != fmt.Sprint(next):
			t.Fatalf("%+v, want %d", e, next)
		default:
			next++
		}
	}
	if next != -1 {
		t.Errorf("the watch ended after %d events without a word", next)
	}
}
