package memfs

import (
	"context"

	"manifold/internal/fs"
)

// plan is a change of several names that is checked as a whole before any of
// it is made.
type plan struct {
	f      *FS
	op     string
	c      *fs.Caller
	within fs.Node
	after  map[place]*inode // what names will stand for, nil: nothing
	links  map[*inode]int   // how many names objects will have
	steps  []step
}

// step takes a name from n or gives it one.
type step struct {
	place
	n   *inode
	add bool
}

func (f *FS) plan(op string, c *fs.Caller, within fs.Node) *plan {
	return &plan{f: f, op: op, c: c, within: within, after: map[place]*inode{}, links: map[*inode]int{}}
}

func (p *plan) asks(d *inode) bool { return p.within == (fs.Node{}) || p.within.ID == d.id }

func (p *plan) dir(e fs.Entry) (*inode, error) {
	d, err := p.f.liveDir(p.op, p.c, e.Dir, e.Name)
	if err == nil && len(d.links) == 0 && d.id != fs.RootID {
		err = fs.E(p.op, e.Dir, e.Name, fs.Stale, nil)
	}
	return d, err
}

// at answers what a name will stand for, nil if nothing.
func (p *plan) at(at place) *inode {
	if n, ok := p.after[at]; ok {
		return n
	}
	if e, ok := at.d.entries[at.name]; ok {
		return p.f.live[e.id]
	}
	return nil
}

func (p *plan) count(n *inode, by int) {
	if _, ok := p.links[n]; !ok {
		p.links[n] = len(n.links)
	}
	p.links[n] += by
}

func (p *plan) remove(at place, n *inode) {
	p.after[at] = nil
	p.count(n, -1)
	p.steps = append(p.steps, step{at, n, false})
}

func (p *plan) add(at place, n *inode) {
	p.after[at] = n
	p.count(n, 1)
	p.steps = append(p.steps, step{at, n, true})
}

// place checks that a name may be made; it need not be free.
func (p *plan) place(e fs.Entry) (place, error) {
	d, err := p.dir(e)
	if err == nil && p.asks(d) {
		err = p.f.mayAdd(p.op, p.c, d, e.Name, fs.File)
	}
	return place{d, e.Name}, err
}

func (p *plan) move(m *fs.Move) error {
	fail := func(k fs.Kind) error { return fs.E(p.op, m.From.Dir, m.From.Name, k, nil) }
	d, err := p.dir(m.From)
	if err != nil {
		return err
	}
	from := place{d, m.From.Name}
	n := p.at(from)
	switch {
	case n == nil:
		return fail(fs.NotExist)
	case m.Is != 0 && m.Is != n.id:
		return fail(fs.RevisionMismatch)
	case n.typ == fs.Directory:
		return fail(fs.IsDir)
	}
	if !m.Keep {
		if p.asks(d) {
			if err := p.f.mayDelete(p.op, p.c, d, m.From.Name, n); err != nil {
				return err
			}
		}
		p.remove(from, n)
	}
	if m.To.Name == "" {
		return nil
	}
	to, err := p.place(m.To)
	if err != nil {
		return err
	}
	if p.at(to) != nil {
		return fail(fs.Exist)
	}
	p.add(to, n)
	return nil
}

// names refuses what no state of the file system allows: a read-only place or
// caller, and what is no name.
func (p *plan) names(of ...fs.Entry) error {
	for _, e := range of {
		if err := writable(p.op, p.c, e.Dir); err != nil {
			return err
		}
		if err := fs.CheckName(e.Name); err != nil {
			return fs.E(p.op, e.Dir, e.Name, fs.KindOf(err), nil)
		}
	}
	return nil
}

// sane is names for moves.
func (p *plan) sane(moves []fs.Move) error {
	if len(moves) > fs.MaxMoves {
		return fs.E(p.op, fs.Node{}, "", fs.TooMany, nil)
	}
	for i := range moves {
		m := &moves[i]
		of := []fs.Entry{m.From, m.To}
		if !m.Keep && m.To == (fs.Entry{}) {
			of = of[:1]
		}
		if err := p.names(of...); err != nil {
			return err
		}
	}
	return nil
}

// moves plans moves.
func (p *plan) moves(moves []fs.Move) error {
	for i := range moves {
		if err := p.move(&moves[i]); err != nil {
			return err
		}
	}
	return nil
}

// check refuses what would take the last name from a locked object.
func (p *plan) check() error {
	for n, left := range p.links {
		if left == 0 && n.locked(p.f.now()) {
			return fs.E(p.op, fs.Node{ID: n.id}, "", fs.WORM, nil)
		}
	}
	return nil
}

// run makes what was planned. Times of fresh, if any, are set already.
func (p *plan) run(fresh *inode) {
	touched := map[*inode]bool{fresh: true}
	for _, s := range p.steps {
		if s.add {
			p.f.add(s.d, s.name, s.n)
			p.f.notifyName(s.d, s.name, s.n, fs.EventAdded, 0)
		} else {
			p.f.notifyName(s.d, s.name, s.n, fs.EventRemoved, 0)
			p.f.drop(s.d, s.name, s.n)
		}
		if !touched[s.d] {
			touched[s.d] = true
			p.f.touch(s.d, true)
		}
		if !touched[s.n] {
			touched[s.n] = true
			p.f.touch(s.n, false)
		}
	}
	for n := range p.links {
		if len(n.links) == 0 {
			p.f.notifyGone(n)
			p.f.forget(n)
		}
	}
}

// Rearrange implements fs.Staging.
func (f *FS) Rearrange(_ context.Context, c *fs.Caller, moves []fs.Move, within fs.Node) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.plan("rearrange", c, within)
	err := p.sane(moves)
	if err == nil {
		err = p.moves(moves)
	}
	if err == nil {
		err = p.check()
	}
	if err == nil {
		p.run(nil)
	}
	return err
}
