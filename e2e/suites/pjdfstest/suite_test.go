package pjdfstest

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/peers"
	"manifold/e2e/suites"
)

//go:embed known_failures_ganesha.txt
var knownGanesha string

//go:embed known_failures.txt
var knownOurs string

// guestScript runs the test files $FILES on /mnt, four at a time.
const guestScript = `
mount -t nfs -o vers=3,proto=tcp,%s /mnt || exit 1
export SUITE=%s
cat >/tmp/one <<'ONE'
d=/mnt/pjd/$(echo $1 | tr / _); mkdir -p -m 755 $d && cd $d || exit
timeout 900 sh $SUITE/tests/$1 2>/dev/null | awk -v f=$1 -v OFS='\t' '
  /^1\.\.[0-9]+/ { sub(/^1\.\./, ""); plan = $1 }
  /^ok / || /^not ok .*# TODO/ { pass++; next }
  /^not ok / { bad = bad " " ($3 + 0) }
  END { sub(/^ /, "", bad); print f, plan + 0, pass + 0, bad }'
cd /; rm -rf $d
ONE
umask 022; mkdir -m 755 /mnt/pjd; cd $SUITE/tests
ls %s | xargs -P 4 -n 1 sh /tmp/one
`

func TestJudge(t *testing.T) {
	results, err := parse("b/1.t\t3\t2\t2\na/0.t\t2\t2\t\nc/9.t\t5\t4\t\n")
	if err != nil {
		t.Fatal(err)
	}
	known, err := parseKnown("# list\na/0 1: reason; keep\nz/0 1: did not run; keep\n")
	if err != nil {
		t.Fatal(err)
	}
	got := judge(results, known)
	want := []string{"a/0 1 is listed as a known failure but passes; take it off the list", "b/1 2 failed", "c/9: planned 5 tests, saw 4"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %q\nwant %q", got, want)
	}
	if known, err := parseKnown(knownOurs); err != nil || len(known) != 2 {
		t.Fatalf("%v %v", known, err)
	}
}

var update = flag.Bool("update", false, "write docs/conformance/pjdfstest.tsv and .md from the run on our server")

// suiteDir is the tree, built.
func suiteDir(t *testing.T) string {
	t.Helper()
	dir := suites.Tree(t, "pjdfstest", "PJDFSTEST_DIR")
	if _, err := exec.LookPath(filepath.Join(dir, "pjdfstest")); err != nil {
		t.Fatalf("the tree is not built: %v", err)
	}
	return dir
}

// runSuite runs the files that PJDFSTEST_FILES (shell patterns) chooses.
func runSuite(t *testing.T, net *netns.Namespace, mount, knownList string) []FileResult {
	t.Helper()
	suite := suiteDir(t)
	files := os.Getenv("PJDFSTEST_FILES")
	if files == "" {
		files = "*/*.t"
	}
	guest := harness.Guest{Net: net, Realtime: true, Timeout: 40 * time.Minute}
	res := guest.Run(t, fmt.Sprintf(guestScript, mount, suite, files))
	if res.Code != 0 {
		t.Errorf("script ended with %d: %s", res.Code, res.Stderr)
	}
	results, err := parse(res.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	known, err := parseKnown(knownList)
	if err != nil {
		t.Fatal(err)
	}
	planned, passed := sum(results)
	t.Logf("%d files, %d tests, %d passed", len(results), planned, passed)
	if len(results) == 0 {
		t.Error("no test ran")
	}
	for _, c := range judge(results, known) {
		t.Error(c)
	}
	return results
}

// The runner is proved on a server whose results are known.
func TestGanesha(t *testing.T) {
	suiteDir(t)
	g := peers.StartGanesha(t, t.TempDir())
	runSuite(t, g.Net, "port=2049,mountport=20048,mountproto=tcp,nolock $SERVER:"+g.Dir, knownGanesha)
}

func TestManifold(t *testing.T) {
	suiteDir(t)
	s := harness.StartServer(t)
	results := runSuite(t, s.Net, "nolock $SERVER:/", knownOurs)
	if *update && os.Getenv("PJDFSTEST_FILES") == "" {
		if err := writeReport(filepath.Join("..", "..", "..", "docs", "conformance"), results); err != nil {
			t.Error(err)
		}
	}
}

func writeReport(dir string, results []FileResult) error {
	commit, err := suites.Commit()
	if err != nil {
		return err
	}
	var tsv, md strings.Builder
	planned, passed := sum(results)
	fmt.Fprintln(&tsv, "file\tplanned\tpassed\tfailed")
	fmt.Fprintf(&md, `# pjdfstest over NFSv3

POSIX semantics through the Linux kernel's NFSv3 client (user-mode Linux), run
by e2e/suites/pjdfstest. Per file: [pjdfstest.tsv](pjdfstest.tsv).

- date: %s
- commit: %s
- %d of %d tests pass (NFS-Ganesha 4.3 over ext4, same runner: 8793 of 8798)

Failing:
`, time.Now().UTC().Format(time.DateOnly), commit, passed, planned)
	for _, r := range results {
		failed := strings.Trim(fmt.Sprint(r.Failed), "[]")
		fmt.Fprintf(&tsv, "%s\t%d\t%d\t%s\n", r.File, r.Planned, r.Passed, failed)
		if failed != "" {
			fmt.Fprintf(&md, "\n- %s: %s", r.File, failed)
		}
	}
	fmt.Fprintf(&md, "\n\nReasons are in e2e/suites/pjdfstest/known_failures.txt.\n")
	if err := os.WriteFile(filepath.Join(dir, "pjdfstest.tsv"), []byte(tsv.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "pjdfstest.md"), []byte(md.String()), 0o644)
}
