package memfs_test

import (
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/fstest"
	"manifold/internal/fs/memfs"
)

func TestSuite(t *testing.T) {
	fstest.Run(t, func(*testing.T) fs.FS { return memfs.New(memfs.Options{}) })
}
