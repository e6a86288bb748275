package fstest

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// eventually waits for what an implementation does in the background.
func (e *env) eventually(what string, done func() bool) {
	e.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			e.Fatalf("%s does not happen", what)
		}
		runtime.Gosched()
	}
}

var snapshotTests = []test{
	{"bytes", func(e *env) {
		const size = 256 << 10
		whole := strings.Repeat("0123456789abcdef", size/16)
		kept := func() uint64 {
			s, err := e.StatFS(e.ctx, e.root, fs.Root)
			e.must(err)
			return s.SnapshotBytes
		}
		a, b := e.file(e.home, "a", whole), e.file(e.home, "b", whole)
		eq(e, "without snapshots", kept(), 0)
		s1 := e.snapshot(e.home)
		eq(e, "of what is there, too", kept(), 0)
		e.write(a, 0, strings.ToUpper(whole))
		eq(e, "of what was overwritten", kept(), size)
		_, err := e.Remove(e.ctx, e.root, e.home, "b", fs.RemoveFile)
		e.must(err)
		e.eventually("counting of what was removed", func() bool { return kept() == 2*size })
		s2 := e.snapshot(e.home)
		e.write(a, 0, whole)
		eq(e, "of both snapshots", kept(), 3*size)
		_, err = e.SetAttr(e.ctx, e.root, a, &fs.SetAttr{Size: ptr(uint64(0))})
		e.must(err)
		eq(e, "of what no snapshot has", kept(), 3*size)
		keep := func(what string, want uint64, of ...fs.SnapshotID) {
			e.Helper()
			n, err := e.SnapshotsKeep(e.ctx, of)
			e.must(err)
			eq(e, "kept by "+what, n, want)
		}
		keep("none", 0)
		keep("the first", 2*size, s1.ID)
		keep("the second", size, s2.ID)
		keep("both", 3*size, s2.ID, s1.ID, s2.ID)
		// What both have goes with neither alone.
		c := e.file(e.home, "c", whole)
		s3, s4 := e.snapshot(e.home), e.snapshot(e.home)
		_, err = e.Remove(e.ctx, e.root, e.home, "c", fs.RemoveFile)
		e.must(err)
		e.eventually("counting of what both keep", func() bool { return kept() == 4*size })
		keep("the third", 0, s3.ID)
		keep("the fourth", 0, s4.ID)
		keep("the third and the fourth", size, s3.ID, s4.ID)
		keep("all", 4*size, s1.ID, s2.ID, s3.ID, s4.ID)
		e.hasContent(at(c, s3), whole)
		_, err = e.SnapshotsKeep(e.ctx, []fs.SnapshotID{s1.ID, s4.ID + 1000})
		e.want(err, fs.NotExist)
		e.must(e.DeleteSnapshot(e.ctx, s4.ID))
		e.eventually("what the fourth had", func() bool {
			n, err := e.SnapshotsKeep(e.ctx, []fs.SnapshotID{s3.ID})
			e.must(err)
			return n == size
		})
		e.must(e.DeleteSnapshot(e.ctx, s3.ID))
		e.eventually("release of the third and fourth", func() bool { return kept() == 3*size })
		e.hasContent(at(b, s1), whole)
		e.must(e.DeleteSnapshot(e.ctx, s1.ID))
		e.eventually("release of the first", func() bool { return kept() == size })
		e.hasContent(at(a, s2), strings.ToUpper(whole))
		e.must(e.DeleteSnapshot(e.ctx, s2.ID))
		e.eventually("release of the second", func() bool { return kept() == 0 })
	}},
	{"records", func(e *env) {
		d := e.mkdir(e.home, "d")
		exp := time.Now().Add(time.Hour).Round(0).UTC()
		s, err := e.TakeSnapshot(e.ctx, fs.SnapshotSpec{Root: d.ID, Suffix: "daily", Expires: exp, Policy: 7})
		e.must(err)
		eq(e, "name", s.Name, fmt.Sprintf("%d_daily", s.ID))
		eq(e, "path", s.Path, "/home/d")
		eq(e, "root", s.Root, d.ID)
		eq(e, "policy", s.Policy, 7)
		if !s.Expires.Equal(exp) || s.Created.IsZero() {
			e.Fatalf("times of %+v", s)
		}
		t := e.snapshot(e.home)
		eq(e, "name", t.Name, fmt.Sprintf("%d_OnDemand", t.ID))
		if t.ID <= s.ID || s.ID == 0 {
			e.Fatalf("ids %d, %d", s.ID, t.ID)
		}
		got, err := e.Snapshot(e.ctx, s.ID)
		e.must(err)
		eq(e, "name", got.Name, s.Name)
		list := func(after fs.SnapshotID) (ids []fs.SnapshotID) {
			e.must(e.ListSnapshots(e.ctx, after, func(s *fs.Snapshot) bool { ids = append(ids, s.ID); return true }))
			return ids
		}
		if got := list(0); !slices.Equal(got, []fs.SnapshotID{s.ID, t.ID}) {
			e.Fatalf("list %v", got)
		}
		if got := list(s.ID); !slices.Equal(got, []fs.SnapshotID{t.ID}) {
			e.Fatalf("list after the first %v", got)
		}
		_, err = e.Snapshot(e.ctx, 99)
		e.want(err, fs.NotExist)
		e.want(e.DeleteSnapshot(e.ctx, 99), fs.NotExist)
		_, err = e.TakeSnapshot(e.ctx, fs.SnapshotSpec{Root: 1 << 40})
		e.want(err, fs.Stale)
		_, err = e.TakeSnapshot(e.ctx, fs.SnapshotSpec{Root: d.ID, Suffix: "a/b"})
		e.want(err, fs.NameInvalid)
	}},
	{"modify_and_delete", func(e *env) {
		s, err := e.TakeSnapshot(e.ctx, fs.SnapshotSpec{Root: e.home.ID, Owners: []string{"replication"}})
		e.must(err)
		e.want(e.DeleteSnapshot(e.ctx, s.ID), fs.Busy)
		s.Owners = nil
		stale := s
		s, err = e.ModifySnapshot(e.ctx, s)
		e.must(err)
		stale.Revision = s.Revision - 1
		_, err = e.ModifySnapshot(e.ctx, stale)
		e.want(err, fs.RevisionMismatch)
		s.LockKey, s.Expires = "key", time.Now().Add(time.Hour)
		s, err = e.ModifySnapshot(e.ctx, s)
		e.must(err)
		e.want(e.DeleteSnapshot(e.ctx, s.ID), fs.Busy)
		sooner := s
		sooner.Expires = s.Expires.Add(-time.Minute)
		_, err = e.ModifySnapshot(e.ctx, sooner)
		e.want(err, fs.Busy)
		s.Expires = s.Expires.Add(time.Minute)
		s, err = e.ModifySnapshot(e.ctx, s)
		e.must(err)
		u := e.snapshot(e.home)
		f := at(e.home, u)
		e.must(e.DeleteSnapshot(e.ctx, u.ID))
		_, err = e.GetAttr(e.ctx, e.root, f, 0)
		e.want(err, fs.Stale)
		_, err = e.Lookup(e.ctx, e.root, fs.Node{ID: e.home.ID, Snap: fs.SnapshotDir}, u.Name, 0)
		e.want(err, fs.NotExist)
		e.eventually("end of deletion", func() bool {
			_, err := e.Snapshot(e.ctx, u.ID)
			return err != nil
		})
	}},
	{"browsing", func(e *env) {
		d := e.mkdir(e.home, "d")
		sub := e.mkdir(d, "sub")
		f := e.file(sub, "f", "old")
		other := e.mkdir(e.home, "other")
		s := e.snapshot(d)
		e.write(f, 0, "new")
		// In the snapshotted directory and below; not above or beside.
		for _, dir := range []fs.Node{d, sub} {
			v := e.lookup(dir, ".snapshot")
			eq(e, "type", v.Type, fs.Directory)
			eq(e, "node", v.Node, fs.Node{ID: dir.ID, Snap: fs.SnapshotDir})
			eq(e, "its ..", e.lookup(v.Node, "..").Node, dir)
			e.has(v.Node, s.Name)
			eq(e, "snapshot", e.lookup(v.Node, s.Name).Node, at(dir, s))
			e.missing(v.Node, "no")
		}
		for _, dir := range []fs.Node{e.home, other, fs.Root} {
			e.has(e.lookup(dir, ".snapshot").Node)
			e.missing(fs.Node{ID: dir.ID, Snap: fs.SnapshotDir}, s.Name)
		}
		// Not listed, not within a snapshot.
		e.has(d, "sub")
		e.missing(at(d, s), ".snapshot")
		r, err := e.Resolve(e.ctx, e.root, "/home/d/.snapshot/"+s.Name+"/sub/f", fs.AttrBasic)
		e.must(err)
		eq(e, "node", r.Node, at(f, s))
		e.hasContent(r.Node, "old")
		eq(e, ".. in the snapshot", e.lookup(at(sub, s), "..").Node, at(d, s))
		eq(e, ".. of its root", e.lookup(at(d, s), "..").Node, fs.Node{ID: d.ID, Snap: fs.SnapshotDir})
		eq(e, ". in the snapshot", e.lookup(at(sub, s), ".").Node, at(sub, s))
		p, err := e.PathOf(e.ctx, at(f, s))
		e.must(err)
		eq(e, "path", p, "/home/d/sub/f")
		// What came later has no snapshots.
		e.has(e.lookup(e.mkdir(d, "later"), ".snapshot").Node)
		_, err = e.Create(e.ctx, e.root, fs.Node{ID: d.ID, Snap: fs.SnapshotDir}, "x", &fs.CreateSpec{Type: fs.Directory})
		e.want(err, fs.ReadOnly)
	}},
	{"what_is_above_may_change", func(e *env) {
		a := e.mkdir(e.home, "a")
		d := e.mkdir(a, "d")
		sub := e.mkdir(d, "sub")
		f := e.file(sub, "f", "old")
		s := e.snapshot(d)
		e.file(a, "later", "")
		_, err := e.rename(e.home, "a", e.home, "b")
		e.must(err)
		e.file(e.home, "later", "")
		for _, dir := range []fs.Node{d, sub} {
			e.has(e.lookup(dir, ".snapshot").Node, s.Name)
			eq(e, "snapshot", e.lookup(fs.Node{ID: dir.ID, Snap: fs.SnapshotDir}, s.Name).Node, at(dir, s))
		}
		p, err := e.PathOf(e.ctx, at(f, s))
		e.must(err)
		eq(e, "path", p, "/home/a/d/sub/f")
		p, err = e.PathOf(e.ctx, at(d, s))
		e.must(err)
		eq(e, "path of the root", p, "/home/a/d")
		for dir, want := range map[fs.Node]bool{fs.Root: true, e.home: true, a: true, d: true, sub: true, e.mkdir(e.home, "x"): false} {
			got, err := e.Contains(e.ctx, dir.ID, at(f, s))
			e.must(err)
			eq(e, fmt.Sprintf("%v contains it", dir), got, want)
		}
		r, err := e.Resolve(e.ctx, e.root, "/home/b/d/sub/.snapshot/"+s.Name+"/f", fs.AttrType)
		e.must(err)
		e.hasContent(r.Node, "old")
	}},
	{"exact", func(e *env) {
		d := e.mkdir(e.home, "d")
		sub := e.mkdir(d, "sub")
		f := e.file(sub, "f", strings.Repeat("old", 3000))
		g := e.file(d, "g", "removed later")
		e.symlink(d, "s", "target")
		_, err := e.Link(e.ctx, e.root, f, d, "hard")
		e.must(err)
		e.chown(f, 5, 6)
		s := e.snapshot(d)
		was := e.attr(f)
		e.write(f, 4000, "new")
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Mode: ptr(fs.Mode(0)), Owner: ptr(identity.UID(9)), Mtime: &fs.TimeSet{Time: fs.Time{Sec: 1}}})
		e.must(err)
		_, err = e.Remove(e.ctx, e.root, d, "g", fs.RemoveAny)
		e.must(err)
		_, err = e.Remove(e.ctx, e.root, d, "s", fs.RemoveAny)
		e.must(err)
		_, err = e.rename(d, "sub", e.home, "moved")
		e.must(err)
		e.file(sub, "later", "")
		_, err = e.rename(d, "hard", sub, "f2")
		e.must(err)
		e.has(at(d, s), "g", "hard", "s", "sub")
		e.has(at(sub, s), "f")
		a := e.attr(at(f, s))
		a.Node = was.Node
		e.same("file in the snapshot", was, a)
		e.hasContent(at(f, s), strings.Repeat("old", 3000))
		e.hasContent(at(g, s), "removed later")
		l, err := e.Readlink(e.ctx, e.root, e.lookup(at(d, s), "s").Node)
		e.must(err)
		eq(e, "target", string(l), "target")
		eq(e, "hard link", e.lookup(at(d, s), "hard").Node, at(f, s))
		// All of it goes; the snapshot stays.
		for _, n := range []string{"f", "f2", "later"} {
			_, err = e.Remove(e.ctx, e.root, sub, n, fs.RemoveAny)
			e.must(err)
		}
		_, err = e.Remove(e.ctx, e.root, e.home, "moved", fs.RemoveAny)
		e.must(err)
		_, err = e.Remove(e.ctx, e.root, e.home, "d", fs.RemoveAny)
		e.must(err)
		e.hasContent(at(f, s), strings.Repeat("old", 3000))
		e.has(at(sub, s), "f")
		e.must(e.DeleteSnapshot(e.ctx, s.ID))
		_, err = e.GetAttr(e.ctx, e.root, at(f, s), 0)
		e.want(err, fs.Stale)
	}},
	{"several", func(e *env) {
		f := e.file(e.home, "f", "")
		const n = 8
		var snaps []fs.Snapshot
		for i := range n {
			e.write(f, uint64(i*5000), fmt.Sprint("version", i))
			snaps = append(snaps, e.snapshot(e.home))
		}
		check := func(except ...int) {
			e.Helper()
			for i, s := range snaps {
				if slices.Contains(except, i) {
					continue
				}
				eq(e, "size", e.attr(at(f, s)).Size, uint64(i*5000+8))
				got := e.content(at(f, s), 0)
				for k := range i + 1 {
					if got[k*5000:k*5000+8] != fmt.Sprint("version", k) {
						e.Fatalf("snapshot %d at %d: %q", i, k, got[k*5000:k*5000+8])
					}
				}
			}
		}
		check()
		var gone []int
		for _, i := range []int{3, 0, 7, 4, 5} {
			e.must(e.DeleteSnapshot(e.ctx, snaps[i].ID))
			gone = append(gone, i)
			check(gone...)
		}
		_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(0))})
		e.must(err)
		check(gone...)
	}},
	{"unstable_writes_are_in_it", func(e *env) {
		f := e.file(e.home, "f", "")
		_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: []byte("acknowledged")})
		e.must(err)
		s := e.snapshot(e.home)
		e.write(f, 0, "ACK")
		e.hasContent(at(f, s), "acknowledged")
	}},
	{"permissions_of_then", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o600)
		s := e.snapshot(e.home)
		e.chmod(f, 0o666)
		_, err := e.Read(e.ctx, e.bob, at(f, s), &fs.ReadRequest{}, make([]byte, 1))
		e.want(err, fs.Access)
		_, err = e.Read(e.ctx, e.bob, f, &fs.ReadRequest{}, make([]byte, 1))
		e.must(err)
		got, err := e.Access(e.ctx, e.root, at(f, s), fs.RightRead|fs.RightModify)
		e.must(err)
		eq(e, "superuser's rights", got, fs.RightRead)
	}},
	{"of_a_file", func(e *env) {
		f := e.file(e.home, "f", "old")
		s := e.snapshot(f)
		e.write(f, 0, "new")
		e.hasContent(at(f, s), "old")
		_, err := e.GetAttr(e.ctx, e.root, at(e.home, s), 0)
		if err == nil {
			e.has(e.lookup(e.home, ".snapshot").Node)
		}
	}},
}

func (e *env) diff(a, b fs.Snapshot, after string) []string {
	e.Helper()
	var out []string
	e.must(e.DiffSnapshots(e.ctx, a.ID, b.ID, after, func(d *fs.DiffEntry) bool {
		out = append(out, [...]string{"?", "+", "~", "-"}[d.Op]+d.Path)
		return true
	}))
	return out
}

func (e *env) hasDiff(a, b fs.Snapshot, want ...string) {
	e.Helper()
	if got := e.diff(a, b, ""); !slices.Equal(got, want) {
		e.Fatalf("diff is\n%q, want\n%q", got, want)
	}
}

var diffTests = []test{
	{"tree", func(e *env) {
		d := e.mkdir(e.home, "d")
		f := e.file(e.home, "f", "1")
		e.file(d, "gone", "")
		e.file(d, "same", "")
		a := e.snapshot(e.home)
		b := e.snapshot(e.home)
		e.hasDiff(a, b)
		e.write(f, 0, "2")
		_, err := e.Remove(e.ctx, e.root, d, "gone", fs.RemoveAny)
		e.must(err)
		n := e.mkdir(d, "new")
		e.file(n, "in", "")
		e.file(d, "brief", "")
		_, err = e.Remove(e.ctx, e.root, d, "brief", fs.RemoveAny)
		e.must(err)
		c := e.snapshot(e.home)
		e.hasDiff(b, c, "~d/", "-d/gone", "+d/new/", "+d/new/in", "~f")
		if got := e.diff(b, c, "d/gone"); !slices.Equal(got, []string{"+d/new/", "+d/new/in", "~f"}) {
			e.Fatalf("rest of the diff %q", got)
		}
		e.hasDiff(a, c, "~d/", "-d/gone", "+d/new/", "+d/new/in", "~f")
	}},
	{"moves", func(e *env) {
		d := e.mkdir(e.home, "d")
		e.file(d, "f", "")
		a := e.snapshot(e.home)
		_, err := e.rename(e.home, "d", e.home, "x")
		e.must(err)
		b := e.snapshot(e.home)
		e.hasDiff(a, b, "~/", "-d/", "-d/f", "+x/", "+x/f")
	}},
	{"replaced", func(e *env) {
		e.file(e.home, "f", "1")
		e.file(e.home, "g", "2")
		a := e.snapshot(e.home)
		_, err := e.rename(e.home, "g", e.home, "f")
		e.must(err)
		b := e.snapshot(e.home)
		e.hasDiff(a, b, "~/", "-f", "+f", "-g")
	}},
	{"out_and_back", func(e *env) {
		d := e.mkdir(e.home, "d")
		e.file(d, "f", "")
		a := e.snapshot(d)
		_, err := e.rename(d, "f", e.home, "f")
		e.must(err)
		e.write(e.lookup(e.home, "f").Node, 0, "changed outside")
		b := e.snapshot(d)
		e.hasDiff(a, b, "~/", "-f")
		_, err = e.rename(e.home, "f", d, "f")
		e.must(err)
		c := e.snapshot(d)
		e.hasDiff(a, c, "~/", "~f")
	}},
	{"errors", func(e *env) {
		d := e.mkdir(e.home, "d")
		a, b, c := e.snapshot(e.home), e.snapshot(d), e.snapshot(e.home)
		yield := func(*fs.DiffEntry) bool { return true }
		e.want(e.DiffSnapshots(e.ctx, a.ID, b.ID, "", yield), fs.Invalid)
		e.want(e.DiffSnapshots(e.ctx, c.ID, a.ID, "", yield), fs.Invalid)
		e.want(e.DiffSnapshots(e.ctx, 99, a.ID, "", yield), fs.NotExist)
		e.want(e.DiffSnapshots(e.ctx, a.ID, 99, "", yield), fs.NotExist)
	}},
	{"file", func(e *env) {
		const mib = 1 << 20
		f := e.file(e.home, "f", strings.Repeat("a", 4*mib))
		a := e.snapshot(e.home)
		e.write(f, mib, strings.Repeat("b", mib))
		_, err := e.Zero(e.ctx, e.root, f, 0, 3*mib, mib)
		e.must(err)
		e.write(f, 5*mib, strings.Repeat("c", mib))
		b := e.snapshot(e.home)
		was, is := e.content(at(f, a), 0), e.content(at(f, b), 0)
		// Regions may be wider than what differs, but must say what is there now.
		differs := make([]bool, len(is))
		last := uint64(0)
		e.must(e.DiffFile(e.ctx, a.ID, b.ID, f.ID, 0, func(r fs.Region) bool {
			if r.Offset < last || r.Length == 0 || r.Offset+r.Length > uint64(len(is)) {
				e.Fatalf("region %+v after %d, size %d", r, last, len(is))
			}
			last = r.Offset + r.Length
			for i := r.Offset; i < last; i++ {
				differs[i] = true
			}
			if r.Hole && strings.Trim(is[r.Offset:last], "\x00") != "" {
				e.Fatalf("hole %+v has data", r)
			}
			return true
		}))
		wide := 0
		for i := range is {
			changed := i >= len(was) && is[i] != 0 || i < len(was) && was[i] != is[i]
			if changed && !differs[i] {
				e.Fatalf("byte %d differs, but is in no region", i)
			}
			if !changed && differs[i] {
				wide++
			}
		}
		if wide > 2*mib {
			e.Fatalf("regions hold %d bytes that are the same", wide)
		}
	}},
}
