package fstest

import (
	"fmt"
	"maps"
	"slices"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// far is a retention that does not run out while the tests run; over is one
// that has.
var far, over = fs.Time{Sec: 1 << 35}, fs.Time{Sec: 1}

// exhibit is a file with everything that a file can have, two names, and a
// handle from before it was locked.
type exhibit struct {
	node   fs.Node // home/f and home/d/g
	dir    fs.Node // home/d
	stream fs.StreamID
	handle fs.Handle // may do everything
	other  fs.Node   // home/other, a file that is not locked
}

func (e *env) exhibit() *exhibit {
	e.Helper()
	x := &exhibit{node: e.file(e.home, "f", "data"), dir: e.mkdir(e.home, "d"), other: e.file(e.home, "other", "other data")}
	x.stream = e.stream(x.node, "s", "stream")
	_, err := e.Link(e.ctx, e.root, x.node, x.dir, "g")
	e.must(err)
	for _, s := range []fs.MetaSpace{fs.MetaXattr, fs.MetaEA, fs.MetaGeneric, fs.MetaS3} {
		_, err := e.SetMeta(e.ctx, e.root, x.node, s, "k", []byte("v"), fs.MetaUpsert)
		e.must(err)
	}
	x.handle = e.mustOpen(e.system, "f", func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete | fs.RightWriteAttr | fs.RightWriteACL })
	return x
}

// describe renders all that a lock protects.
func (e *env) describe(x *exhibit) string {
	e.Helper()
	a := e.attr(x.node)
	a.Mask, a.Atime, a.Change, a.Ctime, a.Retention, a.LegalHold = 0, fs.Time{}, 0, fs.Time{}, fs.Time{}, false
	p, err := e.GetACL(e.ctx, e.system, x.node)
	e.must(err)
	out := fmt.Sprintf("%+v\n%+v\n%s %s %s\n", a, p, e.content(x.node, 0), e.content(x.node, x.stream), e.streams(x.node))
	for _, s := range []fs.MetaSpace{fs.MetaXattr, fs.MetaEA, fs.MetaGeneric, fs.MetaS3} {
		e.must(e.ListMeta(e.ctx, e.system, x.node, s, "", func(key string, _ int) bool {
			v, err := e.GetMeta(e.ctx, e.system, x.node, s, key)
			out += fmt.Sprintf("%d %s=%s %v\n", s, key, v, err)
			return true
		}))
	}
	return out + fmt.Sprint(e.lookup(e.home, "f").Node, e.lookup(x.dir, "g").Node, e.names(e.home), e.names(x.dir))
}

// mutations are all the ways in which the contract lets a caller change a file.
func mutations(e *env, c *fs.Caller, x *exhibit) map[string]func() error {
	set := func(s fs.SetAttr) func() error {
		return func() error { _, err := e.SetAttr(e.ctx, c, x.node, &s); return err }
	}
	write := func(w fs.WriteRequest) func() error {
		w.Data = []byte("x")
		return func() error { _, err := e.Write(e.ctx, c, x.node, &w); return err }
	}
	now := &fs.TimeSet{Now: true}
	m := map[string]func() error{
		"write":               write(fs.WriteRequest{}),
		"write, synced":       write(fs.WriteRequest{Stability: fs.FileSync}),
		"write past end":      write(fs.WriteRequest{Offset: 1 << 20}),
		"append":              write(fs.WriteRequest{Append: true}),
		"write, owner":        write(fs.WriteRequest{OwnerOverride: true}),
		"write stream":        write(fs.WriteRequest{Stream: x.stream}),
		"zero":                func() error { _, err := e.Zero(e.ctx, c, x.node, 0, 0, 1); return err },
		"zero stream":         func() error { _, err := e.Zero(e.ctx, c, x.node, x.stream, 0, 1); return err },
		"truncate":            set(fs.SetAttr{Size: ptr(uint64(0))}),
		"grow":                set(fs.SetAttr{Size: ptr(uint64(100))}),
		"same size":           set(fs.SetAttr{Size: ptr(uint64(4))}),
		"chmod":               set(fs.SetAttr{Mode: ptr(fs.Mode(0))}),
		"chown":               set(fs.SetAttr{Owner: ptr(identity.UID(7))}),
		"chgrp":               set(fs.SetAttr{Group: ptr(identity.GID(7))}),
		"atime":               set(fs.SetAttr{Atime: now}),
		"mtime":               set(fs.SetAttr{Mtime: now}),
		"ctime":               set(fs.SetAttr{Ctime: &fs.TimeSet{Time: over}}),
		"btime":               set(fs.SetAttr{Btime: &fs.TimeSet{Time: over}}),
		"DOS attributes":      set(fs.SetAttr{DOS: ptr(fs.DOSAttr(2))}),
		"truncate and unlock": set(fs.SetAttr{Size: ptr(uint64(0)), LegalHold: ptr(false)}),
		"ACL":                 func() error { _, err := e.SetACL(e.ctx, c, x.node, &fs.ACL{Mode: 0o777, ModeOnly: true}); return err },
		"owner by ACL": func() error {
			_, err := e.SetACL(e.ctx, c, x.node, &fs.ACL{Owner: identity.UID(7), Mode: 0o666, ModeOnly: true})
			return err
		},
		"remove":         func() error { _, err := e.Remove(e.ctx, c, e.home, "f", fs.RemoveAny); return err },
		"remove a link":  func() error { _, err := e.Remove(e.ctx, c, x.dir, "g", fs.RemoveFile); return err },
		"link":           func() error { _, err := e.Link(e.ctx, c, x.node, e.home, "new"); return err },
		"rename":         func() error { _, err := e.Rename(e.ctx, c, e.home, "f", e.home, "new", fs.RenameOptions{}); return err },
		"move":           func() error { _, err := e.Rename(e.ctx, c, e.home, "f", x.dir, "new", fs.RenameOptions{}); return err },
		"rename of case": func() error { _, err := e.Rename(e.ctx, c, e.home, "f", e.home, "F", fs.RenameOptions{}); return err },
		"rename a link":  func() error { _, err := e.Rename(e.ctx, c, x.dir, "g", x.dir, "new", fs.RenameOptions{}); return err },
		"replace": func() error {
			_, err := e.Rename(e.ctx, c, e.home, "other", e.home, "f", fs.RenameOptions{})
			return err
		},
		"replace a link": func() error {
			_, err := e.Rename(e.ctx, c, e.home, "other", x.dir, "g", fs.RenameOptions{})
			return err
		},
		"replace itself": func() error {
			_, err := e.Rename(e.ctx, c, e.home, "f", e.home, "other", fs.RenameOptions{})
			return err
		},
		"create over": func() error {
			_, err := e.Create(e.ctx, c, e.home, "f", &fs.CreateSpec{Type: fs.File, Disposition: fs.CreateUnchecked, Set: fs.SetAttr{Size: ptr(uint64(0))}})
			return err
		},
		"publish over": func() error {
			_, err := e.Publish(e.ctx, c, e.staged(c, "new"), e.home, "f", &fs.PublishSpec{})
			return err
		},
		"publish on link": func() error {
			_, err := e.Publish(e.ctx, c, e.staged(c, "new"), x.dir, "g", &fs.PublishSpec{})
			return err
		},
		"copy into":        func() error { _, err := e.CopyRange(e.ctx, c, x.other, 0, 0, x.node, 0, 0, 5); return err },
		"copy to its end":  func() error { _, err := e.CopyRange(e.ctx, c, x.other, 0, 0, x.node, 0, 4, 5); return err },
		"copy into stream": func() error { _, err := e.CopyRange(e.ctx, c, x.other, 0, 0, x.node, x.stream, 0, 5); return err },
		"copy within":      func() error { _, err := e.CopyRange(e.ctx, c, x.node, 0, 0, x.node, 0, 10, 2); return err },
		"new stream":       func() error { _, err := e.CreateStream(e.ctx, c, x.node, "t", true); return err },
		"resize stream":    func() error { _, err := e.SetStreamSize(e.ctx, c, x.node, x.stream, 1); return err },
		"rename stream":    func() error { return e.RenameStream(e.ctx, c, x.node, x.stream, "t") },
		"remove stream":    func() error { return e.RemoveStream(e.ctx, c, x.node, x.stream) },
		"handle: write":    func() error { _, err := x.handle.Write(e.ctx, &fs.WriteRequest{Data: []byte("x")}); return err },
		"handle: append": func() error {
			_, err := x.handle.Write(e.ctx, &fs.WriteRequest{Data: []byte("x"), Append: true})
			return err
		},
		"handle: truncate": func() error { _, err := x.handle.SetAttr(e.ctx, &fs.SetAttr{Size: ptr(uint64(0))}); return err },
		"handle: mtime":    func() error { _, err := x.handle.SetAttr(e.ctx, &fs.SetAttr{Mtime: now}); return err },
		"handle: delete":   func() error { return x.handle.SetDeleteOnClose(e.ctx, true) },
		"tree delete":      func() error { _, err := e.StartTreeDelete(e.ctx, c, e.home.ID); return err },
	}
	for _, s := range []fs.MetaSpace{fs.MetaXattr, fs.MetaEA, fs.MetaGeneric, fs.MetaS3} {
		m[fmt.Sprintf("set metadata %d", s)] = func() error { _, err := e.SetMeta(e.ctx, c, x.node, s, "k", []byte("w"), fs.MetaUpsert); return err }
		m[fmt.Sprintf("new metadata %d", s)] = func() error { _, err := e.SetMeta(e.ctx, c, x.node, s, "l", nil, fs.MetaCreate); return err }
		m[fmt.Sprintf("remove metadata %d", s)] = func() error { _, err := e.RemoveMeta(e.ctx, c, x.node, s, "k"); return err }
	}
	open := func(change func(o *fs.OpenSpec)) func() error {
		return func() error {
			h, _, err := e.opened(c, "f", change)
			if err == nil {
				err = h.Close(e.ctx)
			}
			return err
		}
	}
	for name, d := range map[string]fs.OpenDisposition{"supersede": fs.OpenSupersede, "overwrite": fs.OpenOverwrite, "overwrite if": fs.OpenOverwriteIf} {
		m["open: "+name] = open(func(o *fs.OpenSpec) { o.Disposition = d })
		m["open stream: "+name] = open(func(o *fs.OpenSpec) { o.Disposition, o.StreamName = d, "s" })
	}
	m["open stream: create"] = open(func(o *fs.OpenSpec) { o.Disposition, o.StreamName = fs.OpenCreate, "t" })
	m["open: delete on close"] = open(func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete; o.DeleteOnClose = true })
	m["open stream: delete on close"] = open(func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete; o.StreamName, o.DeleteOnClose = "s", true })
	return m
}

var wormTests = []test{
	{"every_mutation", func(e *env) {
		for name, lock := range map[string]fs.SetAttr{
			"hold": {LegalHold: ptr(true)}, "retention": {Retention: &far}, "both": {Retention: &far, LegalHold: ptr(true)}, "hold after retention": {Retention: &over, LegalHold: ptr(true)},
		} {
			home := e.home
			e.home = e.mkdir(home, name)
			x := e.exhibit()
			_, err := e.SetAttr(e.ctx, e.system, x.node, &lock)
			e.must(err)
			before, attr := e.describe(x), e.attr(x.node)
			for who, c := range map[string]*fs.Caller{"root": e.root, "system": e.system} {
				m := mutations(e, c, x)
				for _, what := range slices.Sorted(maps.Keys(m)) {
					if err := m[what](); fs.KindOf(err) != fs.WORM || err == nil {
						e.Errorf("%s, %s: %s of a locked file: %v", name, who, what, err)
					}
				}
			}
			if after := e.describe(x); after != before {
				e.Errorf("%s: the file changed from\n%s\nto\n%s", name, before, after)
			}
			e.same(name, attr, e.attr(x.node))
			eq(e, "locked files", e.totals(e.home).WORM, 1)
			e.must(x.handle.Close(e.ctx))
			e.hasContent(e.lookup(e.home, "f").Node, "data")
			e.exact(name, e.home)
			e.home = home
		}
	}},
	{"allowed", func(e *env) {
		x := e.exhibit()
		_, err := e.SetAttr(e.ctx, e.system, x.node, &fs.SetAttr{LegalHold: ptr(true)})
		e.must(err)
		before := e.describe(x)
		// What changes nothing: reading, finding, opening for writing, copying from.
		_, err = e.Create(e.ctx, e.root, e.home, "f", &fs.CreateSpec{Type: fs.File, Disposition: fs.CreateUnchecked})
		e.must(err)
		_, err = e.CreateStream(e.ctx, e.root, x.node, "s", false)
		e.must(err)
		_, err = e.Rename(e.ctx, e.root, e.home, "f", x.dir, "g", fs.RenameOptions{}) // one object under two names
		e.must(err)
		e.must(e.mustOpen(e.root, "f", nil).Close(e.ctx))
		copied := e.file(e.home, "copy", "")
		_, err = e.CopyRange(e.ctx, e.root, x.node, 0, 0, copied, 0, 0, 4)
		e.must(err)
		e.hasContent(copied, "data")
		e.write(copied, 0, "x") // a copy is not locked
		_, err = e.Remove(e.ctx, e.root, e.home, "copy", fs.RemoveAny)
		e.must(err)
		_, err = e.lock(x.node, "a", 0, 1, true)
		e.must(err)
		n := e.staged(e.root, "")
		_, err = e.Splice(e.ctx, e.root, n, []fs.Node{x.node})
		e.must(err)
		e.must(e.Unstage(e.ctx, e.root, n))
		s := e.snapshot(e.home)
		e.hasContent(at(x.node, s), "data")
		e.must(e.DeleteSnapshot(e.ctx, s.ID))
		if after := e.describe(x); after != before {
			e.Errorf("the file changed from\n%s\nto\n%s", before, after)
		}
		// A directory above may be moved: the file keeps its name and its lock.
		_, err = e.rename(fs.Root, "home", fs.Root, "elsewhere")
		e.must(err)
		_, err = e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveAny)
		e.want(err, fs.WORM)
		_, err = e.StartTreeDelete(e.ctx, e.root, e.home.ID)
		e.want(err, fs.WORM)
		_, err = e.rename(fs.Root, "elsewhere", fs.Root, "home")
		e.must(err)
		// All of it goes once the hold is off.
		_, err = e.SetAttr(e.ctx, e.system, x.node, &fs.SetAttr{LegalHold: ptr(false)})
		e.must(err)
		e.write(x.node, 0, "x")
		eq(e, "locked files", e.totals(fs.Root).WORM, 0)
		e.must(x.handle.Close(e.ctx))
		_, err = e.StartTreeDelete(e.ctx, e.root, x.dir.ID)
		e.must(err)
		e.treeGone(x.dir.ID)
	}},
	{"who_may_lock", func(e *env) {
		f := e.file(e.home, "f", "data")
		for _, s := range []fs.SetAttr{{LegalHold: ptr(true)}, {LegalHold: ptr(false)}, {Retention: &far}} {
			_, err := e.SetAttr(e.ctx, e.alice, f, &s)
			e.want(err, fs.Perm)
		}
		keeper := posix(1000, 1000)
		keeper.Cred.Privileges |= identity.FileLockWrite
		_, err := e.SetAttr(e.ctx, keeper, f, &fs.SetAttr{LegalHold: ptr(true)})
		e.must(err)
		eq(e, "hold", e.attr(f).LegalHold, true)
		_, err = e.SetAttr(e.ctx, e.alice, f, &fs.SetAttr{LegalHold: ptr(false)})
		e.want(err, fs.Perm)
		for _, n := range []fs.Node{e.home, e.symlink(e.home, "s", "t"), e.object(e.home, "p", "fifo")} {
			_, err = e.SetAttr(e.ctx, e.system, n, &fs.SetAttr{LegalHold: ptr(true)})
			e.want(err, fs.NotFile)
		}
		s := e.snapshot(e.home)
		_, err = e.SetAttr(e.ctx, e.system, at(f, s), &fs.SetAttr{LegalHold: ptr(false)})
		e.want(err, fs.ReadOnly)
	}},
	{"retention", func(e *env) {
		f := e.file(e.home, "f", "data")
		_, err := e.SetAttr(e.ctx, e.system, f, &fs.SetAttr{Retention: &far})
		e.must(err)
		eq(e, "retention", e.attr(f).Retention, far)
		for _, t := range []fs.Time{over, {}, {Sec: far.Sec - 1, Nsec: 999999999}} {
			_, err = e.SetAttr(e.ctx, e.system, f, &fs.SetAttr{Retention: &t})
			e.want(err, fs.WORM)
			_, err = e.SetAttr(e.ctx, e.system, f, &fs.SetAttr{Retention: &t, LegalHold: ptr(true)})
			e.want(err, fs.WORM)
		}
		eq(e, "hold", e.attr(f).LegalHold, false)
		further := fs.Time{Sec: far.Sec + 1}
		_, err = e.SetAttr(e.ctx, e.system, f, &fs.SetAttr{Retention: &further})
		e.must(err)
		eq(e, "retention", e.attr(f).Retention, further)
		// A hold that goes leaves the retention.
		_, err = e.SetAttr(e.ctx, e.system, f, &fs.SetAttr{LegalHold: ptr(true)})
		e.must(err)
		_, err = e.SetAttr(e.ctx, e.system, f, &fs.SetAttr{LegalHold: ptr(false)})
		e.must(err)
		_, err = e.Remove(e.ctx, e.root, e.home, "f", fs.RemoveAny)
		e.want(err, fs.WORM)
		eq(e, "locked files", e.totals(fs.Root).WORM, 1)
	}},
	{"retention_over", func(e *env) {
		d := e.mkdir(e.home, "d")
		f, g := e.file(d, "f", "data"), e.file(e.mkdir(d, "sub"), "g", "")
		for _, n := range []fs.Node{f, g} {
			_, err := e.SetAttr(e.ctx, e.system, n, &fs.SetAttr{Retention: &over})
			e.must(err)
		}
		e.write(f, 0, "x")
		e.exact("over", fs.Root)
		// A tree with nothing but retentions that are over can be deleted, and
		// only by who may; one file under a lock keeps it as it is.
		_, err := e.SetAttr(e.ctx, e.system, g, &fs.SetAttr{LegalHold: ptr(true)})
		e.must(err)
		_, err = e.StartTreeDelete(e.ctx, e.root, d.ID)
		e.want(err, fs.WORM)
		eq(e, "retention", e.attr(f).Retention, over)
		_, err = e.SetAttr(e.ctx, e.system, g, &fs.SetAttr{LegalHold: ptr(false)})
		e.must(err)
		e.chmod(e.home, 0o755)
		_, err = e.StartTreeDelete(e.ctx, e.alice, d.ID)
		e.want(err, fs.Access)
		eq(e, "retention", e.attr(f).Retention, over)
		_, err = e.StartTreeDelete(e.ctx, e.root, d.ID)
		e.must(err)
		e.treeGone(d.ID)
		e.missing(e.home, "d")
		e.exact("after", fs.Root)
		eq(e, "locked files", e.totals(fs.Root).WORM, 0)
	}},
	{"made_locked", func(e *env) {
		_, err := e.Create(e.ctx, e.alice, e.home, "f", &fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{LegalHold: ptr(true)}})
		e.want(err, fs.Perm)
		_, err = e.Create(e.ctx, e.system, e.home, "d", &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Retention: &far}})
		e.want(err, fs.NotFile)
		e.has(e.home)
		a := e.createAs(e.system, e.home, "f", fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Retention: &far, LegalHold: ptr(true)}})
		eq(e, "retention", a.Retention, far)
		eq(e, "hold", a.LegalHold, true)
		_, err = e.Write(e.ctx, e.system, a.Node, &fs.WriteRequest{Data: []byte("x")})
		e.want(err, fs.WORM)
		eq(e, "locked files", e.totals(fs.Root).WORM, 1)
		e.exact("made", fs.Root)
	}},
	{"what_was_under_way", func(e *env) {
		// What was acknowledged before the lock is kept, buffered or not.
		f := e.file(e.home, "f", "data")
		_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Offset: 4, Data: []byte("more")})
		e.must(err)
		doomed := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete; o.DeleteOnClose = true })
		sid := e.stream(f, "s", "stream")
		stream := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete; o.StreamName, o.DeleteOnClose = "s", true })
		_, err = e.SetAttr(e.ctx, e.system, f, &fs.SetAttr{LegalHold: ptr(true)})
		e.must(err)
		_, _, err = e.Commit(e.ctx, e.root, f, 0, 0, 0)
		e.must(err)
		_ = stream.Close(e.ctx)
		_ = doomed.Close(e.ctx)
		e.hasContent(e.lookup(e.home, "f").Node, "datamore")
		eq(e, "stream", e.content(f, sid), "stream")
		// An object without a name cannot be kept from going, nor be a reason to keep a tree.
		g := e.file(e.home, "g", "")
		h := e.mustOpen(e.root, "g", nil)
		_, err = e.Remove(e.ctx, e.root, e.home, "g", fs.RemoveAny)
		e.must(err)
		if _, err = e.SetAttr(e.ctx, e.system, g, &fs.SetAttr{LegalHold: ptr(true)}); err == nil {
			_, err = h.Write(e.ctx, &fs.WriteRequest{Data: []byte("x")})
			e.want(err, fs.WORM)
		}
		e.must(h.Close(e.ctx))
		eq(e, "locked files", e.totals(fs.Root).WORM, 1)
		e.exact("after", fs.Root)
	}},
}
