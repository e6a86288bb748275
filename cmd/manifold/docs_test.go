package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite generated documents")

func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Commands of the server\n\nGenerated from cmd/manifold; do not edit. They work on this machine, not through the REST API.\n")
	for _, c := range newRoot().Commands() {
		if c.Hidden || c.GroupID != "here" && c.Name() != "scrub" {
			continue
		}
		use := c.Use
		if !strings.HasPrefix(use, "scrub") {
			use += " [flags]"
		}
		fmt.Fprintf(&b, "\n## %s\n\n    manifold %s\n\n", c.Name(), use)
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		b.WriteString(text + "\n")
		if c.Example != "" {
			fmt.Fprintf(&b, "\n```\n%s\n```\n", strings.ReplaceAll(c.Example, "  manifold", "manifold"))
		}
		if usage := c.LocalNonPersistentFlags().FlagUsagesWrapped(110); usage != "" {
			fmt.Fprintf(&b, "\n```\n%s```\n", usage)
		}
	}
	const path = "../../docs/reference/server-commands.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the code says (%v); run: go test ./cmd/manifold -run TestDocs -update", path, err)
	}
}
