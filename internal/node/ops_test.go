package node

import (
	"fmt"
	"testing"
	"time"

	"manifold/internal/telemetry"
)

func TestOpCounter(t *testing.T) {
	r := telemetry.New()
	c := &opCounter{metrics: r, protocol: "test", kind: func(string) (telemetry.DataType, telemetry.IOType) { return telemetry.Data, telemetry.Read }}
	names := make([]string, 8)
	for i := range names {
		names[i] = fmt.Sprint("OP", i)
		c.done(names[i], time.Millisecond, 1, false)
	}
	if n := testing.AllocsPerRun(100, func() { c.done(names[3], time.Millisecond, 1, false) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
	if c.op(names[0]) != c.op(names[0]) || c.op(names[0]) == c.op(names[1]) {
		t.Error("handles are mixed up")
	}
}
