package s3tests

import (
	"bytes"
	"context"
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
	"manifold/e2e/suites"
)

//go:embed aimed.tsv
var aimedList string

//go:embed known_failures.txt
var knownList string

//go:embed plugin.py
var plugin []byte

var update = flag.Bool("update", false, "write docs/conformance/s3tests.tsv and .md from the run")

func TestJudge(t *testing.T) {
	aims := []aim{{"f::a", "g", "first"}, {"f::b", "g", "first"}, {"f::c", "g", "final"}, {"f::d", "g", "final"}}
	got := judge(aims, map[string]string{"f::a": "pass", "f::b": "pass", "f::c": "fail"}, map[string]string{"f::b": "r", "f::d": "r", "f::e": "r"})
	want := []string{"f::b is listed as a known failure but passes; take it off the list", "f::c did not pass", "f::e is listed as a known failure but is not aimed at"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	aims, err := parseAims(aimedList)
	if err != nil || len(aims) != 368 {
		t.Errorf("%d aims, %v", len(aims), err)
	}
	known, err := suites.ParseKnown(knownList)
	if err != nil || len(known) > 48 {
		t.Errorf("%d known failures, %v", len(known), err)
	}
	for _, a := range aims {
		if _, ok := known[a.name]; ok && a.target == "first" {
			t.Errorf("%s is of the first release and must pass", a.name)
		}
	}
}

// config is what the suite wants to know of the server and its users.
func config(keys map[string][2]string, ids map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[DEFAULT]\nhost = %s\nport = 9000\nis_secure = False\nssl_verify = False\n[fixtures]\nbucket prefix = s3t-{random}-\n", netns.Server)
	section := func(title, user, more string) {
		fmt.Fprintf(&b, "[%s]\naccess_key = %s\nsecret_key = %s\nuser_id = %s\ndisplay_name = %s\nemail = %s@example.com\n%s", title, keys[user][0], keys[user][1], ids[user], user, user, more)
	}
	section("s3 main", "main", "api_name =\n")
	section("s3 alt", "alt", "")
	section("s3 tenant", "alt", "tenant = none\n")
	section("iam", "main", "")
	section("iam root", "main", "")
	section("iam alt root", "alt", "")
	return b.String()
}

// S3TESTS_PYTHON names a Python with pytest, boto3, munch, isodate, pytz,
// requests, lxml and httplib2; otherwise Debian's.
func TestManifold(t *testing.T) {
	python := os.Getenv("S3TESTS_PYTHON")
	if python == "" {
		python = "/usr/bin/python3"
	}
	tree := suites.Tree(t, "s3-tests", "S3TESTS_DIR", python)
	aims, err := parseAims(aimedList)
	if err != nil {
		t.Fatal(err)
	}
	known, err := suites.ParseKnown(knownList)
	if err != nil {
		t.Fatal(err)
	}
	s := harness.StartServer(t)
	s.MustCLI(t, "login", "--password", harness.Password)
	s.MustCLI(t, "fs", "mkdir", "-p", "/buckets")
	s.MustCLI(t, "fs", "chmod", "1777", "/buckets")
	s.MustCLI(t, "s3", "modify", "--secure=false", "--base-path", "/buckets")
	s.MustCLI(t, "s3", "enable")
	r := s.Login(t)
	keys, ids := map[string][2]string{}, map[string]string{}
	for _, user := range []string{"main", "alt"} {
		var id struct {
			ID string `json:"id"`
		}
		r.Must(t, "POST", "/v1/groups/", map[string]any{"name": user + "-group"}, &id)
		r.Must(t, "POST", "/v1/users/", map[string]any{"name": user, "primary_group": id.ID, "password": harness.Password}, &id)
		ids[user] = id.ID
		f := strings.Fields(s.MustCLI(t, "s3", "access-key", "create", user))
		keys[user] = [2]string{f[0], f[1]}
	}

	dir := t.TempDir()
	var names strings.Builder
	for _, a := range aims {
		fmt.Fprintln(&names, a.name)
	}
	for name, b := range map[string][]byte{"s3tests.conf": []byte(config(keys, ids)), "s3tests_run_plugin.py": plugin, "tests": []byte(names.String())} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(python, "-m", "pytest", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "s3tests_run_plugin", "-W", "ignore",
		"s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py")
	cmd.Dir = tree
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE=1", "AWS_EC2_METADATA_DISABLED=true",
		"S3TEST_CONF=" + filepath.Join(dir, "s3tests.conf"), "RUN_TESTS=" + filepath.Join(dir, "tests"), "RUN_RESULTS=" + filepath.Join(dir, "results")}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	if err := s.Net.Run(ctx, cmd); !netns.Ran(err) { // it fails when a test does; the results say which
		t.Fatalf("%v\n%s", err, &out)
	}
	table, err := os.ReadFile(filepath.Join(dir, "results"))
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	results, err := parseResults(string(table))
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, x := range results {
		if x == "pass" {
			passed++
		}
	}
	t.Logf("%d of %d pass", passed, len(aims))
	for _, c := range judge(aims, results, known) {
		t.Error(c)
	}
	if t.Failed() {
		t.Logf("%s", &out)
	}
	s.Stop(t)
	s.Fsck(t)
	if *update {
		if err := writeReport(filepath.Join("..", "..", "..", "docs", "conformance"), aims, results, known); err != nil {
			t.Error(err)
		}
	}
}

func writeReport(dir string, aims []aim, results, known map[string]string) error {
	commit, err := suites.Commit()
	if err != nil {
		return err
	}
	var tsv, missed strings.Builder
	count := map[string][2]int{} // by target: aimed, passed
	fmt.Fprintln(&tsv, "test\tgroup\ttarget\tresult")
	for _, a := range aims {
		result := results[a.name]
		if result == "" {
			result = "not run"
		}
		n := count[a.target]
		n[0]++
		if result == "pass" {
			n[1]++
		} else {
			fmt.Fprintf(&missed, "- %s: %s\n", a.name, known[a.name])
		}
		count[a.target] = n
		fmt.Fprintf(&tsv, "%s\t%s\t%s\t%s\n", a.name, a.group, a.target, result)
	}
	first, final := count["first"], count["final"]
	md := fmt.Sprintf(`# Ceph's s3-tests

The public suite over plain HTTP, run by e2e/suites/s3tests. Only tests that are
aimed at run; the rest is about Ceph, or about what is refused (encryption under
keys, grants, old signatures). Per test: [s3tests.tsv](s3tests.tsv).

- date: %s
- commit: %s
- %d of %d tests pass: %d of %d of the first release, %d of %d beyond

Missed:

%s`, time.Now().UTC().Format(time.DateOnly), commit, first[1]+final[1], len(aims), first[1], first[0], final[1], final[0], &missed)
	if err := os.WriteFile(filepath.Join(dir, "s3tests.tsv"), []byte(tsv.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "s3tests.md"), []byte(md), 0o644)
}
