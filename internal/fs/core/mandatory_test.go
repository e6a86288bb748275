package core_test

import (
	"errors"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/kv/memkv"
)

// TestMandatoryLocks: an SMB lock keeps others of its space out and under strict
// locking everybody, with a handle or without, and goes with its handle.
func TestMandatoryLocks(t *testing.T) {
	f := newFS(t, memkv.New())
	ctx := t.Context()
	n := mustCreate(t, f, fs.Root, "f", fs.File)
	open := func() fs.Handle {
		h, _, err := f.Open(ctx, root, &fs.OpenSpec{Dir: n, Desired: fs.RightRead | fs.RightModify, Share: fs.ShareAll, Space: fs.LockSMB, Disposition: fs.OpenExisting})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	one, two := open(), open()
	lock := &fs.LockRequest{Node: n, Space: fs.LockSMB, Handle: one.ID(), Owner: fs.LockOwner{Client: "smb:1"}, Range: fs.LockRange{Offset: 4, Length: 4}, Exclusive: true}
	if _, err := f.Lock(ctx, root, lock); err != nil {
		t.Fatal(err)
	}
	at := func(off uint64) *fs.WriteRequest { return &fs.WriteRequest{Offset: off, Data: []byte("abcd")} }
	check := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	buf := make([]byte, 4)
	_, err := one.Write(ctx, at(4))
	check("own write", err, nil)
	_, err = one.Read(ctx, 4, buf)
	check("own read", err, nil)
	_, err = two.Write(ctx, at(2))
	check("write by another handle", err, fs.LockConflict)
	_, err = two.Read(ctx, 7, buf)
	check("read by another handle", err, fs.LockConflict)
	_, err = f.Write(ctx, root, n, at(4))
	check("stateless write", err, nil)
	f.SetStrict(true)
	_, err = f.Write(ctx, root, n, at(4))
	check("stateless write, strict", err, fs.LockConflict)
	_, err = f.Read(ctx, root, n, &fs.ReadRequest{Offset: 4}, buf)
	check("stateless read", err, fs.LockConflict)
	_, err = f.Write(ctx, root, n, at(8))
	check("write behind the lock", err, nil)
	check("close", one.Close(ctx), nil)
	_, err = f.Write(ctx, root, n, at(4))
	check("write after the handle is closed", err, nil)
	check("close", two.Close(ctx), nil)
}
