package memfs

import (
	"context"
	"maps"
	"slices"

	"manifold/internal/fs"
)

// job is a tree deletion that has detached its directory.
type job struct {
	fs.TreeDelete
	at   link // where the directory was
	tree tree // all that went with it
}

// StartTreeDelete implements fs.TreeDeletes.
func (f *FS) StartTreeDelete(_ context.Context, c *fs.Caller, dir fs.FileID) (fs.TreeDelete, error) {
	const op = "tree delete"
	f.mu.Lock()
	defer f.mu.Unlock()
	node := fs.Node{ID: dir}
	d, _, err := f.dir(op, node)
	if err != nil {
		return fs.TreeDelete{}, err
	}
	switch {
	case dir == fs.RootID:
		return fs.TreeDelete{}, fs.E(op, node, "", fs.Invalid, nil)
	case len(d.links) == 0:
		return fs.TreeDelete{}, fs.E(op, node, "", fs.Stale, nil)
	}
	at := d.links[0]
	parent := f.live[at.dir]
	if err := f.mayDelete(op, c, parent, at.name, d); err != nil {
		return fs.TreeDelete{}, err
	}
	if !f.unlock(d) {
		return fs.TreeDelete{}, fs.E(op, node, "", fs.WORM, nil)
	}
	sum := f.totals(f.live, d)
	path, err := f.path(node)
	if err != nil {
		return fs.TreeDelete{}, err
	}
	f.notifyName(parent, at.name, d, fs.EventRemoved, 0)
	f.drop(parent, at.name, d)
	f.touch(parent, true)
	j := &job{at: at, tree: tree{}, TreeDelete: fs.TreeDelete{
		ID: dir, Created: f.opt.Now().UTC(), InitialPath: path, Initial: sum, Remaining: sum,
	}}
	f.detach(j, d)
	if f.opt.HoldTreeDeletes {
		f.jobs[dir] = j
	}
	return j.TreeDelete, nil
}

// unlock takes retentions that are over off the files below d, unless one of
// them is locked.
func (f *FS) unlock(d *inode) bool {
	now, locked := f.now(), false
	var over []*inode
	f.primaries(f.live, d, func(n *inode) {
		locked = locked || n.locked(now)
		if n.retention != (fs.Time{}) {
			over = append(over, n)
		}
	})
	if locked {
		return false
	}
	for _, n := range over {
		n.retention = fs.Time{}
		f.touch(n, false)
	}
	return true
}

// detach moves d and what has names only below it out of the live tree.
func (f *FS) detach(j *job, d *inode) {
	j.tree[d.id] = d
	delete(f.live, d.id)
	delete(f.quotas, d.id)
	f.notifyGone(d)
	if !f.opt.HoldTreeDeletes && f.held(d) {
		// An open keeps it, empty, as it does after a removal.
		defer func() {
			f.live[d.id] = d
			d.links, d.entries, d.order, d.subdirs = nil, map[fs.Name]entry{}, nil, 0
		}()
	}
	for name, e := range d.entries {
		n := f.live[e.id]
		if n == nil {
			continue // another name of what is detached already
		}
		if n.typ == fs.Directory {
			f.detach(j, n)
			continue
		}
		entries, order := d.entries, d.order
		d.entries = map[fs.Name]entry{}
		f.drop(d, name, n)
		f.touch(n, false)
		d.entries, d.order = entries, order
		if len(n.links) == 0 {
			j.tree[n.id] = n
			if !f.held(n) {
				delete(f.live, n.id)
			}
		}
	}
}

// TreeDelete implements fs.TreeDeletes.
func (f *FS) TreeDelete(_ context.Context, id fs.FileID) (fs.TreeDelete, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[id]
	if j == nil {
		return fs.TreeDelete{}, fs.E("get tree delete", fs.Node{ID: id}, "", fs.NotExist, nil)
	}
	return j.TreeDelete, nil
}

// ListTreeDeletes implements fs.TreeDeletes.
func (f *FS) ListTreeDeletes(_ context.Context, yield func(*fs.TreeDelete) bool) error {
	f.mu.Lock()
	var out []fs.TreeDelete
	for _, id := range slices.Sorted(maps.Keys(f.jobs)) {
		out = append(out, f.jobs[id].TreeDelete)
	}
	f.mu.Unlock()
	for i := range out {
		if !yield(&out[i]) {
			break
		}
	}
	return nil
}

// FinishTreeDeletes ends the deletions that HoldTreeDeletes holds.
func (f *FS) FinishTreeDeletes() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.jobs)
}

// CancelTreeDelete implements fs.TreeDeletes.
func (f *FS) CancelTreeDelete(_ context.Context, id fs.FileID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[id]
	if j == nil {
		return fs.E("cancel tree delete", fs.Node{ID: id}, "", fs.NotExist, nil)
	}
	delete(f.jobs, id)
	for id, n := range j.tree {
		f.live[id] = n
	}
	for _, d := range j.tree {
		for name, e := range d.entries {
			n := f.live[e.id]
			switch {
			case n == nil: // had another name, which is gone meanwhile
				delete(d.entries, name)
				d.order = nil
			case n.typ != fs.Directory:
				n.links = append(n.links, link{d.id, name})
			}
		}
	}
	parent, name := f.live[j.at.dir], j.at.name
	if parent == nil || hasName(parent, name) {
		parent = f.lostAndFound()
		for hasName(parent, name) {
			name += "~"
		}
	}
	f.add(parent, name, j.tree[j.ID])
	f.touch(parent, true)
	f.notifyName(parent, name, j.tree[j.ID], fs.EventAdded, 0)
	return nil
}

func hasName(d *inode, name fs.Name) bool {
	_, ok := d.entries[name]
	return ok
}

// lostAndFound finds or makes the directory of what has lost its place.
func (f *FS) lostAndFound() *inode {
	const name = "lost+found"
	root := f.live[fs.RootID]
	if e, ok := root.entries[name]; ok && f.live[e.id].typ == fs.Directory {
		return f.live[e.id]
	}
	d := f.newInode(fs.Directory)
	d.acl = root.acl
	d.acl.Entries, d.acl.ModeOnly, d.acl.Mode = nil, true, 0o700
	f.add(root, name, d)
	f.touch(root, true)
	return d
}
