package netns_test

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

func TestRun(t *testing.T) {
	harness.Require(t, "ip")
	n := netns.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := n.Run(ctx, exec.Command("true")); err != nil {
		t.Error(err)
	}
	if err := n.Run(ctx, exec.Command("false")); err == nil || !netns.Ran(err) {
		t.Errorf("a command that fails: %v", err)
	}
	if err := n.Run(ctx, exec.Command("no-such-program")); netns.Ran(err) {
		t.Errorf("a command that does not start: %v", err)
	}
	if err := n.Run(ctx, exec.Command("sh", "-c", "sleep 600 & sleep 600")); netns.Ran(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a command that hangs: %v", err)
	}
}
