package core_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/fstest"
	"manifold/internal/kv"
	"manifold/internal/kv/pgkv"
	"manifold/internal/kv/pgkv/pgtest"
)

// slow keeps a suite out of the race detector's run, which has it on memkv.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("slow under the race detector")
	}
}

// TestSuiteOnPebble runs the suite on the engine of one node.
func TestSuiteOnPebble(t *testing.T) {
	slow(t)
	fstest.Run(t, func(t *testing.T) fs.FS { return newFS(t, newPebble(t)) })
}

// TestSuiteOnPostgres runs the suite on the engine of a cluster.
func TestSuiteOnPostgres(t *testing.T) {
	slow(t)
	s := pgtest.Start(t)
	var n atomic.Int32
	fstest.Run(t, func(t *testing.T) fs.FS {
		dsn := s.Schema(t, fmt.Sprintf("s%d", n.Add(1)))
		var e kv.Engine
		e, err := pgkv.Open(t.Context(), pgkv.Options{DSN: dsn, MaxConns: 8})
		if err != nil {
			t.Fatal(err)
		}
		return newFS(t, e)
	})
}
