package core

import (
	"fmt"

	"manifold/internal/fs"
)

// unlocked fails with LockConflict if an SMB lock of somebody else forbids to
// read or write the bytes; handle 0 is a caller without an open. Appends are
// not checked: where they go is known only inside their transaction.
func (f *FS) unlocked(space fs.LockSpace, n fs.Node, sid fs.StreamID, handle, off uint64, length uint64, write bool) error {
	if c := f.CheckIO(space, n, sid, handle, off, length, write); c != nil {
		return fmt.Errorf("%w: locked by %s", fs.LockConflict, c.Owner.Client)
	}
	return nil
}

// SetStrict implements fs.Locks.
func (f *FS) SetStrict(on bool) {
	f.Table.SetStrict(on)
	f.opens.shares.SetStrict(on)
}
