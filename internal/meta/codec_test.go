package meta

import (
	"reflect"
	"testing"

	"manifold/internal/fs"
)

func sampleInode() *Inode {
	return &Inode{ID: 77, Type: fs.File, Mode: 0o4755, Owner: 3<<32 + 1000, Group: 4<<32 + 100, Links: 3, Parent: 2, ParentName: "name", Extra: 2,
		Data:  Stream{ID: 77, Size: 1 << 40, Rev: 9, AllocBytes: 8192, Masks: []Mask{{1, 2, 3}}},
		Atime: fs.Time{Sec: -5, Nsec: 1}, Mtime: fs.Time{Sec: 1 << 40, Nsec: 999999999}, Ctime: fs.Time{Sec: 7}, Btime: fs.Time{Sec: 8},
		Change: 1 << 60, NamedStreams: 2, StreamBytes: 4096, Xattrs: 1, DOS: 0x21, SymlinkHint: 1, RdevMajor: 8, RdevMinor: 1, Target: []byte("t"),
		Verifier: 1 << 63, HasVerifier: true, Retention: fs.Time{Sec: 99}, LegalHold: true, Cover: []Cover{{5, 6}}, ACL: ACLHash{1, 2}, Birth: 12, OrphanedFrom: 4}
}

func TestInodeRoundTrip(t *testing.T) {
	for _, n := range []*Inode{sampleInode(), {ID: 2, Type: fs.Directory, Mode: 0o755, Links: 2, Children: 5, Birth: 1}} {
		got, err := decodeInode(n.ID, n.encode())
		if err != nil || !reflect.DeepEqual(got, n) {
			t.Errorf("got %+v %v, want %+v", got, err, n)
		}
	}
}

func TestChunkRoundTrip(t *testing.T) {
	c := &Chunk{Birth: 3, MaskSeq: 4, Prev: 2, Frags: []Frag{{0, 4096, 9, 0}, {8192, 100, 3, 77}, {chunkBytes - 1, 1, 1 << 50, 5}}}
	got, err := decodeChunk(1, c.encode())
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("got %+v %v", got, err)
	}
}

func TestHistoryKey(t *testing.T) {
	k := nameKey(300_000, "näme")
	got, end, ok := splitHistory(historyKey(k, 42))
	if !ok || end != 42 || !reflect.DeepEqual(got, k) {
		t.Errorf("got %x %d %v", got, end, ok)
	}
	for _, id := range []uint64{0, 1, 65535, 65536, 1 << 40, 1<<62 | 5, 1<<64 - 1} {
		if spread(spread(id)) != id {
			t.Errorf("spread is no inverse of itself at %d", id)
		}
	}
}

// FuzzDecode feeds every decoder of stored values with damaged ones: they may
// refuse, never panic, and what they accept encodes to something they accept.
func FuzzDecode(f *testing.F) {
	f.Add(sampleInode().encode())
	f.Add((&Chunk{Birth: 1, Frags: []Frag{{0, 1, 1, 0}}}).encode())
	f.Add((&Dentry{Name: "x", ID: 3, Type: fs.File, Cookie: 4}).encodeByCookie())
	f.Add((&Dentry{ID: 3, Type: fs.File, Cookie: 4}).encodeByName())
	f.Add((&NamedStream{Name: "s"}).encode())
	f.Add((&totals{Gone: true, Parent: 4}).encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := decodeInode(1, b); err == nil {
			if _, err := decodeInode(1, n.encode()); err != nil {
				t.Errorf("inode accepted once: %v", err)
			}
		}
		if c, err := decodeChunk(1, b); err == nil {
			if _, err := decodeChunk(1, c.encode()); err != nil {
				t.Errorf("chunk accepted once: %v", err)
			}
		}
		_, _ = decodeByCookie(1, 2, b)
		_, _ = decodeByName(1, "n", b)
		_, _ = decodeNamedStream(1, b)
		_, _ = decodeTotals(1, b)
		_, _ = decodeRelease(b)
		_, _ = decodeXattr(1, b)
		_, _ = decodeSnapshot(snapshotKey(1), b)
		_, _, _ = splitHistory(b)
	})
}
