package node

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
)

// zone is a DNS for tests.
type zone struct {
	reverse map[string][]string
	forward map[string][]string
}

func (z *zone) LookupAddr(_ context.Context, addr string) ([]string, error) {
	if n, ok := z.reverse[addr]; ok {
		return n, nil
	}
	return nil, errors.New("no such host")
}

func (z *zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, a := range z.forward[host] {
		out = append(out, netip.MustParseAddr(a))
	}
	if out == nil {
		return nil, errors.New("no such host")
	}
	return out, nil
}

func TestNames(t *testing.T) {
	z := &zone{
		reverse: map[string][]string{
			"192.0.2.1": {"a.example.com.", "lie.example.com.", "gone.example.com."},
			"192.0.2.2": {"admin.example.com."}, // its zone claims a name that is not its own
		},
		forward: map[string][]string{
			"a.example.com.": {"2001:db8::1", "192.0.2.1"}, "lie.example.com.": {"192.0.2.9"}, "admin.example.com.": {"192.0.2.1"},
		},
	}
	n := names{z}
	if got := n.of(t.Context(), netip.MustParseAddr("::ffff:192.0.2.1")); !slices.Equal(got, []string{"a.example.com"}) {
		t.Errorf("%q", got)
	}
	for _, a := range []string{"192.0.2.2", "192.0.2.3"} {
		if got := n.of(t.Context(), netip.MustParseAddr(a)); len(got) != 0 {
			t.Errorf("%s is %q", a, got)
		}
	}
}
