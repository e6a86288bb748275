package memfs

import (
	"context"

	"manifold/internal/fs"
)

// noLocks is a lock table that grants nothing.
type noLocks struct{}

func newLocks() fs.Locks { return noLocks{} }

func (noLocks) Lock(context.Context, *fs.Caller, *fs.LockRequest) (*fs.LockConflictInfo, error) {
	return nil, fs.NotSupported
}
func (noLocks) LockWait(context.Context, *fs.Caller, *fs.LockRequest) (fs.Waiter, error) {
	return nil, fs.NotSupported
}
func (noLocks) Unlock(context.Context, *fs.Caller, *fs.LockRequest) error { return fs.NotSupported }
func (noLocks) TestLock(context.Context, *fs.Caller, *fs.LockRequest) (*fs.LockConflictInfo, error) {
	return nil, nil
}
func (noLocks) ReleaseClient(context.Context, string) (int, error) { return 0, nil }
func (noLocks) ReleaseOwner(context.Context, fs.LockOwner, fs.Node) (int, error) {
	return 0, nil
}
func (noLocks) LockList(context.Context, fs.Node, func(*fs.LockInfo) bool) error { return nil }
func (noLocks) SetGrace(bool)                                                    {}

func (f *FS) lockConflict(*inode, fs.StreamID, uint64, uint64, bool, *handle) bool { return false }

func (f *FS) releaseHandle(*handle) {}
