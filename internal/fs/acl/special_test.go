package acl

import (
	"errors"
	"reflect"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

func TestInherit(t *testing.T) {
	const (
		o, c, n, i, inh = fs.ACEObjectInherit, fs.ACEContainerInherit, fs.ACENoPropagateInherit, fs.ACEInheritOnly, fs.ACEInherited
		r               = fs.RightRead
	)
	m := fs.Mode(0o2750)
	just := FromMode(bob, wheel, m, true)
	for _, tc := range []struct {
		name      string
		in        fs.ACE
		file, dir []fs.ACE // nil: just the mode
	}{
		{"not_inheritable", ace(allow, 0, carol, r), nil, nil},
		{"object", ace(allow, o, carol, r), []fs.ACE{ace(allow, inh, carol, r)}, append(just[:len(just):len(just)], ace(allow, o|i|inh, carol, r))},
		{"object_no_propagate", ace(allow, o|n, carol, r), []fs.ACE{ace(allow, inh, carol, r)}, nil},
		{"container", ace(deny, c, carol, r), nil, []fs.ACE{ace(deny, c|inh, carol, r)}},
		{"both", ace(allow, o|c, carol, r), []fs.ACE{ace(allow, inh, carol, r)}, []fs.ACE{ace(allow, o|c|inh, carol, r)}},
		{"both_inherit_only", ace(allow, o|c|i, carol, r), []fs.ACE{ace(allow, inh, carol, r)}, []fs.ACE{ace(allow, o|c|inh, carol, r)}},
		{"both_no_propagate", ace(allow, o|c|n, carol, r), []fs.ACE{ace(allow, inh, carol, r)}, []fs.ACE{ace(allow, inh, carol, r)}},
		{"creator_owner", ace(allow, o|c|i, identity.CreatorOwner, r), []fs.ACE{ace(allow, inh, bob, r)},
			[]fs.ACE{ace(allow, inh, bob, r), ace(allow, o|c|i|inh, identity.CreatorOwner, r)}},
		{"creator_group_no_propagate", ace(allow, o|c|n, identity.CreatorGroup, r), []fs.ACE{ace(allow, inh, wheel, r)}, []fs.ACE{ace(allow, inh, wheel, r)}},
		{"owner_rights_stays", ace(allow, o|c, identity.OwnerRights, r), []fs.ACE{ace(allow, inh, identity.OwnerRights, r)}, []fs.ACE{ace(allow, o|c|inh, identity.OwnerRights, r)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			parent := fs.ACL{Owner: alice, Group: staff, Control: fs.ACLPresent | fs.ACLAutoInherited, Entries: []fs.ACE{tc.in}}
			for _, k := range []struct {
				isDir bool
				want  []fs.ACE
			}{{false, tc.file}, {true, tc.dir}} {
				got := Inherit(&parent, k.isDir, bob, wheel, &m, false)
				if got.Owner != bob || got.Group != wheel || got.ModeOnly != (k.want == nil) || !reflect.DeepEqual(got.Entries, k.want) {
					t.Errorf("dir %t: got %+v, want %+v", k.isDir, got, k.want)
				}
				if got.Mode&^0o777 != fs.ModeSetgid || got.ModeOnly && got.Mode != m {
					t.Errorf("dir %t: mode %o", k.isDir, got.Mode)
				}
			}
		})
	}
	parent := fs.ACL{Owner: alice, Group: staff, Control: fs.ACLPresent, Entries: []fs.ACE{ace(allow, o, carol, r)}}
	if got := Inherit(&parent, false, bob, wheel, &m, false); len(got.Entries) != 1 || got.Entries[0] != ace(allow, 0, carol, r) {
		t.Errorf("parent without automatic inheritance: %+v", got)
	}
	if got := Inherit(&parent, true, bob, wheel, &m, true); len(got.Entries) != 1 || got.Entries[0] != ace(allow, o|i, carol, r) {
		t.Errorf("mode that yields: %+v", got)
	}
	plain := fs.ACL{Owner: alice, Group: staff, Mode: 0o755, ModeOnly: true}
	if got := Inherit(&plain, false, bob, wheel, nil, false); !got.ModeOnly || got.Mode != 0o666 {
		t.Errorf("file without a mode: %+v", got)
	}
	if got := Inherit(&plain, true, bob, wheel, nil, false); !got.ModeOnly || got.Mode != 0o777 {
		t.Errorf("directory without a mode: %+v", got)
	}
}

func TestMayDelete(t *testing.T) {
	dir := func(m fs.Mode) fs.ACL { return fs.ACL{Owner: alice, Group: staff, Mode: m, ModeOnly: true} }
	file := func(o identity.AuthID) fs.ACL { return fs.ACL{Owner: o, Group: staff, ModeOnly: true} }
	ro := caller(alice, staff)
	ro.ReadOnly = true
	for _, c := range []struct {
		name        string
		c           *fs.Caller
		dir, target fs.ACL
		want        error
	}{
		{"writable_dir", caller(bob, wheel), dir(0o777), file(carol), nil},
		{"unwritable_dir", caller(bob, wheel), dir(0o755), file(bob), fs.Access},
		{"sticky_stranger", caller(bob, wheel), dir(0o1777), file(carol), fs.Perm},
		{"sticky_file_owner", caller(bob, wheel), dir(0o1777), file(bob), nil},
		{"sticky_dir_owner", caller(alice, wheel), dir(0o1777), file(carol), nil},
		{"sticky_root", root(), dir(0o1777), file(carol), nil},
		{"root_unwritable", root(), dir(0), file(carol), nil},
		{"read_only", ro, dir(0o777), file(alice), fs.ReadOnly},
		{"delete_on_target", caller(bob, wheel), dir(0o755), fs.ACL{Owner: carol, Entries: []fs.ACE{ace(allow, 0, bob, fs.RightDelete)}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := MayDelete(c.c, &c.dir, &c.target, false); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestMayChown(t *testing.T) {
	a := fs.ACL{Owner: alice, Group: staff, Mode: 0o777, ModeOnly: true}
	take := fs.ACL{Owner: alice, Group: staff, Entries: []fs.ACE{ace(allow, 0, bob, fs.RightChangeOwner)}}
	priv := identity.New(bob, wheel, nil, nil)
	priv.Privileges = identity.ChangeOwner
	none := identity.Unset
	for _, c := range []struct {
		name         string
		c            *fs.Caller
		a            *fs.ACL
		owner, group identity.AuthID
		want         bool
	}{
		{"root", root(), &a, bob, wheel, true},
		{"privilege", &fs.Caller{Cred: priv}, &a, carol, staff, true},
		{"owner_gives_away", caller(alice, staff), &a, bob, none, false},
		{"owner_to_itself", caller(alice, staff), &a, alice, none, true},
		{"owner_to_own_group", caller(alice, staff, wheel), &a, none, wheel, true},
		{"owner_to_itself_and_own_group", caller(alice, staff, wheel), &a, alice, wheel, true},
		{"owner_to_foreign_group", caller(alice, staff), &a, none, wheel, false},
		{"owner_same_group_not_member", caller(alice, wheel), &a, none, staff, true},
		{"stranger_no_change", caller(bob, wheel), &a, alice, staff, false},
		{"stranger_own_group", caller(bob, wheel), &a, none, wheel, false},
		{"take_ownership", caller(bob, wheel), &take, bob, none, true},
		{"take_for_another", caller(bob, wheel), &take, carol, none, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := MayChown(c.c, c.a, false, c.owner, c.group); got != c.want {
				t.Errorf("got %t", got)
			}
			ro := *c.c
			ro.ReadOnly = true
			if MayChown(&ro, c.a, false, c.owner, c.group) {
				t.Error("allowed on a read-only way in")
			}
		})
	}
}

func TestChmodMode(t *testing.T) {
	a := fs.ACL{Owner: alice, Group: staff, ModeOnly: true}
	for _, c := range []struct {
		name string
		c    *fs.Caller
		want fs.Mode
		ok   bool
	}{
		{"owner_in_group", caller(alice, staff), 0o7755, true},
		{"owner_not_in_group", caller(alice, wheel), 0o5755, true},
		{"stranger", caller(bob, staff), 0, false},
		{"root", root(), 0o7755, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if m, ok := ChmodMode(c.c, &a, false, 0o7755); m != c.want || ok != c.ok {
				t.Errorf("got %o, %t", m, ok)
			}
		})
	}
}

func TestDropSetID(t *testing.T) {
	for _, c := range []struct {
		in, want fs.Mode
		isDir    bool
	}{{0o7755, 0o1755, false}, {0o6644, 0o2644, false}, {0o6755, 0o6755, true}, {0o644, 0o644, false}} {
		if got := DropSetID(c.in, c.isDir); got != c.want {
			t.Errorf("%o (dir %t): got %o, want %o", c.in, c.isDir, got, c.want)
		}
	}
}

func TestCreate_setgidDirectory(t *testing.T) {
	dir := fs.ACL{Owner: alice, Group: staff, Mode: 0o2775, ModeOnly: true}
	c := caller(bob, wheel)
	if g := NewGroup(c, &dir); g != staff {
		t.Errorf("group %d", g)
	}
	if m := CreateMode(c, &dir, true, staff, 0o755); m != 0o2755 {
		t.Errorf("directory: %o", m)
	}
	if m := CreateMode(c, &dir, false, staff, 0o2755); m != 0o755 {
		t.Errorf("file of a group that is not the caller's: %o", m)
	}
	dir.Mode = 0o755
	if g := NewGroup(c, &dir); g != wheel {
		t.Errorf("group %d", g)
	}
	if m := CreateMode(c, &dir, false, wheel, 0o2755); m != 0o2755 {
		t.Errorf("file: %o", m)
	}
}
