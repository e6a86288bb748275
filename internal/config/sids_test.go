package config

import (
	"errors"
	"fmt"
	"testing"

	"manifold/internal/identity"
	"manifold/internal/identity/sid"
	"manifold/internal/kv"
)

// A user who sets permissions for SIDs that nobody knows does not fill the
// store: not by making them up, and not by asking for the same again.
func TestSIDs_limit(t *testing.T) {
	s, _ := newStore(t)
	ctx := t.Context()
	x, err := s.SIDs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	made := func(n int) sid.SID {
		v, ok := sid.ParseText(fmt.Sprint("S-1-5-21-1-2-3-", n))
		if !ok {
			t.Fatal("no SID")
		}
		return v
	}
	const jane, joe = identity.AuthID(1000), identity.AuthID(1001)
	if err := s.update(ctx, func(tx kv.Txn) error {
		_, err := put(ctx, tx, kindForeignBy, uint64(jane), foreignBy{MaxForeignBy - 2})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		for range 3 {
			_, err := x.AuthIDFor(ctx, jane, made(n))
			if want := n >= 2; errors.Is(err, ErrLimit) != want || err != nil && !want {
				t.Errorf("SID %d: %v", n, err)
			}
		}
	}
	a, err := x.AuthIDFor(ctx, joe, made(3))
	if err != nil {
		t.Errorf("another user: %v", err)
	}
	if b, err := x.AuthIDFor(ctx, jane, made(3)); err != nil || a != b {
		t.Errorf("what has a number: %v %v, want %v", b, err, a)
	}
	if _, err := x.AuthID(ctx, made(4)); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	if n := must[[]Record[foreign]](t)(list[foreign](ctx, s, kindForeign, 0, 0)); len(n) != 4 {
		t.Errorf("%d SIDs are kept", len(n))
	}
}
