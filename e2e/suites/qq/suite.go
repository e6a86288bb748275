// Package qq walks the commands of qq, the public command line of this API,
// against a server of ours.
//
// Invariants: the program is not part of the repository and runs unmodified;
// without it nothing counts as passed. Every command that the program has is
// walked, or listed with the reason why not. The package must not know how the
// program works inside, but for how it is started.
package qq

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// step is one command of the walk.
type step struct {
	line    int
	refused bool     // it has to fail
	args    []string // with variables in them
	input   string
	holds   []string
	keeps   []keep
}

// keep is a field of the answer that later steps use.
type keep struct{ name, field string }

// command is the name of the step's command.
func (s *step) command() string {
	for i := 0; i < len(s.args); i++ {
		switch {
		case s.args[i] == "--chunk-size":
			i++
		case !strings.HasPrefix(s.args[i], "-"):
			return s.args[i]
		}
	}
	return ""
}

// parse reads a walk; its head says how one is written.
func parse(script string) ([]step, error) {
	var steps []step
	n := 0
	for line := range strings.Lines(script) {
		n++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		s := step{line: n}
		if rest, ok := strings.CutPrefix(line, "! "); ok {
			s.refused, line = true, rest
		}
		words, err := split(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		for i := 0; i < len(words); i++ {
			w := words[i]
			if w.quoted || w.text != ">" && w.text != "~" && w.text != "<" {
				s.args = append(s.args, w.text)
				continue
			}
			if i++; i == len(words) {
				return nil, fmt.Errorf("line %d: nothing follows %s", n, w.text)
			}
			switch v := words[i].text; w.text {
			case "~":
				s.holds = append(s.holds, v)
			case "<":
				s.input = v
			case ">":
				name, field, ok := strings.Cut(v, "=")
				if !ok {
					return nil, fmt.Errorf("line %d: want NAME=field, not %q", n, v)
				}
				s.keeps = append(s.keeps, keep{name, field})
			}
		}
		if s.command() == "" {
			return nil, fmt.Errorf("line %d: there is no command", n)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

type word struct {
	text   string
	quoted bool
}

// split cuts a line into words; a word in quotation marks may hold spaces, and
// quotation marks behind backslashes.
func split(line string) ([]word, error) {
	var words []word
	for line = strings.TrimLeft(line, " "); line != ""; line = strings.TrimLeft(line, " ") {
		if line[0] == '"' {
			q, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("%w: %s", err, line)
			}
			s, err := strconv.Unquote(q)
			if err != nil {
				return nil, fmt.Errorf("%w: %s", err, q)
			}
			words, line = append(words, word{s, true}), line[len(q):]
			continue
		}
		w, rest, _ := strings.Cut(line, " ")
		words, line = append(words, word{w, false}), rest
	}
	return words, nil
}

// result is the outcome of one step.
type result struct {
	step step
	err  error
	out  string
}

// runner starts one command and answers its output and whether it succeeded.
type runner func(args []string, input string) (out string, ok bool, err error)

// walk takes all steps, also after one went wrong.
func walk(steps []step, vars map[string]string, run runner) []result {
	expand := func(s string) string {
		return os.Expand(s, func(name string) string { return vars[name] })
	}
	var results []result
	for _, s := range steps {
		args := make([]string, len(s.args))
		for i, a := range s.args {
			args[i] = expand(a)
		}
		out, ok, err := run(args, expand(s.input))
		if err == nil {
			err = judge(&s, out, ok, expand)
		}
		for _, k := range s.keeps {
			if err != nil {
				break
			}
			vars[k.name], err = field(out, k.field)
		}
		results = append(results, result{s, err, out})
	}
	return results
}

func judge(s *step, out string, ok bool, expand func(string) string) error {
	switch {
	case strings.Contains(out, "Traceback (most recent call last)"):
		return errors.New("it fell over the answer")
	case ok && s.refused:
		return errors.New("it was to be refused")
	case !ok && !s.refused:
		return errors.New("it failed")
	}
	for _, h := range s.holds {
		if h = expand(h); !strings.Contains(out, h) {
			return fmt.Errorf("the answer does not hold %q", h)
		}
	}
	return nil
}

// field finds a value in a JSON answer.
func field(out, path string) (string, error) {
	i := strings.IndexAny(out, "{[")
	if i < 0 {
		return "", errors.New("the answer is no JSON")
	}
	var v any
	d := json.NewDecoder(strings.NewReader(out[i:]))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	for f := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[f]
		case []any:
			n, err := strconv.Atoi(f)
			if err != nil || n < 0 || n >= len(x) {
				return "", fmt.Errorf("there is no element %s", f)
			}
			v = x[n]
		default:
			return "", fmt.Errorf("there is no %s", path)
		}
	}
	switch v.(type) {
	case string, json.Number:
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("%s is %v", path, v)
}

// uncovered lists the commands that are neither walked nor known to be absent,
// and what is listed as absent for no reason.
func uncovered(commands []string, steps []step, absent map[string]string) (complaints []string) {
	walked := map[string]bool{}
	for i := range steps {
		walked[steps[i].command()] = true
	}
	used := map[string]bool{}
	for _, c := range commands {
		pattern := absentBy(c, absent)
		used[pattern] = true
		switch {
		case walked[c] && pattern != "":
			complaints = append(complaints, c+" is listed as absent but is walked")
		case !walked[c] && pattern == "":
			complaints = append(complaints, c+" is neither walked nor listed as absent")
		}
	}
	for p := range absent {
		if !used[p] {
			complaints = append(complaints, p+" is listed as absent, but qq has no such command")
		}
	}
	for c := range walked {
		if !slices.Contains(commands, c) {
			complaints = append(complaints, c+" is walked, but qq has no such command")
		}
	}
	slices.Sort(complaints)
	return complaints
}

// unexpected lists what differs from the known failures.
func unexpected(results []result, known map[string]string) (complaints []string) {
	failed := map[string]bool{}
	for i := range results {
		r := &results[i]
		c := r.step.command()
		if r.err == nil {
			continue
		}
		failed[c] = true
		if known[c] == "" {
			complaints = append(complaints, fmt.Sprintf("line %d: %s: %v\n%s", r.step.line, strings.Join(r.step.args, " "), r.err, r.out))
		}
	}
	for c := range known {
		if !failed[c] {
			complaints = append(complaints, c+" is listed as a known failure but passes; take it off the list")
		}
	}
	return complaints
}

// absentBy answers what on the list stands for the command, "" if nothing.
func absentBy(command string, absent map[string]string) string {
	if _, ok := absent[command]; ok {
		return command
	}
	for p := range absent {
		if stem, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(command, stem) {
			return p
		}
	}
	return ""
}
