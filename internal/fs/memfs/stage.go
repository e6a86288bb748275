package memfs

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
)

// stagedFor is what a staged file is for.
type stagedFor struct {
	owner string
	dir   fs.FileID
}

// Stage implements fs.Staging.
func (f *FS) Stage(_ context.Context, c *fs.Caller, s *fs.StageSpec) (fs.Node, error) {
	const op = "stage"
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := writable(op, c, s.Dir); err != nil {
		return fs.Node{}, err
	}
	switch {
	case len(s.Owner) > fs.MaxStageOwner:
		return fs.Node{}, fs.E(op, s.Dir, "", fs.NameTooLong, nil)
	case strings.IndexByte(s.Owner, 0) >= 0:
		return fs.Node{}, fs.E(op, s.Dir, "", fs.Invalid, nil)
	}
	d, _, err := f.dir(op, s.Dir)
	if err != nil {
		return fs.Node{}, err
	}
	n := f.newInode(fs.File)
	n.acl = fs.ACL{Owner: c.Cred.User, Group: c.Cred.Group, Mode: 0o600, ModeOnly: true}
	n.staged = &stagedFor{s.Owner, d.id}
	return fs.Node{ID: n.id}, nil
}

// stagedBy finds a staged file that the caller may give away.
func (f *FS) stagedBy(op string, c *fs.Caller, node fs.Node) (*inode, error) {
	n, err := f.findLive(op, c, node)
	switch {
	case err != nil:
		return nil, err
	case n.staged == nil:
		return nil, fs.E(op, node, "", fs.Stale, nil)
	case !acl.IsOwner(c, &n.acl) && !acl.IsSuper(c):
		return nil, fs.E(op, node, "", fs.Access, nil)
	}
	return n, nil
}

func checkPublish(p *fs.PublishSpec) error {
	if p.Set.Size != nil {
		return fs.Invalid
	}
	if len(p.Links) > fs.MaxPublishLinks {
		return fs.TooMany
	}
	return checkMetaItems(p.Meta)
}

func checkMetaItems(items []fs.MetaItem) error {
	if len(items) > fs.MaxPublishMetaItems {
		return fs.TooMany
	}
	total := 0
	for _, m := range items {
		total += len(m.Key) + len(m.Value)
		switch {
		case !validSpace(m.Space):
			return fs.Invalid
		case m.Key == "" || strings.IndexByte(m.Key, 0) >= 0:
			return fs.NameInvalid
		case len(m.Key) > maxKey:
			return fs.NameTooLong
		case len(m.Key)+len(m.Value) > fs.MaxXattrBytes:
			return fs.TooBig
		}
	}
	if total > fs.MaxPublishMetaBytes {
		return fs.TooMany
	}
	return nil
}

// place is a name that a Publish makes.
type place struct {
	d    *inode
	name fs.Name
}

// places plans the names of a Publish and answers what has the first.
func (p *plan) places(all []fs.Entry) (ps []place, old *inode, err error) {
	for i, e := range all {
		at, err := p.place(e)
		if err != nil {
			return nil, nil, err
		}
		if slices.Contains(ps, at) || i > 0 && p.at(at) != nil {
			return nil, nil, fs.E(p.op, e.Dir, e.Name, fs.Exist, nil)
		}
		ps = append(ps, at)
	}
	return ps, p.at(ps[0]), nil
}

// Publish implements fs.Staging.
func (f *FS) Publish(_ context.Context, c *fs.Caller, staged, dir fs.Node, name fs.Name, p *fs.PublishSpec) (fs.PublishResult, error) {
	const op = "publish"
	f.mu.Lock()
	defer f.mu.Unlock()
	fail := func(k fs.Kind) (fs.PublishResult, error) { return fs.PublishResult{}, fs.E(op, dir, name, k, nil) }
	if err := checkPublish(p); err != nil {
		return fail(fs.KindOf(err))
	}
	if err := writable(op, c, dir); err != nil {
		return fs.PublishResult{}, err
	}
	names := append([]fs.Entry{{Dir: dir, Name: name}}, p.Links...)
	change := f.plan(op, c, p.Within)
	if err := change.sane(p.Moves); err != nil {
		return fs.PublishResult{}, err
	}
	if err := change.names(names...); err != nil {
		return fs.PublishResult{}, err
	}
	n, err := f.stagedBy(op, c, staged)
	if err != nil {
		return fs.PublishResult{}, err
	}
	if err := change.moves(p.Moves); err != nil {
		return fs.PublishResult{}, err
	}
	ps, old, err := change.places(names)
	if err != nil {
		return fs.PublishResult{}, err
	}
	d := ps[0].d
	if v := p.Replaces; v != nil && (old == nil || old.id != v.ID || v.Change != 0 && old.change != v.Change) {
		return fail(fs.RevisionMismatch)
	}
	if old != nil {
		switch {
		case p.NoReplace:
			return fail(fs.Exist)
		case old.typ == fs.Directory:
			return fail(fs.IsDir)
		}
		if err := f.mayDelete(op, c, d, name, old); err != nil {
			return fs.PublishResult{}, err
		}
		if old.locked(f.now()) {
			return fail(fs.WORM)
		}
		change.remove(ps[0], old)
	}
	if err := change.check(); err != nil {
		return fs.PublishResult{}, err
	}
	as, err := f.build(c, d, &fs.CreateSpec{Type: fs.File, Set: p.Set})
	if err != nil {
		return fs.PublishResult{}, err
	}
	if err := f.room(op, d, f.netGrowth(n, change.links)); err != nil {
		return fs.PublishResult{}, err
	}
	for _, at := range ps {
		change.add(at, n)
	}
	b := before(d)
	res := fs.PublishResult{}
	if old != nil {
		res.Replaced = fs.Node{ID: old.id}
	}
	f.appear(n, as, p)
	change.run(n)
	res.Attr = f.attr(n, staged, p.Want)
	res.Dir = f.changed(d, b)
	return res, nil
}

// netGrowth is what n adds to a directory in the place of what loses its last name.
func (f *FS) netGrowth(n *inode, links map[*inode]int) uint64 {
	need := capacity(n.own())
	for o, left := range links {
		if left == 0 {
			need -= min(need, capacity(o.own()))
		}
	}
	return need
}

// appear makes a staged file one like as.
func (f *FS) appear(n, as *inode, p *fs.PublishSpec) {
	n.staged = nil
	n.data.sync()
	for _, s := range n.streams {
		s.sync()
	}
	n.acl, n.dos = as.acl, as.dos
	if p.Set.Retention != nil {
		n.retention = as.retention
	}
	if p.Set.LegalHold != nil {
		n.hold = as.hold
	}
	n.putMeta(p.Meta)
	f.touch(n, true)
	n.atime, n.btime = n.ctime, n.ctime
	n.setTimes(&p.Set, n.ctime)
}

func (n *inode) putMeta(items []fs.MetaItem) {
	for _, m := range items {
		if n.meta == nil {
			n.meta = map[fs.MetaSpace]map[string][]byte{}
		}
		if n.meta[m.Space] == nil {
			n.meta[m.Space] = map[string][]byte{}
		}
		n.meta[m.Space][m.Key] = slices.Clone(m.Value)
	}
}

// Splice implements fs.Staging.
func (f *FS) Splice(_ context.Context, c *fs.Caller, dst fs.Node, parts []fs.Node) (uint64, error) {
	const op = "splice"
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.stagedBy(op, c, dst)
	if err != nil {
		return 0, err
	}
	for _, p := range parts {
		if p == dst {
			return n.data.size, fs.E(op, dst, "", fs.Invalid, nil)
		}
		if err := f.free(c, op, p, 0, 0, fs.MaxFileSize, false, nil); err != nil {
			return n.data.size, err
		}
		_, s, err := f.findStream(op, p, 0)
		if err != nil {
			return n.data.size, err
		}
		buf := make([]byte, s.size)
		if _, err := f.read(c, p, &fs.ReadRequest{}, buf, nil); err != nil {
			return n.data.size, err
		}
		if len(buf) == 0 {
			continue
		}
		if _, err := f.write(c, dst, &fs.WriteRequest{Data: buf, Append: true, Stability: fs.FileSync}, nil); err != nil {
			return n.data.size, err
		}
	}
	return n.data.size, nil
}

// Unstage implements fs.Staging.
func (f *FS) Unstage(_ context.Context, c *fs.Caller, staged fs.Node) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.stagedBy("unstage", c, staged)
	if err != nil {
		return err
	}
	if n.locked(f.now()) {
		return fs.E("unstage", staged, "", fs.WORM, nil)
	}
	n.staged = nil
	f.forget(n)
	return nil
}

// ListStaged implements fs.Staging.
func (f *FS) ListStaged(_ context.Context, prefix string, after *fs.Staged, yield func(*fs.Staged) bool) error {
	f.mu.Lock()
	var out []fs.Staged
	for _, id := range slices.Sorted(maps.Keys(f.live)) {
		n := f.live[id]
		if n.staged == nil || n.staged.owner == "" || !strings.HasPrefix(n.staged.owner, prefix) {
			continue
		}
		s := fs.Staged{Owner: n.staged.owner, Node: fs.Node{ID: id}, Dir: n.staged.dir, Size: n.data.size}
		if after == nil || orderStaged(&s, after) > 0 {
			out = append(out, s)
		}
	}
	f.mu.Unlock()
	slices.SortFunc(out, func(a, b fs.Staged) int { return orderStaged(&a, &b) })
	for i := range out {
		if !yield(&out[i]) {
			break
		}
	}
	return nil
}

func orderStaged(a, b *fs.Staged) int {
	return cmp.Or(strings.Compare(a.Owner, b.Owner), cmp.Compare(a.Node.ID, b.Node.ID))
}
