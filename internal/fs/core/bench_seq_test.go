package core_test

import (
	"context"
	"testing"

	"manifold/internal/fs"
)

// BenchmarkWriteSequential1M writes a large file in unstable megabytes with a
// commit every 64.
func BenchmarkWriteSequential1M(b *testing.B) {
	f := newFS(b, newPebble(b))
	n := mustCreate(b, f, fs.Root, "file", fs.File)
	p := make([]byte, 1<<20)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := f.Write(context.Background(), root, n, &fs.WriteRequest{Offset: uint64(i%1024) << 20, Data: p}); err != nil {
			b.Fatal(err)
		}
		if i%64 == 63 {
			if _, _, err := f.Commit(context.Background(), root, n, 0, 0, 0); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkRead1M reads a large file that lies in the page cache.
func BenchmarkRead1M(b *testing.B) {
	f := newFS(b, newPebble(b))
	n := mustCreate(b, f, fs.Root, "file", fs.File)
	p := make([]byte, 1<<20)
	for i := range 64 {
		if _, err := f.Write(context.Background(), root, n, &fs.WriteRequest{Offset: uint64(i) << 20, Data: p}); err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := f.Commit(context.Background(), root, n, 0, 0, 0); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := f.Read(context.Background(), root, n, &fs.ReadRequest{Offset: uint64(i%64) << 20}, p); err != nil {
			b.Fatal(err)
		}
	}
}
