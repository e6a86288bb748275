package core

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Retype implements fs.Namespace.
func (f *FS) Retype(ctx context.Context, c *fs.Caller, n fs.Node, spec *fs.RetypeSpec) (fs.Changed, error) {
	var ch fs.Changed
	err := f.retype(ctx, c, n, spec, &ch)
	if err == nil {
		f.hub.object(fs.EventData|fs.EventSize|fs.EventAttr, n.ID)
	}
	return ch, wrap("retype", n, "", err)
}

func (f *FS) retype(ctx context.Context, c *fs.Caller, n fs.Node, spec *fs.RetypeSpec, ch *fs.Changed) error {
	if spec.Type == fs.Directory {
		return fs.Invalid
	}
	if err := checkCreate(&fs.CreateSpec{Type: spec.Type, Target: spec.Target}); err != nil {
		return err
	}
	if err := writable(c, n); err != nil {
		return err
	}
	if err := f.free(c, n, 0, 0, 0, true); err != nil {
		return err
	}
	run := func(tx *meta.Txn) error { return f.retyped(ctx, tx, c, n.ID, spec, ch) }
	end, err := f.breach(ctx, c, n, 0, fs.BreachWrite, func() error { return f.would(ctx, run) })
	if err != nil {
		return err
	}
	defer end()
	// What is buffered counts: with it the file is not empty.
	return f.io.Exclusive(ctx, n.ID, func() error { return f.db.Update(ctx, run) })
}

// retyped is the transaction. The type is in the entry of the directory, too.
func (f *FS) retyped(ctx context.Context, tx *meta.Txn, c *fs.Caller, id fs.FileID, spec *fs.RetypeSpec, ch *fs.Changed) error {
	i, err := f.inode(ctx, tx, id)
	if err != nil {
		return err
	}
	got, err := f.granted(ctx, tx.View(), c, i, fs.RightModify|fs.RightWriteAttr)
	switch {
	case err != nil:
		return err
	case got == 0:
		return fs.Access
	case i.Type == fs.Directory:
		return fs.IsDir
	case i.Data.Size != 0 || i.NamedStreams != 0:
		return fs.NotEmpty
	case i.Type != fs.File && spec.Type != fs.File && spec.Type != i.Type:
		return fs.Exist
	case i.Parent == 0:
		return fs.Stale
	case i.Extra != 0:
		return fs.Busy
	}
	if err := f.checkWORM(i); err != nil {
		return err
	}
	d, err := f.inode(ctx, tx, i.Parent)
	if err != nil {
		return err
	}
	name := i.ParentName
	e, err := dentry(ctx, tx.View(), d.ID, name)
	if err != nil {
		return err
	}
	b := before(i)
	if err := tx.RemoveDentry(ctx, d, e, i, meta.Stays); err != nil {
		return err
	}
	i.Type, i.SymlinkHint, i.RdevMajor, i.RdevMinor, i.Target = spec.Type, fs.SymlinkUnknown, 0, 0, nil
	switch spec.Type {
	case fs.File:
		i.Data.ID = fs.StreamID(id)
	case fs.Symlink:
		i.SymlinkHint, i.Target = spec.SymlinkHint, append([]byte(nil), spec.Target...)
	case fs.CharDevice, fs.BlockDevice:
		i.RdevMajor, i.RdevMinor = spec.RdevMajor, spec.RdevMinor
	}
	i.Verifier, i.HasVerifier = 0, false
	if _, err := tx.AddDentry(ctx, d, name, i); err != nil {
		return err
	}
	now := f.now()
	touchData(i, now)
	touchAttr(d, now) // who caches the listing has seen another type
	if err := tx.PutInode(ctx, d); err != nil {
		return err
	}
	*ch = changed(b, i)
	return tx.PutInode(ctx, i)
}
