package acl

import (
	"math/rand/v2"
	"slices"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// TestExplain_random: what is explained is what happens.
func TestExplain_random(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	priv := identity.New(bob, wheel, nil, nil)
	priv.Privileges = identity.FileReadAccess | identity.ChangeOwner
	callers := []*fs.Caller{caller(alice, wheel), caller(bob, staff, domainUsers), root(), {Cred: priv}, {Cred: priv, ReadOnly: true}}
	for range 5000 {
		a, isDir := randomACL(r), r.IntN(2) == 0
		if r.IntN(4) == 0 {
			a = fs.ACL{Owner: alice, Group: staff, Mode: fs.Mode(r.IntN(0o10000)), ModeOnly: true}
		}
		c := callers[r.IntN(len(callers))]
		x := ExplainRights(c, &a, isDir, nil)
		if got := Check(c, &a, isDir, fs.RightsAll); x.Effective != got {
			t.Fatalf("%+v: explained %#x, granted %#x", a, x.Effective, got)
		}
		var allowed fs.Rights
		for _, s := range x.Steps {
			if s.NewlyAllowed&allowed != 0 || s.Allowed != allowed|s.NewlyAllowed || s.Allowed&s.Denied != 0 {
				t.Fatalf("%+v: step %+v", a, s)
			}
			allowed = s.Allowed
		}
		if allowed != x.FromEntries {
			t.Fatalf("%+v: steps allow %#x, all of them %#x", a, allowed, x.FromEntries)
		}

		mode, steps := ExplainMode(&a, isDir)
		var bits fs.Mode
		for _, s := range steps {
			bits |= s.Bits
		}
		if mode != Mode(&a, isDir) || bits != mode&0o777 {
			t.Fatalf("%+v: mode %o, explained %o, bits %o", a, Mode(&a, isDir), mode, bits)
		}

		to := fs.Mode(r.IntN(0o10000))
		cx := ExplainChmod(&a, to, isDir)
		want := Chmod(&a, to, isDir, CrossProtocol)
		want = Resolve(&want, isDir)
		if !slices.Equal(cx.Result.Entries, want.Entries) || cx.Result.Mode != want.Mode {
			t.Fatalf("%+v chmod %o: explained %+v, done %+v", a, to, cx.Result, want)
		}
		var results []fs.ACE
		for _, s := range cx.Steps {
			if s.Result != nil {
				results = append(results, *s.Result)
			}
			if (s.Source == nil) != (s.Action == InsertACE) || (s.Result == nil) != (s.Action == RemoveACE) || s.Reason == "" {
				t.Fatalf("step %+v", s)
			}
		}
		if !slices.Equal(results, cx.Result.Entries) {
			t.Fatalf("%+v chmod %o: steps give %+v, all of them %+v", a, to, results, cx.Result.Entries)
		}
	}
}

func TestExplainRights_parent(t *testing.T) {
	a := fs.ACL{Owner: alice, Group: staff, ModeOnly: true}
	for _, x := range []struct {
		mode fs.Mode
		c    *fs.Caller
		from fs.Rights
		can  fs.Rights
	}{
		{0o777, caller(bob, wheel), fs.RightDelete | fs.RightReadAttr, fs.RightDelete}, {0o776, caller(bob, wheel), fs.RightReadAttr, 0}, {0o775, caller(bob, wheel), fs.RightReadAttr, 0},
		{0o1777, caller(bob, wheel), fs.RightDelete | fs.RightReadAttr, 0}, {0o1777, caller(alice, wheel), fs.RightDelete | fs.RightReadAttr, fs.RightDelete},
		{0o1777, caller(carol, wheel), fs.RightDelete | fs.RightReadAttr, fs.RightDelete}, {0o1700, root(), fs.RightDelete | fs.RightReadAttr, fs.RightDelete},
	} {
		got := ExplainRights(x.c, &a, false, &fs.ACL{Owner: carol, Group: staff, Mode: x.mode, ModeOnly: true})
		if got.FromParent != x.from || got.Effective&fs.RightDelete != x.can {
			t.Errorf("%o: %+v", x.mode, got)
		}
	}
}

func TestChmodStep(t *testing.T) {
	a := fs.ACL{Owner: alice, Group: staff, Entries: []fs.ACE{
		ace(allow, fs.ACEContainerInherit|fs.ACEInherited, alice, fs.RightsAll), ace(allow, 0, bob, fs.RightRead|fs.RightModify),
	}}
	x := ExplainChmod(&a, 0o744, true)
	var seen []ChmodAction
	for _, s := range x.Steps {
		seen = append(seen, s.Action)
		removed, added := s.FlagsChanged()
		if s.Source != nil && s.Owner && (removed != 0 || added != fs.ACEInheritOnly || s.RightsRemoved() != 0) {
			t.Errorf("owner's entry: %+v", s)
		}
		if s.Source != nil && !s.Owner && (s.Group || s.Other || s.RightsRemoved() != fs.RightModify) {
			t.Errorf("bob's entry: %+v", s)
		}
	}
	if !slices.Equal(seen, []ChmodAction{InsertACE, ModifyACE, ModifyACE, InsertACE, InsertACE}) {
		t.Errorf("actions %v", seen)
	}
}
