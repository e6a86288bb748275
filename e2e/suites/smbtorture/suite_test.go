package smbtorture

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"manifold/e2e/harness"
)

//go:embed tests.tsv
var testsTSV string

//go:embed known_failures.txt
var knownList string

var (
	full   = flag.Bool("full", false, "run the slow tests, too")
	update = flag.Bool("update", false, "write docs/conformance/smbtorture.tsv and .md; needs -full")
	only   = flag.String("only", "", "run tests whose names begin with one of these, separated by commas")
)

// quick is what a test may take to be in the run without -full.
const quick = 7

// atOnce is how many processes run at once: most wait for timers.
const atOnce = 6

func TestJudge(t *testing.T) {
	const report = "time: 2026-01-01 10:00:00.000000Z\ntest: smb2.a.one\ntime: 2026-01-01 10:00:01.500000Z\nsuccess: smb2.a.one\n" +
		"test: smb2.a.two\nfailure: smb2.a.two [\nline one\nline\ttwo\n]\ntest: smb2.a.three\nskip: smb2.a.three [\nno\n]\ntest: smb2.a.hang\n"
	results, running := parseSubunit(strings.NewReader(report))
	want := []Result{{"smb2.a.one", "PASS", 1.5, ""}, {"smb2.a.two", "FAIL", 0, "line one | line two"}, {"smb2.a.three", "SKIP", 0, "no"}}
	if !slices.Equal(results, want) || running != "smb2.a.hang" {
		t.Fatalf("got %v, %q", results, running)
	}
	known, err := parseKnown("# list\nsmb2.a.one: reason: long\nsmb2.a.three: reason\n")
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]Result{}
	for _, r := range results {
		byName[r.Name] = r
	}
	cases := []Case{{Name: "smb2.a.one"}, {Name: "smb2.a.two"}, {Name: "smb2.a.three"}, {Name: "smb2.a.hang"}}
	got := judge(cases, byName, known)
	if w := []string{
		"smb2.a.hang did not run", "smb2.a.one is listed as a known failure but passes; take it off the list",
		"smb2.a.two: FAIL: line one | line two",
	}; !slices.Equal(got, w) {
		t.Fatalf("got %q", got)
	}
}

// Every name on the list is a test, and what Samba passes counts as known only
// with a reason.
func TestLists(t *testing.T) {
	cases, err := parseCases(testsTSV)
	if err != nil {
		t.Fatal(err)
	}
	known, err := parseKnown(knownList)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		delete(known, c.Name)
	}
	for name := range known {
		t.Errorf("%s is on the list of known failures but is no test", name)
	}
}

func TestManifold(t *testing.T) {
	harness.Require(t, "smbtorture")
	all, err := parseCases(testsTSV)
	if err != nil {
		t.Fatal(err)
	}
	known, err := parseKnown(knownList)
	if err != nil {
		t.Fatal(err)
	}
	cases := choose(all, known)
	begun := time.Now()
	results := runAll(t, cases)
	count := 0
	for _, r := range results {
		if r.Outcome == passed {
			count++
		}
	}
	t.Logf("%d of %d tests pass, in %v", count, len(cases), time.Since(begun).Round(time.Second))
	for _, c := range judge(cases, results, known) {
		t.Error(c)
	}
	if *update && *full && *only == "" {
		if err := writeReport(filepath.Join("..", "..", "..", "docs", "conformance"), cases, results, known); err != nil {
			t.Error(err)
		}
	}
}

// choose picks the tests of this run: what only Windows' server can pass is no
// part of any, and what depends on time none of the quick one.
func choose(all []Case, known map[string]string) []Case {
	return slices.DeleteFunc(slices.Clone(all), func(c Case) bool {
		switch {
		case c.Class == "windows-variant":
			return true
		case *only != "":
			return !slices.ContainsFunc(strings.Split(*only, ","), func(p string) bool { return strings.HasPrefix(c.Name, p) })
		}
		return !*full && (c.Seconds > quick || strings.HasPrefix(known[c.Name], sometimes))
	})
}

func runAll(t *testing.T, cases []Case) map[string]Result {
	c, err := newClient(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	results := map[string]Result{}
	work := make(chan []Case)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for b := range work {
				suite := b[0].suite()
				s, err := startServer(t.Context(), t.TempDir(), suite, b[0].variant())
				if err != nil {
					t.Error(err)
					continue
				}
				got := c.run(t.Context(), s, suite, b)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, r := range got {
					results[r.Name] = r
				}
				mu.Unlock()
			}
		})
	}
	for _, b := range batches(cases, 25) {
		work <- b
	}
	close(work)
	wg.Wait()
	return results
}

func writeReport(dir string, cases []Case, results map[string]Result, known map[string]string) error {
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=10").Output()
	if err != nil {
		return err
	}
	version, err := exec.Command("smbtorture", "--version").Output()
	if err != nil {
		return err
	}
	type count struct{ tests, ours, samba int }
	classes := map[string]*count{}
	var order []string
	var tsv, list strings.Builder
	fmt.Fprintln(&tsv, "test\tclass\tmanifold\tsamba_4.17.12\tseconds")
	for _, c := range cases {
		r := results[c.Name]
		k := classes[c.Class]
		if k == nil {
			k = &count{}
			classes[c.Class] = k
			order = append(order, c.Class)
		}
		k.tests++
		if r.Outcome == passed {
			k.ours++
		} else {
			fmt.Fprintf(&list, "- %s: %s\n", c.Name, known[c.Name])
		}
		if c.Samba == passed {
			k.samba++
		}
		fmt.Fprintf(&tsv, "%s\t%s\t%s\t%s\t%.1f\n", c.Name, c.Class, r.Outcome, c.Samba, r.Seconds)
	}
	var md strings.Builder
	fmt.Fprintf(&md, `# smbtorture

Samba's suite for SMB 2 and 3 (%s, Debian 12), run by e2e/suites/smbtorture as
a user without privileges, but for three tests that give files away. The server has its own file system on a key store in
memory; short names and the private controls that some tests want are on, which
the product does not have. Per test: [smbtorture.tsv](smbtorture.tsv).

- date: %s
- commit: %s

| class | tests | pass | Samba's smbd passes |
|---|---|---|---|
`, strings.SplitN(string(version), "\n", 2)[0], time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(commit)))
	for _, o := range order {
		fmt.Fprintf(&md, "| %s | %d | %d | %d |\n", o, classes[o].tests, classes[o].ours, classes[o].samba)
	}
	fmt.Fprintf(&md, `
core is what any server may be asked for, samba-fsctl uses Samba's private
controls, option needs a server or share option, srvsvc are the calls of that
pipe that Samba passes, fs-feature runs where a file system says that it can
what Samba on ext4 cannot.

Not passing:

%s`, list.String())
	if err := os.WriteFile(filepath.Join(dir, "smbtorture.tsv"), []byte(tsv.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "smbtorture.md"), []byte(md.String()), 0o644)
}
