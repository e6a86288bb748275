package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	if _, err := runArgs(t, "man", dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"manifold", "manifold-serve", "manifold-nfs-lock-release", "manifold-top"} {
		if _, err := os.Stat(filepath.Join(dir, name+".1.gz")); err != nil {
			t.Error(err)
		}
	}
	if pages, err := filepath.Glob(filepath.Join(dir, "*man.1.gz")); err != nil || len(pages) != 0 {
		t.Errorf("hidden commands have pages: %v %v", pages, err)
	}
	c, _, err := newRoot().Find([]string{"serve"})
	if err != nil {
		t.Fatal(err)
	}
	page := manPage(c)
	for _, want := range []string{".TH \"MANIFOLD\\-SERVE\"", ".SH NAME\nmanifold\\-serve \\- Run the server\n", `\fB\-\-data\fR \fIDIR\fR`, ".SH EXAMPLES", "(default 20s)"} {
		if !strings.Contains(page, want) {
			t.Errorf("lacks %q:\n%s", want, page)
		}
	}
	for _, line := range strings.Split(page, "\n") {
		if strings.HasPrefix(line, "'") {
			t.Errorf("a control line by accident: %q", line)
		}
	}
	if got := roff(".a\\b-'c\n.d"); got != `\&.a\eb\-\(aqc`+"\n"+`\&.d` {
		t.Errorf("%q", got)
	}
}
