package rest

import (
	"fmt"
	"testing"

	"manifold/internal/fs"
)

// A page of 1,000 entries, as rendered and encoded.
func BenchmarkEncodeEntries(b *testing.B) {
	out := entries{Path: "/d/", ID: num(3)}
	q := &request{}
	a := fs.Attr{Node: fs.Node{ID: 12345}, Type: fs.File, Owner: 3<<32 + 1000, Group: 4<<32 + 1000, Size: 1 << 20, DataBytes: 1 << 20}
	for i := range 1000 {
		f, err := q.fileAttrs(&a, fmt.Sprintf("/d/file-%04d", i), fmt.Sprintf("file-%04d", i))
		if err != nil {
			b.Fatal(err)
		}
		out.Files = append(out.Files, f)
	}
	b.ReportAllocs()
	for b.Loop() {
		p, err := encode(out)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(p)))
	}
}
