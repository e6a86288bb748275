// Package smbtorture runs Samba's torture suite of that name, as Debian
// packages it, against our server and compares with the list of known failures.
//
// Invariants: a test that does not pass (fails, is skipped, crashes or never
// runs) is listed with its reason or is red; a listed test that passes is red,
// too. Which tests there are, how long they take and what Samba's own server
// makes of them is in tests.tsv. The package must not know how the server works:
// server.go starts one and is all that touches it.
package smbtorture

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Case is one test of the suite, as Samba's own server does it.
type Case struct {
	Name    string
	Samba   string // PASS, FAIL or SKIP
	Seconds float64
	Class   string
}

// suite is what smbtorture is told to run for the case to be run.
func (c *Case) suite() string {
	p := strings.SplitN(c.Name, ".", 3)
	return strings.Join(p[:min(2, len(p))], ".")
}

// Variants of the server or the client that single tests ask for.
const (
	plain = ""
	giver = "giver" // the user has the privilege to give files away
)

// variant of a test.
func (c *Case) variant() string {
	switch c.Name {
	case "smb2.acls.SDFLAGSVSCHOWN", "smb2.create.aclfile", "smb2.create.acldir":
		return giver
	}
	return plain
}

// Result is the outcome of one test.
type Result struct {
	Name    string
	Outcome string // PASS, FAIL or SKIP
	Seconds float64
	Reason  string
}

const passed = "PASS"

// parseCases reads tests.tsv.
func parseCases(s string) ([]Case, error) {
	var out []Case
	for i, line := range strings.Split(strings.TrimSpace(s), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 4 {
			return nil, fmt.Errorf("not a test: %q", line)
		}
		if i == 0 {
			continue
		}
		secs, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return nil, err
		}
		out = append(out, Case{f[0], f[1], secs, f[3]})
	}
	return out, nil
}

// parseSubunit reads smbtorture's report. running is the test that began and
// did not end.
func parseSubunit(r io.Reader) (results []Result, running string) {
	var now, begun time.Time
	var open *Result // its reason goes on
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		line := sc.Text()
		if open != nil {
			if line == "]" {
				results, open = append(results, *open), nil
			} else if len(open.Reason) < 300 {
				open.Reason = strings.TrimPrefix(open.Reason+" | "+strings.ReplaceAll(line, "\t", " "), " | ")
			}
			continue
		}
		key, rest, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		outcome := ""
		switch key {
		case "time":
			if t, err := time.Parse("2006-01-02 15:04:05.000000", strings.TrimSuffix(rest, "Z")); err == nil {
				now = t
			}
		case "test":
			running, begun = rest, now
		case "success":
			outcome = passed
		case "failure", "error":
			outcome = "FAIL"
		case "skip":
			outcome = "SKIP"
		}
		if outcome == "" {
			continue
		}
		name, long := strings.CutSuffix(rest, " [")
		res := Result{Name: name, Outcome: outcome, Seconds: now.Sub(begun).Seconds()}
		running = ""
		if long {
			open = &res
		} else {
			results = append(results, res)
		}
	}
	if open != nil {
		results = append(results, *open)
	}
	return results, running
}

// sometimes begins the reason of a test that passes or fails as time has it.
const sometimes = "sometimes: "

// parseKnown reads a list of known failures: test, reason.
func parseKnown(list string) (map[string]string, error) {
	known := map[string]string{}
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, ok := strings.Cut(line, ": ")
		if !ok || reason == "" || known[key] != "" {
			return nil, fmt.Errorf("want \"test: reason\", once: %q", line)
		}
		known[key] = reason
	}
	return known, nil
}

// judge lists what differs from the known failures among the tests that were
// to run.
func judge(cases []Case, results map[string]Result, known map[string]string) (complaints []string) {
	for _, c := range cases {
		r, ran := results[c.Name]
		switch reason := known[c.Name]; {
		case !ran && reason == "":
			complaints = append(complaints, c.Name+" did not run")
		case r.Outcome != passed && reason == "":
			complaints = append(complaints, fmt.Sprintf("%s: %s: %s", c.Name, r.Outcome, r.Reason))
		case r.Outcome == passed && reason != "" && !strings.HasPrefix(reason, sometimes):
			complaints = append(complaints, c.Name+" is listed as a known failure but passes; take it off the list")
		}
	}
	slices.Sort(complaints)
	return complaints
}

// batches groups tests so that one process takes about limit seconds, the
// longest first.
func batches(cases []Case, limit float64) [][]Case {
	var out [][]Case
	last := map[string]int{}
	total := map[int]float64{}
	for _, c := range cases {
		s := c.suite() + c.variant()
		i, ok := last[s]
		if !ok || total[i]+c.Seconds > limit {
			i = len(out)
			out, last[s] = append(out, nil), i
		}
		out[i] = append(out[i], c)
		total[i] += c.Seconds + 0.1
	}
	sum := func(b []Case) (s float64) {
		for _, c := range b {
			s += c.Seconds + 0.1
		}
		return s
	}
	slices.SortStableFunc(out, func(a, b []Case) int { return int(10 * (sum(b) - sum(a))) })
	return out
}
