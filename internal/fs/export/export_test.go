package export

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

func mustHosts(t testing.TB, texts ...string) []Host {
	t.Helper()
	hs, err := ParseHosts(texts)
	if err != nil {
		t.Fatal(err)
	}
	return hs
}

func TestParseHost_matches(t *testing.T) {
	for _, c := range []struct {
		host    string
		in, out []string
	}{
		{"10.0.0.1", []string{"10.0.0.1", "::ffff:10.0.0.1"}, []string{"10.0.0.2", "::1"}},
		{"::ffff:10.0.0.1", []string{"10.0.0.1"}, []string{"10.0.0.2"}},
		{"fd00::1", []string{"fd00::1", "fd00::1%eth0"}, []string{"fd00::2", "10.0.0.1"}},
		{"10.0.0.5-10.0.1.2", []string{"10.0.0.5", "10.0.0.255", "10.0.1.2"}, []string{"10.0.0.4", "10.0.1.3"}},
		{"10.0.0.5-9", []string{"10.0.0.5", "10.0.0.9"}, []string{"10.0.0.10", "10.0.0.4"}},
		{"fd00::1-fd00::ff", []string{"fd00::1", "fd00::ff"}, []string{"fd00::100"}},
		{"10.1.2.3/8", []string{"10.0.0.0", "10.255.255.255"}, []string{"11.0.0.0", "9.255.255.255"}},
		{"10.0.0.0/255.255.0.0", []string{"10.0.255.1"}, []string{"10.1.0.0"}},
		{"192.168.1.128/26", []string{"192.168.1.128", "192.168.1.191"}, []string{"192.168.1.192", "192.168.1.127"}},
		{"0.0.0.0/0", []string{"1.2.3.4"}, []string{"::1"}},
		{"fd00::/64", []string{"fd00::ffff:ffff:ffff:ffff"}, []string{"fd00:0:0:1::"}},
		{"::ffff:10.0.0.0/104", []string{"10.9.9.9"}, []string{"11.0.0.0"}},
		{"10.0.0.1/32", []string{"10.0.0.1"}, []string{"10.0.0.0"}},
	} {
		t.Run(c.host, func(t *testing.T) {
			e := Export{Rules: []Rule{{Hosts: mustHosts(t, c.host)}}}
			never := func() []string { t.Error("asked for names"); return nil }
			for _, a := range c.in {
				if _, ok := e.Match(netip.MustParseAddr(a), 700, never); !ok {
					t.Errorf("%s does not match", a)
				}
			}
			for _, a := range c.out {
				if _, ok := e.Match(netip.MustParseAddr(a), 700, never); ok {
					t.Errorf("%s matches", a)
				}
			}
			if got := e.Rules[0].Hosts[0].String(); got != c.host {
				t.Errorf("shown as %q", got)
			}
		})
	}
}

func TestParseHost_names(t *testing.T) {
	for _, c := range []struct {
		host, name string
		want       bool
	}{
		{"a.example.com", "a.example.com", true},
		{"A.Example.com.", "a.EXAMPLE.com", true},
		{"a.example.com", "a.example.com.", true},
		{"a.example.com", "b.a.example.com", false},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "a.b.example.com", false},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "aexample.com", false},
		{"my-host", "my-host", true},
	} {
		e := Export{Rules: []Rule{{Hosts: mustHosts(t, c.host)}}}
		if !e.NeedsNames() {
			t.Errorf("%s needs no names", c.host)
		}
		_, ok := e.Match(netip.MustParseAddr("10.0.0.1"), 700, func() []string { return []string{"x.test", c.name} })
		if ok != c.want {
			t.Errorf("%s against %s: %t", c.host, c.name, ok)
		}
		if _, ok := e.Match(netip.MustParseAddr("10.0.0.1"), 700, nil); ok {
			t.Errorf("%s matches a client without names", c.host)
		}
	}
}

func TestParseHost_errors(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "is empty",
		"*":                       "a list without hosts",
		"10.0.0":                  "names do not end in a number",
		"10.0.0.256":              "names do not end in a number",
		"10.0.0.1/33":             "prefix length",
		"10.0.0.1/-1":             "prefix length",
		"10.0.0.0/255.0.255.0":    "contiguous",
		"10.0.0.0/ffff::":         "neither a prefix length",
		"10.0.0.0/x":              "neither a prefix length",
		"host/8":                  "no address",
		"10.0.0.9-10.0.0.1":       "ends before",
		"10.0.0.9-1":              "ends before",
		"10.0.0.1-fd00::1":        "IPv4 and an IPv6",
		"10.0.0.1-x":              "no address",
		"10.0.0.1-256":            "no address",
		"fd00::1-9":               "no address",
		"fe80::1%eth0":            "zone",
		"a..b":                    "empty label",
		"a.*.com":                 "whole first label",
		"a*.com":                  "whole first label",
		"-a.com":                  "hyphen",
		"a b":                     "neither an address nor a name",
		"hôte.fr":                 "neither an address nor a name",
		"KRB4@10.0.0.1":           "KRB5",
		"me@host":                 "KRB5",
		strings.Repeat("a", 64):   "63",
		strings.Repeat("a.", 128): "253",
	} {
		_, err := ParseHost(in)
		if !errors.Is(err, fs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", in, err, want)
		}
	}
}

func TestMatch_order(t *testing.T) {
	e := Export{Rules: []Rule{
		{Hosts: mustHosts(t, "10.0.0.1"), ReadOnly: true},
		{Hosts: mustHosts(t, "10.0.0.0/24", "db.example.com"), RequirePrivilegedPort: true},
		{Hosts: mustHosts(t, "*.example.com"), Mapping: MapAll},
	}}
	asked := 0
	names := func() []string { asked++; return []string{"db.example.com"} }
	addr := netip.MustParseAddr
	if r, ok := e.Match(addr("10.0.0.1"), 40000, names); !ok || !r.ReadOnly || asked != 0 {
		t.Errorf("first rule: %+v, %t, asked %d", r, ok, asked)
	}
	if r, ok := e.Match(addr("10.0.0.2"), 1023, names); !ok || !r.RequirePrivilegedPort {
		t.Errorf("second rule: %+v, %t", r, ok)
	}
	for _, port := range []uint16{0, 1024, 65535} {
		if _, ok := e.Match(addr("10.0.0.2"), port, names); ok {
			t.Errorf("port %d passes as privileged", port)
		}
	}
	if _, ok := e.Match(addr("10.9.0.2"), 40000, names); ok {
		t.Error("a later rule is tried although an earlier one matched")
	}
	if asked != 1 {
		t.Errorf("asked for names %d times", asked)
	}
	if _, ok := e.Match(addr("10.9.0.2"), 700, func() []string { return nil }); ok {
		t.Error("no rule matches, but there is access")
	}
	if r, ok := (&Export{}).Match(addr("10.9.0.2"), 40000, nil); !ok || r.ReadOnly || r.Mapping != MapNone {
		t.Error("an export without rules is not open")
	}
	if _, ok := (&Export{Rules: []Rule{{}}}).Match(netip.Addr{}, 0, nil); !ok {
		t.Error("a rule without hosts does not match everybody")
	}
	if _, ok := (&Export{Rules: []Rule{{Hosts: mustHosts(t, "0.0.0.0/0", "::/0")}}}).Match(netip.Addr{}, 0, nil); ok {
		t.Error("an unknown address matches a network")
	}
}

func TestMatch_kerberos(t *testing.T) {
	e := Export{Rules: []Rule{
		{Hosts: mustHosts(t, "KRB5P@"), ReadOnly: false},
		{Hosts: mustHosts(t, "krb5@10.0.0.0/8"), ReadOnly: true},
	}}
	for _, c := range []struct {
		addr     string
		flavor   Flavor
		ok, read bool
	}{
		{"1.2.3.4", FlavorSys, false, false},
		{"1.2.3.4", FlavorKrb5i, false, false},
		{"1.2.3.4", FlavorKrb5p, true, false},
		{"10.2.3.4", FlavorSys, false, false},
		{"10.2.3.4", FlavorKrb5, true, true},
		{"10.2.3.4", FlavorKrb5p, true, false},
	} {
		r, ok := e.MatchClient(Client{Addr: netip.MustParseAddr(c.addr), Flavor: c.flavor})
		if ok != c.ok || r.ReadOnly != c.read {
			t.Errorf("%+v: %+v, %t", c, r, ok)
		}
	}
}

func TestSquash(t *testing.T) {
	root, user := identity.POSIX(0, 0, nil), identity.POSIX(1000, 1000, nil)
	guest := identity.POSIX(7, 8, nil)
	for _, c := range []struct {
		name       string
		r          Rule
		root, user *identity.Credential
	}{
		{"none", Rule{MapTo: guest}, root, user},
		{"root", Rule{Mapping: MapRoot, MapTo: guest}, guest, user},
		{"all", Rule{Mapping: MapAll, MapTo: guest}, guest, guest},
	} {
		if c.r.Squash(root) != c.root || c.r.Squash(user) != c.user {
			t.Errorf("%s: wrong caller", c.name)
		}
	}
	n := (&Rule{Mapping: MapRoot}).Squash(root)
	if n.User != identity.UID(65534) || n.Group != identity.GID(65534) || n.Superuser {
		t.Errorf("nobody is %+v", n)
	}
}

func TestShow32(t *testing.T) {
	off, on := &Export{}, &Export{FileIDs32: true, FileSizes32: true, FSSize32: true}
	big := uint64(5 << 32)
	if off.ShowFileID(fs.FileID(big)) != big || off.ShowFileSize(big) != big || off.ShowFSSize(big) != big {
		t.Error("changed although not asked")
	}
	if on.ShowFileSize(big) != 1<<32-1 || on.ShowFSSize(big) != 1<<32-1 || on.ShowFileSize(7) != 7 {
		t.Error("sizes are not clamped")
	}
	seen := map[uint64]bool{}
	for i := range uint64(1000) {
		id := on.ShowFileID(fs.FileID(1<<40 + i))
		if id > 1<<32-1 || id <= uint64(fs.RootID) {
			t.Fatalf("shown as %d", id)
		}
		seen[id] = true
	}
	if len(seen) < 999 {
		t.Errorf("%d of 1000 ids are left", len(seen))
	}
	if on.ShowFileID(77) != 77 {
		t.Error("a small id was hashed")
	}
}

func TestValidate(t *testing.T) {
	good := Export{Path: "/a/b", FSPath: "/x"}
	for _, c := range []struct {
		name string
		edit func(*Export)
		want string
	}{
		{"good", func(*Export) {}, ""},
		{"root", func(e *Export) { e.Path, e.FSPath = "/", "/" }, ""},
		{"relative", func(e *Export) { e.Path = "a" }, "does not begin"},
		{"empty", func(e *Export) { e.Path = "" }, "does not begin"},
		{"trailing_slash", func(e *Export) { e.Path = "/a/" }, "ends with /"},
		{"double_slash", func(e *Export) { e.Path = "/a//b" }, "empty component"},
		{"dots", func(e *Export) { e.Path = "/a/../b" }, "component .."},
		{"zero", func(e *Export) { e.Path = "/a\x00" }, "zero byte"},
		{"long_component", func(e *Export) { e.Path = "/" + strings.Repeat("a", 256) }, "255 bytes"},
		{"long", func(e *Export) { e.Path = strings.Repeat("/aaa", 20000) }, "65536 bytes"},
		{"fs_path", func(e *Export) { e.FSPath = "x" }, "not absolute"},
		{"mapping", func(e *Export) { e.Rules = []Rule{{Mapping: 3}} }, "rule 1"},
		{"rules", func(e *Export) { e.Rules = make([]Rule, 1025) }, "1025 rules"},
		{"hosts", func(e *Export) { e.Rules = []Rule{{}, {Hosts: make([]Host, 1025)}} }, "rule 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := good
			c.edit(&e)
			err := e.Validate()
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, fs.Invalid) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestNested(t *testing.T) {
	for _, c := range []struct {
		paths        []string
		outer, inner string
		ok           bool
	}{
		{[]string{"/a", "/b", "/ab"}, "", "", false},
		{[]string{"/"}, "", "", false},
		{[]string{"/", "/a"}, "/", "/a", true},
		{[]string{"/a/b/c", "/x", "/a"}, "/a", "/a/b/c", true},
	} {
		if o, i, ok := Nested(c.paths); o != c.outer || i != c.inner || ok != c.ok {
			t.Errorf("%v: %q, %q, %t", c.paths, o, i, ok)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"10.0.0.1-9", "KRB5P@*.example.com", "::ffff:1.2.3.4/100", "a-b.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParseHost(s)
		if err != nil {
			if !errors.Is(err, fs.Invalid) {
				t.Error(err)
			}
			return
		}
		if h.String() != s {
			t.Error("not kept as given")
		}
		e := Export{Rules: []Rule{{Hosts: []Host{h}}}}
		e.Match(netip.MustParseAddr("10.0.0.1"), 1, func() []string { return []string{s} })
	})
}

func BenchmarkMatch(b *testing.B) {
	e := Export{Rules: []Rule{{Hosts: mustHosts(b, "192.168.0.0/16", "10.0.0.1-9")}, {Hosts: mustHosts(b, "10.1.0.0/16"), ReadOnly: true}}}
	a := netip.MustParseAddr("10.1.2.3")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := e.Match(a, 700, nil); !ok {
			b.Fatal("no match")
		}
	}
}
