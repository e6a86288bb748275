package core

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/meta"
)

// checkWORM refuses what retention or a legal hold forbids.
func (f *FS) checkWORM(i *meta.Inode) error {
	if i.LegalHold || i.Retention != (fs.Time{}) && i.Retention.Compare(f.now()) > 0 {
		return fs.WORM
	}
	return nil
}

// applyLock sets retention and legal hold: retention only grows.
func (f *FS) applyLock(ctx context.Context, tx *meta.Txn, c *fs.Caller, i *meta.Inode, s *fs.SetAttr) error {
	if i.Type != fs.File {
		return fs.NotFile
	}
	if !c.Cred.Privileges.Has(identity.FileLockWrite) && !c.Cred.Superuser {
		return fs.Perm
	}
	was := retained(i)
	if s.Retention != nil {
		if s.Retention.Compare(i.Retention) < 0 {
			return fs.WORM
		}
		i.Retention = *s.Retention
	}
	if s.LegalHold != nil {
		i.LegalHold = *s.LegalHold
	}
	return countLock(ctx, tx, i, was)
}

// retained tells whether a file counts in the totals of locks.
func retained(i *meta.Inode) bool { return i.LegalHold || i.Retention != (fs.Time{}) }

func countLock(ctx context.Context, tx *meta.Txn, i *meta.Inode, was bool) error {
	is := retained(i)
	if was == is || i.Parent == 0 {
		return nil
	}
	d := meta.Delta{WORM: 1}
	if was {
		d.WORM = -1
	}
	return tx.AddDelta(ctx, i.Parent, d)
}

// dropOverRetention takes retentions that are over off the files of a tree that
// is going to be deleted: totals, which a deletion goes by, count them for ever.
// It is WORM, and nothing has changed, if a file is locked still. The walk goes
// only where the totals say that there is something.
func (f *FS) dropOverRetention(ctx context.Context, c *fs.Caller, dir fs.FileID) error {
	t, err := f.TotalsOf(ctx, fs.Node{ID: dir})
	if err != nil || t.WORM == 0 {
		return err
	}
	err = f.db.View(ctx, func(r *meta.Reader) error {
		i, err := f.directory(ctx, r, dir)
		if err != nil || i.Parent == 0 {
			return err
		}
		p, err := f.directory(ctx, r, i.Parent)
		if err != nil {
			return err
		}
		return f.mayRemove(ctx, r, c, p, i)
	})
	if err != nil {
		return err
	}
	err = f.retainedBelow(ctx, dir, func(id fs.FileID) error {
		return f.db.View(ctx, func(r *meta.Reader) error {
			i, err := f.inode(ctx, r, id)
			if err != nil {
				return gone(err)
			}
			return f.checkWORM(i)
		})
	})
	if err != nil {
		return err
	}
	return f.retainedBelow(ctx, dir, func(id fs.FileID) error {
		return f.change(ctx, id, func(tx *meta.Txn, i *meta.Inode) error {
			if err := f.checkWORM(i); err != nil || !retained(i) {
				return err
			}
			i.Retention = fs.Time{}
			if err := countLock(ctx, tx, i, true); err != nil {
				return err
			}
			touchAttr(i, f.now())
			return tx.PutInode(ctx, i)
		})
	})
}

// gone makes nothing of an error that says that an object is no more.
func gone(err error) error {
	if k := fs.KindOf(err); err != nil && (k == fs.Stale || k == fs.NotExist) {
		return nil
	}
	return err
}

// retainedBelow visits the files of a tree that count as locked.
func (f *FS) retainedBelow(ctx context.Context, dir fs.FileID, visit func(fs.FileID) error) error {
	dirs := []fs.FileID{dir}
	for len(dirs) > 0 {
		d := dirs[len(dirs)-1]
		dirs = dirs[:len(dirs)-1]
		var verr error
		err := f.ChildTotalsOf(ctx, fs.Node{ID: d}, func(t *fs.ChildTotals) bool {
			switch {
			case t.WORM == 0:
			case t.Type == fs.Directory:
				dirs = append(dirs, t.ID)
			default:
				verr = gone(visit(t.ID))
			}
			return verr == nil
		})
		if verr != nil {
			return verr
		}
		if gone(err) != nil {
			return err
		}
	}
	return nil
}
