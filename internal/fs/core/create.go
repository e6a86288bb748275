package core

import (
	"context"
	"errors"

	"manifold/internal/data"
	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
	"manifold/internal/meta"
)

// Create implements fs.Namespace.
func (f *FS) Create(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec) (fs.CreateResult, error) {
	var res fs.CreateResult
	err := f.create(ctx, c, dir, name, spec, &res)
	return res, wrap("create", dir, name, err)
}

func (f *FS) create(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec, res *fs.CreateResult) error {
	if err := checkCreate(spec); err != nil {
		return err
	}
	if err := writable(c, dir); err != nil {
		// A name that is there is found even where nothing can be made.
		if a, lerr := f.lookup(ctx, c, dir, name); lerr == nil {
			if spec.Disposition == fs.CreateUnchecked && a.Type == fs.File && spec.Type == fs.File && spec.Set.Size == nil {
				res.Attr = a
				return nil
			}
			return fs.Exist
		}
		return err
	}
	if err := fs.CheckName(name); err != nil {
		return err
	}
	id, err := f.db.NewFileID(ctx)
	if err != nil {
		return err
	}
	if err := f.roomFor(len(spec.Data)); err != nil {
		return err
	}
	contents, err := f.io.Prepare(ctx, spec.Data)
	if err != nil {
		return err
	}
	defer f.quotas.still()()
	var release func()
	err = f.exactly(ctx, func() (err error) {
		release, err = f.reserve(ctx, dir.ID, meta.MetaBytesPerObject+contents.Blocks()*fs.BlockSize)
		return err
	})
	if err != nil {
		return err
	}
	defer release()
	resize := false
	var reACL error
	inOrder := f.hub.order(dir.ID, name)
	err = f.db.Update(ctx, func(tx *meta.Txn) error {
		*res, resize, reACL = fs.CreateResult{}, false, nil
		d, err := f.directory(ctx, tx, dir.ID)
		if err != nil {
			return err
		}
		if d.Parent == 0 && d.ID != fs.RootID {
			return fs.Stale // detached
		}
		if err := f.need(ctx, tx.View(), c, d, fs.RightTraverse); err != nil {
			return err
		}
		e, err := tx.Vacant(ctx, d, name)
		if err == nil {
			return f.takeExisting(ctx, tx, c, d, e, spec, res, &resize)
		}
		if !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		if err := f.mayAdd(ctx, tx.View(), c, d, spec.Type == fs.Directory); err != nil {
			return err
		}
		i, err := f.newInode(ctx, tx, c, d, id, spec)
		if err != nil {
			return err
		}
		if err := putMeta(ctx, tx, i, spec.Meta); err != nil {
			return err
		}
		if spec.Set.Retention != nil || spec.Set.LegalHold != nil {
			if err := f.applyLock(ctx, tx, c, i, &spec.Set); err != nil {
				return err
			}
		}
		if err := contents.Put(ctx, tx, i); err != nil {
			return err
		}
		if len(spec.Data) > 0 && !acl.IsSuper(c) {
			i.Mode = acl.DropSetID(i.Mode, false) // as of a write
		}
		b := before(d)
		if _, err := tx.AddDentry(ctx, d, name, i); err != nil {
			return err
		}
		touchData(d, f.now())
		if err := tx.PutInode(ctx, i); err != nil {
			return err
		}
		if err := tx.PutInode(ctx, d); err != nil {
			return err
		}
		res.Created = true
		res.Attr = attrOf(fs.Node{ID: id}, i)
		res.Dir = changed(b, d)
		return nil
	})
	if err == nil && res.Created {
		f.hub.name(fs.EventAdded, dir.ID, name, res.Attr.Node.ID, res.Attr.Type, 0)
		if len(spec.Data) > 0 {
			f.hub.object(fs.EventData, res.Attr.Node.ID)
		}
	}
	inOrder()
	if errors.Is(err, data.ErrMoved) {
		err = fs.Retry // with Data that do not go with the transaction, see streamio
	}
	if err == nil && resize {
		ch, serr := f.SetAttr(ctx, c, res.Attr.Node, &fs.SetAttr{Size: spec.Set.Size})
		if serr != nil {
			return serr
		}
		res.Attr = ch.After
	}
	if err == nil && !res.Created && !resize && f.io.Active(res.Attr.Node.ID) {
		// What is buffered counts.
		a, gerr := f.GetAttr(ctx, c, res.Attr.Node, spec.Want)
		if gerr != nil {
			return gerr
		}
		res.Attr = a
	}
	return errors.Join(err, reACL)
}

func checkCreate(spec *fs.CreateSpec) error {
	switch spec.Type {
	case fs.File, fs.Directory, fs.FIFO, fs.Socket, fs.CharDevice, fs.BlockDevice:
	case fs.Symlink:
		if len(spec.Target) == 0 {
			return fs.Invalid
		}
		if len(spec.Target) > 4095 {
			return fs.NameTooLong
		}
	default:
		return fs.Invalid
	}
	if spec.Set.Size != nil {
		if spec.Type != fs.File {
			return fs.Invalid
		}
		if *spec.Set.Size > fs.MaxFileSize {
			return fs.TooBig
		}
	}
	if len(spec.Data) > 0 && (spec.Type != fs.File || spec.Set.Size != nil || len(spec.Data) > fs.MaxCreateData) {
		return fs.Invalid
	}
	return checkMetaItems(spec.Meta)
}

// takeExisting decides what a create finds in its way.
func (f *FS) takeExisting(ctx context.Context, tx *meta.Txn, c *fs.Caller, d *meta.Inode, e meta.Dentry, spec *fs.CreateSpec, res *fs.CreateResult, resize *bool) error {
	i, err := f.inode(ctx, tx, e.ID)
	if err != nil {
		return err
	}
	switch {
	case spec.Type != fs.File || i.Type != fs.File || spec.Disposition == fs.CreateNew:
		return fs.Exist
	case spec.Disposition == fs.CreateExclusive && (!i.HasVerifier || i.Verifier != spec.Verifier):
		return fs.Exist
	}
	*resize = spec.Disposition == fs.CreateUnchecked && spec.Set.Size != nil
	res.Attr = attrOf(fs.Node{ID: i.ID}, i)
	res.Dir = changed(before(d), d)
	return nil
}

// newInode builds the object that spec describes.
func (f *FS) newInode(ctx context.Context, tx *meta.Txn, c *fs.Caller, d *meta.Inode, id fs.FileID, spec *fs.CreateSpec) (*meta.Inode, error) {
	isDir := spec.Type == fs.Directory
	parent, err := f.aclOf(ctx, tx.View(), d)
	if err != nil {
		return nil, err
	}
	now := f.now()
	i := &meta.Inode{ID: id, Type: spec.Type, Owner: c.Cred.User, Group: acl.NewGroup(c, &parent),
		Atime: now, Mtime: now, Ctime: now, Btime: now, Change: 1,
		RdevMajor: spec.RdevMajor, RdevMinor: spec.RdevMinor, SymlinkHint: spec.SymlinkHint}
	s := &spec.Set
	own := fs.ACL{Owner: i.Owner, Group: i.Group, ModeOnly: true}
	if s.Owner != nil || s.Group != nil {
		owner, group := identity.Unset, identity.Unset
		if s.Owner != nil {
			owner = *s.Owner
		}
		if s.Group != nil {
			group = *s.Group
		}
		if !acl.MayChown(c, &own, isDir, owner, group) {
			return nil, fs.Perm
		}
		if owner != identity.Unset {
			i.Owner = owner
		}
		if group != identity.Unset {
			i.Group = group
		}
	}
	mode := fs.Mode(0o666)
	switch spec.Type {
	case fs.Directory:
		mode = 0o777
	case fs.Symlink:
		mode = 0o777
	}
	if s.Mode != nil {
		mode = *s.Mode
	}
	mode = acl.CreateMode(c, &parent, isDir, i.Group, mode)
	if parent.ModeOnly {
		i.Mode = mode
	} else {
		var asked *fs.Mode
		if s.Mode != nil {
			asked = &mode
		}
		a := acl.Inherit(&parent, isDir, i.Owner, i.Group, asked, spec.ModeYields)
		a.Owner, a.Group = i.Owner, i.Group
		if a.ModeOnly {
			a.Mode = mode
		} else {
			a.Mode = mode &^ 0o777
		}
		if err := f.putACL(ctx, tx, i, &a); err != nil {
			return nil, err
		}
	}
	setTime := func(to *fs.Time, t *fs.TimeSet) {
		if t != nil && !t.Now {
			*to = t.Time
		}
	}
	setTime(&i.Atime, s.Atime)
	setTime(&i.Mtime, s.Mtime)
	setTime(&i.Btime, s.Btime)
	if s.DOS != nil {
		i.DOS = *s.DOS
	}
	switch spec.Type {
	case fs.File:
		i.Data.ID = fs.StreamID(id)
		if s.Size != nil {
			i.Data.Size = *s.Size
		}
		if spec.Disposition == fs.CreateExclusive {
			i.Verifier, i.HasVerifier = spec.Verifier, true
		}
	case fs.Directory:
		i.Links = 2
		tx.NewTotals(id)
	case fs.Symlink:
		i.Target = append([]byte(nil), spec.Target...)
	}
	return i, nil
}

// putMeta puts metadata on an object; the caller puts i.
func putMeta(ctx context.Context, tx *meta.Txn, i *meta.Inode, items []fs.MetaItem) error {
	for _, x := range items {
		created, err := tx.PutXattr(ctx, i.ID, x.Space, x.Key, x.Value)
		if err != nil {
			return err
		}
		if created {
			i.Xattrs++
		}
	}
	return nil
}

// Link implements fs.Namespace.
func (f *FS) Link(ctx context.Context, c *fs.Caller, target, dir fs.Node, name fs.Name) (fs.LinkResult, error) {
	var res fs.LinkResult
	err := f.link(ctx, c, target, dir, name, &res)
	return res, wrap("link", dir, name, err)
}

func (f *FS) link(ctx context.Context, c *fs.Caller, target, dir fs.Node, name fs.Name, res *fs.LinkResult) error {
	if target.Live() != dir.Live() {
		return fs.CrossDevice
	}
	if err := writable(c, target, dir); err != nil {
		return err
	}
	if err := fs.CheckName(name); err != nil {
		return err
	}
	defer f.hub.order(dir.ID, name)()
	err := f.db.Update(ctx, func(tx *meta.Txn) error {
		d, err := f.directory(ctx, tx, dir.ID)
		if err != nil {
			return err
		}
		if d.Parent == 0 && d.ID != fs.RootID {
			return fs.Stale
		}
		i, err := f.inode(ctx, tx, target.ID)
		if err != nil {
			return err
		}
		if err := f.need(ctx, tx.View(), c, d, fs.RightTraverse); err != nil {
			return err
		}
		switch _, err := tx.Vacant(ctx, d, name); {
		case err == nil:
			return fs.Exist
		case !errors.Is(err, meta.ErrNotFound):
			return err
		}
		switch {
		case i.Type == fs.Directory:
			return fs.Perm
		case i.Links == 0:
			return fs.Stale // removed, only still open
		case i.Links >= fs.MaxLinks:
			return fs.TooManyLinks
		}
		if err := f.mayAdd(ctx, tx.View(), c, d, false); err != nil {
			return err
		}
		if err := f.checkWORM(i); err != nil {
			return err
		}
		b := before(d)
		if _, err := tx.AddDentry(ctx, d, name, i); err != nil {
			return err
		}
		now := f.now()
		touchData(d, now)
		f.touchName(i, now)
		if err := tx.PutInode(ctx, i); err != nil {
			return err
		}
		if err := tx.PutInode(ctx, d); err != nil {
			return err
		}
		res.Target = attrOf(target, i)
		res.Dir = changed(b, d)
		return nil
	})
	if err == nil {
		f.hub.name(fs.EventAdded, dir.ID, name, target.ID, res.Target.Type, 0)
	}
	return err
}
