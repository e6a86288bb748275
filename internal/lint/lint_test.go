package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root     = "../.."
	module   = "manifold"
	maxLines = 800
)

type file struct {
	path string // slash-separated, from the module's root
	src  []byte
	ast  *ast.File
	set  *token.FileSet
}

func (f *file) dir() string { return path.Dir(f.path) }

func (f *file) isTest() bool {
	return strings.HasSuffix(f.path, "_test.go") || strings.HasSuffix(f.ast.Name.Name, "test")
}

func (f *file) generated() bool { return ast.IsGenerated(f.ast) }

// at renders a position for a message.
func (f *file) at(n ast.Node) string {
	return f.path + ":" + strconv.Itoa(f.set.Position(n.Pos()).Line)
}

func goFiles(t *testing.T) []*file {
	t.Helper()
	var files []*file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if p != root && (name == "testdata" || strings.HasPrefix(name, ".") || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, rel, src, parser.ParseComments)
		if err != nil {
			t.Errorf("%v", err)
			return nil
		}
		files = append(files, &file{filepath.ToSlash(rel), src, tree, set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found: the lint looks at the wrong folder")
	}
	return files
}

func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

func excepted(rule string, f *file) bool {
	return slices.ContainsFunc(Exceptions, func(e Exception) bool {
		return e.Rule == rule && within(f.path, e.Path)
	})
}

// roomOf finds the most specific row; a Path ending in "/" covers only what
// lies below the folder.
func roomOf(dir string) (Room, bool) {
	var best Room
	found := false
	for _, r := range Rooms {
		ok := within(dir, r.Path)
		if below, cut := strings.CutSuffix(r.Path, "/"); cut {
			ok = dir != below && within(dir, below)
		}
		if ok && len(r.Path) > len(best.Path) {
			best, found = r, true
		}
	}
	return best, found
}

func allowed(target string, list []string) bool {
	return slices.ContainsFunc(list, func(a string) bool {
		if a == "..." {
			return true
		}
		if dir, ok := strings.CutSuffix(a, "/..."); ok {
			return within(target, dir)
		}
		return target == a
	})
}

// checkImport says what is wrong with one import of this module, or "".
func checkImport(dir, target string, test bool) string {
	r, ok := roomOf(dir)
	switch {
	case !ok:
		return dir + " is not a room of the architecture; put the code in the folder a stranger would open first, or add a row to internal/lint/rooms.go with a decision in docs/decisions"
	case target == dir, allowed(target, Ledgers), allowed(target, r.May):
		return ""
	case test && (allowed(target, TestImports) || within(target, dir) || within(dir, target)):
		return ""
	}
	return "imports " + target + ", which " + r.Path + " may not (" + r.Reason + "); declare a small interface here and let internal/node satisfy it"
}

func TestImports_table(t *testing.T) {
	for _, f := range goFiles(t) {
		if _, ok := roomOf(f.dir()); !ok {
			t.Errorf("%s: %s", f.path, checkImport(f.dir(), "", false))
			continue
		}
		for _, imp := range f.ast.Imports {
			p, _ := strconv.Unquote(imp.Path.Value)
			if target, ok := strings.CutPrefix(p, module+"/"); ok {
				if msg := checkImport(f.dir(), target, f.isTest()); msg != "" {
					t.Errorf("%s: %s", f.at(imp), msg)
				}
			}
			if imp.Name != nil && imp.Name.Name == "_" && p != "embed" && p != "time/tzdata" { // these have no other form
				t.Errorf("%s: blank import of %s; call its constructor from internal/node", f.at(imp), p)
			}
			if p == "testing" && !f.isTest() && !excepted("testing", f) {
				t.Errorf("%s: imports testing; move it to a _test.go file or a package named *test", f.at(imp))
			}
		}
	}
}

// The rules must bite: each of these is a violation that was once possible.
func TestImports_catches(t *testing.T) {
	for _, c := range []struct {
		dir, target string
		test, bad   bool
	}{
		{"internal/wire/nfs3", "internal/fs/core", false, true},
		{"internal/wire/nfs3", "internal/kv", false, true},
		{"internal/wire/nfs3", "internal/fs", false, false},
		{"internal/wire/nfs3", "internal/fs/memfs", false, true},
		{"internal/wire/nfs3", "internal/fs/memfs", true, false},
		{"internal/kv", "internal/fs", false, true},
		{"internal/kv/memkv", "internal/kv", false, false},
		{"internal/fs", "internal/fs/core", false, true},
		{"internal/control/cli", "internal/config", false, true},
		{"internal/ports", "internal/fs", false, true},
		{"internal/newroom", "internal/fs", false, true},
		{"client", "internal/ports", false, false},
		{"client", "internal/fs", false, true},
	} {
		if got := checkImport(c.dir, c.target, c.test) != ""; got != c.bad {
			t.Errorf("%s -> %s (test %v): rejected %v, want %v", c.dir, c.target, c.test, got, c.bad)
		}
	}
}

// call splits pkg.Func when pkg is an imported package of that path.
func callee(f *file, n ast.Node) (pkg, fn string) {
	c, ok := n.(*ast.CallExpr)
	if !ok {
		return "", ""
	}
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	for _, imp := range f.ast.Imports {
		p, _ := strconv.Unquote(imp.Path.Value)
		name := path.Base(p)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		if name == id.Name {
			return p, sel.Sel.Name
		}
	}
	return id.Name, sel.Sel.Name
}

func TestCalls(t *testing.T) {
	for _, f := range goFiles(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			pkg, fn := callee(f, n)
			switch {
			case pkg == "":
			case pkg == "net" && (strings.HasPrefix(fn, "Listen") || strings.HasPrefix(fn, "Dial")) && !f.isTest() && !excepted("network", f):
				t.Errorf("%s: net.%s; use internal/ports and declare the port in its table", f.at(n), fn)
			case pkg == "context" && (fn == "Background" || fn == "TODO") && !f.isTest() && !excepted("background", f):
				t.Errorf("%s: context.%s; take the caller's context as first parameter", f.at(n), fn)
			case pkg == "time" && fn == "Sleep" && f.isTest() && !excepted("sleep", f):
				t.Errorf("%s: time.Sleep in a test; wait for the event or move a fake clock", f.at(n))
			case pkg == "fmt" && strings.HasPrefix(fn, "Print") && !f.isTest() && !excepted("print", f):
				t.Errorf("%s: fmt.%s; log through the injected slog.Logger or write to the writer you were given", f.at(n), fn)
			case strings.HasPrefix(fn, "Skip") && (pkg == "t" || pkg == "tb" || pkg == "b") && fn != "SkipNow" && !skipsHonestly(f) && !excepted("skip", f):
				t.Errorf("%s: %s.%s; a missing tool must fail in CI: check os.Getenv(\"CI\") in a helper that does both", f.at(n), pkg, fn)
			}
			return true
		})
	}
}

// skipsHonestly accepts a file that looks at CI and can fail there, and
// testing.Short, which CI never sets.
func skipsHonestly(f *file) bool {
	s := string(f.src)
	return strings.Contains(s, `"CI"`) || strings.Contains(s, "testing.Short()")
}

func TestShape(t *testing.T) {
	badNames := []string{"util", "utils", "common", "base", "misc", "helpers", "types", "pkg"}
	documented := map[string]bool{}
	for _, f := range goFiles(t) {
		name := f.ast.Name.Name
		if slices.Contains(badNames, name) {
			t.Errorf("%s: package %s; name it after what it is, or move the code to its one caller", f.path, name)
		}
		if n := strings.Count(string(f.src), "\n"); n > maxLines && !f.generated() {
			t.Errorf("%s: %d lines, at most %d; split it by family of operations", f.path, n, maxLines)
		}
		if !strings.HasSuffix(name, "_test") {
			key := f.dir()
			documented[key] = documented[key] || f.ast.Doc != nil
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: init function; build the value in a constructor that internal/node calls", f.at(fn))
			}
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s: no package comment; say what it is, its invariants, and what it must not know", dir)
		}
	}
}

func TestNoMachinePaths(t *testing.T) {
	// Derived, so that the rule names no machine either: the folder that the
	// checkout lies in, and the checkout's neighbours.
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	parent := filepath.Dir(root)
	words := []string{root + "/"}
	if filepath.Dir(parent) != parent && parent != os.TempDir() {
		words = append(words, parent+"/")
	}
	around, err := os.ReadDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range around {
		if e.IsDir() && e.Name() != filepath.Base(root) {
			words = append(words, "../"+e.Name())
		}
	}
	for _, f := range goFiles(t) {
		if excepted("machinepath", f) {
			continue
		}
		for _, w := range words {
			if strings.Contains(string(f.src), w) {
				t.Errorf("%s: names %q, a path of one machine; use t.TempDir or a flag", f.path, w)
			}
		}
	}
}

func TestExceptionsAreUsable(t *testing.T) {
	for _, e := range Exceptions {
		if e.Reason == "" {
			t.Errorf("exception %s %s has no reason", e.Rule, e.Path)
		}
	}
}
