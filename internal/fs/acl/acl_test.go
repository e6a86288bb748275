package acl

import (
	"math/rand/v2"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

const (
	rwxFile = fs.RightRead | fs.RightModify | fs.RightExtend | fs.RightExecute
	allow   = fs.ACEAllow
	deny    = fs.ACEDeny
)

var (
	alice, bob, carol = identity.UID(1000), identity.UID(1001), identity.UID(1002)
	staff, wheel      = identity.GID(50), identity.GID(10)
	domainUsers       = identity.AuthID(1<<40 + 7)
)

func caller(user, group identity.AuthID, groups ...identity.AuthID) *fs.Caller {
	return &fs.Caller{Cred: identity.New(user, group, nil, groups)}
}

func ace(t fs.ACEType, f fs.ACEFlags, who identity.AuthID, r fs.Rights) fs.ACE {
	return fs.ACE{Type: t, Flags: f, Trustee: who, Rights: r}
}

func root() *fs.Caller { return &fs.Caller{Cred: identity.POSIX(0, 0, nil)} }

func TestCheck_modeOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  fs.Mode
		c     *fs.Caller
		isDir bool
		want  fs.Rights
		got   fs.Rights
	}{
		{"owner", 0o700, caller(alice, wheel), false, rwxFile, rwxFile},
		{"owner_denied_though_group_may", 0o070, caller(alice, staff), false, rwxFile, 0},
		{"group_denied_though_other_may", 0o707, caller(bob, staff), false, rwxFile, 0},
		{"supplementary_group", 0o060, caller(bob, wheel, staff), false, rwxFile, fs.RightRead | fs.RightsWriteData},
		{"other", 0o001, caller(bob, wheel), false, rwxFile, fs.RightExecute},
		{"stat_always", 0, caller(bob, wheel), false, fs.RightReadAttr | fs.RightReadACL, fs.RightReadAttr | fs.RightReadACL},
		{"owner_chmod_always", 0, caller(alice, wheel), false, fs.RightWriteACL | fs.RightWriteAttr, fs.RightWriteACL | fs.RightWriteAttr},
		{"writer_is_no_owner", 0o777, caller(bob, staff), false, fs.RightWriteACL | fs.RightWriteAttr | fs.RightChangeOwner, 0},
		{"delete_child_with_w", 0o020, caller(bob, staff), true, fs.RightDeleteChild | fs.RightAddFile, fs.RightDeleteChild | fs.RightAddFile},
		{"delete_child_not_on_file", 0o020, caller(bob, staff), false, fs.RightDeleteChild, 0},
		{"root_all", 0, root(), true, fs.RightsAll, fs.RightsAll},
		{"root_no_x", 0o666, root(), false, rwxFile, rwxFile &^ fs.RightExecute},
		{"root_some_x", 0o601, root(), false, rwxFile, rwxFile},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := fs.ACL{Owner: alice, Group: staff, Mode: c.mode, ModeOnly: true}
			if got := Check(c.c, &a, c.isDir, c.want); got != c.got {
				t.Errorf("got %#x, want %#x", got, c.got)
			}
		})
	}
}

func TestCheck_entries(t *testing.T) {
	read, write := fs.RightRead, fs.RightModify
	for _, c := range []struct {
		name    string
		entries []fs.ACE
		c       *fs.Caller
		want    fs.Rights
		got     fs.Rights
	}{
		{"first_mention_decides", []fs.ACE{ace(deny, 0, bob, write), ace(allow, 0, bob, read|write)}, caller(bob, wheel), read | write, read},
		{"allow_before_deny", []fs.ACE{ace(allow, 0, bob, write), ace(deny, 0, identity.Everyone, write)}, caller(bob, wheel), write, write},
		{"group_entry", []fs.ACE{ace(allow, 0, domainUsers, read)}, caller(bob, wheel, domainUsers), read | write, read},
		{"inherit_only_skipped", []fs.ACE{ace(allow, fs.ACEInheritOnly|fs.ACEObjectInherit, bob, read)}, caller(bob, wheel), read, 0},
		{"creator_owner_is_nobody", []fs.ACE{ace(allow, 0, identity.CreatorOwner, read)}, caller(alice, wheel), read, 0},
		{"owner_at", []fs.ACE{ace(allow, 0, identity.FileOwner, read)}, caller(alice, wheel), read, read},
		{"group_at", []fs.ACE{ace(allow, 0, identity.FileGroup, read)}, caller(bob, staff), read, read},
		{"empty_acl", nil, caller(bob, wheel), fs.RightsAll, 0},
		{"implicit_owner", nil, caller(alice, wheel), fs.RightsAll, implicitOwner},
		{"implicit_owner_beats_deny", []fs.ACE{ace(deny, 0, alice, fs.RightsAll)}, caller(alice, wheel), fs.RightsAll, implicitOwner},
		{"owner_rights_suppress", []fs.ACE{ace(allow, 0, identity.OwnerRights, read)}, caller(alice, wheel), fs.RightsAll, read},
		{"owner_rights_not_for_others", []fs.ACE{ace(allow, 0, identity.OwnerRights, read)}, caller(bob, wheel), fs.RightsAll, 0},
		{"root_x_by_entry", []fs.ACE{ace(allow, 0, bob, fs.RightExecute)}, root(), rwxFile, rwxFile},
		{"root_no_x_by_entry", []fs.ACE{ace(deny, 0, bob, fs.RightExecute)}, root(), rwxFile, rwxFile &^ fs.RightExecute},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := fs.ACL{Owner: alice, Group: staff, Entries: c.entries}
			if got := Check(c.c, &a, false, c.want); got != c.got {
				t.Errorf("got %#x, want %#x", got, c.got)
			}
		})
	}
}

func TestCheck_privilegesAndCaps(t *testing.T) {
	with := func(p identity.Privileges) *fs.Caller {
		c := identity.New(bob, wheel, nil, nil)
		c.Privileges = p
		return &fs.Caller{Cred: c}
	}
	a := fs.ACL{Owner: alice, Group: staff, ModeOnly: true}
	if got := Check(with(identity.FileFullAccess), &a, false, fs.RightsAll); got != fs.RightsAll {
		t.Errorf("full access: %#x", got)
	}
	if got := Check(with(identity.FileReadAccess), &a, true, fs.RightsAll); got != ReadRights {
		t.Errorf("read access on a directory: %#x", got)
	}
	if got := Check(with(identity.FileReadAccess), &a, false, fs.RightsAll); got != ReadRights&^fs.RightExecute {
		t.Errorf("read access on a file: %#x", got)
	}
	if got := Check(with(identity.ChangeOwner), &a, false, fs.RightChangeOwner); got != fs.RightChangeOwner {
		t.Errorf("change owner: %#x", got)
	}
	ro := root()
	ro.ReadOnly = true
	if got := Check(ro, &a, true, fs.RightsAll); got != ReadRights {
		t.Errorf("root on a read-only way in: %#x", got)
	}
}

// TestFromMode_isTheMode: for every mode and every kind of caller, entries made
// from a mode evaluate as POSIX evaluates the mode.
func TestFromMode_isTheMode(t *testing.T) {
	callers := []*fs.Caller{
		caller(alice, wheel), caller(alice, staff), caller(bob, staff), caller(bob, wheel, staff), caller(bob, wheel), root(),
	}
	for m := fs.Mode(0); m <= 0o777; m++ {
		for _, isDir := range []bool{false, true} {
			mode := fs.ACL{Owner: alice, Group: staff, Mode: m, ModeOnly: true}
			list := Resolve(&mode, isDir)
			if got := Mode(&list, isDir); got != m {
				t.Fatalf("mode %o shows as %o", m, got)
			}
			for i, c := range callers {
				if a, b := Check(c, &mode, isDir, fs.RightsAll), Check(c, &list, isDir, fs.RightsAll); a != b {
					t.Fatalf("mode %o, caller %d: mode gives %#x, entries give %#x", m, i, a, b)
				}
			}
		}
	}
}

// naive decides each right by itself.
func naive(c *fs.Caller, a *fs.ACL, want fs.Rights) fs.Rights {
	var got fs.Rights
	suppressed := false
	for _, e := range a.Entries {
		suppressed = suppressed || e.Trustee == identity.OwnerRights && e.Flags&fs.ACEInheritOnly == 0
	}
	for bit := fs.Rights(1); bit <= fs.RightsAll; bit <<= 1 {
		if want&bit == 0 {
			continue
		}
		ok := !suppressed && c.Cred.User == a.Owner && implicitOwner&bit != 0
		for _, e := range a.Entries {
			hit := e.Trustee == identity.Everyone || c.Cred.Is(e.Trustee) ||
				(e.Trustee == identity.FileOwner || e.Trustee == identity.OwnerRights) && c.Cred.User == a.Owner ||
				e.Trustee == identity.FileGroup && c.Cred.InGroup(a.Group)
			if e.Flags&fs.ACEInheritOnly == 0 && hit && e.Rights&bit != 0 {
				ok = ok || e.Type == allow
				break
			}
		}
		if ok {
			got |= bit
		}
	}
	return got
}

func randomACL(r *rand.Rand) fs.ACL {
	who := []identity.AuthID{alice, bob, carol, staff, wheel, domainUsers, identity.Everyone, identity.FileOwner,
		identity.FileGroup, identity.OwnerRights, identity.CreatorOwner, identity.CreatorGroup}
	a := fs.ACL{Owner: alice, Group: staff, Control: fs.ACLPresent, Mode: fs.Mode(r.IntN(8)) << 9}
	for range r.IntN(8) {
		rights := fs.Rights(r.Uint32()) & fs.RightsAll
		if r.IntN(3) == 0 {
			rights = fs.RightsAll
		}
		var flags fs.ACEFlags
		if r.IntN(2) == 0 {
			flags = fs.ACEFlags(r.IntN(32))
		}
		a.Entries = append(a.Entries, fs.ACE{Type: fs.ACEType(r.IntN(4) / 3), Flags: flags, Trustee: who[r.IntN(len(who))], Rights: rights})
	}
	return a
}

func TestCheck_random(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	callers := []*fs.Caller{caller(alice, wheel), caller(alice, staff), caller(bob, staff, domainUsers), caller(carol, wheel)}
	for range 20000 {
		a := randomACL(r)
		c := callers[r.IntN(len(callers))]
		want := fs.Rights(r.Uint32()) & fs.RightsAll
		if got, exp := Check(c, &a, false, want), naive(c, &a, want); got != exp {
			t.Fatalf("%+v\n%#x: got %#x, want %#x", a, want, got, exp)
		}
	}
}

func TestCheck_allocs(t *testing.T) {
	c := caller(bob, wheel, staff)
	mode := fs.ACL{Owner: alice, Group: staff, Mode: 0o644, ModeOnly: true}
	list := Resolve(&mode, false)
	if n := testing.AllocsPerRun(100, func() {
		Check(c, &mode, false, fs.RightRead)
		Check(c, &list, false, fs.RightRead)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	c := caller(bob, wheel, staff)
	mode := fs.ACL{Owner: alice, Group: staff, Mode: 0o644, ModeOnly: true}
	list := Resolve(&mode, false)
	b.Run("mode", func(b *testing.B) {
		for b.Loop() {
			Check(c, &mode, false, fs.RightRead)
		}
	})
	b.Run("entries", func(b *testing.B) {
		for b.Loop() {
			Check(c, &list, false, fs.RightRead)
		}
	})
}
