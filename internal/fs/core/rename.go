package core

import (
	"context"
	"errors"
	"slices"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// errWholeTree says that a rename moves a directory to another parent.
var errWholeTree = errors.New("core: rename moves a tree")

// Rename implements fs.Namespace.
func (f *FS) Rename(ctx context.Context, c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name, o fs.RenameOptions) (fs.RenameResult, error) {
	var res fs.RenameResult
	may := func() error {
		if err := checkRename(c, from, fromName, to, toName); err != nil {
			return err
		}
		err := f.would(ctx, func(tx *meta.Txn) error {
			m := move{f: f, tx: tx, c: c, fromName: fromName, toName: toName, o: o, res: &fs.RenameResult{}}
			return m.run(ctx, from.ID, to.ID)
		})
		if errors.Is(err, errWholeTree) {
			return nil // which is found out after all that may be refused
		}
		return err
	}
	for _, x := range []struct {
		dir  fs.Node
		name string
	}{{from, fromName}, {to, toName}} {
		end, err := f.breachName(ctx, c, x.dir, x.name, may)
		if err != nil {
			return res, wrap("rename", from, fromName, err)
		}
		defer end()
	}
	err := f.rename(ctx, c, from, fromName, to, toName, o, &res)
	return res, wrap("rename", from, fromName, err)
}

func checkRename(c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name) error {
	if from.Live() != to.Live() {
		return fs.CrossDevice
	}
	if err := writable(c, from, to); err != nil {
		return err
	}
	for _, n := range []string{fromName, toName} {
		if err := fs.CheckName(n); err != nil {
			return err
		}
	}
	return nil
}

func (f *FS) rename(ctx context.Context, c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name, o fs.RenameOptions, res *fs.RenameResult) error {
	if err := checkRename(c, from, fromName, to, toName); err != nil {
		return err
	}
	var release func()
	err := f.exactly(ctx, func() (err error) {
		release, err = f.reserveMove(ctx, from.ID, fromName, to.ID, toName)
		return err
	})
	if err != nil {
		return err
	}
	defer release()
	var typ fs.Type
	var gone fs.FileID
	var held *openFile
	run := func(whole bool) func(tx *meta.Txn) error {
		return func(tx *meta.Txn) error {
			*res, gone, held, typ = fs.RenameResult{}, 0, nil, fs.TypeNone
			m := move{f: f, tx: tx, c: c, fromName: fromName, toName: toName, o: o, whole: whole, res: res}
			if err := m.run(ctx, from.ID, to.ID); err != nil {
				return err
			}
			gone, held, typ = m.gone, m.held, m.typ
			return nil
		}
	}
	inOrder := f.hub.orderOf(fs.Entry{Dir: from, Name: fromName}, fs.Entry{Dir: to, Name: toName})
	err = f.db.Update(ctx, run(false))
	if errors.Is(err, errWholeTree) {
		err = f.db.Exclusive(ctx, run(true))
	}
	if err == nil && res.Node != (fs.Node{}) && typ != fs.TypeNone {
		cookie := f.hub.cookie()
		f.hub.name(fs.EventMovedFrom, from.ID, fromName, res.Node.ID, typ, cookie)
		f.hub.name(fs.EventMovedTo, to.ID, toName, res.Node.ID, typ, cookie)
	}
	inOrder()
	if err == nil && gone != 0 {
		f.wentAway(gone, held)
	}
	return err
}

// move is one rename in a transaction.
type move struct {
	f                *FS
	tx               *meta.Txn
	c                *fs.Caller
	fromName, toName string
	o                fs.RenameOptions
	whole            bool // inside Exclusive
	res              *fs.RenameResult

	gone fs.FileID // replaced object whose last name went
	held *openFile
	typ  fs.Type
}

func (m *move) run(ctx context.Context, from, to fs.FileID) error {
	f, tx, c := m.f, m.tx, m.c
	src, err := f.directory(ctx, tx, from)
	if err != nil {
		return err
	}
	dst := src
	if to != from {
		if dst, err = f.directory(ctx, tx, to); err != nil {
			return err
		}
		if dst.Parent == 0 && dst.ID != fs.RootID {
			return fs.Stale
		}
	}
	for _, d := range []*meta.Inode{src, dst} {
		if err := f.need(ctx, tx.View(), c, d, fs.RightTraverse); err != nil {
			return err
		}
	}
	e, err := dentry(ctx, tx.View(), src.ID, m.fromName)
	if err != nil {
		return err
	}
	if m.o.Only != (fs.Node{}) && m.o.Only != (fs.Node{ID: e.ID}) {
		return fs.NotExist
	}
	i, err := f.inode(ctx, tx, e.ID)
	if err != nil {
		return err
	}
	m.typ = i.Type
	isDir := i.Type == fs.Directory
	bs, bd := before(src), before(dst)

	// What is in the way.
	var old *meta.Inode
	oe, err := tx.Vacant(ctx, dst, m.toName)
	switch {
	case errors.Is(err, meta.ErrNotFound):
	case err != nil:
		return err
	case m.o.NoReplace && !(oe.ID == i.ID && from == to && m.fromName == m.toName):
		return fs.Exist
	case oe.ID == i.ID:
		// Both names are links to one object: nothing happens.
		m.typ = fs.TypeNone
		m.res.Node = fs.Node{ID: i.ID}
		m.res.From, m.res.To = changed(bs, src), changed(bd, dst)
		return nil
	default:
		if old, err = f.inode(ctx, tx, oe.ID); err != nil {
			return err
		}
	}

	if isDir && to != from {
		above, err := tx.Ancestors(ctx, dst.ID)
		if err != nil {
			return err
		}
		if slices.Contains(above, i.ID) {
			return fs.Loop
		}
	}
	if err := f.mayRemove(ctx, tx.View(), c, src, i); err != nil {
		return err
	}
	if err := f.mayAdd(ctx, tx.View(), c, dst, isDir); err != nil {
		return err
	}
	if isDir && to != from {
		// Its ".." changes.
		if err := f.need(ctx, tx.View(), c, i, fs.RightAddSubdir); err != nil {
			return err
		}
	}
	if old != nil {
		switch {
		case isDir && old.Type != fs.Directory:
			return fs.NotDir
		case !isDir && old.Type == fs.Directory:
			return fs.IsDir
		}
		if err := f.mayRemove(ctx, tx.View(), c, dst, old); err != nil {
			return err
		}
		if old.Type == fs.Directory && old.Children > 0 {
			return fs.NotEmpty
		}
		if err := f.checkWORM(old); err != nil {
			return err
		}
	}
	if err := f.checkWORM(i); err != nil {
		return err
	}
	if isDir && to != from && !m.whole {
		return errWholeTree
	}
	now := f.now()

	if old != nil {
		held := f.opens.peek(old.ID)
		gone, err := f.unlink(ctx, tx, dst, oe, old, held != nil)
		if err != nil {
			return err
		}
		if gone {
			m.gone, m.held = old.ID, held
		}
		m.res.Replaced = fs.Node{ID: old.ID}
	}
	leave := meta.Leaves
	if to == from {
		leave = meta.Stays
	}
	if err := tx.RemoveDentry(ctx, src, e, i, leave); err != nil {
		return err
	}
	if _, err := tx.AddDentry(ctx, dst, m.toName, i); err != nil {
		return err
	}
	if isDir && to != from {
		if err := tx.MoveTotals(ctx, i.ID, src.ID, dst.ID); err != nil {
			return err
		}
		if err := tx.BumpTopology(ctx); err != nil {
			return err
		}
	}
	touchData(src, now)
	if to != from {
		touchData(dst, now)
	}
	f.touchName(i, now)
	put := []*meta.Inode{i, src}
	if dst != src {
		put = append(put, dst)
	}
	for _, n := range put {
		if err := tx.PutInode(ctx, n); err != nil {
			return err
		}
	}
	m.res.Node = fs.Node{ID: i.ID}
	m.res.From, m.res.To = changed(bs, src), changed(bd, dst)
	return nil
}
