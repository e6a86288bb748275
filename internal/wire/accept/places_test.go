package accept

import (
	"net/netip"
	"testing"
)

// One client that says nothing takes only its share.
func TestPlaces_perClient(t *testing.T) {
	p := NewPlaces(Limits{Conns: 10, PerClient: 6, Logins: 5, LoginsPerClient: 2})
	a, b, c := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.2"), netip.MustParseAddr("2001:db8::1")
	var of [3][]*Place
	take := func(i int, want bool) {
		t.Helper()
		l := p.Take([]netip.Addr{a, b, c}[i])
		if (l != nil) != want {
			t.Fatalf("client %d: a place %v", i, l != nil)
		}
		if l != nil {
			of[i] = append(of[i], l)
		}
	}
	take(0, true)
	take(0, true)
	take(0, false) // its share of the silent
	take(1, true)
	if p.Take(netip.MustParseAddr("192.0.2.2")) == nil {
		t.Fatal("the same client by its other address")
	} else if p.Take(netip.MustParseAddr("192.0.2.2")) != nil {
		t.Fatal("one client is counted as two")
	}
	take(2, true)
	take(2, false) // five are silent
	for range 4 {
		for _, l := range of[0] {
			l.LoggedIn()
			l.LoggedIn()
		}
		take(0, true)
	}
	of[0][5].LoggedIn()
	take(0, false) // its connections
	of[0][0].Leave()
	of[0][0].Leave()
	take(0, true)
	take(2, true)
	take(2, false) // ten are there
	for _, ls := range of {
		for _, l := range ls {
			l.Leave()
		}
	}
	if p.mu.all != 1 || p.mu.logins != 1 || len(p.mu.clients) != 1 {
		t.Errorf("%d, %d silent, %d clients are left of one", p.mu.all, p.mu.logins, len(p.mu.clients))
	}
}
