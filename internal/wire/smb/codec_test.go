package smb

import (
	"bytes"
	"encoding/hex"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The examples of RFC 4493, section 4.
func TestCMAC(t *testing.T) {
	key := unhex(t, "2b7e151628aed2a6abf7158809cf4f3c")
	msg := unhex(t, "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411")
	s, err := newSigner(signCMAC, key)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{
		0:  "bb1d6929e95937287fa37d129b756746",
		16: "070a16b46b4d4144f79bdd9dd04a287c",
		40: "dfa66747de9ae63030ca32611497c827",
	} {
		var got [16]byte
		s.cmac.sum(msg[:n], &got)
		if hex.EncodeToString(got[:]) != want {
			t.Errorf("%d bytes: %x, want %s", n, got, want)
		}
	}
}

func TestSealing(t *testing.T) {
	for _, alg := range []uint16{cipherCCM128, cipherGCM128, cipherCCM256, cipherGCM256} {
		key := make([]byte, 16)
		if alg >= cipherCCM256 {
			key = make([]byte, 32)
		}
		a, err := newAEAD(alg, key)
		if err != nil {
			t.Fatal(err)
		}
		nonce := make([]byte, a.NonceSize())
		for _, n := range []int{0, 1, 15, 16, 17, 1000} {
			plain := bytes.Repeat([]byte{7}, n)
			aad := []byte("header")
			sealed := a.Seal(nil, nonce, plain, aad)
			got, err := a.Open(nil, nonce, append([]byte(nil), sealed...), aad)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("cipher %d, %d bytes: %v", alg, n, err)
			}
			sealed[len(sealed)/2] ^= 1
			if _, err := a.Open(nil, nonce, sealed, aad); err == nil {
				t.Fatalf("cipher %d: a changed message opens", alg)
			}
		}
	}
}

func TestSigning(t *testing.T) {
	msg := make([]byte, 100)
	for _, alg := range []int{signHMAC, signCMAC, signGMAC} {
		s, err := newSigner(alg, make([]byte, 16))
		if err != nil {
			t.Fatal(err)
		}
		s.sign(msg)
		before := append([]byte(nil), msg...)
		if !s.verify(msg) || !bytes.Equal(before, msg) {
			t.Errorf("algorithm %d: own signature does not hold, or changed the message", alg)
		}
		msg[80] ^= 1
		if s.verify(msg) {
			t.Errorf("algorithm %d: a changed message verifies", alg)
		}
	}
}

func TestUTF16(t *testing.T) {
	for _, s := range []string{"", "plain", "ä€", "😀x"} {
		if got := decodeUTF16(encodeUTF16(s)); got != s {
			t.Errorf("%q became %q", s, got)
		}
	}
	for _, u := range [][]byte{{0x00, 0xD8}, {0x00, 0xDC, 'a', 0}, {0x3D, 0xD8, 0x00, 0xDE}} {
		if got := encodeUTF16(decodeUTF16(u)); !bytes.Equal(got, u) {
			t.Errorf("%x became %x", u, got)
		}
	}
}

func TestMatchName(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a", true}, {"*.*", "a", true}, {"a*", "ABC", true}, {"*.txt", "x.TXT", true}, {"*.txt", "x.txt.bak", false},
		{"?", "ab", false}, {"a?c", "abc", true}, {"<.txt", "a.b.txt", true}, {"a>>", "a", true}, {"a\"", "a", true}, {"", "a", false},
	} {
		if got := matchName(c.pattern, c.name); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.name, got)
		}
	}
}

func TestShortName(t *testing.T) {
	if got := shortName("readme.txt"); got != "README.TXT" {
		t.Error(got)
	}
	long := shortName("a long file name.document")
	if !isShort(long) || long != shortName("A LONG FILE NAME.DOCUMENT") {
		t.Error(long)
	}
}

func TestCreditWindow(t *testing.T) {
	w := newCreditWindow(16)
	if !w.take(0, 1) || w.take(0, 1) || w.take(1, 1) {
		t.Fatal("only id 0 is there once")
	}
	if n := w.grant(100, 1, true); n != 16 {
		t.Fatal("granted", n)
	}
	if !w.take(5, 3) || w.take(7, 1) || !w.take(1, 4) {
		t.Fatal("ids in any order, each once")
	}
	if w.low != 8 || len(w.used) != 0 {
		t.Fatal("window stands at", w.low, len(w.used))
	}
	if w.take(17, 1) || w.take(16, 2) {
		t.Fatal("beyond the window")
	}
}

func TestSecurityDescriptor(t *testing.T) {
	p := NewLocalPrincipals([16]byte{1, 2, 3})
	a := fs.ACL{
		Owner: identity.UID(7), Group: identity.Users, Control: fs.ACLPresent | fs.ACLProtected,
		Entries: []fs.ACE{
			{Type: fs.ACEDeny, Flags: fs.ACEObjectInherit, Trustee: identity.Everyone, Rights: fs.RightModify},
			{Trustee: identity.CreatorOwner, Flags: fs.ACEContainerInherit | fs.ACEInheritOnly, Rights: fileAll},
			{Trustee: identity.AuthID(1001), Rights: fileGenericRead},
		},
	}
	b := encodeSD(t.Context(), p, &a, secOwner|secGroup|secDACL)
	got, has, st := decodeSD(t.Context(), p, b, false)
	if st != stOK || has != secOwner|secGroup|secDACL {
		t.Fatalf("%x %x", st, has)
	}
	if got.Owner != a.Owner || got.Group != a.Group || len(got.Entries) != 3 || got.Entries[0] != a.Entries[0] ||
		got.Entries[1] != a.Entries[1] || got.Entries[2] != a.Entries[2] {
		t.Fatalf("%+v", got)
	}
	if again := encodeSD(t.Context(), p, &got, secOwner|secGroup|secDACL); !bytes.Equal(again, b) {
		t.Fatalf("%x became %x", b, again)
	}
}

func FuzzSecurityDescriptor(f *testing.F) {
	p := NewLocalPrincipals([16]byte{1})
	a := fs.ACL{Owner: 1001, Group: 513, Control: fs.ACLPresent, Entries: noList()}
	f.Add(encodeSD(f.Context(), p, &a, 7))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, _, st := decodeSD(t.Context(), p, b, false); st == stOK {
			encodeSD(t.Context(), p, &got, 7)
		}
	})
}

func FuzzCreateContexts(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 16, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'M', 'x', 'A', 'c', 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		var c createContexts
		_ = parseContexts(b, &c)
	})
}

func FuzzMatchName(f *testing.F) {
	f.Add("*a<b>\"?", "some.name")
	f.Fuzz(func(_ *testing.T, p, n string) {
		if len(p) < 32 && len(n) < 64 {
			matchName(p, n)
		}
	})
}

// Of a descriptor only what is to be set is looked at.
func TestOnlyParts(t *testing.T) {
	p := NewLocalPrincipals([16]byte{1})
	foreign := func(n uint32) identity.AuthID {
		a, err := p.AuthID(t.Context(), sid(5, 21, 1, 2, 3, n))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	acl := fs.ACL{Owner: foreign(1000), Group: foreign(1001), Control: fs.ACLPresent, Entries: []fs.ACE{{Trustee: foreign(1002), Rights: fileAll}}}
	b := encodeSD(t.Context(), p, &acl, secOwner|secGroup|secDACL)
	before := string(b)
	for parts, want := range map[uint32]int{0: 0, secOwner: 1, secGroup: 1, secDACL: 1, secOwner | secDACL: 2, secOwner | secGroup | secDACL: 3} {
		q := NewLocalPrincipals([16]byte{1})
		if _, has, st := decodeSD(t.Context(), q, onlyParts(b, parts), false); st != stOK || has != parts || len(q.ids) != want {
			t.Errorf("parts %d: status %v, has %d, %d SIDs brought in", parts, st, has, len(q.ids))
		}
	}
	if string(b) != before {
		t.Error("the descriptor was changed")
	}
	onlyParts([]byte("short"), 0)
}
