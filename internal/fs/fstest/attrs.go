package fstest

import (
	"fmt"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// access tells which of read, write and execute the caller has, as in a mode.
func (e *env) access(c *fs.Caller, n fs.Node) fs.Mode {
	e.Helper()
	got, err := e.Access(e.ctx, c, n, fs.RightRead|fs.RightModify|fs.RightExecute)
	e.must(err)
	var m fs.Mode
	if got&fs.RightRead != 0 {
		m |= 4
	}
	if got&fs.RightModify != 0 {
		m |= 2
	}
	if got&fs.RightExecute != 0 {
		m |= 1
	}
	return m
}

var modeTests = []test{
	{"classes", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0)
		d := e.mkdirAs(e.alice, e.home, "d", 0)
		for _, n := range []fs.Node{f, d} {
			e.chown(n, 1000, 2000) // alice's; bob is in the group; carol is other
			for mode := fs.Mode(0); mode < 0o1000; mode++ {
				e.chmod(n, mode)
				// Whoever is in a class is judged by it alone, also if a later one allows more.
				for c, want := range map[*fs.Caller]fs.Mode{e.alice: mode >> 6, e.bob: mode >> 3 & 7, e.carol: mode & 7} {
					if got := e.access(c, n); got != want {
						e.Fatalf("%v with mode %o: access %o, want %o", n, mode, got, want)
					}
				}
			}
		}
	}},
	{"superuser", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0)
		d := e.mkdirAs(e.alice, e.home, "d", 0)
		eq(e, "file without x", e.access(e.root, f), 6)
		eq(e, "directory", e.access(e.root, d), 7)
		e.chmod(f, 0o001)
		eq(e, "file with some x", e.access(e.root, f), 7)
	}},
	{"enforced", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o600)
		buf := make([]byte, 1)
		_, err := e.Read(e.ctx, e.bob, f, &fs.ReadRequest{}, buf)
		e.want(err, fs.Access)
		_, err = e.Write(e.ctx, e.bob, f, &fs.WriteRequest{Data: buf})
		e.want(err, fs.Access)
		_, err = e.SetAttr(e.ctx, e.bob, f, &fs.SetAttr{Size: ptr(uint64(0))})
		e.want(err, fs.Access)
		_, err = e.Zero(e.ctx, e.bob, f, 0, 0, 1)
		e.want(err, fs.Access)
		e.want(e.Regions(e.ctx, e.bob, f, 0, 0, func(fs.Region) bool { return true }), fs.Access)
		// The owner may read and write what the mode shuts, where the open was checked.
		e.chmod(f, 0)
		_, err = e.Write(e.ctx, e.alice, f, &fs.WriteRequest{Data: buf, OwnerOverride: true})
		e.must(err)
		_, err = e.Read(e.ctx, e.alice, f, &fs.ReadRequest{OwnerOverride: true}, buf)
		e.must(err)
		_, err = e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{Size: ptr(uint64(0)), OwnerOverride: true})
		e.must(err)
		_, err = e.Read(e.ctx, e.alice, f, &fs.ReadRequest{}, buf)
		e.want(err, fs.Access)
		_, err = e.Write(e.ctx, e.bob, f, &fs.WriteRequest{Data: buf, OwnerOverride: true})
		e.want(err, fs.Access)
		e.chmod(f, 0o111)
		_, err = e.Read(e.ctx, e.bob, f, &fs.ReadRequest{Execute: true}, buf)
		e.must(err)
		_, err = e.Read(e.ctx, e.bob, f, &fs.ReadRequest{}, buf)
		e.want(err, fs.Access)
	}},
	{"chmod", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o644)
		for _, m := range []fs.Mode{0, 0o777, 0o111, fs.ModeSetuid | 0o755, fs.ModeSticky | 0o644, 0o7777} {
			before := e.attr(f)
			ch, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Mode: &m})
			e.must(err)
			e.wcc("chmod", ch, before)
			eq(e, "mode", e.attr(f).Mode, m)
			e.later("file", before, e.attr(f))
			eq(e, "mtime", e.attr(f).Mtime, before.Mtime)
		}
		before := e.attr(f)
		_, err := e.SetAttr(e.ctx, e.bob, f, &fs.SetAttr{Mode: ptr(fs.Mode(0o777))})
		e.want(err, fs.Perm)
		e.same("file", before, e.attr(f))
		_, err = e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{Mode: ptr(fs.Mode(0o600))})
		e.must(err)
		d := e.mkdirAs(e.alice, e.home, "d", 0o755)
		_, err = e.SetAttr(e.ctx, e.alice, d, &fs.SetAttr{Mode: ptr(fs.ModeSticky | 0o777)})
		e.must(err)
		eq(e, "mode", e.attr(d).Mode, fs.ModeSticky|0o777)
	}},
	{"setgid_needs_membership", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o755)
		set := func(c *fs.Caller, want fs.Mode) {
			e.Helper()
			_, err := e.SetAttr(e.ctx, c, f, &fs.SetAttr{Mode: ptr(fs.ModeSetgid | 0o755)})
			e.must(err)
			eq(e, "mode", e.attr(f).Mode, want)
		}
		set(e.alice, fs.ModeSetgid|0o755)
		e.chown(f, 1000, 3000)
		set(e.alice, 0o755)
		set(e.root, fs.ModeSetgid|0o755)
	}},
	{"chown", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o644)
		set := func(c *fs.Caller, s fs.SetAttr) error {
			_, err := e.SetAttr(e.ctx, c, f, &s)
			return err
		}
		before := e.attr(f)
		e.want(set(e.alice, fs.SetAttr{Owner: ptr(identity.UID(1001))}), fs.Perm)
		e.want(set(e.alice, fs.SetAttr{Group: ptr(identity.GID(3000))}), fs.Perm)
		e.want(set(e.bob, fs.SetAttr{Group: ptr(identity.GID(2000))}), fs.Perm)
		e.want(set(e.bob, fs.SetAttr{Owner: ptr(identity.UID(1001))}), fs.Perm)
		e.same("file", before, e.attr(f))
		e.must(set(e.alice, fs.SetAttr{Group: ptr(identity.GID(2000))}))
		e.must(set(e.alice, fs.SetAttr{Owner: ptr(identity.UID(1000)), Group: ptr(identity.GID(1000))}))
		e.later("file", before, e.attr(f))
		e.must(set(e.root, fs.SetAttr{Owner: ptr(identity.UID(5)), Group: ptr(identity.GID(6))}))
		eq(e, "owner", e.attr(f).Owner, identity.UID(5))
		eq(e, "group", e.attr(f).Group, identity.GID(6))
		// All or nothing.
		e.chown(f, 1000, 1000)
		before = e.attr(f)
		e.want(set(e.alice, fs.SetAttr{Mode: ptr(fs.Mode(0)), Size: ptr(uint64(0)), Owner: ptr(identity.UID(9))}), fs.Perm)
		e.same("file", before, e.attr(f))
	}},
	{"chown_clears_setid", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o644)
		for _, c := range []struct{ mode, want fs.Mode }{
			{0o6755, 0o755}, {0o4755, 0o755}, {0o2755, 0o755}, {0o6644, 0o2644}, {0o7755, 0o1755},
		} {
			e.chmod(f, c.mode)
			_, err := e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{Group: ptr(identity.GID(2000))})
			e.must(err)
			if got := e.attr(f).Mode; got != c.want {
				e.Fatalf("chown of mode %o leaves %o, want %o", c.mode, got, c.want)
			}
		}
		d := e.mkdirAs(e.alice, e.home, "d", 0o755)
		e.chmod(d, 0o6755)
		_, err := e.SetAttr(e.ctx, e.alice, d, &fs.SetAttr{Group: ptr(identity.GID(2000))})
		e.must(err)
		eq(e, "mode of directory", e.attr(d).Mode, 0o6755)
	}},
	{"write_clears_setid", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o644)
		for name, change := range map[string]func() error{
			"write": func() error {
				_, err := e.Write(e.ctx, e.bob, f, &fs.WriteRequest{Data: []byte("x")})
				return err
			},
			"stable write": func() error {
				_, err := e.Write(e.ctx, e.bob, f, &fs.WriteRequest{Data: []byte("x"), Stability: fs.FileSync})
				return err
			},
			"truncate": func() error {
				_, err := e.SetAttr(e.ctx, e.bob, f, &fs.SetAttr{Size: ptr(uint64(100))})
				return err
			},
		} {
			e.chmod(f, 0o6777)
			e.must(change())
			if got := e.attr(f).Mode; got != 0o777 {
				e.Fatalf("%s leaves %o", name, got)
			}
		}
		e.chmod(f, 0o6777)
		e.write(f, 0, "root")
		eq(e, "mode after root's write", e.attr(f).Mode, 0o6777)
	}},
}

var setattrTests = []test{
	{"explicit_times", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o666)
		for _, when := range []fs.Time{{Sec: 1}, {Sec: -1, Nsec: 999_999_999}, {Sec: 1 << 33, Nsec: 123_456_789}, {}} {
			before := e.attr(f)
			ch, err := e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{Atime: &fs.TimeSet{Time: when}, Mtime: &fs.TimeSet{Time: when}})
			e.must(err)
			e.wcc("times", ch, before)
			a := e.attr(f)
			eq(e, "atime", a.Atime, when)
			eq(e, "mtime", a.Mtime, when)
			eq(e, "btime", a.Btime, before.Btime)
			e.later("file", before, a)
		}
		when := fs.Time{Sec: 77}
		_, err := e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{Btime: &fs.TimeSet{Time: when}})
		e.must(err)
		eq(e, "btime", e.attr(f).Btime, when)
		_, err = e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{Ctime: &fs.TimeSet{Time: when}})
		e.must(err)
		eq(e, "ctime", e.attr(f).Ctime, when)
		// One alone.
		before := e.attr(f)
		_, err = e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{Atime: &fs.TimeSet{Time: fs.Time{Sec: 5}}})
		e.must(err)
		eq(e, "atime", e.attr(f).Atime.Sec, 5)
		eq(e, "mtime", e.attr(f).Mtime, before.Mtime)
	}},
	{"times_permission", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o666)
		explicit := &fs.TimeSet{Time: fs.Time{Sec: 1}}
		now := &fs.TimeSet{Now: true}
		_, err := e.SetAttr(e.ctx, e.bob, f, &fs.SetAttr{Mtime: explicit})
		e.want(err, fs.Perm)
		_, err = e.SetAttr(e.ctx, e.bob, f, &fs.SetAttr{Atime: now, Mtime: explicit})
		e.want(err, fs.Perm)
		before := e.attr(f)
		_, err = e.SetAttr(e.ctx, e.bob, f, &fs.SetAttr{Atime: now, Mtime: now})
		e.must(err)
		a := e.attr(f)
		if a.Mtime.Compare(before.Mtime) < 0 || a.Atime.Compare(before.Atime) < 0 {
			e.Fatal("times went back")
		}
		e.later("file", before, a)
		e.chmod(f, 0o444)
		_, err = e.SetAttr(e.ctx, e.bob, f, &fs.SetAttr{Atime: now, Mtime: now})
		e.want(err, fs.Access)
		_, err = e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{Atime: now, Mtime: now})
		e.must(err) // the owner may whatever the mode
	}},
	{"truncate", func(e *env) {
		f := e.file(e.home, "f", "0123456789")
		before := e.attr(f)
		ch, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(4))})
		e.must(err)
		e.wcc("truncate", ch, before)
		e.later("file", before, e.attr(f))
		if e.attr(f).Mtime.Compare(before.Mtime) <= 0 {
			e.Fatal("mtime did not grow")
		}
		if e.attr(f).DataRevision <= before.DataRevision {
			e.Fatal("data revision did not grow")
		}
		e.hasContent(f, "0123")
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(8))})
		e.must(err)
		e.hasContent(f, "0123\x00\x00\x00\x00")
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(1) << 63)})
		e.want(err, fs.TooBig)
		_, err = e.SetAttr(e.ctx, e.root, e.home, &fs.SetAttr{Size: ptr(uint64(0))})
		e.want(err, fs.IsDir)
		_, err = e.SetAttr(e.ctx, e.root, e.symlink(e.home, "s", "t"), &fs.SetAttr{Size: ptr(uint64(0))})
		e.want(err, fs.NotFile)
		when := fs.Time{Sec: 12}
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(0)), Mtime: &fs.TimeSet{Time: when}})
		e.must(err)
		eq(e, "mtime set with the size", e.attr(f).Mtime, when)
		eq(e, "data", e.attr(f).DataBytes, 0)
	}},
	{"guards", func(e *env) {
		f := e.file(e.home, "f", "data")
		a := e.attr(f)
		_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(0)), GuardCtime: ptr(a.Ctime.Next())})
		e.want(err, fs.RevisionMismatch)
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(0)), GuardChange: ptr(a.Change + 1)})
		e.want(err, fs.RevisionMismatch)
		e.same("file", a, e.attr(f))
		_, err = e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(0)), GuardCtime: &a.Ctime, GuardChange: &a.Change})
		e.must(err)
	}},
	{"dos", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o666)
		before := e.attr(f)
		_, err := e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{DOS: ptr(fs.DOSHidden | fs.DOSArchive)})
		e.must(err)
		eq(e, "DOS", e.attr(f).DOS, fs.DOSHidden|fs.DOSArchive)
		e.later("file", before, e.attr(f))
	}},
	{"snapshots_do_not_change", func(e *env) {
		f := e.file(e.home, "f", "data")
		s := e.snapshot(e.home)
		_, err := e.SetAttr(e.ctx, e.root, at(f, s), &fs.SetAttr{Mode: ptr(fs.Mode(0))})
		e.want(err, fs.ReadOnly)
		_, err = e.Write(e.ctx, e.root, at(f, s), &fs.WriteRequest{Data: []byte("x")})
		e.want(err, fs.ReadOnly)
		_, err = e.Zero(e.ctx, e.root, at(f, s), 0, 0, 1)
		e.want(err, fs.ReadOnly)
		_, err = e.Remove(e.ctx, e.root, at(e.home, s), "f", fs.RemoveAny)
		e.want(err, fs.ReadOnly)
		_, err = e.Create(e.ctx, e.root, at(e.home, s), "g", &fs.CreateSpec{Type: fs.File})
		e.want(err, fs.ReadOnly)
		_, err = e.SetMeta(e.ctx, e.root, at(f, s), fs.MetaXattr, "k", nil, fs.MetaUpsert)
		e.want(err, fs.ReadOnly)
		_, err = e.SetACL(e.ctx, e.root, at(f, s), &fs.ACL{ModeOnly: true})
		e.want(err, fs.ReadOnly)
	}},
	{"change_never_stands_still", func(e *env) {
		f := e.file(e.home, "f", "")
		last := e.attr(f)
		for i := range 50 {
			_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Mode: ptr(fs.Mode(i))})
			e.must(err)
			a := e.attr(f)
			e.later(fmt.Sprint("turn ", i), last, a)
			last = a
		}
	}},
}
