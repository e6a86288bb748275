package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// TakeSnapshot implements fs.Snapshots.
func (f *FS) TakeSnapshot(ctx context.Context, s fs.SnapshotSpec) (fs.Snapshot, error) {
	snap, err := f.takeSnapshot(ctx, s)
	return snap, wrap("take snapshot", fs.Node{ID: s.Root}, "", err)
}

func (f *FS) takeSnapshot(ctx context.Context, s fs.SnapshotSpec) (fs.Snapshot, error) {
	if s.Suffix == "" {
		s.Suffix = "OnDemand"
	}
	if err := fs.CheckName(s.Suffix); err != nil || len(s.Suffix) > fs.MaxName-21 {
		return fs.Snapshot{}, fs.NameInvalid
	}
	path, err := f.PathOf(ctx, fs.Node{ID: s.Root})
	if err != nil {
		return fs.Snapshot{}, err
	}
	// Writes acknowledged before the call belong to the snapshot.
	if err := f.io.FlushAll(ctx); err != nil {
		return fs.Snapshot{}, err
	}
	rec := fs.Snapshot{Root: s.Root, Path: path, Created: f.o.Now().UTC(), Expires: s.Expires, Policy: s.Policy, LockKey: s.LockKey, Owners: s.Owners}
	return f.db.TakeSnapshot(ctx, rec, func(id fs.SnapshotID) string { return fmt.Sprintf("%d_%s", id, s.Suffix) })
}

// Snapshot implements fs.Snapshots.
func (f *FS) Snapshot(ctx context.Context, id fs.SnapshotID) (fs.Snapshot, error) {
	s, err := f.db.Snapshot(ctx, id)
	return s, wrap("snapshot", fs.Node{Snap: id}, "", notThere(err))
}

func notThere(err error) error {
	if errors.Is(err, meta.ErrNotFound) {
		return fs.NotExist
	}
	return err
}

// ListSnapshots implements fs.Snapshots.
func (f *FS) ListSnapshots(ctx context.Context, after fs.SnapshotID, yield func(*fs.Snapshot) bool) error {
	all, err := f.db.Snapshots(ctx)
	if err != nil {
		return wrap("list snapshots", fs.Node{}, "", err)
	}
	for k := range all {
		if all[k].ID > after && !yield(&all[k]) {
			break
		}
	}
	return nil
}

// ModifySnapshot implements fs.Snapshots.
func (f *FS) ModifySnapshot(ctx context.Context, s fs.Snapshot) (fs.Snapshot, error) {
	out, err := f.db.ChangeSnapshot(ctx, s.ID, func(have *fs.Snapshot) error {
		if s.Revision != 0 && s.Revision != have.Revision {
			return fs.RevisionMismatch
		}
		shorter := !s.Expires.IsZero() && (have.Expires.IsZero() || s.Expires.Before(have.Expires))
		if have.LockKey != "" && (shorter || s.LockKey != "" && s.LockKey != have.LockKey) {
			return fs.Busy // taking the lock off is another change; the caller has seen the proof of its key
		}
		have.Expires, have.LockKey, have.Owners = s.Expires, s.LockKey, s.Owners
		return nil
	})
	return out, wrap("modify snapshot", fs.Node{Snap: s.ID}, "", notThere(err))
}

// SnapshotsKeep implements fs.Snapshots.
func (f *FS) SnapshotsKeep(ctx context.Context, ids []fs.SnapshotID) (uint64, error) {
	all, err := f.db.Snapshots(ctx)
	if err != nil {
		return 0, wrap("what snapshots keep", fs.Node{}, "", err)
	}
	live := make(map[fs.SnapshotID]bool, len(all))
	for k := range all {
		live[all[k].ID] = !all[k].InDelete
	}
	for _, id := range ids {
		if !live[id] {
			return 0, wrap("what snapshots keep", fs.Node{Snap: id}, "", fs.NotExist)
		}
	}
	n, err := f.db.KeptBy(ctx, ids)
	return n, wrap("what snapshots keep", fs.Node{}, "", err)
}

// DeleteSnapshot implements fs.Snapshots.
func (f *FS) DeleteSnapshot(ctx context.Context, id fs.SnapshotID) error {
	err := f.db.DeleteSnapshot(ctx, id, func(s *fs.Snapshot) error {
		if len(s.Owners) > 0 || s.LockKey != "" {
			return fs.Busy
		}
		return nil
	})
	if err == nil {
		select {
		case f.kickSnapshots <- struct{}{}:
		default:
		}
	}
	return wrap("delete snapshot", fs.Node{Snap: id}, "", notThere(err))
}

// DiffSnapshots implements fs.Snapshots: every logged change below the root is
// looked up in both snapshots; nothing else is read.
func (f *FS) DiffSnapshots(ctx context.Context, older, newer fs.SnapshotID, after string, yield func(*fs.DiffEntry) bool) error {
	out, err := f.diff(ctx, older, newer)
	if err != nil {
		return wrap("diff snapshots", fs.Node{Snap: newer}, "", err)
	}
	for k := range out {
		if out[k].Path > after && !yield(&out[k]) {
			break
		}
	}
	return nil
}

func (f *FS) diff(ctx context.Context, older, newer fs.SnapshotID) ([]fs.DiffEntry, error) {
	a, err := f.db.Snapshot(ctx, older)
	if err != nil {
		return nil, notThere(err)
	}
	b, err := f.db.Snapshot(ctx, newer)
	if err != nil {
		return nil, notThere(err)
	}
	if a.Root != b.Root || older >= newer || a.InDelete || b.InDelete {
		return nil, fs.Invalid
	}
	var log []meta.Change
	err = f.db.View(ctx, func(r *meta.Reader) error {
		log = log[:0]
		for c, err := range r.Changes(ctx, older, newer) {
			if err != nil {
				return err
			}
			log = append(log, c)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d := differ{f: f, root: a.Root, older: older, newer: newer, out: map[string]fs.DiffEntry{}, seen: map[string]bool{}}
	for _, c := range log {
		if c.Entry {
			err = d.name(ctx, c.ID, c.Name)
		} else {
			err = d.object(ctx, c.ID)
		}
		if err != nil {
			return nil, err
		}
	}
	out := make([]fs.DiffEntry, 0, len(d.out))
	for _, e := range d.out {
		out = append(out, e)
	}
	slices.SortFunc(out, func(x, y fs.DiffEntry) int {
		if c := strings.Compare(x.Path, y.Path); c != 0 {
			return c
		}
		return int(y.Op) - int(x.Op) // a deletion before what took its place
	})
	return out, nil
}

// differ gathers the entries of a diff by operation and path.
type differ struct {
	f            *FS
	root         fs.FileID
	older, newer fs.SnapshotID
	out          map[string]fs.DiffEntry
	seen         map[string]bool
}

func (d *differ) add(op fs.DiffOp, path string, id fs.FileID) {
	d.out[fmt.Sprintf("%d%s", op, path)] = fs.DiffEntry{Op: op, Path: path, ID: id}
}

// path of a directory in a snapshot relative to the root ("" for the root), ok
// if it is there and below the root.
func (d *differ) path(ctx context.Context, s fs.SnapshotID, id fs.FileID) (path string, ok bool, err error) {
	err = d.f.db.ViewAt(ctx, s, func(r *meta.Reader) error {
		var parts []string
		id := id
		for id != d.root {
			i, err := r.Inode(ctx, id)
			if err != nil || i.Parent == 0 {
				return err
			}
			parts = append(parts, i.ParentName)
			id = i.Parent
		}
		if _, err := r.Inode(ctx, id); err != nil {
			return err
		}
		slices.Reverse(parts)
		if len(parts) > 0 {
			path = strings.Join(parts, "/") + "/"
		}
		ok = true
		return nil
	})
	if errors.Is(err, meta.ErrNotFound) {
		err = nil
	}
	return path, ok, err
}

func (d *differ) entry(ctx context.Context, s fs.SnapshotID, dir fs.FileID, name string) (meta.Dentry, bool, error) {
	var e meta.Dentry
	err := d.f.db.ViewAt(ctx, s, func(r *meta.Reader) error {
		var err error
		e, err = r.Dentry(ctx, dir, name)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return e, false, nil
	}
	return e, err == nil, err
}

// name compares what a name stood for.
func (d *differ) name(ctx context.Context, dir fs.FileID, name string) error {
	key := fmt.Sprintf("%d/%s", dir, name)
	if d.seen[key] {
		return nil
	}
	d.seen[key] = true
	oldDir, inOld, err := d.path(ctx, d.older, dir)
	if err != nil {
		return err
	}
	newDir, inNew, err := d.path(ctx, d.newer, dir)
	if err != nil {
		return err
	}
	var was, is meta.Dentry
	if inOld {
		if was, inOld, err = d.entry(ctx, d.older, dir, name); err != nil {
			return err
		}
	}
	if inNew {
		if is, inNew, err = d.entry(ctx, d.newer, dir, name); err != nil {
			return err
		}
	}
	if inOld && inNew && was.ID == is.ID && oldDir == newDir {
		return nil // came back: object logs its own changes
	}
	if inOld {
		if err := d.tree(ctx, fs.DiffDelete, d.older, was, oldDir+name); err != nil {
			return err
		}
	}
	if inNew {
		return d.tree(ctx, fs.DiffCreate, d.newer, is, newDir+name)
	}
	return nil
}

// tree adds an entry and all below it: what came or went with its directory.
func (d *differ) tree(ctx context.Context, op fs.DiffOp, s fs.SnapshotID, e meta.Dentry, path string) error {
	if e.Type != fs.Directory {
		d.add(op, path, e.ID)
		return nil
	}
	path += "/"
	d.add(op, path, e.ID)
	after := ""
	for {
		var page []meta.Dentry
		err := d.f.db.ViewAt(ctx, s, func(r *meta.Reader) error {
			page = page[:0]
			for c, err := range r.DentriesByName(ctx, e.ID, after, readdirPage) {
				if err != nil {
					return err
				}
				page = append(page, c)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, c := range page {
			after = c.Name
			if err := d.tree(ctx, op, s, c, path+c.Name); err != nil {
				return err
			}
		}
		if len(page) < readdirPage {
			return nil
		}
	}
}

// object compares an inode that is below the root in both snapshots.
func (d *differ) object(ctx context.Context, id fs.FileID) error {
	key := fmt.Sprintf("%d", id)
	if d.seen[key] {
		return nil
	}
	d.seen[key] = true
	var was, is *meta.Inode
	for _, v := range []struct {
		s  fs.SnapshotID
		to **meta.Inode
	}{{d.older, &was}, {d.newer, &is}} {
		err := d.f.db.ViewAt(ctx, v.s, func(r *meta.Reader) error {
			i, err := r.Inode(ctx, id)
			*v.to = i
			return err
		})
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		if err != nil {
			return nil // names say it
		}
	}
	if was.Change == is.Change {
		return nil
	}
	// Every path that it has in both.
	var links []meta.Link
	err := d.f.db.ViewAt(ctx, d.newer, func(r *meta.Reader) error {
		var err error
		links, err = r.Links(ctx, is)
		return err
	})
	if err != nil {
		return err
	}
	if id == d.root {
		d.add(fs.DiffModify, "/", id)
		return nil
	}
	for _, l := range links {
		dir, ok, err := d.path(ctx, d.newer, l.Dir)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		oldDir, ok, err := d.path(ctx, d.older, l.Dir)
		if err != nil {
			return err
		}
		e, had, err := d.entry(ctx, d.older, l.Dir, l.Name)
		if err != nil {
			return err
		}
		if !ok || !had || e.ID != id || oldDir != dir {
			continue
		}
		path := dir + l.Name
		if is.Type == fs.Directory {
			path += "/"
		}
		d.add(fs.DiffModify, path, id)
	}
	return nil
}

// DiffFile implements fs.Snapshots: extents are immutable, so ranges that map
// the same extent at the same offset are equal.
func (f *FS) DiffFile(ctx context.Context, older, newer fs.SnapshotID, id fs.FileID, off uint64, yield func(fs.Region) bool) error {
	type piece struct {
		frag meta.Frag
		base uint64
	}
	load := func(s fs.SnapshotID) (pieces []piece, size uint64, err error) {
		err = f.db.ViewAt(ctx, s, func(r *meta.Reader) error {
			pieces = pieces[:0]
			i, err := f.inode(ctx, r, id)
			if err != nil {
				return err
			}
			size = i.Data.Size
			for c, err := range r.Chunks(ctx, i.Data.ID, off/(4<<20), 0) {
				if err != nil {
					return err
				}
				for _, fr := range c.Chunk.Frags {
					pieces = append(pieces, piece{fr, c.Index * (4 << 20)})
				}
			}
			return nil
		})
		return pieces, size, err
	}
	a, sizeA, err := load(older)
	if err != nil {
		return wrap("diff file", fs.Node{ID: id, Snap: older}, "", err)
	}
	b, sizeB, err := load(newer)
	if err != nil {
		return wrap("diff file", fs.Node{ID: id, Snap: newer}, "", err)
	}
	// Cut both at all borders and compare what each part maps.
	var cuts []uint64
	for _, ps := range [][]piece{a, b} {
		for _, p := range ps {
			cuts = append(cuts, p.base+uint64(p.frag.Off), p.base+uint64(p.frag.Off)+uint64(p.frag.Len))
		}
	}
	cuts = append(cuts, off, min(sizeA, sizeB), max(sizeA, sizeB))
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	at := func(ps []piece, pos uint64) (uint64, uint32, bool) {
		k, _ := slices.BinarySearchFunc(ps, pos, func(p piece, pos uint64) int {
			if p.base+uint64(p.frag.Off)+uint64(p.frag.Len) <= pos {
				return -1
			}
			return 1
		})
		if k == len(ps) || ps[k].base+uint64(ps[k].frag.Off) > pos {
			return 0, 0, false
		}
		return ps[k].frag.Extent, ps[k].frag.ExtOff + uint32(pos-ps[k].base-uint64(ps[k].frag.Off)), true
	}
	var cur fs.Region
	for k := 0; k+1 < len(cuts); k++ {
		from, to := cuts[k], min(cuts[k+1], max(sizeA, sizeB))
		if from < off || from >= to {
			continue
		}
		xa, oa, ma := at(a, from)
		xb, ob, mb := at(b, from)
		same := ma == mb && xa == xb && oa == ob && from < min(sizeA, sizeB)
		if same {
			continue
		}
		r := fs.Region{Offset: from, Length: to - from, Hole: !mb}
		if cur.Length > 0 && cur.Offset+cur.Length == from && cur.Hole == r.Hole {
			cur.Length += r.Length
			continue
		}
		if cur.Length > 0 && !yield(cur) {
			return nil
		}
		cur = r
	}
	if cur.Length > 0 {
		yield(cur)
	}
	return nil
}
