package acl

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

func TestCodec_golden(t *testing.T) {
	for _, c := range []struct {
		name string
		a    fs.ACL
		want string
	}{
		{"mode", fs.ACL{Owner: alice, Group: staff, Mode: 0o4755, ModeOnly: true}, "0101000009ed00000003000003e800000004000000320000"},
		{"entries", fs.ACL{Owner: alice, Group: staff, Control: fs.ACLPresent, Mode: fs.ModeSticky,
			Entries: []fs.ACE{ace(deny, fs.ACEInherited, bob, fs.RightRead)}},
			"0100000402000000000" + "3000003e800000004000000320001" + "01100000000100000003000003e9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := Encode(&c.a)
			if got := hex.EncodeToString(b); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			back, err := Decode(b)
			if err != nil || !reflect.DeepEqual(back, c.a) {
				t.Errorf("back: %+v, %v", back, err)
			}
		})
	}
}

func TestCodec_random(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 5000 {
		a := randomACL(r)
		b := Encode(&a)
		back, err := Decode(b)
		if err != nil || !reflect.DeepEqual(back, a) {
			t.Fatalf("%+v\nback: %+v, %v", a, back, err)
		}
		// A damaged record is refused or is the record of another ACL, never a panic.
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		if back, err := Decode(b); err == nil && !bytes.Equal(Encode(&back), b) {
			t.Fatal("two encodings of one ACL")
		} else if err != nil && !errors.Is(err, fs.Corrupt) {
			t.Fatal(err)
		}
		if _, err := Decode(b[:r.IntN(len(b))]); !errors.Is(err, fs.Corrupt) {
			t.Fatalf("cut short: %v", err)
		}
	}
}

// TestCodec_largest: the longest ACL that may be set can be stored, and so can
// what chmod and inheritance make of it.
func TestCodec_largest(t *testing.T) {
	a := fs.ACL{Owner: alice, Group: staff}
	for i := range fs.MaxACEs {
		who := identity.UID(uint32(2000 + i))
		if i%2 == 0 {
			who = identity.CreatorOwner
		}
		a.Entries = append(a.Entries, ace(allow, fs.ACEObjectInherit|fs.ACEContainerInherit, who, fs.RightsAll))
	}
	if err := Validate(&a); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		a = Chmod(&a, 0o504, true, CrossProtocol)
		if _, err := Decode(Encode(&a)); err != nil {
			t.Fatal(err)
		}
		a = Inherit(&a, true, bob, wheel, nil, false)
		if _, err := Decode(Encode(&a)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDecode_bounded(t *testing.T) {
	a := fs.ACL{Entries: make([]fs.ACE, maxStored+1)}
	if _, err := Decode(Encode(&a)); !errors.Is(err, fs.Corrupt) {
		t.Errorf("%d entries: %v", len(a.Entries), err)
	}
	a.Entries = a.Entries[1:]
	if _, err := Decode(Encode(&a)); err != nil {
		t.Errorf("%d entries: %v", len(a.Entries), err)
	}
}

func TestValidate(t *testing.T) {
	ok := ace(allow, fs.ACEInherited, bob, fs.RightsAll)
	for _, c := range []struct {
		name string
		a    fs.ACL
		want error
	}{
		{"empty", fs.ACL{}, nil},
		{"good", fs.ACL{Entries: []fs.ACE{ok}}, nil},
		{"too_many", fs.ACL{Entries: make([]fs.ACE, fs.MaxACEs+1)}, fs.TooMany},
		{"audit_type", fs.ACL{Entries: []fs.ACE{ace(2, 0, bob, 0)}}, fs.Invalid},
		{"flags", fs.ACL{Entries: []fs.ACE{ace(allow, 0x40, bob, 0)}}, fs.Invalid},
		{"rights", fs.ACL{Entries: []fs.ACE{ace(allow, 0, bob, 0x10000000)}}, fs.Invalid},
		{"nobody", fs.ACL{Entries: []fs.ACE{ace(allow, 0, 0, 1)}}, fs.Invalid},
		{"control", fs.ACL{Control: 0x8000}, fs.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := Validate(&c.a); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(&fs.ACL{Owner: alice, Group: staff, Mode: 0o644, ModeOnly: true}))
	f.Add(Encode(&fs.ACL{Owner: alice, Entries: FromMode(alice, staff, 0o604, true)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Decode(b)
		if err != nil {
			return
		}
		if !bytes.Equal(Encode(&a), b) {
			t.Error("not canonical")
		}
		Check(caller(bob, wheel), &a, false, fs.RightsAll)
		Chmod(&a, 0o640, true, CrossProtocol)
		Inherit(&a, true, bob, wheel, nil, false)
	})
}
