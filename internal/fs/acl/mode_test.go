package acl

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

func TestMode(t *testing.T) {
	full := fs.RightsAll
	for _, c := range []struct {
		name    string
		entries []fs.ACE
		want    fs.Mode
	}{
		{"empty", nil, 0},
		{"everyone_full", []fs.ACE{ace(allow, 0, identity.Everyone, full)}, 0o777},
		{"owner_only", []fs.ACE{ace(allow, 0, alice, full)}, 0o700},
		{"owner_at", []fs.ACE{ace(allow, 0, identity.FileOwner, full)}, 0o700},
		{"others_entries_do_not_show", []fs.ACE{ace(allow, 0, bob, full), ace(allow, 0, domainUsers, full)}, 0},
		{"deny_everyone_first", []fs.ACE{ace(deny, 0, identity.Everyone, fs.RightExecute), ace(allow, 0, alice, full)}, 0o600},
		{"append_only_is_not_w", []fs.ACE{ace(allow, 0, staff, fs.RightRead|fs.RightExtend)}, 0o040},
		{"inherit_only_does_not_show", []fs.ACE{ace(allow, fs.ACEInheritOnly|fs.ACEObjectInherit, alice, full)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := fs.ACL{Owner: alice, Group: staff, Mode: fs.ModeSticky, Entries: c.entries}
			if got := Mode(&a, false); got != c.want|fs.ModeSticky {
				t.Errorf("got %o, want %o", got, c.want|fs.ModeSticky)
			}
		})
	}
}

func TestChmod(t *testing.T) {
	admins := identity.Administrators
	inherit := fs.ACEObjectInherit | fs.ACEContainerInherit
	a := fs.ACL{Owner: alice, Group: staff, Control: fs.ACLPresent, Entries: []fs.ACE{
		ace(allow, inherit, admins, fs.RightsAll),
		ace(allow, 0, alice, fs.RightsAll),
		ace(allow, inherit, domainUsers, fs.RightRead|fs.RightModify|fs.RightExtend|fs.RightDelete),
		ace(allow, inherit|fs.ACEInheritOnly, identity.CreatorOwner, fs.RightsAll),
	}}
	got := Chmod(&a, 0o750, true, CrossProtocol)
	if m := Mode(&got, true); m != 0o750 {
		t.Errorf("mode %o", m)
	}
	admin := caller(bob, wheel, admins)
	if r := Check(admin, &got, true, fs.RightsAll); r != ReadRights {
		t.Errorf("administrators keep %#x", r)
	}
	if r := Check(caller(bob, wheel, domainUsers), &got, true, fs.RightsAll); r&(fs.RightModify|fs.RightDelete) != 0 || r&fs.RightRead == 0 {
		t.Errorf("domain users keep %#x", r)
	}
	if r := Check(caller(alice, wheel), &got, true, fs.RightsAll); r != fs.RightsAll {
		t.Errorf("the owner keeps %#x", r)
	}
	if want, have := children(&a), children(&got); !reflect.DeepEqual(want, have) {
		t.Errorf("children inherit %+v, before %+v", have, want)
	}
	native := Chmod(&a, 0o4750, false, Native)
	if !native.ModeOnly || native.Mode != 0o4750 || native.Entries != nil {
		t.Errorf("native: %+v", native)
	}
	shut := Chmod(&a, 0o700, true, CrossProtocol)
	if r := Check(admin, &shut, true, fs.RightsAll); r != always {
		t.Errorf("chmod go= leaves administrators %#x", r)
	}
}

// children are the ACLs that children would get, of both kinds.
func children(a *fs.ACL) [2]fs.ACL {
	m := fs.Mode(0o640)
	return [2]fs.ACL{Inherit(a, false, bob, wheel, &m, false), Inherit(a, true, bob, wheel, &m, false)}
}

// TestChmod_random holds what a chmod promises, from any ACL.
func TestChmod_random(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		a := randomACL(r)
		before := Encode(&a)
		mode, isDir := fs.Mode(r.IntN(0o10000)), r.IntN(2) == 0
		got := Chmod(&a, mode, isDir, CrossProtocol)
		if string(before) != string(Encode(&a)) {
			t.Fatal("the argument was changed")
		}
		if m := Mode(&got, isDir); m != mode {
			t.Fatalf("chmod %o of %+v shows %o", mode, a, m)
		}
		if want, have := children(&a), children(&got); isDir && !reflect.DeepEqual(want, have) {
			t.Fatalf("chmod %o of %+v: children inherit %+v, before %+v", mode, a, have, want)
		}
		if again := Chmod(&got, mode, isDir, CrossProtocol); !reflect.DeepEqual(Encode(&again), Encode(&got)) {
			t.Fatalf("chmod %o again changes %+v to %+v", mode, got, again)
		}
		owner := Check(caller(alice, wheel), &got, isDir, fs.RightsAll)
		if exp := classRights(mode>>6, isDir) | ownership; owner&exp != exp || bitsOf(owner) != mode>>6&7 {
			t.Fatalf("chmod %o of %+v: the owner has %#x", mode, a, owner)
		}
		// Nobody else has more of what shows than group and other together say.
		if most := limit(mode>>3 | mode); !a.ModeOnly {
			for _, c := range []*fs.Caller{caller(bob, wheel), caller(carol, staff, domainUsers)} {
				if r := Check(c, &got, isDir, fs.RightsAll); r&^most != 0 {
					t.Fatalf("chmod %o of %+v leaves a stranger %#x", mode, a, r&^most)
				}
			}
		}
	}
}

func TestChmod_keepsDenials(t *testing.T) {
	no := ace(deny, fs.ACEInherited, bob, fs.RightsAll)
	a := fs.ACL{Owner: alice, Group: staff, Entries: []fs.ACE{no, ace(allow, 0, identity.Everyone, fs.RightsAll)}}
	got := Chmod(&a, 0o754, false, CrossProtocol)
	if !slices.Contains(got.Entries, no) {
		t.Errorf("got %+v", got.Entries)
	}
	if r := Check(caller(bob, staff), &got, false, fs.RightsAll); r != 0 {
		t.Errorf("bob has %#x", r)
	}
}

func TestChown(t *testing.T) {
	a := fs.ACL{Owner: alice, Group: staff, Entries: []fs.ACE{
		ace(allow, 0, alice, fs.RightRead), ace(allow, 0, staff, fs.RightRead), ace(allow, 0, bob, fs.RightRead),
		ace(allow, fs.ACEInheritOnly|fs.ACEObjectInherit, alice, fs.RightRead),
	}}
	got := Chown(&a, carol, identity.Unset)
	who := []identity.AuthID{carol, staff, bob, alice}
	for i, e := range got.Entries {
		if e.Trustee != who[i] {
			t.Errorf("entry %d is for %d", i, e.Trustee)
		}
	}
	if got.Owner != carol || got.Group != staff || a.Entries[0].Trustee != alice {
		t.Errorf("got %+v", got)
	}
	mode := fs.ACL{Owner: alice, Group: staff, Mode: 0o640, ModeOnly: true}
	if got := Chown(&mode, carol, wheel); got.Owner != carol || got.Group != wheel || got.Mode != 0o640 || !got.ModeOnly {
		t.Errorf("got %+v", got)
	}
}
