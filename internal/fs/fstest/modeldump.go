package fstest

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"manifold/internal/fs"
)

func digest(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// year2000 divides times that were set by the model from those of a clock.
const year2000 = 946684800

func modelTime(t fs.Time) string {
	if t.Sec < year2000 {
		return fmt.Sprint(t.Sec, ".", t.Nsec)
	}
	return "now"
}

// describe renders what must be the same on both sides.
func describe(a fs.Attr) string {
	parent := a.Parent
	if a.Type != fs.Directory {
		parent = 0 // compared by path
	}
	return fmt.Sprintf("hold %v type %d mode %o links %d owner %x group %x size %d children %d streams %d rdev %d,%d dos %x mtime %s atime %s parent %v",
		a.LegalHold, a.Type, a.Mode, a.Links, a.Owner, a.Group, a.Size, a.Children, a.NamedStreams, a.RdevMajor, a.RdevMinor, a.DOS,
		modelTime(a.Mtime), modelTime(a.Atime), parent != 0)
}

func (m *model) sameAttr(what string, want, got fs.Attr) error {
	if err := m.sameNode(what, want.Node, got.Node); err != nil {
		return err
	}
	if a, b := describe(want), describe(got); a != b {
		return fmt.Errorf("%s: attributes\n  %s, should be\n  %s", what, b, a)
	}
	return nil
}

// dump renders all that can be seen of a tree, a line for each fact.
type dump struct {
	s     side
	names map[fs.FileID]fs.FileID // to the oracle's ids
	lines []string
}

func (m *model) compare() error {
	back := map[fs.FileID]fs.FileID{}
	for o, s := range m.ids {
		back[s] = o
	}
	dumps := [2]*dump{{s: side{m.oracle, m, false}}, {s: side{m.sut, m, true}, names: back}}
	for _, d := range dumps {
		if err := d.all(); err != nil {
			return err
		}
	}
	want, got := dumps[0].lines, dumps[1].lines
	for i := range max(len(want), len(got)) {
		var a, b string
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		if a != b {
			return fmt.Errorf("state differs:\n  is        %s\n  should be %s", b, a)
		}
	}
	return m.prune()
}

// prune forgets most of what is gone; a few stay, to be found stale.
func (m *model) prune() error {
	live := func(id fs.FileID) bool {
		_, err := m.oracle.GetAttr(m.ctx, m.system, fs.Node{ID: id}, 0)
		return err == nil || m.rnd.IntN(8) == 0
	}
	m.objects = slices.DeleteFunc(m.objects, func(id fs.FileID) bool { return !live(id) })
	m.dirs = slices.DeleteFunc(m.dirs, func(id fs.FileID) bool { return !slices.Contains(m.objects, id) })
	return nil
}

func (d *dump) line(format string, args ...any) {
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *dump) all() error {
	if err := d.tree("live", fs.Root); err != nil {
		return err
	}
	m := d.s.m
	var snaps []fs.Snapshot
	err := d.s.ListSnapshots(m.ctx, 0, func(s *fs.Snapshot) bool {
		if !s.InDelete {
			snaps = append(snaps, *s)
		}
		return true
	})
	if err != nil {
		return err
	}
	for i, s := range snaps {
		d.line("snapshot %d %s of %d", s.ID, s.Name, d.oracleID(s.Root))
		if err := d.tree(s.Name, fs.Node{ID: s.Root, Snap: s.ID}); err != nil {
			return err
		}
		for _, older := range snaps[:i] {
			if older.Root == s.Root {
				if err := d.diff(older, s); err != nil {
					return err
				}
			}
		}
	}
	if err := d.quotas(); err != nil {
		return err
	}
	for _, id := range m.objects {
		p, err := d.s.PathOf(m.ctx, d.s.node(fs.Node{ID: id}))
		if err != nil {
			p = fs.KindOf(err).String()
		}
		d.line("path of %d is %s", id, p)
	}
	return nil
}

// quotas checks what they count against the totals.
func (d *dump) quotas() error {
	var qs []fs.Quota
	err := d.s.ListQuotas(d.s.m.ctx, 0, func(q *fs.Quota) bool {
		qs = append(qs, *q)
		return true
	})
	if err != nil {
		return err
	}
	lines := make([]string, 0, len(qs))
	for _, q := range qs {
		t, err := d.s.TotalsOf(d.s.m.ctx, fs.Node{ID: q.Dir})
		if err != nil {
			return fmt.Errorf("totals of the quota of %d: %w", q.Dir, err)
		}
		if want := t.DataBytes + t.MetaBytes + t.StreamBytes - fs.BlockSize; q.Used != want {
			return fmt.Errorf("the quota of %d counts %d bytes, there are %d", d.oracleID(q.Dir), q.Used, want)
		}
		lines = append(lines, fmt.Sprintf("quota of %d is %d", d.oracleID(q.Dir), q.Limit))
	}
	slices.Sort(lines)
	d.lines = append(d.lines, lines...)
	return nil
}

func (d *dump) oracleID(id fs.FileID) fs.FileID {
	if d.names != nil {
		return d.names[id]
	}
	return id
}

func (d *dump) diff(a, b fs.Snapshot) error {
	return d.s.DiffSnapshots(d.s.m.ctx, a.ID, b.ID, "", func(e *fs.DiffEntry) bool {
		d.line("diff %d %d: %d %s %d", a.ID, b.ID, e.Op, e.Path, d.oracleID(e.ID))
		return true
	})
}

// tree renders a tree and its totals.
func (d *dump) tree(title string, root fs.Node) error {
	m := d.s.m
	a, err := d.s.GetAttr(m.ctx, m.system, root, fs.AttrEverything)
	if err != nil {
		return fmt.Errorf("root of %s: %w", title, err)
	}
	if a.Type != fs.Directory {
		return d.object(title, a)
	}
	if err := d.walk(title+":", a); err != nil {
		return err
	}
	// Once asked, what is buffered counts everywhere.
	if _, err := d.s.TotalsOf(m.ctx, root); err != nil {
		return fmt.Errorf("totals of %s: %w", title, err)
	}
	_, err = d.totals(title+":", a)
	return err
}

// walk renders a directory and all below it.
func (d *dump) walk(path string, a fs.Attr) error {
	m := d.s.m
	if err := d.object(path+"/", a); err != nil {
		return err
	}
	entries, err := d.entries(path, a.Node)
	if err != nil {
		return err
	}
	var byCookie []string
	if _, err := d.s.ReadDir(m.ctx, m.system, a.Node, 0, 0, func(e *fs.Dirent) bool {
		byCookie = append(byCookie, e.Name)
		return true
	}); err != nil {
		return err
	}
	slices.Sort(byCookie)
	d.line("%s lists %q", path, byCookie)
	if !a.Node.Live() {
		p, err := d.s.PathOf(m.ctx, a.Node)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		d.line("%s was %s", path, p)
		for _, dir := range m.dirs {
			if _, err := m.oracle.GetAttr(m.ctx, m.system, fs.Node{ID: dir, Snap: a.Node.Snap}, 0); err != nil {
				continue // above the snapshot, or not in it
			}
			in, err := d.s.Contains(m.ctx, d.s.id(dir), a.Node)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if in {
				d.line("%s is below %d", path, dir)
			}
		}
	}
	if a.Node.Live() {
		if err := d.browse(path, a.Node); err != nil {
			return err
		}
	}
	for _, e := range entries {
		child := path + "/" + e.Name
		got, err := d.s.GetAttr(m.ctx, m.system, e.Attr.Node, fs.AttrEverything)
		if err != nil {
			return fmt.Errorf("%s: %w", child, err)
		}
		if describe(got) != describe(e.Attr) || e.ID != got.Node.ID || e.Type != got.Type {
			return fmt.Errorf("%s is listed as %+v, but is %+v", child, e, got)
		}
		if e.Type == fs.Directory {
			err = d.walk(child, got)
		} else {
			err = d.object(child, got)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// browse renders which snapshots a directory offers, and that they lead where
// they should.
func (d *dump) browse(path string, dir fs.Node) error {
	m := d.s.m
	v, err := d.s.Lookup(m.ctx, m.system, dir, fs.SnapshotDirName, fs.AttrEverything)
	if err != nil {
		return fmt.Errorf("snapshots of %s: %w", path, err)
	}
	var names []string
	if _, err := d.s.ReadDir(m.ctx, m.system, v.Node, 0, 0, func(e *fs.Dirent) bool {
		names = append(names, e.Name)
		return true
	}); err != nil {
		return fmt.Errorf("snapshots of %s: %w", path, err)
	}
	slices.Sort(names)
	var above []string
	for _, name := range names {
		a, err := d.s.Lookup(m.ctx, m.system, v.Node, name, fs.AttrEverything)
		if err != nil || a.Node.ID != dir.ID || a.Node.Live() {
			return fmt.Errorf("snapshot %s of %s leads to %v: %w", name, path, a.Node, err)
		}
		// Whether it is offered where a directory has moved to is left open.
		s, err := d.s.Snapshot(m.ctx, a.Node.Snap)
		if err != nil {
			return fmt.Errorf("snapshot %s of %s: %w", name, path, err)
		}
		is, err := d.s.Contains(m.ctx, s.Root, dir)
		if is {
			above = append(above, name)
		} else if err != nil && fs.KindOf(err) != fs.Stale {
			return fmt.Errorf("snapshot %s of %s: %w", name, path, err)
		}
	}
	d.line("%s offers %q", path, above)
	return nil
}

func (d *dump) entries(path string, dir fs.Node) ([]fs.Dirent, error) {
	m := d.s.m
	var entries []fs.Dirent
	eof, err := d.s.ReadDirByName(m.ctx, m.system, dir, "", fs.AttrEverything, func(e *fs.Dirent) bool {
		entries = append(entries, *e)
		return true
	})
	if err == nil && !eof {
		err = errors.New("a full listing has no end")
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", path, err)
	}
	return entries, nil
}

// totals compares what an implementation says about every directory with a
// walk over what has its primary name there, and renders what does not depend
// on how data is stored.
func (d *dump) totals(path string, a fs.Attr) (fs.Totals, error) {
	m := d.s.m
	sum := fs.Totals{MetaBytes: a.MetaBytes}
	entries, err := d.entries(path, a.Node)
	if err != nil {
		return sum, err
	}
	counted := map[fs.FileID]bool{}
	for _, e := range entries {
		child := path + "/" + e.Name
		own, err := d.own(child, e.Attr)
		if err != nil {
			return sum, err
		}
		if e.Type == fs.Directory {
			below, err := d.totals(child, e.Attr)
			if err != nil {
				return sum, err
			}
			addTotals(&own, below)
		}
		if e.Attr.Parent == a.Node.ID && !counted[e.ID] {
			counted[e.ID] = true
			addTotals(&sum, own)
		}
	}
	got, err := d.s.TotalsOf(m.ctx, a.Node)
	if err != nil {
		return sum, fmt.Errorf("totals of %s: %w", path, err)
	}
	want := sum
	if got != want {
		// The directory's own streams may be counted in it or not.
		own, err := d.streams(path, a)
		if err != nil {
			return sum, err
		}
		addTotals(&want, own)
	}
	if got != want {
		return sum, fmt.Errorf("totals of %s are %+v, a walk finds %+v", path, got, want)
	}
	d.line("%s holds %d bytes in %d files, %d directories, %d symlinks, %d others", path, got.LogicalBytes, got.Files, got.Directories, got.Symlinks, got.Other)
	return sum, nil
}

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

// streams sums up the named streams of an object.
func (d *dump) streams(path string, a fs.Attr) (fs.Totals, error) {
	var t fs.Totals
	ss, err := d.s.Streams(d.s.m.ctx, d.s.m.system, a.Node)
	if err != nil {
		return t, fmt.Errorf("streams of %s: %w", path, err)
	}
	for _, s := range ss {
		t.Streams++
		t.StreamBytes += s.DataBytes
	}
	return t, nil
}

func (d *dump) own(path string, a fs.Attr) (fs.Totals, error) {
	t, err := d.streams(path, a)
	t.DataBytes, t.MetaBytes = a.DataBytes, a.MetaBytes
	switch a.Type {
	case fs.Directory:
		t.Directories, t.MetaBytes = 1, 0 // the rest comes from its own walk
	case fs.File:
		t.Files, t.LogicalBytes = 1, a.Size
		if a.LegalHold {
			t.WORM = 1
		}
	case fs.Symlink:
		t.Symlinks = 1
	default:
		t.Other = 1
	}
	return t, err
}

// object renders one object: attributes, contents, metadata, streams, ACL.
func (d *dump) object(path string, a fs.Attr) error {
	m, s := d.s.m, d.s
	d.line("%s is %d: %s", path, d.oracleID(a.Node.ID), describe(a))
	switch a.Type {
	case fs.File:
		data, err := readAll(m.ctx, s.FS, m.system, a.Node, 0)
		if shut(err) {
			d.line("%s is shut by an open", path)
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		d.line("%s has %d bytes %x", path, len(data), digest([]byte(data)))
		if err := d.holes(path, a, data); err != nil {
			return err
		}
	case fs.Symlink:
		target, err := s.Readlink(m.ctx, m.system, a.Node)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		d.line("%s leads to %x", path, target)
	}
	ss, err := s.Streams(m.ctx, m.system, a.Node)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	slices.SortFunc(ss, func(a, b fs.StreamInfo) int { return strings.Compare(a.Name, b.Name) })
	for _, x := range ss {
		data, err := readAll(m.ctx, s.FS, m.system, a.Node, x.ID)
		if err != nil {
			return fmt.Errorf("%s:%s: %w", path, x.Name, err)
		}
		d.line("%s:%s has %d bytes, %d of them %x", path, x.Name, x.Size, len(data), digest([]byte(data)))
	}
	for space := fs.MetaXattr; space <= fs.MetaS3; space++ {
		var keys []string
		if err := s.ListMeta(m.ctx, m.system, a.Node, space, "", func(k string, _ int) bool {
			keys = append(keys, k)
			return true
		}); err != nil {
			return fmt.Errorf("metadata of %s: %w", path, err)
		}
		for _, k := range keys {
			v, err := s.GetMeta(m.ctx, m.system, a.Node, space, k)
			if err != nil {
				return fmt.Errorf("metadata %q of %s: %w", k, path, err)
			}
			d.line("%s has %q in space %d: %x", path, k, space, v)
		}
	}
	acl, err := s.GetACL(m.ctx, m.system, a.Node)
	if err != nil {
		return fmt.Errorf("ACL of %s: %w", path, err)
	}
	d.line("%s has ACL %v", path, acl.Entries)
	return nil
}

// shut tells whether an open of the model's own forbids reading.
func shut(err error) bool { return err != nil && fs.KindOf(err) == fs.Sharing }

// holes checks that regions tile the file and holes are zeros.
func (d *dump) holes(path string, a fs.Attr, data string) error {
	pos := uint64(0)
	var bad error
	err := d.s.Regions(d.s.m.ctx, d.s.m.system, a.Node, 0, 0, func(r fs.Region) bool {
		end := r.Offset + r.Length
		if r.Offset != pos || r.Length == 0 || end > uint64(len(data)) {
			bad = fmt.Errorf("%s: region %+v comes at %d of %d", path, r, pos, len(data))
			return false
		}
		if r.Hole && strings.Trim(data[r.Offset:end], "\x00") != "" {
			bad = fmt.Errorf("%s: hole %+v has data", path, r)
			return false
		}
		pos = end
		return true
	})
	if err == nil {
		err = bad
	}
	if err == nil && pos != uint64(len(data)) && pos != 0 {
		err = fmt.Errorf("%s: regions end at %d of %d", path, pos, len(data))
	}
	return err
}
