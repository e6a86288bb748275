package fstest

import (
	"fmt"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

var lookupTests = []test{
	{"dots", func(e *env) {
		d := e.mkdir(e.home, "d")
		eq(e, ".", e.lookup(d, ".").Node, d)
		eq(e, "..", e.lookup(d, "..").Node, e.home)
		eq(e, ".. of the root", e.lookup(fs.Root, "..").Node, fs.Root)
		eq(e, ". of the root", e.lookup(fs.Root, ".").Node, fs.Root)
	}},
	{"errors", func(e *env) {
		f := e.file(e.home, "f", "")
		e.missing(e.home, "no")
		_, err := e.Lookup(e.ctx, e.root, f, "x", 0)
		e.want(err, fs.NotDir)
		_, err = e.Lookup(e.ctx, e.root, e.home, strings.Repeat("n", 256), 0)
		e.want(err, fs.NameTooLong)
		_, err = e.Lookup(e.ctx, e.root, fs.Node{ID: 1 << 40}, "x", 0)
		e.want(err, fs.Stale)
		_, err = e.GetAttr(e.ctx, e.root, fs.Node{ID: 1 << 40}, 0)
		e.want(err, fs.Stale)
		_, err = e.GetAttr(e.ctx, e.root, fs.Node{ID: e.home.ID, Snap: 77}, 0)
		e.want(err, fs.Stale)
	}},
	{"exact_names", func(e *env) {
		e.file(e.home, "Name", "1")
		e.missing(e.home, "name")
		lower := e.file(e.home, "name", "2")
		eq(e, "exact match", e.lookup(e.home, "name").Node, lower)
		e.has(e.home, "Name", "name")
	}},
	{"fold", func(e *env) {
		up := e.file(e.home, "ÄPFEL.txt", "")
		a, name, err := e.LookupFold(e.ctx, e.root, e.home, "äpfel.TXT", fs.AttrBasic)
		e.must(err)
		eq(e, "node", a.Node, up)
		eq(e, "stored name", name, "ÄPFEL.txt")
		low := e.file(e.home, "äpfel.txt", "")
		a, name, err = e.LookupFold(e.ctx, e.root, e.home, "äpfel.txt", 0)
		e.must(err)
		eq(e, "exact match", a.Node, low)
		eq(e, "stored name", name, "äpfel.txt")
		_, _, err = e.LookupFold(e.ctx, e.root, e.home, "birnen", 0)
		e.want(err, fs.NotExist)
	}},
	{"any_bytes", func(e *env) {
		for _, name := range []string{"\xff\xfe\x80", "a\nb", " ", "...", "日本語", strings.Repeat("n", 255), strings.Repeat("é", 127), "\\", "a:b"} {
			n := e.file(e.home, name, "x")
			eq(e, fmt.Sprintf("%q", name), e.lookup(e.home, name).Node, n)
		}
	}},
	{"composed_and_decomposed_differ", func(e *env) {
		a := e.file(e.home, "é", "composed")
		b := e.file(e.home, "e\u0301", "decomposed")
		eq(e, "composed", e.lookup(e.home, "é").Node, a)
		eq(e, "decomposed", e.lookup(e.home, "e\u0301").Node, b)
	}},
	{"paths", func(e *env) {
		a := e.mkdir(e.home, "a")
		b := e.mkdir(a, "b")
		f := e.file(b, "f", "")
		for path, n := range map[string]fs.Node{"/": fs.Root, "/home/a": a, "/home/a/b/f": f} {
			got, err := e.PathOf(e.ctx, n)
			e.must(err)
			eq(e, "path", got, path)
			r, err := e.Resolve(e.ctx, e.root, path, fs.AttrBasic)
			e.must(err)
			eq(e, path, r.Node, n)
		}
		for path, k := range map[string]fs.Kind{"/home/no": fs.NotExist, "/home/a/b/f/x": fs.NotDir, "home": fs.Invalid} {
			_, err := e.Resolve(e.ctx, e.root, path, 0)
			e.want(err, k)
		}
		e.symlink(e.home, "s", "a")
		_, err := e.Resolve(e.ctx, e.root, "/home/s/b", 0)
		e.want(err, fs.NotDir)
		r, err := e.Resolve(e.ctx, e.root, "/home/s", fs.AttrType)
		e.must(err)
		eq(e, "type", r.Type, fs.Symlink)
		e.chmod(a, 0o700)
		_, err = e.Resolve(e.ctx, e.alice, "/home/a/b", 0)
		e.want(err, fs.Access)
		_, err = e.Rename(e.ctx, e.root, e.home, "a", e.home, "z", fs.RenameOptions{})
		e.must(err)
		got, err := e.PathOf(e.ctx, f)
		e.must(err)
		eq(e, "path after a rename above", got, "/home/z/b/f")
	}},
	{"rename_only", func(e *env) {
		f, g := e.file(e.home, "f", ""), e.file(e.home, "g", "")
		_, err := e.Rename(e.ctx, e.root, e.home, "f", e.home, "new", fs.RenameOptions{Only: g})
		e.want(err, fs.NotExist)
		e.lookup(e.home, "f")
		e.missing(e.home, "new")
		_, err = e.Rename(e.ctx, e.root, e.home, "f", e.home, "new", fs.RenameOptions{Only: f})
		e.must(err)
		eq(e, "node", e.lookup(e.home, "new").Node, f)
	}},
	{"contains", func(e *env) {
		a, b := e.mkdir(e.home, "a"), e.mkdir(e.home, "b")
		f := e.file(e.mkdir(a, "sub"), "f", "")
		check := func(dir, n fs.Node, want bool) {
			e.Helper()
			got, err := e.Contains(e.ctx, dir.ID, n)
			e.must(err)
			eq(e, fmt.Sprintf("%v contains %v", dir, n), got, want)
		}
		check(fs.Root, f, true)
		check(a, f, true)
		check(a, a, true)
		check(b, f, false)
		check(a, e.home, false)
		_, err := e.Link(e.ctx, e.root, f, b, "link")
		e.must(err)
		check(b, f, true)
		s := e.snapshot(e.home)
		_, err = e.Remove(e.ctx, e.root, b, "link", fs.RemoveAny)
		e.must(err)
		check(b, f, false)
		check(b, at(f, s), true)
	}},
	{"traverse", func(e *env) {
		d := e.mkdirAs(e.alice, e.home, "d", 0o700)
		e.fileAs(e.alice, d, "f", 0o666)
		_, err := e.Lookup(e.ctx, e.bob, d, "f", 0)
		e.want(err, fs.Access)
		_, err = e.Lookup(e.ctx, e.bob, d, "no", 0)
		e.want(err, fs.Access)
		e.chmod(d, 0o711)
		_, err = e.Lookup(e.ctx, e.bob, d, "f", 0)
		e.must(err)
	}},
}

var createTests = []test{
	{"attributes", func(e *env) {
		for _, typ := range []fs.Type{fs.File, fs.Directory, fs.Symlink, fs.FIFO, fs.Socket, fs.CharDevice, fs.BlockDevice} {
			name := fmt.Sprintf("t%d", typ)
			a := e.createAs(e.root, e.home, name, fs.CreateSpec{Type: typ, Target: []byte("target"), RdevMajor: 8, RdevMinor: 17})
			eq(e, "type", a.Type, typ)
			mode, links, size := fs.Mode(0o666), uint32(1), uint64(0)
			switch typ {
			case fs.Directory:
				mode, links = 0o777, 2
			case fs.Symlink:
				mode, size = 0o777, 6
			case fs.CharDevice, fs.BlockDevice:
				eq(e, "major", a.RdevMajor, 8)
				eq(e, "minor", a.RdevMinor, 17)
			}
			eq(e, "mode", a.Mode, mode)
			eq(e, "links", a.Links, links)
			eq(e, "size", a.Size, size)
			eq(e, "owner", a.Owner, identity.UID(0))
			eq(e, "group", a.Group, identity.GID(0))
			eq(e, "parent", a.Parent, e.home.ID)
			eq(e, "name in it", a.ParentName, name)
			eq(e, "atime", a.Atime, a.Btime)
			eq(e, "mtime", a.Mtime, a.Btime)
			eq(e, "ctime", a.Ctime, a.Btime)
			e.same("what is found", a, e.lookup(e.home, name))
			e.same("what is found", a, e.attr(a.Node))
		}
	}},
	{"ids_are_new", func(e *env) {
		seen := map[fs.FileID]bool{}
		for i := range 20 {
			n := e.file(e.home, "f", "")
			if seen[n.ID] || n.ID < 3 {
				e.Fatalf("id %d at turn %d", n.ID, i)
			}
			seen[n.ID] = true
			_, err := e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveAny)
			e.must(err)
		}
	}},
	{"names", func(e *env) {
		for name, k := range map[string]fs.Kind{
			"": fs.NameInvalid, ".": fs.NameInvalid, "..": fs.NameInvalid, ".snapshot": fs.NameInvalid, "a/b": fs.NameInvalid,
			"a\x00b": fs.NameInvalid, strings.Repeat("n", 256): fs.NameTooLong,
		} {
			_, err := e.Create(e.ctx, e.root, e.home, name, &fs.CreateSpec{Type: fs.File})
			e.want(err, k)
			_, err = e.Create(e.ctx, e.root, e.home, name, &fs.CreateSpec{Type: fs.Directory})
			e.want(err, k)
			_, err = e.Remove(e.ctx, e.root, e.home, name, fs.RemoveAny)
			e.want(err, k)
			f := e.file(e.home, "f", "")
			_, err = e.Link(e.ctx, e.root, f, e.home, name)
			e.want(err, k)
			_, err = e.Rename(e.ctx, e.root, e.home, "f", e.home, name, fs.RenameOptions{})
			e.want(err, k)
			_, err = e.Rename(e.ctx, e.root, e.home, name, e.home, "g", fs.RenameOptions{})
			e.want(err, k)
			_, err = e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveAny)
			e.must(err)
		}
	}},
	{"exist", func(e *env) {
		f := e.file(e.home, "f", "data")
		e.mkdir(e.home, "d")
		for _, typ := range []fs.Type{fs.File, fs.Directory, fs.Symlink, fs.FIFO} {
			for _, name := range []string{"f", "d"} {
				before := e.attr(e.home)
				_, err := e.Create(e.ctx, e.root, e.home, name, &fs.CreateSpec{Type: typ, Target: []byte("t")})
				e.want(err, fs.Exist)
				e.same("directory", before, e.attr(e.home))
			}
		}
		e.hasContent(f, "data")
	}},
	{"exist_before_access", func(e *env) {
		d := e.mkdirAs(e.alice, e.home, "d", 0o755)
		e.fileAs(e.alice, d, "f", 0o644)
		_, err := e.Create(e.ctx, e.bob, d, "f", &fs.CreateSpec{Type: fs.File})
		e.want(err, fs.Exist)
		_, err = e.Create(e.ctx, e.bob, d, "g", &fs.CreateSpec{Type: fs.File})
		e.want(err, fs.Access)
	}},
	{"invalid", func(e *env) {
		for _, spec := range []fs.CreateSpec{
			{}, {Type: 99}, {Type: fs.Symlink}, {Type: fs.Directory, Set: fs.SetAttr{Size: ptr(uint64(1))}},
		} {
			_, err := e.Create(e.ctx, e.root, e.home, "x", &spec)
			e.want(err, fs.Invalid)
		}
		_, err := e.Create(e.ctx, e.root, e.home, "x", &fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Size: ptr(uint64(1) << 63)}})
		e.want(err, fs.TooBig)
		e.missing(e.home, "x")
		f := e.file(e.home, "f", "")
		_, err = e.Create(e.ctx, e.root, f, "x", &fs.CreateSpec{Type: fs.File})
		e.want(err, fs.NotDir)
	}},
	{"symlinks", func(e *env) {
		for _, target := range []string{"a", "/absolute/../x", "\xff\xfe", strings.Repeat("t", 4095)} {
			n := e.createAs(e.root, e.home, "s", fs.CreateSpec{Type: fs.Symlink, Target: []byte(target), SymlinkHint: fs.SymlinkToDirectory})
			eq(e, "hint", n.SymlinkHint, fs.SymlinkToDirectory)
			got, err := e.Readlink(e.ctx, e.alice, n.Node)
			e.must(err)
			eq(e, "target", string(got), target)
			_, err = e.Remove(e.ctx, e.root, e.home, "s", fs.RemoveFile)
			e.must(err)
		}
		_, err := e.Create(e.ctx, e.root, e.home, "s", &fs.CreateSpec{Type: fs.Symlink, Target: []byte(strings.Repeat("t", 4096))})
		e.want(err, fs.NameTooLong)
		_, err = e.Readlink(e.ctx, e.root, e.home)
		e.want(err, fs.NotSymlink)
		_, err = e.Readlink(e.ctx, e.root, e.file(e.home, "f", ""))
		e.want(err, fs.NotSymlink)
	}},
	{"initial_attributes", func(e *env) {
		old := fs.Time{Sec: 1000, Nsec: 5}
		a := e.createAs(e.root, e.home, "f", fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{
			Mode: ptr(fs.Mode(0o640)), Size: ptr(uint64(10000)), Owner: ptr(identity.UID(7)), Group: ptr(identity.GID(8)),
			Mtime: &fs.TimeSet{Time: old}, Atime: &fs.TimeSet{Time: old}, DOS: ptr(fs.DOSHidden),
		}})
		eq(e, "mode", a.Mode, 0o640)
		eq(e, "size", a.Size, 10000)
		eq(e, "owner", a.Owner, identity.UID(7))
		eq(e, "group", a.Group, identity.GID(8))
		eq(e, "mtime", a.Mtime, old)
		eq(e, "atime", a.Atime, old)
		eq(e, "DOS", a.DOS, fs.DOSHidden)
		e.hasContent(a.Node, strings.Repeat("\x00", 10000))
		_, err := e.Create(e.ctx, e.alice, e.home, "g", &fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Owner: ptr(identity.UID(7))}})
		e.want(err, fs.Perm)
		_, err = e.Create(e.ctx, e.alice, e.home, "g", &fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Group: ptr(identity.GID(7))}})
		e.want(err, fs.Perm)
		e.missing(e.home, "g")
		b := e.createAs(e.alice, e.home, "g", fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Group: ptr(identity.GID(2000))}})
		eq(e, "group", b.Group, identity.GID(2000))
	}},
	{"exclusive", func(e *env) {
		spec := fs.CreateSpec{Type: fs.File, Disposition: fs.CreateExclusive, Verifier: 42}
		a := e.createAs(e.alice, e.home, "f", spec)
		r, err := e.Create(e.ctx, e.alice, e.home, "f", &spec)
		e.must(err)
		eq(e, "created", r.Created, false)
		eq(e, "node", r.Attr.Node, a.Node)
		other := spec
		other.Verifier = 43
		_, err = e.Create(e.ctx, e.alice, e.home, "f", &other)
		e.want(err, fs.Exist)
		_, err = e.SetAttr(e.ctx, e.alice, a.Node, &fs.SetAttr{Mode: ptr(fs.Mode(0o600))})
		e.must(err)
		_, err = e.Create(e.ctx, e.alice, e.home, "f", &spec)
		e.want(err, fs.Exist)
		e.file(e.home, "g", "")
		zero := fs.CreateSpec{Type: fs.File, Disposition: fs.CreateExclusive}
		_, err = e.Create(e.ctx, e.alice, e.home, "g", &zero)
		e.want(err, fs.Exist) // never made exclusively: no verifier, not even 0
	}},
	{"unchecked", func(e *env) {
		f := e.file(e.home, "f", "content")
		before := e.attr(f)
		spec := fs.CreateSpec{Type: fs.File, Disposition: fs.CreateUnchecked, Set: fs.SetAttr{Mode: ptr(fs.Mode(0o600))}, Want: fs.AttrEverything}
		r, err := e.Create(e.ctx, e.root, e.home, "f", &spec)
		e.must(err)
		eq(e, "created", r.Created, false)
		eq(e, "node", r.Attr.Node, f)
		e.same("file", before, e.attr(f))
		spec.Set.Size = ptr(uint64(3))
		r, err = e.Create(e.ctx, e.root, e.home, "f", &spec)
		e.must(err)
		eq(e, "size", r.Attr.Size, 3)
		e.hasContent(f, "con")
		e.chmod(f, 0o600)
		_, err = e.Create(e.ctx, e.alice, e.home, "f", &spec)
		e.want(err, fs.Access)
		e.hasContent(f, "con")
		spec.Set.Size = nil
		_, err = e.Create(e.ctx, e.alice, e.home, "f", &spec)
		e.must(err)
		r, err = e.Create(e.ctx, e.root, e.home, "new", &spec)
		e.must(err)
		eq(e, "created", r.Created, true)
		eq(e, "mode", r.Attr.Mode, 0o600)
	}},
	{"parent_changes", func(e *env) {
		before := e.attr(e.home)
		r, err := e.Create(e.ctx, e.root, e.home, "f", &fs.CreateSpec{Type: fs.File})
		e.must(err)
		e.wcc("create", r.Dir, before)
		after := e.attr(e.home)
		e.later("directory", before, after)
		if after.Mtime.Compare(before.Mtime) <= 0 {
			e.Fatal("mtime of the directory did not grow")
		}
		eq(e, "children", after.Children, before.Children+1)
		eq(e, "size", after.Size, 512*after.Children)
		eq(e, "links", after.Links, before.Links)
		e.mkdir(e.home, "d")
		eq(e, "links", e.attr(e.home).Links, before.Links+1)
	}},
	{"in_removed_directory", func(e *env) {
		d := e.mkdir(e.home, "d")
		_, err := e.Remove(e.ctx, e.root, e.home, "d", fs.RemoveDir)
		e.must(err)
		_, err = e.Create(e.ctx, e.root, d, "f", &fs.CreateSpec{Type: fs.File})
		e.want(err, fs.Stale)
	}},
	{"setgid_directory", func(e *env) {
		d := e.mkdirAs(e.root, e.home, "d", 0o777)
		e.chown(d, 0, 2000)
		e.chmod(d, fs.ModeSetgid|0o777)
		f := e.createAs(e.alice, d, "f", fs.CreateSpec{Type: fs.File})
		eq(e, "group of file", f.Group, identity.GID(2000))
		sub := e.createAs(e.alice, d, "sub", fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: ptr(fs.Mode(0o755))}})
		eq(e, "group of directory", sub.Group, identity.GID(2000))
		eq(e, "mode of directory", sub.Mode, fs.ModeSetgid|0o755)
		// carol is not in the group: no setgid program for her.
		g := e.createAs(e.carol, d, "g", fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Mode: ptr(fs.ModeSetgid | 0o755)}})
		eq(e, "mode of a stranger's file", g.Mode, 0o755)
		h := e.createAs(e.alice, d, "h", fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Mode: ptr(fs.ModeSetgid | 0o755)}})
		eq(e, "mode of a member's file", h.Mode, fs.ModeSetgid|0o755)
	}},
}

var linkTests = []test{
	{"link", func(e *env) {
		f := e.file(e.home, "f", "data")
		d := e.mkdir(e.home, "d")
		fb, db := e.attr(f), e.attr(d)
		r, err := e.Link(e.ctx, e.root, f, d, "g")
		e.must(err)
		e.wcc("link", r.Dir, db)
		fa := e.attr(f)
		eq(e, "links", fa.Links, 2)
		eq(e, "mtime", fa.Mtime, fb.Mtime)
		e.later("file", fb, fa)
		e.later("directory", db, e.attr(d))
		eq(e, "node", e.lookup(d, "g").Node, f)
		eq(e, "answered", r.Target.Node, f)
		_, err = e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveAny)
		e.must(err)
		eq(e, "links", e.attr(f).Links, 1)
		e.hasContent(f, "data")
		p, err := e.PathOf(e.ctx, f)
		e.must(err)
		eq(e, "path", p, "/home/d/g")
	}},
	{"errors", func(e *env) {
		f := e.file(e.home, "f", "")
		d := e.mkdir(e.home, "d")
		_, err := e.Link(e.ctx, e.root, d, e.home, "g")
		e.want(err, fs.Perm)
		_, err = e.Link(e.ctx, e.root, f, e.home, "d")
		e.want(err, fs.Exist)
		_, err = e.Link(e.ctx, e.root, f, e.home, "f")
		e.want(err, fs.Exist)
		_, err = e.Link(e.ctx, e.root, f, f, "g")
		e.want(err, fs.NotDir)
		_, err = e.Link(e.ctx, e.root, fs.Node{ID: 1 << 40}, e.home, "g")
		e.want(err, fs.Stale)
		e.chmod(d, 0o755)
		_, err = e.Link(e.ctx, e.alice, f, d, "g")
		e.want(err, fs.Access)
		s := e.snapshot(e.home)
		_, err = e.Link(e.ctx, e.root, at(f, s), e.home, "g")
		e.want(err, fs.CrossDevice)
		_, err = e.Link(e.ctx, e.root, f, at(e.home, s), "g")
		e.want(err, fs.CrossDevice)
	}},
	{"special_files", func(e *env) {
		for _, typ := range []fs.Type{fs.Symlink, fs.FIFO, fs.Socket, fs.CharDevice, fs.BlockDevice} {
			name := fmt.Sprint(typ)
			n := e.createAs(e.root, e.home, name, fs.CreateSpec{Type: typ, Target: []byte("t")}).Node
			_, err := e.Link(e.ctx, e.root, n, e.home, "l"+name)
			e.must(err)
			eq(e, "links", e.attr(n).Links, 2)
		}
	}},
	{"limit", func(e *env) {
		f := e.file(e.home, "f", "")
		for i := 1; i < fs.MaxLinks; i++ {
			_, err := e.Link(e.ctx, e.root, f, e.home, fmt.Sprint(i))
			e.must(err)
		}
		eq(e, "links", e.attr(f).Links, fs.MaxLinks)
		_, err := e.Link(e.ctx, e.root, f, e.home, "more")
		e.want(err, fs.TooManyLinks)
		_, err = e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveAny)
		e.must(err)
		_, err = e.Link(e.ctx, e.root, f, e.home, "more")
		e.must(err)
	}},
}

var removeTests = []test{
	{"file", func(e *env) {
		f := e.file(e.home, "f", "data")
		before := e.attr(e.home)
		r, err := e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveFile)
		e.must(err)
		eq(e, "gone", r.Gone, true)
		eq(e, "node", r.Node, f)
		e.wcc("remove", r.Dir, before)
		e.later("directory", before, e.attr(e.home))
		e.missing(e.home, "f")
		_, err = e.GetAttr(e.ctx, e.root, f, 0)
		e.want(err, fs.Stale)
		_, err = e.Read(e.ctx, e.root, f, &fs.ReadRequest{}, make([]byte, 1))
		e.want(err, fs.Stale)
		_, err = e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: []byte("x")})
		e.want(err, fs.Stale)
		_, err = e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveAny)
		e.want(err, fs.NotExist)
	}},
	{"one_of_two_links", func(e *env) {
		f := e.file(e.home, "f", "data")
		_, err := e.Link(e.ctx, e.root, f, e.home, "g")
		e.must(err)
		before := e.attr(f)
		r, err := e.Remove(e.ctx, e.root, e.home, "g", fs.RemoveAny)
		e.must(err)
		eq(e, "gone", r.Gone, false)
		e.later("file", before, e.attr(f))
		e.hasContent(f, "data")
	}},
	{"directory", func(e *env) {
		d := e.mkdir(e.home, "d")
		e.file(d, "f", "")
		_, err := e.Remove(e.ctx, e.root, e.home, "d", fs.RemoveDir)
		e.want(err, fs.NotEmpty)
		_, err = e.Remove(e.ctx, e.root, d, "f", fs.RemoveAny)
		e.must(err)
		links := e.attr(e.home).Links
		r, err := e.Remove(e.ctx, e.root, e.home, "d", fs.RemoveDir)
		e.must(err)
		eq(e, "gone", r.Gone, true)
		eq(e, "links of parent", e.attr(e.home).Links, links-1)
		_, err = e.Lookup(e.ctx, e.root, d, ".", 0)
		e.want(err, fs.Stale)
	}},
	{"modes", func(e *env) {
		e.file(e.home, "f", "")
		e.mkdir(e.home, "d")
		_, err := e.Remove(e.ctx, e.root, e.home, "d", fs.RemoveFile)
		e.want(err, fs.IsDir)
		_, err = e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveDir)
		e.want(err, fs.NotDir)
		_, err = e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveAny)
		e.must(err)
		_, err = e.Remove(e.ctx, e.root, e.home, "d", fs.RemoveAny)
		e.must(err)
	}},
	{"permission", func(e *env) {
		d := e.mkdirAs(e.alice, e.home, "d", 0o755)
		f := e.fileAs(e.alice, d, "f", 0o666)
		_, err := e.Remove(e.ctx, e.bob, d, "f", fs.RemoveAny)
		e.want(err, fs.Access)
		_, err = e.Remove(e.ctx, e.bob, d, "no", fs.RemoveAny)
		e.want(err, fs.NotExist)
		e.chmod(d, 0o776) // write without search
		_, err = e.Remove(e.ctx, e.bob, d, "f", fs.RemoveAny)
		e.want(err, fs.Access)
		e.chmod(d, 0o777)
		e.chmod(f, 0)
		_, err = e.Remove(e.ctx, e.bob, d, "f", fs.RemoveAny)
		e.must(err) // the file's own mode does not matter
	}},
	{"sticky", func(e *env) {
		d := e.mkdirAs(e.alice, e.home, "d", fs.ModeSticky|0o777)
		for _, typ := range []fs.Type{fs.File, fs.Directory, fs.Symlink, fs.FIFO} {
			spec := fs.CreateSpec{Type: typ, Target: []byte("t")}
			e.createAs(e.bob, d, "b", spec)
			_, err := e.Remove(e.ctx, e.carol, d, "b", fs.RemoveAny)
			e.want(err, fs.Perm)
			_, err = e.Rename(e.ctx, e.carol, d, "b", e.home, "x", fs.RenameOptions{})
			e.want(err, fs.Perm)
			_, err = e.Remove(e.ctx, e.bob, d, "b", fs.RemoveAny) // owner of the object
			e.must(err)
			e.createAs(e.bob, d, "b", spec)
			_, err = e.Remove(e.ctx, e.alice, d, "b", fs.RemoveAny) // owner of the directory
			e.must(err)
			e.createAs(e.bob, d, "b", spec)
			_, err = e.Remove(e.ctx, e.root, d, "b", fs.RemoveAny)
			e.must(err)
		}
		e.createAs(e.bob, d, "b", fs.CreateSpec{Type: fs.File})
		e.createAs(e.carol, d, "c", fs.CreateSpec{Type: fs.File})
		_, err := e.Rename(e.ctx, e.carol, d, "c", d, "b", fs.RenameOptions{})
		e.want(err, fs.Perm) // would replace what is bob's
		_, err = e.Rename(e.ctx, e.carol, d, "c", d, "c2", fs.RenameOptions{})
		e.must(err)
	}},
	{"read_only_caller", func(e *env) {
		e.file(e.home, "f", "x")
		ro := &fs.Caller{Cred: e.root.Cred, ReadOnly: true}
		_, err := e.Remove(e.ctx, ro, e.home, "f", fs.RemoveAny)
		e.want(err, fs.ReadOnly)
		_, err = e.Create(e.ctx, ro, e.home, "g", &fs.CreateSpec{Type: fs.File})
		e.want(err, fs.ReadOnly)
		_, err = e.Rename(e.ctx, ro, e.home, "f", e.home, "g", fs.RenameOptions{})
		e.want(err, fs.ReadOnly)
		f := e.lookup(e.home, "f").Node
		_, err = e.Link(e.ctx, ro, f, e.home, "g")
		e.want(err, fs.ReadOnly)
		_, err = e.SetAttr(e.ctx, ro, f, &fs.SetAttr{Mode: ptr(fs.Mode(0))})
		e.want(err, fs.ReadOnly)
		_, err = e.Write(e.ctx, ro, f, &fs.WriteRequest{Data: []byte("y")})
		e.want(err, fs.ReadOnly)
		_, err = e.SetMeta(e.ctx, ro, f, fs.MetaXattr, "k", nil, fs.MetaUpsert)
		e.want(err, fs.ReadOnly)
		got, err := e.Access(e.ctx, ro, f, fs.RightsAll)
		e.must(err)
		if got&(fs.RightModify|fs.RightExtend|fs.RightWriteACL|fs.RightDelete|fs.RightWriteAttr) != 0 || got&fs.RightRead == 0 {
			e.Fatalf("rights of a read-only superuser: %x", got)
		}
	}},
}
