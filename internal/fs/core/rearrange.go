package core

import (
	"context"
	"errors"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// names are the directories and objects whose names one transaction changes:
// each is loaded once, changed in memory, and put at the end.
type names struct {
	f      *FS
	c      *fs.Caller
	tx     *meta.Txn
	within fs.Node

	dirs    map[fs.FileID]*nameDir
	objects map[fs.FileID]*meta.Inode

	events []fs.Event
	gone   []goneObject
}

type nameDir struct {
	i       *meta.Inode
	before  fs.Before
	touched bool
}

// goneObject is what lost its last name.
type goneObject struct {
	i    *meta.Inode
	held *openFile
}

func (f *FS) namesOf(c *fs.Caller, tx *meta.Txn, within fs.Node) *names {
	return &names{f: f, c: c, tx: tx, within: within, dirs: map[fs.FileID]*nameDir{}, objects: map[fs.FileID]*meta.Inode{}}
}

// asks tells whether permission in a directory is the caller's business.
func (n *names) asks(d *meta.Inode) bool { return n.within == (fs.Node{}) || n.within.ID == d.ID }

func (n *names) dir(ctx context.Context, id fs.FileID) (*nameDir, error) {
	if d := n.dirs[id]; d != nil {
		return d, nil
	}
	i, err := n.f.directory(ctx, n.tx, id)
	if err != nil {
		return nil, err
	}
	if i.Parent == 0 && i.ID != fs.RootID {
		return nil, fs.Stale // detached
	}
	d := &nameDir{i: i, before: before(i)}
	n.dirs[id] = d
	return d, nil
}

// object loads what has a name; it is put at the end.
func (n *names) object(ctx context.Context, id fs.FileID) (*meta.Inode, error) {
	if i := n.objects[id]; i != nil {
		return i, nil
	}
	i, err := n.f.inode(ctx, n.tx, id)
	if err == nil {
		n.objects[id] = i
	}
	return i, err
}

// place finds the directory of a name that is to be made, which must be free;
// there is what has it, if something does and fs.Exist says so.
func (n *names) place(ctx context.Context, e fs.Entry) (d *nameDir, there meta.Dentry, err error) {
	if d, err = n.dir(ctx, e.Dir.ID); err != nil {
		return nil, there, err
	}
	if n.asks(d.i) {
		if err := n.f.mayAdd(ctx, n.tx.View(), n.c, d.i, false); err != nil {
			return nil, there, err
		}
	}
	there, err = n.tx.Vacant(ctx, d.i, e.Name)
	switch {
	case err == nil:
		return d, there, fs.Exist
	case errors.Is(err, meta.ErrNotFound):
		return d, there, nil
	}
	return nil, there, err
}

// add gives i a name.
func (n *names) add(ctx context.Context, d *nameDir, name fs.Name, i *meta.Inode) error {
	if i.Links >= fs.MaxLinks {
		return fs.TooManyLinks
	}
	if _, err := n.tx.AddDentry(ctx, d.i, name, i); err != nil {
		return err
	}
	n.touch(d)
	n.events = append(n.events, fs.Event{Type: fs.EventAdded, Dir: d.i.ID, Name: name, ID: i.ID, Object: i.Type})
	return nil
}

// remove takes the name e from i, an object of these.
func (n *names) remove(ctx context.Context, d *nameDir, e meta.Dentry, i *meta.Inode) error {
	if err := n.tx.RemoveDentry(ctx, d.i, e, i, meta.Leaves); err != nil {
		return err
	}
	n.touch(d)
	n.events = append(n.events, fs.Event{Type: fs.EventRemoved, Dir: d.i.ID, Name: e.Name, ID: i.ID, Object: i.Type})
	return nil
}

// touch notes a change of a directory's contents, once.
func (n *names) touch(d *nameDir) {
	if !d.touched {
		d.touched = true
		touchData(d.i, n.f.now())
	}
}

// move makes one move.
func (n *names) move(ctx context.Context, m *fs.Move) error {
	d, err := n.dir(ctx, m.From.Dir.ID)
	if err != nil {
		return err
	}
	e, err := dentry(ctx, n.tx.View(), d.i.ID, m.From.Name)
	if err != nil {
		return err
	}
	i, err := n.object(ctx, e.ID)
	switch {
	case err != nil:
		return err
	case m.Is != 0 && m.Is != i.ID:
		return fs.RevisionMismatch
	case i.Type == fs.Directory:
		return fs.IsDir
	}
	if !m.Keep {
		if n.asks(d.i) {
			if err := n.f.mayRemove(ctx, n.tx.View(), n.c, d.i, i); err != nil {
				return err
			}
		}
		if err := n.remove(ctx, d, e, i); err != nil {
			return err
		}
	}
	if m.To.Name == "" {
		return nil
	}
	to, _, err := n.place(ctx, m.To)
	if err != nil {
		return err
	}
	return n.add(ctx, to, m.To.Name, i)
}

// finish puts what was changed and frees what has no name left.
func (n *names) finish(ctx context.Context) error {
	now := n.f.now()
	for _, i := range n.objects {
		n.f.touchName(i, now)
		if i.Links > 0 {
			if err := n.tx.PutInode(ctx, i); err != nil {
				return err
			}
			continue
		}
		if err := n.f.checkWORM(i); err != nil {
			return err
		}
		g := goneObject{i, n.f.opens.peek(i.ID)}
		if err := n.tx.FreeInode(ctx, i, g.held != nil); err != nil {
			return err
		}
		n.gone = append(n.gone, g)
	}
	for _, d := range n.dirs {
		if !d.touched {
			continue
		}
		if err := n.tx.PutInode(ctx, d.i); err != nil {
			return err
		}
	}
	return nil
}

// tell sends the events of a transaction that was committed.
func (n *names) tell() {
	for i := range n.events {
		e := &n.events[i]
		n.f.hub.name(e.Type, e.Dir, e.Name, e.ID, e.Object, 0)
	}
}

// forget ends what has no name any more.
func (n *names) forget() {
	for _, g := range n.gone {
		n.f.wentAway(g.i.ID, g.held)
	}
}

// checkMoves refuses moves that can never be made.
func checkMoves(c *fs.Caller, moves []fs.Move) error {
	if len(moves) > fs.MaxMoves {
		return fs.TooMany
	}
	for i := range moves {
		m := &moves[i]
		if err := writable(c, m.From.Dir); err != nil {
			return err
		}
		if err := fs.CheckName(m.From.Name); err != nil {
			return err
		}
		if m.To == (fs.Entry{}) && !m.Keep {
			continue
		}
		if err := writable(c, m.To.Dir); err != nil {
			return err
		}
		if err := fs.CheckName(m.To.Name); err != nil {
			return err
		}
	}
	return nil
}

// entriesOf are all names that moves touch.
func entriesOf(moves []fs.Move) []fs.Entry {
	out := make([]fs.Entry, 0, 2*len(moves))
	for i := range moves {
		out = append(out, moves[i].From)
		if moves[i].To.Name != "" {
			out = append(out, moves[i].To)
		}
	}
	return out
}

// breachMoves waits until nobody caches the names that moves take away.
func (f *FS) breachMoves(ctx context.Context, c *fs.Caller, moves []fs.Move, may func() error) (end func(), err error) {
	var ends []func()
	end = func() {
		for _, e := range ends {
			e()
		}
	}
	for i := range moves {
		if moves[i].Keep {
			continue
		}
		e, err := f.breachName(ctx, c, moves[i].From.Dir, moves[i].From.Name, may)
		if err != nil {
			end()
			return nil, err
		}
		ends = append(ends, e)
	}
	return end, nil
}

// Rearrange implements fs.Staging.
func (f *FS) Rearrange(ctx context.Context, c *fs.Caller, moves []fs.Move, within fs.Node) error {
	if len(moves) == 0 {
		return nil
	}
	return wrap("rearrange", moves[0].From.Dir, moves[0].From.Name, f.rearrange(ctx, c, moves, within))
}

func (f *FS) rearrange(ctx context.Context, c *fs.Caller, moves []fs.Move, within fs.Node) error {
	if err := checkMoves(c, moves); err != nil {
		return err
	}
	var n *names
	run := func(tx *meta.Txn) error {
		n = f.namesOf(c, tx, within)
		for i := range moves {
			if err := n.move(ctx, &moves[i]); err != nil {
				return err
			}
		}
		return n.finish(ctx)
	}
	end, err := f.breachMoves(ctx, c, moves, func() error { return f.would(ctx, run) })
	if err != nil {
		return err
	}
	defer end()
	inOrder := f.hub.orderOf(entriesOf(moves)...)
	err = f.db.Update(ctx, run)
	if err == nil {
		n.tell()
	}
	inOrder()
	if err == nil {
		n.forget()
	}
	return err
}
