// Package fold compares names without regard to case: it maps a name to a
// folded form that all its case variants and canonical equivalents share, and
// hashes that form with the key of a file system.
//
// The folded form is NFC, then simple one-to-one case folding, then NFC again
// (folding can make a pair of characters that compose). Bytes that are not
// UTF-8 stand for themselves, so every name has a folded form.
//
// Invariants: directory cookies and the case-insensitive index are made from
// folded forms, so for a given policy Name answers the same for ever. It uses
// only the tables in table_gen.go, never those of the Go release or of x/text,
// and those tables never change; a later Unicode gets a new policy number.
//
// The package must not know files or directories.
package fold

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Policies; stored in the superblock, append-only.
const (
	// None folds nothing: names are equal if their bytes are.
	None uint8 = 0
	// Policy is the current one: Unicode 15.0, simple folding.
	Policy uint8 = 1
)

// Known tells whether this build knows a stored policy. A file system with an
// unknown one must not be opened: Name would treat it as None.
func Known(policy uint8) bool { return policy <= Policy }

// Name returns the folded form of name. It does not allocate if name is ASCII
// without capitals, the common case: then it is its own folded form.
func Name(policy uint8, name string) string {
	if policy != Policy {
		return name
	}
	i := 0
	for ; i < len(name); i++ {
		if b := name[i]; b >= utf8.RuneSelf || 'A' <= b && b <= 'Z' {
			break
		}
	}
	if i == len(name) {
		return name
	}
	var space [256]byte
	out := append(space[:0], name[:i]...)
	for ; i < len(name); i++ {
		b := name[i]
		if b >= utf8.RuneSelf {
			return unicodeName(name)
		}
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		out = append(out, b)
	}
	return string(out)
}

// Equal tells whether a and b have the same folded form.
func Equal(policy uint8, a, b string) bool {
	return a == b || Name(policy, a) == Name(policy, b)
}

// Hash is SipHash-2-4 of a folded name, as a directory cookie: below 2^63 and
// at least 3, since 0, 1 and 2 are the start of a listing, "." and "..".
func Hash(key [16]byte, folded string) uint64 {
	h := sipHash(key, folded) & (1<<63 - 1)
	if h < firstCookie {
		h += firstCookie
	}
	return h
}

const firstCookie = 3

// sipHash is SipHash-2-4 (Aumasson, Bernstein 2012). Keyed, so that nobody can
// prepare names which collide.
func sipHash(key [16]byte, s string) uint64 {
	k0 := binary.LittleEndian.Uint64(key[:8])
	k1 := binary.LittleEndian.Uint64(key[8:])
	v0 := k0 ^ 0x736f6d6570736575
	v1 := k1 ^ 0x646f72616e646f6d
	v2 := k0 ^ 0x6c7967656e657261
	v3 := k1 ^ 0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	last := uint64(len(s)) << 56
	for len(s) >= 8 {
		m := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		v3 ^= m
		round()
		round()
		v0 ^= m
		s = s[8:]
	}
	for i := 0; i < len(s); i++ {
		last |= uint64(s[i]) << (8 * i)
	}
	v3 ^= last
	round()
	round()
	v0 ^= last
	v2 ^= 0xff
	round()
	round()
	round()
	round()
	return v0 ^ v1 ^ v2 ^ v3
}
