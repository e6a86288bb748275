package meta

import (
	"math/rand/v2"
	"slices"
	"testing"

	"manifold/internal/fs"
)

// fragmented is a chunk map of n fragments.
func fragmented(n int, first uint64) *Chunk {
	c := &Chunk{Birth: 1}
	for i := range uint32(n) {
		c.Frags = append(c.Frags, Frag{Off: 4096 * i, Len: 4096, Extent: first + uint64(i)})
	}
	return c
}

// TestChunkCache reads records of few slots in any order: what comes is always
// what the record says, and appending to it changes nobody else's.
func TestChunkCache(t *testing.T) {
	var c chunkCache
	rng := rand.New(rand.NewPCG(1, 2))
	var records [][]byte
	var want []*Chunk
	for i := range 20 {
		want = append(want, fragmented(1+rng.IntN(200), uint64(1000*i+1)))
		records = append(records, want[i].encode())
	}
	for range 2000 {
		i := rng.IntN(len(records))
		got, err := c.decode(fs.StreamID(1), uint64(i%3), records[i])
		if err != nil {
			t.Fatal(err)
		}
		if got.Birth != want[i].Birth || !slices.Equal(got.Frags, want[i].Frags) {
			t.Fatalf("record %d was read as another", i)
		}
		got.Frags = append(got.Frags, Frag{Off: chunkBytes - 1, Len: 1, Extent: rng.Uint64()})
	}
}

// TestCachedChunkAllocates asserts that reading a map that was read before does
// not decode it: one allocation, of the chunk itself.
func TestCachedChunkAllocates(t *testing.T) {
	var c chunkCache
	v := fragmented(1000, 1).encode()
	n := testing.AllocsPerRun(100, func() {
		if _, err := c.decode(1, 0, v); err != nil {
			t.Fatal(err)
		}
	})
	if n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// TestMissing compares it with the definition.
func TestMissing(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		pick := func() (f []Frag) {
			for i := range uint32(rng.IntN(30)) {
				if rng.IntN(3) > 0 {
					f = append(f, Frag{Off: 10 * i, Len: 10, Extent: 1 + rng.Uint64N(12)})
				}
			}
			return f
		}
		old := pick()
		now := slices.Clone(old)
		if rng.IntN(2) == 0 {
			now = pick()
		} else if n := len(now); n > 0 {
			now = slices.Delete(now, rng.IntN(n), n)
		}
		var want []uint64
		for _, f := range old {
			if !slices.ContainsFunc(now, func(g Frag) bool { return g.Extent == f.Extent }) {
				want = append(want, f.Extent)
			}
		}
		slices.Sort(want)
		got := missing(old, now)
		slices.Sort(got)
		if !slices.Equal(got, slices.Compact(want)) {
			t.Fatalf("of %v, %v lacks %v, not %v", old, now, want, got)
		}
	}
}
