package kv

import (
	"bytes"
	"testing"
)

func TestSuccessor(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""}, {"a", "b"}, {"a\xff", "b"}, {"\xff\xff", ""}, {"\x00", "\x01"}, {"a\xff\x01\xff", "a\xff\x02"},
	} {
		if got := Successor([]byte(c.in)); string(got) != c.want || (c.want == "" && got != nil) {
			t.Errorf("Successor(%q) = %q, want %q", c.in, got, c.want)
		}
	}
}

func TestWithinPrefix(t *testing.T) {
	p := []byte("123456789")
	full := bytes.Repeat([]byte{0xff}, PrefixBytes)
	for _, c := range []struct {
		name string
		r    Range
		want bool
	}{
		{"whole", Prefix(p), true},
		{"part", Range{append(bytes.Clone(p), 'a'), append(bytes.Clone(p), 'b')}, true},
		{"rest", Range{append(bytes.Clone(p), 'a'), Successor(p)}, true},
		{"too short", Prefix(p[:8]), false},
		{"no end", Range{p, nil}, false},
		{"last prefix", Prefix(full), false},
		{"two prefixes", Range{p, []byte("12345678;")}, false},
		{"next prefix", Range{p, []byte("12345678:a")}, false},
	} {
		if got := c.r.WithinPrefix(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if r := Prefix(p); !r.Contains(p) || !r.Contains(append(bytes.Clone(p), 0xff)) || r.Contains([]byte("12345678:")) || r.Contains([]byte("1")) {
		t.Error("Prefix contains the wrong keys")
	}
	if string(PrefixOf([]byte("1234567890"))) != "123456789" || string(PrefixOf([]byte("12"))) != "12" {
		t.Error("PrefixOf")
	}
}
