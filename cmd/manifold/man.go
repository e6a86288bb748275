package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newMan writes the manual; packages are made with it.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write manual pages of all commands", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return writeManual(c.Root(), args[0]) },
	}
}

// writeManual writes one page for each visible command, compressed, without
// anything that differs from one build of the same source to the next.
func writeManual(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var walk func(c *cobra.Command) error
	walk = func(c *cobra.Command) error {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			return nil
		}
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(z, manPage(c)); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, pageName(c)+".1.gz"), b.Bytes(), 0o644); err != nil {
			return err
		}
		for _, sub := range c.Commands() {
			if err := walk(sub); err != nil {
				return err
			}
		}
		return nil
	}
	return walk(root)
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// roff escapes text.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

// manPage renders a command in the macros of man(7).
func manPage(c *cobra.Command) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p(`.TH "%s" "1" "" "manifold" "Manual of manifold"`, roff(strings.ToUpper(pageName(c))))
	p(".SH NAME\n%s \\- %s", roff(pageName(c)), roff(c.Short))
	use := c.UseLine()
	if c.HasAvailableSubCommands() {
		use = c.CommandPath() + " COMMAND"
		if c.Use != c.Name() {
			use = c.UseLine()
		}
	}
	p(".SH SYNOPSIS\n.B %s", roff(use))
	if text := strings.TrimSpace(c.Long); text != "" {
		p(".SH DESCRIPTION")
		for i, par := range strings.Split(text, "\n\n") {
			if i > 0 {
				p(".PP")
			}
			if strings.HasPrefix(par, "  ") {
				p(".EX\n%s\n.EE", roff(par))
			} else {
				p("%s", roff(par))
			}
		}
	}
	if c.HasAvailableSubCommands() {
		p(".SH COMMANDS")
		for _, s := range c.Commands() {
			if s.Hidden || s.Name() == "help" || s.Name() == "completion" {
				continue
			}
			p(".TP\n.BR %s (1)\n%s.", roff(pageName(s)), roff(s.Short))
		}
	}
	flags(&b, "OPTIONS", c.NonInheritedFlags())
	flags(&b, "OPTIONS OF ALL COMMANDS OF THIS GROUP", c.InheritedFlags())
	if c.Example != "" {
		p(".SH EXAMPLES\n.EX\n%s\n.EE", roff(c.Example))
	}
	if c.HasParent() {
		p(".SH SEE ALSO\n.BR %s (1)", roff(pageName(c.Parent())))
	}
	return b.String()
}

func flags(b *strings.Builder, heading string, fs *pflag.FlagSet) {
	first := true
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if first {
			fmt.Fprintf(b, ".SH %s\n", heading)
			first = false
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if value != "" {
			value = ` \fI` + roff(value) + `\fR`
		}
		if d := f.DefValue; d != "" && d != "false" && d != "0" && d != "[]" {
			usage += " (default " + d + ")"
		}
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR%s\n%s\n", roff(name), value, roff(usage))
	})
}
