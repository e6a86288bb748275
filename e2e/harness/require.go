package harness

import (
	"os"
	"os/exec"
	"testing"
)

// Require skips on a laptop without root or a program, and fails in CI.
func Require(tb testing.TB, programs ...string) {
	tb.Helper()
	missing := ""
	if os.Getuid() != 0 {
		missing = "root"
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = p
		}
	}
	switch {
	case missing == "":
	case os.Getenv("CI") != "":
		tb.Fatalf("%s is missing: make setup, as root", missing)
	default:
		tb.Skipf("%s is missing: make setup, as root", missing)
	}
}
