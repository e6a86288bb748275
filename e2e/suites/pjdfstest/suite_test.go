package pjdfstest

import (
	_ "embed"
	"fmt"
	"os"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/peers"
)

//go:embed known_failures_ganesha.txt
var knownGanesha string

//go:embed known_failures.txt
var knownOurs string

// guestScript runs the test files $FILES on /mnt, four at a time.
const guestScript = `
mount -t nfs -o vers=3,proto=tcp,port=2049,mountport=%d,mountproto=tcp,nolock $SERVER:%s /mnt || exit 1
export SUITE=%s
cat >/tmp/one <<'ONE'
d=/mnt/pjd/$(echo $1 | tr / _); mkdir -p -m 755 $d && cd $d || exit
timeout 300 sh $SUITE/tests/$1 2>/dev/null | awk -v f=$1 -v OFS='\t' '
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

// The runner is proved on a server whose results are known. PJDFSTEST_FILES
// (shell patterns) chooses a part of the suite.
func TestGanesha(t *testing.T) {
	suite := os.Getenv("PJDFSTEST_DIR")
	if suite == "" {
		fmt.Println("NOT RUN: pjdfstest (set PJDFSTEST_DIR to a built tree)")
		t.Skip("NOT RUN")
	}
	files := os.Getenv("PJDFSTEST_FILES")
	if files == "" {
		files = "*/*.t"
	}
	g := peers.StartGanesha(t, t.TempDir())
	guest := harness.Guest{Net: g.Net, Realtime: true, Timeout: 20 * time.Minute}
	res := guest.Run(t, fmt.Sprintf(guestScript, 20048, g.Dir, suite, files))
	if res.Code != 0 {
		t.Errorf("script ended with %d: %s", res.Code, res.Stderr)
	}
	results, err := parse(res.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	known, err := parseKnown(knownGanesha)
	if err != nil {
		t.Fatal(err)
	}
	planned, passed := 0, 0
	for _, r := range results {
		planned += r.Planned
		passed += r.Passed
	}
	t.Logf("%d files, %d tests, %d passed", len(results), planned, passed)
	if len(results) == 0 {
		t.Error("no test ran")
	}
	for _, c := range judge(results, known) {
		t.Error(c)
	}
}
