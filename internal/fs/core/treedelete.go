package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// treeIntent is the durable note of a tree being deleted.
type treeIntent struct {
	Kind      string
	Created   time.Time
	Path      string
	Parent    fs.FileID
	Name      string
	Initial   meta.Delta
	Canceled  bool
	LastError string
}

const treeKind = "tree-delete"

// errCanceled stops the worker of one tree.
var errCanceled = errors.New("core: tree delete canceled")

// StartTreeDelete implements fs.TreeDeletes.
func (f *FS) StartTreeDelete(ctx context.Context, c *fs.Caller, dir fs.FileID) (fs.TreeDelete, error) {
	job, err := f.startTreeDelete(ctx, c, dir)
	if err == nil {
		select {
		case f.kickTrees <- struct{}{}:
		default:
		}
	}
	return job, wrap("tree delete", fs.Node{ID: dir}, "", err)
}

func (f *FS) startTreeDelete(ctx context.Context, c *fs.Caller, dir fs.FileID) (fs.TreeDelete, error) {
	if dir == fs.RootID {
		return fs.TreeDelete{}, fs.Invalid
	}
	if err := writable(c); err != nil {
		return fs.TreeDelete{}, err
	}
	if err := f.dropOverRetention(ctx, c, dir); err != nil {
		return fs.TreeDelete{}, err
	}
	f.trees.note(dir)
	for range nameTries {
		job, err := f.detach(ctx, c, dir)
		if errors.Is(err, errRenamed) {
			continue
		}
		if err != nil {
			f.settleTree(dir)
		}
		return job, err
	}
	f.settleTree(dir)
	return fs.TreeDelete{}, fs.Retry
}

// errRenamed says that a directory has another name than it was looked up by.
var errRenamed = errors.New("core: renamed meanwhile")

// nameTries bounds how often a name is looked up again because of it.
const nameTries = 16

// detach takes a directory out of the tree in one transaction.
func (f *FS) detach(ctx context.Context, c *fs.Caller, dir fs.FileID) (fs.TreeDelete, error) {
	path, err := f.PathOf(ctx, fs.Node{ID: dir})
	if err != nil {
		return fs.TreeDelete{}, err
	}
	var at fs.Entry
	err = f.db.View(ctx, func(r *meta.Reader) error {
		i, err := f.directory(ctx, r, dir)
		if err == nil {
			at = fs.Entry{Dir: fs.Node{ID: i.Parent}, Name: i.ParentName}
		}
		return err
	})
	if err != nil {
		return fs.TreeDelete{}, err
	}
	in := treeIntent{Kind: treeKind, Created: f.o.Now().UTC(), Path: path}
	defer f.hub.orderOf(at)()
	err = f.db.ExclusiveThen(ctx, func(tx *meta.Txn) error {
		i, err := f.directory(ctx, tx, dir)
		if err != nil {
			return err
		}
		if i.Parent == 0 {
			return fs.Stale
		}
		if i.Parent != at.Dir.ID || i.ParentName != at.Name {
			return errRenamed
		}
		p, err := f.directory(ctx, tx, i.Parent)
		if err != nil {
			return err
		}
		if err := f.mayRemove(ctx, tx.View(), c, p, i); err != nil {
			return err
		}
		if in.Initial, err = tx.Totals(ctx, dir); err != nil {
			return err
		}
		if in.Initial.WORM != 0 {
			return fs.WORM
		}
		e, err := dentry(ctx, tx.View(), p.ID, i.ParentName)
		if err != nil {
			return err
		}
		in.Parent, in.Name = p.ID, e.Name
		if err := tx.RemoveDentry(ctx, p, e, i, meta.Leaves); err != nil {
			return err
		}
		if err := tx.MoveTotals(ctx, dir, p.ID, 0); err != nil {
			return err
		}
		if err := tx.BumpTopology(ctx); err != nil {
			return err
		}
		i.OrphanedFrom = 0
		touchData(p, f.now())
		touchAttr(i, f.now())
		if err := tx.PutInode(ctx, p); err != nil {
			return err
		}
		if err := tx.PutInode(ctx, i); err != nil {
			return err
		}
		return tx.PutIntent(uint64(dir), in)
	}, func() { f.trees.note(dir) })
	if err != nil {
		return fs.TreeDelete{}, err
	}
	f.hub.name(fs.EventRemoved, in.Parent, in.Name, dir, fs.Directory, 0)
	return treeJob(dir, in, in.Initial), nil
}

func treeJob(dir fs.FileID, in treeIntent, left meta.Delta) fs.TreeDelete {
	return fs.TreeDelete{ID: dir, Created: in.Created, InitialPath: in.Path, Initial: totalsOf(in.Initial), Remaining: totalsOf(left), LastError: in.LastError}
}

// TreeDelete implements fs.TreeDeletes.
func (f *FS) TreeDelete(ctx context.Context, id fs.FileID) (fs.TreeDelete, error) {
	var in treeIntent
	err := f.db.View(ctx, func(r *meta.Reader) error { return r.Intent(ctx, uint64(id), &in) })
	if err == nil && in.Kind != treeKind {
		err = meta.ErrNotFound
	}
	if err != nil {
		return fs.TreeDelete{}, wrap("tree delete", fs.Node{ID: id}, "", notThere(err))
	}
	left, err := f.db.TotalsOf(ctx, 0, id)
	if err != nil {
		return fs.TreeDelete{}, wrap("tree delete", fs.Node{ID: id}, "", notThere(err))
	}
	return treeJob(id, in, left), nil
}

// ListTreeDeletes implements fs.TreeDeletes.
func (f *FS) ListTreeDeletes(ctx context.Context, yield func(*fs.TreeDelete) bool) error {
	ids, err := f.treeIntents(ctx)
	if err != nil {
		return wrap("list tree deletes", fs.Node{}, "", err)
	}
	for _, id := range ids {
		j, err := f.TreeDelete(ctx, id)
		if fs.KindOf(err) == fs.NotExist && err != nil {
			continue
		}
		if err != nil {
			return err
		}
		if !yield(&j) {
			return nil
		}
	}
	return nil
}

func (f *FS) treeIntents(ctx context.Context) ([]fs.FileID, error) {
	var ids []fs.FileID
	err := f.db.View(ctx, func(r *meta.Reader) error {
		ids = ids[:0]
		return r.Intents(ctx, func(id uint64, decode func(any) error) error {
			var in treeIntent
			if err := decode(&in); err != nil {
				return err
			}
			if in.Kind == treeKind {
				ids = append(ids, fs.FileID(id))
			}
			return nil
		})
	})
	return ids, err
}

// CancelTreeDelete implements fs.TreeDeletes.
func (f *FS) CancelTreeDelete(ctx context.Context, id fs.FileID) error {
	err := error(errRenamed)
	var at fs.Entry
	for tries := 0; errors.Is(err, errRenamed) && tries < nameTries; tries++ {
		at, err = f.reattach(ctx, id, at)
	}
	if errors.Is(err, errRenamed) {
		err = fs.Retry
	}
	if err == nil {
		f.settleTree(id)
	}
	return wrap("cancel tree delete", fs.Node{ID: id}, "", err)
}

// reattach puts a detached directory back. The place must be at, where events
// are kept in order meanwhile; otherwise it answers the place and errRenamed.
func (f *FS) reattach(ctx context.Context, id fs.FileID, at fs.Entry) (fs.Entry, error) {
	defer f.hub.orderOf(at)()
	place := at
	err := f.db.Exclusive(ctx, func(tx *meta.Txn) error {
		var in treeIntent
		if err := tx.Intent(ctx, uint64(id), &in); err != nil {
			return notThere(err)
		}
		if in.Kind != treeKind {
			return fs.NotExist
		}
		i, err := tx.Inode(ctx, id)
		if err != nil {
			return notThere(err)
		}
		tx.DeleteIntent(uint64(id))
		p, name, err := f.placeFor(ctx, tx, in, id)
		if err != nil {
			return err
		}
		if place = (fs.Entry{Dir: fs.Node{ID: p.ID}, Name: name}); place != at {
			return errRenamed
		}
		if _, err := tx.AddDentry(ctx, p, name, i); err != nil {
			return err
		}
		if err := tx.MoveTotals(ctx, id, 0, p.ID); err != nil {
			return err
		}
		if err := tx.BumpTopology(ctx); err != nil {
			return err
		}
		touchData(p, f.now())
		touchAttr(i, f.now())
		if err := tx.PutInode(ctx, i); err != nil {
			return err
		}
		return tx.PutInode(ctx, p)
	})
	if err == nil {
		f.hub.name(fs.EventAdded, at.Dir.ID, at.Name, id, fs.Directory, 0)
	}
	return place, err
}

// placeFor finds where a detached directory goes: its old place, or a name of
// its own in the root.
func (f *FS) placeFor(ctx context.Context, tx *meta.Txn, in treeIntent, id fs.FileID) (*meta.Inode, string, error) {
	p, err := f.directory(ctx, tx, in.Parent)
	switch {
	case err == nil && (p.Parent != 0 || p.ID == fs.RootID):
		switch _, err := tx.Dentry(ctx, p.ID, in.Name); {
		case errors.Is(err, meta.ErrNotFound):
			return p, in.Name, nil
		case err != nil:
			return nil, "", err
		}
	case err != nil && !kindIs(err, fs.Stale, fs.NotDir):
		return nil, "", err
	}
	root, err := f.directory(ctx, tx, fs.RootID)
	if err != nil {
		return nil, "", err
	}
	name := fmt.Sprintf("lost+found-%d", uint64(id))
	if _, err := tx.Dentry(ctx, root.ID, name); !errors.Is(err, meta.ErrNotFound) {
		if err == nil {
			err = fs.Exist
		}
		return nil, "", err
	}
	return root, name, nil
}

// treeBatch is how many names one transaction of the worker takes: each costs
// up to a dozen writes and two dozen reads.
const treeBatch = 12

// deleteTree frees a detached tree, depth first. It may be stopped and
// repeated at any point.
func (f *FS) deleteTree(ctx context.Context, root fs.FileID) error {
	stack := []fs.FileID{root}
	for len(stack) > 0 {
		dir := stack[len(stack)-1]
		sub, empty, err := f.emptySome(ctx, root, dir)
		switch {
		case errors.Is(err, errCanceled):
			return nil
		case err != nil:
			return err
		case len(sub) > 0:
			stack = append(stack, sub...)
			continue
		case !empty:
			continue
		}
		stack = stack[:len(stack)-1]
		if err := f.dropDir(ctx, root, dir); err != nil && !errors.Is(err, errCanceled) {
			return err
		}
	}
	return nil
}

// emptySome removes some files of dir; sub are directories to empty first.
func (f *FS) emptySome(ctx context.Context, root, dir fs.FileID) (sub []fs.FileID, empty bool, err error) {
	type freed struct {
		id    fs.FileID
		held  *openFile
		bytes uint64
	}
	var gone []freed
	err = f.db.Update(ctx, func(tx *meta.Txn) error {
		sub, empty, gone = nil, false, nil
		var in treeIntent
		if err := tx.Intent(ctx, uint64(root), &in); err != nil {
			return errCanceled
		}
		d, err := tx.Inode(ctx, dir)
		if errors.Is(err, meta.ErrNotFound) {
			empty = true
			return nil
		}
		if err != nil {
			return err
		}
		var es []meta.Dentry
		for e, err := range tx.Dentries(ctx, dir, 0, treeBatch) {
			if err != nil {
				return err
			}
			es = append(es, e)
		}
		if len(es) == 0 {
			empty = true
			return nil
		}
		n := 0
		for _, e := range es {
			if e.Type == fs.Directory {
				sub = append(sub, e.ID)
				continue
			}
			i, err := tx.Inode(ctx, e.ID)
			if err != nil {
				return err
			}
			if err := tx.RemoveDentry(ctx, d, e, i, meta.Leaves); err != nil {
				return err
			}
			f.touchName(i, f.now())
			n++
			if i.Links > 0 {
				if err := tx.PutInode(ctx, i); err != nil {
					return err
				}
				continue
			}
			held, bytes := f.opens.peek(i.ID), i.Data.AllocBytes+i.StreamBytes
			if err := tx.FreeInode(ctx, i, held != nil); err != nil {
				return err
			}
			gone = append(gone, freed{i.ID, held, bytes})
		}
		if n == 0 {
			return nil
		}
		return tx.PutInode(ctx, d)
	})
	if err != nil {
		return nil, false, err
	}
	for _, g := range gone {
		f.freedTrees.Add(g.bytes)
		f.wentAway(g.id, g.held)
	}
	return sub, empty, nil
}

// dropDir removes an emptied directory of a detached tree.
func (f *FS) dropDir(ctx context.Context, root, dir fs.FileID) error {
	var held *openFile
	err := f.db.Update(ctx, func(tx *meta.Txn) error {
		held = nil
		var in treeIntent
		if err := tx.Intent(ctx, uint64(root), &in); err != nil {
			return errCanceled
		}
		i, err := tx.Inode(ctx, dir)
		if errors.Is(err, meta.ErrNotFound) {
			if dir == root {
				tx.DeleteIntent(uint64(root))
			}
			return nil
		}
		if err != nil {
			return err
		}
		if i.Children > 0 {
			return nil // something came in; the walk finds it again
		}
		if i.Parent != 0 {
			p, err := tx.Inode(ctx, i.Parent)
			if err != nil {
				return err
			}
			e, err := tx.Dentry(ctx, p.ID, i.ParentName)
			if err != nil {
				return err
			}
			if err := tx.RemoveDentry(ctx, p, e, i, meta.Leaves); err != nil {
				return err
			}
			if err := tx.PutInode(ctx, p); err != nil {
				return err
			}
		}
		if dir == root {
			tx.DeleteIntent(uint64(root))
		}
		i.Links = 0
		tx.DeleteQuota(dir)
		held = f.opens.peek(dir)
		return tx.FreeInode(ctx, i, held != nil)
	})
	if err == nil {
		f.wentAway(dir, held)
	}
	return err
}

// Reclaimed is how many bytes of data have gone since the start with trees and
// with snapshots that were deleted, which happens in the background. What a
// snapshot keeps of a tree goes twice: from the tree and from the snapshot.
func (f *FS) Reclaimed() (trees, snapshots uint64) {
	return f.freedTrees.Load(), f.db.FreedWithSnapshots()
}
