package core

import (
	"context"
	"errors"
	"syscall"

	"manifold/internal/data"
	"manifold/internal/fs"
	"manifold/internal/kv"
	"manifold/internal/meta"
)

// wrap makes err one of the contract.
func wrap(op string, n fs.Node, name string, err error) error {
	if err == nil {
		return nil
	}
	var known *fs.Error
	if errors.As(err, &known) {
		return err
	}
	var k fs.Kind
	if errors.As(err, &k) {
		cause := err
		if err == error(k) {
			cause = nil
		}
		return fs.E(op, n, name, k, cause)
	}
	return fs.E(op, n, name, kindOf(err), err)
}

// kindOf translates the errors of the rooms below.
func kindOf(err error) fs.Kind {
	switch {
	case errors.Is(err, meta.ErrNotFound):
		return fs.Stale
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fs.Canceled
	case errors.Is(err, data.ErrNoSpace):
		return fs.NoSpace
	case errors.Is(err, data.ErrCorrupt), errors.Is(err, meta.ErrCorrupt), errors.Is(err, data.ErrNotFound):
		return fs.Corrupt
	case errors.Is(err, syscall.EIO):
		return fs.Corrupt // to the client, what cannot be read is as bad as what reads wrong
	case errors.Is(err, kv.ErrTooManyRetries), errors.Is(err, kv.ErrSnapshotTooOld):
		return fs.Retry
	case errors.Is(err, kv.ErrUnavailable), errors.Is(err, kv.ErrClosed), errors.Is(err, kv.ErrFenced), errors.Is(err, kv.ErrUnknownOutcome), errors.Is(err, data.ErrFailed), errors.Is(err, data.ErrClosed):
		return fs.Unavailable
	case errors.Is(err, meta.ErrFull):
		return fs.TooMany
	case errors.Is(err, meta.ErrBusy):
		return fs.Busy
	case errors.Is(err, meta.ErrTooBig), errors.Is(err, kv.ErrTooLarge):
		return fs.TooMany
	}
	return fs.Other
}

// inodeReader is a transaction or a view.
type inodeReader interface {
	Inode(ctx context.Context, id fs.FileID) (*meta.Inode, error)
	Links(ctx context.Context, n *meta.Inode) ([]meta.Link, error)
	Ancestors(ctx context.Context, dir fs.FileID) ([]fs.FileID, error)
	Snap() fs.SnapshotID
}

// inode loads the object of a node; a missing one is stale.
func (f *FS) inode(ctx context.Context, r inodeReader, id fs.FileID) (*meta.Inode, error) {
	n, err := r.Inode(ctx, id)
	if errors.Is(err, meta.ErrNotFound) {
		return nil, fs.Stale
	}
	if err == nil {
		err = f.alive(ctx, r, n)
	}
	return n, err
}

// alive refuses an object that only waits to be freed: it has no name that can
// be reached, nor an open.
func (f *FS) alive(ctx context.Context, r inodeReader, n *meta.Inode) error {
	gone := n.Links == 0 && n.ID != fs.RootID && n.Staged == nil
	if !gone {
		var err error
		if gone, err = f.detached(ctx, r, n); err != nil {
			return err
		}
	}
	if gone && f.opens.peek(n.ID) == nil {
		return fs.Stale
	}
	return nil
}

// directory loads a directory. In one of a detached tree nothing can be named
// any more, even while it is open.
func (f *FS) directory(ctx context.Context, r inodeReader, id fs.FileID) (*meta.Inode, error) {
	n, err := f.inode(ctx, r, id)
	if err == nil && n.Type != fs.Directory {
		err = fs.NotDir
	}
	if err == nil {
		err = f.mayHoldNames(ctx, r, n)
	}
	return n, err
}

func (f *FS) mayHoldNames(ctx context.Context, r inodeReader, d *meta.Inode) error {
	gone, err := f.detached(ctx, r, d)
	if err == nil && gone {
		err = fs.Stale
	}
	return err
}

// dentry finds a name; a missing one does not exist.
func dentry(ctx context.Context, r *meta.Reader, dir fs.FileID, name string) (meta.Dentry, error) {
	d, err := r.Dentry(ctx, dir, name)
	if errors.Is(err, meta.ErrNotFound) {
		err = fs.NotExist
	}
	return d, err
}

// writable refuses what may never change: snapshots, and callers whose way in is read-only.
func writable(c *fs.Caller, ns ...fs.Node) error {
	for _, n := range ns {
		if !n.Live() {
			return fs.ReadOnly
		}
	}
	if c.ReadOnly {
		return fs.ReadOnly
	}
	return nil
}
