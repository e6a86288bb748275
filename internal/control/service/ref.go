package service

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"manifold/internal/fs"
)

// Ref names a file: an absolute path, or the decimal id of an inode.
type Ref string

// ID answers the id that r is, if it is one.
func (r Ref) ID() (fs.FileID, bool) {
	if r == "" || strings.TrimLeft(string(r), "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(string(r), 10, 64)
	return fs.FileID(n), err == nil
}

// components splits an absolute path; empty ones are dropped.
func components(path string) ([]string, error) {
	if !strings.HasPrefix(path, "/") || len(path) > fs.MaxPath {
		return nil, ErrBadRef
	}
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' }), nil
}

func join(names []string) string { return "/" + strings.Join(names, "/") }

// File is what a Ref has led to.
type File struct {
	Attr fs.Attr
	// Path by which it was named, or its primary one; a directory's ends in '/'.
	Path string
}

// Name is the last component, "" for the root.
func (f *File) Name() string {
	p := strings.TrimSuffix(f.Path, "/")
	return p[strings.LastIndexByte(p, '/')+1:]
}

// pathOf renders the path of a file of that type.
func pathOf(names []string, t fs.Type) string {
	p := join(names)
	if t == fs.Directory && p != "/" {
		p += "/"
	}
	return p
}

// File finds what r names, in the live tree or as of a snapshot.
func (s *Service) File(ctx context.Context, c *fs.Caller, r Ref, snap fs.SnapshotID, want fs.AttrMask) (File, error) {
	want |= fs.AttrType | fs.AttrChange
	if id, ok := r.ID(); ok {
		return s.byNode(ctx, c, fs.Node{ID: id, Snap: snap}, want)
	}
	names, err := components(string(r))
	if err != nil {
		return File{}, err
	}
	if snap != 0 {
		return s.inSnapshot(ctx, c, names, snap, want)
	}
	a, err := s.fs.Resolve(ctx, c, join(names), want)
	if err != nil {
		return File{}, err
	}
	return File{a, pathOf(names, a.Type)}, nil
}

func (s *Service) byNode(ctx context.Context, c *fs.Caller, n fs.Node, want fs.AttrMask) (File, error) {
	a, err := s.fs.GetAttr(ctx, c, n, want)
	if err != nil {
		return File{}, err
	}
	p, err := s.fs.PathOf(ctx, n)
	if err != nil {
		return File{}, err
	}
	names, err := components(p)
	if err != nil {
		return File{}, err
	}
	return File{a, pathOf(names, a.Type)}, nil
}

// inSnapshot walks from the snapshotted directory, which goes by the path it
// had when the snapshot was taken, and by the one it has now.
func (s *Service) inSnapshot(ctx context.Context, c *fs.Caller, names []string, id fs.SnapshotID, want fs.AttrMask) (File, error) {
	snap, err := s.fs.Snapshot(ctx, id)
	if err != nil {
		return File{}, err
	}
	n := fs.Node{ID: snap.Root, Snap: id}
	root, err := components(snap.Path)
	if err != nil {
		return File{}, err
	}
	if !under(names, root) {
		now, err := s.fs.PathOf(ctx, fs.Node{ID: snap.Root})
		if err == nil {
			root, err = components(now)
		}
		if err != nil || !under(names, root) {
			return File{}, fs.E("resolve", n, join(names), fs.NotExist, err)
		}
	}
	a, err := s.fs.GetAttr(ctx, c, n, want)
	if err != nil {
		return File{}, err
	}
	for _, name := range names[len(root):] {
		if a, err = s.fs.Lookup(ctx, c, a.Node, name, want); err != nil {
			return File{}, err
		}
	}
	return File{a, pathOf(names, a.Type)}, nil
}

// under tells whether a path lies at or below a directory.
func under(names, dir []string) bool {
	return len(names) >= len(dir) && slices.Equal(names[:len(dir)], dir)
}

// Entry is a name in a directory.
type Entry struct {
	Dir  fs.Node
	Name fs.Name
	Path string
}

// Entry finds the name by which r is known, for taking it away or moving it.
func (s *Service) Entry(ctx context.Context, c *fs.Caller, r Ref) (Entry, error) {
	id, byID := r.ID()
	p := string(r)
	if byID {
		f, err := s.byNode(ctx, c, fs.Node{ID: id}, fs.AttrLinks)
		if err != nil {
			return Entry{}, err
		}
		if f.Attr.Type != fs.Directory && f.Attr.Links > 1 {
			return Entry{}, ErrHardLinks
		}
		p = f.Path
	}
	names, err := components(p)
	if err != nil {
		return Entry{}, err
	}
	if len(names) == 0 {
		return Entry{}, fs.E("remove", fs.Root, "", fs.Invalid, errors.New("the root directory stays"))
	}
	dir, err := s.fs.Resolve(ctx, c, join(names[:len(names)-1]), fs.AttrType)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{dir.Node, names[len(names)-1], join(names)}
	if byID {
		// The name may have passed to another file since its path was read.
		a, err := s.fs.Lookup(ctx, c, e.Dir, e.Name, fs.AttrType)
		if err != nil {
			return Entry{}, err
		}
		if a.Node.ID != id {
			return Entry{}, fs.E("lookup", fs.Node{ID: id}, e.Name, fs.Retry, nil)
		}
	}
	return e, nil
}

// Remove takes a file, link or empty directory away.
func (s *Service) Remove(ctx context.Context, c *fs.Caller, r Ref) error {
	e, err := s.Entry(ctx, c, r)
	if err != nil {
		return err
	}
	_, err = s.fs.Remove(ctx, c, e.Dir, e.Name, fs.RemoveAny)
	return err
}

// MkdirAll makes a directory and those above it that are missing.
func (s *Service) MkdirAll(ctx context.Context, c *fs.Caller, path string) (fs.Attr, error) {
	names, err := components(path)
	if err != nil {
		return fs.Attr{}, err
	}
	a, err := s.fs.GetAttr(ctx, c, fs.Root, fs.AttrType)
	if err != nil {
		return fs.Attr{}, err
	}
	mode := fs.Mode(0o755)
	for _, name := range names {
		next, err := s.fs.Lookup(ctx, c, a.Node, name, fs.AttrType)
		if fs.KindOf(err) == fs.NotExist && err != nil {
			var made fs.CreateResult
			made, err = s.fs.Create(ctx, c, a.Node, name, &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}, Want: fs.AttrType})
			if err != nil && fs.KindOf(err) == fs.Exist {
				next, err = s.fs.Lookup(ctx, c, a.Node, name, fs.AttrType)
			} else {
				next = made.Attr
			}
		}
		if err != nil {
			return fs.Attr{}, err
		}
		if next.Type != fs.Directory {
			return fs.Attr{}, fs.E("mkdir", next.Node, name, fs.NotDir, nil)
		}
		a = next
	}
	return a, nil
}
