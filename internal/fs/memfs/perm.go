package memfs

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
)

func (n *inode) mode() fs.Mode { return acl.Mode(&n.acl, n.typ == fs.Directory) }

// rights answers which of want the caller has on n, its parent not asked.
func (f *FS) rights(c *fs.Caller, n *inode, want fs.Rights) fs.Rights {
	return acl.Check(c, &n.acl, n.typ == fs.Directory, want)
}

// can tells whether the caller has all of want on n.
func (f *FS) can(c *fs.Caller, n *inode, want fs.Rights) bool {
	if c.BypassTraverse && n.typ == fs.Directory {
		want &^= fs.RightTraverse
	}
	return f.rights(c, n, want) == want
}

// mayDelete tells whether the caller may take the name of n from d.
func (f *FS) mayDelete(op string, c *fs.Caller, d *inode, name fs.Name, n *inode) error {
	if err := acl.MayDelete(c, &d.acl, &n.acl, n.typ == fs.Directory); err != nil {
		return fs.E(op, fs.Node{ID: d.id}, name, fs.KindOf(err), nil)
	}
	return nil
}

// mayAdd tells whether the caller may add an object of type t to d.
func (f *FS) mayAdd(op string, c *fs.Caller, d *inode, name fs.Name, t fs.Type) error {
	want := fs.RightAddFile
	if t == fs.Directory {
		want = fs.RightAddSubdir
	}
	if !f.can(c, d, want|fs.RightTraverse) {
		return fs.E(op, fs.Node{ID: d.id}, name, fs.Access, nil)
	}
	return nil
}

// dropSetID clears setuid and setgid after a change of data by a caller who is
// no superuser.
func (n *inode) dropSetID(c *fs.Caller) {
	if !acl.IsSuper(c) {
		n.acl.Mode = acl.DropSetID(n.mode(), n.typ == fs.Directory)&^0o777 | n.acl.Mode&0o777
	}
}

// Access implements fs.Permissions.
func (f *FS) Access(_ context.Context, c *fs.Caller, node fs.Node, want fs.Rights) (fs.Rights, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, t, err := f.find("access", node)
	if err != nil {
		return 0, err
	}
	return f.access(c, node, n, t) & want, nil
}

// access answers all the rights of the caller on n, by its primary directory too.
func (f *FS) access(c *fs.Caller, node fs.Node, n *inode, t tree) fs.Rights {
	got := f.rights(c, n, fs.RightsAll)
	if len(n.links) > 0 && t[n.links[0].dir] != nil {
		d := t[n.links[0].dir]
		more, less := acl.FromParent(c, &d.acl, &n.acl, n.typ == fs.Directory)
		got = (got | more) &^ less
	}
	if !node.Live() || c.ReadOnly {
		got &= acl.ReadRights
	}
	return got
}

// GetACL implements fs.Permissions.
func (f *FS) GetACL(_ context.Context, c *fs.Caller, node fs.Node) (fs.ACL, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _, err := f.find("get ACL", node)
	if err != nil {
		return fs.ACL{}, err
	}
	if !f.can(c, n, fs.RightReadACL) {
		return fs.ACL{}, fs.E("get ACL", node, "", fs.Access, nil)
	}
	a := acl.Resolve(&n.acl, n.typ == fs.Directory)
	a.Entries = append([]fs.ACE(nil), a.Entries...)
	return a, nil
}

// SetACL implements fs.Permissions.
func (f *FS) SetACL(_ context.Context, c *fs.Caller, node fs.Node, a *fs.ACL) (fs.Changed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.findLive("set ACL", c, node)
	if err != nil {
		return fs.Changed{}, err
	}
	fail := func(k fs.Kind) (fs.Changed, error) { return fs.Changed{}, fs.E("set ACL", node, "", k, nil) }
	isDir := n.typ == fs.Directory
	switch {
	case !f.can(c, n, fs.RightWriteACL):
		return fail(fs.Access)
	case n.locked(f.now()):
		return fail(fs.WORM)
	}
	owner, group := a.Owner, a.Group
	if owner == n.acl.Owner {
		owner = identity.Unset
	}
	if group == n.acl.Group {
		group = identity.Unset
	}
	if (owner != identity.Unset || group != identity.Unset) && !acl.MayChown(c, &n.acl, isDir, owner, group) {
		return fail(fs.Perm)
	}
	set := *a
	if set.Owner == identity.Unset {
		set.Owner = n.acl.Owner
	}
	if set.Group == identity.Unset {
		set.Group = n.acl.Group
	}
	set.Entries = append([]fs.ACE{}, a.Entries...)
	if a.ModeOnly {
		set.Entries = nil
	} else {
		set.Mode = n.acl.Mode &^ 0o777
	}
	if err := acl.Validate(&set); err != nil {
		return fail(fs.KindOf(err))
	}
	b := before(n)
	n.acl = set
	f.touch(n, false)
	f.notify(n, fs.EventACL)
	return f.changed(n, b), nil
}
