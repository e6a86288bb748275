package fstest

import (
	"fmt"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

func (e *env) stage(c *fs.Caller, owner string) fs.Node {
	e.Helper()
	n, err := e.Stage(e.ctx, c, &fs.StageSpec{Dir: e.home, Owner: owner})
	e.must(err)
	return n
}

// staged stages a file with contents, unstable ones.
func (e *env) staged(c *fs.Caller, data string) fs.Node {
	e.Helper()
	n := e.stage(c, "")
	e.append(c, n, data)
	return n
}

func (e *env) append(c *fs.Caller, n fs.Node, data string) {
	e.Helper()
	_, err := e.Write(e.ctx, c, n, &fs.WriteRequest{Data: []byte(data), Append: true})
	e.must(err)
}

func (e *env) publish(c *fs.Caller, n, dir fs.Node, name string, p fs.PublishSpec) fs.PublishResult {
	e.Helper()
	p.Want = fs.AttrEverything
	r, err := e.Publish(e.ctx, c, n, dir, name, &p)
	e.must(err)
	return r
}

func (e *env) listStaged(prefix string, after *fs.Staged) (out []fs.Staged) {
	e.Helper()
	e.must(e.ListStaged(e.ctx, prefix, after, func(s *fs.Staged) bool {
		out = append(out, *s)
		return true
	}))
	return out
}

var stageTests = []test{
	{"publish", func(e *env) {
		before, dir := e.totals(fs.Root), e.attr(e.home)
		n := e.staged(e.alice, "hello")
		a := e.attr(n)
		eq(e, "links", a.Links, 0)
		eq(e, "mode", a.Mode, 0o600)
		eq(e, "size", a.Size, 5)
		e.has(e.home)
		eq(e, "totals while staged", e.totals(fs.Root), before)
		_, err := e.PathOf(e.ctx, n)
		e.want(err, fs.Stale)
		_, err = e.SetMeta(e.ctx, e.alice, n, fs.MetaGeneric, "early", []byte("1"), fs.MetaUpsert)
		e.must(err)
		r := e.publish(e.alice, n, e.home, "f", fs.PublishSpec{
			Set:  fs.SetAttr{Mode: ptr(fs.Mode(0o640)), Mtime: &fs.TimeSet{Time: fs.Time{Sec: 12345}}},
			Meta: []fs.MetaItem{{Space: fs.MetaS3, Key: "k", Value: []byte("v")}, {Space: fs.MetaXattr, Key: "x", Value: nil}},
		})
		eq(e, "node", r.Attr.Node, n)
		eq(e, "replaced", r.Replaced, fs.Node{})
		e.wcc("publish", r.Dir, dir)
		got := e.lookup(e.home, "f")
		e.same("answer", r.Attr, got)
		eq(e, "links", got.Links, 1)
		eq(e, "mode", got.Mode, 0o640)
		eq(e, "owner", got.Owner, identity.UID(1000))
		eq(e, "mtime", got.Mtime, fs.Time{Sec: 12345})
		eq(e, "parent", got.Parent, e.home.ID)
		eq(e, "name in it", got.ParentName, "f")
		e.later("file", a, got)
		e.hasContent(n, "hello")
		for k, want := range map[string]string{"early": "1", "k": "v"} {
			space := fs.MetaS3
			if k == "early" {
				space = fs.MetaGeneric
			}
			v, err := e.GetMeta(e.ctx, e.alice, n, space, k)
			e.must(err)
			eq(e, "metadata", string(v), want)
		}
		eq(e, "totals", e.totals(e.home), walked(e, e.home))
		_, err = e.Publish(e.ctx, e.alice, n, e.home, "g", &fs.PublishSpec{})
		e.want(err, fs.Stale)
		e.want(e.Unstage(e.ctx, e.alice, n), fs.Stale)
	}},
	{"replace", func(e *env) {
		old := e.file(e.home, "f", "old and longer")
		s := e.snapshot(e.home)
		h, _, err := e.opened(e.root, "f", nil)
		e.must(err)
		n := e.staged(e.alice, "new")
		_, err = e.Publish(e.ctx, e.alice, n, e.home, "f", &fs.PublishSpec{NoReplace: true})
		e.want(err, fs.Exist)
		e.hasContent(old, "old and longer")
		r := e.publish(e.alice, n, e.home, "f", fs.PublishSpec{})
		eq(e, "replaced", r.Replaced, old)
		e.has(e.home, "f")
		e.hasContent(e.lookup(e.home, "f").Node, "new")
		e.hasContent(old, "old and longer") // open
		e.must(h.Close(e.ctx))
		_, err = e.GetAttr(e.ctx, e.root, old, 0)
		e.want(err, fs.Stale)
		e.hasContent(at(old, s), "old and longer")
		_, err = e.GetAttr(e.ctx, e.root, at(n, s), 0)
		e.want(err, fs.Stale)
		eq(e, "totals", e.totals(e.home), walked(e, e.home))
		e.mkdir(e.home, "d")
		_, err = e.Publish(e.ctx, e.root, e.staged(e.root, ""), e.home, "d", &fs.PublishSpec{})
		e.want(err, fs.IsDir)
	}},
	{"conditions", func(e *env) {
		n := e.staged(e.root, "1")
		_, err := e.Publish(e.ctx, e.root, n, e.home, "f", &fs.PublishSpec{Replaces: &fs.Version{ID: 77}})
		e.want(err, fs.RevisionMismatch)
		f := e.file(e.home, "f", "0")
		seen := e.attr(f)
		_, err = e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: []byte("x")}) // unstable
		e.must(err)
		_, err = e.Publish(e.ctx, e.root, n, e.home, "f", &fs.PublishSpec{Replaces: &fs.Version{ID: f.ID, Change: seen.Change}})
		e.want(err, fs.RevisionMismatch)
		_, err = e.Publish(e.ctx, e.root, n, e.home, "f", &fs.PublishSpec{Replaces: &fs.Version{ID: n.ID, Change: e.attr(f).Change}})
		e.want(err, fs.RevisionMismatch)
		e.hasContent(f, "x")
		e.publish(e.root, n, e.home, "f", fs.PublishSpec{Replaces: &fs.Version{ID: f.ID, Change: e.attr(f).Change}})
		e.hasContent(e.lookup(e.home, "f").Node, "1")
		m := e.staged(e.root, "2")
		e.publish(e.root, m, e.home, "f", fs.PublishSpec{Replaces: &fs.Version{ID: n.ID}})
		e.hasContent(e.lookup(e.home, "f").Node, "2")
	}},
	{"links", func(e *env) {
		d := e.mkdir(e.home, "d")
		e.file(d, "taken", "")
		n := e.staged(e.root, "data")
		_, err := e.Publish(e.ctx, e.root, n, e.home, "f", &fs.PublishSpec{Links: []fs.Entry{{Dir: d, Name: "taken"}}})
		e.want(err, fs.Exist)
		_, err = e.Publish(e.ctx, e.root, n, e.home, "f", &fs.PublishSpec{Links: []fs.Entry{{Dir: e.home, Name: "f"}}})
		e.want(err, fs.Exist)
		e.missing(e.home, "f")
		r := e.publish(e.root, n, e.home, "f", fs.PublishSpec{Links: []fs.Entry{{Dir: d, Name: "l"}, {Dir: e.home, Name: "m"}}})
		eq(e, "links", r.Attr.Links, 3)
		for dir, name := range map[fs.Node]string{d: "l", e.home: "m"} {
			eq(e, "node", e.lookup(dir, name).Node, n)
		}
		eq(e, "totals", e.totals(e.home), walked(e, e.home))
	}},
	{"permissions", func(e *env) {
		d := e.mkdirAs(e.alice, e.home, "d", 0o755)
		n := e.staged(e.bob, "data")
		_, err := e.Read(e.ctx, e.carol, n, &fs.ReadRequest{}, make([]byte, 4))
		e.want(err, fs.Access)
		_, err = e.Write(e.ctx, e.carol, n, &fs.WriteRequest{Data: []byte("x")})
		e.want(err, fs.Access)
		_, err = e.Publish(e.ctx, e.bob, n, d, "f", &fs.PublishSpec{})
		e.want(err, fs.Access)
		_, err = e.Publish(e.ctx, e.alice, n, d, "f", &fs.PublishSpec{})
		e.want(err, fs.Access) // not hers
		e.want(e.Unstage(e.ctx, e.alice, n), fs.Access)
		_, err = e.Splice(e.ctx, e.alice, n, nil)
		e.want(err, fs.Access)
		_, err = e.Publish(e.ctx, e.bob, n, e.home, "f", &fs.PublishSpec{Set: fs.SetAttr{Owner: ptr(identity.UID(0))}})
		e.want(err, fs.Perm)
		_, err = e.Publish(e.ctx, e.bob, n, e.home, "f", &fs.PublishSpec{Set: fs.SetAttr{LegalHold: ptr(true)}})
		e.want(err, fs.Perm)
		ro := *e.bob
		ro.ReadOnly = true
		_, err = e.Publish(e.ctx, &ro, n, e.home, "f", &fs.PublishSpec{})
		e.want(err, fs.ReadOnly)
		_, err = e.Stage(e.ctx, &ro, &fs.StageSpec{Dir: e.home})
		e.want(err, fs.ReadOnly)
		e.fileAs(e.alice, e.home, "sticky", 0o666)
		e.chmod(e.home, fs.ModeSticky|0o777)
		_, err = e.Publish(e.ctx, e.bob, n, e.home, "sticky", &fs.PublishSpec{})
		e.want(err, fs.Perm)
		e.chmod(e.home, 0o777)
		set := fs.ACL{Control: fs.ACLPresent, Entries: []fs.ACE{
			{Type: fs.ACEAllow, Flags: fs.ACEObjectInherit | fs.ACEContainerInherit, Trustee: identity.UID(1001), Rights: fs.RightsAll}}}
		_, err = e.SetACL(e.ctx, e.alice, d, &set)
		e.must(err)
		e.publish(e.bob, n, d, "f", fs.PublishSpec{})
		made := e.fileAs(e.bob, d, "g", 0o600)
		_, err = e.Remove(e.ctx, e.bob, d, "g", fs.RemoveAny)
		e.must(err)
		made = e.createAs(e.bob, d, "g", fs.CreateSpec{Type: fs.File}).Node
		x, err := e.GetACL(e.ctx, e.bob, n)
		e.must(err)
		y, err := e.GetACL(e.ctx, e.bob, made)
		e.must(err)
		eq(e, "inherited", fmt.Sprint(x.Entries), fmt.Sprint(y.Entries))
		_, err = e.Link(e.ctx, e.root, e.stage(e.root, ""), e.home, "no")
		e.want(err, fs.Stale)
	}},
	{"invalid", func(e *env) {
		n := e.staged(e.root, "data")
		_, err := e.Publish(e.ctx, e.root, n, e.home, "f", &fs.PublishSpec{Set: fs.SetAttr{Size: ptr(uint64(1))}})
		e.want(err, fs.Invalid)
		_, err = e.Publish(e.ctx, e.root, n, e.home, "a/b", &fs.PublishSpec{})
		e.want(err, fs.NameInvalid)
		_, err = e.Publish(e.ctx, e.root, n, e.home, "f", &fs.PublishSpec{Meta: make([]fs.MetaItem, fs.MaxPublishMetaItems+1)})
		e.want(err, fs.TooMany)
		_, err = e.Publish(e.ctx, e.root, n, e.home, "f", &fs.PublishSpec{Meta: []fs.MetaItem{{Space: 99, Key: "k"}}})
		e.want(err, fs.Invalid)
		f := e.file(e.home, "f", "")
		_, err = e.Publish(e.ctx, e.root, f, e.home, "g", &fs.PublishSpec{})
		e.want(err, fs.Stale)
		_, err = e.Publish(e.ctx, e.root, n, f, "g", &fs.PublishSpec{})
		e.want(err, fs.NotDir)
		d := e.mkdir(e.home, "d")
		_, err = e.Remove(e.ctx, e.root, e.home, "d", fs.RemoveAny)
		e.must(err)
		_, err = e.Publish(e.ctx, e.root, n, d, "g", &fs.PublishSpec{})
		e.want(err, fs.Stale)
		_, err = e.Stage(e.ctx, e.root, &fs.StageSpec{Dir: d})
		e.want(err, fs.Stale)
		_, err = e.Stage(e.ctx, e.root, &fs.StageSpec{Dir: f})
		e.want(err, fs.NotDir)
		_, err = e.Stage(e.ctx, e.root, &fs.StageSpec{Dir: e.home, Owner: strings.Repeat("x", fs.MaxStageOwner+1)})
		e.want(err, fs.NameTooLong)
		_, err = e.Stage(e.ctx, e.root, &fs.StageSpec{Dir: e.home, Owner: "a\x00"})
		e.want(err, fs.Invalid)
		e.publish(e.root, n, e.home, "g", fs.PublishSpec{}) // after all of that
		e.hasContent(n, "data")
	}},
	{"locked", func(e *env) {
		f := e.file(e.home, "f", "data")
		_, err := e.SetAttr(e.ctx, e.system, f, &fs.SetAttr{LegalHold: ptr(true)})
		e.must(err)
		n := e.staged(e.root, "new")
		_, err = e.Publish(e.ctx, e.root, n, e.home, "f", &fs.PublishSpec{})
		e.want(err, fs.WORM)
		far := fs.Time{Sec: 1 << 35}
		m := e.staged(e.system, "kept")
		r := e.publish(e.system, m, e.home, "g", fs.PublishSpec{Set: fs.SetAttr{Retention: &far, LegalHold: ptr(true)}})
		eq(e, "retention", r.Attr.Retention, far)
		eq(e, "hold", r.Attr.LegalHold, true)
		eq(e, "locked files", e.totals(fs.Root).WORM, 2)
		_, err = e.Remove(e.ctx, e.root, e.home, "g", fs.RemoveAny)
		e.want(err, fs.WORM)
	}},
	{"quota", func(e *env) {
		block := strings.Repeat("b", fs.BlockSize)
		_, err := e.SetQuota(e.ctx, e.home.ID, 6*fs.BlockSize, true, 0)
		e.must(err)
		e.file(e.home, "f", block+block) // with its inode three blocks
		n := e.stage(e.root, "")
		for range 2 {
			_, err = e.Write(e.ctx, e.root, n, &fs.WriteRequest{Data: []byte(block), Append: true, Stability: fs.FileSync})
			e.must(err)
		}
		_, err = e.Write(e.ctx, e.root, n, &fs.WriteRequest{Data: []byte("x"), Append: true, Stability: fs.FileSync})
		e.want(err, fs.QuotaExceeded)
		e.publish(e.root, n, e.home, "g", fs.PublishSpec{})
		m := e.stage(e.root, "")
		_, err = e.Publish(e.ctx, e.root, m, e.home, "h", &fs.PublishSpec{})
		e.want(err, fs.QuotaExceeded)
		e.publish(e.root, m, e.home, "g", fs.PublishSpec{}) // gives more than it takes
		q, err := e.Quota(e.ctx, e.home.ID)
		e.must(err)
		eq(e, "used", q.Used, 4*fs.BlockSize)
	}},
	{"splice", func(e *env) {
		block := strings.Repeat("0123456789abcdef", 4096) // 64 KiB
		var want strings.Builder
		var parts []fs.Node
		for k, size := range []int{5<<20 + 17, 3 << 20, 0, 100, 5 << 20} {
			p := e.stage(e.alice, fmt.Sprintf("up/%05d", k))
			data := strings.Repeat(block, size/len(block)+1)[:size]
			if size > 0 {
				e.append(e.alice, p, data)
			}
			want.WriteString(data)
			parts = append(parts, p)
		}
		dst := e.staged(e.alice, "start")
		size, err := e.Splice(e.ctx, e.alice, dst, parts)
		e.must(err)
		eq(e, "size", size, uint64(5+want.Len()))
		for _, p := range parts {
			e.must(e.Unstage(e.ctx, e.alice, p))
		}
		r := e.publish(e.alice, dst, e.home, "f", fs.PublishSpec{})
		eq(e, "size", r.Attr.Size, uint64(5+want.Len()))
		if got := e.content(dst, 0); got != "start"+want.String() {
			e.Fatal("content differs")
		}
		eq(e, "totals", e.totals(e.home), walked(e, e.home))
		x := e.staged(e.alice, "x")
		_, err = e.Splice(e.ctx, e.alice, x, []fs.Node{x})
		e.want(err, fs.Invalid)
		_, err = e.Splice(e.ctx, e.alice, x, []fs.Node{e.fileAs(e.bob, e.home, "private", 0o600)})
		e.want(err, fs.Access)
		_, err = e.Splice(e.ctx, e.alice, dst, nil)
		e.want(err, fs.Stale)
	}},
	{"list_and_crash", func(e *env) {
		kept := []fs.Node{e.stage(e.alice, "b/2"), e.stage(e.alice, "b/1"), e.stage(e.bob, "a"), e.stage(e.bob, "b/1")}
		e.append(e.alice, kept[1], "data")
		_, _, err := e.Commit(e.ctx, e.alice, kept[1], 0, 0, 0)
		e.must(err)
		lost := e.staged(e.alice, "lost")
		check := func() {
			e.Helper()
			all := e.listStaged("b/", nil)
			eq(e, "number", len(all), 3)
			for k, n := range []fs.Node{kept[1], kept[3], kept[0]} {
				eq(e, "node", all[k].Node, n)
				eq(e, "dir", all[k].Dir, e.home.ID)
			}
			eq(e, "size", all[0].Size, 4)
			rest := e.listStaged("b/", &all[0])
			eq(e, "rest", len(rest), 2)
			eq(e, "all", len(e.listStaged("", nil)), 4)
			eq(e, "none", len(e.listStaged("c", nil)), 0)
		}
		check()
		if c, ok := e.FS.(Crasher); ok {
			c.Crash()
			check()
			e.hasContent(kept[1], "data")
			e.eventually("end of what nobody owns", func() bool {
				_, err := e.GetAttr(e.ctx, e.root, lost, 0)
				return fs.KindOf(err) == fs.Stale && err != nil
			})
		}
		for _, n := range kept {
			e.must(e.Unstage(e.ctx, e.root, n))
			_, err := e.GetAttr(e.ctx, e.root, n, 0)
			e.want(err, fs.Stale)
		}
		eq(e, "left", len(e.listStaged("", nil)), 0)
	}},
	{"durable", func(e *env) {
		c, ok := e.FS.(Crasher)
		if !ok {
			return
		}
		n := e.staged(e.root, "never committed, but published")
		e.publish(e.root, n, e.home, "f", fs.PublishSpec{})
		c.Crash()
		e.hasContent(e.lookup(e.home, "f").Node, "never committed, but published")
		eq(e, "totals", e.totals(e.home), walked(e, e.home))
	}},
	{"rearrange", func(e *env) {
		d := e.mkdir(e.home, "d")
		f, g := e.file(e.home, "f", "first"), e.file(e.home, "g", "second")
		at := func(dir fs.Node, name string) fs.Entry { return fs.Entry{Dir: dir, Name: name} }
		none := fs.Node{}
		// All or nothing: the second move fails.
		e.want(e.Rearrange(e.ctx, e.root, []fs.Move{{From: at(e.home, "f"), To: at(d, "f")}, {From: at(e.home, "no")}}, none), fs.NotExist)
		e.want(e.Rearrange(e.ctx, e.root, []fs.Move{{From: at(e.home, "f"), To: at(e.home, "g")}}, none), fs.Exist)
		e.want(e.Rearrange(e.ctx, e.root, []fs.Move{{From: at(e.home, "f"), Is: g.ID}}, none), fs.RevisionMismatch)
		e.want(e.Rearrange(e.ctx, e.root, []fs.Move{{From: at(e.home, "d")}}, none), fs.IsDir)
		e.want(e.Rearrange(e.ctx, e.root, []fs.Move{{From: at(e.home, "f"), Keep: true}}, none), fs.NameInvalid)
		e.want(e.Rearrange(e.ctx, e.root, make([]fs.Move, fs.MaxMoves+1), none), fs.TooMany)
		e.has(e.home, "d", "f", "g")
		// A cycle through names that earlier moves set free.
		e.must(e.Rearrange(e.ctx, e.root, []fs.Move{
			{From: at(e.home, "f"), Is: f.ID, To: at(d, "old")},
			{From: at(e.home, "g"), To: at(e.home, "f")},
			{From: at(d, "old"), To: at(e.home, "g"), Keep: true},
		}, none))
		e.has(e.home, "d", "f", "g")
		eq(e, "f", e.lookup(e.home, "f").Node, g)
		eq(e, "g", e.lookup(e.home, "g").Node, f)
		eq(e, "old", e.lookup(d, "old").Node, f)
		eq(e, "links", e.attr(f).Links, 2)
		eq(e, "totals", e.totals(e.home), walked(e, e.home))
		// A name goes, and with the last one the object.
		e.must(e.Rearrange(e.ctx, e.root, []fs.Move{{From: at(e.home, "g")}, {From: at(e.home, "f")}, {From: at(d, "old"), To: at(e.home, "f")}}, none))
		e.has(e.home, "d", "f")
		_, err := e.GetAttr(e.ctx, e.root, g, 0)
		e.want(err, fs.Stale)
		e.hasContent(e.lookup(e.home, "f").Node, "first")
		eq(e, "totals", e.totals(e.home), walked(e, e.home))
		if c, ok := e.FS.(Crasher); ok {
			c.Crash()
			e.has(e.home, "d", "f")
			eq(e, "f", e.lookup(e.home, "f").Node, f)
			eq(e, "totals", e.totals(e.home), walked(e, e.home))
		}
	}},
	{"create_with_metadata", func(e *env) {
		d := e.createAs(e.alice, e.home, "d", fs.CreateSpec{Type: fs.Directory, Meta: []fs.MetaItem{{Space: fs.MetaS3, Key: "k", Value: []byte("v")}}})
		v, err := e.GetMeta(e.ctx, e.alice, d.Node, fs.MetaS3, "k")
		e.must(err)
		eq(e, "metadata", string(v), "v")
		_, err = e.Create(e.ctx, e.alice, e.home, "x", &fs.CreateSpec{Type: fs.File, Meta: make([]fs.MetaItem, fs.MaxPublishMetaItems+1)})
		e.want(err, fs.TooMany)
		_, err = e.Create(e.ctx, e.alice, e.home, "x", &fs.CreateSpec{Type: fs.File, Meta: []fs.MetaItem{{Space: 99, Key: "k"}}})
		e.want(err, fs.Invalid)
		e.missing(e.home, "x")
	}},
	{"rearrange_permissions", func(e *env) {
		kept, d := e.mkdirAs(e.root, e.home, "kept", 0o755), e.mkdirAs(e.alice, e.home, "d", 0o755)
		e.fileAs(e.alice, d, "f", 0o644)
		move := []fs.Move{{From: fs.Entry{Dir: d, Name: "f"}, To: fs.Entry{Dir: kept, Name: "f"}}}
		e.want(e.Rearrange(e.ctx, e.alice, move, fs.Node{}), fs.Access)
		e.want(e.Rearrange(e.ctx, e.bob, move, d), fs.Access)
		e.must(e.Rearrange(e.ctx, e.alice, move, d))
		e.has(kept, "f")
		back := []fs.Move{{From: fs.Entry{Dir: kept, Name: "f"}, To: fs.Entry{Dir: d, Name: "f"}}}
		e.want(e.Rearrange(e.ctx, e.alice, back, fs.Node{}), fs.Access)
		ro := *e.root
		ro.ReadOnly = true
		e.want(e.Rearrange(e.ctx, &ro, back, fs.Node{}), fs.ReadOnly)
		e.must(e.Rearrange(e.ctx, e.alice, back, d))
		_, err := e.SetAttr(e.ctx, e.system, e.lookup(d, "f").Node, &fs.SetAttr{LegalHold: ptr(true)})
		e.must(err)
		e.must(e.Rearrange(e.ctx, e.alice, []fs.Move{{From: move[0].From, To: move[0].To, Keep: true}}, d))
		e.must(e.Rearrange(e.ctx, e.alice, []fs.Move{{From: move[0].From}}, d)) // keeps a name
		e.want(e.Rearrange(e.ctx, e.root, []fs.Move{{From: move[0].To}}, fs.Node{}), fs.WORM)
		e.has(kept, "f")
		eq(e, "totals", e.totals(e.home), walked(e, e.home))
	}},
	{"publish_moves", func(e *env) {
		kept, d := e.mkdirAs(e.root, e.home, "kept", 0o755), e.mkdirAs(e.alice, e.home, "d", 0o755)
		old := e.fileAs(e.alice, d, "f", 0o644)
		stale := e.file(kept, "null", "goes")
		n := e.staged(e.alice, "new")
		p := fs.PublishSpec{NoReplace: true, Within: d, Links: []fs.Entry{{Dir: kept, Name: "null"}},
			Moves: []fs.Move{{From: fs.Entry{Dir: d, Name: "f"}, Is: stale.ID, To: fs.Entry{Dir: kept, Name: "v1"}}, {From: fs.Entry{Dir: kept, Name: "null"}}}}
		_, err := e.Publish(e.ctx, e.alice, n, d, "f", &p)
		e.want(err, fs.RevisionMismatch)
		e.has(kept, "null")
		p.Moves[0].Is = old.ID
		_, err = e.Publish(e.ctx, e.bob, e.staged(e.bob, ""), d, "f", &p)
		e.want(err, fs.Access)
		r := e.publish(e.alice, n, d, "f", p)
		eq(e, "replaced", r.Replaced, fs.Node{})
		e.has(kept, "null", "v1")
		eq(e, "null", e.lookup(kept, "null").Node, n)
		eq(e, "v1", e.lookup(kept, "v1").Node, old)
		eq(e, "f", e.lookup(d, "f").Node, n)
		_, err = e.GetAttr(e.ctx, e.root, stale, 0)
		e.want(err, fs.Stale)
		eq(e, "totals", e.totals(e.home), walked(e, e.home))
		if c, ok := e.FS.(Crasher); ok {
			c.Crash()
			e.has(kept, "null", "v1")
			e.hasContent(e.lookup(d, "f").Node, "new")
		}
	}},
	{"watch", func(e *env) {
		f := e.file(e.home, "f", "")
		ch, cancel := e.watch(e.home, false, namesOnly)
		defer cancel()
		n := e.staged(e.root, "data")
		e.publish(e.root, n, e.home, "f", fs.PublishSpec{})
		gone, came := e.next(ch), e.next(ch)
		if gone.Type != fs.EventRemoved || gone.Name != "f" || gone.ID != f.ID {
			e.Fatalf("first %+v", gone)
		}
		if came.Type != fs.EventAdded || came.Name != "f" || came.ID != n.ID || came.Object != fs.File {
			e.Fatalf("then %+v", came)
		}
	}},
}
