package audit

import (
	"context"
	"sync/atomic"

	"manifold/internal/fs"
)

// Open implements fs.Opener; what is done through the handle is recorded, too.
func (f *FS) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	var before stamps
	if f.log.Enabled() {
		before = f.paths.stamps()
	}
	dir, name, stream, doomed, size := o.Dir, o.Name, o.StreamName, o.DeleteOnClose, len(o.Create.Data)
	h, res, err := f.FS.Open(ctx, c, o)
	if f.log.Enabled() {
		f.opened(ctx, c, dir, name, stream, h, &res, &before, err)
		if size > 0 && err == nil && res.Action == fs.OpenCreated {
			f.wrote(ctx, c, h.Node(), 0, uint64(size), &res.Attr, nil)
		}
	}
	if h == nil {
		return h, res, err
	}
	w := &handle{Handle: h, f: f, c: c, stream: stream}
	w.doomed.Store(doomed)
	return w, res, err
}

func (f *FS) opened(ctx context.Context, c *fs.Caller, dir fs.Node, name, stream string, h fs.Handle, res *fs.OpenResult, before *stamps, err error) {
	r := Record{Operation: "fs_open", Path: f.path(ctx, dir), Name: name, Target: stream}
	if h == nil {
		f.add(c, &r, err)
		return
	}
	r.FileID = uint64(h.Node().ID)
	made := res.Action == fs.OpenCreated
	switch {
	case made && stream != "":
		r.Operation = "fs_create_stream"
	case made:
		r.Operation = createOp(res.Attr.Type)
		if res.Attr.Type == fs.TypeNone { // it was not asked for
			r.Operation = createOp(fs.File)
		}
		if res.Attr.Type == fs.Directory {
			f.made(h.Node(), r.Path, name, before)
		}
	}
	f.add(c, &r, err)
	if res.Action == fs.OpenOverwritten || res.Action == fs.OpenSuperseded {
		f.wrote(ctx, c, h.Node(), 0, 0, &res.Attr, err)
	}
}

// handle records what is done through an open.
type handle struct {
	fs.Handle
	f      *FS
	c      *fs.Caller
	stream string
	doomed atomic.Bool // closing it deletes
}

func (h *handle) Read(ctx context.Context, off uint64, dst []byte) (fs.ReadResult, error) {
	res, err := h.Handle.Read(ctx, off, dst)
	h.f.read(ctx, h.c, h.Node(), off, &res, err)
	return res, err
}

func (h *handle) Write(ctx context.Context, w *fs.WriteRequest) (fs.WriteResult, error) {
	size, off := uint64(len(w.Data)), w.Offset
	res, err := h.Handle.Write(ctx, w)
	if h.f.log.Enabled() {
		if w.Append && err == nil {
			off = res.Offset
		}
		h.f.wrote(ctx, h.c, h.Node(), off, size, &res.File.After, err)
	}
	return res, err
}

func (h *handle) GetAttr(ctx context.Context, want fs.AttrMask) (fs.Attr, error) {
	a, err := h.Handle.GetAttr(ctx, want)
	h.f.looked(ctx, h.c, readMetadata, h.Node(), &a, err)
	return a, err
}

func (h *handle) SetAttr(ctx context.Context, s *fs.SetAttr) (fs.Changed, error) {
	ch, err := h.Handle.SetAttr(ctx, s)
	h.f.changed(ctx, h.c, attrOp(s), h.Node(), &ch, err)
	return ch, err
}

// SetDeleteOnClose leaves a record if it is refused; else Close does.
func (h *handle) SetDeleteOnClose(ctx context.Context, on bool) error {
	err := h.Handle.SetDeleteOnClose(ctx, on)
	if err == nil {
		h.doomed.Store(on)
	} else {
		h.f.onNode(ctx, h.c, "fs_delete", h.Node(), h.stream, err)
	}
	return err
}

// Close records a deletion by the handle that asked for it, though the name may
// stay while others have it open.
func (h *handle) Close(ctx context.Context) error {
	if !h.doomed.Swap(false) || !h.f.log.Enabled() {
		return h.Handle.Close(ctx)
	}
	n := h.Node()
	r := Record{Operation: "fs_delete", FileID: uint64(n.ID), Path: h.f.path(ctx, n), Target: h.stream}
	err := h.Handle.Close(ctx)
	if h.stream == "" {
		h.f.paths.forget(n)
	}
	h.f.add(h.c, &r, err)
	return err
}
