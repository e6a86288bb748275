package memfs

import (
	"manifold/internal/fs"
	"manifold/internal/fs/lock"
)

func newLocks() *lock.Table { return lock.New(lock.Options{}) }

// lockConflict tells whether a mandatory lock of another handle is in the way.
func (f *FS) lockConflict(n *inode, id fs.StreamID, off, length uint64, write bool, h *handle) bool {
	var handle uint64
	space := fs.LockPOSIX
	if h != nil {
		handle, space = h.id, h.space
	}
	return length > 0 && f.CheckIO(space, fs.Node{ID: n.id}, id, handle, off, length, write) != nil
}

// SetStrict implements fs.Locks.
func (f *FS) SetStrict(on bool) {
	f.Table.SetStrict(on)
	f.shares.SetStrict(on)
}

// releaseHandle drops the locks of a handle that closes.
func (f *FS) releaseHandle(h *handle) { f.ReleaseHandle(h.node, h.id) }
