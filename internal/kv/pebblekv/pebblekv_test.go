package pebblekv

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"manifold/internal/kv"
	"manifold/internal/kv/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func TestAges(t *testing.T) {
	kvtest.RunAges(t, func(t *testing.T, now func() time.Time) kv.Engine {
		return open(t, Options{FS: vfs.NewMem(), Now: now})
	})
}
