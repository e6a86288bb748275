package fstest

import (
	"errors"
	"math/rand/v2"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
)

// permissionTests try what callers do against what the rules explain.
var permissionTests = []test{
	{"enforced_as_explained", func(e *env) {
		r := rand.New(rand.NewPCG(11, 12))
		with := func(p identity.Privileges) *fs.Caller {
			c := posix(1001, 1001)
			c.Cred.Privileges = p
			return c
		}
		ro := *e.alice
		ro.ReadOnly = true
		callers := []*fs.Caller{e.alice, e.bob, e.carol, e.root, &ro, with(identity.FileReadAccess), with(identity.FileFullAccess), with(identity.ChangeOwner)}
		for round := range 16 {
			p := &permitted{env: e, isDir: round%2 == 0, c: callers[r.IntN(len(callers))]}
			p.dir, p.own = randomPermissions(r), randomPermissions(r)
			p.try()
		}
	}},
}

// permitted is an object in a directory, both with random permissions, and a
// caller.
type permitted struct {
	*env
	dir, own fs.ACL
	isDir    bool
	c        *fs.Caller

	parent, node fs.Node
	dropped      []fs.FileID
}

func randomPermissions(r *rand.Rand) fs.ACL {
	people := []identity.AuthID{identity.UID(1000), identity.UID(1001), identity.UID(1002)}
	groups := []identity.AuthID{identity.GID(2000), identity.GID(1002)}
	trustees := append(append([]identity.AuthID{identity.Everyone, identity.FileOwner, identity.FileGroup, identity.OwnerRights, identity.CreatorOwner}, people...), groups...)
	a := fs.ACL{Owner: people[r.IntN(3)], Group: groups[r.IntN(2)], Mode: fs.Mode(r.IntN(0o1000)), ModeOnly: true}
	if r.IntN(3) == 0 {
		a.Mode |= fs.ModeSticky
	}
	if r.IntN(3) == 0 {
		return a
	}
	a.ModeOnly, a.Control = false, fs.ACLPresent
	for range 1 + r.IntN(6) {
		x := fs.ACE{Type: fs.ACEType(r.IntN(4) / 3), Trustee: trustees[r.IntN(len(trustees))], Rights: fs.Rights(r.Uint32()) & fs.RightsAll}
		if r.IntN(4) == 0 {
			x.Flags = fs.ACEInheritOnly | fs.ACEContainerInherit | fs.ACEObjectInherit
		}
		a.Entries = append(a.Entries, x)
	}
	return a
}

// set gives an object permissions; the special bits go first, an ACL keeps them.
func (p *permitted) set(n fs.Node, a fs.ACL) {
	p.Helper()
	mode := a
	mode.ModeOnly, mode.Entries, mode.Control = true, nil, 0
	_, err := p.SetACL(p.ctx, p.system, n, &mode)
	p.must(err)
	if !a.ModeOnly {
		_, err = p.SetACL(p.ctx, p.system, n, &a)
		p.must(err)
	}
}

// fresh makes the objects anew.
func (p *permitted) fresh() {
	p.Helper()
	p.parent = p.mkdirAs(p.system, p.home, "p", 0o777)
	if p.isDir {
		p.node = p.mkdirAs(p.system, p.parent, "n", 0o777)
	} else {
		p.node = p.file(p.parent, "n", "data")
		_, err := p.SetMeta(p.ctx, p.system, p.node, fs.MetaXattr, "k", []byte("v"), fs.MetaUpsert)
		p.must(err)
	}
	p.set(p.node, p.own)
	p.set(p.parent, p.dir)
}

// drop removes them.
func (p *permitted) drop() {
	p.Helper()
	id := p.parent.ID
	// The job of the tree before may be at work in the same rows.
	_, err := p.StartTreeDelete(p.ctx, p.system, id)
	for tries := 0; errors.Is(err, fs.Retry) && tries < 100; tries++ {
		_, err = p.StartTreeDelete(p.ctx, p.system, id)
	}
	p.must(err)
	p.dropped = append(p.dropped, id)
}

// try compares what is explained with Access, and each right with what needs it.
func (p *permitted) try() {
	p.Helper()
	p.fresh()
	x := acl.ExplainRights(p.c, &p.own, p.isDir, &p.dir)
	got, err := p.Access(p.ctx, p.c, p.node, fs.RightsAll)
	p.must(err)
	if got != x.Effective {
		p.Fatalf("access is %#x, explained %#x: %+v in %+v for %+v", got, x.Effective, p.own, p.dir, p.c.Cred)
	}
	own := acl.Check(p.c, &p.own, p.isDir, fs.RightsAll) // without the directory's
	up := acl.Check(p.c, &p.dir, true, fs.RightsAll)
	mayAdd, mayDir := fs.RightAddFile|fs.RightTraverse, fs.RightAddSubdir|fs.RightTraverse
	type attempt struct {
		name string
		ok   bool
		do   func() error
	}
	has := func(r fs.Rights) bool { return own&r == r }
	tries := []attempt{
		{"lookup", up&fs.RightTraverse != 0, func() error { _, err := p.Lookup(p.ctx, p.c, p.parent, "n", 0); return err }},
		{"list above", up&fs.RightList != 0, func() error {
			_, err := p.ReadDir(p.ctx, p.c, p.parent, 0, 0, func(*fs.Dirent) bool { return true })
			return err
		}},
		{"create beside", up&mayAdd == mayAdd, func() error {
			_, err := p.Create(p.ctx, p.c, p.parent, "new", &fs.CreateSpec{Type: fs.File})
			return err
		}},
		{"mkdir beside", up&mayDir == mayDir, func() error {
			_, err := p.Create(p.ctx, p.c, p.parent, "newd", &fs.CreateSpec{Type: fs.Directory})
			return err
		}},
		{"read ACL", has(fs.RightReadACL), func() error { _, err := p.GetACL(p.ctx, p.c, p.node); return err }},
		{"set xattr", has(fs.RightWriteEA), func() error {
			_, err := p.SetMeta(p.ctx, p.c, p.node, fs.MetaXattr, "k", []byte("w"), fs.MetaUpsert)
			return err
		}},
		{"set mtime", has(fs.RightWriteAttr), func() error {
			_, err := p.SetAttr(p.ctx, p.c, p.node, &fs.SetAttr{Mtime: &fs.TimeSet{Time: fs.Time{Sec: 5}}})
			return err
		}},
		{"take ownership", acl.MayChown(p.c, &p.own, p.isDir, p.c.Cred.User, identity.Unset), func() error {
			_, err := p.SetAttr(p.ctx, p.c, p.node, &fs.SetAttr{Owner: &p.c.Cred.User})
			return err
		}},
		{"give to carol", acl.MayChown(p.c, &p.own, p.isDir, identity.UID(1002), identity.Unset), func() error {
			_, err := p.SetAttr(p.ctx, p.c, p.node, &fs.SetAttr{Owner: ptr(identity.UID(1002))})
			return err
		}},
		{"set ACL", has(fs.RightWriteACL), func() error {
			_, err := p.SetACL(p.ctx, p.c, p.node, &fs.ACL{Mode: 0o700, ModeOnly: true})
			return err
		}},
		{"chmod", has(fs.RightWriteACL), func() error {
			_, err := p.SetAttr(p.ctx, p.c, p.node, &fs.SetAttr{Mode: ptr(fs.Mode(0o600))})
			return err
		}},
		{"remove", x.Effective&fs.RightDelete != 0 && up&fs.RightTraverse != 0, func() error {
			_, err := p.Remove(p.ctx, p.c, p.parent, "n", fs.RemoveAny)
			return err
		}},
	}
	if p.isDir {
		tries = append(tries,
			attempt{"list", has(fs.RightList), func() error {
				_, err := p.ReadDir(p.ctx, p.c, p.node, 0, 0, func(*fs.Dirent) bool { return true })
				return err
			}},
			attempt{"create", has(mayAdd), func() error {
				_, err := p.Create(p.ctx, p.c, p.node, "f", &fs.CreateSpec{Type: fs.File})
				return err
			}},
			attempt{"mkdir", has(mayDir), func() error {
				_, err := p.Create(p.ctx, p.c, p.node, "d", &fs.CreateSpec{Type: fs.Directory})
				return err
			}})
	} else {
		tries = append(tries,
			attempt{"rename", x.Effective&fs.RightDelete != 0 && up&mayAdd == mayAdd, func() error {
				_, err := p.Rename(p.ctx, p.c, p.parent, "n", p.parent, "m", fs.RenameOptions{})
				return err
			}},
			attempt{"read", has(fs.RightRead), func() error {
				_, err := p.Read(p.ctx, p.c, p.node, &fs.ReadRequest{}, make([]byte, 1))
				return err
			}},
			attempt{"write", has(fs.RightModify), func() error {
				_, err := p.Write(p.ctx, p.c, p.node, &fs.WriteRequest{Data: []byte("x")})
				return err
			}},
			attempt{"append", has(fs.RightExtend), func() error {
				_, err := p.Write(p.ctx, p.c, p.node, &fs.WriteRequest{Offset: 4, Data: []byte("x")})
				return err
			}},
			attempt{"truncate", has(fs.RightModify), func() error {
				_, err := p.SetAttr(p.ctx, p.c, p.node, &fs.SetAttr{Size: ptr(uint64(0))})
				return err
			}},
			attempt{"read xattr", has(fs.RightReadEA), func() error {
				_, err := p.GetMeta(p.ctx, p.c, p.node, fs.MetaXattr, "k")
				return err
			}})
	}
	for _, t := range tries {
		if t.name == "remove" || t.name == "rename" {
			p.drop()
			p.fresh()
		} else {
			p.set(p.node, p.own)
			p.set(p.parent, p.dir)
		}
		err := t.do()
		if (err == nil) != t.ok {
			p.Fatalf("%s by %+v (read-only %v): %v, but may: %v\nobject %+v\nin %+v", t.name, p.c.Cred, p.c.ReadOnly, err, t.ok, p.own, p.dir)
		}
		if err != nil {
			p.want(err, fs.Access, fs.Perm, fs.ReadOnly)
		}
		if t.name == "remove" && err == nil {
			p.drop()
			p.fresh()
		}
	}
	p.drop()
	for _, id := range p.dropped {
		p.treeGone(id)
	}
}
