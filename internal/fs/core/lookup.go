package core

import (
	"context"
	"errors"
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
		if err := f.mayHoldNames(ctx, r, d); err != nil {
			return err
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
			if err := f.mayHoldNames(ctx, r, d); err != nil {
				return err
			}
			if err := f.need(ctx, r, c, d, fs.RightTraverse); err != nil {
				return err
			}
			e, err := r.DentryFold(ctx, d, name)
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
		_, in, err := f.belowRoot(ctx, r, s.Root, id)
		ok = in
		return err
	})
	if err != nil && kindOf(err) == fs.Stale {
		return false, nil // deleted just now
	}
	return ok, err
}

// belowRoot walks up from a directory to the root of the snapshot that r reads:
// what lies above was not kept. It answers the names on the way, and whether it
// got there.
func (f *FS) belowRoot(ctx context.Context, r *meta.Reader, root, dir fs.FileID) (names []string, ok bool, err error) {
	for len(names) <= fs.MaxPath {
		i, err := r.Inode(ctx, dir)
		switch {
		case errors.Is(err, meta.ErrNotFound):
			return nil, false, nil
		case err != nil:
			return nil, false, err
		case dir == root:
			slices.Reverse(names)
			return names, true, nil
		case i.Parent == 0:
			return nil, false, nil
		}
		names = append(names, i.ParentName)
		dir = i.Parent
	}
	return nil, false, nil
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

// PathOf implements fs.Namespace. In a snapshot it is the path of that time.
func (f *FS) PathOf(ctx context.Context, n fs.Node) (string, error) {
	var path string
	var err error
	if n.Live() || n.Snap == fs.SnapshotDir {
		path, err = f.livePath(ctx, n)
	} else {
		path, err = f.snapshotPath(ctx, n)
	}
	return path, wrap("path of", n, "", err)
}

func (f *FS) livePath(ctx context.Context, n fs.Node) (string, error) {
	var parts []string
	err := f.viewAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		parts = nil
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
	slices.Reverse(parts)
	path := "/" + strings.Join(parts, "/")
	if n.Snap == fs.SnapshotDir {
		path = strings.TrimSuffix(path, "/") + "/" + fs.SnapshotDirName
	}
	return path, err
}

func (f *FS) snapshotPath(ctx context.Context, n fs.Node) (string, error) {
	s, err := f.db.Snapshot(ctx, n.Snap)
	if err != nil {
		return "", fs.Stale
	}
	var parts []string
	err = f.viewAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		parts = nil
		if i.ID == s.Root {
			return nil
		}
		links, err := r.Links(ctx, i)
		if err != nil {
			return err
		}
		for _, l := range links { // some names may be outside
			up, ok, err := f.belowRoot(ctx, r, s.Root, l.Dir)
			if err != nil {
				return err
			}
			if ok {
				parts = append(up, l.Name)
				return nil
			}
		}
		return fs.Stale
	})
	if len(parts) == 0 {
		return s.Path, err
	}
	return strings.TrimSuffix(s.Path, "/") + "/" + strings.Join(parts, "/"), err
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

// Contains implements fs.Namespace. What is above the root of a snapshot is
// what is above that directory now.
func (f *FS) Contains(ctx context.Context, dir fs.FileID, n fs.Node) (bool, error) {
	if n.ID == dir || dir == fs.RootID {
		return true, nil
	}
	found, err := f.contains(ctx, dir, n)
	return found, wrap("contains", n, "", err)
}

func (f *FS) contains(ctx context.Context, dir fs.FileID, n fs.Node) (found bool, err error) {
	var root fs.FileID
	if !n.Live() && n.Snap != fs.SnapshotDir {
		s, err := f.db.Snapshot(ctx, n.Snap)
		if err != nil {
			return false, fs.Stale
		}
		root = s.Root
	}
	err = f.viewAt(ctx, n, func(r *meta.Reader, i *meta.Inode) error {
		found = false
		if i.ID == root {
			return nil
		}
		links, err := r.Links(ctx, i)
		if err != nil {
			return err
		}
		for _, l := range links {
			if root != 0 {
				found, err = f.upTo(ctx, r, root, l.Dir, dir)
			} else {
				var above []fs.FileID
				above, err = r.Ancestors(ctx, l.Dir)
				found = slices.Contains(above, dir)
			}
			if found || err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || found || root == 0 {
		return found, err
	}
	err = f.db.View(ctx, func(r *meta.Reader) error {
		above, err := r.Ancestors(ctx, root)
		found = slices.Contains(above, dir)
		if errors.Is(err, meta.ErrNotFound) {
			return nil // removed since
		}
		return err
	})
	return found, err
}

// upTo tells whether the way up from a directory to the root of the snapshot
// that r reads leads through another.
func (f *FS) upTo(ctx context.Context, r *meta.Reader, root, from, through fs.FileID) (bool, error) {
	for range fs.MaxPath {
		if from == through {
			_, ok, err := f.belowRoot(ctx, r, root, from)
			return ok, err
		}
		if from == root {
			return false, nil
		}
		i, err := r.Inode(ctx, from)
		if errors.Is(err, meta.ErrNotFound) || err == nil && i.Parent == 0 {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		from = i.Parent
	}
	return false, nil
}
