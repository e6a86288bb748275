package config

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/identity/ntlm"
	"manifold/internal/identity/sid"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

func TestShares(t *testing.T) {
	s, _ := newStore(t)
	ctx := t.Context()
	first, ok := s.ShareTable().Named("FILES")
	if !ok || first.ID != 1 || first.Value.FSPath != "/" {
		t.Fatalf("no factory share: %+v", first)
	}
	all := ShareRead | ShareWrite | ShareChangePermissions
	if got := first.From(netip.MustParseAddr("127.0.0.1")); got != all {
		t.Errorf("from this machine: %x", got)
	}
	if got := first.From(netip.MustParseAddr("198.51.100.1")); got != 0 {
		t.Errorf("from elsewhere: %x", got)
	}
	if first.Guests() {
		t.Error("guests are let in")
	}
	before := s.ShareTable()
	rec, err := s.AddShare(ctx, Share{Name: "Büro", FSPath: "/b", FileMode: 0o640, DirMode: 0o750})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-before.Superseded():
	default:
		t.Error("nobody was told")
	}
	if _, err := s.AddShare(ctx, Share{Name: "BÜRO", FSPath: "/"}); !errors.Is(err, ErrExists) {
		t.Errorf("the same name in another case: %v", err)
	}
	for _, bad := range []Share{
		{Name: "", FSPath: "/"}, {Name: "ipc$", FSPath: "/"}, {Name: `a\b`, FSPath: "/"}, {Name: strings.Repeat("x", 81), FSPath: "/"}, {Name: "x", FSPath: "b"},
		{Name: "x", FSPath: "/", Network: []NetworkPermission{{Addresses: []string{"host.example.com"}}}},
		{Name: "x", FSPath: "/", Network: []NetworkPermission{{Addresses: []string{"KRB5@"}}}},
		{Name: "x", FSPath: "/", Permissions: []SharePermission{{Rights: ShareRead}}},
	} {
		if _, err := s.AddShare(ctx, bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	v := rec.Value
	v.Name = "Office"
	if rec, err = s.ModifyShare(ctx, rec.ID, rec.Revision, v); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ModifyShare(ctx, rec.ID, rec.Revision-1, v); !errors.Is(err, ErrStale) {
		t.Errorf("a stale revision: %v", err)
	}
	if _, ok := s.ShareTable().Named("büro"); ok {
		t.Error("the old name is there")
	}
	if err := s.DeleteShare(ctx, rec.ID, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Shares(ctx, 0, 0); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestShare_permissions(t *testing.T) {
	user := identity.New(1000, identity.Users, nil, []identity.AuthID{identity.Users})
	guest := identity.New(identity.Guest, identity.Guests, nil, nil)
	allow := func(a identity.AuthID, r fs.Rights) SharePermission { return SharePermission{Trustee: a, Rights: r} }
	deny := func(a identity.AuthID, r fs.Rights) SharePermission {
		return SharePermission{Deny: true, Trustee: a, Rights: r}
	}
	for name, c := range map[string]struct {
		perms       []SharePermission
		user, guest fs.Rights
	}{
		"none":            {nil, 0, 0},
		"everyone":        {[]SharePermission{allow(identity.Everyone, ShareRead)}, ShareRead, 0},
		"guest":           {[]SharePermission{allow(identity.Everyone, ShareRead|ShareWrite), allow(identity.Guest, ShareRead)}, ShareRead | ShareWrite, ShareRead},
		"guests":          {[]SharePermission{allow(identity.Guests, ShareRead)}, 0, ShareRead},
		"denied first":    {[]SharePermission{deny(1000, ShareWrite), allow(identity.Users, ShareRead|ShareWrite)}, ShareRead, 0},
		"denied later":    {[]SharePermission{allow(identity.Users, ShareRead), deny(1000, ShareRead|ShareWrite)}, ShareRead, 0},
		"everyone denied": {[]SharePermission{deny(identity.Everyone, ShareWrite), allow(identity.Guest, ShareRead|ShareWrite)}, 0, ShareRead},
	} {
		x := ShareInForce{Record: Record[Share]{Value: Share{Permissions: c.perms}}}
		if u, g := x.For(user), x.For(guest); u != c.user || g != c.guest {
			t.Errorf("%s: user %x, guest %x, want %x and %x", name, u, g, c.user, c.guest)
		}
	}
}

func TestShare_network(t *testing.T) {
	s, _ := newStore(t)
	if _, err := s.AddShare(t.Context(), Share{Name: "n", FSPath: "/", Network: []NetworkPermission{
		{Deny: true, Addresses: []string{"10.0.0.1"}}, {Addresses: []string{"10.0.0.0/24", "fd00::/8"}, Rights: ShareRead}, {Addresses: []string{"10.0.1.5-9"}, Rights: ShareWrite},
	}}); err != nil {
		t.Fatal(err)
	}
	x, _ := s.ShareTable().Named("n")
	for addr, want := range map[string]fs.Rights{"10.0.0.1": 0, "10.0.0.2": ShareRead, "::ffff:10.0.0.2": ShareRead, "fd00::1": ShareRead, "10.0.1.6": ShareWrite, "10.0.2.1": 0} {
		if got := x.From(netip.MustParseAddr(addr)); got != want {
			t.Errorf("from %s: %x, want %x", addr, got, want)
		}
	}
}

// A rule that this version cannot read closes its share and nothing else.
func TestShare_unreadable(t *testing.T) {
	s, _ := newStore(t)
	if _, err := changed(t.Context(), s, func(tx kv.Txn) (Record[Share], error) {
		return put(t.Context(), tx, kindShare, 9, Share{Name: "n", FSPath: "/", Network: []NetworkPermission{{Rights: ShareRead}, {Addresses: []string{"a@b"}}}})
	}); err != nil {
		t.Fatal(err)
	}
	x, ok := s.ShareTable().Named("n")
	if !ok || x.From(netip.MustParseAddr("10.0.0.1")) != 0 {
		t.Errorf("%+v", x)
	}
}

func TestSMBSettings(t *testing.T) {
	s, _ := newStore(t)
	v := DefaultSMB()
	v.Dialects, v.SigningRequired = []SMBDialect{SMB3_11, SMB3_0}, true
	rec, err := s.SetSMB(t.Context(), 0, v)
	if err != nil || !slices.Equal(s.SMBInForce().Dialects, []SMBDialect{SMB3_0, SMB3_11}) || !s.SMBInForce().SigningRequired {
		t.Errorf("%+v, %v", s.SMBInForce(), err)
	}
	if _, err := s.SetSMB(t.Context(), rec.Revision+1, v); !errors.Is(err, ErrStale) {
		t.Errorf("a stale revision: %v", err)
	}
	v.Dialects = []SMBDialect{0x0100}
	if _, err := s.SetSMB(t.Context(), 0, v); !errors.Is(err, ErrInvalid) {
		t.Errorf("SMB1: %v", err)
	}
}

func TestNTHash(t *testing.T) {
	engine := memkv.New()
	t.Cleanup(func() { _ = engine.Close() })
	open := func(key []byte) *Store {
		s, err := Open(t.Context(), Options{KV: engine, SealKey: key})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	old := open(nil) // as before there was SMB
	if _, err := old.FirstRun(t.Context(), FirstRunOptions{AdminPassword: adminPassword, NodeName: "n1"}); err != nil {
		t.Fatal(err)
	}
	s := open(bytes.Repeat([]byte{7}, SealKeyBytes))
	check := func(name, pass string, want error) {
		t.Helper()
		_, h, err := s.NTHash(t.Context(), name)
		if !errors.Is(err, want) || want == nil && h != ntlm.NTHash(pass) {
			t.Errorf("%s: %x, %v", name, h, err)
		}
	}
	check("admin", "", ErrCredentials)
	if _, err := s.Authenticate(t.Context(), "admin", "Wrong-Horse-7"); err == nil {
		t.Error("a wrong password was taken")
	}
	check("admin", "", ErrCredentials)
	if _, err := s.Authenticate(t.Context(), "admin", adminPassword); err != nil {
		t.Error(err)
	}
	check("ADMIN", adminPassword, nil)
	if err := s.ChangePassword(t.Context(), 500, adminPassword, "Other-Horse-8"); err != nil {
		t.Error(err)
	}
	check("admin", "Other-Horse-8", nil)
	if err := s.SetPassword(t.Context(), 500, "Third-Horse-9"); err != nil {
		t.Error(err)
	}
	check("admin", "Third-Horse-9", nil)
	if _, err := s.AddUser(t.Context(), User{Name: "jane", PrimaryGroup: 513}, "Fourth-Horse-1"); err != nil {
		t.Error(err)
	}
	check("jane", "Fourth-Horse-1", nil)
	check("guest", "", ErrCredentials)
	check("nobody", "", ErrNotFound)
}

func TestSIDs(t *testing.T) {
	s, _ := newStore(t)
	x, err := s.SIDs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n, _ := sid.ParseText("S-1-5-21-9-9-9-1105")
	a, err := x.AuthID(t.Context(), n)
	if err != nil || a.Kind() != identity.KindMapped {
		t.Fatalf("%d, %v", a, err)
	}
	again, err := s.SIDs(t.Context()) // as after a restart
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Of(t.Context(), a); err != nil || got != n {
		t.Errorf("%d is %s, %v", a, got, err)
	}
	if got, err := again.AuthID(t.Context(), n); err != nil || got != a {
		t.Errorf("%s is %d, want %d, %v", n, got, a, err)
	}
	if got, err := x.Of(t.Context(), identity.MappedBase+99); err != nil || got != sid.Nobody {
		t.Errorf("a number that nobody has is %s, %v", got, err)
	}
}
