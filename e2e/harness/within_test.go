package harness_test

import (
	"testing"
	"time"

	"manifold/e2e/harness"
)

func TestWithin(t *testing.T) {
	asked := 0
	if !harness.Within(time.Minute, func() bool { asked++; return asked == 3 }) || asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	if !harness.Within(0, func() bool { return true }) {
		t.Error("what is so already is not waited for")
	}
	if harness.Within(time.Millisecond, func() bool { return false }) {
		t.Error("the limit does not count")
	}
}
