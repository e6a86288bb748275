package acl

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// The oracle says in the plainest way, one right at a time, what the rules of
// permissions come to. It shares no code with what it judges.

const oracleRead = fs.RightRead | fs.RightReadEA | fs.RightExecute | fs.RightReadAttr | fs.RightReadACL | fs.RightSynchronize

// allowed tells whether an object's own permissions give one right.
func allowed(c *fs.Caller, a *fs.ACL, isDir bool, right fs.Rights) bool {
	cred := c.Cred
	if c.ReadOnly && oracleRead&right == 0 {
		return false
	}
	if cred.Privileges.Has(identity.FileFullAccess) {
		return true
	}
	if cred.Superuser {
		if isDir || right != fs.RightExecute {
			return true
		}
		if a.ModeOnly {
			return a.Mode&0o111 != 0
		}
		for _, e := range a.Entries {
			if e.Type == allow && e.Flags&fs.ACEInheritOnly == 0 && e.Rights&right != 0 {
				return true
			}
		}
		return false
	}
	if cred.Privileges.Has(identity.FileReadAccess) && oracleRead&right != 0 && (isDir || right != fs.RightExecute) {
		return true
	}
	if cred.Privileges.Has(identity.ChangeOwner) && right == fs.RightChangeOwner {
		return true
	}
	owner := cred.IsUser(a.Owner)
	if a.ModeOnly {
		bits := a.Mode
		if owner {
			bits >>= 6
		} else if cred.InGroup(a.Group) {
			bits >>= 3
		}
		switch right {
		case fs.RightReadAttr, fs.RightReadACL, fs.RightSynchronize:
			return true
		case fs.RightWriteAttr, fs.RightWriteACL, fs.RightWriteGroup:
			return owner
		case fs.RightRead, fs.RightReadEA:
			return bits&4 != 0
		case fs.RightModify, fs.RightExtend, fs.RightWriteEA:
			return bits&2 != 0
		case fs.RightDeleteChild:
			return bits&2 != 0 && isDir
		case fs.RightExecute:
			return bits&1 != 0
		}
		return false
	}
	// Nobody is locked out of what he owns, whatever is denied, unless an entry
	// stands for the owner's rights ([MS-DTYP] 2.5.3.2).
	spoken := slices.ContainsFunc(a.Entries, func(e fs.ACE) bool { return e.Trustee == identity.OwnerRights && e.Flags&fs.ACEInheritOnly == 0 })
	if owner && !spoken && right&(fs.RightReadACL|fs.RightWriteACL|fs.RightWriteGroup) != 0 {
		return true
	}
	for _, e := range a.Entries {
		if e.Flags&fs.ACEInheritOnly != 0 {
			continue
		}
		var hit bool
		switch e.Trustee {
		case identity.Everyone:
			hit = true
		case identity.FileOwner, identity.OwnerRights:
			hit = owner
		case identity.FileGroup:
			hit = cred.InGroup(a.Group)
		case identity.CreatorOwner, identity.CreatorGroup:
		default:
			hit = cred.IsUser(e.Trustee) || cred.InGroup(e.Trustee)
		}
		if hit && e.Rights&right != 0 {
			return e.Type == allow
		}
	}
	return false
}

func bits() (out []fs.Rights) {
	for b := fs.Rights(1); b <= fs.RightsAll; b <<= 1 {
		if fs.RightsAll&b != 0 {
			out = append(out, b)
		}
	}
	return out
}

// effective adds what the directory gives and takes.
func effective(c *fs.Caller, dir, a *fs.ACL, isDir bool, right fs.Rights) bool {
	ok := allowed(c, a, isDir, right)
	if dir == nil {
		return ok
	}
	switch right {
	case fs.RightReadAttr:
		ok = ok || allowed(c, dir, true, fs.RightRead)
	case fs.RightDelete:
		ok = ok || allowed(c, dir, true, fs.RightDeleteChild) && allowed(c, dir, true, fs.RightExecute)
		if dir.Mode&fs.ModeSticky != 0 && !c.Cred.Superuser && !c.Cred.Privileges.Has(identity.FileFullAccess) {
			ok = ok && (c.Cred.IsUser(a.Owner) || c.Cred.IsUser(dir.Owner))
		}
	}
	return ok
}

// reaches tells whether an entry of a directory is in force on a descendant so
// many levels below it ([MS-DTYP] 2.5.3.4).
func reaches(e *fs.ACE, depth int, isDir bool) bool {
	if depth > 1 && e.Flags&fs.ACENoPropagateInherit != 0 {
		return false
	}
	if isDir {
		return e.Flags&fs.ACEContainerInherit != 0
	}
	return e.Flags&fs.ACEObjectInherit != 0
}

// born is the ACL that a descendant evaluates like.
func born(a *fs.ACL, depth int, isDir bool, owner, group identity.AuthID, mode fs.Mode) fs.ACL {
	out := fs.ACL{Owner: owner, Group: group}
	if !a.ModeOnly {
		for _, e := range a.Entries {
			if !reaches(&e, depth, isDir) {
				continue
			}
			e.Flags = 0
			switch e.Trustee {
			case identity.CreatorOwner:
				e.Trustee = owner
			case identity.CreatorGroup:
				e.Trustee = group
			}
			out.Entries = append(out.Entries, e)
		}
	}
	if out.Entries == nil {
		out.ModeOnly, out.Mode = true, mode
	}
	return out
}

// rules are the functions under test; faults replace some.
type rules struct {
	check     func(*fs.Caller, *fs.ACL, bool, fs.Rights) fs.Rights
	explain   func(*fs.Caller, *fs.ACL, bool, *fs.ACL) RightsExplanation
	inherit   func(parent *fs.ACL, isDir bool, owner, group identity.AuthID, mode *fs.Mode, yields bool) fs.ACL
	chmod     func(*fs.ACL, fs.Mode, bool, Policy) fs.ACL
	chown     func(a *fs.ACL, owner, group identity.AuthID) fs.ACL
	mayDelete func(c *fs.Caller, dir, target *fs.ACL, targetIsDir bool) error
	mayChown  func(c *fs.Caller, a *fs.ACL, isDir bool, owner, group identity.AuthID) bool
}

func realRules() rules {
	return rules{Check, ExplainRights, Inherit, Chmod, Chown, MayDelete, MayChown}
}

// judge is one comparison of the rules with the oracle.
type judge struct {
	rules
	r *rand.Rand
}

func (j *judge) pick(callers []*fs.Caller) *fs.Caller { return callers[j.r.IntN(len(callers))] }

// people are callers of every kind.
func people() []*fs.Caller {
	with := func(p identity.Privileges) *fs.Caller {
		c := identity.New(bob, wheel, nil, nil)
		c.Privileges = p
		return &fs.Caller{Cred: c}
	}
	ro := *caller(alice, staff)
	ro.ReadOnly = true
	roRoot := *root()
	roRoot.ReadOnly = true
	return []*fs.Caller{
		caller(alice, wheel), caller(alice, staff), caller(bob, staff), caller(bob, wheel, domainUsers), caller(carol, wheel, staff, domainUsers), caller(carol, identity.GID(99)),
		{Cred: identity.New(carol, wheel, []identity.AuthID{alice}, nil)}, // who is alice elsewhere
		root(), &ro, &roRoot, with(identity.FileFullAccess), with(identity.FileReadAccess), with(identity.ChangeOwner),
	}
}

func (j *judge) acl() fs.ACL {
	a := randomACL(j.r)
	if j.r.IntN(4) == 0 {
		a = fs.ACL{Mode: fs.Mode(j.r.IntN(0o10000)), ModeOnly: true}
	}
	a.Owner = []identity.AuthID{alice, bob, carol}[j.r.IntN(3)]
	a.Group = []identity.AuthID{staff, wheel}[j.r.IntN(2)]
	return a
}

// same compares the rights of all people on an ACL with those on another.
func (j *judge) same(what string, a, as *fs.ACL, isDir bool) error {
	for _, c := range people() {
		for _, b := range bits() {
			if got, want := j.check(c, a, isDir, b) == b, allowed(c, as, isDir, b); got != want {
				return fmt.Errorf("%s: right %#x of %+v is %v, want %v\n%+v\n%+v", what, b, c.Cred, got, want, a, as)
			}
		}
	}
	return nil
}

func (j *judge) access() error {
	dir, a, isDir := j.acl(), j.acl(), j.r.IntN(2) == 0
	if err := j.same("check", &a, &a, isDir); err != nil {
		return err
	}
	c := j.pick(people())
	want := fs.Rights(j.r.Uint32()) & fs.RightsAll
	var one fs.Rights
	for _, b := range bits() {
		if allowed(c, &a, isDir, b) {
			one |= b & want
		}
	}
	if got := j.check(c, &a, isDir, want); got != one {
		return fmt.Errorf("check of %#x of %+v: %#x, one by one %#x", want, a, got, one)
	}
	parent := &dir
	if j.r.IntN(4) == 0 {
		parent = nil
	}
	x := j.explain(c, &a, isDir, parent)
	for _, b := range bits() {
		if got, want := x.Effective&b != 0, effective(c, parent, &a, isDir, b); got != want {
			return fmt.Errorf("explained right %#x of %+v on %+v in %+v is %v, want %v", b, c.Cred, a, parent, got, want)
		}
	}
	err := j.mayDelete(c, &dir, &a, isDir)
	can := allowed(c, &dir, true, fs.RightDeleteChild) || allowed(c, &a, isDir, fs.RightDelete)
	super := c.Cred.Superuser || c.Cred.Privileges.Has(identity.FileFullAccess)
	sticky := dir.Mode&fs.ModeSticky != 0 && !super && !c.Cred.IsUser(a.Owner) && !c.Cred.IsUser(dir.Owner)
	expect := error(nil)
	switch {
	case c.ReadOnly:
		expect = fs.ReadOnly
	case !can:
		expect = fs.Access
	case sticky:
		expect = fs.Perm
	}
	if err != expect {
		return fmt.Errorf("deletion of %+v from %+v by %+v: %v, want %v", a, dir, c.Cred, err, expect)
	}
	// Giving away needs a privilege, taking needs the right; the group becomes one of one's own.
	for _, to := range []identity.AuthID{alice, bob, carol} {
		want := !c.ReadOnly && (super || c.Cred.Privileges.Has(identity.ChangeOwner) || allowed(c, &a, isDir, fs.RightChangeOwner) && c.Cred.IsUser(to) ||
			to == a.Owner && (allowed(c, &a, isDir, fs.RightWriteGroup) || allowed(c, &a, isDir, fs.RightChangeOwner)))
		if got := j.mayChown(c, &a, isDir, to, identity.Unset); got != want {
			return fmt.Errorf("chown of %+v to %d by %+v: %v, want %v", a, to, c.Cred, got, want)
		}
	}
	for _, to := range []identity.AuthID{staff, wheel, domainUsers} {
		want := !c.ReadOnly && (super || c.Cred.Privileges.Has(identity.ChangeOwner) ||
			(allowed(c, &a, isDir, fs.RightWriteGroup) || allowed(c, &a, isDir, fs.RightChangeOwner)) && (to == a.Group || c.Cred.InGroup(to)))
		if got := j.mayChown(c, &a, isDir, identity.Unset, to); got != want {
			return fmt.Errorf("chgrp of %+v to %d by %+v: %v, want %v", a, to, c.Cred, got, want)
		}
	}
	return nil
}

// heritage follows entries down three levels, each made by somebody else.
func (j *judge) heritage() error {
	top := j.acl()
	at := top
	owners, groups := []identity.AuthID{bob, carol, alice}, []identity.AuthID{wheel, staff, wheel}
	for depth := 1; depth <= 3; depth++ {
		owner, group, mode := owners[depth-1], groups[depth-1], fs.Mode(j.r.IntN(0o1000))
		for _, isDir := range []bool{false, true} {
			got := j.inherit(&at, isDir, owner, group, &mode, false)
			if got.Owner != owner || got.Group != group {
				return fmt.Errorf("a child of %+v is %+v", at, got)
			}
			want := born(&top, depth, isDir, owner, group, mode)
			if err := j.same(fmt.Sprintf("level %d below %+v", depth, top), &got, &want, isDir); err != nil {
				return err
			}
		}
		at = j.inherit(&at, true, owner, group, &mode, false)
	}
	return nil
}

// visible are the rights that the bits of a mode stand for.
const visible = fs.RightRead | fs.RightModify | fs.RightExtend | fs.RightExecute

func (j *judge) modes() error {
	a, isDir, mode := j.acl(), j.r.IntN(2) == 0, fs.Mode(j.r.IntN(0o10000))
	policy := Policy(j.r.IntN(2))
	got := j.chmod(&a, mode, isDir, policy)
	if got.Owner != a.Owner || got.Group != a.Group || got.Mode&0o7000 != mode&0o7000 {
		return fmt.Errorf("chmod %o of %+v gives %+v", mode, a, got)
	}
	just := fs.ACL{Owner: a.Owner, Group: a.Group, Mode: mode, ModeOnly: true}
	if policy == Native || a.ModeOnly {
		return j.same("native chmod", &got, &just, isDir)
	}
	if m := Mode(&got, isDir); m != mode {
		return fmt.Errorf("chmod %o of %+v shows %o", mode, a, m)
	}
	// What children inherit stays: the same for files and directories, to any depth.
	if isDir {
		at, was := got, a
		for depth := 1; depth <= 2; depth++ {
			m := fs.Mode(0o640)
			for _, dir := range []bool{false, true} {
				x, y := Inherit(&at, dir, carol, wheel, &m, false), Inherit(&was, dir, carol, wheel, &m, false)
				if err := j.same(fmt.Sprintf("chmod %o of %+v: level %d", mode, a, depth), &x, &y, dir); err != nil {
					return err
				}
			}
			at, was = Inherit(&at, true, carol, wheel, &m, false), Inherit(&was, true, carol, wheel, &m, false)
		}
	}
	// Nobody known but by class has exactly the bits.
	stranger := caller(identity.UID(4711), identity.GID(4711))
	member := caller(identity.UID(4711), identity.GID(4711), a.Group)
	owner := caller(a.Owner, identity.GID(4711))
	for _, x := range []struct {
		c    *fs.Caller
		bits fs.Mode
	}{{stranger, mode}, {member, mode >> 3}, {owner, mode >> 6}} {
		has := j.check(x.c, &got, isDir, visible)
		if m := bitsOfOracle(has); m != x.bits&7 {
			return fmt.Errorf("chmod %o of %+v: %+v has %o in %+v", mode, a, x.c.Cred, m, got)
		}
	}
	// Others keep what they had as far as group and other together have it, and get no more.
	for _, who := range []identity.AuthID{bob, carol, domainUsers} {
		if who == a.Owner {
			continue
		}
		c := caller(who, identity.GID(4711))
		if who == domainUsers {
			c = caller(identity.UID(4711), identity.GID(4711), who)
		}
		for _, b := range []fs.Rights{fs.RightRead, fs.RightModify, fs.RightExtend, fs.RightExecute} {
			most := mode>>3 | mode
			in := b == fs.RightRead && most&4 != 0 || b&fs.RightsWriteData != 0 && most&2 != 0 || b == fs.RightExecute && most&1 != 0
			had, has := allowed(c, &a, isDir, b), j.check(c, &got, isDir, b) == b
			class := b == fs.RightRead && mode&4 != 0 || b&fs.RightsWriteData != 0 && mode&2 != 0 || b == fs.RightExecute && mode&1 != 0
			// An entry of its own may come into force where the mode takes the
			// place of a denial for everybody.
			own := slices.ContainsFunc(a.Entries, func(e fs.ACE) bool {
				return e.Type == allow && e.Flags&fs.ACEInheritOnly == 0 && e.Rights&b != 0 && e.Trustee == who
			})
			if has && !in || has && !had && !class && !own {
				return fmt.Errorf("chmod %o of %+v gives %d right %#x (had: %v)", mode, a, who, b, had)
			}
			if named(&a, who, b) && in && !has {
				return fmt.Errorf("chmod %o of %+v takes right %#x from %d", mode, a, b, who)
			}
		}
	}
	return nil
}

// named tells whether the first entry that mentions a right of somebody is one
// of its own that allows it.
func named(a *fs.ACL, who identity.AuthID, right fs.Rights) bool {
	for _, e := range a.Entries {
		if e.Flags&fs.ACEInheritOnly == 0 && e.Rights&right != 0 && (e.Trustee == who || e.Trustee == identity.Everyone) {
			return e.Trustee == who && e.Type == allow
		}
	}
	return false
}

func bitsOfOracle(r fs.Rights) (m fs.Mode) {
	if r&fs.RightRead != 0 {
		m |= 4
	}
	if r&fs.RightModify != 0 && r&fs.RightExtend != 0 {
		m |= 2
	}
	if r&fs.RightExecute != 0 {
		m |= 1
	}
	return m
}

// owning: who becomes the owner has what the old owner had by being it.
func (j *judge) owning() error {
	a, isDir := j.acl(), j.r.IntN(2) == 0
	nu, ng := identity.UID(815), identity.GID(815)
	got := j.chown(&a, nu, identity.Unset)
	if got.Owner != nu || got.Group != a.Group {
		return fmt.Errorf("chown of %+v: %+v", a, got)
	}
	before, after := caller(a.Owner, identity.GID(4711)), caller(nu, identity.GID(4711))
	for _, b := range bits() {
		if want, have := allowed(before, &a, isDir, b), j.check(after, &got, isDir, b) == b; want != have {
			return fmt.Errorf("chown of %+v: the new owner's right %#x is %v, the old one's was %v", a, b, have, want)
		}
	}
	got = j.chown(&a, identity.Unset, ng)
	if got.Group != ng || got.Owner != a.Owner {
		return fmt.Errorf("chgrp of %+v: %+v", a, got)
	}
	before, after = caller(identity.UID(4711), a.Group), caller(identity.UID(4711), ng)
	for _, b := range bits() {
		if want, have := allowed(before, &a, isDir, b), j.check(after, &got, isDir, b) == b; want != have {
			return fmt.Errorf("chgrp of %+v: the new group's right %#x is %v, the old one's was %v", a, b, have, want)
		}
	}
	same := j.chown(&a, a.Owner, a.Group)
	return j.same("chown to the same", &same, &a, isDir)
}

// run compares many random cases and answers the first difference.
func run(rs rules, seed uint64, cases int) error {
	j := &judge{rs, rand.New(rand.NewPCG(seed, 7))}
	for range cases {
		if err := errors.Join(j.access(), j.heritage(), j.modes(), j.owning()); err != nil {
			return err
		}
	}
	return nil
}

func TestRules_oracle(t *testing.T) {
	for seed := range uint64(4) {
		if err := run(realRules(), seed, 250); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// edited answers the ACL with its entries changed; nil drops one.
func edited(a *fs.ACL, edit func(e fs.ACE) *fs.ACE) *fs.ACL {
	out := *a
	out.Entries = nil
	for _, e := range a.Entries {
		if n := edit(e); n != nil {
			out.Entries = append(out.Entries, *n)
		}
	}
	return &out
}

func without(who identity.AuthID) func(fs.ACE) *fs.ACE {
	return func(e fs.ACE) *fs.ACE {
		if e.Trustee == who {
			return nil
		}
		return &e
	}
}

func lacking(f fs.ACEFlags) func(fs.ACE) *fs.ACE {
	return func(e fs.ACE) *fs.ACE { e.Flags &^= f; return &e }
}

// Every one of these mistakes must be found.
func TestRules_faults(t *testing.T) {
	checks := map[string]func(c *fs.Caller, a *fs.ACL, isDir bool, w fs.Rights) fs.Rights{
		"inherit-only entries count": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			return Check(c, edited(a, lacking(fs.ACEInheritOnly)), d, w)
		},
		"the last mention decides": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			b := *a
			b.Entries = slices.Clone(a.Entries)
			slices.Reverse(b.Entries)
			return Check(c, &b, d, w)
		},
		"denials first": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			b := *a
			b.Entries = slices.Clone(a.Entries)
			slices.SortStableFunc(b.Entries, func(x, y fs.ACE) int { return int(y.Type) - int(x.Type) })
			return Check(c, &b, d, w)
		},
		"denials do not count": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			return Check(c, edited(a, func(e fs.ACE) *fs.ACE {
				if e.Type == deny {
					return nil
				}
				return &e
			}), d, w)
		},
		"GROUP@ is nobody": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			return Check(c, edited(a, without(identity.FileGroup)), d, w)
		},
		"Everyone is nobody": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			return Check(c, edited(a, without(identity.Everyone)), d, w)
		},
		"OwnerRights say nothing": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			return Check(c, edited(a, without(identity.OwnerRights)), d, w)
		},
		"CreatorOwner is the owner": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			return Check(c, edited(a, func(e fs.ACE) *fs.ACE {
				if e.Trustee == identity.CreatorOwner {
					e.Trustee = a.Owner
				}
				return &e
			}), d, w)
		},
		"an owner locks himself out": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			return Check(c, &fs.ACL{Owner: a.Owner, Group: a.Group, Mode: a.Mode, ModeOnly: a.ModeOnly, Entries: append(slices.Clone(a.Entries), fs.ACE{Trustee: identity.OwnerRights})}, d, w)
		},
		"classes add up": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			b := *a
			if a.ModeOnly {
				b.Mode |= a.Mode&7<<3 | a.Mode&7<<6
			}
			return Check(c, &b, d, w)
		},
		"read-only ways in write": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			return Check(&fs.Caller{Cred: c.Cred}, a, d, w)
		},
		"privileges do not count": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			cred := *c.Cred
			cred.Privileges = 0
			return Check(&fs.Caller{Cred: &cred, ReadOnly: c.ReadOnly}, a, d, w)
		},
		"equivalents do not count": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			cred := identity.New(c.Cred.User, c.Cred.Group, nil, c.Cred.GroupIDs())
			cred.Superuser, cred.Privileges = c.Cred.Superuser, c.Cred.Privileges
			return Check(&fs.Caller{Cred: cred, ReadOnly: c.ReadOnly}, a, d, w)
		},
		"root executes everything": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights {
			return Check(c, a, d || c.Cred.Superuser, w)
		},
		"files have children": func(c *fs.Caller, a *fs.ACL, d bool, w fs.Rights) fs.Rights { return Check(c, a, d || a.ModeOnly, w) },
	}
	faults := map[string]func(*rules){}
	for name, f := range checks {
		faults["check: "+name] = func(r *rules) { r.check = f }
	}
	inherit := func(name string, f func(p *fs.ACL, isDir bool, o, g identity.AuthID, m *fs.Mode) fs.ACL) {
		faults["inherit: "+name] = func(r *rules) {
			r.inherit = func(p *fs.ACL, isDir bool, o, g identity.AuthID, m *fs.Mode, _ bool) fs.ACL {
				return f(p, isDir, o, g, m)
			}
		}
	}
	inherit("no-propagate does not count", func(p *fs.ACL, d bool, o, g identity.AuthID, m *fs.Mode) fs.ACL {
		return Inherit(edited(p, lacking(fs.ACENoPropagateInherit)), d, o, g, m, false)
	})
	inherit("only entries in force are inherited", func(p *fs.ACL, d bool, o, g identity.AuthID, m *fs.Mode) fs.ACL {
		return Inherit(edited(p, func(e fs.ACE) *fs.ACE {
			if e.Flags&fs.ACEInheritOnly != 0 {
				return nil
			}
			return &e
		}), d, o, g, m, false)
	})
	inherit("files inherit as directories do", func(p *fs.ACL, d bool, o, g identity.AuthID, m *fs.Mode) fs.ACL {
		return Inherit(p, true, o, g, m, false)
	})
	inherit("directories inherit as files do", func(p *fs.ACL, d bool, o, g identity.AuthID, m *fs.Mode) fs.ACL {
		return Inherit(p, false, o, g, m, false)
	})
	inherit("the creator is the owner of the directory", func(p *fs.ACL, d bool, o, g identity.AuthID, m *fs.Mode) fs.ACL {
		a := Inherit(p, d, p.Owner, g, m, false)
		a.Owner = o
		return a
	})
	inherit("creators are passed on as they are", func(p *fs.ACL, d bool, o, g identity.AuthID, m *fs.Mode) fs.ACL {
		a := Inherit(p, d, identity.CreatorOwner, identity.CreatorGroup, m, false)
		a.Owner, a.Group = o, g
		return a
	})
	inherit("the mode applies besides", func(p *fs.ACL, d bool, o, g identity.AuthID, m *fs.Mode) fs.ACL {
		a := Inherit(p, d, o, g, m, false)
		return Chmod(&a, *m, d, CrossProtocol)
	})
	inherit("nothing is inherited", func(_ *fs.ACL, _ bool, o, g identity.AuthID, m *fs.Mode) fs.ACL {
		return fs.ACL{Owner: o, Group: g, Mode: *m, ModeOnly: true}
	})
	chmod := func(name string, f func(a *fs.ACL, m fs.Mode, isDir bool, p Policy) fs.ACL) {
		faults["chmod: "+name] = func(r *rules) { r.chmod = f }
	}
	chmod("NATIVE limits", func(a *fs.ACL, m fs.Mode, d bool, _ Policy) fs.ACL { return Chmod(a, m, d, CrossProtocol) })
	chmod("CROSS_PROTOCOL replaces", func(a *fs.ACL, m fs.Mode, d bool, _ Policy) fs.ACL { return Chmod(a, m, d, Native) })
	chmod("others are not limited", func(a *fs.ACL, m fs.Mode, d bool, p Policy) fs.ACL {
		out := Chmod(a, m, d, p)
		if !out.ModeOnly {
			for _, e := range a.Entries {
				if e.Trustee == bob || e.Trustee == domainUsers {
					e.Flags = 0
					out.Entries = append([]fs.ACE{e}, out.Entries...)
				}
			}
		}
		return out
	})
	chmod("others are dropped", func(a *fs.ACL, m fs.Mode, d bool, p Policy) fs.ACL {
		return Chmod(edited(a, func(e fs.ACE) *fs.ACE {
			if slices.Contains([]identity.AuthID{bob, carol, domainUsers}, e.Trustee) && e.Trustee != a.Owner {
				return nil
			}
			return &e
		}), m, d, p)
	})
	chmod("inheritance stops", func(a *fs.ACL, m fs.Mode, d bool, p Policy) fs.ACL {
		out := Chmod(a, m, d, p)
		return *edited(&out, func(e fs.ACE) *fs.ACE {
			if e.Flags&fs.ACEInheritOnly != 0 {
				return nil
			}
			return &e
		})
	})
	chmod("the group is forgotten", func(a *fs.ACL, m fs.Mode, d bool, p Policy) fs.ACL { return Chmod(a, m&^0o070, d, p) })
	chmod("special bits are forgotten", func(a *fs.ACL, m fs.Mode, d bool, p Policy) fs.ACL { return Chmod(a, m&0o777, d, p) })
	chown := func(name string, f func(a *fs.ACL, o, g identity.AuthID) fs.ACL) {
		faults["chown: "+name] = func(r *rules) { r.chown = f }
	}
	chown("entries stay the old owner's", func(a *fs.ACL, o, g identity.AuthID) fs.ACL {
		out := Chown(a, o, g)
		out.Entries = a.Entries
		return out
	})
	chown("all entries become the new owner's", func(a *fs.ACL, o, g identity.AuthID) fs.ACL {
		out := Chown(a, o, g)
		return *edited(&out, func(e fs.ACE) *fs.ACE { e.Trustee = out.Owner; return &e })
	})
	chown("the group stays", func(a *fs.ACL, o, _ identity.AuthID) fs.ACL { return Chown(a, o, identity.Unset) })
	faults["delete: sticky does not count"] = func(r *rules) {
		r.mayDelete = func(c *fs.Caller, dir, target *fs.ACL, d bool) error {
			p := *dir
			p.Mode &^= fs.ModeSticky
			return MayDelete(c, &p, target, d)
		}
	}
	faults["delete: sticky binds the owner of the directory"] = func(r *rules) {
		r.mayDelete = func(c *fs.Caller, dir, target *fs.ACL, d bool) error {
			err := MayDelete(c, dir, target, d)
			if err == nil && dir.Mode&fs.ModeSticky != 0 && !IsSuper(c) && !c.Cred.IsUser(target.Owner) {
				err = fs.Perm
			}
			return err
		}
	}
	faults["delete: only the directory's say counts"] = func(r *rules) {
		r.mayDelete = func(c *fs.Caller, dir, target *fs.ACL, d bool) error {
			return MayDelete(c, dir, &fs.ACL{Owner: target.Owner, ModeOnly: true}, d)
		}
	}
	faults["chown: files can be given away"] = func(r *rules) {
		r.mayChown = func(c *fs.Caller, a *fs.ACL, d bool, o, g identity.AuthID) bool {
			return MayChown(c, a, d, o, g) || !c.ReadOnly && o != identity.Unset && c.Cred.IsUser(a.Owner)
		}
	}
	faults["chown: any group will do"] = func(r *rules) {
		r.mayChown = func(c *fs.Caller, a *fs.ACL, d bool, o, g identity.AuthID) bool {
			if g != identity.Unset {
				g = a.Group
			}
			return MayChown(c, a, d, o, g)
		}
	}
	faults["explain: the directory does not count"] = func(r *rules) {
		r.explain = func(c *fs.Caller, a *fs.ACL, d bool, _ *fs.ACL) RightsExplanation { return ExplainRights(c, a, d, nil) }
	}
	faults["explain: sticky does not count"] = func(r *rules) {
		r.explain = func(c *fs.Caller, a *fs.ACL, d bool, p *fs.ACL) RightsExplanation {
			if p != nil {
				b := *p
				b.Mode &^= fs.ModeSticky
				p = &b
			}
			return ExplainRights(c, a, d, p)
		}
	}
	faults["explain: the owner's implicit rights are missing"] = func(r *rules) {
		r.explain = func(c *fs.Caller, a *fs.ACL, d bool, p *fs.ACL) RightsExplanation {
			x := ExplainRights(c, a, d, p)
			x.Effective &^= x.ImplicitOwner &^ (x.FromEntries | x.FromParent | x.Privileged | x.ReadPrivileged)
			return x
		}
	}
	for name, f := range faults {
		rs := realRules()
		f(&rs)
		if run(rs, 1, 60) == nil {
			t.Errorf("not found: %s", name)
		}
	}
	if len(faults) < 35 {
		t.Errorf("%d faults", len(faults))
	}
}
