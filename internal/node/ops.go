package node

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/telemetry"
)

// opCounter counts the operations of a protocol in the metrics. Names are those
// of the protocol's own table, not of a peer. Counting one takes no lock and
// allocates nothing, but for the first of a name.
type opCounter struct {
	metrics  *telemetry.Registry
	protocol string
	kind     func(name string) (telemetry.DataType, telemetry.IOType)

	ops atomic.Pointer[map[string]*telemetry.Op] // replaced, never changed
	mu  sync.Mutex                               // of who replaces it
}

func (c *opCounter) done(name string, took time.Duration, bytes int, failed bool) {
	c.op(name).Done(took, bytes, failed)
}

func (c *opCounter) op(name string) *telemetry.Op {
	if m := c.ops.Load(); m != nil && (*m)[name] != nil {
		return (*m)[name]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[string]*telemetry.Op{}
	if old := c.ops.Load(); old != nil {
		m = maps.Clone(*old)
	}
	if m[name] == nil {
		d, io := c.kind(name)
		m[name] = c.metrics.Op(c.protocol, name, d, io)
		c.ops.Store(&m)
	}
	return m[name]
}
