package memkv

import (
	"testing"

	"manifold/internal/kv"
	"manifold/internal/kv/kvtest"
)

func TestSuite(t *testing.T) {
	kvtest.Run(t, func(*testing.T) kv.Engine { return New() })
}
