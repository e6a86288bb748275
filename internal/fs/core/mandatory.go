package core

import (
	"context"
	"fmt"

	"manifold/internal/fs"
)

// free fails with Sharing or LockConflict if opens or SMB locks keep a caller
// without an open from reading or writing the bytes; no length asks for the share
// modes only. SMB has an open for all it does, and was asked with that.
func (f *FS) free(c *fs.Caller, n fs.Node, sid fs.StreamID, off, length uint64, write bool) error {
	if c.Protocol == fs.ProtoSMB {
		return nil
	}
	rights := fs.RightRead
	if write {
		rights = fs.RightModify
	}
	if n.Live() && f.opens.shares.Test(fs.LockPOSIX, n, sid, rights) != nil {
		return fs.Sharing
	}
	return f.unlocked(fs.LockPOSIX, n, sid, 0, off, length, write)
}

// unlocked fails with LockConflict if an SMB lock of somebody else forbids to
// read or write the bytes; handle 0 is a caller without an open. Appends are
// not checked: where they go is known only inside their transaction.
func (f *FS) unlocked(space fs.LockSpace, n fs.Node, sid fs.StreamID, handle, off uint64, length uint64, write bool) error {
	if c := f.CheckIO(space, n, sid, handle, off, length, write); c != nil {
		return fmt.Errorf("%w: locked by %s", fs.LockConflict, c.Owner.Client)
	}
	return nil
}

// Lock implements fs.Locks.
func (f *FS) Lock(ctx context.Context, c *fs.Caller, r *fs.LockRequest) (*fs.LockConflictInfo, error) {
	end, err := f.seeLocks(ctx, c, r)
	if err != nil {
		return nil, wrap("lock", r.Node, "", err)
	}
	defer end()
	return f.Table.Lock(ctx, c, r)
}

// LockWait implements fs.Locks.
func (f *FS) LockWait(ctx context.Context, c *fs.Caller, r *fs.LockRequest) (fs.Waiter, error) {
	end, err := f.seeLocks(ctx, c, r)
	if err != nil {
		return nil, wrap("lock", r.Node, "", err)
	}
	defer end()
	return f.Table.LockWait(ctx, c, r)
}

// TestLock implements fs.Locks.
func (f *FS) TestLock(ctx context.Context, c *fs.Caller, r *fs.LockRequest) (*fs.LockConflictInfo, error) {
	end, err := f.seeLocks(ctx, c, r)
	if err != nil {
		return nil, wrap("test lock", r.Node, "", err)
	}
	defer end()
	return f.Table.TestLock(ctx, c, r)
}

// seeLocks has clients that cache tell their locks, where others are bound by
// them: under strict locking.
func (f *FS) seeLocks(ctx context.Context, c *fs.Caller, r *fs.LockRequest) (end func(), err error) {
	if r.Space != fs.LockPOSIX || !f.Strict() {
		return nothing, nil
	}
	return f.breach(ctx, c, r.Node, r.Stream, fs.BreachLock, allowed)
}

// SetStrict implements fs.Locks.
func (f *FS) SetStrict(on bool) {
	f.Table.SetStrict(on)
	f.opens.shares.SetStrict(on)
}
