package core

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// attrOf renders an inode; every attribute comes with it at no cost.
func attrOf(n fs.Node, i *meta.Inode) fs.Attr {
	a := fs.Attr{
		Mask: fs.AttrEverything, Node: n, Type: i.Type, Mode: i.Mode, Links: i.Links, Owner: i.Owner, Group: i.Group,
		Size: i.Data.Size, DataRevision: i.Data.Rev, DataBytes: i.Data.AllocBytes, MetaBytes: meta.MetaBytesPerObject,
		Atime: i.Atime, Mtime: i.Mtime, Ctime: i.Ctime, Btime: i.Btime, Change: i.Change, DOS: i.DOS,
		Children: i.Children, Parent: i.Parent, ParentName: i.ParentName, NamedStreams: i.NamedStreams, Metas: i.Xattrs, RdevMajor: i.RdevMajor, RdevMinor: i.RdevMinor,
		SymlinkHint: i.SymlinkHint, Retention: i.Retention, LegalHold: i.LegalHold,
	}
	switch i.Type {
	case fs.Directory:
		a.Size = 512 * i.Children
		if i.ID == fs.RootID {
			a.Parent = fs.RootID
		}
	case fs.Symlink:
		a.Size = uint64(len(i.Target))
	}
	return a
}

// snapshotDirAttr renders the virtual ".snapshot" of a directory.
func snapshotDirAttr(i *meta.Inode) fs.Attr {
	a := attrOf(fs.Node{ID: i.ID, Snap: fs.SnapshotDir}, i)
	a.Mode = 0o555
	a.Links, a.Size, a.Children, a.Parent, a.ParentName = 2, 0, 0, i.ID, fs.SnapshotDirName
	return a
}

func before(i *meta.Inode) fs.Before {
	a := attrOf(fs.Node{}, i)
	return fs.Before{Set: true, Size: a.Size, Mtime: i.Mtime, Ctime: i.Ctime, Change: i.Change, Mode: a.Mode, Owner: a.Owner, Group: a.Group}
}

// changed renders what a transaction did to an object.
func changed(b fs.Before, i *meta.Inode) fs.Changed {
	return fs.Changed{Before: b, After: attrOf(fs.Node{ID: i.ID}, i), Atomic: true}
}

// tick returns the next ctime: the clock, but always later than the last.
func tick(last, now fs.Time) fs.Time {
	if now.Compare(last) <= 0 {
		return last.Next()
	}
	return now
}

// touchAttr notes a change of attributes.
func touchAttr(i *meta.Inode, now fs.Time) {
	i.Ctime = tick(i.Ctime, now)
	i.Change++
}

// touchName notes that a name of i came, went or moved. Buffered writes stay
// buffered, but what they have shown of change must be passed.
func (f *FS) touchName(i *meta.Inode, now fs.Time) {
	i.Change = max(i.Change, f.io.Change(i.ID))
	touchAttr(i, now)
}

// touchData notes a change of contents.
func touchData(i *meta.Inode, now fs.Time) {
	touchAttr(i, now)
	i.Mtime = i.Ctime
}

// load reads an object of any node with buffered writes merged.
func (f *FS) load(ctx context.Context, n fs.Node, fn func(r *meta.Reader, i *meta.Inode) error) error {
	if !n.Live() {
		return f.viewAt(ctx, n, fn)
	}
	g := f.io.Guard(n.ID)
	defer g.End()
	return f.db.View(ctx, func(r *meta.Reader) error {
		i, err := f.inode(ctx, r, n.ID)
		if err != nil {
			return err
		}
		g.Apply(i)
		return fn(r, i)
	})
}

// viewAt reads an object of a snapshot, or of the live tree for the virtual directory.
func (f *FS) viewAt(ctx context.Context, n fs.Node, fn func(r *meta.Reader, i *meta.Inode) error) error {
	snap := n.Snap
	if snap == fs.SnapshotDir {
		snap = 0
	}
	err := f.db.ViewAt(ctx, snap, func(r *meta.Reader) error {
		i, err := f.inode(ctx, r, n.ID)
		if err != nil {
			return err
		}
		return fn(r, i)
	})
	return err
}

// GetAttr implements fs.Files.
func (f *FS) GetAttr(ctx context.Context, _ *fs.Caller, n fs.Node, _ fs.AttrMask) (fs.Attr, error) {
	var a fs.Attr
	err := f.load(ctx, n, func(_ *meta.Reader, i *meta.Inode) error {
		if n.Snap == fs.SnapshotDir {
			if i.Type != fs.Directory {
				return fs.Stale
			}
			a = snapshotDirAttr(i)
		} else {
			a = attrOf(n, i)
		}
		return nil
	})
	return a, wrap("getattr", n, "", err)
}
