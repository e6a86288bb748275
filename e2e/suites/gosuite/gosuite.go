// Package gosuite runs test programs of others, written in Go, against a
// server of ours and compares the outcome with a list of known failures.
//
// Invariants: the suite is not part of the repository and runs unmodified;
// without it nothing counts as passed; an unlisted failure is red, and so are a
// listed pass and a test that did not run. The package must not know what the
// suite tests.
package gosuite

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/suites"
)

// Suite is one test package of a public project.
type Suite struct {
	// Name of the suite, and of its file in docs/conformance.
	Name string
	// Title and About open that file.
	Title, About string
	// TreeEnv is the environment variable that names the project's tree.
	TreeEnv string
	// Package in the tree.
	Package string
	// Programs that the suite runs.
	Programs []string
	// Pattern of the tests that count, as for go test -run; "" is all.
	Pattern string
	// Env, more of the environment of the suite.
	Env []string
	// Known is the list of known failures: "test: reason; decision" lines.
	Known string
	// Timeout of the whole run; 0 is 10 minutes.
	Timeout time.Duration
}

// Result is the outcome of one top-level test.
type Result struct {
	Test    string
	Outcome string // PASS, FAIL or SKIP; "" if it did not run
}

var outcomeLine = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+) \(`)

// parse finds the outcomes of listed tests in the output of a verbose run.
func parse(listed []string, out []byte) []Result {
	outcomes := map[string]string{}
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		if m := outcomeLine.FindStringSubmatch(sc.Text()); m != nil {
			outcomes[m[2]] = m[1]
		}
	}
	var results []Result
	for _, name := range listed {
		results = append(results, Result{name, outcomes[name]})
	}
	return results
}

// judge lists what differs from the known failures.
func judge(results []Result, known map[string]string) (complaints []string) {
	for _, r := range results {
		_, listed := known[r.Test]
		switch {
		case r.Outcome == "PASS" && listed:
			complaints = append(complaints, r.Test+" is listed as a known failure but passes; take it off the list")
		case r.Outcome == "PASS" || listed:
		case r.Outcome == "":
			complaints = append(complaints, r.Test+" did not run")
		default:
			complaints = append(complaints, r.Test+": "+r.Outcome)
		}
	}
	for test := range known {
		if !slices.ContainsFunc(results, func(r Result) bool { return r.Test == test }) {
			complaints = append(complaints, test+" is listed as a known failure, but there is no such test")
		}
	}
	slices.Sort(complaints)
	return complaints
}

// Tree is that of the suite, as [suites.Tree] has it.
func (s Suite) Tree(t *testing.T) string {
	t.Helper()
	return suites.Tree(t, s.Name, s.TreeEnv, append(s.Programs, "go")...)
}

// Run builds the suite, runs it in the server's namespace and judges it. With
// update it writes docs/conformance.
func Run(t *testing.T, s *harness.Server, suite Suite, update bool) {
	t.Helper()
	known, err := suites.ParseKnown(suite.Known)
	if err != nil {
		t.Fatal(err)
	}
	tree := suite.Tree(t)
	exe := filepath.Join(t.TempDir(), "suite.test")
	build := exec.Command("go", "test", "-c", "-o", exe, suite.Package)
	build.Dir = tree
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the suite does not build: %v\n%s", err, out)
	}
	dir := filepath.Join(tree, suite.Package)
	pattern := suite.Pattern
	if pattern == "" {
		pattern = "."
	}
	list := exec.Command(exe, "-test.list", pattern)
	list.Dir = dir
	names, err := list.Output()
	if err != nil {
		t.Fatalf("the suite does not list its tests: %v", err)
	}
	timeout := suite.Timeout
	if timeout == 0 {
		timeout = 10 * time.Minute
	}
	var out bytes.Buffer
	cmd := exec.Command(exe, "-test.v", "-test.run", pattern, "-test.timeout", timeout.String())
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = append(append(os.Environ(), "HOME="+t.TempDir()), suite.Env...)
	if err := s.Net.Run(t.Context(), cmd); !netns.Ran(err) { // it fails when a test does; the outcomes say which
		t.Fatal(err)
	}
	results := parse(strings.Fields(string(names)), out.Bytes())
	passed := 0
	for _, r := range results {
		if r.Outcome == "PASS" {
			passed++
		}
	}
	t.Logf("%d of %d tests passed", passed, len(results))
	if passed == 0 {
		t.Error("no test passed")
	}
	complaints := judge(results, known)
	for _, c := range complaints {
		t.Error(c)
	}
	if len(complaints) > 0 {
		t.Logf("the suite said:\n%s", out.String())
	}
	if update {
		if err := suite.write(filepath.Join("..", "..", "..", "docs", "conformance"), results, known, passed); err != nil {
			t.Error(err)
		}
	}
}

func (s Suite) write(dir string, results []Result, known map[string]string, passed int) error {
	commit, err := suites.Commit()
	if err != nil {
		return err
	}
	var md strings.Builder
	fmt.Fprintf(&md, "# %s\n\n%s\nRun unmodified by e2e/suites/%s.\n\n- date: %s\n- commit: %s\n- %d of %d tests pass\n\n| Test | Outcome | Reason |\n|---|---|---|\n",
		s.Title, s.About, s.Name, time.Now().UTC().Format(time.DateOnly), commit, passed, len(results))
	for _, r := range results {
		outcome := r.Outcome
		if outcome == "" {
			outcome = "did not run"
		}
		reason := ""
		if outcome != "PASS" {
			reason = known[r.Test]
		}
		fmt.Fprintf(&md, "| %s | %s | %s |\n", r.Test, strings.ToLower(outcome), reason)
	}
	return os.WriteFile(filepath.Join(dir, s.Name+".md"), []byte(md.String()), 0o644)
}
