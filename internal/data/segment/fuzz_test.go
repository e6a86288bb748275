package segment

import (
	"bytes"
	"testing"

	"manifold/internal/data"
)

func FuzzHeader(f *testing.F) {
	f.Add(make([]byte, headerBytes))
	f.Add([]byte("MFEX"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, sg := range []*seg{{num: 7}, {num: 7, reused: true}} {
			if e, ok := decodeHeader(sg, b); ok && (e.ID == 0 || e.Bytes > maxStored) {
				t.Fatalf("%+v", e)
			}
		}
	})
}

// Stored blocks that pass their checksum, which guards against rot and not
// against malice, still must not write beyond the block.
func FuzzBlock(f *testing.F) {
	s := &Store{}
	if err := s.zstd.open(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.zstd.close)
	f.Add(s.zstd.enc.EncodeAll(bytes.Repeat([]byte("ab"), 500), nil), uint16(1000))
	f.Add(s.zstd.enc.EncodeAll(make([]byte, 1<<20), nil), uint16(1000))
	f.Add([]byte{}, uint16(5))
	f.Fuzz(func(t *testing.T, stored []byte, n uint16) {
		if len(stored) == 0 || n == 0 || len(stored) > int(n) {
			return
		}
		d := decoder{s: s, rec: data.Record{ID: 1, Length: uint32(n), Compression: data.Zstd}}
		buf := bytes.Repeat([]byte{0xaa}, int(n)+8)
		_ = d.block(0, stored, buf[:n])
		if !bytes.Equal(buf[n:], bytes.Repeat([]byte{0xaa}, 8)) {
			t.Fatal("written beyond the block")
		}
	})
}
