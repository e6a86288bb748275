package config

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"manifold/internal/fs/export"
	"manifold/internal/identity"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const adminPassword = "Correct-Horse-7"

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func newKV(t *testing.T) kv.Engine {
	t.Helper()
	e := memkv.New()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func open(t *testing.T, e kv.Engine, c *clock) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{KV: e, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// newStore is a Store after its first run.
func newStore(t *testing.T) (*Store, *clock) {
	t.Helper()
	c := newClock()
	s := open(t, newKV(t), c)
	_, err := s.FirstRun(t.Context(), FirstRunOptions{AdminPassword: adminPassword, NodeName: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func TestFirstRun(t *testing.T) {
	ctx := t.Context()
	e := newKV(t)
	c := newClock()
	s := open(t, e, c)
	if done, err := s.Initialized(ctx); done || err != nil {
		t.Fatalf("empty store is initialized: %v %v", done, err)
	}
	_, err := s.FirstRun(ctx, FirstRunOptions{AdminPassword: "weak"})
	wantErr(t, err, ErrInvalid)
	o := FirstRunOptions{
		AdminPassword: adminPassword, NodeName: "n1",
		Subnets: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("192.0.2.17/24"), netip.MustParsePrefix("2001:db8::1/64")},
		Hosts:   []string{"localhost", "n1"}, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.17")},
	}
	token, err := s.FirstRun(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.FirstRun(ctx, o)
	wantErr(t, err, ErrExists)

	// Everything is there for the next process.
	s = open(t, e, c)
	if done, err := s.Initialized(ctx); !done || err != nil {
		t.Errorf("%v %v", done, err)
	}
	x, ok := s.ExportTable().ByPath("/")
	if !ok || x.ID != 1 || x.Value.FSPath != "/" {
		t.Fatalf("factory export %+v", x)
	}
	r := x.Value.Restrictions
	if len(r) != 1 || r[0].Mapping != MapNone || !slices.Equal(r[0].Hosts, []string{"127.0.0.0/8", "::1/128", "192.0.2.0/24", "2001:db8::/64"}) {
		t.Errorf("restrictions %+v", r)
	}
	for id, name := range map[identity.AuthID]string{identity.Admin: "admin", identity.Guest: "guest"} {
		if u, err := s.User(ctx, uint64(id)); err != nil || u.Value.Name != name {
			t.Errorf("user %d: %+v %v", id, u, err)
		}
	}
	gs, err := s.Groups(ctx, 0, 0)
	if err != nil || len(gs) != 3 || gs[0].ID != 512 || gs[2].Value.Name != "Guests" {
		t.Errorf("groups %+v %v", gs, err)
	}
	if in, err := s.IsAdministrator(ctx, 500); !in || err != nil {
		t.Errorf("admin is no administrator: %v", err)
	}
	if in, err := s.IsAdministrator(ctx, 501); in || err != nil {
		t.Errorf("guest is administrator: %v", err)
	}
	if ok, err := s.MetricsToken(ctx, token); !ok || err != nil {
		t.Errorf("metrics token: %v %v", ok, err)
	}
	for _, bad := range []string{"", "metrics-v1:x", token + "x"} {
		if ok, _ := s.MetricsToken(ctx, bad); ok {
			t.Errorf("metrics token %q accepted", bad)
		}
	}
	cert, err := s.Certificate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tc, err := cert.Value.TLS()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []string{"localhost", "n1", "192.0.2.17"} {
		if err := tc.Leaf.VerifyHostname(h); err != nil {
			t.Error(err)
		}
	}
	if n, err := s.NFS(ctx); err != nil || n.Value != DefaultNFS {
		t.Errorf("%+v %v", n, err)
	}
	cl, err := s.Cluster(ctx)
	if err != nil || len(cl.Value.UUID) != 36 || cl.Value.Name != "manifold" {
		t.Errorf("%+v %v", cl, err)
	}
	if n, err := s.Node(ctx, 1); err != nil || n.Value.Name != "n1" || n.Value.UUID == cl.Value.UUID {
		t.Errorf("%+v %v", n, err)
	}
	if u, err := s.Authenticate(ctx, "ADMIN", adminPassword); err != nil || u.ID != 500 {
		t.Errorf("%+v %v", u, err)
	}
}

func TestUsers(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	uid := uint32(1000)
	u, err := s.AddUser(ctx, User{Name: "jane", PrimaryGroup: 513, UID: &uid, Home: "/home/jane"}, "Secret-123")
	if err != nil || u.ID < firstRID {
		t.Fatalf("%+v %v", u, err)
	}
	if got, err := s.UserByName(ctx, "JANE"); err != nil || got.ID != u.ID || got.Revision != u.Revision || *got.Value.UID != 1000 {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := s.UserByUID(ctx, 1000); err != nil || got.ID != u.ID {
		t.Errorf("%+v %v", got, err)
	}
	for name, c := range map[string]struct {
		u    User
		pass string
		want error
	}{
		"same name in capitals": {User{Name: "Jane", PrimaryGroup: 513}, "", ErrExists},
		"name of a group":       {User{Name: "guests", PrimaryGroup: 513}, "", ErrExists},
		"same uid":              {User{Name: "joe", PrimaryGroup: 513, UID: &uid}, "", ErrExists},
		"no name":               {User{PrimaryGroup: 513}, "", ErrInvalid},
		"odd name":              {User{Name: `a\b`, PrimaryGroup: 513}, "", ErrInvalid},
		"no such group":         {User{Name: "joe", PrimaryGroup: 99}, "", ErrInvalid},
		"relative home":         {User{Name: "joe", PrimaryGroup: 513, Home: "x"}, "", ErrInvalid},
		"weak password":         {User{Name: "joe", PrimaryGroup: 513}, "password", ErrInvalid},
	} {
		_, err := s.AddUser(ctx, c.u, c.pass)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}

	mod := u.Value
	mod.Name, mod.UID = "janet", nil
	m, err := s.ModifyUser(ctx, u.ID, u.Revision, mod)
	if err != nil || m.Revision <= u.Revision {
		t.Fatalf("%+v %v", m, err)
	}
	_, err = s.ModifyUser(ctx, u.ID, u.Revision, mod)
	wantErr(t, err, ErrStale)
	_, err = s.UserByName(ctx, "jane")
	wantErr(t, err, ErrNotFound)
	_, err = s.UserByUID(ctx, 1000)
	wantErr(t, err, ErrNotFound)
	if _, err := s.AddUser(ctx, User{Name: "jane", PrimaryGroup: 513, UID: &uid}, ""); err != nil {
		t.Errorf("freed name and uid: %v", err)
	}
	_, err = s.ModifyUser(ctx, 500, 0, User{Name: "root", PrimaryGroup: 513})
	wantErr(t, err, ErrInvalid)

	wantErr(t, s.DeleteUser(ctx, u.ID, u.Revision), ErrStale)
	if err := s.DeleteUser(ctx, u.ID, m.Revision); err != nil {
		t.Error(err)
	}
	wantErr(t, s.DeleteUser(ctx, u.ID, 0), ErrNotFound)
	wantErr(t, s.DeleteUser(ctx, 500, 0), ErrBuiltIn)
	if ms, err := s.Members(ctx, 513); err != nil || slices.ContainsFunc(ms, func(r Record[User]) bool { return r.ID == u.ID }) {
		t.Errorf("deleted user is a member: %v", err)
	}
	again, err := s.AddUser(ctx, User{Name: "janet", PrimaryGroup: 513}, "")
	if err != nil || again.ID <= u.ID {
		t.Errorf("id reused: %+v %v", again, err)
	}
	page, err := s.Users(ctx, 500, 1)
	if err != nil || len(page) != 1 || page[0].ID != 501 {
		t.Errorf("page %+v %v", page, err)
	}
}

func TestGroups(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	gid := uint32(2000)
	g, err := s.AddGroup(ctx, Group{Name: "ops", GID: &gid})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.AddGroup(ctx, Group{Name: "OPS"})
	wantErr(t, err, ErrExists)
	_, err = s.AddGroup(ctx, Group{Name: "other", GID: &gid})
	wantErr(t, err, ErrExists)
	u, err := s.AddUser(ctx, User{Name: "bob", PrimaryGroup: 513}, "")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.AddMember(ctx, g.ID, u.ID); err != nil {
			t.Fatal(err)
		}
	}
	wantErr(t, s.AddMember(ctx, 99, u.ID), ErrNotFound)
	wantErr(t, s.AddMember(ctx, g.ID, 99), ErrNotFound)
	gs, err := s.GroupsOf(ctx, u.ID)
	if err != nil || len(gs) != 2 || gs[0].ID != 513 || gs[1].ID != g.ID {
		t.Errorf("%+v %v", gs, err)
	}
	if ms, err := s.Members(ctx, g.ID); err != nil || len(ms) != 1 || ms[0].ID != u.ID {
		t.Errorf("%+v %v", ms, err)
	}
	wantErr(t, s.RemoveMember(ctx, 513, u.ID), ErrInUse)
	wantErr(t, s.RemoveMember(ctx, 512, 500), ErrBuiltIn)
	wantErr(t, s.RemoveMember(ctx, 512, u.ID), ErrNotFound)
	wantErr(t, s.DeleteGroup(ctx, 512, 0), ErrBuiltIn)
	p, err := s.ModifyUser(ctx, u.ID, 0, User{Name: "bob", PrimaryGroup: g.ID})
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, s.DeleteGroup(ctx, g.ID, 0), ErrInUse)
	p.Value.PrimaryGroup = 513
	if _, err := s.ModifyUser(ctx, u.ID, 0, p.Value); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteGroup(ctx, g.ID, g.Revision); err != nil {
		t.Error(err)
	}
	if gs, err := s.GroupsOf(ctx, u.ID); err != nil || len(gs) != 1 {
		t.Errorf("%+v %v", gs, err)
	}
	if _, err := s.GroupByGID(ctx, 2000); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestDirectory(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	uid, gid := uint32(1000), uint32(2000)
	g, err := s.AddGroup(ctx, Group{Name: "ops", GID: &gid})
	if err != nil {
		t.Fatal(err)
	}
	u, err := s.AddUser(ctx, User{Name: "jane", PrimaryGroup: 513, UID: &uid}, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddMember(ctx, g.ID, u.ID); err != nil {
		t.Fatal(err)
	}
	r := s.Resolver()
	jane, ops := identity.AuthID(u.ID), identity.AuthID(g.ID)
	c, err := r.Expand(ctx, 1000, 100, []uint32{4})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []identity.AuthID{jane, ops, identity.UID(1000), identity.GID(100), identity.GID(4), identity.GID(2000), identity.Users} {
		if !c.Is(a) {
			t.Errorf("uid 1000 is not %d", a)
		}
	}
	if c.User != identity.UID(1000) || c.Superuser || c.Is(identity.Administrators) {
		t.Errorf("%+v", c)
	}
	if c, _ := r.Expand(ctx, 7, 2000, nil); !c.Is(ops) || c.Is(jane) {
		t.Error("gid 2000 is not the group ops")
	}
	if c, _ := r.Expand(ctx, 0, 0, nil); !c.Superuser {
		t.Error("uid 0 is not root")
	}
	if r.UIDOf(jane) != 1000 || r.GIDOf(ops) != 2000 || r.UIDOf(identity.UID(5)) != 5 || r.UIDOf(identity.Guest) != identity.NobodyUID {
		t.Error("numbers shown")
	}
	l, err := s.Directory().LocalCredential(u.ID)
	if err != nil || l.User != jane || l.Group != identity.Users || !l.Is(identity.UID(1000)) || !l.Is(ops) || l.Superuser {
		t.Errorf("%+v %v", l, err)
	}
	if a, err := s.Directory().LocalCredential(500); err != nil || !a.Superuser || !a.Privileges.Has(identity.FileFullAccess) {
		t.Errorf("%+v %v", a, err)
	}
	if err := s.RemoveMember(ctx, g.ID, u.ID); err != nil {
		t.Fatal(err)
	}
	if c, _ := r.Expand(ctx, 1000, 100, nil); c.Is(ops) {
		t.Error("membership outlives its removal")
	}
	_, err = s.Directory().LocalCredential(4711)
	wantErr(t, err, ErrNotFound)
}

func TestPasswords(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	for _, bad := range []struct{ name, pass string }{
		{"admin", "wrong-Pass1"}, {"nobody", adminPassword}, {"guest", ""}, {"guest", adminPassword}, {"admin", strings.Repeat("x", MaxPasswordBytes+1)},
	} {
		_, err := s.Authenticate(ctx, bad.name, bad.pass)
		wantErr(t, err, ErrCredentials)
	}
	token, _, err := s.NewSession(ctx, 500, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, s.ChangePassword(ctx, 500, "wrong-Pass1", "New-Password-2"), ErrCredentials)
	wantErr(t, s.ChangePassword(ctx, 501, "", "New-Password-2"), ErrCredentials)
	wantErr(t, s.ChangePassword(ctx, 500, adminPassword, "new"), ErrInvalid)
	if err := s.ChangePassword(ctx, 500, adminPassword, "New-Password-2"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bearer(ctx, token); err != nil {
		t.Errorf("own change ended the session: %v", err)
	}
	_, err = s.Authenticate(ctx, "admin", adminPassword)
	wantErr(t, err, ErrCredentials)
	if err := s.SetPassword(ctx, 500, "Newer-Password-3"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Bearer(ctx, token)
	wantErr(t, err, ErrCredentials)
	wantErr(t, s.SetPassword(ctx, 99, "Newer-Password-3"), ErrNotFound)
	for range 50 {
		p, err := s.NewPassword()
		if err != nil || CheckPassword(p) != nil || len(p) != 23 {
			t.Fatalf("%q %v", p, err)
		}
	}
}

func TestSessions(t *testing.T) {
	ctx := t.Context()
	s, c := newStore(t)
	token, ses, err := s.NewSession(ctx, 500, []string{"A", "B"})
	if err != nil || !strings.HasPrefix(token, "1:") || ses.Expires.Sub(c.now()) != SessionLife {
		t.Fatalf("%q %+v %v", token, ses, err)
	}
	b, err := s.Bearer(ctx, token)
	if err != nil || b.User.Value.Name != "admin" || !slices.Equal(b.Privileges, []string{"A", "B"}) || b.AccessToken != 0 {
		t.Errorf("%+v %v", b, err)
	}
	for _, bad := range []string{"", "1:", token + "A", token[:len(token)-1], "access-v1:" + token[2:]} {
		_, err := s.Bearer(ctx, bad)
		wantErr(t, err, ErrCredentials)
	}
	if err := s.EndSession(ctx, token); err != nil {
		t.Error(err)
	}
	_, err = s.Bearer(ctx, token)
	wantErr(t, err, ErrCredentials)

	u, err := s.AddUser(ctx, User{Name: "tmp", PrimaryGroup: 513}, "")
	if err != nil {
		t.Fatal(err)
	}
	gone, _, err := s.NewSession(ctx, u.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteUser(ctx, u.ID, 0); err != nil {
		t.Fatal(err)
	}
	_, err = s.Bearer(ctx, gone)
	wantErr(t, err, ErrCredentials)

	old, _, err := s.NewSession(ctx, 500, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.add(SessionLife)
	_, err = s.Bearer(ctx, old)
	wantErr(t, err, ErrCredentials)
	fresh, _, err := s.NewSession(ctx, 500, nil)
	if err != nil {
		t.Fatal(err)
	}
	if more, err := s.Sweep(ctx); more || err != nil {
		t.Errorf("%v %v", more, err)
	}
	n := 0
	err = s.view(ctx, func(r kv.Reader) error {
		for _, err := range r.Scan(ctx, kv.Prefix([]byte{tagSession}), kv.ScanOptions{}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("%d sessions left: %v", n, err)
	}
	if _, err := s.Bearer(ctx, fresh); err != nil {
		t.Error(err)
	}
}

func TestAccessTokens(t *testing.T) {
	ctx := t.Context()
	s, c := newStore(t)
	_, _, err := s.NewAccessToken(ctx, 500, 500, c.now())
	wantErr(t, err, ErrInvalid)
	token, rec, err := s.NewAccessToken(ctx, 500, 500, c.now().Add(time.Hour))
	if err != nil || !strings.HasPrefix(token, "access-v1:") {
		t.Fatalf("%q %v", token, err)
	}
	if b, err := s.Bearer(ctx, token); err != nil || b.AccessToken != rec.ID || b.User.ID != 500 {
		t.Errorf("%+v %v", b, err)
	}
	off, err := s.ModifyAccessToken(ctx, rec.ID, rec.Revision, false, rec.Value.Expires)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Bearer(ctx, token)
	wantErr(t, err, ErrCredentials)
	_, err = s.ModifyAccessToken(ctx, rec.ID, rec.Revision, true, time.Time{})
	wantErr(t, err, ErrStale)
	if _, err := s.ModifyAccessToken(ctx, rec.ID, off.Revision, true, rec.Value.Expires); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bearer(ctx, token); err != nil {
		t.Error(err)
	}
	c.add(time.Hour)
	_, err = s.Bearer(ctx, token)
	wantErr(t, err, ErrCredentials)
	if _, _, err := s.NewAccessToken(ctx, 500, 500, time.Time{}); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.NewAccessToken(ctx, 500, 500, time.Time{})
	wantErr(t, err, ErrLimit)
	if err := s.DeleteAccessToken(ctx, rec.ID, 0); err != nil {
		t.Fatal(err)
	}
	wantErr(t, s.DeleteAccessToken(ctx, rec.ID, 0), ErrNotFound)
	if ts, err := s.AccessTokens(ctx, 0, 0); err != nil || len(ts) != 1 {
		t.Errorf("%+v %v", ts, err)
	}
	if _, _, err := s.NewAccessToken(ctx, 500, 500, time.Time{}); err != nil {
		t.Error(err)
	}
}

func TestSettings(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	n, err := s.NFS(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v := n.Value
	v.AuthSysEnabled = false
	m, err := s.SetNFS(ctx, n.Revision, v)
	if err != nil || m.Value.AuthSysEnabled || s.NFSInForce() != v {
		t.Fatalf("%+v %v", m, err)
	}
	_, err = s.SetNFS(ctx, n.Revision, v)
	wantErr(t, err, ErrStale)
	for _, bad := range []string{"", "a", "-ab", "has space", strings.Repeat("x", 16)} {
		_, err := s.SetClusterName(ctx, 0, bad)
		wantErr(t, err, ErrInvalid)
	}
	if c, err := s.SetClusterName(ctx, 0, "store-1"); err != nil || c.Value.Name != "store-1" {
		t.Errorf("%+v %v", c, err)
	}
	c, err := s.Certificate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.SetCertificate(ctx, 0, "x", "y")
	wantErr(t, err, ErrInvalid)
	other, err := s.selfSigned([]string{"h"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.SetCertificate(ctx, 0, other.Chain, c.Value.Key)
	wantErr(t, err, ErrInvalid)
	if r, err := s.SetCertificate(ctx, c.Revision, other.Chain, other.Key); err != nil || r.Value.SelfSigned {
		t.Errorf("%v", err)
	}
	_, err = s.LastScrub(ctx, 1)
	wantErr(t, err, ErrNotFound)
	if err := s.SetLastScrub(ctx, 1, Scrub{Bytes: 7}); err != nil {
		t.Error(err)
	}
	if l, err := s.LastScrub(ctx, 1); err != nil || l.Bytes != 7 {
		t.Errorf("%+v %v", l, err)
	}
	tok, err := s.NewMetricsToken(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := s.MetricsToken(ctx, tok); !ok || err != nil {
		t.Error(ok, err)
	}
}

func TestExports(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	v0 := s.ExportTable().Version
	e, err := s.AddExport(ctx, Export{Path: "/data", FSPath: "/a/b", Restrictions: []Restriction{{Hosts: []string{"192.0.2.0/24"}, ReadOnly: true}}})
	if err != nil || e.ID != 2 {
		t.Fatalf("%+v %v", e, err)
	}
	if got, ok := s.ExportTable().ByID(2); !ok || got.Value.Path != "/data" || !got.Value.Restrictions[0].ReadOnly || s.ExportTable().Version == v0 {
		t.Errorf("not in force: %+v", got)
	}
	for name, x := range map[string]Export{
		"relative":        {Path: "data", FSPath: "/"},
		"trailing slash":  {Path: "/x/", FSPath: "/"},
		"relative target": {Path: "/x", FSPath: "a"},
		"uid without gid": {Path: "/x", FSPath: "/", Restrictions: []Restriction{{Mapping: MapAll, MapUser: Principal{PrincipalUID, 5}}}},
		"gid without uid": {Path: "/x", FSPath: "/", Restrictions: []Restriction{{Mapping: MapAll, MapGroup: Principal{PrincipalGID, 5}}}},
		"odd host":        {Path: "/x", FSPath: "/", Restrictions: []Restriction{{Hosts: []string{"10.0.0.0/33"}}}},
		"dots in name":    {Path: "/x/../y", FSPath: "/"},
		"unknown user":    {Path: "/x", FSPath: "/", Restrictions: []Restriction{{Mapping: MapAll, MapUser: Principal{PrincipalLocalUser, 4711}}}},
	} {
		if _, err := s.AddExport(ctx, x); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = s.AddExport(ctx, Export{Path: "/data", FSPath: "/"})
	wantErr(t, err, ErrExists)
	mod := e.Value
	mod.Path = "/moved"
	m, err := s.ModifyExport(ctx, e.ID, e.Revision, mod)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := s.ExportTable().ByPath("/data"); ok {
		t.Error("old name is in force")
	}
	if got, err := s.ExportByPath(ctx, "/moved"); err != nil || got.ID != e.ID || got.Revision != m.Revision {
		t.Errorf("%+v %v", got, err)
	}
	_, err = s.ModifyExport(ctx, e.ID, e.Revision, mod)
	wantErr(t, err, ErrStale)
	mod.Path = "/"
	_, err = s.ModifyExport(ctx, e.ID, 0, mod)
	wantErr(t, err, ErrExists)
	wantErr(t, s.DeleteExport(ctx, e.ID, e.Revision), ErrStale)
	if err := s.DeleteExport(ctx, e.ID, m.Revision); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.ExportTable().ByID(e.ID); ok {
		t.Error("deleted export is in force")
	}
	if again, err := s.AddExport(ctx, Export{Path: "/data", FSPath: "/"}); err != nil || again.ID != 3 {
		t.Errorf("%+v %v", again, err)
	}
}

// What protocols see: mapped users follow the directory, and an export that
// cannot be understood is closed, not open.
func TestExports_rules(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	u, err := s.AddUser(ctx, User{Name: "jane", PrimaryGroup: 513}, "")
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.AddExport(ctx, Export{Path: "/data", FSPath: "/a", FileIDs32: true, Restrictions: []Restriction{
		{Hosts: []string{"192.0.2.1"}, Mapping: MapAll, MapUser: Principal{PrincipalLocalUser, u.ID}},
		{Hosts: []string{"192.0.2.2"}, ReadOnly: true, Mapping: MapRoot, MapUser: Principal{PrincipalUID, 7}, MapGroup: Principal{PrincipalGID, 8}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	root := identity.POSIX(0, 0, nil)
	match := func(addr string) (export.Rule, bool) {
		x, ok := s.ExportTable().Rules(uint32(e.ID))
		if !ok {
			t.Fatal("no rules")
		}
		return x.Match(netip.MustParseAddr(addr), 700, nil)
	}
	if r, ok := match("192.0.2.1"); !ok || r.Squash(root).User != identity.AuthID(u.ID) {
		t.Errorf("%+v %v", r, ok)
	}
	if r, ok := match("192.0.2.2"); !ok || !r.ReadOnly || r.Squash(root).User != identity.UID(7) || r.Squash(root).Group != identity.GID(8) {
		t.Errorf("%+v %v", r, ok)
	}
	if _, ok := match("192.0.2.3"); ok {
		t.Error("let in")
	}
	if err := s.DeleteUser(ctx, u.ID, 0); err != nil {
		t.Fatal(err)
	}
	if r, ok := match("192.0.2.1"); !ok || r.Squash(root).User != identity.UID(identity.NobodyUID) {
		t.Errorf("mapped to a deleted user: %+v %v", r, ok)
	}
	bad := e.Value
	bad.Restrictions = []Restriction{{Hosts: []string{"from the future!"}}}
	if err := s.update(ctx, func(tx kv.Txn) error {
		_, err := put(ctx, tx, kindExport, e.ID, bad)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.load(ctx); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.ExportTable().RulesByPath("/data"); ok {
		t.Error("an export that cannot be understood is open")
	}
	if all := s.ExportTable().AllRules(); len(all) != 1 || all[0].Path != "/" {
		t.Errorf("%+v", all)
	}
}

// Another store on the same keys learns of a change.
// What another node changes is in force here soon after, settings included.
func TestSettings_follow(t *testing.T) {
	e, c := newKV(t), newClock()
	here, there := open(t, e, c), open(t, e, c)
	changed := here.Changed()
	if _, err := there.SetAtime(t.Context(), 0, Atime{Enabled: true, Granularity: GranularityDay}); err != nil {
		t.Fatal(err)
	}
	<-changed
	if got := here.GeneralInForce().Atime; !got.Enabled || got.Granularity != GranularityDay {
		t.Errorf("%+v", got)
	}
}

func TestExports_follow(t *testing.T) {
	ctx := t.Context()
	e, c := newKV(t), newClock()
	a := open(t, e, c)
	if _, err := a.FirstRun(ctx, FirstRunOptions{AdminPassword: adminPassword}); err != nil {
		t.Fatal(err)
	}
	b := open(t, e, c)
	before := b.ExportTable()
	if _, err := a.AddExport(ctx, Export{Path: "/late", FSPath: "/"}); err != nil {
		t.Fatal(err)
	}
	<-before.Superseded()
	if _, ok := b.ExportTable().ByPath("/late"); !ok {
		t.Errorf("%+v", b.ExportTable().All())
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	ctx := t.Context()
	e := newKV(t)
	if _, err := e.Update(ctx, func(tx kv.Txn) error {
		setCounter(tx, counterFormat, format+1)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(ctx, Options{KV: e})
	wantErr(t, err, ErrFormat)
	_, err = decode[User](1, []byte{recordFormat + 1, 0, '{', '}'})
	wantErr(t, err, ErrFormat)
}

func FuzzDecode(f *testing.F) {
	b, err := encode(7, Export{Path: "/", FSPath: "/"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{})
	f.Add([]byte{recordFormat})
	f.Add([]byte{recordFormat, 0x80, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		rec, err := decode[Export](1, b)
		if err != nil {
			return
		}
		again, err := encode(rec.Revision, rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode[Export](1, again); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	s := &Store{hashing: make(chan struct{}, 1), rnd: zeros{}}
	h, err := s.hash(adminPassword)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if ok, err := s.verify(b.Context(), adminPassword, h); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
