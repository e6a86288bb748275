package suites

import (
	"path/filepath"
	"testing"
)

func TestFind(t *testing.T) {
	here := t.TempDir()
	for name, c := range map[string]struct {
		value, program string
		tree           string
		ok             bool
	}{
		"unset":           {"", "no-such-program", "", true},
		"present":         {here, "sh", here, true},
		"no such tree":    {filepath.Join(here, "none"), "sh", "", false},
		"missing program": {here, "no-such-program", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("SUITE_DIR", c.value)
			if tree, err := find("SUITE_DIR", c.program); tree != c.tree || (err == nil) != c.ok {
				t.Errorf("%q, %v", tree, err)
			}
		})
	}
}

func TestParseKnown(t *testing.T) {
	known, err := ParseKnown("# list\n\na 1: reason; keep\n")
	if err != nil || len(known) != 1 || known["a 1"] != "reason; keep" {
		t.Errorf("%v %v", known, err)
	}
	for _, bad := range []string{"x", "x: ", "x:y"} {
		if _, err := ParseKnown(bad + "\n"); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
