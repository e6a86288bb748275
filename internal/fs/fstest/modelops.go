package fstest

import (
	"bytes"
	"fmt"
	"slices"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

type operation struct {
	weight int
	run    func(m *model) error
}

var operations = []operation{
	{30, (*model).create}, {18, (*model).write}, {8, (*model).read}, {14, (*model).setattr}, {5, (*model).zero}, {5, (*model).copy},
	{8, (*model).link}, {12, (*model).remove}, {16, (*model).rename}, {6, (*model).setMeta}, {8, (*model).streamOp}, {4, (*model).setACL},
	{6, (*model).open}, {10, (*model).handleOp}, {3, (*model).commit}, {4, (*model).lookup}, {4, (*model).access}, {4, (*model).snapshot},
	{8, (*model).publish}, {2, (*model).dropSnapshot}, {1, (*model).treeDelete}, {1, (*model).crash}, {2, (*model).hold}, {2, (*model).quota},
}

func (m *model) create() error {
	c, dir, name := m.caller(), m.dir(), m.name()
	spec := fs.CreateSpec{Type: fs.File, Want: fs.AttrEverything}
	switch m.rnd.IntN(10) {
	case 0, 1, 2:
		spec.Type = fs.Directory
	case 3:
		spec.Type, spec.Target = fs.Symlink, pattern(1, 1+m.rnd.IntN(100))
	case 4:
		spec.Type = []fs.Type{fs.FIFO, fs.Socket, fs.CharDevice}[m.rnd.IntN(3)]
	case 5:
		spec.Disposition = fs.CreateUnchecked
		if m.rnd.IntN(2) == 0 {
			spec.Set.Size = ptr(uint64(m.rnd.IntN(5000)))
		}
	case 6:
		spec.Disposition, spec.Verifier = fs.CreateExclusive, uint64(m.rnd.IntN(3))
	}
	if m.rnd.IntN(2) == 0 {
		spec.Set.Mode = ptr([]fs.Mode{0o777, 0o755, 0o700, 0o666, 0o644, 0o2777, 0o1777}[m.rnd.IntN(7)])
	}
	if m.rnd.IntN(4) == 0 {
		spec.Data = pattern(byte(m.rnd.IntN(256)), m.rnd.IntN(fs.MaxCreateData+100))
	}
	what := fmt.Sprintf("%s creates type %d %q in %v, disposition %d, %d bytes", user(c), spec.Type, name, dir, spec.Disposition, len(spec.Data))
	want, got, err := m.do(what, func(s side) (any, error) {
		spec := spec
		r, err := s.Create(m.ctx, c, s.node(dir), name, &spec)
		return &r, err
	})
	if err != nil || want == nil {
		return err
	}
	a, b := want.(*fs.CreateResult), got.(*fs.CreateResult)
	if a.Created != b.Created {
		return fmt.Errorf("%s: created %v, should be %v", what, b.Created, a.Created)
	}
	if err := m.know(a.Attr.Node.ID, b.Attr.Node.ID, spec.Type); err != nil {
		return err
	}
	return m.sameAttr(what, a.Attr, b.Attr)
}

func user(c *fs.Caller) string {
	u, _ := c.Cred.User.POSIX()
	return fmt.Sprint(u)
}

func (m *model) write() error {
	c, n := m.caller(), m.object()
	w := fs.WriteRequest{Offset: m.offset(), Data: m.bytes(), Append: m.rnd.IntN(8) == 0, Want: fs.AttrEverything, OwnerOverride: m.rnd.IntN(4) == 0}
	if m.rnd.IntN(2) == 0 {
		w.Stability = fs.FileSync
	}
	return m.both(fmt.Sprintf("%s writes %d at %d of %v, append %v, stability %d", user(c), len(w.Data), w.Offset, n, w.Append, w.Stability), func(s side) (any, error) {
		w := w
		r, err := s.Write(m.ctx, c, s.node(n), &w)
		if err != nil {
			return nil, err
		}
		if r.Committed < w.Stability {
			return nil, fmt.Errorf("committed only %d", r.Committed)
		}
		type answer struct {
			count        int
			off          uint64
			before, size uint64
		}
		return answer{r.Count, r.Offset, r.File.Before.Size, r.File.After.Size}, nil
	})
}

func (m *model) read() error {
	c, n, off, length := m.caller(), m.object(), m.offset(), m.rnd.IntN(20000)
	return m.both(fmt.Sprintf("%s reads %d at %d of %v", user(c), length, off, n), func(s side) (any, error) {
		buf := bytes.Repeat([]byte{0xee}, length)
		r, err := s.Read(m.ctx, c, s.node(n), &fs.ReadRequest{Offset: off}, buf)
		if err != nil {
			return nil, err
		}
		return fmt.Sprint(r.N, r.EOF, digest(buf[:r.N])), nil
	})
}

func (m *model) setattr() error {
	c, n := m.caller(), m.object()
	var s fs.SetAttr
	what := "sets "
	switch m.rnd.IntN(8) {
	case 0, 1, 2:
		s.Size = ptr(m.offset())
		what += fmt.Sprintf("size %d", *s.Size)
	case 3, 4:
		s.Mode = ptr([]fs.Mode{0o777, 0o755, 0o666, 0o600, 0o4755, 0o2777, 0o2755, 0o1777, 0}[m.rnd.IntN(9)])
		what += fmt.Sprintf("mode %o", *s.Mode)
	case 5:
		s.Owner = ptr(identity.UID([]uint32{0, 1000, 1001}[m.rnd.IntN(3)]))
		what += "owner"
	case 6:
		s.Group = ptr(identity.GID([]uint32{0, 1000, 1001, 2000}[m.rnd.IntN(4)]))
		what += "group"
	case 7:
		s.Mtime = &fs.TimeSet{Time: fs.Time{Sec: int64(m.rnd.IntN(1 << 28)), Nsec: uint32(m.rnd.IntN(1e9))}}
		s.Atime = &fs.TimeSet{Time: fs.Time{Sec: int64(m.rnd.IntN(1 << 28))}}
		what += "times"
	}
	return m.both(fmt.Sprintf("%s %s of %v", user(c), what, n), func(x side) (any, error) {
		s := s
		ch, err := x.SetAttr(m.ctx, c, x.node(n), &s)
		return fmt.Sprint(ch.After.Size, ch.After.Mode, ch.Before.Size), err
	})
}

func (m *model) zero() error {
	c, n, off, length := m.caller(), m.object(), m.offset(), uint64(m.rnd.IntN(30000))
	return m.both(fmt.Sprintf("%s zeroes %d at %d of %v", user(c), length, off, n), func(s side) (any, error) {
		_, err := s.Zero(m.ctx, c, s.node(n), 0, off, length)
		return nil, err
	})
}

func (m *model) copy() error {
	c, from, to, a, b, length := m.caller(), m.object(), m.object(), m.offset(), m.offset(), uint64(m.rnd.IntN(30000))
	return m.both(fmt.Sprintf("%s copies %d from %d of %v to %d of %v", user(c), length, a, from, b, to), func(s side) (any, error) {
		return s.CopyRange(m.ctx, c, s.node(from), 0, a, s.node(to), 0, b, length)
	})
}

func (m *model) link() error {
	c, n, dir, name := m.caller(), m.object(), m.dir(), m.name()
	return m.both(fmt.Sprintf("%s links %v as %q in %v", user(c), n, name, dir), func(s side) (any, error) {
		r, err := s.Link(m.ctx, c, s.node(n), s.node(dir), name)
		return r.Target.Links, err
	})
}

func (m *model) remove() error {
	c, dir, name, mode := m.caller(), m.dir(), m.name(), fs.RemoveMode(m.rnd.IntN(3))
	what := fmt.Sprintf("%s removes %q in %v, mode %d", user(c), name, dir, mode)
	want, got, err := m.do(what, func(s side) (any, error) {
		r, err := s.Remove(m.ctx, c, s.node(dir), name, mode)
		return &r, err
	})
	if err != nil || want == nil {
		return err
	}
	a, b := want.(*fs.RemoveResult), got.(*fs.RemoveResult)
	if a.Gone != b.Gone {
		return fmt.Errorf("%s: gone %v, should be %v", what, b.Gone, a.Gone)
	}
	return m.sameNode(what, a.Node, b.Node)
}

func (m *model) rename() error {
	c, from, to, name, newName := m.caller(), m.dir(), m.dir(), m.name(), m.name()
	if m.rnd.IntN(3) == 0 {
		to = from
	}
	o := fs.RenameOptions{NoReplace: m.rnd.IntN(6) == 0}
	what := fmt.Sprintf("%s renames %q in %v to %q in %v, no replace %v", user(c), name, from, newName, to, o.NoReplace)
	want, got, err := m.do(what, func(s side) (any, error) {
		r, err := s.Rename(m.ctx, c, s.node(from), name, s.node(to), newName, o)
		return &r, err
	})
	if err != nil || want == nil {
		return err
	}
	a, b := want.(*fs.RenameResult), got.(*fs.RenameResult)
	if err := m.sameNode(what, a.Node, b.Node); err != nil {
		return err
	}
	return m.sameNode(what+", replaced", a.Replaced, b.Replaced)
}

func (m *model) setMeta() error {
	c, n, key := m.caller(), m.object(), modelNames[m.rnd.IntN(4)]
	space := fs.MetaSpace(1 + m.rnd.IntN(4))
	if m.rnd.IntN(4) == 0 {
		return m.both(fmt.Sprintf("%s removes metadata %q of %v", user(c), key, n), func(s side) (any, error) {
			_, err := s.RemoveMeta(m.ctx, c, s.node(n), space, key)
			return nil, err
		})
	}
	v, mode := pattern(byte(m.rnd.Uint32()), m.rnd.IntN(50)), fs.MetaMode(m.rnd.IntN(3))
	return m.both(fmt.Sprintf("%s sets metadata %q of %v, mode %d", user(c), key, n, mode), func(s side) (any, error) {
		_, err := s.SetMeta(m.ctx, c, s.node(n), space, key, v, mode)
		return nil, err
	})
}

// streamOf picks a stream of the oracle's object, 0 if it has none.
func (m *model) streamOf(n fs.Node) fs.StreamID {
	ss, err := m.oracle.Streams(m.ctx, m.system, n)
	if err != nil || len(ss) == 0 {
		return 0
	}
	return ss[m.rnd.IntN(len(ss))].ID
}

func (m *model) streamOp() error {
	c, n := m.caller(), m.object()
	id := m.streamOf(n)
	if id == 0 || m.rnd.IntN(4) == 0 {
		name, exclusive := modelNames[m.rnd.IntN(5)], m.rnd.IntN(2) == 0
		want, got, err := m.do(fmt.Sprintf("%s creates stream %q of %v, exclusive %v", user(c), name, n, exclusive), func(s side) (any, error) {
			return s.CreateStream(m.ctx, c, s.node(n), name, exclusive)
		})
		if err == nil && want != nil {
			m.sids[want.(fs.StreamInfo).ID] = got.(fs.StreamInfo).ID
		}
		return err
	}
	switch m.rnd.IntN(5) {
	case 0:
		return m.both(fmt.Sprintf("%s removes stream %d of %v", user(c), id, n), func(s side) (any, error) {
			return nil, s.RemoveStream(m.ctx, c, s.node(n), s.stream(id))
		})
	case 1:
		name := modelNames[m.rnd.IntN(5)]
		return m.both(fmt.Sprintf("%s renames stream %d of %v to %q", user(c), id, n, name), func(s side) (any, error) {
			return nil, s.RenameStream(m.ctx, c, s.node(n), s.stream(id), name)
		})
	case 2:
		size := uint64(m.rnd.IntN(10000))
		return m.both(fmt.Sprintf("%s sets size %d of stream %d of %v", user(c), size, id, n), func(s side) (any, error) {
			_, err := s.SetStreamSize(m.ctx, c, s.node(n), s.stream(id), size)
			return nil, err
		})
	}
	w := fs.WriteRequest{Offset: uint64(m.rnd.IntN(10000)), Data: m.bytes(), Stability: fs.Stability(m.rnd.IntN(2)) * fs.FileSync}
	return m.both(fmt.Sprintf("%s writes %d at %d of stream %d of %v", user(c), len(w.Data), w.Offset, id, n), func(s side) (any, error) {
		w := w
		w.Stream = s.stream(id)
		r, err := s.Write(m.ctx, c, s.node(n), &w)
		return r.Count, err
	})
}

func (m *model) setACL() error {
	c, n := m.caller(), m.object()
	set := fs.ACL{Control: fs.ACLPresent}
	trustees := []identity.AuthID{identity.UID(1000), identity.UID(1001), identity.GID(2000), identity.Everyone, identity.CreatorOwner}
	rights := []fs.Rights{fs.RightsAll, fs.RightRead | fs.RightExecute, fs.RightsWriteData, fs.RightDelete, fs.RightWriteACL | fs.RightReadACL, fs.RightWriteAttr}
	for range m.rnd.IntN(4) {
		set.Entries = append(set.Entries, fs.ACE{
			Type: fs.ACEType(m.rnd.IntN(8) / 7), Flags: fs.ACEFlags(m.rnd.IntN(16)),
			Trustee: trustees[m.rnd.IntN(len(trustees))], Rights: rights[m.rnd.IntN(len(rights))],
		})
	}
	return m.both(fmt.Sprintf("%s sets ACL of %v to %v", user(c), n, set.Entries), func(s side) (any, error) {
		set := set
		ch, err := s.SetACL(m.ctx, c, s.node(n), &set)
		return ch.After.Mode, err
	})
}

func (m *model) open() error {
	if len(m.handles) >= 8 {
		return m.close(m.rnd.IntN(len(m.handles)))
	}
	c, dir := m.caller(), m.dir()
	o := fs.OpenSpec{
		Dir: dir, Name: modelNames[m.rnd.IntN(len(modelNames))], FoldCase: m.rnd.IntN(3) == 0, Disposition: fs.OpenDisposition(m.rnd.IntN(6)),
		Desired: []fs.Rights{fs.RightRead, fs.RightsWriteData, fs.RightRead | fs.RightsWriteData, fs.RightReadAttr, fs.RightRead | fs.RightDelete}[m.rnd.IntN(5)],
		Share:   fs.ShareAll, Create: fs.CreateSpec{Type: fs.File}, Want: fs.AttrEverything,
		Owner: fs.LockOwner{Client: "model"},
	}
	if m.rnd.IntN(4) == 0 {
		o.Share = fs.Share(m.rnd.IntN(8))
	}
	if o.Desired&fs.RightDelete != 0 {
		o.DeleteOnClose = m.rnd.IntN(2) == 0
	}
	what := fmt.Sprintf("%s opens %q in %v, disposition %d, rights %x, share %d, delete %v", user(c), o.Name, dir, o.Disposition, o.Desired, o.Share, o.DeleteOnClose)
	type answer struct {
		h fs.Handle
		r fs.OpenResult
	}
	want, got, err := m.do(what, func(s side) (any, error) {
		o := o
		o.Dir = s.node(dir)
		h, r, err := s.Open(m.ctx, c, &o)
		return answer{h, r}, err
	})
	if err != nil || want == nil {
		return err
	}
	a, b := want.(answer), got.(answer)
	m.handles = append(m.handles, &handles{a.h, b.h})
	if a.r.Action != b.r.Action || a.r.Granted != b.r.Granted {
		return fmt.Errorf("%s: action %d and rights %x, should be %d and %x", what, b.r.Action, b.r.Granted, a.r.Action, a.r.Granted)
	}
	if err := m.know(a.h.Node().ID, b.h.Node().ID, a.r.Attr.Type); err != nil {
		return err
	}
	return m.sameAttr(what, a.r.Attr, b.r.Attr)
}

func (m *model) close(i int) error {
	h := m.handles[i]
	m.handles = slices.Delete(m.handles, i, i+1)
	return m.both(fmt.Sprintf("closes %v", h.oracle.Node()), func(s side) (any, error) { return nil, s.handle(h).Close(m.ctx) })
}

func (m *model) handleOp() error {
	if len(m.handles) == 0 {
		return m.open()
	}
	i := m.rnd.IntN(len(m.handles))
	h := m.handles[i]
	n := h.oracle.Node()
	off := m.offset()
	switch m.rnd.IntN(8) {
	case 0, 1:
		return m.close(i)
	case 2:
		on := m.rnd.IntN(2) == 0
		return m.both(fmt.Sprintf("sets delete on close of %v to %v", n, on), func(s side) (any, error) {
			return nil, s.handle(h).SetDeleteOnClose(m.ctx, on)
		})
	case 3:
		size := m.offset()
		return m.both(fmt.Sprintf("sets size %d of open %v", size, n), func(s side) (any, error) {
			ch, err := s.handle(h).SetAttr(m.ctx, &fs.SetAttr{Size: &size})
			return ch.After.Size, err
		})
	case 4, 5:
		w := fs.WriteRequest{Offset: off, Data: m.bytes()}
		return m.both(fmt.Sprintf("writes %d at %d of open %v", len(w.Data), off, n), func(s side) (any, error) {
			w := w
			r, err := s.handle(h).Write(m.ctx, &w)
			return r.Count, err
		})
	case 6:
		return m.both(fmt.Sprintf("asks attributes of open %v", n), func(s side) (any, error) {
			a, err := s.handle(h).GetAttr(m.ctx, fs.AttrEverything)
			return fmt.Sprint(a.Size, a.Links, a.Mode), err
		})
	}
	return m.both(fmt.Sprintf("reads at %d of open %v", off, n), func(s side) (any, error) {
		buf := make([]byte, 5000)
		r, err := s.handle(h).Read(m.ctx, off, buf)
		return fmt.Sprint(r.N, r.EOF, digest(buf[:r.N])), err
	})
}

func (m *model) commit() error {
	c, n := m.caller(), m.object()
	return m.both(fmt.Sprintf("%s commits %v", user(c), n), func(s side) (any, error) {
		_, _, err := s.Commit(m.ctx, c, s.node(n), 0, 0, 0)
		return nil, err
	})
}

func (m *model) lookup() error {
	c, dir, name := m.caller(), m.dir(), m.name()
	what := fmt.Sprintf("%s looks up %q in %v", user(c), name, dir)
	fold := m.rnd.IntN(2) == 0
	want, got, err := m.do(what, func(s side) (any, error) {
		if fold {
			a, _, err := s.LookupFold(m.ctx, c, s.node(dir), name, fs.AttrEverything)
			return a, err
		}
		return s.Lookup(m.ctx, c, s.node(dir), name, fs.AttrEverything)
	})
	if err != nil || want == nil {
		return err
	}
	a, b := want.(fs.Attr), got.(fs.Attr)
	if a.Node.Snap == fs.SnapshotDir {
		return m.sameNode(what, a.Node, b.Node)
	}
	return m.sameAttr(what, a, b)
}

func (m *model) access() error {
	c, n := m.caller(), m.object()
	return m.both(fmt.Sprintf("%s asks for access to %v", user(c), n), func(s side) (any, error) {
		return s.Access(m.ctx, c, s.node(n), fs.RightsAll&^fs.RightReadAttr)
	})
}

func (m *model) snapshot() error {
	if len(m.snaps) >= 6 {
		return m.dropSnapshot()
	}
	dir := m.recent(m.dirs)
	if m.rnd.IntN(3) == 0 {
		dir = fs.RootID
	}
	want, got, err := m.do(fmt.Sprintf("snapshot of %d", dir), func(s side) (any, error) {
		return s.TakeSnapshot(m.ctx, fs.SnapshotSpec{Root: s.id(dir)})
	})
	if err != nil || want == nil {
		return err
	}
	a, b := want.(fs.Snapshot), got.(fs.Snapshot)
	if a.ID != b.ID || a.Name != b.Name || a.Path != b.Path {
		return fmt.Errorf("snapshot %+v, should be %+v", b, a)
	}
	m.snaps = append(m.snaps, a.ID)
	return nil
}

// dropSnapshot deletes any of them, not only the oldest.
func (m *model) dropSnapshot() error {
	if len(m.snaps) == 0 {
		return nil
	}
	i := m.rnd.IntN(len(m.snaps))
	id := m.snaps[i]
	m.snaps = slices.Delete(m.snaps, i, i+1)
	return m.both(fmt.Sprintf("deletes snapshot %d", id), func(s side) (any, error) { return nil, s.DeleteSnapshot(m.ctx, id) })
}

func (m *model) treeDelete() error {
	c, dir := m.callers[0], m.recent(m.dirs)
	if dir == fs.RootID {
		return nil
	}
	want, _, err := m.do(fmt.Sprintf("deletes tree %d", dir), func(s side) (any, error) {
		j, err := s.StartTreeDelete(m.ctx, c, s.id(dir))
		return j.InitialPath, err
	})
	if err != nil || want == nil {
		return err
	}
	return m.settle("end of the tree deletion", func() bool {
		_, err := m.sut.TreeDelete(m.ctx, m.ids[dir])
		return err != nil
	})
}

// hold puts a file under legal hold, or ends that.
func (m *model) hold() error {
	n, on := m.object(), m.rnd.IntN(3) == 0
	return m.both(fmt.Sprintf("sets legal hold of %v to %v", n, on), func(s side) (any, error) {
		ch, err := s.SetAttr(m.ctx, m.system, s.node(n), &fs.SetAttr{LegalHold: &on})
		return ch.After.LegalHold, err
	})
}

// quota sets quotas that nothing exceeds: when blocks are taken differs between
// implementations. What they count must be exact.
func (m *model) quota() error {
	dir, create := m.recent(m.dirs), m.rnd.IntN(2) == 0
	if m.rnd.IntN(4) == 0 {
		return m.both(fmt.Sprintf("removes the quota of %d", dir), func(s side) (any, error) {
			return nil, s.RemoveQuota(m.ctx, s.id(dir), 0)
		})
	}
	limit := uint64(1<<40 + m.rnd.IntN(1000))
	return m.both(fmt.Sprintf("sets a quota of %d, new %v", dir, create), func(s side) (any, error) {
		q, err := s.SetQuota(m.ctx, s.id(dir), limit, create, 0)
		return q.Limit, err
	})
}

// crash commits everything first: what is stable must survive.
func (m *model) crash() error {
	c, ok := m.sut.(Crasher)
	if !ok {
		return nil
	}
	m.log = append(m.log, "crash")
	for _, id := range m.objects {
		for _, s := range []side{{m.oracle, m, false}, {m.sut, m, true}} {
			n := s.node(fs.Node{ID: id})
			_, _, _ = s.Commit(m.ctx, m.system, n, 0, 0, 0) // what is no file, or gone, needs none
			ss, err := s.Streams(m.ctx, m.system, n)
			if err != nil {
				continue
			}
			for _, x := range ss {
				if _, _, err := s.Commit(m.ctx, m.system, n, x.ID, 0, 0); err != nil {
					return err
				}
			}
		}
	}
	m.oracle.Crash()
	c.Crash()
	m.handles = nil
	return m.compare()
}

// publish stages a file, fills it from bytes and from other files, and gives it
// a name, or frees it when that is refused.
func (m *model) publish() error {
	c, dir, name := m.caller(), m.dir(), m.name()
	data, from, off, length := m.bytes(), m.object(), m.offset(), uint64(m.rnd.IntN(30000))
	p := fs.PublishSpec{NoReplace: m.rnd.IntN(4) == 0, Want: fs.AttrEverything}
	if m.rnd.IntN(2) == 0 {
		p.Set.Mode = ptr([]fs.Mode{0o777, 0o755, 0o600, 0o644}[m.rnd.IntN(4)])
	}
	if m.rnd.IntN(3) == 0 {
		p.Meta = []fs.MetaItem{{Space: fs.MetaS3, Key: "k", Value: m.bytes()}}
	}
	splice, crossed := m.rnd.IntN(2) == 0, m.rnd.IntN(4) == 0
	links := m.rnd.IntN(4) == 0
	linkDir, linkName := m.dir(), m.name()
	what := fmt.Sprintf("%s publishes %d bytes and %d from %d of %v as %q in %v, no replace %v, splice %v", user(c), len(data), length, off, from, name, dir, p.NoReplace, splice)
	want, got, err := m.do(what, func(s side) (any, error) {
		n, err := s.Stage(m.ctx, c, &fs.StageSpec{Dir: fs.Root})
		if err != nil {
			return nil, err
		}
		r, err := func() (fs.PublishResult, error) {
			if _, err := s.Write(m.ctx, c, n, &fs.WriteRequest{Data: data}); err != nil {
				return fs.PublishResult{}, err
			}
			switch {
			case splice:
				_, err = s.Splice(m.ctx, c, n, []fs.Node{s.node(from)})
			default:
				_, err = s.CopyRange(m.ctx, c, s.node(from), 0, off, n, 0, uint64(len(data)), length)
			}
			if err != nil && !crossed {
				return fs.PublishResult{}, err
			}
			p := p
			if links {
				p.Links = []fs.Entry{{Dir: s.node(linkDir), Name: linkName}}
			}
			return s.Publish(m.ctx, c, n, s.node(dir), name, &p)
		}()
		if err != nil {
			if uerr := s.Unstage(m.ctx, c, n); uerr != nil {
				return nil, uerr
			}
			return nil, err
		}
		return &r, nil
	})
	if err != nil || want == nil {
		return err
	}
	a, b := want.(*fs.PublishResult), got.(*fs.PublishResult)
	if err := m.know(a.Attr.Node.ID, b.Attr.Node.ID, fs.File); err != nil {
		return err
	}
	if err := m.sameNode(what+", replaced", a.Replaced, b.Replaced); err != nil {
		return err
	}
	return m.sameAttr(what, a.Attr, b.Attr)
}
