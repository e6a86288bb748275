package attempts

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAttempts(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := New(func() time.Time { return now })
	home := netip.MustParseAddr("192.0.2.1")
	k := Of("Admin", home)
	if k != Of("admin", netip.MustParseAddr("::ffff:192.0.2.1")) {
		t.Error("one user from one address has two counts")
	}
	for range maxFailures {
		if !a.allowed(k) {
			t.Fatal("refused too early")
		}
		a.Fail(k)
	}
	if a.allowed(k) {
		t.Error("guessing goes on")
	}
	for _, other := range []Key{Of("jane", home), Of("admin", netip.MustParseAddr("192.0.2.2"))} {
		if !a.allowed(other) {
			t.Errorf("%v is locked out by another", other)
		}
	}
	now = now.Add(drain)
	if !a.allowed(k) {
		t.Error("locked for good")
	}
	a.Fail(k)
	if a.allowed(k) {
		t.Error("one more failure gave more than one attempt")
	}
	a.Succeed(k)
	if !a.allowed(k) || len(a.mu.failed) != 0 {
		t.Error("a success does not count")
	}
	if Of("x", netip.MustParseAddr("2001:db8::1")) != Of("x", netip.MustParseAddr("2001:db8::2")) {
		t.Error("every address of one IPv6 host is counted on its own")
	}
}

// Many at once get no further than one after the other.
func TestAttempts_concurrent(t *testing.T) {
	a := New(func() time.Time { return time.Unix(1e9, 0) })
	k := Of("admin", netip.MustParseAddr("192.0.2.1"))
	var tried atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			done, err := a.Begin(t.Context(), k)
			if err != nil {
				return
			}
			tried.Add(1)
			a.Fail(k)
			done()
		})
	}
	wg.Wait()
	if n := tried.Load(); n != maxFailures {
		t.Errorf("%d attempts, want %d", n, maxFailures)
	}
	if len(a.mu.turns) != 0 {
		t.Errorf("%d turns are left", len(a.mu.turns))
	}
	a.Succeed(k)
	done, err := a.Begin(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Begin(gone, k); err == nil {
		t.Error("two turns at once")
	}
	done()
}

func TestAttempts_bounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := New(func() time.Time { return now })
	for i := range maxTracked + 10 {
		a.Fail(Of(fmt.Sprint(i), netip.MustParseAddr("192.0.2.1")))
	}
	if len(a.mu.failed) > maxTracked {
		t.Errorf("%d counts", len(a.mu.failed))
	}
	k := Of("0", netip.MustParseAddr("192.0.2.1"))
	for range maxFailures {
		a.Fail(k)
	}
	if a.allowed(k) {
		t.Error("who is counted already is not counted on when there is no room")
	}
	now = now.Add(time.Hour)
	a.Fail(Of("new", netip.MustParseAddr("192.0.2.1")))
	if len(a.mu.failed) != 1 {
		t.Errorf("%d counts after an hour", len(a.mu.failed))
	}
}
