package core

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Remove implements fs.Namespace.
func (f *FS) Remove(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode) (fs.RemoveResult, error) {
	var res fs.RemoveResult
	end, err := f.breachName(ctx, c, dir, name)
	if err != nil {
		return res, wrap("remove", dir, name, err)
	}
	defer end()
	err = f.remove(ctx, c, dir, name, mode, &res, nil)
	return res, wrap("remove", dir, name, err)
}

// remove takes a name away; if only is set, the name must stand for that object.
func (f *FS) remove(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode, res *fs.RemoveResult, only *fs.FileID) error {
	if err := fs.CheckName(name); err != nil {
		return err
	}
	if err := writable(c, dir); err != nil {
		return err
	}
	var typ fs.Type
	var held *openFile
	inOrder := f.hub.order(dir.ID, name)
	err := f.db.Update(ctx, func(tx *meta.Txn) error {
		d, err := f.directory(ctx, tx, dir.ID)
		if err != nil {
			return err
		}
		if err := f.need(ctx, tx.View(), c, d, fs.RightTraverse); err != nil {
			return err
		}
		e, err := dentry(ctx, tx.View(), d.ID, name)
		if err != nil {
			return err
		}
		i, err := f.inode(ctx, tx, e.ID)
		if err != nil {
			return err
		}
		if only != nil && *only != i.ID {
			return fs.NotExist
		}
		typ = i.Type
		if err := f.mayRemove(ctx, tx.View(), c, d, i); err != nil {
			return err
		}
		switch {
		case i.Type == fs.Directory && mode == fs.RemoveFile:
			return fs.IsDir
		case i.Type != fs.Directory && mode == fs.RemoveDir:
			return fs.NotDir
		case i.Type == fs.Directory && i.Children > 0:
			return fs.NotEmpty
		}
		if err := f.checkWORM(i); err != nil {
			return err
		}
		b := before(d)
		held = f.opens.peek(i.ID)
		gone, err := f.unlink(ctx, tx, d, e, i, held != nil)
		if err != nil {
			return err
		}
		if err := tx.PutInode(ctx, d); err != nil {
			return err
		}
		*res = fs.RemoveResult{Dir: changed(b, d), Node: fs.Node{ID: i.ID}, Gone: gone}
		return nil
	})
	if err == nil {
		f.hub.name(fs.EventRemoved, dir.ID, name, res.Node.ID, typ, 0)
	}
	inOrder()
	if err == nil && res.Gone {
		f.wentAway(res.Node.ID, held)
	}
	return err
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
