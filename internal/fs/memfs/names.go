package memfs

import (
	"context"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/fs/fold"
)

// Lookup implements fs.Namespace.
func (f *FS) Lookup(_ context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lookup(c, dir, name, want)
}

func (f *FS) lookup(c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, error) {
	node, n, err := f.child("lookup", c, dir, name)
	if err != nil {
		return fs.Attr{}, err
	}
	return f.attr(n, node, want), nil
}

// child finds name in dir, "." and ".." and the snapshot directory included.
func (f *FS) child(op string, c *fs.Caller, dir fs.Node, name fs.Name) (fs.Node, *inode, error) {
	fail := func(k fs.Kind) (fs.Node, *inode, error) {
		return fs.Node{}, nil, fs.E(op, dir, name, k, nil)
	}
	switch {
	case len(name) > fs.MaxName:
		return fail(fs.NameTooLong)
	case name == "":
		return fail(fs.NameInvalid)
	}
	d, t, err := f.dir(op, dir)
	if err != nil {
		return fs.Node{}, nil, err
	}
	if !f.can(c, d, fs.RightTraverse) {
		return fail(fs.Access)
	}
	var node fs.Node
	switch {
	case name == ".":
		return dir, d, nil
	case name == "..":
		node = f.parent(dir, d)
	case dir.Snap == fs.SnapshotDir:
		s := f.snapshotNamed(dir.ID, name)
		if s == nil {
			return fail(fs.NotExist)
		}
		node = fs.Node{ID: dir.ID, Snap: s.ID}
	case name == fs.SnapshotDirName && dir.Live():
		node = fs.Node{ID: dir.ID, Snap: fs.SnapshotDir}
	default:
		e, ok := d.entries[name]
		if !ok {
			return fail(fs.NotExist)
		}
		return fs.Node{ID: e.id, Snap: dir.Snap}, t[e.id], nil
	}
	n, _, err := f.find(op, node)
	return node, n, err
}

// parent is ".." of a directory.
func (f *FS) parent(node fs.Node, d *inode) fs.Node {
	switch {
	case node.Snap == fs.SnapshotDir:
		return fs.Node{ID: node.ID}
	case !node.Live() && f.snaps[node.Snap].Root == node.ID:
		return fs.Node{ID: node.ID, Snap: fs.SnapshotDir}
	case node.ID == fs.RootID || len(d.links) == 0:
		return node
	}
	return fs.Node{ID: d.links[0].dir, Snap: node.Snap}
}

// LookupFold implements fs.Namespace.
func (f *FS) LookupFold(_ context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, fs.Name, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	stored := f.foldName(dir, name)
	a, err := f.lookup(c, dir, stored, want)
	return a, stored, err
}

// foldName returns the name in dir that equals name without regard to case, an
// exact match first, then the lowest cookie; or name itself if there is none.
func (f *FS) foldName(dir fs.Node, name fs.Name) fs.Name {
	d, _, err := f.dir("lookup", dir)
	if err != nil {
		return name
	}
	if _, ok := d.entries[name]; ok || name == "." || name == ".." {
		return name
	}
	if strings.EqualFold(name, fs.SnapshotDirName) && dir.Live() {
		return fs.SnapshotDirName
	}
	want := fold.Name(fold.Policy, name)
	for _, have := range d.ordered() {
		if fold.Name(fold.Policy, have) == want {
			return have
		}
	}
	return name
}

// Readlink implements fs.Namespace.
func (f *FS) Readlink(_ context.Context, _ *fs.Caller, n fs.Node) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, _, err := f.find("readlink", n)
	if err != nil {
		return nil, err
	}
	if i.typ != fs.Symlink {
		return nil, fs.E("readlink", n, "", fs.NotSymlink, nil)
	}
	return slices.Clone(i.target), nil
}

// PathOf implements fs.Namespace.
func (f *FS) PathOf(_ context.Context, n fs.Node) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.path(n)
}

func (f *FS) path(node fs.Node) (string, error) {
	n, t, err := f.find("path", node)
	if err != nil {
		return "", err
	}
	if node.Snap == fs.SnapshotDir {
		p, err := f.path(fs.Node{ID: node.ID})
		return strings.TrimSuffix(p, "/") + "/" + fs.SnapshotDirName, err
	}
	base, root := "/", fs.RootID
	if s := f.snaps[node.Snap]; s != nil {
		base, root = s.Path, s.Root
	}
	var names []string
	for n.id != root {
		// In a snapshot some names may be outside.
		i := slices.IndexFunc(n.links, func(l link) bool { return t[l.dir] != nil })
		if i < 0 {
			return "", fs.E("path", node, "", fs.Stale, nil)
		}
		names = append(names, n.links[i].name)
		n = t[n.links[i].dir]
	}
	if len(names) == 0 {
		return base, nil
	}
	slices.Reverse(names)
	return strings.TrimSuffix(base, "/") + "/" + strings.Join(names, "/"), nil
}

// Resolve implements fs.Namespace.
func (f *FS) Resolve(_ context.Context, c *fs.Caller, path string, want fs.AttrMask) (fs.Attr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !strings.HasPrefix(path, "/") {
		return fs.Attr{}, fs.E("resolve", fs.Node{}, path, fs.Invalid, nil)
	}
	if len(path) > fs.MaxPath {
		return fs.Attr{}, fs.E("resolve", fs.Node{}, "", fs.NameTooLong, nil)
	}
	node, n := fs.Root, f.live[fs.RootID]
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		var err error
		if node, n, err = f.child("resolve", c, node, name); err != nil {
			return fs.Attr{}, err
		}
	}
	if strings.HasSuffix(path, "/") && n.typ != fs.Directory {
		return fs.Attr{}, fs.E("resolve", node, path, fs.NotDir, nil)
	}
	return f.attr(n, node, want), nil
}

// Contains implements fs.Namespace.
func (f *FS) Contains(_ context.Context, dir fs.FileID, node fs.Node) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, t, err := f.find("contains", node)
	if err != nil {
		return false, err
	}
	if node.Snap == fs.SnapshotDir {
		n = f.live[node.ID]
	}
	s := f.snaps[node.Snap]
	return below(t, s, dir, n), nil
}

// below tells whether n is dir or reached from it by any of its names.
func below(t tree, s *snapshot, dir fs.FileID, n *inode) bool {
	if n.id == dir {
		return true
	}
	if s != nil && n.id == s.Root {
		return slices.Contains(s.above, dir)
	}
	for _, l := range n.links {
		if p := t[l.dir]; p != nil && below(t, s, dir, p) {
			return true
		}
	}
	return false
}
