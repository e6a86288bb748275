// Package suites is what the runners of other projects' suites have in common.
//
// Invariants: a suite is not part of the repository, and without it nothing
// counts as passed. The package must not know any suite.
package suites

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Tree answers the tree of a suite, which the environment variable names. Where
// it is not set the test does not run, and says so. Whoever sets it wants the
// suite to run: a tree or a program that is not there is a failure then, and so
// is all that the harness misses later, as in CI.
func Tree(tb testing.TB, suite, variable string, programs ...string) string {
	tb.Helper()
	tree, err := find(variable, programs...)
	switch {
	case err != nil:
		tb.Fatalf("%s cannot run: %v", suite, err)
	case tree == "":
		fmt.Fprintf(os.Stdout, "NOT RUN: %s (set %s to the project's tree)\n", suite, variable)
		tb.Skip("NOT RUN")
	}
	tb.Setenv("CI", "true")
	return tree
}

// find answers "" only where the variable is not set.
func find(variable string, programs ...string) (string, error) {
	tree := os.Getenv(variable)
	if tree == "" {
		return "", nil
	}
	if st, err := os.Stat(tree); err != nil || !st.IsDir() {
		return "", fmt.Errorf("%s=%s is no directory", variable, tree)
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return "", err
		}
	}
	return tree, nil
}

// ParseKnown reads a list of known failures: "test: reason; decision" lines.
func ParseKnown(list string) (map[string]string, error) {
	known := map[string]string{}
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		test, reason, ok := strings.Cut(line, ": ")
		if !ok || reason == "" {
			return nil, fmt.Errorf("want \"test: reason\": %q", line)
		}
		known[test] = reason
	}
	return known, nil
}

// Commit names the commit that a report is about.
func Commit() (string, error) {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=10").Output()
	return strings.TrimSpace(string(out)), err
}
