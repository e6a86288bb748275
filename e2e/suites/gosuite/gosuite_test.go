package gosuite

import (
	"slices"
	"testing"

	"manifold/e2e/suites"
)

func TestJudge(t *testing.T) {
	out := "=== RUN   TestA\n--- PASS: TestA (0.01s)\n--- FAIL: TestB (0.01s)\n    --- PASS: TestE (0.01s)\n--- FAIL: TestC (1s)\n--- PASS: TestD (2s)\n--- SKIP: TestF (0.00s)\n"
	known, err := suites.ParseKnown("# list\n\nTestC: reason; keep\nTestD: reason; keep\nTestG: gone; keep\n")
	if err != nil {
		t.Fatal(err)
	}
	got := judge(parse([]string{"TestA", "TestB", "TestC", "TestD", "TestE", "TestF"}, []byte(out)), known)
	want := []string{
		"TestB: FAIL", "TestD is listed as a known failure but passes; take it off the list", "TestE did not run",
		"TestF: SKIP", "TestG is listed as a known failure, but there is no such test",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
