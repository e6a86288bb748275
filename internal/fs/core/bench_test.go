package core_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/kv/pebblekv"
)

// newPebble opens the embedded engine in a directory of the test.
func newPebble(tb testing.TB) *pebblekv.Engine {
	tb.Helper()
	e, err := pebblekv.Open(context.Background(), pebblekv.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func BenchmarkCreate(b *testing.B) {
	f := newFS(b, newPebble(b))
	spec := &fs.CreateSpec{Type: fs.File}
	var n atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		r, err := f.Create(context.Background(), root, fs.Root, fmt.Sprintf("dir%d", n.Add(1)), &fs.CreateSpec{Type: fs.Directory})
		if err != nil {
			b.Fatal(err)
		}
		for pb.Next() {
			if _, err := f.Create(context.Background(), root, r.Attr.Node, fmt.Sprintf("file%d", n.Add(1)), spec); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkLookup(b *testing.B) {
	f := newFS(b, newPebble(b))
	for i := range 1000 {
		mustCreate(b, f, fs.Root, fmt.Sprintf("file%d", i), fs.File)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := f.Lookup(context.Background(), root, fs.Root, fmt.Sprintf("file%d", i%1000), fs.AttrBasic); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetAttr(b *testing.B) {
	f := newFS(b, newPebble(b))
	n := mustCreate(b, f, fs.Root, "file", fs.File)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := f.GetAttr(context.Background(), root, n, fs.AttrBasic); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteStable4K(b *testing.B) {
	f := newFS(b, newPebble(b))
	n := mustCreate(b, f, fs.Root, "file", fs.File)
	p := make([]byte, 4096)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := f.Write(context.Background(), root, n, &fs.WriteRequest{Offset: uint64(i%10000) * 4096, Data: p, Stability: fs.FileSync}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead4K(b *testing.B) {
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
	p = p[:4096]
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := f.Read(context.Background(), root, n, &fs.ReadRequest{Offset: uint64(i*7919%16384) * 4096}, p); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriteRandom4K overwrites random blocks of a 256 MiB file, stable.
func BenchmarkWriteRandom4K(b *testing.B) {
	f := newFS(b, newPebble(b))
	n := mustCreate(b, f, fs.Root, "file", fs.File)
	p := make([]byte, 1<<20)
	for i := range 256 {
		if _, err := f.Write(context.Background(), root, n, &fs.WriteRequest{Offset: uint64(i) << 20, Data: p}); err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := f.Commit(context.Background(), root, n, 0, 0, 0); err != nil {
		b.Fatal(err)
	}
	p = p[:4096]
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if _, err := f.Write(context.Background(), root, n, &fs.WriteRequest{Offset: uint64(i*7919%65536) * 4096, Data: p, Stability: fs.FileSync}); err != nil {
			b.Fatal(err)
		}
	}
}
