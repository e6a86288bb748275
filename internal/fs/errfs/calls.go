package errfs

import (
	"context"

	"manifold/internal/fs"
)

// Lookup implements fs.Namespace.
func (f *FS) Lookup(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, error) {
	return run(ctx, f, "Lookup", dir, name, func() (fs.Attr, error) { return f.FS.Lookup(ctx, c, dir, name, want) })
}

// LookupFold implements fs.Namespace.
func (f *FS) LookupFold(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (a fs.Attr, stored fs.Name, err error) {
	err = act(ctx, f, "LookupFold", dir, name, func() (err error) {
		a, stored, err = f.FS.LookupFold(ctx, c, dir, name, want)
		return err
	})
	return a, stored, err
}

// ReadDir implements fs.Namespace.
func (f *FS) ReadDir(ctx context.Context, c *fs.Caller, dir fs.Node, after uint64, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	return run(ctx, f, "ReadDir", dir, "", func() (bool, error) { return f.FS.ReadDir(ctx, c, dir, after, want, yield) })
}

// ReadDirByName implements fs.Namespace.
func (f *FS) ReadDirByName(ctx context.Context, c *fs.Caller, dir fs.Node, after fs.Name, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	return run(ctx, f, "ReadDirByName", dir, after, func() (bool, error) { return f.FS.ReadDirByName(ctx, c, dir, after, want, yield) })
}

// Create implements fs.Namespace.
func (f *FS) Create(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec) (fs.CreateResult, error) {
	return run(ctx, f, "Create", dir, name, func() (fs.CreateResult, error) { return f.FS.Create(ctx, c, dir, name, spec) })
}

// Link implements fs.Namespace.
func (f *FS) Link(ctx context.Context, c *fs.Caller, target, dir fs.Node, name fs.Name) (fs.LinkResult, error) {
	return run(ctx, f, "Link", dir, name, func() (fs.LinkResult, error) { return f.FS.Link(ctx, c, target, dir, name) })
}

// Remove implements fs.Namespace.
func (f *FS) Remove(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode) (fs.RemoveResult, error) {
	return run(ctx, f, "Remove", dir, name, func() (fs.RemoveResult, error) { return f.FS.Remove(ctx, c, dir, name, mode) })
}

// Rename implements fs.Namespace.
func (f *FS) Rename(ctx context.Context, c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name, o fs.RenameOptions) (fs.RenameResult, error) {
	return run(ctx, f, "Rename", from, fromName, func() (fs.RenameResult, error) {
		return f.FS.Rename(ctx, c, from, fromName, to, toName, o)
	})
}

// Readlink implements fs.Namespace.
func (f *FS) Readlink(ctx context.Context, c *fs.Caller, n fs.Node) ([]byte, error) {
	return run(ctx, f, "Readlink", n, "", func() ([]byte, error) { return f.FS.Readlink(ctx, c, n) })
}

// PathOf implements fs.Namespace.
func (f *FS) PathOf(ctx context.Context, n fs.Node) (string, error) {
	return run(ctx, f, "PathOf", n, "", func() (string, error) { return f.FS.PathOf(ctx, n) })
}

// Resolve implements fs.Namespace.
func (f *FS) Resolve(ctx context.Context, c *fs.Caller, path string, want fs.AttrMask) (fs.Attr, error) {
	return run(ctx, f, "Resolve", fs.Node{}, path, func() (fs.Attr, error) { return f.FS.Resolve(ctx, c, path, want) })
}

// Contains implements fs.Namespace.
func (f *FS) Contains(ctx context.Context, dir fs.FileID, n fs.Node) (bool, error) {
	return run(ctx, f, "Contains", n, "", func() (bool, error) { return f.FS.Contains(ctx, dir, n) })
}

// GetAttr implements fs.Files.
func (f *FS) GetAttr(ctx context.Context, c *fs.Caller, n fs.Node, want fs.AttrMask) (fs.Attr, error) {
	return run(ctx, f, "GetAttr", n, "", func() (fs.Attr, error) { return f.FS.GetAttr(ctx, c, n, want) })
}

// SetAttr implements fs.Files.
func (f *FS) SetAttr(ctx context.Context, c *fs.Caller, n fs.Node, s *fs.SetAttr) (fs.Changed, error) {
	return run(ctx, f, "SetAttr", n, "", func() (fs.Changed, error) { return f.FS.SetAttr(ctx, c, n, s) })
}

// Read implements fs.Files.
func (f *FS) Read(ctx context.Context, c *fs.Caller, n fs.Node, r *fs.ReadRequest, dst []byte) (fs.ReadResult, error) {
	return run(ctx, f, "Read", n, "", func() (fs.ReadResult, error) { return f.FS.Read(ctx, c, n, r, dst) })
}

// Write implements fs.Files.
func (f *FS) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	return run(ctx, f, "Write", n, "", func() (fs.WriteResult, error) { return f.FS.Write(ctx, c, n, w) })
}

// Commit implements fs.Files.
func (f *FS) Commit(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off, length uint64) (v fs.Verifier, ch fs.Changed, err error) {
	err = act(ctx, f, "Commit", n, "", func() (err error) {
		v, ch, err = f.FS.Commit(ctx, c, n, stream, off, length)
		return err
	})
	return v, ch, err
}

// Zero implements fs.Files.
func (f *FS) Zero(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off, length uint64) (fs.Changed, error) {
	return run(ctx, f, "Zero", n, "", func() (fs.Changed, error) { return f.FS.Zero(ctx, c, n, stream, off, length) })
}

// Retype implements fs.Namespace.
func (f *FS) Retype(ctx context.Context, c *fs.Caller, n fs.Node, spec *fs.RetypeSpec) (fs.Changed, error) {
	return run(ctx, f, "Retype", n, "", func() (fs.Changed, error) { return f.FS.Retype(ctx, c, n, spec) })
}

// Regions implements fs.Files.
func (f *FS) Regions(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off uint64, yield func(fs.Region) bool) error {
	return act(ctx, f, "Regions", n, "", func() error { return f.FS.Regions(ctx, c, n, stream, off, yield) })
}

// CopyRange implements fs.Files.
func (f *FS) CopyRange(ctx context.Context, c *fs.Caller, src fs.Node, srcStream fs.StreamID, srcOff uint64, dst fs.Node, dstStream fs.StreamID, dstOff, length uint64) (uint64, error) {
	return run(ctx, f, "CopyRange", dst, "", func() (uint64, error) {
		return f.FS.CopyRange(ctx, c, src, srcStream, srcOff, dst, dstStream, dstOff, length)
	})
}

// Access implements fs.Permissions.
func (f *FS) Access(ctx context.Context, c *fs.Caller, n fs.Node, want fs.Rights) (fs.Rights, error) {
	return run(ctx, f, "Access", n, "", func() (fs.Rights, error) { return f.FS.Access(ctx, c, n, want) })
}

// GetACL implements fs.Permissions.
func (f *FS) GetACL(ctx context.Context, c *fs.Caller, n fs.Node) (fs.ACL, error) {
	return run(ctx, f, "GetACL", n, "", func() (fs.ACL, error) { return f.FS.GetACL(ctx, c, n) })
}

// SetACL implements fs.Permissions.
func (f *FS) SetACL(ctx context.Context, c *fs.Caller, n fs.Node, a *fs.ACL) (fs.Changed, error) {
	return run(ctx, f, "SetACL", n, "", func() (fs.Changed, error) { return f.FS.SetACL(ctx, c, n, a) })
}

// GetMeta implements fs.Metadata.
func (f *FS) GetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string) ([]byte, error) {
	return run(ctx, f, "GetMeta", n, key, func() ([]byte, error) { return f.FS.GetMeta(ctx, c, n, s, key) })
}

// SetMeta implements fs.Metadata.
func (f *FS) SetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string, value []byte, m fs.MetaMode) (fs.Changed, error) {
	return run(ctx, f, "SetMeta", n, key, func() (fs.Changed, error) { return f.FS.SetMeta(ctx, c, n, s, key, value, m) })
}

// RemoveMeta implements fs.Metadata.
func (f *FS) RemoveMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string) (fs.Changed, error) {
	return run(ctx, f, "RemoveMeta", n, key, func() (fs.Changed, error) { return f.FS.RemoveMeta(ctx, c, n, s, key) })
}

// ListMeta implements fs.Metadata.
func (f *FS) ListMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, after string, yield func(string, int) bool) error {
	return act(ctx, f, "ListMeta", n, after, func() error { return f.FS.ListMeta(ctx, c, n, s, after, yield) })
}

// Streams implements fs.Metadata.
func (f *FS) Streams(ctx context.Context, c *fs.Caller, n fs.Node) ([]fs.StreamInfo, error) {
	return run(ctx, f, "Streams", n, "", func() ([]fs.StreamInfo, error) { return f.FS.Streams(ctx, c, n) })
}

// CreateStream implements fs.Metadata.
func (f *FS) CreateStream(ctx context.Context, c *fs.Caller, n fs.Node, name string, exclusive bool) (fs.StreamInfo, error) {
	return run(ctx, f, "CreateStream", n, name, func() (fs.StreamInfo, error) { return f.FS.CreateStream(ctx, c, n, name, exclusive) })
}

// SetStreamSize implements fs.Metadata.
func (f *FS) SetStreamSize(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, size uint64) (fs.Changed, error) {
	return run(ctx, f, "SetStreamSize", n, "", func() (fs.Changed, error) { return f.FS.SetStreamSize(ctx, c, n, id, size) })
}

// RenameStream implements fs.Metadata.
func (f *FS) RenameStream(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, name string) error {
	return act(ctx, f, "RenameStream", n, name, func() error { return f.FS.RenameStream(ctx, c, n, id, name) })
}

// RemoveStream implements fs.Metadata.
func (f *FS) RemoveStream(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID) error {
	return act(ctx, f, "RemoveStream", n, "", func() error { return f.FS.RemoveStream(ctx, c, n, id) })
}

// Lock implements fs.Locks.
func (f *FS) Lock(ctx context.Context, c *fs.Caller, r *fs.LockRequest) (*fs.LockConflictInfo, error) {
	return run(ctx, f, "Lock", r.Node, "", func() (*fs.LockConflictInfo, error) { return f.FS.Lock(ctx, c, r) })
}

// LockWait implements fs.Locks.
func (f *FS) LockWait(ctx context.Context, c *fs.Caller, r *fs.LockRequest) (fs.Waiter, error) {
	return run(ctx, f, "LockWait", r.Node, "", func() (fs.Waiter, error) { return f.FS.LockWait(ctx, c, r) })
}

// Unlock implements fs.Locks.
func (f *FS) Unlock(ctx context.Context, c *fs.Caller, r *fs.LockRequest) error {
	return act(ctx, f, "Unlock", r.Node, "", func() error { return f.FS.Unlock(ctx, c, r) })
}

// TestLock implements fs.Locks.
func (f *FS) TestLock(ctx context.Context, c *fs.Caller, r *fs.LockRequest) (*fs.LockConflictInfo, error) {
	return run(ctx, f, "TestLock", r.Node, "", func() (*fs.LockConflictInfo, error) { return f.FS.TestLock(ctx, c, r) })
}
