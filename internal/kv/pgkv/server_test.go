package pgkv

import (
	"fmt"
	"testing"

	"manifold/internal/kv/pgkv/pgtest"
)

// schemas gives every engine a schema of its own on one server.
type schemas struct {
	s    *pgtest.Server
	n    int
	last string
}

func (x *schemas) open(t *testing.T, o Options) *Engine {
	t.Helper()
	x.n++
	x.last = x.s.Schema(t, fmt.Sprintf("s%d", x.n))
	o.DSN = x.last
	e, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// dsn names the schema opened last.
func (x *schemas) dsn() string { return x.last }
