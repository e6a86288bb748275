package core_test

import (
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/fstest"
	"manifold/internal/kv/memkv"
)

func TestSuite(t *testing.T) {
	fstest.Run(t, func(t *testing.T) fs.FS { return newFS(t, memkv.New()) })
}
