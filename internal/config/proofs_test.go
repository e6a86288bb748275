package config

import (
	"errors"
	"testing"
	"time"

	"manifold/internal/identity"
)

// A program that signs in time and again pays for the slow hash once; whoever
// guesses pays for it every time, and so does the program after any change of
// the user, on whichever node that was made.
func TestProofs(t *testing.T) {
	e, c := newKV(t), newClock()
	s := open(t, e, c)
	ctx := t.Context()
	if _, err := s.FirstRun(ctx, FirstRunOptions{AdminPassword: adminPassword, NodeName: "n1"}); err != nil {
		t.Fatal(err)
	}
	other := open(t, e, c)
	pass := adminPassword
	// signIn answers how many slow hashes some sign-ins took.
	signIn := func(times int, pass string, want error) uint64 {
		t.Helper()
		before := s.slow.Load()
		for range times {
			if _, err := s.Authenticate(ctx, "admin", pass); !errors.Is(err, want) {
				t.Fatalf("%v, want %v", err, want)
			}
		}
		return s.slow.Load() - before
	}
	if n := signIn(400, pass, nil); n != 1 {
		t.Errorf("400 sign-ins in a row take %d slow hashes", n)
	}
	if n := signIn(3, "Wrong-1-password", ErrCredentials); n != 3 {
		t.Errorf("3 wrong passwords take %d slow hashes", n)
	}
	if n := signIn(2, pass, nil); n != 0 {
		t.Errorf("after wrong ones it takes %d", n)
	}
	admin := uint64(identity.Admin)
	u, err := other.User(ctx, admin)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"another home": func() error {
			v := u.Value
			v.Home = "/home"
			_, err := other.ModifyUser(ctx, admin, 0, v)
			return err
		},
		"the same password again": func() error { return other.SetPassword(ctx, admin, pass) },
		"a new password": func() error {
			old := pass
			pass = "Another-1-password"
			if err := other.SetPassword(ctx, admin, pass); err != nil {
				return err
			}
			if n := signIn(1, old, ErrCredentials); n != 1 {
				t.Errorf("the old password takes %d", n)
			}
			return nil
		},
		"half an hour": func() error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.t = c.t.Add(proofLife + time.Second)
			return nil
		},
		"forgotten logins": func() error { s.ForgetLogins(); return nil },
	} {
		if err := change(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := signIn(3, pass, nil); n != 1 {
			t.Errorf("%s: 3 sign-ins take %d slow hashes", name, n)
		}
	}
}
