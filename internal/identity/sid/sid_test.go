package sid

import (
	"testing"

	"manifold/internal/identity"
)

const uuid = "00000001-0000-0002-0000-000300000004"

func TestScheme(t *testing.T) {
	s := NewScheme(uuid)
	for a, want := range map[identity.AuthID]string{
		identity.Everyone: "S-1-1-0", identity.System: "S-1-5-18", identity.CreatorOwner: "S-1-3-0",
		identity.Admin: "S-1-5-21-1-2-3-500", identity.Administrators: "S-1-5-21-1-2-3-512", identity.UID(0): "S-1-5-88-1-0",
		identity.GID(1 << 31): "S-1-5-88-2-2147483648", identity.BuiltinAdministrators: "S-1-5-32-544", identity.BuiltinGuests: "S-1-5-32-546", identity.FileOwner: "S-1-5-88-3-1",
	} {
		x, ok := s.Of(a)
		if !ok || x.String() != want {
			t.Errorf("%d is %s, want %s", a, x, want)
		}
		if back, ok := s.AuthID(x); !ok || back != a {
			t.Errorf("%s is %d, want %d", x, back, a)
		}
		if y, ok := ParseText(want); !ok || y != x {
			t.Errorf("ParseText(%q) = %q", want, y)
		}
	}
	for _, a := range []identity.AuthID{0, identity.MappedBase} {
		if x, ok := s.Of(a); ok {
			t.Errorf("%d has the SID %s", a, x)
		}
	}
	for _, text := range []string{"S-1-5-21-1-2-4-500", "S-1-5-32-547", "S-1-5-21-1-2-3", "S-1-5-21-1-2-3-1", "S-1-5-88-4-1", "S-1-5"} {
		x, ok := ParseText(text)
		if !ok || x.String() != text {
			t.Errorf("%s came back as %s", text, x)
		}
		if a, ok := s.AuthID(x); ok {
			t.Errorf("%s is %d", text, a)
		}
	}
}

func TestParse_refuses(t *testing.T) {
	for _, text := range []string{"", "S", "S-1", "S-2-5-1", "S-1-x", "S-1-5-4294967296", "S-1-5--1", "S-1-1_0-1", "S-1-5-1-2-3-4-5-6-7-8-9-10-11-12-13-14-15-16"} {
		if x, ok := ParseText(text); ok {
			t.Errorf("%q was read as %s", text, x)
		}
	}
	if x, ok := ParseText("s-1-0x100000000-1"); !ok || x.String() != "S-1-0x100000000-1" {
		t.Errorf("a large authority is %s", x)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(Nobody), "S-1-5-18")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		x, ok := Parse(b)
		if y, same := ParseText(x.String()); ok && (!same || y != x) {
			t.Errorf("%x: %s is read back as %x", b, x, y)
		}
		if x, ok := ParseText(text); ok {
			if y, ok := Parse([]byte(x)); !ok || y != x {
				t.Errorf("%q makes %x", text, x)
			}
		}
	})
}
