package core_test

import (
	"sync/atomic"
	"testing"
	"time"

	"manifold/internal/data/segment"
	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/fs/core"
)

// A read changes an access time that has grown old, and nothing else, and only
// while that is switched on.
func TestAtime(t *testing.T) {
	clock := &jumpyClock{}
	clock.set(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	var every atomic.Int64
	x := newFaulty(t, core.Options{Now: clock.now, Atime: func() time.Duration { return time.Duration(every.Load()) }}, segment.Options{SegmentBytes: 8 << 20})
	ctx := t.Context()
	f, err := x.Create(ctx, root, fs.Root, "f", &fs.CreateSpec{Type: fs.File})
	if err != nil {
		t.Fatal(err)
	}
	n := f.Attr.Node
	read := func() fs.Attr {
		t.Helper()
		if _, err := x.Read(ctx, root, n, &fs.ReadRequest{}, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		a, err := x.GetAttr(ctx, root, n, fs.AttrBasic)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	before := read()
	clock.add(2 * time.Hour)
	if a := read(); a.Atime != before.Atime {
		t.Errorf("changed while it is off: %v", a.Atime)
	}
	every.Store(int64(time.Hour))
	after := read()
	for after.Atime == before.Atime && ctx.Err() == nil {
		after = read() // the worker is on its way
	}
	if after.Atime.Sec < before.Atime.Sec+7200 || after.Ctime != before.Ctime || after.Change != before.Change || after.Mtime != before.Mtime {
		t.Errorf("%+v\nafter %+v", after, before)
	}
	clock.add(59 * time.Minute)
	if a := read(); a.Atime != after.Atime {
		t.Errorf("changed too early: %v", a.Atime)
	}
}

// The mode of the cluster decides what a chmod leaves of an ACL.
func TestPermissionsMode(t *testing.T) {
	policy := acl.CrossProtocol
	x := newFaulty(t, core.Options{Permissions: func() acl.Policy { return policy }}, segment.Options{SegmentBytes: 8 << 20})
	ctx := t.Context()
	left := func(name fs.Name) int {
		f, err := x.Create(ctx, root, fs.Root, name, &fs.CreateSpec{Type: fs.File})
		if err != nil {
			t.Fatal(err)
		}
		n := f.Attr.Node
		a, err := x.GetACL(ctx, root, n)
		if err != nil {
			t.Fatal(err)
		}
		a.ModeOnly = false
		a.Control |= fs.ACLPresent
		a.Entries = []fs.ACE{{Type: fs.ACEAllow, Trustee: 1234, Rights: fs.RightRead | fs.RightModify}}
		if _, err := x.SetACL(ctx, root, n, &a); err != nil {
			t.Fatal(err)
		}
		mode := fs.Mode(0o640)
		if _, err := x.SetAttr(ctx, root, n, &fs.SetAttr{Mode: &mode}); err != nil {
			t.Fatal(err)
		}
		if a, err = x.GetACL(ctx, root, n); err != nil {
			t.Fatal(err)
		}
		found := 0
		for i := range a.Entries {
			if a.Entries[i].Trustee == 1234 {
				found++
			}
		}
		return found
	}
	if left("cross") != 1 {
		t.Error("CROSS_PROTOCOL forgets the ACL")
	}
	policy = acl.Native
	if left("native") != 0 {
		t.Error("NATIVE keeps the ACL")
	}
}
