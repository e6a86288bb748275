package ftp

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"manifold/internal/fs"
)

func TestParse_addresses(t *testing.T) {
	for s, want := range map[string]string{
		"127,0,0,1,4,1": "127.0.0.1:1025", "255,255,255,255,255,255": "255.255.255.255:65535",
		"1,2,3": "", "1,2,3,4,5,256": "", "-1,2,3,4,5,6": "", "1,2,3,4,5,6,7": "", "": "",
	} {
		a, err := parsePort(s)
		if (err == nil) != (want != "") || err == nil && a != netip.MustParseAddrPort(want) {
			t.Errorf("PORT %q: %v %v", s, a, err)
		}
	}
	for s, want := range map[string]string{
		"|1|127.0.0.1|1025|": "127.0.0.1:1025", "!2!::1!65535!": "[::1]:65535",
		"|1|::1|1|": "", "|2|127.0.0.1|1|": "", "|2|fe80::1%eth0|1|": "", "|1|127.0.0.1|65536|": "", "|1|127.0.0.1|1": "", "||||": "", "": "",
	} {
		a, _, err := parseEprt(s)
		if (err == nil) != (want != "") || err == nil && a != netip.MustParseAddrPort(want) {
			t.Errorf("EPRT %q: %v %v", s, a, err)
		}
	}
}

func TestParse_time(t *testing.T) {
	for s, want := range map[string]fs.Time{
		"20010203040506": {Sec: 981173106}, "20010203040506.5": {Sec: 981173106, Nsec: 500_000_000}, "19691231235959": {Sec: -1},
	} {
		if got, err := parseTime(s); err != nil || got != want {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
	for _, s := range []string{"", "2001", "20011303040506", "20010203040506.", "20010203040506.x", "20010203040506.1234567890", "+0010203040506"} {
		if got, err := parseTime(s); err == nil {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestParse_lines(t *testing.T) {
	for in, want := range map[string]string{
		"\xff\xf4\xff\xf2ABOR": "ABOR", "a\xff\xffb": "a\xffb", "a\xff\xfd\x01b": "ab", "a\xff": "a", "a\xff\xfb": "a",
	} {
		if got := string(untelnet([]byte(in))); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	for in, want := range map[string]string{"-la": "", "-la  d e": "d e", "-- -x": "-x", "d -l": "d -l", "": ""} {
		if got := splitOptions(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := quoted("a\"b\r\n"); got != `"a""b??"` {
		t.Error(got)
	}
}

func TestStatus_everyKind(t *testing.T) {
	for _, k := range fs.Kinds() {
		err := fs.E("op", fs.Root, "name", k, errors.New("inner secret"))
		if c := codeOf(err); c < 450 || c > 553 {
			t.Errorf("%v: %d", k, c)
		}
		if s := textOf(err); s == "" || strings.Contains(s, "secret") || strings.ContainsAny(s, "\r\n") {
			t.Errorf("%v: %q", k, s)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"PORT 1,2,3,4,5,6", "|1|127.0.0.1|1|", "20010203040506.1", "0755", "-la x", "\xff\xfd\x01", "type;size;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, _ = parseCommand(s)
		if a, err := parsePort(s); err == nil && !a.IsValid() {
			t.Errorf("PORT %q", s)
		}
		if a, known, err := parseEprt(s); err == nil && (!a.IsValid() || !known) {
			t.Errorf("EPRT %q", s)
		}
		if tm, err := parseTime(s); err == nil && tm.Nsec > 999_999_999 {
			t.Errorf("time %q", s)
		}
		if m, err := parseMode(s); err == nil && m > fs.ModeAll {
			t.Errorf("mode %q", s)
		}
		if o := splitOptions(s); !strings.HasSuffix(s, o) {
			t.Errorf("options %q", s)
		}
		if strings.ContainsAny(printable(s), "\r\n\x00") || len(untelnet([]byte(s))) > len(s) {
			t.Errorf("line %q", s)
		}
		if set := parseFacts(s); parseFacts(set.String()) != set {
			t.Errorf("facts %q", s)
		}
	})
}
