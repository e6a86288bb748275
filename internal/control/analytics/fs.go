package analytics

import (
	"context"

	"manifold/internal/fs"
)

// FS counts what is done to a file system.
type FS struct {
	fs.FS
	r *Recorder
}

// Wrap decorates a file system.
func (r *Recorder) Wrap(f fs.FS) *FS { return &FS{f, r} }

var _ fs.FS = (*FS)(nil)

func (f *FS) read(c *fs.Caller, n fs.Node)    { f.r.add(c, n, metaRead, 0) }
func (f *FS) changed(c *fs.Caller, n fs.Node) { f.r.add(c, n, metaWrite, 0) }

// Read implements fs.Files.
func (f *FS) Read(ctx context.Context, c *fs.Caller, n fs.Node, q *fs.ReadRequest, dst []byte) (fs.ReadResult, error) {
	res, err := f.FS.Read(ctx, c, n, q, dst)
	f.r.add(c, n, fileRead, res.N)
	return res, err
}

// Write implements fs.Files.
func (f *FS) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	size := len(w.Data) // the callee may take the data
	res, err := f.FS.Write(ctx, c, n, w)
	if err != nil {
		size = 0
	}
	f.r.add(c, n, fileWrite, size)
	return res, err
}

// Zero implements fs.Files.
func (f *FS) Zero(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off, length uint64) (fs.Changed, error) {
	f.r.add(c, n, fileWrite, 0)
	return f.FS.Zero(ctx, c, n, stream, off, length)
}

// CopyRange implements fs.Files: a write of what was copied.
func (f *FS) CopyRange(ctx context.Context, c *fs.Caller, src fs.Node, srcStream fs.StreamID, srcOff uint64, dst fs.Node, dstStream fs.StreamID, dstOff, length uint64) (uint64, error) {
	n, err := f.FS.CopyRange(ctx, c, src, srcStream, srcOff, dst, dstStream, dstOff, length)
	f.r.add(c, dst, fileWrite, int(min(n, 1<<40)))
	return n, err
}

// GetAttr implements fs.Files.
func (f *FS) GetAttr(ctx context.Context, c *fs.Caller, n fs.Node, want fs.AttrMask) (fs.Attr, error) {
	f.read(c, n)
	return f.FS.GetAttr(ctx, c, n, want)
}

// SetAttr implements fs.Files.
func (f *FS) SetAttr(ctx context.Context, c *fs.Caller, n fs.Node, s *fs.SetAttr) (fs.Changed, error) {
	f.changed(c, n)
	return f.FS.SetAttr(ctx, c, n, s)
}

// Lookup implements fs.Namespace.
func (f *FS) Lookup(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, error) {
	f.read(c, dir)
	return f.FS.Lookup(ctx, c, dir, name, want)
}

// LookupFold implements fs.Namespace.
func (f *FS) LookupFold(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, fs.Name, error) {
	f.read(c, dir)
	return f.FS.LookupFold(ctx, c, dir, name, want)
}

// Resolve implements fs.Namespace: a read of what it leads to.
func (f *FS) Resolve(ctx context.Context, c *fs.Caller, path string, want fs.AttrMask) (fs.Attr, error) {
	a, err := f.FS.Resolve(ctx, c, path, want)
	if err == nil {
		f.read(c, a.Node)
	}
	return a, err
}

// ReadDir implements fs.Namespace.
func (f *FS) ReadDir(ctx context.Context, c *fs.Caller, dir fs.Node, after uint64, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	f.read(c, dir)
	return f.FS.ReadDir(ctx, c, dir, after, want, yield)
}

// ReadDirByName implements fs.Namespace.
func (f *FS) ReadDirByName(ctx context.Context, c *fs.Caller, dir fs.Node, after fs.Name, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	f.read(c, dir)
	return f.FS.ReadDirByName(ctx, c, dir, after, want, yield)
}

// Readlink implements fs.Namespace.
func (f *FS) Readlink(ctx context.Context, c *fs.Caller, n fs.Node) ([]byte, error) {
	f.read(c, n)
	return f.FS.Readlink(ctx, c, n)
}

// Create implements fs.Namespace.
func (f *FS) Create(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec) (fs.CreateResult, error) {
	f.changed(c, dir)
	res, err := f.FS.Create(ctx, c, dir, name, spec)
	if res.Created && len(spec.Data) > 0 {
		f.r.add(c, res.Attr.Node, fileWrite, len(spec.Data))
	}
	return res, err
}

// Link implements fs.Namespace.
func (f *FS) Link(ctx context.Context, c *fs.Caller, target, dir fs.Node, name fs.Name) (fs.LinkResult, error) {
	f.changed(c, dir)
	return f.FS.Link(ctx, c, target, dir, name)
}

// Remove implements fs.Namespace.
func (f *FS) Remove(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode) (fs.RemoveResult, error) {
	f.changed(c, dir)
	return f.FS.Remove(ctx, c, dir, name, mode)
}

// Rename implements fs.Namespace.
func (f *FS) Rename(ctx context.Context, c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name, o fs.RenameOptions) (fs.RenameResult, error) {
	f.changed(c, from)
	return f.FS.Rename(ctx, c, from, fromName, to, toName, o)
}

// Access implements fs.Permissions.
func (f *FS) Access(ctx context.Context, c *fs.Caller, n fs.Node, want fs.Rights) (fs.Rights, error) {
	f.read(c, n)
	return f.FS.Access(ctx, c, n, want)
}

// GetACL implements fs.Permissions.
func (f *FS) GetACL(ctx context.Context, c *fs.Caller, n fs.Node) (fs.ACL, error) {
	f.read(c, n)
	return f.FS.GetACL(ctx, c, n)
}

// SetACL implements fs.Permissions.
func (f *FS) SetACL(ctx context.Context, c *fs.Caller, n fs.Node, a *fs.ACL) (fs.Changed, error) {
	f.changed(c, n)
	return f.FS.SetACL(ctx, c, n, a)
}

// GetMeta implements fs.Metadata.
func (f *FS) GetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string) ([]byte, error) {
	f.read(c, n)
	return f.FS.GetMeta(ctx, c, n, s, key)
}

// SetMeta implements fs.Metadata.
func (f *FS) SetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string, value []byte, m fs.MetaMode) (fs.Changed, error) {
	f.changed(c, n)
	return f.FS.SetMeta(ctx, c, n, s, key, value, m)
}

// Publish implements fs.Staging: the end of a write that had no name yet.
func (f *FS) Publish(ctx context.Context, c *fs.Caller, staged, dir fs.Node, name fs.Name, p *fs.PublishSpec) (fs.PublishResult, error) {
	f.changed(c, dir)
	return f.FS.Publish(ctx, c, staged, dir, name, p)
}

// Open implements fs.Opener; what is done through the handle counts, too.
func (f *FS) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	h, res, err := f.FS.Open(ctx, c, o)
	if h == nil {
		f.read(c, o.Dir)
		return h, res, err
	}
	if res.Action == fs.OpenOpened {
		f.read(c, h.Node())
	} else {
		f.changed(c, h.Node())
	}
	if res.Action == fs.OpenCreated && len(o.Create.Data) > 0 {
		f.r.add(c, h.Node(), fileWrite, len(o.Create.Data))
	}
	return &handle{h, f, c}, res, err
}

type handle struct {
	fs.Handle
	f *FS
	c *fs.Caller
}

func (h *handle) Read(ctx context.Context, off uint64, dst []byte) (fs.ReadResult, error) {
	res, err := h.Handle.Read(ctx, off, dst)
	h.f.r.add(h.c, h.Node(), fileRead, res.N)
	return res, err
}

func (h *handle) Write(ctx context.Context, w *fs.WriteRequest) (fs.WriteResult, error) {
	size := len(w.Data)
	res, err := h.Handle.Write(ctx, w)
	if err != nil {
		size = 0
	}
	h.f.r.add(h.c, h.Node(), fileWrite, size)
	return res, err
}

func (h *handle) GetAttr(ctx context.Context, want fs.AttrMask) (fs.Attr, error) {
	h.f.read(h.c, h.Node())
	return h.Handle.GetAttr(ctx, want)
}

func (h *handle) SetAttr(ctx context.Context, s *fs.SetAttr) (fs.Changed, error) {
	h.f.changed(h.c, h.Node())
	return h.Handle.SetAttr(ctx, s)
}
