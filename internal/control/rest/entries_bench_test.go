package rest

import (
	"fmt"
	"testing"

	"manifold/internal/fs"
)

// A page of 1,000 entries, as rendered and encoded.
func BenchmarkEncodeEntries(b *testing.B) {
	q := &request{}
	a := fs.Attr{Node: fs.Node{ID: 12345}, Type: fs.File, Owner: 3<<32 + 1000, Group: 4<<32 + 1000, Size: 1 << 20, DataBytes: 1 << 20}
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("file-%04d", i)
	}
	var room []byte
	b.ReportAllocs()
	for b.Loop() {
		out := newEntryPage(room[:0], "/d/", 3, 1000)
		for i, name := range names {
			a.Mtime.Nsec = uint32(i)
			a.Node.ID++
			if err := out.add(q, &a, name); err != nil {
				b.Fatal(err)
			}
		}
		room = out.end("")
		b.SetBytes(int64(len(room)))
	}
}
