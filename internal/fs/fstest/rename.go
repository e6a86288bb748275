package fstest

import (
	"fmt"

	"manifold/internal/fs"
)

func (e *env) rename(from fs.Node, name string, to fs.Node, newName string) (fs.RenameResult, error) {
	return e.Rename(e.ctx, e.root, from, name, to, newName, fs.RenameOptions{})
}

var renameTests = []test{
	{"within_directory", func(e *env) {
		f := e.file(e.home, "a", "data")
		fb, db := e.attr(f), e.attr(e.home)
		r, err := e.rename(e.home, "a", e.home, "b")
		e.must(err)
		eq(e, "node", r.Node, f)
		eq(e, "replaced", r.Replaced, fs.Node{})
		e.wcc("from", r.From, db)
		e.wcc("to", r.To, db)
		e.later("directory", db, e.attr(e.home))
		e.later("file", fb, e.attr(f))
		eq(e, "mtime", e.attr(f).Mtime, fb.Mtime)
		e.has(e.home, "b")
		e.hasContent(f, "data")
	}},
	{"between_directories", func(e *env) {
		a, b := e.mkdir(e.home, "a"), e.mkdir(e.home, "b")
		f := e.file(a, "f", "data")
		sub := e.mkdir(a, "sub")
		deep := e.file(sub, "deep", "deep")
		ab, bb := e.attr(a), e.attr(b)
		r, err := e.rename(a, "f", b, "g")
		e.must(err)
		e.wcc("from", r.From, ab)
		e.wcc("to", r.To, bb)
		ab, bb = e.attr(a), e.attr(b)
		_, err = e.rename(a, "sub", b, "sub2")
		e.must(err)
		eq(e, "links of source", e.attr(a).Links, ab.Links-1)
		eq(e, "links of target", e.attr(b).Links, bb.Links+1)
		eq(e, "..", e.lookup(sub, "..").Node, b)
		eq(e, "parent", e.attr(sub).Parent, b.ID)
		eq(e, "parent of file", e.attr(f).Parent, b.ID)
		eq(e, "name in it", e.attr(sub).ParentName, "sub2")
		eq(e, "name of file", e.attr(f).ParentName, "g")
		e.has(a)
		e.has(b, "g", "sub2")
		p, err := e.PathOf(e.ctx, deep)
		e.must(err)
		eq(e, "path", p, "/home/b/sub2/deep")
	}},
	{"matrix", func(e *env) {
		const none = fs.Kind(255) // success
		for _, c := range []struct {
			from, to string
			want     fs.Kind
		}{
			{"file", "file", none}, {"file", "symlink", none}, {"file", "fifo", none},
			{"file", "dir", fs.IsDir}, {"file", "full", fs.IsDir},
			{"symlink", "file", none}, {"symlink", "dir", fs.IsDir}, {"fifo", "file", none}, {"fifo", "dir", fs.IsDir},
			{"dir", "file", fs.NotDir}, {"dir", "symlink", fs.NotDir}, {"dir", "fifo", fs.NotDir},
			{"dir", "dir", none}, {"dir", "full", fs.NotEmpty}, {"full", "dir", none}, {"full", "full", fs.NotEmpty},
			{"full", "file", fs.NotDir},
		} {
			for _, same := range []bool{true, false} {
				name := fmt.Sprintf("%s onto %s, same directory %v", c.from, c.to, same)
				top := e.mkdir(e.home, name)
				to := top
				if !same {
					to = e.mkdir(top, "other")
				}
				src := e.object(top, "src", c.from)
				dst := e.object(to, "dst", c.to)
				db := e.attr(dst)
				r, err := e.rename(top, "src", to, "dst")
				if c.want != none {
					e.want(err, c.want)
					eq(e, name+": source", e.lookup(top, "src").Node, src)
					e.same(name+": target", db, e.lookup(to, "dst"))
					continue
				}
				if err != nil {
					e.Fatalf("%s: %v", name, err)
				}
				eq(e, name+": replaced", r.Replaced, dst)
				eq(e, name+": target", e.lookup(to, "dst").Node, src)
				e.missing(top, "src")
				_, err = e.GetAttr(e.ctx, e.root, dst, 0)
				e.want(err, fs.Stale)
			}
		}
	}},
	{"missing", func(e *env) {
		_, err := e.rename(e.home, "no", e.home, "x")
		e.want(err, fs.NotExist)
		f := e.file(e.home, "f", "")
		_, err = e.rename(f, "x", e.home, "y")
		e.want(err, fs.NotDir)
		_, err = e.rename(e.home, "f", f, "y")
		e.want(err, fs.NotDir)
	}},
	{"below_itself", func(e *env) {
		a := e.mkdir(e.home, "a")
		b := e.mkdir(a, "b")
		c := e.mkdir(b, "c")
		for _, to := range []fs.Node{a, b, c} {
			_, err := e.rename(e.home, "a", to, "x")
			e.want(err, fs.Loop)
		}
		// Onto what it is below: never empty.
		_, err := e.rename(b, "c", e.home, "a")
		e.want(err, fs.NotEmpty)
		_, err = e.rename(a, "b", e.home, "b")
		e.must(err)
		_, err = e.rename(e.home, "a", c, "a")
		e.must(err)
		p, err := e.PathOf(e.ctx, a)
		e.must(err)
		eq(e, "path", p, "/home/b/c/a")
	}},
	{"same_object", func(e *env) {
		f := e.file(e.home, "f", "")
		_, err := e.Link(e.ctx, e.root, f, e.home, "g")
		e.must(err)
		fb, db := e.attr(f), e.attr(e.home)
		r, err := e.rename(e.home, "f", e.home, "g")
		e.must(err)
		eq(e, "node", r.Node, f)
		_, err = e.rename(e.home, "f", e.home, "f")
		e.must(err)
		e.same("file", fb, e.attr(f))
		e.same("directory", db, e.attr(e.home))
		e.has(e.home, "f", "g")
		d := e.mkdir(e.home, "d")
		_, err = e.rename(e.home, "d", e.home, "d")
		e.must(err)
		eq(e, "directory", e.lookup(e.home, "d").Node, d)
	}},
	{"no_replace", func(e *env) {
		f := e.file(e.home, "f", "1")
		g := e.file(e.home, "g", "2")
		o := fs.RenameOptions{NoReplace: true}
		_, err := e.Rename(e.ctx, e.root, e.home, "f", e.home, "g", o)
		e.want(err, fs.Exist)
		e.hasContent(f, "1")
		e.hasContent(g, "2")
		_, err = e.Rename(e.ctx, e.root, e.home, "f", e.home, "h", o)
		e.must(err)
		e.has(e.home, "g", "h")
	}},
	{"case_only", func(e *env) {
		f := e.file(e.home, "name", "")
		_, err := e.rename(e.home, "name", e.home, "NAME")
		e.must(err)
		e.has(e.home, "NAME")
		eq(e, "node", e.lookup(e.home, "NAME").Node, f)
	}},
	{"replaced_has_other_links", func(e *env) {
		e.file(e.home, "f", "new")
		old := e.file(e.home, "old", "old")
		_, err := e.Link(e.ctx, e.root, old, e.home, "keep")
		e.must(err)
		before := e.attr(old)
		_, err = e.rename(e.home, "f", e.home, "old")
		e.must(err)
		eq(e, "links", e.attr(old).Links, 1)
		e.later("old file", before, e.attr(old))
		e.hasContent(old, "old")
		e.hasContent(e.lookup(e.home, "old").Node, "new")
	}},
	{"permission", func(e *env) {
		open := e.mkdirAs(e.alice, e.home, "open", 0o777)
		shut := e.mkdirAs(e.alice, e.home, "shut", 0o755)
		e.fileAs(e.alice, open, "f", 0o644)
		e.fileAs(e.alice, shut, "f", 0o644)
		for _, c := range []struct{ from, to fs.Node }{{shut, open}, {open, shut}, {shut, shut}} {
			_, err := e.Rename(e.ctx, e.bob, c.from, "f", c.to, "g", fs.RenameOptions{})
			e.want(err, fs.Access)
		}
		_, err := e.Rename(e.ctx, e.bob, open, "f", open, "g", fs.RenameOptions{})
		e.must(err)
	}},
	{"moving_a_directory_needs_write_on_it", func(e *env) {
		a, b := e.mkdir(e.home, "a"), e.mkdir(e.home, "b")
		e.mkdirAs(e.alice, a, "d", 0o755)
		_, err := e.Rename(e.ctx, e.bob, a, "d", b, "d", fs.RenameOptions{})
		e.want(err, fs.Access)
		_, err = e.Rename(e.ctx, e.bob, a, "d", a, "d2", fs.RenameOptions{})
		e.must(err) // ".." stays
		_, err = e.Rename(e.ctx, e.alice, a, "d2", b, "d", fs.RenameOptions{})
		e.must(err)
	}},
	{"snapshots", func(e *env) {
		e.file(e.home, "f", "")
		s := e.snapshot(e.home)
		_, err := e.rename(at(e.home, s), "f", e.home, "g")
		e.want(err, fs.CrossDevice)
		_, err = e.rename(e.home, "f", at(e.home, s), "g")
		e.want(err, fs.CrossDevice)
		_, err = e.rename(at(e.home, s), "f", at(e.home, s), "g")
		e.want(err, fs.ReadOnly)
	}},
}

// object makes an object of a kind that the rename matrix knows.
func (e *env) object(dir fs.Node, name, kind string) fs.Node {
	e.Helper()
	switch kind {
	case "file":
		return e.file(dir, name, kind)
	case "symlink":
		return e.symlink(dir, name, kind)
	case "fifo":
		return e.createAs(e.root, dir, name, fs.CreateSpec{Type: fs.FIFO}).Node
	}
	d := e.mkdir(dir, name)
	if kind == "full" {
		e.file(d, "in", "")
	}
	return d
}
