package core_test

import (
	"context"
	"fmt"
	"testing"

	"manifold/internal/fs"
)

// BenchmarkList lists directories with attributes; the time is that of one entry.
func BenchmarkList(b *testing.B) {
	for _, size := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			f := newFS(b, newPebble(b))
			spec := &fs.CreateSpec{Type: fs.File}
			b.SetParallelism(16)
			done := make(chan error)
			for g := range 16 {
				go func() {
					for i := g; i < size; i += 16 {
						if _, err := f.Create(context.Background(), root, fs.Root, fmt.Sprintf("file-%d", i), spec); err != nil {
							done <- err
							return
						}
					}
					done <- nil
				}()
			}
			for range 16 {
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				_, err := f.ReadDir(context.Background(), root, fs.Root, 0, fs.AttrBasic, func(*fs.Dirent) bool { n++; return n < b.N })
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
