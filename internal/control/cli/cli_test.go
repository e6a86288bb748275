package cli

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"manifold/client"
)

func TestSize(t *testing.T) {
	for s, want := range map[string]client.Number{
		"0": 0, "100": 100, "5B": 5, "1k": 1024, "10GiB": 10 << 30, "2 TB": 2e12, "15EiB": 15 << 60, "18446744073709551615": 1<<64 - 1,
	} {
		if got, err := size(s); err != nil || got != want {
			t.Errorf("%q: %d %v", s, got, err)
		}
	}
	for _, s := range []string{"", "GiB", "-1", "1.5GB", "16EiB", "1XB", "1 2"} {
		if n, err := size(s); err == nil {
			t.Errorf("%q: %d", s, n)
		}
	}
	for n, want := range map[client.Number]string{0: "0B", 1023: "1023B", 1024: "1.0KiB", 1536 << 20: "1.5GiB", 1<<64 - 1: "16.0EiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestPlace(t *testing.T) {
	for s, want := range map[string]string{"/a": "/ a", "/a/b/": "/a b", "/a//b/../c": "/a c"} {
		if dir, name, err := place(s); err != nil || string(dir)+" "+name != want {
			t.Errorf("%q: %s %s %v", s, dir, name, err)
		}
	}
	for _, s := range []string{"", "/", "a", "a/b", "/.."} {
		if _, _, err := place(s); err == nil {
			t.Errorf("%q: accepted", s)
		}
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{"ä b": "ä b", "a\nb": `"a\nb"`, "\x1b[31m": `"\x1b[31m"`, "\u009b": `"\u009b"`} {
		if got := printable(s); got != want {
			t.Errorf("%q: %s", s, got)
		}
	}
}

// The shell of a server reads none of the server's files.
func TestNoLocalFiles(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		_, _ = io.WriteString(w, `[{"id":"500","name":"jane"}]`)
	}))
	defer srv.Close()
	c, err := client.New(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	const file = "cli_test.go"
	for _, args := range [][]string{
		{"s3", "policy", "set", "b", file}, {"ssh", "key", "add", "jane", file}, {"fs", "write", "/f", file}, {"nfs", "export", "add", "/e", "/e", "--restrictions", file},
	} {
		root := &cobra.Command{Use: "manifold", SilenceUsage: true, SilenceErrors: true}
		root.AddCommand(New(Options{Client: c, Out: io.Discard, Err: io.Discard, In: strings.NewReader("{}")})...)
		root.SetArgs(args)
		if err := root.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), "no local files") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

var update = flag.Bool("update", false, "rewrite generated documents")

// The command list is what the commands say of themselves.
func TestDocs(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Commands of an operator

Generated from internal/control/cli; do not edit. Every command takes --host, --port,
--json, --insecure and --trust-new-certificate. A file is an absolute path or an id.

`)
	var walk func(prefix string, c *cobra.Command)
	walk = func(prefix string, c *cobra.Command) {
		if !c.HasSubCommands() {
			fmt.Fprintf(&b, "- `%s%s`: %s.", prefix, c.Use, c.Short)
			c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
				if f.Name != "help" {
					fmt.Fprintf(&b, " `--%s`: %s.", f.Name, f.Usage)
				}
			})
			b.WriteByte('\n')
		}
		for _, sub := range c.Commands() {
			walk(prefix+c.Name()+" ", sub)
		}
	}
	for _, c := range New(Options{Home: t.TempDir()}) {
		walk("manifold ", c)
	}
	const path = "../../../docs/reference/commands.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != b.String() {
		t.Errorf("%s is not what the code says (%v); run: go test ./internal/control/cli -run TestDocs -update", path, err)
	}
}
