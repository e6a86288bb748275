// Package s3tests runs the public S3 suite of Ceph against the S3 port and
// compares it with the list of known failures.
//
// Invariants: the suite is not part of the repository; without it nothing
// counts as passed; an unlisted failure is red and so is a listed pass. Only
// tests that are aimed at run: the rest is about Ceph or what we refuse. The
// package must not know how the suite works inside.
package s3tests

import (
	"fmt"
	"slices"
	"strings"
)

// aim is a test that is to pass.
type aim struct{ name, group, target string }

// parseAims reads lines of name, group and target.
func parseAims(list string) ([]aim, error) {
	var out []aim
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 3 || !strings.Contains(f[0], "::") {
			return nil, fmt.Errorf("want name, group and target: %q", line)
		}
		out = append(out, aim{f[0], f[1], f[2]})
	}
	return out, nil
}

// parseResults reads lines of name and result.
func parseResults(table string) (map[string]string, error) {
	out := map[string]string{}
	for line := range strings.Lines(table) {
		name, result, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			return nil, fmt.Errorf("not a result: %q", line)
		}
		out[name] = result
	}
	return out, nil
}

// judge lists what differs from the known failures. A test that did not run
// has not passed.
func judge(aims []aim, results, known map[string]string) (complaints []string) {
	aimed := map[string]bool{}
	for _, a := range aims {
		aimed[a.name] = true
		passed := results[a.name] == "pass"
		switch _, listed := known[a.name]; {
		case passed && listed:
			complaints = append(complaints, a.name+" is listed as a known failure but passes; take it off the list")
		case !passed && !listed:
			complaints = append(complaints, a.name+" did not pass")
		}
	}
	for name := range known {
		if !aimed[name] {
			complaints = append(complaints, name+" is listed as a known failure but is not aimed at")
		}
	}
	slices.Sort(complaints)
	return complaints
}
