package fstest

import (
	"strconv"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/errfs"
	"manifold/internal/fs/memfs"
)

func TestModel_memfs(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			Model(t, func(*testing.T) fs.FS { return memfs.New(memfs.Options{}) }, seed, 200)
		})
	}
}

// A model that finds nothing proves nothing: each of these must be noticed.
func TestModel_notices(t *testing.T) {
	for _, bug := range errfs.Bugs() {
		t.Run(bug.Name, func(t *testing.T) {
			t.Parallel()
			const seeds = 24
			for seed := range uint64(seeds) {
				if err := Compare(t.Context(), bug.Plant(memfs.New(memfs.Options{})), seed, 400); err != nil {
					t.Logf("seed %d: %.300v", seed, err)
					return
				}
			}
			t.Fatalf("not noticed with %d seeds", seeds)
		})
	}
}
