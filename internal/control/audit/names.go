package audit

import (
	"context"

	"manifold/internal/fs"
)

// The methods below implement fs.Namespace and fs.TreeDeletes.

// denied records that a name was asked for in a directory where that is not allowed.
func (f *FS) denied(ctx context.Context, c *fs.Caller, dir fs.Node, name string, err error) {
	if err == nil || !f.log.Enabled() {
		return
	}
	if k := fs.KindOf(err); k != fs.Access && k != fs.Perm {
		return
	}
	if !f.first(c, readMetadata, dir, err) {
		return
	}
	f.add(c, &Record{Operation: "fs_read_metadata", Path: f.path(ctx, dir), Name: name}, err)
}

// Lookup leaves a record only if it is refused: what is then done to the object
// leaves its own.
func (f *FS) Lookup(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, error) {
	a, err := f.FS.Lookup(ctx, c, dir, name, want)
	f.denied(ctx, c, dir, name, err)
	return a, err
}

// LookupFold is as Lookup.
func (f *FS) LookupFold(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, fs.Name, error) {
	a, stored, err := f.FS.LookupFold(ctx, c, dir, name, want)
	f.denied(ctx, c, dir, name, err)
	return a, stored, err
}

// Resolve is as Lookup.
func (f *FS) Resolve(ctx context.Context, c *fs.Caller, path string, want fs.AttrMask) (fs.Attr, error) {
	a, err := f.FS.Resolve(ctx, c, path, want)
	if err != nil && f.log.Enabled() && fs.KindOf(err) == fs.Access {
		f.add(c, &Record{Operation: "fs_read_metadata", Path: path}, err)
	}
	return a, err
}

func (f *FS) ReadDir(ctx context.Context, c *fs.Caller, dir fs.Node, after uint64, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	eof, err := f.FS.ReadDir(ctx, c, dir, after, want, yield)
	f.looked(ctx, c, listDirectory, dir, nil, err)
	return eof, err
}

func (f *FS) ReadDirByName(ctx context.Context, c *fs.Caller, dir fs.Node, after fs.Name, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	eof, err := f.FS.ReadDirByName(ctx, c, dir, after, want, yield)
	f.looked(ctx, c, listDirectory, dir, nil, err)
	return eof, err
}

func (f *FS) Create(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec) (fs.CreateResult, error) {
	if !f.log.Enabled() {
		return f.FS.Create(ctx, c, dir, name, spec)
	}
	var before stamps
	if spec.Type == fs.Directory {
		before = f.paths.stamps()
	}
	op, target := createOp(spec.Type), ""
	if spec.Type == fs.Symlink {
		target = string(spec.Target)
	}
	res, err := f.FS.Create(ctx, c, dir, name, spec)
	path := f.path(ctx, dir)
	if err == nil && res.Created && spec.Type == fs.Directory {
		f.made(res.Attr.Node, path, name, &before)
	}
	f.add(c, &Record{Operation: op, FileID: uint64(res.Attr.Node.ID), Path: path, Name: name, Target: target}, err)
	if err == nil && res.Created && len(spec.Data) > 0 {
		f.wrote(ctx, c, res.Attr.Node, 0, uint64(len(spec.Data)), &res.Attr, nil)
	}
	return res, err
}

// Retype is recorded as making what there is now.
func (f *FS) Retype(ctx context.Context, c *fs.Caller, n fs.Node, spec *fs.RetypeSpec) (fs.Changed, error) {
	ch, err := f.FS.Retype(ctx, c, n, spec)
	if f.log.Enabled() {
		target := ""
		if spec.Type == fs.Symlink {
			target = string(spec.Target)
		}
		f.add(c, &Record{Operation: createOp(spec.Type), FileID: uint64(n.ID), Path: f.path(ctx, n), Target: target}, err)
	}
	return ch, err
}

func (f *FS) Link(ctx context.Context, c *fs.Caller, target, dir fs.Node, name fs.Name) (fs.LinkResult, error) {
	res, err := f.FS.Link(ctx, c, target, dir, name)
	if f.log.Enabled() {
		r := Record{Operation: "fs_create_hard_link", FileID: uint64(target.ID), Path: f.path(ctx, dir), Name: name}
		r.Target, r.TargetName = f.where(ctx, target, &res.Target)
		f.add(c, &r, err)
	}
	return res, err
}

func (f *FS) Remove(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode) (fs.RemoveResult, error) {
	res, err := f.FS.Remove(ctx, c, dir, name, mode)
	if f.log.Enabled() {
		if err == nil {
			f.paths.forget(res.Node)
		}
		f.add(c, &Record{Operation: "fs_delete", FileID: uint64(res.Node.ID), Path: f.path(ctx, dir), Name: name}, err)
	}
	return res, err
}

func (f *FS) Rename(ctx context.Context, c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name, o fs.RenameOptions) (fs.RenameResult, error) {
	if !f.log.Enabled() {
		return f.FS.Rename(ctx, c, from, fromName, to, toName, o)
	}
	// The directories' names are those before: the rename may change that of one.
	r := Record{Operation: "fs_rename", Path: f.path(ctx, from), Name: fromName, Target: f.path(ctx, to), TargetName: toName}
	res, err := f.FS.Rename(ctx, c, from, fromName, to, toName, o)
	if err == nil {
		f.moved(ctx, res.Node)
		if res.Replaced != (fs.Node{}) {
			f.paths.forget(res.Replaced)
		}
	}
	r.FileID = uint64(res.Node.ID)
	f.add(c, &r, err)
	return res, err
}

// moved forgets the path of what has another one now, and of all below it.
func (f *FS) moved(ctx context.Context, n fs.Node) {
	a, err := f.FS.GetAttr(context.WithoutCancel(ctx), fs.SystemCaller(), n, fs.AttrType)
	if err != nil || a.Type == fs.Directory {
		f.paths.forgetAll()
		return
	}
	f.paths.forget(n)
}

func (f *FS) Readlink(ctx context.Context, c *fs.Caller, n fs.Node) ([]byte, error) {
	b, err := f.FS.Readlink(ctx, c, n)
	f.looked(ctx, c, readLink, n, nil, err)
	return b, err
}

func (f *FS) StartTreeDelete(ctx context.Context, c *fs.Caller, dir fs.FileID) (fs.TreeDelete, error) {
	if !f.log.Enabled() {
		return f.FS.StartTreeDelete(ctx, c, dir)
	}
	r := Record{Operation: "fs_tree_delete", FileID: uint64(dir), Path: f.path(ctx, fs.Node{ID: dir})}
	d, err := f.FS.StartTreeDelete(ctx, c, dir)
	if err == nil {
		f.paths.forgetAll()
	}
	f.add(c, &r, err)
	return d, err
}

func (f *FS) CancelTreeDelete(ctx context.Context, id fs.FileID) error {
	err := f.FS.CancelTreeDelete(ctx, id)
	if f.log.Enabled() {
		f.paths.forgetAll() // what is left is elsewhere
	}
	return err
}
