package audit

import (
	"context"

	"manifold/internal/fs"
)

// The methods below implement fs.Files, fs.Permissions and fs.Metadata, and what
// of fs.Accounting callers ask for.

func (f *FS) GetAttr(ctx context.Context, c *fs.Caller, n fs.Node, want fs.AttrMask) (fs.Attr, error) {
	a, err := f.FS.GetAttr(ctx, c, n, want)
	f.looked(ctx, c, readMetadata, n, &a, err)
	return a, err
}

func (f *FS) SetAttr(ctx context.Context, c *fs.Caller, n fs.Node, s *fs.SetAttr) (fs.Changed, error) {
	ch, err := f.FS.SetAttr(ctx, c, n, s)
	f.changed(ctx, c, attrOp(s), n, &ch, err)
	return ch, err
}

func (f *FS) Read(ctx context.Context, c *fs.Caller, n fs.Node, r *fs.ReadRequest, dst []byte) (fs.ReadResult, error) {
	res, err := f.FS.Read(ctx, c, n, r, dst)
	f.read(ctx, c, n, r.Offset, &res, err)
	return res, err
}

func (f *FS) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	size, off := uint64(len(w.Data)), w.Offset // the request may be reused once it was made
	res, err := f.FS.Write(ctx, c, n, w)
	if f.log.Enabled() {
		if w.Append && err == nil {
			off = res.Offset
		}
		f.wrote(ctx, c, n, off, size, &res.File.After, err)
	}
	return res, err
}

func (f *FS) Zero(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off, length uint64) (fs.Changed, error) {
	ch, err := f.FS.Zero(ctx, c, n, stream, off, length)
	if f.log.Enabled() {
		f.wrote(ctx, c, n, off, length, &ch.After, err)
	}
	return ch, err
}

func (f *FS) CopyRange(ctx context.Context, c *fs.Caller, src fs.Node, srcStream fs.StreamID, srcOff uint64, dst fs.Node, dstStream fs.StreamID, dstOff, length uint64) (uint64, error) {
	n, err := f.FS.CopyRange(ctx, c, src, srcStream, srcOff, dst, dstStream, dstOff, length)
	if f.log.Enabled() {
		f.add(c, &Record{Operation: "fs_copy_chunk", FileID: uint64(dst.ID), Path: f.path(ctx, src), Target: f.path(ctx, dst), Offset: number(dstOff), Size: number(n)}, err)
	}
	return n, err
}

func (f *FS) Regions(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off uint64, yield func(fs.Region) bool) error {
	err := f.FS.Regions(ctx, c, n, stream, off, yield)
	f.looked(ctx, c, readMetadata, n, nil, err)
	return err
}

func (f *FS) StatFS(ctx context.Context, c *fs.Caller, n fs.Node) (fs.StatFS, error) {
	s, err := f.FS.StatFS(ctx, c, n)
	f.looked(ctx, c, statFS, n, nil, err)
	return s, err
}

func (f *FS) Access(ctx context.Context, c *fs.Caller, n fs.Node, want fs.Rights) (fs.Rights, error) {
	r, err := f.FS.Access(ctx, c, n, want)
	f.looked(ctx, c, readMetadata, n, nil, err)
	return r, err
}

func (f *FS) GetACL(ctx context.Context, c *fs.Caller, n fs.Node) (fs.ACL, error) {
	a, err := f.FS.GetACL(ctx, c, n)
	f.looked(ctx, c, readMetadata, n, nil, err)
	return a, err
}

func (f *FS) SetACL(ctx context.Context, c *fs.Caller, n fs.Node, a *fs.ACL) (fs.Changed, error) {
	ch, err := f.FS.SetACL(ctx, c, n, a)
	f.changed(ctx, c, "fs_write_metadata", n, &ch, err)
	return ch, err
}

func (f *FS) GetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string) ([]byte, error) {
	b, err := f.FS.GetMeta(ctx, c, n, s, key)
	f.looked(ctx, c, readUserMetadata, n, nil, err)
	return b, err
}

func (f *FS) SetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string, value []byte, m fs.MetaMode) (fs.Changed, error) {
	ch, err := f.FS.SetMeta(ctx, c, n, s, key, value, m)
	f.onNode(ctx, c, "fs_write_user_metadata", n, key, err)
	return ch, err
}

func (f *FS) RemoveMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string) (fs.Changed, error) {
	ch, err := f.FS.RemoveMeta(ctx, c, n, s, key)
	f.onNode(ctx, c, "fs_write_user_metadata", n, key, err)
	return ch, err
}

func (f *FS) ListMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, after string, yield func(string, int) bool) error {
	err := f.FS.ListMeta(ctx, c, n, s, after, yield)
	f.looked(ctx, c, readUserMetadata, n, nil, err)
	return err
}

func (f *FS) Streams(ctx context.Context, c *fs.Caller, n fs.Node) ([]fs.StreamInfo, error) {
	s, err := f.FS.Streams(ctx, c, n)
	f.looked(ctx, c, readMetadata, n, nil, err)
	return s, err
}

func (f *FS) CreateStream(ctx context.Context, c *fs.Caller, n fs.Node, name string, exclusive bool) (fs.StreamInfo, error) {
	s, err := f.FS.CreateStream(ctx, c, n, name, exclusive)
	f.onNode(ctx, c, "fs_create_stream", n, name, err)
	return s, err
}

func (f *FS) SetStreamSize(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, size uint64) (fs.Changed, error) {
	ch, err := f.FS.SetStreamSize(ctx, c, n, id, size)
	f.changed(ctx, c, "fs_write_metadata", n, &ch, err)
	return ch, err
}

func (f *FS) RenameStream(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, name string) error {
	err := f.FS.RenameStream(ctx, c, n, id, name)
	f.onNode(ctx, c, "fs_rename", n, name, err)
	return err
}

func (f *FS) RemoveStream(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID) error {
	err := f.FS.RemoveStream(ctx, c, n, id)
	f.onNode(ctx, c, "fs_delete", n, "", err)
	return err
}
