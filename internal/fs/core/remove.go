package core

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Remove implements fs.Namespace.
func (f *FS) Remove(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode) (fs.RemoveResult, error) {
	m := removal{f: f, c: c, dir: dir, name: name, mode: mode}
	end, err := f.breachName(ctx, c, dir, name, func() error {
		if err := m.check(); err != nil {
			return err
		}
		return f.would(ctx, func(tx *meta.Txn) error { return m.run(ctx, tx) })
	})
	if err != nil {
		return fs.RemoveResult{}, wrap("remove", dir, name, err)
	}
	defer end()
	err = m.remove(ctx)
	return m.res, wrap("remove", dir, name, err)
}

// removal takes a name away.
type removal struct {
	f    *FS
	c    *fs.Caller
	dir  fs.Node
	name fs.Name
	mode fs.RemoveMode
	only *fs.FileID // if set, the name must stand for that object

	res  fs.RemoveResult
	typ  fs.Type
	held *openFile
}

func (m *removal) check() error {
	if err := fs.CheckName(m.name); err != nil {
		return err
	}
	return writable(m.c, m.dir)
}

func (m *removal) remove(ctx context.Context) error {
	if err := m.check(); err != nil {
		return err
	}
	f := m.f
	inOrder := f.hub.order(m.dir.ID, m.name)
	err := f.db.Update(ctx, func(tx *meta.Txn) error { return m.run(ctx, tx) })
	if err == nil {
		f.hub.name(fs.EventRemoved, m.dir.ID, m.name, m.res.Node.ID, m.typ, 0)
	} else {
		m.res = fs.RemoveResult{}
	}
	inOrder()
	if err == nil && m.res.Gone {
		f.wentAway(m.res.Node.ID, m.held)
	}
	return err
}

// run is the transaction.
func (m *removal) run(ctx context.Context, tx *meta.Txn) error {
	f, c := m.f, m.c
	d, err := f.directory(ctx, tx, m.dir.ID)
	if err != nil {
		return err
	}
	if err := f.need(ctx, tx.View(), c, d, fs.RightTraverse); err != nil {
		return err
	}
	e, err := dentry(ctx, tx.View(), d.ID, m.name)
	if err != nil {
		return err
	}
	i, err := f.inode(ctx, tx, e.ID)
	if err != nil {
		return err
	}
	if m.only != nil && *m.only != i.ID {
		return fs.NotExist
	}
	m.typ = i.Type
	if err := f.mayRemove(ctx, tx.View(), c, d, i); err != nil {
		return err
	}
	switch {
	case i.Type == fs.Directory && m.mode == fs.RemoveFile:
		return fs.IsDir
	case i.Type != fs.Directory && m.mode == fs.RemoveDir:
		return fs.NotDir
	case i.Type == fs.Directory && i.Children > 0:
		return fs.NotEmpty
	}
	if err := f.checkWORM(i); err != nil {
		return err
	}
	b := before(d)
	m.held = f.opens.peek(i.ID)
	gone, err := f.unlink(ctx, tx, d, e, i, m.held != nil)
	if err != nil {
		return err
	}
	if err := tx.PutInode(ctx, d); err != nil {
		return err
	}
	m.res = fs.RemoveResult{Dir: changed(b, d), Node: fs.Node{ID: i.ID}, Gone: gone}
	return nil
}

// unlink takes the name e of i out of d, stores i or frees it, and says whether
// the last name went. The caller puts d.
func (f *FS) unlink(ctx context.Context, tx *meta.Txn, d *meta.Inode, e meta.Dentry, i *meta.Inode, held bool) (gone bool, err error) {
	if err := tx.RemoveDentry(ctx, d, e, i, meta.Leaves); err != nil {
		return false, err
	}
	now := f.now()
	touchData(d, now)
	f.touchName(i, now)
	if i.Type == fs.Directory {
		i.Links = 0
		tx.DeleteQuota(i.ID)
	}
	if i.Links > 0 {
		return false, tx.PutInode(ctx, i)
	}
	return true, tx.FreeInode(ctx, i, held)
}

// wentAway is called after the last name of an object went.
func (f *FS) wentAway(id fs.FileID, held *openFile) {
	if held == nil {
		f.io.Forget(id)
	} else if f.opens.peek(id) == nil {
		f.io.Forget(id)
		f.reclaim(id) // the last close came before the commit
	}
	f.quotas.forget(id)
	f.hub.object(fs.EventSelfRemoved, id)
}
