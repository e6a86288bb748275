package walk_test

import (
	"context"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/fs/walk"
)

type world struct {
	t *testing.T
	f *memfs.FS
	c *fs.Caller
}

func newWorld(t *testing.T) *world {
	return &world{t, memfs.New(memfs.Options{}), fs.SystemCaller()}
}

func (w *world) make(dir fs.Node, name string, typ fs.Type, target string) fs.Node {
	w.t.Helper()
	r, err := w.f.Create(w.t.Context(), w.c, dir, name, &fs.CreateSpec{Type: typ, Target: []byte(target), Want: fs.AttrBasic})
	if err != nil {
		w.t.Fatalf("create %s: %v", name, err)
	}
	return r.Attr.Node
}

func TestWalk(t *testing.T) {
	w := newWorld(t)
	home := w.make(fs.Root, "home", fs.Directory, "")
	w.make(fs.Root, "secret", fs.File, "")
	d := w.make(home, "d", fs.Directory, "")
	w.make(d, "f", fs.File, "")
	w.make(home, "abs", fs.Symlink, "/d/f")
	w.make(home, "up", fs.Symlink, "../../../secret")
	w.make(d, "back", fs.Symlink, "..")
	w.make(home, "loop", fs.Symlink, "loop")
	w.make(home, "dangling", fs.Symlink, "d/new")
	w.make(home, "dirlink", fs.Symlink, "d")
	tree := walk.Tree{FS: w.f, Root: home}

	for _, c := range []struct {
		cwd, path string
		follow    bool
		end       string // clean path, "" for an error
		exists    bool
		kind      fs.Kind
	}{
		{"/", "", true, "/", true, 0},
		{"/", "/", true, "/", true, 0},
		{"/d", "f", true, "/d/f", true, 0},
		{"/d", "../d/./f", true, "/d/f", true, 0},
		{"/", "../../../../d//f", true, "/d/f", true, 0},
		{"/", "..", true, "/", true, 0},
		{"/", "d/..", true, "/", true, 0},
		{"/", "abs", true, "/d/f", true, 0},
		{"/", "abs", false, "/abs", true, 0},
		{"/", "up", true, "/secret", false, 0},
		{"/", "/secret", true, "/secret", false, 0},
		{"/", "d/back/abs", true, "/d/f", true, 0},
		{"/", "dirlink/..", true, "/", true, 0},
		{"/", "dirlink/", false, "/d", true, 0},
		{"/", "dirlink", false, "/dirlink", true, 0},
		{"/", "dangling", true, "/d/new", false, 0},
		{"/", "newdir/", true, "/newdir", false, 0},
		{"/", "loop", true, "", false, fs.Invalid},
		{"/", "loop", false, "/loop", true, 0},
		{"/", "nodir/f", true, "", false, fs.NotExist},
		{"/", "d/f/x", true, "", false, fs.NotDir},
		{"/", "d/f/", true, "", false, fs.NotDir},
		{"/", "d/f/..", true, "", false, fs.NotDir},
		{"/", "a\x00b", true, "", false, fs.NameInvalid},
		{"/", strings.Repeat("a", 256), true, "", false, fs.NameTooLong},
		{"/", strings.Repeat("a/", 20000), true, "", false, fs.NameTooLong},
		{"/", ".snapshot", true, "/.snapshot", true, 0},
	} {
		p, err := tree.Walk(t.Context(), w.c, c.cwd, c.path, c.follow, 0)
		switch {
		case c.end == "" && fs.KindOf(err) != c.kind:
			t.Errorf("%q from %q: %v, want %v", c.path, c.cwd, err, c.kind)
		case c.end != "" && (err != nil || p.Path != c.end || p.Exists != c.exists):
			t.Errorf("%q from %q: %q exists %v, %v; want %q %v", c.path, c.cwd, p.Path, p.Exists, err, c.end, c.exists)
		}
	}
}

// A directory that moves up while somebody is in it takes nobody out of the root.
func TestWalk_movedDirectory(t *testing.T) {
	w := newWorld(t)
	home := w.make(fs.Root, "home", fs.Directory, "")
	w.make(home, "d", fs.Directory, "")
	w.make(fs.Root, "secret", fs.File, "")
	moving := &moveOnLookup{FS: w.f, at: "d", do: func() {
		if _, err := w.f.Rename(t.Context(), w.c, home, "d", fs.Root, "d", fs.RenameOptions{}); err != nil {
			t.Fatal(err)
		}
	}}
	p, err := walk.Tree{FS: moving, Root: home}.Walk(t.Context(), w.c, "/", "d/../secret", true, 0)
	if err != nil || p.Exists || p.Dir != home {
		t.Fatalf("%+v, %v", p, err)
	}
}

type moveOnLookup struct {
	*memfs.FS
	at string
	do func()
}

func (m *moveOnLookup) Lookup(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, want fs.AttrMask) (fs.Attr, error) {
	a, err := m.FS.Lookup(ctx, c, dir, name, want)
	if name == m.at {
		m.do()
	}
	return a, err
}

func FuzzWalk(f *testing.F) {
	for _, s := range []string{"", "/", "../..", "d/l/../x", "l/l/l", "\x00", ".snapshot/..", "//a//"} {
		f.Add(s, true)
	}
	m := memfs.New(memfs.Options{})
	c := fs.SystemCaller()
	mk := func(dir fs.Node, name string, typ fs.Type, target string) fs.Node {
		r, err := m.Create(f.Context(), c, dir, name, &fs.CreateSpec{Type: typ, Target: []byte(target), Want: fs.AttrBasic})
		if err != nil {
			f.Fatal(err)
		}
		return r.Attr.Node
	}
	home := mk(fs.Root, "home", fs.Directory, "")
	d := mk(home, "d", fs.Directory, "")
	mk(d, "l", fs.Symlink, "../..//d/./x/..")
	mk(d, "x", fs.Directory, "")
	mk(home, "l", fs.Symlink, "/d/l/../../../home")
	f.Fuzz(func(t *testing.T, path string, follow bool) {
		p, err := walk.Tree{FS: m, Root: home}.Walk(t.Context(), c, "/", path, follow, 0)
		if err != nil {
			return
		}
		if in, err := m.Contains(t.Context(), home.ID, p.Dir); err != nil || !in {
			t.Fatalf("%q led to %v: %v", path, p.Dir, err)
		}
		if p.Path[0] != '/' || strings.Contains(p.Path, "//") {
			t.Fatalf("%q has the path %q", path, p.Path)
		}
	})
}

func TestHome(t *testing.T) {
	w := newWorld(t)
	home := w.make(fs.Root, "home", fs.Directory, "")
	w.make(fs.Root, "link", fs.Symlink, "home")
	w.make(fs.Root, "file", fs.File, "")
	for _, c := range []struct {
		home     string
		confined bool
		root     fs.Node
		cwd      string
	}{
		{"", false, fs.Root, "/"},
		{"", true, fs.Root, "/"},
		{"/home", false, fs.Root, "/home"},
		{"link/", true, home, "/"},
		{"/nowhere", false, fs.Root, "/"},
		{"/nowhere", true, fs.Node{}, ""},
		{"/file", true, fs.Node{}, ""},
	} {
		tree, cwd, err := walk.Home(t.Context(), w.f, w.c, c.home, c.confined)
		if tree.Root != c.root || cwd != c.cwd || (err != nil) != (c.cwd == "") {
			t.Errorf("%q confined %v: %v %q %v", c.home, c.confined, tree.Root, cwd, err)
		}
	}
}
