package memfs

import (
	"context"
	"maps"
	"slices"

	"manifold/internal/fs"
)

func addTotals(a *fs.Totals, b fs.Totals) {
	a.DataBytes += b.DataBytes
	a.MetaBytes += b.MetaBytes
	a.LogicalBytes += b.LogicalBytes
	a.Files += b.Files
	a.Directories += b.Directories
	a.Symlinks += b.Symlinks
	a.Other += b.Other
	a.Streams += b.Streams
	a.StreamBytes += b.StreamBytes
	a.WORM += b.WORM
}

func capacity(t fs.Totals) uint64 { return t.DataBytes + t.MetaBytes + t.StreamBytes }

// own are the totals of n itself.
func (n *inode) own() fs.Totals {
	t := fs.Totals{DataBytes: n.data.bytes(), MetaBytes: fs.BlockSize, Streams: uint64(len(n.streams))}
	for _, s := range n.streams {
		t.StreamBytes += s.bytes()
	}
	switch n.typ {
	case fs.File:
		t.Files, t.LogicalBytes = 1, n.data.size
		if n.hold || n.retention != (fs.Time{}) {
			t.WORM = 1
		}
	case fs.Directory:
		t.Directories = 1
	case fs.Symlink:
		t.Symlinks = 1
	default:
		t.Other = 1
	}
	return t
}

// totals sums up n and what is below it; an object with several names counts
// where its primary one is.
func (f *FS) totals(t tree, n *inode) fs.Totals {
	sum := n.own()
	f.primaries(t, n, func(c *inode) { addTotals(&sum, c.own()) })
	if n.typ == fs.Directory {
		sum.Directories--
	}
	return sum
}

// primaries visits all that has its first name below d.
func (f *FS) primaries(t tree, d *inode, visit func(*inode)) {
	for name, e := range d.entries {
		if c := t[e.id]; len(c.links) > 0 && c.links[0] == (link{d.id, name}) {
			visit(c)
			f.primaries(t, c, visit)
		}
	}
}

// TotalsOf implements fs.Accounting.
func (f *FS) TotalsOf(_ context.Context, node fs.Node) (fs.Totals, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, t, err := f.dir("totals", node)
	if err != nil {
		return fs.Totals{}, err
	}
	if node.Snap == fs.SnapshotDir {
		return fs.Totals{}, fs.E("totals", node, "", fs.Invalid, nil)
	}
	return f.totals(t, n), nil
}

// ChildTotalsOf implements fs.Accounting.
func (f *FS) ChildTotalsOf(_ context.Context, node fs.Node, yield func(*fs.ChildTotals) bool) error {
	f.mu.Lock()
	d, t, err := f.dir("totals", node)
	var out []fs.ChildTotals
	if err == nil && node.Snap != fs.SnapshotDir {
		for _, name := range slices.Sorted(maps.Keys(d.entries)) {
			n := t[d.entries[name].id]
			out = append(out, fs.ChildTotals{Name: name, ID: n.id, Type: n.typ, Totals: f.totals(t, n)})
		}
	}
	f.mu.Unlock()
	for i := range out {
		if !yield(&out[i]) {
			break
		}
	}
	return err
}

// up yields the directories above n, by its primary name, n itself first if it
// is a directory.
func (f *FS) up(n *inode) []*inode {
	var out []*inode
	for n != nil {
		if n.typ == fs.Directory {
			out = append(out, n)
		}
		if len(n.links) == 0 {
			break
		}
		n = f.live[n.links[0].dir]
	}
	return out
}

// used is what lies below a directory, itself not counted.
func (f *FS) used(dir fs.FileID) uint64 {
	return capacity(f.totals(f.live, f.live[dir])) - fs.BlockSize
}

// room tells whether an object may grow, or a directory get something of that size.
func (f *FS) room(op string, n *inode, growth uint64) error {
	if growth == 0 {
		return nil
	}
	at, extra := n, uint64(0)
	if n.staged != nil {
		// What it is going to be must fit, too.
		if at = f.live[n.staged.dir]; at == nil {
			at = n
		}
		extra = capacity(n.own())
	}
	for _, a := range f.up(at) {
		if q := f.quotas[a.id]; q != nil && f.used(a.id)+extra+growth > q.Limit {
			return fs.E(op, fs.Node{ID: a.id}, "", fs.QuotaExceeded, nil)
		}
	}
	if f.opt.Capacity != 0 && f.everything()+growth > f.opt.Capacity {
		return fs.E(op, fs.Node{ID: n.id}, "", fs.NoSpace, nil)
	}
	return nil
}

// everything is the capacity of the whole live tree and of what is staged; opens
// and snapshots do not count here.
func (f *FS) everything() uint64 {
	sum := f.used(fs.RootID)
	for _, n := range f.live {
		if n.staged != nil {
			sum += capacity(n.own())
		}
	}
	return sum
}

// roomToMove tells whether n may move from one directory to another: quotas
// that are above only the new one must have room, counting what is replaced.
func (f *FS) roomToMove(n, replaced *inode, from, to *inode) error {
	old := f.up(from)
	size := int64(capacity(f.totals(f.live, n)))
	if replaced != nil && len(replaced.links) == 1 {
		size -= int64(capacity(f.totals(f.live, replaced)))
	}
	if size <= 0 {
		return nil
	}
	for _, a := range f.up(to) {
		if q := f.quotas[a.id]; q != nil && !slices.Contains(old, a) && f.used(a.id)+uint64(size) > q.Limit {
			return fs.E("rename", fs.Node{ID: a.id}, "", fs.QuotaExceeded, nil)
		}
	}
	return nil
}

// StatFS implements fs.Accounting.
func (f *FS) StatFS(_ context.Context, _ *fs.Caller, node fs.Node) (fs.StatFS, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _, err := f.find("statfs", node)
	if err != nil {
		return fs.StatFS{}, err
	}
	if node.Snap == fs.SnapshotDir {
		n = f.live[node.ID]
	}
	used, total := f.everything(), f.opt.Capacity
	if total == 0 {
		total = 1 << 40
	}
	s := fs.StatFS{TotalBytes: total, FreeBytes: total - min(used, total), FSID: f.opt.FSID}
	if node.Live() {
		for _, a := range f.up(n) {
			if q := f.quotas[a.id]; q != nil {
				s.TotalBytes = min(s.TotalBytes, q.Limit)
				s.FreeBytes = min(s.FreeBytes, q.Limit-min(f.used(a.id), q.Limit))
			}
		}
	}
	s.AvailBytes = s.FreeBytes
	s.SnapshotBytes = f.snapshotBytes(nil)
	s.TotalFiles = 1 << 48
	s.FreeFiles = s.TotalFiles - uint64(len(f.live))
	return s, nil
}

// snapshotBytes are the blocks that only snapshots have, those in without aside.
func (f *FS) snapshotBytes(without []fs.SnapshotID) uint64 {
	seen := map[*byte]bool{}
	count := func(t tree) (n uint64) {
		for _, i := range t {
			for _, s := range append(slices.Collect(maps.Values(i.streams)), &i.data) {
				for _, b := range s.blocks {
					if !seen[&b[0]] {
						seen[&b[0]] = true
						n++
					}
				}
			}
		}
		return n
	}
	count(f.live)
	n := uint64(0)
	for _, s := range f.snaps {
		if !slices.Contains(without, s.ID) {
			n += count(s.tree)
		}
	}
	return n * fs.BlockSize
}

// quotaDir finds a directory for a quota.
func (f *FS) quotaDir(op string, dir fs.FileID) error {
	_, _, err := f.dir(op, fs.Node{ID: dir})
	return err
}

func (f *FS) quota(op string, dir fs.FileID, revision uint64) (*fs.Quota, error) {
	if err := f.quotaDir(op, dir); err != nil {
		return nil, err
	}
	q := f.quotas[dir]
	switch {
	case q == nil:
		return nil, fs.E(op, fs.Node{ID: dir}, "", fs.NoAttr, nil)
	case revision != 0 && revision != q.Revision:
		return nil, fs.E(op, fs.Node{ID: dir}, "", fs.RevisionMismatch, nil)
	}
	return q, nil
}

func (f *FS) quotaAnswer(q *fs.Quota) fs.Quota {
	a := *q
	a.Used = f.used(q.Dir)
	return a
}

// Quota implements fs.Accounting.
func (f *FS) Quota(_ context.Context, dir fs.FileID) (fs.Quota, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	q, err := f.quota("get quota", dir, 0)
	if err != nil {
		return fs.Quota{}, err
	}
	return f.quotaAnswer(q), nil
}

// SetQuota implements fs.Accounting.
func (f *FS) SetQuota(_ context.Context, dir fs.FileID, limit uint64, create bool, revision uint64) (fs.Quota, error) {
	const op = "set quota"
	f.mu.Lock()
	defer f.mu.Unlock()
	if !create {
		q, err := f.quota(op, dir, revision)
		if err != nil {
			return fs.Quota{}, err
		}
		q.Limit = limit
		q.Revision++
		return f.quotaAnswer(q), nil
	}
	if err := f.quotaDir(op, dir); err != nil {
		return fs.Quota{}, err
	}
	if f.quotas[dir] != nil {
		return fs.Quota{}, fs.E(op, fs.Node{ID: dir}, "", fs.Exist, nil)
	}
	q := &fs.Quota{Dir: dir, Limit: limit, Revision: 1}
	f.quotas[dir] = q
	return f.quotaAnswer(q), nil
}

// RemoveQuota implements fs.Accounting.
func (f *FS) RemoveQuota(_ context.Context, dir fs.FileID, revision uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.quotas[dir] == nil {
		return fs.E("remove quota", fs.Node{ID: dir}, "", fs.NoAttr, nil)
	}
	if _, err := f.quota("remove quota", dir, revision); err != nil {
		return err
	}
	delete(f.quotas, dir)
	return nil
}

// ListQuotas implements fs.Accounting.
func (f *FS) ListQuotas(_ context.Context, after fs.FileID, yield func(*fs.Quota) bool) error {
	f.mu.Lock()
	var out []fs.Quota
	for _, id := range slices.Sorted(maps.Keys(f.quotas)) {
		if id > after {
			out = append(out, f.quotaAnswer(f.quotas[id]))
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
