package ntlm

import (
	"context"
	"encoding/hex"
	"testing"

	"manifold/internal/identity"
)

type one struct{ a *Account }

func (o one) Account(_ context.Context, _, user string) (*Account, error) {
	if user != o.a.Name {
		return nil, ErrNoUser
	}
	return o.a, nil
}

func TestNTHash(t *testing.T) {
	h := NTHash("Password")
	if got := hex.EncodeToString(h[:]); got != "a4f49c406510bdcab6824ee7c30fd852" {
		t.Fatal(got)
	}
}

func TestDERLengths(t *testing.T) {
	for _, n := range []int{0, 127, 128, 255, 256, 70000} {
		tag, body, rest, ok := element(der(0xa1, make([]byte, n)))
		if !ok || tag != 0xa1 || len(body) != n || len(rest) != 0 {
			t.Fatalf("%d: %x %d %d %v", n, tag, len(body), len(rest), ok)
		}
	}
}

func FuzzAcceptor(f *testing.F) {
	o := &Options{Accounts: one{&Account{Name: "u", NTHash: NTHash("p"), Cred: identity.POSIX(1, 1, nil)}}, Computer: "M"}
	neg := append(append([]byte{}, signature...), 1, 0, 0, 0, 0x37, 0x82, 0x08, 0x62)
	init := der(0x60, append(append([]byte(nil), oidSPNEGO...), der(0xa0, der(0x30, append(der(0xa0, der(0x30, oidNTLM)), der(0xa2, der(4, neg))...)))...))
	f.Add(init, neg)
	f.Add(neg, append(append([]byte{}, signature...), make([]byte, 100)...))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		x := New(o)
		_, _, _ = x.Step(t.Context(), a)
		_, done, err := x.Step(t.Context(), b)
		if done && err == nil && x.Result().Account != nil {
			t.Fatal("got in without the password")
		}
	})
}
