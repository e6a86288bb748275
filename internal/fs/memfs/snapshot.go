package memfs

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"manifold/internal/fs"
)

// maxSnapshots is the limit of the product.
const maxSnapshots = 40000

type snapshot struct {
	fs.Snapshot
	tree  tree
	above []fs.FileID // directories that Root was below
}

// snapshotDir makes the virtual directory of the snapshots that hold d.
func (f *FS) snapshotDir(d *inode) *inode {
	v := &inode{
		id: d.id, typ: fs.Directory, acl: d.acl, entries: map[fs.Name]entry{},
		atime: d.btime, mtime: d.btime, ctime: d.btime, btime: d.btime, change: 1,
	}
	for id, s := range f.snaps {
		if s.tree[d.id] == nil {
			continue
		}
		v.entries[s.Name] = entry{d.id, uint64(id) + fs.FirstCookie}
		v.subdirs++
		v.change += uint64(id)
		if at := fs.TimeOf(s.Created); at.Compare(v.mtime) > 0 {
			v.mtime, v.ctime = at, at
		}
	}
	return v
}

// snapshotNamed finds a snapshot that holds dir.
func (f *FS) snapshotNamed(dir fs.FileID, name fs.Name) *snapshot {
	for _, s := range f.snaps {
		if s.Name == name && s.tree[dir] != nil {
			return s
		}
	}
	return nil
}

// collect gathers n and all below it.
func collect(t tree, n *inode, into tree) {
	if into[n.id] != nil {
		return
	}
	into[n.id] = n
	for _, e := range n.entries {
		collect(t, t[e.id], into)
	}
}

// TakeSnapshot implements fs.Snapshots.
func (f *FS) TakeSnapshot(_ context.Context, spec fs.SnapshotSpec) (fs.Snapshot, error) {
	const op = "take snapshot"
	f.mu.Lock()
	defer f.mu.Unlock()
	node := fs.Node{ID: spec.Root}
	root, _, err := f.find(op, node)
	if err != nil {
		return fs.Snapshot{}, err
	}
	if len(f.snaps) >= maxSnapshots {
		return fs.Snapshot{}, fs.E(op, node, "", fs.TooMany, nil)
	}
	suffix := spec.Suffix
	if suffix == "" {
		suffix = "OnDemand"
	}
	name := fmt.Sprintf("%d_%s", f.nextSnap, suffix)
	if err := fs.CheckName(name); err != nil {
		return fs.Snapshot{}, fs.E(op, node, name, fs.KindOf(err), nil)
	}
	path, err := f.path(node)
	if err != nil {
		return fs.Snapshot{}, err
	}
	s := &snapshot{tree: tree{}, Snapshot: fs.Snapshot{
		ID: f.nextSnap, Name: name, Root: spec.Root, Path: path, Created: f.opt.Now().UTC(), Expires: spec.Expires,
		Policy: spec.Policy, LockKey: spec.LockKey, Owners: slices.Clone(spec.Owners), Revision: 1,
	}}
	live := tree{}
	collect(f.live, root, live)
	for id, n := range live {
		n.data.sync()
		for _, st := range n.streams {
			st.sync()
		}
		s.tree[id] = n.clone()
	}
	for n := root; len(n.links) > 0; {
		n = f.live[n.links[0].dir]
		s.above = append(s.above, n.id)
	}
	f.snaps[s.ID] = s
	f.nextSnap++
	return s.answer(), nil
}

func (s *snapshot) answer() fs.Snapshot {
	a := s.Snapshot
	a.Owners = slices.Clone(s.Owners)
	return a
}

func (f *FS) snap(op string, id fs.SnapshotID) (*snapshot, error) {
	s := f.snaps[id]
	if s == nil {
		return nil, fs.E(op, fs.Node{Snap: id}, "", fs.NotExist, nil)
	}
	return s, nil
}

// Snapshot implements fs.Snapshots.
func (f *FS) Snapshot(_ context.Context, id fs.SnapshotID) (fs.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.snap("get snapshot", id)
	if err != nil {
		return fs.Snapshot{}, err
	}
	return s.answer(), nil
}

// ListSnapshots implements fs.Snapshots.
func (f *FS) ListSnapshots(_ context.Context, after fs.SnapshotID, yield func(*fs.Snapshot) bool) error {
	f.mu.Lock()
	var out []fs.Snapshot
	for _, id := range slices.Sorted(maps.Keys(f.snaps)) {
		if id > after {
			out = append(out, f.snaps[id].answer())
		}
	}
	f.mu.Unlock()
	for i := range out {
		if !yield(&out[i]) {
			break
		}
	}
	return nil
}

// ModifySnapshot implements fs.Snapshots.
func (f *FS) ModifySnapshot(_ context.Context, set fs.Snapshot) (fs.Snapshot, error) {
	const op = "modify snapshot"
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.snap(op, set.ID)
	if err != nil {
		return fs.Snapshot{}, err
	}
	fail := func(k fs.Kind) (fs.Snapshot, error) {
		return fs.Snapshot{}, fs.E(op, fs.Node{ID: s.Root, Snap: s.ID}, s.Name, k, nil)
	}
	if set.Revision != 0 && set.Revision != s.Revision {
		return fail(fs.RevisionMismatch)
	}
	expiry := !set.Expires.Equal(s.Expires)
	if expiry && len(s.Owners) > 0 && len(set.Owners) > 0 {
		return fail(fs.Busy)
	}
	// A locked snapshot lives at least as long as it was locked for.
	shorter := !set.Expires.IsZero() && (s.Expires.IsZero() || set.Expires.Before(s.Expires))
	if s.LockKey != "" && set.LockKey == s.LockKey && shorter {
		return fail(fs.Busy)
	}
	s.Expires, s.LockKey, s.Owners = set.Expires, set.LockKey, slices.Clone(set.Owners)
	s.Revision++
	return s.answer(), nil
}

// DeleteSnapshot implements fs.Snapshots.
func (f *FS) DeleteSnapshot(_ context.Context, id fs.SnapshotID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.snap("delete snapshot", id)
	if err != nil {
		return err
	}
	if len(s.Owners) > 0 || s.LockKey != "" {
		return fs.E("delete snapshot", fs.Node{ID: s.Root, Snap: id}, s.Name, fs.Busy, nil)
	}
	delete(f.snaps, id)
	return nil
}

// SnapshotsKeep implements fs.Snapshots.
func (f *FS) SnapshotsKeep(_ context.Context, ids []fs.SnapshotID) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		if _, err := f.snap("what snapshots keep", id); err != nil {
			return 0, err
		}
	}
	return f.snapshotBytes(nil) - f.snapshotBytes(ids), nil
}

// paths maps all paths of a snapshot, relative to its root, to the objects.
func (s *snapshot) paths() map[string]*inode {
	out := map[string]*inode{}
	var walk func(prefix string, d *inode)
	walk = func(prefix string, d *inode) {
		for name, e := range d.entries {
			n := s.tree[e.id]
			p := prefix + name
			if n.typ == fs.Directory {
				p += "/"
				walk(p, n)
			}
			out[p] = n
		}
	}
	if root := s.tree[s.Root]; root.typ == fs.Directory {
		walk("", root)
	}
	out["/"] = s.tree[s.Root]
	return out
}

// pair finds two snapshots of the same root.
func (f *FS) pair(op string, older, newer fs.SnapshotID) (a, b *snapshot, err error) {
	if a, err = f.snap(op, older); err != nil {
		return nil, nil, err
	}
	if b, err = f.snap(op, newer); err != nil {
		return nil, nil, err
	}
	if a.Root != b.Root || older >= newer {
		return nil, nil, fs.E(op, fs.Node{ID: a.Root, Snap: newer}, "", fs.Invalid, nil)
	}
	return a, b, nil
}

// DiffSnapshots implements fs.Snapshots.
func (f *FS) DiffSnapshots(_ context.Context, older, newer fs.SnapshotID, after string, yield func(*fs.DiffEntry) bool) error {
	f.mu.Lock()
	a, b, err := f.pair("diff snapshots", older, newer)
	if err != nil {
		f.mu.Unlock()
		return err
	}
	was, is := a.paths(), b.paths()
	f.mu.Unlock()
	all := maps.Clone(was)
	maps.Copy(all, is)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		if p <= after {
			continue
		}
		var es []fs.DiffEntry
		x, y := was[p], is[p]
		switch {
		case x == nil:
			es = append(es, fs.DiffEntry{Op: fs.DiffCreate, Path: p, ID: y.id})
		case y == nil:
			es = append(es, fs.DiffEntry{Op: fs.DiffDelete, Path: p, ID: x.id})
		case x.id != y.id:
			es = append(es, fs.DiffEntry{Op: fs.DiffDelete, Path: p, ID: x.id}, fs.DiffEntry{Op: fs.DiffCreate, Path: p, ID: y.id})
		case x.change != y.change:
			es = append(es, fs.DiffEntry{Op: fs.DiffModify, Path: p, ID: y.id})
		}
		for i := range es {
			if !yield(&es[i]) {
				return nil
			}
		}
	}
	return nil
}

// DiffFile implements fs.Snapshots.
func (f *FS) DiffFile(_ context.Context, older, newer fs.SnapshotID, id fs.FileID, off uint64, yield func(fs.Region) bool) error {
	f.mu.Lock()
	a, b, err := f.pair("diff file", older, newer)
	var x, y *inode
	if err == nil {
		if x, y = a.tree[id], b.tree[id]; x == nil || y == nil {
			err = fs.E("diff file", fs.Node{ID: id, Snap: newer}, "", fs.NotExist, nil)
		} else if y.typ != fs.File {
			err = fs.E("diff file", fs.Node{ID: id, Snap: newer}, "", fs.NotFile, nil)
		}
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	for _, r := range differences(&x.data, &y.data) {
		if end := r.Offset + r.Length; end > off {
			r.Offset = max(r.Offset, off)
			r.Length = end - r.Offset
			if !yield(r) {
				break
			}
		}
	}
	return nil
}

// differences lists the regions of the new stream that differ from the old.
func differences(was, is *stream) []fs.Region {
	zeros := make([]byte, fs.BlockSize)
	block := func(s *stream, i uint64) []byte {
		if b := s.blocks[i]; b != nil {
			return b
		}
		return zeros
	}
	var out []fs.Region
	add := func(from, to uint64, hole bool) {
		if to = min(to, is.size); from >= to {
			return
		}
		if n := len(out); n > 0 && out[n-1].Hole == hole && out[n-1].Offset+out[n-1].Length == from {
			out[n-1].Length = to - out[n-1].Offset
			return
		}
		out = append(out, fs.Region{Offset: from, Length: to - from, Hole: hole})
	}
	all := maps.Clone(is.blocks)
	if all == nil {
		all = map[uint64][]byte{}
	}
	maps.Copy(all, was.blocks)
	grown := was.size // from here on all is new
	pos := grown
	for _, i := range slices.Sorted(maps.Keys(all)) {
		lo, hi := i*fs.BlockSize, (i+1)*fs.BlockSize
		_, data := is.blocks[i]
		if hi > grown {
			add(pos, max(lo, pos), true)
			pos = max(pos, hi)
		}
		if !bytes.Equal(block(was, i), block(is, i)) || hi > grown {
			add(lo, hi, !data)
		}
	}
	add(pos, is.size, true)
	return out
}
