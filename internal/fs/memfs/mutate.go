package memfs

import (
	"context"
	"slices"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
)

// liveDir finds a directory that is going to be changed and checks the name.
func (f *FS) liveDir(op string, c *fs.Caller, node fs.Node, name fs.Name) (*inode, error) {
	if err := writable(op, c, node); err != nil {
		return nil, err
	}
	if err := fs.CheckName(name); err != nil {
		return nil, fs.E(op, node, name, fs.KindOf(err), nil)
	}
	d, _, err := f.dir(op, node)
	return d, err
}

// Create implements fs.Namespace.
func (f *FS) Create(_ context.Context, c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec) (fs.CreateResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.create(c, dir, name, spec)
}

func (f *FS) create(c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec) (fs.CreateResult, error) {
	const op = "create"
	fail := func(k fs.Kind) (fs.CreateResult, error) { return fs.CreateResult{}, fs.E(op, dir, name, k, nil) }
	if err := checkSpec(spec); err != nil {
		return fail(fs.KindOf(err))
	}
	if err := writable(op, c, dir); err != nil {
		return f.createReadOnly(c, dir, name, spec)
	}
	d, err := f.liveDir(op, c, dir, name)
	if err != nil {
		return fs.CreateResult{}, err
	}
	if len(d.links) == 0 && d.id != fs.RootID {
		return fail(fs.Stale) // removed, kept alive by an open
	}
	if !f.can(c, d, fs.RightTraverse) {
		return fail(fs.Access)
	}
	if e, ok := d.entries[name]; ok {
		return f.createExisting(c, d, name, f.live[e.id], spec)
	}
	if err := f.mayAdd(op, c, d, name, spec.Type); err != nil {
		return fs.CreateResult{}, err
	}
	n, err := f.build(c, d, spec)
	if err == nil {
		err = f.room(op, d, fs.BlockSize+n.data.growth(0, uint64(len(spec.Data))))
	}
	if err != nil {
		return fs.CreateResult{}, err
	}
	n.id = f.nextID
	f.nextID++
	f.live[n.id] = n
	n.putMeta(spec.Meta)
	if len(spec.Data) > 0 {
		n.data.write(0, spec.Data)
		n.dropSetID(c)
	}
	b := before(d)
	f.add(d, name, n)
	f.touch(d, true)
	f.notifyName(d, name, n, fs.EventAdded, 0)
	if len(spec.Data) > 0 {
		f.notify(n, fs.EventData|fs.EventSize)
	}
	return fs.CreateResult{Attr: f.attr(n, fs.Node{ID: n.id}, spec.Want), Created: true, Dir: f.changed(d, b)}, nil
}

// createReadOnly finds what is there even where nothing can be made.
func (f *FS) createReadOnly(c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec) (fs.CreateResult, error) {
	node, n, err := f.child("create", c, dir, name)
	switch {
	case err != nil:
		return fs.CreateResult{}, fs.E("create", dir, name, fs.ReadOnly, nil)
	case spec.Disposition == fs.CreateUnchecked && spec.Type == fs.File && n.typ == fs.File && spec.Set.Size == nil:
		return fs.CreateResult{Attr: f.attr(n, node, spec.Want)}, nil
	}
	return fs.CreateResult{}, fs.E("create", dir, name, fs.Exist, nil)
}

// checkSpec refuses what can never be made.
func checkSpec(spec *fs.CreateSpec) error {
	switch {
	case spec.Type < fs.File || spec.Type > fs.BlockDevice:
		return fs.Invalid
	case spec.Type == fs.Symlink && len(spec.Target) == 0:
		return fs.Invalid
	case spec.Type == fs.Symlink && len(spec.Target) > 4095:
		return fs.NameTooLong
	case len(spec.Data) > 0 && (spec.Type != fs.File || spec.Set.Size != nil || len(spec.Data) > fs.MaxCreateData):
		return fs.Invalid
	}
	if err := checkMetaItems(spec.Meta); err != nil {
		return err
	}
	switch {
	case spec.Set.Size == nil:
		return nil
	case spec.Type != fs.File:
		return fs.Invalid
	case *spec.Set.Size > fs.MaxFileSize:
		return fs.TooBig
	}
	return nil
}

// createExisting answers a create of a name that is there.
func (f *FS) createExisting(c *fs.Caller, d *inode, name fs.Name, n *inode, spec *fs.CreateSpec) (fs.CreateResult, error) {
	node := fs.Node{ID: n.id}
	exist := fs.E("create", fs.Node{ID: d.id}, name, fs.Exist, nil)
	if spec.Type != fs.File || n.typ != fs.File {
		return fs.CreateResult{}, exist
	}
	switch spec.Disposition {
	case fs.CreateExclusive:
		if n.verifier == nil || *n.verifier != spec.Verifier {
			return fs.CreateResult{}, exist
		}
	case fs.CreateUnchecked:
		if spec.Set.Size != nil {
			if _, err := f.setAttr(c, node, &fs.SetAttr{Size: spec.Set.Size}, nil); err != nil {
				return fs.CreateResult{}, err
			}
		}
	default:
		return fs.CreateResult{}, exist
	}
	return fs.CreateResult{Attr: f.attr(n, node, spec.Want), Dir: f.changed(d, before(d))}, nil
}

// build makes the inode that spec describes, not yet in the tree.
func (f *FS) build(c *fs.Caller, d *inode, spec *fs.CreateSpec) (*inode, error) {
	fail := func(k fs.Kind) (*inode, error) { return nil, fs.E("create", fs.Node{ID: d.id}, "", k, nil) }
	now := f.now()
	isDir := spec.Type == fs.Directory
	n := &inode{typ: spec.Type, atime: now, mtime: now, ctime: now, btime: now, change: 1}
	owner, group := c.Cred.User, acl.NewGroup(c, &d.acl)
	want := fs.ACL{Owner: owner, Group: group, ModeOnly: true}
	set := &spec.Set
	if set.Owner != nil {
		owner = *set.Owner
	}
	if set.Group != nil {
		group = *set.Group
	}
	if (owner != want.Owner || group != want.Group) && !acl.MayChown(c, &want, isDir, owner, group) {
		return fail(fs.Perm)
	}
	mode := set.Mode
	if mode == nil && spec.Type == fs.Symlink {
		mode = new(fs.Mode)
		*mode = 0o777
	}
	n.acl = acl.Inherit(&d.acl, isDir, owner, group, mode, spec.ModeYields)
	n.acl.Mode = acl.CreateMode(c, &d.acl, isDir, group, n.acl.Mode)
	switch spec.Type {
	case fs.Directory:
		n.entries = map[fs.Name]entry{}
	case fs.Symlink:
		n.target, n.hint = slices.Clone(spec.Target), spec.SymlinkHint
	case fs.CharDevice, fs.BlockDevice:
		n.rdevMajor, n.rdevMinor = spec.RdevMajor, spec.RdevMinor
	case fs.File:
		if spec.Disposition == fs.CreateExclusive {
			v := spec.Verifier
			n.verifier = &v
		}
		if set.Size != nil {
			n.data.size = *set.Size
		}
	}
	n.setTimes(set, now)
	if set.DOS != nil {
		n.dos = *set.DOS
	}
	if set.Retention != nil || set.LegalHold != nil {
		if !mayLockFiles(c) {
			return fail(fs.Perm)
		}
		if n.typ != fs.File {
			return fail(fs.NotFile)
		}
		if set.Retention != nil {
			n.retention = *set.Retention
		}
		if set.LegalHold != nil {
			n.hold = *set.LegalHold
		}
	}
	return n, nil
}

// mayLockFiles tells whether the caller may set retention and legal hold.
func mayLockFiles(c *fs.Caller) bool {
	return c.Cred.Superuser || c.Cred.Privileges.Has(identity.FileLockWrite)
}

// Link implements fs.Namespace.
func (f *FS) Link(_ context.Context, c *fs.Caller, target, dir fs.Node, name fs.Name) (fs.LinkResult, error) {
	const op = "link"
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(k fs.Kind) (fs.LinkResult, error) { return fs.LinkResult{}, fs.E(op, dir, name, k, nil) }
	if target.Live() != dir.Live() {
		return fail(fs.CrossDevice)
	}
	d, err := f.liveDir(op, c, dir, name)
	if err != nil {
		return fs.LinkResult{}, err
	}
	if len(d.links) == 0 && d.id != fs.RootID {
		return fail(fs.Stale)
	}
	n, _, err := f.find(op, target)
	if err != nil {
		return fs.LinkResult{}, err
	}
	if !f.can(c, d, fs.RightTraverse) {
		return fail(fs.Access)
	}
	if _, ok := d.entries[name]; ok {
		return fail(fs.Exist)
	}
	switch {
	case n.typ == fs.Directory:
		return fail(fs.Perm)
	case len(n.links) == 0:
		return fail(fs.Stale)
	case len(n.links) >= fs.MaxLinks:
		return fail(fs.TooManyLinks)
	}
	if err := f.mayAdd(op, c, d, name, n.typ); err != nil {
		return fs.LinkResult{}, err
	}
	if n.locked(f.now()) {
		return fail(fs.WORM)
	}
	b := before(d)
	f.add(d, name, n)
	f.touch(d, true)
	f.touch(n, false)
	f.notifyName(d, name, n, fs.EventAdded, 0)
	return fs.LinkResult{Target: f.attr(n, target, fs.AttrEverything), Dir: f.changed(d, b)}, nil
}

// Remove implements fs.Namespace.
func (f *FS) Remove(_ context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode) (fs.RemoveResult, error) {
	const op = "remove"
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(k fs.Kind) (fs.RemoveResult, error) { return fs.RemoveResult{}, fs.E(op, dir, name, k, nil) }
	d, err := f.liveDir(op, c, dir, name)
	if err != nil {
		return fs.RemoveResult{}, err
	}
	_, n, err := f.child(op, c, dir, name)
	if err != nil {
		return fs.RemoveResult{}, err
	}
	if err := f.mayDelete(op, c, d, name, n); err != nil {
		return fs.RemoveResult{}, err
	}
	switch {
	case mode == fs.RemoveFile && n.typ == fs.Directory:
		return fail(fs.IsDir)
	case mode == fs.RemoveDir && n.typ != fs.Directory:
		return fail(fs.NotDir)
	case len(n.entries) > 0:
		return fail(fs.NotEmpty)
	case n.locked(f.now()):
		return fail(fs.WORM)
	}
	b := before(d)
	f.unlink(d, name, n)
	return fs.RemoveResult{Dir: f.changed(d, b), Node: fs.Node{ID: n.id}, Gone: len(n.links) == 0}, nil
}

// unlink takes the name of n from d, after all checks.
func (f *FS) unlink(d *inode, name fs.Name, n *inode) {
	f.notifyName(d, name, n, fs.EventRemoved, 0)
	f.drop(d, name, n)
	f.touch(d, true)
	f.touch(n, false)
	if len(n.links) == 0 {
		f.notifyGone(n)
	}
	f.forget(n)
}

// Rename implements fs.Namespace.
func (f *FS) Rename(_ context.Context, c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name, o fs.RenameOptions) (fs.RenameResult, error) {
	const op = "rename"
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(k fs.Kind) (fs.RenameResult, error) { return fs.RenameResult{}, fs.E(op, from, fromName, k, nil) }
	if from.Live() != to.Live() {
		return fail(fs.CrossDevice)
	}
	if err := fs.CheckName(toName); err != nil && writable(op, c, from) == nil && fs.CheckName(fromName) == nil {
		return fail(fs.KindOf(err))
	}
	fd, err := f.liveDir(op, c, from, fromName)
	if err != nil {
		return fs.RenameResult{}, err
	}
	td, err := f.liveDir(op, c, to, toName)
	if err != nil {
		return fs.RenameResult{}, err
	}
	if len(td.links) == 0 && td.id != fs.RootID && td != fd {
		return fail(fs.Stale)
	}
	if !f.can(c, fd, fs.RightTraverse) || !f.can(c, td, fs.RightTraverse) {
		return fail(fs.Access)
	}
	_, n, err := f.child(op, c, from, fromName)
	if err != nil {
		return fs.RenameResult{}, err
	}
	if o.Only != (fs.Node{}) && o.Only != (fs.Node{ID: n.id}) {
		return fail(fs.NotExist)
	}
	var old *inode
	if e, ok := td.entries[toName]; ok {
		old = f.live[e.id]
	}
	res := fs.RenameResult{Node: fs.Node{ID: n.id}}
	switch {
	case old != nil && o.NoReplace && !(fd == td && fromName == toName):
		return fail(fs.Exist)
	case n.typ == fs.Directory && old != n && below(f.live, nil, n.id, td):
		return fail(fs.Loop)
	case old == n:
		res.From, res.To = f.changed(fd, before(fd)), f.changed(td, before(td))
		return res, nil
	}
	if err := f.mayMove(c, fd, fromName, n, td, toName, old); err != nil {
		return fs.RenameResult{}, err
	}
	fb, tb := before(fd), before(td)
	f.cookie++
	f.notifyName(fd, fromName, n, fs.EventMovedFrom, f.cookie)
	f.drop(fd, fromName, n)
	if old != nil {
		res.Replaced = fs.Node{ID: old.id}
		f.unlink(td, toName, old)
	}
	f.add(td, toName, n)
	f.touch(fd, true)
	if td != fd {
		f.touch(td, true)
	}
	f.touch(n, false)
	f.notifyName(td, toName, n, fs.EventMovedTo, f.cookie)
	res.From, res.To = f.changed(fd, fb), f.changed(td, tb)
	return res, nil
}

// mayMove checks permissions, types and space of a rename.
func (f *FS) mayMove(c *fs.Caller, fd *inode, fromName fs.Name, n *inode, td *inode, toName fs.Name, old *inode) error {
	const op = "rename"
	fail := func(k fs.Kind) error { return fs.E(op, fs.Node{ID: fd.id}, fromName, k, nil) }
	if err := f.mayDelete(op, c, fd, fromName, n); err != nil {
		return err
	}
	if err := f.mayAdd(op, c, td, toName, n.typ); err != nil {
		return err
	}
	// Moving a directory changes its "..".
	if n.typ == fs.Directory && td != fd && !f.can(c, n, fs.RightAddSubdir) {
		return fail(fs.Access)
	}
	if old != nil {
		switch {
		case n.typ == fs.Directory && old.typ != fs.Directory:
			return fail(fs.NotDir)
		case n.typ != fs.Directory && old.typ == fs.Directory:
			return fail(fs.IsDir)
		}
		if err := f.mayDelete(op, c, td, toName, old); err != nil {
			return err
		}
	}
	now := f.now()
	switch {
	case old != nil && len(old.entries) > 0:
		return fail(fs.NotEmpty)
	case n.locked(now), old != nil && old.locked(now):
		return fail(fs.WORM)
	}
	return f.roomToMove(n, old, fd, td)
}
