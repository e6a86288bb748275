package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// quotaTable keeps what every quota's tree uses, exact at each commit, and what
// operations under way have reserved on top.
type quotaTable struct {
	count atomic.Int32
	mu    sync.Mutex
	dirs  map[fs.FileID]*quotaState

	// moving is held for writing while a rename brings a tree or file under
	// quotas that it was not under before, from the flush of what is buffered to
	// its commit, and for reading by what reserves and buffers: that was reserved
	// where it came from and would count where it goes. Taken before any inode's
	// gate and any transaction.
	moving sync.RWMutex
}

type quotaState struct {
	limit    uint64
	used     int64
	reserved int64
}

func (q *quotaTable) any() bool { return q.count.Load() > 0 }

func (q *quotaTable) has(dir fs.FileID) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dirs[dir] != nil
}

func (q *quotaTable) forget(dir fs.FileID) {
	if !q.any() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.dirs, dir)
	q.count.Store(int32(len(q.dirs)))
}

// loadQuotas rebuilds the table; nothing is pending at start.
func (f *FS) loadQuotas(ctx context.Context) error {
	return f.db.View(ctx, func(r *meta.Reader) error {
		qs, err := r.Quotas(ctx)
		if err != nil {
			return err
		}
		for dir, q := range qs {
			t, err := r.Totals(ctx, dir)
			if errors.Is(err, meta.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			f.quotas.dirs[dir] = &quotaState{limit: q.Limit, used: t.Capacity()}
		}
		f.quotas.count.Store(int32(len(f.quotas.dirs)))
		return nil
	})
}

// committed is told every change of totals after its commit.
func (f *FS) committed(dir fs.FileID, d meta.Delta) {
	n := d.Capacity()
	if n == 0 || !f.quotas.any() {
		return
	}
	// The commit is done whatever happens to its caller, so this has the
	// context of the file system.
	above, err := f.db.AncestorsOf(f.work, dir)
	if err != nil {
		return // removed meanwhile: the removal took its share along
	}
	f.quotas.mu.Lock()
	defer f.quotas.mu.Unlock()
	for _, a := range above {
		if q := f.quotas.dirs[a]; q != nil {
			q.used += n
		}
	}
}

// errReserved is a QuotaExceeded only for what buffered writes and operations
// under way have reserved, which may be more than they come to take.
var errReserved = fmt.Errorf("%w: counting what is reserved", fs.QuotaExceeded)

// exactly runs what reserves again when only reservations were in its way, with
// those of buffered writes turned into what they take.
func (f *FS) exactly(ctx context.Context, fn func() error) error {
	err := fn()
	if !errors.Is(err, errReserved) {
		return err
	}
	if err := f.io.FlushAll(ctx); err != nil {
		return err
	}
	return fn()
}

// reserve takes need bytes of every quota above dir, or fails with
// QuotaExceeded. Call release once the change is committed or given up.
func (f *FS) reserve(ctx context.Context, dir fs.FileID, need uint64) (release func(), err error) {
	if !f.quotas.any() || need == 0 {
		return func() {}, nil
	}
	above, err := f.db.AncestorsOf(ctx, dir)
	if err != nil {
		return nil, err
	}
	return f.reserveIn(above, int64(need))
}

func (f *FS) reserveIn(dirs []fs.FileID, need int64) (release func(), err error) {
	var held []*quotaState
	f.quotas.mu.Lock()
	defer f.quotas.mu.Unlock()
	for _, d := range dirs {
		q := f.quotas.dirs[d]
		if q == nil {
			continue
		}
		if q.used+q.reserved+need > int64(q.limit) {
			for _, h := range held {
				h.reserved -= need
			}
			if q.used+need > int64(q.limit) {
				return nil, fs.QuotaExceeded
			}
			return nil, errReserved
		}
		q.reserved += need
		held = append(held, q)
	}
	if len(held) == 0 {
		return func() {}, nil
	}
	return func() {
		f.quotas.mu.Lock()
		defer f.quotas.mu.Unlock()
		for _, h := range held {
			h.reserved -= need
		}
	}, nil
}

// still keeps what is above every directory as it is until the answer is called,
// as far as quotas are concerned. For what is short: renames wait for it, and
// with them whoever comes after.
func (q *quotaTable) still() (end func()) {
	if !q.any() {
		return func() {}
	}
	q.moving.RLock()
	return q.moving.RUnlock
}

// reserveMove takes what a rename brings into quotas it was not under before,
// less what it replaces there. Nothing is buffered until release is called.
func (f *FS) reserveMove(ctx context.Context, from fs.FileID, name string, to fs.FileID, toName string) (func(), error) {
	nothing := func() {}
	if from == to || !f.quotas.any() {
		return nothing, nil
	}
	src, err := f.db.AncestorsOf(ctx, from)
	if err != nil {
		return nil, err
	}
	dst, err := f.db.AncestorsOf(ctx, to)
	if err != nil {
		return nil, err
	}
	dst = slices.DeleteFunc(dst, func(d fs.FileID) bool { return slices.Contains(src, d) })
	if len(dst) == 0 {
		return nothing, nil
	}
	quota := func(d fs.FileID) bool { return f.quotas.has(d) }
	if !slices.ContainsFunc(dst, quota) {
		return nothing, nil
	}
	// Most is flushed while writers go on.
	if err := f.flushMove(ctx, from, name); err != nil {
		return nil, err
	}
	f.quotas.moving.Lock()
	release, err := f.reserveStill(ctx, dst, from, name, to, toName)
	if err != nil {
		f.quotas.moving.Unlock()
		return nil, err
	}
	return func() { release(); f.quotas.moving.Unlock() }, nil
}

// flushMove flushes what is buffered of what a rename moves: it was reserved
// where it is, and counts where it goes.
func (f *FS) flushMove(ctx context.Context, from fs.FileID, name string) error {
	var e meta.Dentry
	err := f.db.View(ctx, func(r *meta.Reader) (err error) {
		e, err = r.Dentry(ctx, from, name)
		return err
	})
	switch {
	case err != nil:
		return ignoreMissing(err) // the rename itself will say so
	case e.Type == fs.Directory:
		return f.io.FlushAll(ctx)
	}
	return f.io.Flush(ctx, e.ID)
}

// reserveStill is reserveMove for the directories dst, while nothing is buffered.
func (f *FS) reserveStill(ctx context.Context, dst []fs.FileID, from fs.FileID, name string, to fs.FileID, toName string) (func(), error) {
	nothing := func() {}
	if err := f.flushMove(ctx, from, name); err != nil {
		return nil, err
	}
	var need int64
	isDir := fs.FileID(0)
	err := f.db.View(ctx, func(r *meta.Reader) error {
		e, err := r.Dentry(ctx, from, name)
		if err != nil {
			return err
		}
		i, err := r.Inode(ctx, e.ID)
		if err != nil {
			return err
		}
		need, isDir = meta.ObjectDelta(i).Capacity(), 0
		if i.Type == fs.Directory {
			isDir = i.ID
		}
		old, err := r.Dentry(ctx, to, toName)
		if err != nil || old.ID == i.ID {
			return ignoreMissing(err)
		}
		o, err := r.Inode(ctx, old.ID)
		if err == nil && (o.Type == fs.Directory || o.Links == 1) {
			need -= meta.ObjectDelta(o).Capacity()
		}
		return ignoreMissing(err)
	})
	if errors.Is(err, meta.ErrNotFound) {
		return nothing, nil // the rename itself will say so
	}
	if err == nil && isDir != 0 {
		var t meta.Delta
		t, err = f.db.TotalsOf(ctx, 0, isDir)
		need += t.Capacity()
	}
	if err != nil {
		return nil, err
	}
	if need <= 0 {
		return nothing, nil
	}
	return f.reserveIn(dst, need)
}

func ignoreMissing(err error) error {
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	return err
}

// Quota implements fs.Accounting.
func (f *FS) Quota(ctx context.Context, dir fs.FileID) (fs.Quota, error) {
	var q fs.Quota
	err := f.db.View(ctx, func(r *meta.Reader) error {
		if _, err := f.directory(ctx, r, dir); err != nil {
			return err
		}
		rec, err := r.Quota(ctx, dir)
		if errors.Is(err, meta.ErrNotFound) {
			return fs.NoAttr
		}
		q = fs.Quota{Dir: dir, Limit: rec.Limit, Revision: rec.Revision}
		return err
	})
	f.fillUsed(&q)
	return q, wrap("quota", fs.Node{ID: dir}, "", err)
}

func (f *FS) fillUsed(q *fs.Quota) {
	f.quotas.mu.Lock()
	defer f.quotas.mu.Unlock()
	if s := f.quotas.dirs[q.Dir]; s != nil {
		q.Used = uint64(max(0, s.used))
	}
}

// SetQuota implements fs.Accounting.
func (f *FS) SetQuota(ctx context.Context, dir fs.FileID, limit uint64, create bool, revision uint64) (fs.Quota, error) {
	q := fs.Quota{Dir: dir, Limit: limit}
	if limit > 1<<62 {
		return q, wrap("set quota", fs.Node{ID: dir}, "", fs.Invalid)
	}
	// What is buffered without a reservation goes first.
	if err := f.io.FlushAll(ctx); err != nil {
		return q, wrap("set quota", fs.Node{ID: dir}, "", err)
	}
	// Exclusive: nothing commits between reading the totals and counting on.
	err := f.db.ExclusiveThen(ctx, func(tx *meta.Txn) error {
		if _, err := f.directory(ctx, tx, dir); err != nil {
			return err
		}
		rec, err := tx.Quota(ctx, dir)
		switch {
		case errors.Is(err, meta.ErrNotFound):
			if !create {
				return fs.NoAttr
			}
		case err != nil:
			return err
		case create:
			return fs.Exist
		case revision != 0 && revision != rec.Revision:
			return fs.RevisionMismatch
		}
		t, err := tx.Totals(ctx, dir)
		if err != nil {
			return err
		}
		q.Revision, q.Used = rec.Revision+1, uint64(max(0, t.Capacity()))
		return tx.PutQuota(dir, meta.QuotaRecord{Limit: limit, Revision: q.Revision})
	}, func() {
		f.quotas.mu.Lock()
		defer f.quotas.mu.Unlock()
		s := f.quotas.dirs[dir]
		if s == nil {
			s = &quotaState{}
			f.quotas.dirs[dir] = s
		}
		s.limit, s.used = limit, int64(q.Used)
		f.quotas.count.Store(int32(len(f.quotas.dirs)))
	})
	return q, wrap("set quota", fs.Node{ID: dir}, "", err)
}

// RemoveQuota implements fs.Accounting.
func (f *FS) RemoveQuota(ctx context.Context, dir fs.FileID, revision uint64) error {
	err := f.db.Update(ctx, func(tx *meta.Txn) error {
		rec, err := tx.Quota(ctx, dir)
		if errors.Is(err, meta.ErrNotFound) {
			return fs.NoAttr
		}
		if err != nil {
			return err
		}
		if revision != 0 && revision != rec.Revision {
			return fs.RevisionMismatch
		}
		tx.DeleteQuota(dir)
		return nil
	})
	if err == nil {
		f.quotas.forget(dir)
	}
	return wrap("remove quota", fs.Node{ID: dir}, "", err)
}

// ListQuotas implements fs.Accounting.
func (f *FS) ListQuotas(ctx context.Context, after fs.FileID, yield func(*fs.Quota) bool) error {
	var all []fs.Quota
	err := f.db.View(ctx, func(r *meta.Reader) error {
		all = all[:0]
		qs, err := r.Quotas(ctx)
		for dir, q := range qs {
			if dir > after {
				all = append(all, fs.Quota{Dir: dir, Limit: q.Limit, Revision: q.Revision})
			}
		}
		return err
	})
	if err != nil {
		return wrap("list quotas", fs.Node{}, "", err)
	}
	slices.SortFunc(all, func(a, b fs.Quota) int { return int(int64(a.Dir) - int64(b.Dir)) })
	for k := range all {
		f.fillUsed(&all[k])
		if !yield(&all[k]) {
			break
		}
	}
	return nil
}

func totalsOf(d meta.Delta) fs.Totals {
	u := func(n int64) uint64 { return uint64(max(0, n)) }
	return fs.Totals{DataBytes: u(d.DataBytes), MetaBytes: u(d.MetaBytes), LogicalBytes: u(d.LogicalBytes), Files: u(d.Files),
		Directories: u(d.Directories), Symlinks: u(d.Symlinks), Other: u(d.Other), Streams: u(d.Streams), StreamBytes: u(d.StreamBytes), WORM: u(d.WORM)}
}

// settle makes buffered sizes part of the totals.
func (f *FS) settle(ctx context.Context, n fs.Node) error {
	if !n.Live() {
		return nil
	}
	return f.io.FlushAll(ctx)
}

// TotalsOf implements fs.Accounting.
func (f *FS) TotalsOf(ctx context.Context, n fs.Node) (fs.Totals, error) {
	t, err := f.totalsOf(ctx, n)
	return t, wrap("totals", n, "", err)
}

func (f *FS) totalsOf(ctx context.Context, n fs.Node) (fs.Totals, error) {
	if n.Snap == fs.SnapshotDir {
		return fs.Totals{}, fs.Invalid
	}
	err := f.viewAt(ctx, n, func(_ *meta.Reader, i *meta.Inode) error {
		if i.Type != fs.Directory {
			return fs.NotDir
		}
		return nil
	})
	if err != nil {
		return fs.Totals{}, err
	}
	if err := f.settle(ctx, n); err != nil {
		return fs.Totals{}, err
	}
	d, err := f.db.TotalsOf(ctx, n.Snap, n.ID)
	d.MetaBytes += meta.MetaBytesPerObject // the directory itself
	return totalsOf(d), err
}

// ChildTotalsOf implements fs.Accounting.
func (f *FS) ChildTotalsOf(ctx context.Context, n fs.Node, yield func(*fs.ChildTotals) bool) error {
	if _, err := f.TotalsOf(ctx, n); err != nil { // rolls up, too
		return err
	}
	after := uint64(0)
	for {
		var page []fs.ChildTotals
		last := after
		err := f.viewAt(ctx, n, func(r *meta.Reader, _ *meta.Inode) error {
			page, last = page[:0], after
			for e, err := range r.Dentries(ctx, n.ID, after, readdirPage) {
				if err != nil {
					return err
				}
				last = e.Cookie
				i, err := f.inode(ctx, r, e.ID)
				if err != nil {
					return err
				}
				d := meta.ObjectDelta(i)
				if i.Type == fs.Directory {
					t, err := r.Totals(ctx, i.ID)
					if err != nil {
						return err
					}
					t.MetaBytes += meta.MetaBytesPerObject
					d = t
				}
				page = append(page, fs.ChildTotals{Name: e.Name, ID: e.ID, Type: e.Type, Totals: totalsOf(d)})
			}
			return nil
		})
		if err != nil {
			return wrap("child totals", n, "", err)
		}
		after = last
		for k := range page {
			if !yield(&page[k]) {
				return nil
			}
		}
		if len(page) < readdirPage {
			return nil
		}
	}
}

// StatFS implements fs.Accounting.
func (f *FS) StatFS(ctx context.Context, _ *fs.Caller, n fs.Node) (fs.StatFS, error) {
	free, total := f.space.free.Load(), f.space.total.Load()
	dirty := uint64(f.io.DirtyBytes())
	free -= min(free, f.o.ReserveBytes+dirty)
	s := fs.StatFS{TotalBytes: total, FreeBytes: free, AvailBytes: free, TotalFiles: 1 << 50, FSID: f.db.Superblock().UUID}
	root, err := f.db.TotalsOf(ctx, 0, fs.RootID)
	if err != nil {
		return s, wrap("statfs", n, "", err)
	}
	if s.SnapshotBytes, err = f.db.SnapshotBytes(ctx); err != nil {
		return s, wrap("statfs", n, "", err)
	}
	s.FreeFiles = s.TotalFiles - uint64(max(0, root.Files+root.Directories+root.Symlinks+root.Other))
	if !f.quotas.any() || !n.Live() {
		return s, nil
	}
	var dir fs.FileID
	err = f.viewAt(ctx, n, func(_ *meta.Reader, i *meta.Inode) error {
		dir = i.ID
		if i.Type != fs.Directory {
			dir = i.Parent
		}
		return nil
	})
	if err != nil || dir == 0 {
		return s, wrap("statfs", n, "", err)
	}
	above, err := f.db.AncestorsOf(ctx, dir)
	if err != nil {
		return s, wrap("statfs", n, "", err)
	}
	f.quotas.mu.Lock()
	defer f.quotas.mu.Unlock()
	for _, d := range above {
		q := f.quotas.dirs[d]
		if q == nil {
			continue
		}
		left := uint64(max(0, int64(q.limit)-q.used-q.reserved))
		s.TotalBytes = min(s.TotalBytes, q.limit)
		s.FreeBytes, s.AvailBytes = min(s.FreeBytes, left), min(s.AvailBytes, left)
	}
	return s, nil
}
