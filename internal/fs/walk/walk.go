// Package walk follows paths with symlinks over the fs contract, for protocols
// whose clients name files by path and expect the server to resolve them.
//
// Invariants: a walk never leaves the root it was given. ".." at the root is
// the root, an absolute symlink starts again at the root, and ".." goes back to
// the directory by which the walk came, which no rename meanwhile can change.
// The length of paths and the number of symlinks are bounded.
//
// The package must not know any protocol; it decides no permission, the calls
// that it makes do.
package walk

import (
	"context"
	"strings"

	"manifold/internal/fs"
)

// MaxSymlinks is how many symlinks one walk follows before it fails with
// Invalid, as Linux has it.
const MaxSymlinks = 40

// maxSteps bounds the components of a path and all symlinks in it together.
const maxSteps = fs.MaxPath

// A Tree is what a walk cannot leave.
type Tree struct {
	FS   fs.Namespace
	Root fs.Node
}

// A Place is where a path leads. With Exists false only the last name is
// missing, and what is created there has Dir and Name.
type Place struct {
	// Dir holds Name. Name is "" where the path is the root itself, which
	// can be neither removed nor renamed.
	Dir    fs.Node
	Name   fs.Name
	Attr   fs.Attr
	Exists bool
	// Path from the root, starting in "/", clean, without symlinks except at
	// the end if that was not to be followed.
	Path string
}

type step struct {
	node fs.Node
	name fs.Name
	attr fs.Attr
}

// Walk resolves path, taken from the directory cwd unless it starts in "/".
// follow says whether a symlink at the end counts as what it points to; one
// with a trailing slash is followed always.
func (t Tree) Walk(ctx context.Context, c *fs.Caller, cwd, path string, follow bool, want fs.AttrMask) (Place, error) {
	if !strings.HasPrefix(path, "/") {
		path = cwd + "/" + path
	}
	if len(path) > fs.MaxPath {
		return Place{}, fs.E("walk", t.Root, "", fs.NameTooLong, nil)
	}
	if strings.IndexByte(path, 0) >= 0 {
		return Place{}, fs.E("walk", t.Root, "", fs.NameInvalid, nil)
	}
	w := walker{Tree: t, c: c, want: want | fs.AttrType, follow: follow}
	return w.run(ctx, path)
}

type walker struct {
	Tree
	c        *fs.Caller
	want     fs.AttrMask
	follow   bool
	stack    []step   // from the root, which is not on it, to where the walk is
	rest     []string // components to go, the next one last
	dirOnly  bool     // the path ends in a slash
	symlinks int
	steps    int
}

// push puts the components of a path in front of what is to be walked.
func (w *walker) push(path string) error {
	if len(w.rest) == 0 && len(path) > 1 && strings.HasSuffix(path, "/") {
		w.dirOnly = true
	}
	parts := strings.Split(path, "/")
	if w.steps += len(parts); w.steps > maxSteps {
		return fs.E("walk", w.Root, "", fs.NameTooLong, nil)
	}
	for i := len(parts) - 1; i >= 0; i-- {
		if p := parts[i]; p != "" && p != "." {
			w.rest = append(w.rest, p)
		}
	}
	return nil
}

func (w *walker) here() fs.Node {
	if len(w.stack) == 0 {
		return w.Root
	}
	return w.stack[len(w.stack)-1].node
}

func (w *walker) run(ctx context.Context, path string) (Place, error) {
	if err := w.push(path); err != nil {
		return Place{}, err
	}
	for len(w.rest) > 0 {
		name := w.rest[len(w.rest)-1]
		w.rest = w.rest[:len(w.rest)-1]
		if name == ".." {
			if len(w.stack) > 0 {
				w.stack = w.stack[:len(w.stack)-1]
			}
			continue
		}
		dir := w.here()
		a, err := w.FS.Lookup(ctx, w.c, dir, name, w.want)
		last := len(w.rest) == 0
		if err != nil {
			if last && fs.KindOf(err) == fs.NotExist {
				return Place{Dir: dir, Name: name, Path: w.path(name)}, nil
			}
			return Place{}, err
		}
		if a.Type == fs.Symlink && (!last || w.follow || w.dirOnly) {
			if err := w.jump(ctx, a.Node); err != nil {
				return Place{}, err
			}
			continue
		}
		if a.Type != fs.Directory && (!last || w.dirOnly) {
			return Place{}, fs.E("walk", dir, name, fs.NotDir, nil)
		}
		w.stack = append(w.stack, step{a.Node, name, a})
	}
	return w.place(ctx)
}

// jump goes on along a symlink.
func (w *walker) jump(ctx context.Context, n fs.Node) error {
	if w.symlinks++; w.symlinks > MaxSymlinks {
		return fs.E("walk", n, "", fs.Invalid, nil)
	}
	b, err := w.FS.Readlink(ctx, w.c, n)
	if err != nil {
		return err
	}
	target := string(b)
	if strings.IndexByte(target, 0) >= 0 {
		return fs.E("walk", n, "", fs.NameInvalid, nil)
	}
	if strings.HasPrefix(target, "/") {
		w.stack = w.stack[:0]
	}
	return w.push(target)
}

// place answers where the walk ended: at something that exists.
func (w *walker) place(ctx context.Context) (Place, error) {
	if len(w.stack) == 0 {
		// The root may have no name that the caller can see; "." finds it.
		a, err := w.FS.Lookup(ctx, w.c, w.Root, ".", w.want)
		if err != nil {
			return Place{}, err
		}
		return Place{Dir: w.Root, Attr: a, Exists: true, Path: "/"}, nil
	}
	end := w.stack[len(w.stack)-1]
	w.stack = w.stack[:len(w.stack)-1]
	return Place{Dir: w.here(), Name: end.name, Attr: end.attr, Exists: true, Path: w.path(end.name)}, nil
}

func (w *walker) path(name string) string {
	var b strings.Builder
	for _, s := range w.stack {
		b.WriteByte('/')
		b.WriteString(s.name)
	}
	b.WriteByte('/')
	b.WriteString(name)
	return b.String()
}
