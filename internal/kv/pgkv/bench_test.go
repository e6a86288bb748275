package pgkv

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"manifold/internal/kv"
	"manifold/internal/kv/pgkv/pgtest"
)

// BenchmarkUpdate is two gets and four puts by several goroutines, as for the
// embedded engine.
func BenchmarkUpdate(b *testing.B) {
	s := pgtest.Start(b)
	e, err := Open(b.Context(), Options{DSN: pgtest.DSN(s), MaxConns: 64})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	key := func(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'b'}, i*0x9e3779b97f4a7c15) }
	ctx := b.Context()
	const keys = 20_000
	for i := uint64(0); i < keys; i += 200 {
		if _, err := e.Update(ctx, func(t kv.Txn) error {
			for j := i; j < i+200; j++ {
				t.Put(key(j), make([]byte, 150))
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
	var ids atomic.Uint64
	ids.Store(keys)
	for _, n := range []int{1, 8, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetParallelism(max(1, n/2))
			one := func() {
				x, y, z := key(rand.Uint64N(keys)), key(rand.Uint64N(keys)), ids.Add(2)
				if _, err := e.Update(ctx, func(t kv.Txn) error {
					if _, err := t.GetMany(ctx, [][]byte{x, y}); err != nil {
						return err
					}
					for _, k := range [][]byte{x, y, key(z), key(z + 1)} {
						t.Put(k, make([]byte, 150))
					}
					return nil
				}); err != nil {
					b.Error(err)
				}
			}
			if n == 1 {
				for b.Loop() {
					one()
				}
				return
			}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					one()
				}
			})
		})
	}
	b.Run("View", func(b *testing.B) {
		for b.Loop() {
			if err := e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
				_, err := r.Get(ctx, key(rand.Uint64N(keys)))
				return err
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
