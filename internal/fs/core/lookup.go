package core

import (
	"context"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Lookup implements fs.Namespace.
func (f *FS) Lookup(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, error) {
	a, err := f.lookup(ctx, c, dir, name)
	return a, wrap("lookup", dir, name, err)
}

func (f *FS) lookup(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name) (fs.Attr, error) {
	if len(name) > fs.MaxName {
		return fs.Attr{}, fs.NameTooLong
	}
	if name == "" {
		return fs.Attr{}, fs.NameInvalid
	}
	if dir.Snap == fs.SnapshotDir {
		return f.lookupSnapshot(ctx, c, dir, name)
	}
	var found fs.Node
	var a fs.Attr
	done := false
	err := f.viewAt(ctx, dir, func(r *meta.Reader, d *meta.Inode) error {
		if d.Type != fs.Directory {
			return fs.NotDir
		}
		if err := f.need(ctx, r, c, d, fs.RightTraverse); err != nil {
			return err
		}
		switch name {
		case ".":
			a, done = attrOf(dir, d), true
			return nil
		case "..":
			return f.dotdot(ctx, r, dir, d, &found)
		case fs.SnapshotDirName:
			if !dir.Live() {
				return fs.NotExist
			}
			a, done = snapshotDirAttr(d), true
			return nil
		}
		e, err := dentry(ctx, r, d.ID, name)
		if err != nil {
			return err
		}
		found = fs.Node{ID: e.ID, Snap: dir.Snap}
		if dir.Live() && f.io.Active(e.ID) {
			return nil // buffered writes: load again under the guard
		}
		i, err := f.inode(ctx, r, e.ID)
		if err != nil {
			return err
		}
		if !dir.Live() || !f.io.Active(e.ID) {
			a, done = attrOf(found, i), true
		}
		return nil
	})
	if err != nil || done {
		return a, err
	}
	if found.Snap == fs.SnapshotDir {
		return f.GetAttr(ctx, c, found, fs.AttrEverything)
	}
	err = f.load(ctx, found, func(_ *meta.Reader, i *meta.Inode) error {
		a = attrOf(found, i)
		return nil
	})
	return a, err
}

// dotdot finds the parent of a directory.
func (f *FS) dotdot(ctx context.Context, r *meta.Reader, dir fs.Node, d *meta.Inode, found *fs.Node) error {
	if !dir.Live() {
		s, err := f.db.Snapshot(ctx, dir.Snap)
		if err != nil {
			return fs.Stale
		}
		if s.Root == d.ID {
			*found = fs.Node{ID: d.ID, Snap: fs.SnapshotDir}
			return nil
		}
	}
	*found = fs.Node{ID: d.Parent, Snap: dir.Snap}
	if d.Parent == 0 {
		if d.ID != fs.RootID {
			return fs.Stale // detached
		}
		found.ID = fs.RootID
	}
	return nil
}

// LookupFold implements fs.Namespace.
func (f *FS) LookupFold(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, fs.Name, error) {
	stored := name
	if dir.Snap != fs.SnapshotDir && name != "." && name != ".." && !strings.EqualFold(name, fs.SnapshotDirName) && name != "" && len(name) <= fs.MaxName {
		err := f.viewAt(ctx, dir, func(r *meta.Reader, d *meta.Inode) error {
			if d.Type != fs.Directory {
				return fs.NotDir
			}
			if err := f.need(ctx, r, c, d, fs.RightTraverse); err != nil {
				return err
			}
			e, err := r.DentryFold(ctx, d.ID, name)
			if err == nil {
				stored = e.Name
			}
			return nil
		})
		if err != nil {
			return fs.Attr{}, "", wrap("lookup", dir, name, err)
		}
	}
	a, err := f.Lookup(ctx, c, dir, stored, want)
	return a, stored, err
}

// covering lists the live snapshots that see directory id, in order of ids.
func (f *FS) covering(ctx context.Context, id fs.FileID) ([]fs.Snapshot, error) {
	var all []fs.Snapshot
	var above []fs.FileID
	err := f.db.View(ctx, func(r *meta.Reader) error {
		d, err := f.directory(ctx, r, id)
		if err != nil {
			return err
		}
		if all, err = r.Snapshots(ctx); err != nil || len(all) == 0 {
			return err
		}
		if above, err = r.Ancestors(ctx, id); err != nil {
			return err
		}
		for _, c := range d.Cover {
			above = append(above, c.Root)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []fs.Snapshot
	for _, s := range all {
		if s.InDelete || !slices.Contains(above, s.Root) {
			continue
		}
		if ok, err := f.within(ctx, s, id); err != nil {
			return nil, err
		} else if ok {
			out = append(out, s)
		}
	}
	return out, nil
}

// within tells whether a snapshot holds the directory at or below its root.
func (f *FS) within(ctx context.Context, s fs.Snapshot, id fs.FileID) (bool, error) {
	ok := false
	err := f.db.ViewAt(ctx, s.ID, func(r *meta.Reader) error {
		above, err := r.Ancestors(ctx, id)
		ok = err == nil && slices.Contains(above, s.Root)
		return nil
	})
	if err != nil && kindOf(err) == fs.Stale {
		return false, nil // deleted just now
	}
	return ok, err
}

func (f *FS) lookupSnapshot(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name) (fs.Attr, error) {
	switch name {
	case ".":
		return f.GetAttr(ctx, c, dir, fs.AttrEverything)
	case "..":
		return f.GetAttr(ctx, c, fs.Node{ID: dir.ID}, fs.AttrEverything)
	}
	all, err := f.db.Snapshots(ctx)
	if err != nil {
		return fs.Attr{}, err
	}
	for _, s := range all {
		if s.Name != name || s.InDelete {
			continue
		}
		if ok, err := f.within(ctx, s, dir.ID); err != nil || !ok {
			if err == nil {
				err = fs.NotExist
			}
			return fs.Attr{}, err
		}
		return f.GetAttr(ctx, c, fs.Node{ID: dir.ID, Snap: s.ID}, fs.AttrEverything)
	}
	return fs.Attr{}, fs.NotExist
}

// Readlink implements fs.Namespace.
func (f *FS) Readlink(ctx context.Context, c *fs.Caller, n fs.Node) ([]byte, error) {
	var target []byte
	err := f.viewAt(ctx, n, func(_ *meta.Reader, i *meta.Inode) error {
		if i.Type != fs.Symlink || n.Snap == fs.SnapshotDir {
			return fs.NotSymlink
		}
		target = i.Target
		return nil
	})
	return target, wrap("readlink", n, "", err)
}

// PathOf implements fs.Namespace.
func (f *FS) PathOf(ctx context.Context, n fs.Node) (string, error) {
	var parts []string
	err := f.viewAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		for i.ID != fs.RootID {
			if i.Parent == 0 || len(parts) > fs.MaxPath {
				return fs.Stale // detached, or its last name is gone
			}
			parts = append(parts, i.ParentName)
			var err error
			if i, err = f.inode(ctx, r, i.Parent); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", wrap("path of", n, "", err)
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/"), nil
}

// Resolve implements fs.Namespace.
func (f *FS) Resolve(ctx context.Context, c *fs.Caller, path string, want fs.AttrMask) (fs.Attr, error) {
	if !strings.HasPrefix(path, "/") {
		return fs.Attr{}, wrap("resolve", fs.Node{}, path, fs.Invalid)
	}
	if len(path) > fs.MaxPath {
		return fs.Attr{}, wrap("resolve", fs.Node{}, path, fs.NameTooLong)
	}
	a, err := f.GetAttr(ctx, c, fs.Root, want)
	for _, name := range strings.Split(path, "/") {
		if err != nil {
			return a, err
		}
		if name == "" {
			continue
		}
		a, err = f.Lookup(ctx, c, a.Node, name, want)
	}
	return a, err
}

// Contains implements fs.Namespace.
func (f *FS) Contains(ctx context.Context, dir fs.FileID, n fs.Node) (bool, error) {
	if n.ID == dir || dir == fs.RootID && n.Live() {
		return true, nil
	}
	found := false
	err := f.viewAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		links, err := r.Links(ctx, i)
		if err != nil {
			return err
		}
		for _, l := range links {
			above, err := r.Ancestors(ctx, l.Dir)
			if err != nil {
				return err
			}
			if slices.Contains(above, dir) {
				found = true
				return nil
			}
		}
		return nil
	})
	return found, wrap("contains", n, "", err)
}
