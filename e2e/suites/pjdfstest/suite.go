// Package pjdfstest runs the public POSIX suite of that name through the
// kernel NFS client and compares it with the list of known failures.
//
// Invariants: the suite is not part of the repository; without it nothing
// counts as passed; an unlisted failure is red and so is a listed pass. The
// package must not know how the suite is built.
package pjdfstest

import (
	"bufio"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"manifold/e2e/suites"
)

// FileResult is the outcome of one test file.
type FileResult struct {
	File            string
	Planned, Passed int
	Failed          []int
}

// parse reads the guest's lines: file, planned, passed, failed numbers.
func parse(out string) (results []FileResult, err error) {
	sc := bufio.NewScanner(strings.NewReader(out))
	for sc.Scan() {
		f := strings.Split(sc.Text(), "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("not a result: %q", sc.Text())
		}
		r := FileResult{File: strings.TrimSuffix(f[0], ".t")}
		if r.Planned, err = strconv.Atoi(f[1]); err != nil {
			return nil, err
		}
		if r.Passed, err = strconv.Atoi(f[2]); err != nil {
			return nil, err
		}
		for _, n := range strings.Fields(f[3]) {
			i, err := strconv.Atoi(n)
			if err != nil {
				return nil, err
			}
			r.Failed = append(r.Failed, i)
		}
		results = append(results, r)
	}
	slices.SortFunc(results, func(a, b FileResult) int { return strings.Compare(a.File, b.File) })
	return results, sc.Err()
}

// parseKnown reads a list of known failures by "file number".
func parseKnown(list string) (map[string]string, error) {
	known, err := suites.ParseKnown(list)
	for key := range known {
		if len(strings.Fields(key)) != 2 {
			return nil, fmt.Errorf("want \"file test: reason\": %q", key)
		}
	}
	return known, err
}

// judge lists what differs from the known failures among the files that ran.
func judge(results []FileResult, known map[string]string) (complaints []string) {
	ran := map[string]bool{}
	failed := map[string]bool{}
	for _, r := range results {
		ran[r.File] = true
		for _, n := range r.Failed {
			key := fmt.Sprintf("%s %d", r.File, n)
			failed[key] = true
			if known[key] == "" {
				complaints = append(complaints, key+" failed")
			}
		}
		if r.Planned == 0 || r.Passed+len(r.Failed) != r.Planned {
			complaints = append(complaints, fmt.Sprintf("%s: planned %d tests, saw %d", r.File, r.Planned, r.Passed+len(r.Failed)))
		}
	}
	for key := range known {
		if file, _, _ := strings.Cut(key, " "); ran[file] && !failed[key] {
			complaints = append(complaints, key+" is listed as a known failure but passes; take it off the list")
		}
	}
	slices.Sort(complaints)
	return complaints
}

func sum(results []FileResult) (planned, passed int) {
	for _, r := range results {
		planned += r.Planned
		passed += r.Passed
	}
	return planned, passed
}
