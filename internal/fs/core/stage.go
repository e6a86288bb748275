package core

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/fs/core/streamio"
	"manifold/internal/meta"
)

func newBoot() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}

// Stage implements fs.Staging.
func (f *FS) Stage(ctx context.Context, c *fs.Caller, s *fs.StageSpec) (fs.Node, error) {
	n, err := f.stage(ctx, c, s)
	return n, wrap("stage", s.Dir, "", err)
}

func (f *FS) stage(ctx context.Context, c *fs.Caller, s *fs.StageSpec) (fs.Node, error) {
	if err := writable(c, s.Dir); err != nil {
		return fs.Node{}, err
	}
	switch {
	case len(s.Owner) > fs.MaxStageOwner:
		return fs.Node{}, fs.NameTooLong
	case strings.IndexByte(s.Owner, 0) >= 0:
		return fs.Node{}, fs.Invalid
	}
	if err := f.roomFor(0); err != nil {
		return fs.Node{}, err
	}
	id, err := f.db.NewFileID(ctx)
	if err != nil {
		return fs.Node{}, err
	}
	err = f.db.Update(ctx, func(tx *meta.Txn) error {
		if _, err := f.directory(ctx, tx, s.Dir.ID); err != nil {
			return err
		}
		now := f.now()
		i := &meta.Inode{ID: id, Type: fs.File, Mode: 0o600, Owner: c.Cred.User, Group: c.Cred.Group,
			Atime: now, Mtime: now, Ctime: now, Btime: now, Change: 1, Data: meta.Stream{ID: fs.StreamID(id)}}
		tx.Stage(i, meta.StagedFor{Owner: s.Owner, Dir: s.Dir.ID, Boot: f.boot})
		return tx.PutInode(ctx, i)
	})
	return fs.Node{ID: id}, err
}

// stagedBy loads a staged file that the caller may give away.
func (f *FS) stagedBy(ctx context.Context, tx *meta.Txn, c *fs.Caller, id fs.FileID) (*meta.Inode, error) {
	i, err := f.inode(ctx, tx, id)
	switch {
	case err != nil:
		return nil, err
	case i.Staged == nil:
		return nil, fs.Stale
	case !owns(c, i):
		return nil, fs.Access
	}
	return i, nil
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
		if err := checkMetaKey(m.Space, m.Key, len(m.Value)); err != nil {
			return err
		}
	}
	if total > fs.MaxPublishMetaBytes {
		return fs.TooMany
	}
	return nil
}

// Publish implements fs.Staging.
func (f *FS) Publish(ctx context.Context, c *fs.Caller, staged, dir fs.Node, name fs.Name, p *fs.PublishSpec) (fs.PublishResult, error) {
	m := publication{f: f, c: c, staged: staged.ID, p: p, names: append([]fs.Entry{{Dir: dir, Name: name}}, p.Links...)}
	end, err := f.breachName(ctx, c, dir, name, func() error { return m.may(ctx) })
	if err != nil {
		return m.res, wrap("publish", dir, name, err)
	}
	defer end()
	moved, err := f.breachMoves(ctx, c, p.Moves, func() error { return m.may(ctx) })
	if err != nil {
		return m.res, wrap("publish", dir, name, err)
	}
	defer moved()
	inOrder := f.hub.orderOf(append(entriesOf(p.Moves), m.names...)...)
	err = f.exactly(ctx, func() error { return m.publish(ctx, staged) })
	if err == nil {
		m.at.tell()
	}
	inOrder()
	if err == nil {
		m.at.forget()
	}
	return m.res, wrap("publish", dir, name, err)
}

// publication is one Publish under way.
type publication struct {
	f      *FS
	c      *fs.Caller
	staged fs.FileID
	p      *fs.PublishSpec
	names  []fs.Entry // the first is the one that may be taken

	reserved int64 // of the quotas above the first

	at  *names // of the transaction
	res fs.PublishResult
}

// errMoreRoom says that more has to be reserved than was.
var errMoreRoom = errors.New("core: a publication needs more room")

// check refuses what is wrong in itself.
func (m *publication) check() error {
	if err := checkPublish(m.p); err != nil {
		return err
	}
	if err := writable(m.c); err != nil {
		return err
	}
	if err := checkMoves(m.c, m.p.Moves); err != nil {
		return err
	}
	for _, e := range m.names {
		if err := writable(m.c, e.Dir); err != nil {
			return err
		}
		if err := fs.CheckName(e.Name); err != nil {
			return err
		}
	}
	return nil
}

// settle makes the version of what is replaced count buffered writes, which a
// transaction does not see.
func (m *publication) settle(ctx context.Context) error {
	if m.p.Replaces == nil {
		return nil
	}
	return m.f.io.Flush(ctx, m.p.Replaces.ID)
}

// may tells whether the transaction would be refused.
func (m *publication) may(ctx context.Context) error {
	if err := m.check(); err != nil {
		return err
	}
	if err := m.settle(ctx); err != nil {
		return err
	}
	err := m.f.would(ctx, func(tx *meta.Txn) error { return m.run(ctx, tx) })
	if errors.Is(err, errMoreRoom) {
		return nil // which is asked last
	}
	return err
}

func (m *publication) publish(ctx context.Context, staged fs.Node) error {
	f := m.f
	if err := writable(m.c, staged); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	if err := m.settle(ctx); err != nil {
		return err
	}
	return f.io.Exclusive(ctx, m.staged, func() error {
		for range 16 {
			release, err := f.reserve(ctx, m.names[0].Dir.ID, uint64(m.reserved))
			if err != nil {
				return err
			}
			err = f.db.Update(ctx, func(tx *meta.Txn) error { return m.run(ctx, tx) })
			release()
			if !errors.Is(err, errMoreRoom) {
				return err
			}
		}
		return fs.Retry
	})
}

// run is the transaction.
func (m *publication) run(ctx context.Context, tx *meta.Txn) error {
	f, c := m.f, m.c
	m.res, m.at = fs.PublishResult{}, f.namesOf(c, tx, m.p.Within)
	i, err := f.stagedBy(ctx, tx, c, m.staged)
	if err != nil {
		return err
	}
	for k := range m.p.Moves {
		if err := m.at.move(ctx, &m.p.Moves[k]); err != nil {
			return err
		}
	}
	dirs, e, old, err := m.places(ctx)
	if err != nil {
		return err
	}
	d := dirs[0]
	if err := m.checkOld(ctx, tx, d.i, old); err != nil {
		return err
	}
	as, err := f.newInode(ctx, tx, c, d.i, m.staged, &fs.CreateSpec{Type: fs.File, Set: m.p.Set})
	if err != nil {
		return err
	}
	i.Owner, i.Group, i.Mode, i.ACL, i.DOS = as.Owner, as.Group, as.Mode, as.ACL, as.DOS
	if m.p.Set.Retention != nil || m.p.Set.LegalHold != nil {
		if err := f.applyLock(ctx, tx, c, i, &m.p.Set); err != nil {
			return err
		}
	}
	if old != nil {
		if err := m.at.remove(ctx, d, e, old); err != nil {
			return err
		}
		m.res.Replaced = fs.Node{ID: old.ID}
	}
	if err := m.room(i); err != nil {
		return err
	}
	if err := putMeta(ctx, tx, i, m.p.Meta); err != nil {
		return err
	}
	touchData(i, f.now())
	i.Atime, i.Btime = i.Ctime, i.Ctime
	setTimes(i, &m.p.Set)
	tx.Unstage(i)
	for k, n := range m.names {
		if err := m.at.add(ctx, dirs[k], n.Name, i); err != nil {
			return err
		}
	}
	if err := tx.PutInode(ctx, i); err != nil {
		return err
	}
	if err := m.at.finish(ctx); err != nil {
		return err
	}
	m.res.Attr = attrOf(fs.Node{ID: i.ID}, i)
	m.res.Dir = changed(d.before, d.i)
	return nil
}

// places loads the directory of each name, and what has the first.
func (m *publication) places(ctx context.Context) (dirs []*nameDir, e meta.Dentry, old *meta.Inode, err error) {
	for k, n := range m.names {
		for _, o := range m.names[:k] {
			if o == n {
				return nil, e, nil, fs.Exist
			}
		}
		d, there, err := m.at.place(ctx, n)
		if errors.Is(err, fs.Exist) && k == 0 {
			e = there
			old, err = m.at.object(ctx, e.ID)
		}
		if err != nil {
			return nil, e, nil, err
		}
		dirs = append(dirs, d)
	}
	return dirs, e, old, nil
}

// checkOld tells whether what has the name may be replaced.
func (m *publication) checkOld(ctx context.Context, tx *meta.Txn, d, old *meta.Inode) error {
	v := m.p.Replaces
	switch {
	case v != nil && (old == nil || old.ID != v.ID || v.Change != 0 && old.Change != v.Change):
		return fs.RevisionMismatch
	case old == nil:
		return nil
	case m.p.NoReplace:
		return fs.Exist
	case old.Type == fs.Directory:
		return fs.IsDir
	}
	if err := m.f.mayRemove(ctx, tx.View(), m.c, d, old); err != nil {
		return err
	}
	return m.f.checkWORM(old)
}

// room demands that what the quotas above count more is reserved.
func (m *publication) room(i *meta.Inode) error {
	if !m.f.quotas.any() {
		return nil
	}
	need := meta.ObjectDelta(i).Capacity()
	for _, o := range m.at.objects {
		if o.Links == 0 {
			need -= meta.ObjectDelta(o).Capacity()
		}
	}
	if need > m.reserved {
		m.reserved = need
		return errMoreRoom
	}
	return nil
}

// setTimes applies the times of s that it names; now is i's ctime.
func setTimes(i *meta.Inode, s *fs.SetAttr) {
	now := i.Ctime
	for _, t := range []struct {
		set *fs.TimeSet
		to  *fs.Time
	}{{s.Atime, &i.Atime}, {s.Mtime, &i.Mtime}, {s.Ctime, &i.Ctime}, {s.Btime, &i.Btime}} {
		switch {
		case t.set == nil:
		case t.set.Now:
			*t.to = now
		default:
			*t.to = t.set.Time
		}
	}
}

// reserveGrowth takes what a write to i needs from the quotas above it. A
// staged file must fit as a whole where it is going to be.
func (f *FS) reserveGrowth(ctx context.Context, i *meta.Inode, need uint64) (release func(), err error) {
	if i.Staged == nil {
		return f.reserve(ctx, i.Parent, need)
	}
	all, err := f.reserve(ctx, i.Staged.Dir, uint64(meta.ObjectDelta(i).Capacity()))
	if errors.Is(err, meta.ErrNotFound) {
		return func() {}, nil // that directory is gone
	}
	if err != nil {
		return nil, err
	}
	defer all()
	release, err = f.reserve(ctx, i.Staged.Dir, need)
	if errors.Is(err, meta.ErrNotFound) {
		return func() {}, nil
	}
	return release, err
}

// Splice implements fs.Staging.
func (f *FS) Splice(ctx context.Context, c *fs.Caller, dst fs.Node, parts []fs.Node) (uint64, error) {
	size, err := f.splice(ctx, c, dst, parts)
	return size, wrap("splice", dst, "", err)
}

func (f *FS) splice(ctx context.Context, c *fs.Caller, dst fs.Node, parts []fs.Node) (uint64, error) {
	if err := writable(c, dst); err != nil {
		return 0, err
	}
	a, err := f.GetAttr(ctx, c, dst, fs.AttrSize)
	if err != nil {
		return 0, err
	}
	err = f.db.Update(ctx, func(tx *meta.Txn) error {
		_, err := f.stagedBy(ctx, tx, c, dst.ID)
		return err
	})
	if err != nil {
		return a.Size, err
	}
	pieces := make([]streamio.Piece, len(parts))
	for k, p := range parts {
		if p == dst {
			return a.Size, fs.Invalid
		}
		if p.Snap == fs.SnapshotDir {
			return a.Size, fs.IsDir
		}
		pieces[k] = streamio.Piece{Node: p, Len: fs.MaxFileSize}
	}
	done, err := f.copyTo(ctx, c, dst, streamio.CopyTo{ID: dst.ID, End: true}, pieces)
	return a.Size + done, err
}

// Unstage implements fs.Staging.
func (f *FS) Unstage(ctx context.Context, c *fs.Caller, staged fs.Node) error {
	err := writable(c, staged)
	if err == nil {
		err = f.unstage(ctx, c, staged.ID)
	}
	return wrap("unstage", staged, "", err)
}

func (f *FS) unstage(ctx context.Context, c *fs.Caller, id fs.FileID) error {
	var held *openFile
	err := f.db.Update(ctx, func(tx *meta.Txn) error {
		i, err := f.stagedBy(ctx, tx, c, id)
		if err != nil {
			return err
		}
		if err := f.checkWORM(i); err != nil {
			return err
		}
		held = f.opens.peek(id)
		tx.Unstage(i)
		return tx.FreeInode(ctx, i, held != nil)
	})
	if err == nil {
		f.wentAway(id, held)
	}
	return err
}

// stagedPage is how many staged files one view reads.
const stagedPage = 200

// ListStaged implements fs.Staging.
func (f *FS) ListStaged(ctx context.Context, prefix string, after *fs.Staged, yield func(*fs.Staged) bool) error {
	var last *meta.StagedID
	if after != nil {
		last = &meta.StagedID{Owner: after.Owner, ID: after.Node.ID}
	}
	for {
		var rows []meta.StagedID
		var page []fs.Staged
		err := f.db.View(ctx, func(r *meta.Reader) error {
			page = page[:0]
			var err error
			if rows, err = r.Staged(ctx, prefix, last, stagedPage); err != nil {
				return err
			}
			for _, row := range rows {
				if row.Owner == "" {
					continue
				}
				i, err := r.Inode(ctx, row.ID)
				if err != nil {
					return err
				}
				page = append(page, fs.Staged{Owner: row.Owner, Node: fs.Node{ID: row.ID}, Dir: i.Staged.Dir, Size: i.Data.Size})
			}
			return nil
		})
		if err != nil {
			return wrap("list staged", fs.Node{}, prefix, err)
		}
		for k := range page {
			page[k].Size = f.io.StreamSize(page[k].Node.ID, 0, page[k].Size)
			if !yield(&page[k]) {
				return nil
			}
		}
		if len(rows) < stagedPage {
			return nil
		}
		last = &rows[len(rows)-1]
	}
}

// stageWorker frees once what an earlier process has staged and nobody owns.
func (f *FS) stageWorker(ctx context.Context) {
	var last *meta.StagedID
	f.steps(ctx, "staged files", func(ctx context.Context) (bool, error) {
		var stale []fs.FileID
		var rows []meta.StagedID
		err := f.db.View(ctx, func(r *meta.Reader) error {
			stale = stale[:0]
			var err error
			if rows, err = r.Staged(ctx, "\x00", last, stagedPage); err != nil {
				return err
			}
			for _, row := range rows {
				i, err := r.Inode(ctx, row.ID)
				if err != nil {
					return err
				}
				if i.Staged.Boot != f.boot {
					stale = append(stale, row.ID)
				}
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		for _, id := range stale {
			if err := f.unstage(ctx, fs.SystemCaller(), id); err != nil && fs.KindOf(err) != fs.Stale && fs.KindOf(err) != fs.WORM {
				return false, err
			}
		}
		if len(rows) > 0 {
			last = &rows[len(rows)-1]
		}
		return len(rows) == stagedPage, nil
	})
}
