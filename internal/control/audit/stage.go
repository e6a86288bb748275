package audit

import (
	"context"

	"manifold/internal/fs"
)

// maxStaged bounds the staged files that are known; beyond it some show up in
// records without a path.
const maxStaged = 1 << 16

func (f *FS) isStaged(n fs.Node) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.staged[n.ID]
	return ok
}

func (f *FS) setStaged(n fs.Node, on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !on {
		delete(f.staged, n.ID)
		return
	}
	if f.staged == nil {
		f.staged = map[fs.FileID]struct{}{}
	}
	if len(f.staged) < maxStaged {
		f.staged[n.ID] = struct{}{}
	}
}

// Stage implements fs.Staging. A file that has no name is nothing to record.
func (f *FS) Stage(ctx context.Context, c *fs.Caller, s *fs.StageSpec) (fs.Node, error) {
	n, err := f.FS.Stage(ctx, c, s)
	if err == nil {
		f.setStaged(n, true)
	}
	return n, err
}

// Publish implements fs.Staging: this is when the file is made and written.
func (f *FS) Publish(ctx context.Context, c *fs.Caller, staged, dir fs.Node, name fs.Name, p *fs.PublishSpec) (fs.PublishResult, error) {
	sized := *p
	sized.Want |= fs.AttrSize
	res, err := f.FS.Publish(ctx, c, staged, dir, name, &sized)
	if err == nil {
		f.setStaged(staged, false)
		f.moved()
	}
	if !f.log.Enabled() {
		return res, err
	}
	path := f.entry(ctx, dir, name)
	if res.Replaced != (fs.Node{}) {
		f.add(c, Record{Operation: "fs_delete", FileID: uint64(res.Replaced.ID), Path: path}, nil)
	}
	f.add(c, Record{Operation: "fs_create_file", FileID: uint64(staged.ID), Path: path}, err)
	if err == nil {
		off, size := uint64(0), res.Attr.Size
		f.add(c, Record{Operation: "fs_write_data", FileID: uint64(staged.ID), Path: path, Offset: &off, Size: &size}, nil)
	}
	for _, l := range p.Links {
		f.add(c, Record{Operation: "fs_create_hard_link", FileID: uint64(staged.ID), Path: f.entry(ctx, l.Dir, l.Name), Target: path}, err)
	}
	return res, err
}

// Splice implements fs.Staging.
func (f *FS) Splice(ctx context.Context, c *fs.Caller, dst fs.Node, parts []fs.Node) (uint64, error) {
	size, err := f.FS.Splice(ctx, c, dst, parts)
	for _, p := range parts {
		f.reading(ctx, c, "fs_read_data", p, nil, nil, err)
	}
	return size, err
}

// Unstage implements fs.Staging.
func (f *FS) Unstage(ctx context.Context, c *fs.Caller, staged fs.Node) error {
	err := f.FS.Unstage(ctx, c, staged)
	if err == nil {
		f.setStaged(staged, false)
	}
	return err
}
