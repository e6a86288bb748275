package pebblekv

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/kv"
	"manifold/internal/kv/kvtest"
)

func open(t testing.TB, o Options) *Engine {
	t.Helper()
	if o.Dir == "" {
		o.Dir = "store"
	}
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSuite(t *testing.T) {
	kvtest.Run(t, func(t *testing.T) kv.Engine { return open(t, Options{FS: vfs.NewMem()}) })
}
