package memfs_test

import (
	"context"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/fstest"
	"manifold/internal/fs/memfs"
)

var system = fs.SystemCaller()

func TestSuite(t *testing.T) {
	fstest.Run(t, func(*testing.T) fs.FS { return memfs.New(memfs.Options{}) })
}

func create(t *testing.T, f *memfs.FS, dir fs.Node, name string, typ fs.Type) fs.Node {
	t.Helper()
	r, err := f.Create(t.Context(), system, dir, name, &fs.CreateSpec{Type: typ, Want: fs.AttrType})
	if err != nil {
		t.Fatal(err)
	}
	return r.Attr.Node
}

func wantKind(t *testing.T, err error, k fs.Kind) {
	t.Helper()
	if err == nil || fs.KindOf(err) != k {
		t.Fatalf("got %v, want %v", err, k)
	}
}

// A held tree deletion can be seen, and cancelled.
func TestTreeDelete_held(t *testing.T) {
	ctx := t.Context()
	f := memfs.New(memfs.Options{HoldTreeDeletes: true})
	d := create(t, f, fs.Root, "d", fs.Directory)
	inner := create(t, f, d, "f", fs.File)
	shared := create(t, f, fs.Root, "shared", fs.File)
	if _, err := f.Link(ctx, system, shared, d, "link"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.StartTreeDelete(ctx, system, d.ID); err != nil {
		t.Fatal(err)
	}
	j, err := f.TreeDelete(ctx, d.ID)
	if err != nil || j.InitialPath != "/d" || j.Remaining.Files != 1 {
		t.Fatalf("job %+v, %v", j, err)
	}
	_, err = f.GetAttr(ctx, system, inner, 0)
	wantKind(t, err, fs.Stale)
	if a, err := f.GetAttr(ctx, system, shared, fs.AttrLinks); err != nil || a.Links != 1 {
		t.Fatalf("shared file %+v, %v", a, err)
	}
	create(t, f, fs.Root, "d", fs.Directory) // its name is taken meanwhile
	if err := f.CancelTreeDelete(ctx, d.ID); err != nil {
		t.Fatal(err)
	}
	if p, err := f.PathOf(ctx, inner); err != nil || p != "/lost+found/d/f" {
		t.Fatalf("path %q, %v", p, err)
	}
	if a, err := f.GetAttr(ctx, system, shared, fs.AttrLinks); err != nil || a.Links != 2 {
		t.Fatalf("shared file %+v, %v", a, err)
	}
	if _, err := f.StartTreeDelete(ctx, system, d.ID); err != nil {
		t.Fatal(err)
	}
	f.FinishTreeDeletes()
	_, err = f.TreeDelete(ctx, d.ID)
	wantKind(t, err, fs.NotExist)
	wantKind(t, f.CancelTreeDelete(ctx, d.ID), fs.NotExist)
}

func TestCapacity(t *testing.T) {
	ctx := t.Context()
	f := memfs.New(memfs.Options{Capacity: 4 * fs.BlockSize})
	n := create(t, f, fs.Root, "f", fs.File)
	_, err := f.Write(ctx, system, n, &fs.WriteRequest{Data: make([]byte, 5*fs.BlockSize)})
	wantKind(t, err, fs.NoSpace)
	if _, err := f.Write(ctx, system, n, &fs.WriteRequest{Data: make([]byte, 3*fs.BlockSize)}); err != nil {
		t.Fatal(err)
	}
	if s, err := f.StatFS(ctx, fs.SystemCaller(), fs.Root); err != nil || s.FreeBytes != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	_, err = f.Create(ctx, system, fs.Root, "g", &fs.CreateSpec{Type: fs.File})
	wantKind(t, err, fs.NoSpace)
	if _, err := f.Remove(ctx, system, fs.Root, "f", fs.RemoveAny); err != nil {
		t.Fatal(err) // deleting works when nothing else does
	}
}

// A crash takes what was unstable, and nothing else.
func TestCrash(t *testing.T) {
	ctx := t.Context()
	f := memfs.New(memfs.Options{})
	n := create(t, f, fs.Root, "f", fs.File)
	v := f.WriteVerifier()
	write := func(off uint64, s string, how fs.Stability) {
		t.Helper()
		if _, err := f.Write(ctx, system, n, &fs.WriteRequest{Offset: off, Data: []byte(s), Stability: how}); err != nil {
			t.Fatal(err)
		}
	}
	write(0, "stable", fs.FileSync)
	write(0, "LOST AND LONGER", fs.Unstable)
	h, _, err := f.Open(ctx, system, &fs.OpenSpec{Dir: n, Desired: fs.RightRead, Share: fs.ShareAll, Disposition: fs.OpenExisting})
	if err != nil {
		t.Fatal(err)
	}
	f.Crash()
	buf := make([]byte, 20)
	r, err := f.Read(ctx, system, n, &fs.ReadRequest{}, buf)
	if err != nil || string(buf[:r.N]) != "stable" {
		t.Fatalf("%q, %v", buf[:r.N], err)
	}
	if f.WriteVerifier() == v {
		t.Fatal("same verifier")
	}
	_, err = h.Read(ctx, 0, buf)
	wantKind(t, err, fs.Stale)
}

// The clock is the caller's; change times move on even if it stands.
func TestClock(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	f := memfs.New(memfs.Options{Now: func() time.Time { return now }})
	n := create(t, f, fs.Root, "f", fs.File)
	last, err := f.GetAttr(t.Context(), system, n, fs.AttrEverything)
	if err != nil || last.Btime != fs.TimeOf(now) || last.Mtime != last.Btime {
		t.Fatalf("%+v, %v", last, err)
	}
	for range 3 {
		if _, err := f.Write(t.Context(), system, n, &fs.WriteRequest{Data: []byte("x")}); err != nil {
			t.Fatal(err)
		}
		a, err := f.GetAttr(t.Context(), system, n, fs.AttrEverything)
		if err != nil || a.Ctime.Compare(last.Ctime) <= 0 || a.Mtime != a.Ctime {
			t.Fatalf("%+v after %+v, %v", a, last, err)
		}
		last = a
	}
}

// A watcher that does not read learns that it has missed something.
func TestWatch_overflow(t *testing.T) {
	f := memfs.New(memfs.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ch, err := f.Watch(ctx, fs.RootID, false, fs.EventsAll)
	if err != nil {
		t.Fatal(err)
	}
	n := create(t, f, fs.Root, "f", fs.File)
	for range 5000 {
		mode := fs.Mode(0o600)
		if _, err := f.SetAttr(t.Context(), system, n, &fs.SetAttr{Mode: &mode}); err != nil {
			t.Fatal(err)
		}
	}
	var last fs.Event
	for e := range ch {
		last = e
	}
	if last.Type != fs.EventResync {
		t.Fatalf("the last event is %+v", last)
	}
}
