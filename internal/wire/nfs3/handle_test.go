package nfs3

import (
	"bytes"
	"encoding/hex"
	"math"
	"testing"

	"manifold/internal/fs"
)

// Vectors of the SipHash reference implementation: key 00..0f, message 00 01 02 ...
func TestSiphash_vectors(t *testing.T) {
	const k0, k1 = 0x0706050403020100, 0x0f0e0d0c0b0a0908
	var p []byte
	for i := range 64 {
		p = append(p, byte(i))
	}
	for n, want := range map[int]uint64{0: 0x726fdb47dd0e0e31, 1: 0x74f839c593dc67fd, 8: 0x93f5f5799a932462, 15: 0xa129ca6149be45e5} {
		if got := siphash(k0, k1, p[:n]); got != want {
			t.Errorf("%d bytes: %x, want %x", n, got, want)
		}
	}
}

func TestHandle_roundTrip(t *testing.T) {
	hs := newHandler([]byte("0123456789abcdef"), [16]byte{9})
	for _, h := range []handle{
		{node: fs.Root, root: fs.RootID, export: 1},
		{node: fs.Node{ID: math.MaxUint64, Snap: fs.SnapshotDir}, root: 77, export: math.MaxUint32},
	} {
		var b [handleSize]byte
		hs.put(&b, h)
		if got, st := hs.get(b[:]); st != OK || got != h {
			t.Errorf("%+v came back as %+v, %v", h, got, st)
		}
	}
}

// The layout is a promise to clients that keep handles over a restart and an upgrade.
func TestHandle_layoutStays(t *testing.T) {
	hs := newHandler([]byte("0123456789abcdef"), [16]byte{1, 2, 3})
	var b [handleSize]byte
	hs.put(&b, handle{node: fs.Node{ID: 0x1122, Snap: 3}, root: 2, export: 5})
	const want = "0100000096e3c19e0000000500000000000000000000112200000000000000030000000000000002d845b865d5c161f7"
	if got := hex.EncodeToString(b[:]); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestHandle_forgeriesAreRefused(t *testing.T) {
	fsid := [16]byte{1}
	hs := newHandler([]byte("0123456789abcdef"), fsid)
	var b [handleSize]byte
	hs.put(&b, handle{node: fs.Root, root: fs.RootID, export: 1})
	for i := range len(b) * 8 {
		p := bytes.Clone(b[:])
		p[i/8] ^= 1 << (i % 8)
		if _, st := hs.get(p); st != ErrBadHandle {
			t.Fatalf("bit %d changed: %v", i, st)
		}
	}
	for n := range len(b) {
		if _, st := hs.get(b[:n]); st != ErrBadHandle {
			t.Errorf("%d bytes: %v", n, st)
		}
	}
	other := newHandler([]byte("another secret key"), fsid)
	if _, st := other.get(b[:]); st != ErrBadHandle {
		t.Errorf("handle of another key: %v", st)
	}
	elsewhere := newHandler([]byte("0123456789abcdef"), [16]byte{2})
	if _, st := elsewhere.get(b[:]); st != ErrStale {
		t.Errorf("handle of another file system with our key: %v", st)
	}
}
