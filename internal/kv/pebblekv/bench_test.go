package pebblekv

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"manifold/internal/kv"
)

func benchKey(i uint64) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{'b'}, i), "abc"...)
}

const benchKeys = 100_000

func benchEngine(b *testing.B) *Engine {
	e := open(b, Options{Dir: b.TempDir()})
	b.Cleanup(func() { e.Close() })
	for i := uint64(0); i < benchKeys; i += 200 {
		if _, err := e.Update(b.Context(), func(x kv.Txn) error {
			for j := i; j < i+200; j++ {
				x.Put(benchKey(j), make([]byte, 150))
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	if err := e.db.Flush(); err != nil {
		b.Fatal(err)
	}
	return e
}

// BenchmarkView reads one key in a View: from all keys, from the few that the
// row cache holds, and, to compare, with Pebble's own Get.
func BenchmarkView(b *testing.B) {
	e := benchEngine(b)
	get := func(b *testing.B, n uint64) {
		b.ReportAllocs()
		ctx := b.Context()
		for b.Loop() {
			k := benchKey(rand.Uint64N(n))
			if err := e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
				_, err := r.Get(ctx, k)
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("pebble", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := fetch(e.db, benchKey(rand.Uint64N(benchKeys))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("all", func(b *testing.B) { get(b, benchKeys) })
	b.Run("hot", func(b *testing.B) { get(b, 1000) })
	b.Run("scan20", func(b *testing.B) {
		b.ReportAllocs()
		ctx := b.Context()
		for b.Loop() {
			i := rand.Uint64N(benchKeys)
			if err := e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
				for _, err := range r.Scan(ctx, kv.Range{Start: benchKey(i)}, kv.ScanOptions{Limit: 20}) {
					if err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkUpdate is two gets and four puts, synced, by several goroutines.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := benchEngine(b)
			b.ReportAllocs()
			b.SetParallelism(max(1, n/2))
			ctx := b.Context()
			var ids atomic.Uint64
			ids.Store(benchKeys)
			run := func() {
				x, y := rand.Uint64N(benchKeys), rand.Uint64N(benchKeys)
				z := ids.Add(2)
				val := make([]byte, 150)
				if _, err := e.Update(ctx, func(t kv.Txn) error {
					if _, err := t.Get(ctx, benchKey(x)); err != nil {
						return err
					}
					if _, err := t.Get(ctx, benchKey(y)); err != nil {
						return err
					}
					t.Put(benchKey(x), val)
					t.Put(benchKey(y), val)
					t.Put(benchKey(z), val)
					t.Put(benchKey(z+1), val)
					return nil
				}); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			if n == 1 {
				for b.Loop() {
					run()
				}
				return
			}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					run()
				}
			})
		})
	}
}
