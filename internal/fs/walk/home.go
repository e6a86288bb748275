package walk

import (
	"context"
	"path"

	"manifold/internal/fs"
)

// Home finds where a user's session starts: its root and the directory, seen
// from there, in which it is. Who is confined to a home that is not there gets
// an error; who is free starts at the root of the file system instead.
func Home(ctx context.Context, f fs.Namespace, c *fs.Caller, home string, confined bool) (Tree, string, error) {
	t := Tree{FS: f, Root: fs.Root}
	home = path.Clean("/" + home)
	if home == "/" {
		return t, "/", nil
	}
	// The way down to a home that is all the user sees need not be open to it.
	walker := c
	if confined {
		walker = fs.SystemCaller()
	}
	p, err := t.Walk(ctx, walker, "/", home, true, fs.AttrType)
	switch {
	case err != nil:
	case !p.Exists:
		err = fs.E("home", p.Dir, p.Name, fs.NotExist, nil)
	case p.Attr.Type != fs.Directory:
		err = fs.E("home", p.Dir, p.Name, fs.NotDir, nil)
	}
	switch {
	case err == nil && confined:
		return Tree{FS: f, Root: p.Attr.Node}, "/", nil
	case err == nil:
		return t, p.Path, nil
	case confined:
		return Tree{}, "", err
	}
	return t, "/", nil
}
