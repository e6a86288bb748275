package core_test

import (
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
	"manifold/internal/kv/memkv"
)

// The permissions mode decides what a chmod leaves of an ACL, at once and
// without touching files.
func TestSetChmodPolicy(t *testing.T) {
	f := newFS(t, memkv.New())
	other := identity.UID(1234)
	entries := []fs.ACE{
		{Trustee: other, Rights: fs.RightRead | fs.RightReadAttr},
		{Trustee: identity.Everyone, Rights: fs.RightsAll, Flags: fs.ACEObjectInherit | fs.ACEInheritOnly},
		{Trustee: identity.UID(0), Rights: fs.RightsAll},
	}
	mode := fs.Mode(0o770)
	for _, c := range []struct {
		policy acl.Policy
		keeps  bool
	}{{acl.CrossProtocol, true}, {acl.Native, false}, {acl.CrossProtocol, true}} {
		d := mustCreate(t, f, fs.Root, "d", fs.Directory)
		if _, err := f.SetACL(t.Context(), root, d, &fs.ACL{Control: fs.ACLPresent, Entries: entries}); err != nil {
			t.Fatal(err)
		}
		f.SetChmodPolicy(c.policy)
		if a, err := f.GetACL(t.Context(), root, d); err != nil || len(a.Entries) != len(entries) {
			t.Fatalf("the switch changed %+v: %v", a, err)
		}
		if _, err := f.SetAttr(t.Context(), root, d, &fs.SetAttr{Mode: &mode}); err != nil {
			t.Fatal(err)
		}
		a, err := f.GetACL(t.Context(), root, d)
		if err != nil || acl.Mode(&a, true)&0o777 != mode {
			t.Errorf("%+v: %v", a, err)
		}
		kept := false
		for _, e := range a.Entries {
			kept = kept || e.Trustee == other
		}
		if kept != c.keeps {
			t.Errorf("policy %d leaves %+v", c.policy, a.Entries)
		}
		if _, err := f.Remove(t.Context(), root, fs.Root, "d", fs.RemoveDir); err != nil {
			t.Fatal(err)
		}
	}
}
