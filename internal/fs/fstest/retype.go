package fstest

import (
	"strings"

	"manifold/internal/fs"
)

// listedType is the type that a listing shows of a name.
func (e *env) listedType(dir fs.Node, name string) fs.Type {
	e.Helper()
	t := fs.TypeNone
	for _, list := range []func() (bool, error){
		func() (bool, error) {
			return e.ReadDir(e.ctx, e.root, dir, 0, 0, func(d *fs.Dirent) bool {
				if d.Name == name {
					t = d.Type
				}
				return true
			})
		},
		func() (bool, error) {
			return e.ReadDirByName(e.ctx, e.root, dir, "", 0, func(d *fs.Dirent) bool {
				if d.Name == name {
					eq(e, "type in the listing by name", d.Type, t)
				}
				return true
			})
		},
	} {
		_, err := list()
		e.must(err)
	}
	return t
}

var retypeTests = []test{
	{"symlink_and_back", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o640)
		_, err := e.SetMeta(e.ctx, e.alice, f, fs.MetaXattr, "k", []byte("v"), fs.MetaUpsert)
		e.must(err)
		h := e.mustOpen(e.alice, "f", nil)
		s := e.snapshot(e.home)
		before, dir := e.attr(f), e.attr(e.home)
		ch, err := e.Retype(e.ctx, e.alice, f, &fs.RetypeSpec{Type: fs.Symlink, Target: []byte("../x"), SymlinkHint: fs.SymlinkToFile})
		e.must(err)
		e.wcc("symlink", ch, before)
		now := e.lookup(e.home, "f")
		e.later("object", before, now)
		e.later("directory", dir, e.attr(e.home))
		eq(e, "id", now.Node, f)
		eq(e, "type", now.Type, fs.Symlink)
		eq(e, "hint", now.SymlinkHint, fs.SymlinkToFile)
		eq(e, "owner", now.Owner, before.Owner)
		eq(e, "mode", now.Mode, before.Mode)
		eq(e, "links", now.Links, 1)
		eq(e, "type in the listing", e.listedType(e.home, "f"), fs.Symlink)
		target, err := e.Readlink(e.ctx, e.alice, f)
		e.must(err)
		eq(e, "target", string(target), "../x")
		_, err = e.Retype(e.ctx, e.alice, f, &fs.RetypeSpec{Type: fs.Symlink, Target: []byte("../y")})
		e.must(err)
		target, err = e.Readlink(e.ctx, e.alice, f)
		e.must(err)
		eq(e, "next target", string(target), "../y")
		now = e.lookup(e.home, "f")
		v, err := e.GetMeta(e.ctx, e.alice, f, fs.MetaXattr, "k")
		e.must(err)
		eq(e, "metadata", string(v), "v")
		for _, d := range []fs.Node{e.home, fs.Root} {
			e.exact("with the symlink", d)
		}
		// The snapshot has the file.
		old, err := e.Lookup(e.ctx, e.root, at(e.home, s), "f", fs.AttrEverything)
		e.must(err)
		eq(e, "type in the snapshot", old.Type, fs.File)
		eq(e, "type in the snapshot's listing", e.listedType(at(e.home, s), "f"), fs.File)
		e.hasDiff(s, e.snapshot(e.home), "~/", "~f")

		// The open goes on to stand for the object, which has no data now.
		a, err := h.GetAttr(e.ctx, fs.AttrEverything)
		e.must(err)
		eq(e, "type of the open", a.Type, fs.Symlink)
		_, err = h.Write(e.ctx, &fs.WriteRequest{Data: []byte("x")})
		e.want(err, fs.NotFile)

		ch, err = e.Retype(e.ctx, e.alice, f, &fs.RetypeSpec{Type: fs.File})
		e.must(err)
		e.wcc("file", ch, now)
		eq(e, "type in the listing", e.listedType(e.home, "f"), fs.File)
		_, err = h.Write(e.ctx, &fs.WriteRequest{Data: []byte("data")})
		e.must(err)
		e.must(h.Close(e.ctx))
		e.hasContent(f, "data")
		_, err = e.Readlink(e.ctx, e.alice, f)
		e.want(err, fs.NotSymlink)
		for _, d := range []fs.Node{e.home, fs.Root} {
			e.exact("with the file", d)
		}
		_, err = e.Remove(e.ctx, e.alice, e.home, "f", fs.RemoveFile)
		e.must(err)
	}},
	{"after_data", func(e *env) {
		f := e.file(e.home, "f", strings.Repeat("x", 300000))
		_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(0))})
		e.must(err)
		_, err = e.Retype(e.ctx, e.root, f, &fs.RetypeSpec{Type: fs.Symlink, Target: []byte("t")})
		e.must(err)
		_, err = e.Retype(e.ctx, e.root, f, &fs.RetypeSpec{Type: fs.File})
		e.must(err)
		e.hasContent(f, "")
		e.write(f, 10, "y")
		e.hasContent(f, strings.Repeat("\x00", 10)+"y")
		e.exact("of home", e.home)
	}},
	{"special_files", func(e *env) {
		f := e.file(e.home, "f", "")
		for _, t := range []fs.Type{fs.FIFO, fs.Socket, fs.CharDevice, fs.BlockDevice} {
			_, err := e.Retype(e.ctx, e.root, f, &fs.RetypeSpec{Type: t, RdevMajor: 1, RdevMinor: 2})
			e.must(err)
			a := e.attr(f)
			eq(e, "type", a.Type, t)
			major := uint32(0)
			if t == fs.CharDevice || t == fs.BlockDevice {
				major = 1
			}
			eq(e, "device", a.RdevMajor, major)
			e.exact("of home", e.home)
			_, err = e.Retype(e.ctx, e.root, f, &fs.RetypeSpec{Type: fs.Symlink, Target: []byte("t")})
			e.want(err, fs.Exist)
			_, err = e.Retype(e.ctx, e.root, f, &fs.RetypeSpec{Type: fs.File})
			e.must(err)
			eq(e, "device", e.attr(f).RdevMajor, 0)
		}
	}},
	{"refused", func(e *env) {
		link := func(c *fs.Caller, n fs.Node, target string) error {
			_, err := e.Retype(e.ctx, c, n, &fs.RetypeSpec{Type: fs.Symlink, Target: []byte(target)})
			return err
		}
		f := e.fileAs(e.alice, e.home, "f", 0o644)
		e.want(link(e.alice, f, ""), fs.Invalid)
		e.want(link(e.alice, f, strings.Repeat("t", 4096)), fs.NameTooLong)
		_, err := e.Retype(e.ctx, e.alice, f, &fs.RetypeSpec{Type: fs.Directory})
		e.want(err, fs.Invalid)
		_, err = e.Retype(e.ctx, e.alice, f, &fs.RetypeSpec{})
		e.want(err, fs.Invalid)
		e.want(link(e.bob, f, "t"), fs.Access)
		reader := *e.alice
		reader.ReadOnly = true
		e.want(link(&reader, f, "t"), fs.ReadOnly)
		e.want(link(e.root, e.mkdir(e.home, "d"), "t"), fs.IsDir)
		e.want(link(e.root, e.file(e.home, "full", "data"), "t"), fs.NotEmpty)
		named := e.file(e.home, "named", "")
		e.stream(named, "s", "")
		e.want(link(e.root, named, "t"), fs.NotEmpty)
		twice := e.file(e.home, "twice", "")
		_, err = e.Link(e.ctx, e.root, twice, e.home, "again")
		e.must(err)
		e.want(link(e.root, twice, "t"), fs.Busy)
		_, err = e.Remove(e.ctx, e.root, e.home, "twice", fs.RemoveFile)
		e.must(err)
		e.must(link(e.root, twice, "t")) // it has one name, a link that became the primary one
		eq(e, "type in the listing", e.listedType(e.home, "again"), fs.Symlink)
		s := e.snapshot(e.home)
		e.want(link(e.root, at(f, s), "t"), fs.ReadOnly)
		kept := e.file(e.home, "kept", "")
		_, err = e.SetAttr(e.ctx, e.system, kept, &fs.SetAttr{Retention: &far})
		e.must(err)
		e.want(link(e.system, kept, "t"), fs.WORM)
		buffered := e.file(e.home, "buffered", "")
		_, err = e.Write(e.ctx, e.root, buffered, &fs.WriteRequest{Data: []byte("x"), Stability: fs.Unstable})
		e.must(err)
		e.want(link(e.root, buffered, "t"), fs.NotEmpty)
		e.hasContent(buffered, "x")
		h := e.mustOpen(e.alice, "f", nil)
		_, err = e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveFile)
		e.must(err)
		e.want(link(e.alice, f, "t"), fs.Stale)
		e.must(h.Close(e.ctx))
		e.exact("of home", e.home)
	}},
	{"told", func(e *env) {
		f := e.file(e.home, "f", "")
		ch, stop := e.watch(e.home, false, fs.EventsAll)
		defer stop()
		_, err := e.Retype(e.ctx, e.root, f, &fs.RetypeSpec{Type: fs.Symlink, Target: []byte("t")})
		e.must(err)
		if ev := e.next(ch); ev.Type&fs.EventAttr == 0 || ev.ID != f.ID {
			e.Fatalf("told of %+v", ev)
		}
	}},
}
