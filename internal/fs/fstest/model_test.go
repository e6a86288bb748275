package fstest

import (
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
)

func TestModel_memfs(t *testing.T) {
	for seed := range uint64(10) {
		Model(t, func(*testing.T) fs.FS { return memfs.New(memfs.Options{}) }, seed, 400)
	}
}
