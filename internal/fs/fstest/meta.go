package fstest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
)

var aclTests = []test{
	{"just_a_mode", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o640)
		a, err := e.GetACL(e.ctx, e.bob, f)
		e.must(err)
		eq(e, "owner", a.Owner, identity.UID(1000))
		eq(e, "group", a.Group, identity.GID(1000))
		if !slices.Equal(a.Entries, acl.FromMode(a.Owner, a.Group, 0o640, false)) {
			e.Fatalf("entries %+v", a.Entries)
		}
	}},
	{"set", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o600)
		before := e.attr(f)
		set := fs.ACL{Control: fs.ACLPresent, Entries: []fs.ACE{
			{Type: fs.ACEDeny, Trustee: identity.UID(1002), Rights: fs.RightModify},
			{Type: fs.ACEAllow, Trustee: identity.UID(1000), Rights: fs.RightsAll},
			{Type: fs.ACEAllow, Trustee: identity.UID(1001), Rights: fs.RightRead | fs.RightModify | fs.RightExtend},
			{Type: fs.ACEAllow, Trustee: identity.Everyone, Rights: fs.RightReadAttr},
		}}
		ch, err := e.SetACL(e.ctx, e.alice, f, &set)
		e.must(err)
		e.wcc("set ACL", ch, before)
		e.later("file", before, e.attr(f))
		got, err := e.GetACL(e.ctx, e.alice, f)
		e.must(err)
		if !slices.Equal(got.Entries, set.Entries) || got.Control != set.Control || got.Owner != identity.UID(1000) {
			e.Fatalf("got %+v, set %+v", got, set)
		}
		eq(e, "bob's access", e.access(e.bob, f), 6)
		eq(e, "carol's access", e.access(e.carol, f), 0)
		eq(e, "mode", e.attr(f).Mode, acl.Mode(&got, false))
		_, err = e.Write(e.ctx, e.bob, f, &fs.WriteRequest{Data: []byte("x")})
		e.must(err)
		_, err = e.SetACL(e.ctx, e.bob, f, &set)
		e.want(err, fs.Access)
		s := e.snapshot(e.home)
		e.chmod(f, 0)
		eq(e, "bob's access after chmod 0", e.access(e.bob, f), 0)
		eq(e, "mode after chmod 0", e.attr(f).Mode, 0)
		old, err := e.GetACL(e.ctx, e.alice, at(f, s))
		e.must(err)
		if !slices.Equal(old.Entries, set.Entries) {
			e.Fatalf("in the snapshot: %+v", old)
		}
	}},
	{"inherit", func(e *env) {
		d := e.mkdirAs(e.alice, e.home, "d", 0o777)
		set := fs.ACL{Control: fs.ACLPresent, Entries: []fs.ACE{
			{Type: fs.ACEAllow, Flags: fs.ACEObjectInherit | fs.ACEContainerInherit, Trustee: identity.UID(1001), Rights: fs.RightRead | fs.RightExecute | fs.RightAddFile | fs.RightAddSubdir},
			{Type: fs.ACEAllow, Flags: fs.ACEObjectInherit | fs.ACEContainerInherit, Trustee: identity.CreatorOwner, Rights: fs.RightsAll},
			{Type: fs.ACEAllow, Trustee: identity.Everyone, Rights: fs.RightRead | fs.RightExecute},
		}}
		_, err := e.SetACL(e.ctx, e.alice, d, &set)
		e.must(err)
		parent, err := e.GetACL(e.ctx, e.alice, d)
		e.must(err)
		f := e.fileAs(e.bob, d, "f", 0o600)
		sub := e.mkdirAs(e.bob, d, "sub", 0o700)
		for n, isDir := range map[fs.Node]bool{f: false, sub: true} {
			got, err := e.GetACL(e.ctx, e.bob, n)
			e.must(err)
			want := acl.Inherit(&parent, isDir, identity.UID(1001), identity.GID(1001), ptr(fs.Mode(0o600)), false)
			if !slices.Equal(got.Entries, want.Entries) {
				e.Fatalf("got %+v, want %+v", got.Entries, want.Entries)
			}
		}
		eq(e, "carol's access", e.access(e.carol, f), 0)
		_, err = e.Create(e.ctx, e.carol, d, "no", &fs.CreateSpec{Type: fs.File})
		e.want(err, fs.Access)
	}},
	{"bypass_traverse", func(e *env) {
		d := e.mkdirAs(e.alice, e.home, "d", 0o700)
		f := e.fileAs(e.alice, d, "f", 0o644)
		_, err := e.Lookup(e.ctx, e.bob, d, "f", 0)
		e.want(err, fs.Access)
		through := *e.bob
		through.BypassTraverse = true
		a, err := e.Lookup(e.ctx, &through, d, "f", 0)
		e.must(err)
		eq(e, "node", a.Node, f)
		// It grants nothing that an ACL could.
		got, err := e.Access(e.ctx, &through, d, fs.RightTraverse)
		e.must(err)
		eq(e, "right to traverse", got, 0)
		_, err = e.Create(e.ctx, &through, d, "new", &fs.CreateSpec{Type: fs.File})
		e.want(err, fs.Access)
	}},
	{"limits", func(e *env) {
		f := e.file(e.home, "f", "")
		set := fs.ACL{Entries: slices.Repeat([]fs.ACE{{Trustee: identity.Everyone, Rights: fs.RightRead}}, fs.MaxACEs+1)}
		_, err := e.SetACL(e.ctx, e.root, f, &set)
		e.want(err, fs.TooMany)
		set.Entries = set.Entries[:fs.MaxACEs]
		_, err = e.SetACL(e.ctx, e.root, f, &set)
		e.must(err)
		set.Entries[0].Rights = 1 << 31
		_, err = e.SetACL(e.ctx, e.root, f, &set)
		e.want(err, fs.Invalid)
	}},
	{"owner", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o600)
		set := fs.ACL{Owner: identity.UID(1001), Entries: []fs.ACE{{Trustee: identity.Everyone, Rights: fs.RightRead}}}
		_, err := e.SetACL(e.ctx, e.alice, f, &set)
		e.want(err, fs.Perm)
		_, err = e.SetACL(e.ctx, e.root, f, &set)
		e.must(err)
		eq(e, "owner", e.attr(f).Owner, identity.UID(1001))
	}},
	{"owner_rights", func(e *env) {
		// What an entry for Owner Rights says is all that owning gives.
		f := e.fileAs(e.alice, e.home, "f", 0o600)
		set := fs.ACL{Entries: []fs.ACE{
			{Trustee: identity.OwnerRights, Rights: fs.RightRead | fs.RightReadAttr},
			{Trustee: identity.UID(1001), Rights: fs.RightWriteACL | fs.RightReadACL | fs.RightChangeOwner},
		}}
		_, err := e.SetACL(e.ctx, e.alice, f, &set)
		e.must(err)
		_, err = e.GetACL(e.ctx, e.alice, f)
		e.want(err, fs.Access)
		_, err = e.SetACL(e.ctx, e.alice, f, &set)
		e.want(err, fs.Access)
		// Who may change the owner may become it, and make nobody else it.
		got, err := e.GetACL(e.ctx, e.bob, f)
		e.must(err)
		got.Owner = identity.UID(1002)
		_, err = e.SetACL(e.ctx, e.bob, f, &got)
		e.want(err, fs.Perm)
		got.Owner = identity.UID(1001)
		_, err = e.SetACL(e.ctx, e.bob, f, &got)
		e.must(err)
		eq(e, "owner", e.attr(f).Owner, identity.UID(1001))
	}},
	{"delete_by_right_of_the_object", func(e *env) {
		d := e.mkdirAs(e.alice, e.home, "d", 0o755)
		f := e.fileAs(e.alice, d, "f", 0o600)
		_, err := e.SetACL(e.ctx, e.alice, f, &fs.ACL{Entries: []fs.ACE{{Trustee: identity.UID(1001), Rights: fs.RightDelete}}})
		e.must(err)
		got, err := e.Access(e.ctx, e.bob, f, fs.RightDelete|fs.RightRead)
		e.must(err)
		eq(e, "bob's rights", got, fs.RightDelete)
		_, err = e.Remove(e.ctx, e.carol, d, "f", fs.RemoveAny)
		e.want(err, fs.Access)
		_, err = e.Remove(e.ctx, e.bob, d, "f", fs.RemoveAny)
		e.must(err)
	}},
	{"sticky_beats_the_right_of_the_object", func(e *env) {
		d := e.mkdirAs(e.alice, e.home, "d", fs.ModeSticky|0o777)
		f := e.fileAs(e.alice, d, "f", 0o600)
		_, err := e.SetACL(e.ctx, e.alice, f, &fs.ACL{Entries: []fs.ACE{{Trustee: identity.UID(1001), Rights: fs.RightDelete | fs.RightRead}}})
		e.must(err)
		got, err := e.Access(e.ctx, e.bob, f, fs.RightDelete|fs.RightRead)
		e.must(err)
		eq(e, "bob's rights", got, fs.RightRead)
		_, err = e.Remove(e.ctx, e.bob, d, "f", fs.RemoveAny)
		e.want(err, fs.Perm)
		_, _, err = e.opened(e.bob, "f", func(o *fs.OpenSpec) { o.Dir, o.Desired = d, fs.RightDelete })
		e.want(err, fs.Access)
	}},
	{"delete_by_right_of_the_directory", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0)
		got, err := e.Access(e.ctx, e.bob, f, fs.RightDelete)
		e.must(err)
		eq(e, "rights", got, fs.RightDelete)
		e.chmod(e.home, 0o755)
		got, err = e.Access(e.ctx, e.bob, f, fs.RightDelete)
		e.must(err)
		eq(e, "rights", got, 0)
	}},
}

var metaTests = []test{
	{"set_get_list_remove", func(e *env) {
		f := e.file(e.home, "f", "")
		spaces := []fs.MetaSpace{fs.MetaXattr, fs.MetaEA, fs.MetaGeneric, fs.MetaS3}
		for i, s := range spaces {
			before := e.attr(f)
			eq(e, "pairs", before.Metas, uint32(i))
			ch, err := e.SetMeta(e.ctx, e.root, f, s, "key", fmt.Append(nil, "value", i), fs.MetaUpsert)
			e.must(err)
			e.wcc("set", ch, before)
			e.later("file", before, e.attr(f))
			eq(e, "mtime", e.attr(f).Mtime, before.Mtime)
		}
		for i, s := range spaces {
			v, err := e.GetMeta(e.ctx, e.root, f, s, "key")
			e.must(err)
			eq(e, "value", string(v), fmt.Sprint("value", i))
		}
		_, err := e.GetMeta(e.ctx, e.root, f, fs.MetaXattr, "no")
		e.want(err, fs.NoAttr)
		_, err = e.RemoveMeta(e.ctx, e.root, f, fs.MetaXattr, "no")
		e.want(err, fs.NoAttr)
		_, err = e.RemoveMeta(e.ctx, e.root, f, fs.MetaXattr, "key")
		e.must(err)
		_, err = e.GetMeta(e.ctx, e.root, f, fs.MetaXattr, "key")
		e.want(err, fs.NoAttr)
	}},
	{"modes", func(e *env) {
		f := e.file(e.home, "f", "")
		_, err := e.SetMeta(e.ctx, e.root, f, fs.MetaXattr, "k", []byte("1"), fs.MetaReplace)
		e.want(err, fs.NoAttr)
		_, err = e.SetMeta(e.ctx, e.root, f, fs.MetaXattr, "k", []byte("2"), fs.MetaCreate)
		e.must(err)
		_, err = e.SetMeta(e.ctx, e.root, f, fs.MetaXattr, "k", []byte("3"), fs.MetaCreate)
		e.want(err, fs.Exist)
		_, err = e.SetMeta(e.ctx, e.root, f, fs.MetaXattr, "k", []byte("4"), fs.MetaReplace)
		e.must(err)
		v, err := e.GetMeta(e.ctx, e.root, f, fs.MetaXattr, "k")
		e.must(err)
		eq(e, "value", string(v), "4")
	}},
	{"list", func(e *env) {
		f := e.file(e.home, "f", "")
		for i, k := range []string{"b", "a", "c", "user.ä"} {
			_, err := e.SetMeta(e.ctx, e.root, f, fs.MetaXattr, k, make([]byte, i), fs.MetaUpsert)
			e.must(err)
		}
		_, err := e.SetMeta(e.ctx, e.root, f, fs.MetaEA, "other space", nil, fs.MetaUpsert)
		e.must(err)
		list := func(after string) (out []string) {
			e.must(e.ListMeta(e.ctx, e.root, f, fs.MetaXattr, after, func(k string, n int) bool {
				out = append(out, fmt.Sprint(k, n))
				return true
			}))
			return out
		}
		if got := list(""); !slices.Equal(got, []string{"a1", "b0", "c2", "user.ä3"}) {
			e.Fatalf("all: %q", got)
		}
		if got := list("b"); !slices.Equal(got, []string{"c2", "user.ä3"}) {
			e.Fatalf("after b: %q", got)
		}
	}},
	{"limits", func(e *env) {
		f := e.file(e.home, "f", "")
		big := bytes.Repeat([]byte("v"), fs.MaxXattrBytes-1)
		_, err := e.SetMeta(e.ctx, e.root, f, fs.MetaXattr, "k", big, fs.MetaUpsert)
		e.must(err)
		v, err := e.GetMeta(e.ctx, e.root, f, fs.MetaXattr, "k")
		e.must(err)
		eq(e, "big value", bytes.Equal(v, big), true)
		_, err = e.SetMeta(e.ctx, e.root, f, fs.MetaXattr, "kk", big, fs.MetaUpsert)
		e.want(err, fs.TooBig)
		_, err = e.SetMeta(e.ctx, e.root, f, fs.MetaXattr, "", nil, fs.MetaUpsert)
		e.want(err, fs.NameInvalid)
		_, err = e.SetMeta(e.ctx, e.root, f, 99, "k", nil, fs.MetaUpsert)
		e.want(err, fs.Invalid)
	}},
	{"permission_and_snapshots", func(e *env) {
		f := e.fileAs(e.alice, e.home, "f", 0o644)
		_, err := e.SetMeta(e.ctx, e.bob, f, fs.MetaXattr, "k", nil, fs.MetaUpsert)
		e.want(err, fs.Access)
		_, err = e.SetMeta(e.ctx, e.alice, f, fs.MetaXattr, "k", []byte("old"), fs.MetaUpsert)
		e.must(err)
		s := e.snapshot(e.home)
		_, err = e.SetMeta(e.ctx, e.alice, f, fs.MetaXattr, "k", []byte("new"), fs.MetaUpsert)
		e.must(err)
		_, err = e.SetMeta(e.ctx, e.alice, f, fs.MetaXattr, "k2", []byte("new"), fs.MetaUpsert)
		e.must(err)
		v, err := e.GetMeta(e.ctx, e.bob, at(f, s), fs.MetaXattr, "k")
		e.must(err)
		eq(e, "value in the snapshot", string(v), "old")
		_, err = e.GetMeta(e.ctx, e.bob, at(f, s), fs.MetaXattr, "k2")
		e.want(err, fs.NoAttr)
		e.chmod(f, 0o600)
		_, err = e.GetMeta(e.ctx, e.bob, f, fs.MetaXattr, "k")
		e.want(err, fs.Access)
		e.want(e.ListMeta(e.ctx, e.bob, f, fs.MetaXattr, "", func(string, int) bool { return true }), fs.Access)
	}},
}

func (e *env) stream(n fs.Node, name, data string) fs.StreamID {
	e.Helper()
	s, err := e.CreateStream(e.ctx, e.root, n, name, true)
	e.must(err)
	if data != "" {
		_, err = e.Write(e.ctx, e.root, n, &fs.WriteRequest{Stream: s.ID, Data: []byte(data), Stability: fs.FileSync})
		e.must(err)
	}
	return s.ID
}

func (e *env) streams(n fs.Node) string {
	e.Helper()
	ss, err := e.Streams(e.ctx, e.root, n)
	e.must(err)
	var out []string
	for _, s := range ss {
		out = append(out, fmt.Sprintf("%s:%d", s.Name, s.Size))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

var streamTests = []test{
	{"create_write_list", func(e *env) {
		for _, n := range []fs.Node{e.file(e.home, "f", "main"), e.mkdir(e.home, "d")} {
			before := e.attr(n)
			a, b := e.stream(n, "one", "first"), e.stream(n, "two", "second!")
			if a == 0 || b == 0 || a == b {
				e.Fatalf("ids %d, %d", a, b)
			}
			eq(e, "streams", e.streams(n), "one:5 two:7")
			eq(e, "count", e.attr(n).NamedStreams, 2)
			eq(e, "content", e.content(n, a), "first")
			eq(e, "content", e.content(n, b), "second!")
			eq(e, "size", e.attr(n).Size, before.Size)
			e.later("object", before, e.attr(n))
		}
		e.hasContent(e.lookup(e.home, "f").Node, "main")
	}},
	{"case", func(e *env) {
		f := e.file(e.home, "f", "")
		a := e.stream(f, "Stream", "")
		_, err := e.CreateStream(e.ctx, e.root, f, "STREAM", true)
		e.want(err, fs.Exist)
		s, err := e.CreateStream(e.ctx, e.root, f, "STREAM", false)
		e.must(err)
		eq(e, "id", s.ID, a)
		eq(e, "name", s.Name, "Stream")
	}},
	{"resize_rename_remove", func(e *env) {
		f := e.file(e.home, "f", "main")
		a, b := e.stream(f, "a", "0123456789"), e.stream(f, "b", "")
		_, err := e.SetStreamSize(e.ctx, e.root, f, a, 3)
		e.must(err)
		_, err = e.SetStreamSize(e.ctx, e.root, f, a, 5)
		e.must(err)
		eq(e, "content", e.content(f, a), "012\x00\x00")
		e.want(e.RenameStream(e.ctx, e.root, f, a, "B"), fs.Exist)
		e.must(e.RenameStream(e.ctx, e.root, f, a, "A"))
		e.must(e.RenameStream(e.ctx, e.root, f, a, "c"))
		eq(e, "streams", e.streams(f), "b:0 c:5")
		e.must(e.RemoveStream(e.ctx, e.root, f, b))
		e.want(e.RemoveStream(e.ctx, e.root, f, b), fs.NoAttr)
		_, err = e.Read(e.ctx, e.root, f, &fs.ReadRequest{Stream: b}, make([]byte, 1))
		e.want(err, fs.NoAttr)
		_, err = e.Write(e.ctx, e.root, f, &fs.WriteRequest{Stream: b, Data: []byte("x")})
		e.want(err, fs.NoAttr)
		_, err = e.SetStreamSize(e.ctx, e.root, f, b, 1)
		e.want(err, fs.NoAttr)
		eq(e, "streams", e.streams(f), "c:5")
		eq(e, "count", e.attr(f).NamedStreams, 1)
	}},
	{"names_and_types", func(e *env) {
		f := e.file(e.home, "f", "")
		for name, k := range map[string]fs.Kind{"": fs.NameInvalid, "a/b": fs.NameInvalid, "a\x00": fs.NameInvalid, strings.Repeat("s", 256): fs.NameTooLong} {
			_, err := e.CreateStream(e.ctx, e.root, f, name, false)
			e.want(err, k)
		}
		_, err := e.CreateStream(e.ctx, e.root, e.symlink(e.home, "s", "t"), "x", false)
		e.want(err, fs.NotSupported)
		e.chmod(f, 0o444)
		_, err = e.CreateStream(e.ctx, e.alice, f, "x", false)
		e.want(err, fs.Access)
	}},
	{"snapshots", func(e *env) {
		f := e.file(e.home, "f", "")
		a := e.stream(f, "a", "old")
		s := e.snapshot(e.home)
		_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Stream: a, Data: []byte("newer"), Stability: fs.FileSync})
		e.must(err)
		e.stream(f, "b", "x")
		eq(e, "in the snapshot", e.streams(at(f, s)), "a:3")
		eq(e, "content in the snapshot", e.content(at(f, s), a), "old")
		e.must(e.RemoveStream(e.ctx, e.root, f, a))
		eq(e, "content in the snapshot", e.content(at(f, s), a), "old")
		eq(e, "live", e.streams(f), "b:1")
	}},
}
