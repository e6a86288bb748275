package core

import (
	"context"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// readdirPage is how many entries one View reads.
const readdirPage = 256

// longPage is what it grows to in long listings: inodes come in the order of
// hashed names, so the more of them are read at once, the more share a block.
const longPage = 2048

// ReadDir implements fs.Namespace.
func (f *FS) ReadDir(ctx context.Context, c *fs.Caller, dir fs.Node, after uint64, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	if dir.Snap == fs.SnapshotDir {
		eof, err := f.readSnapshotDir(ctx, c, dir, after, want, yield)
		return eof, wrap("readdir", dir, "", err)
	}
	if after >= 1<<63 {
		return false, wrap("readdir", dir, "", fs.BadCookie)
	}
	eof, err := f.readPages(ctx, c, dir, want, yield, func(r *meta.Reader, limit int, page []meta.Dentry) ([]meta.Dentry, error) {
		for d, err := range r.Dentries(ctx, dir.ID, after, limit) {
			if err != nil {
				return nil, err
			}
			page = append(page, d)
		}
		return page, nil
	}, func(last *meta.Dentry) { after = last.Cookie })
	return eof, wrap("readdir", dir, "", err)
}

// ReadDirByName implements fs.Namespace.
func (f *FS) ReadDirByName(ctx context.Context, c *fs.Caller, dir fs.Node, after fs.Name, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	if dir.Snap == fs.SnapshotDir {
		// The order of ids is not that of names: "10_a" comes before "9_a".
		var all []fs.Dirent
		_, err := f.readSnapshotDir(ctx, c, dir, 0, want, func(d *fs.Dirent) bool {
			if d.Name > after {
				all = append(all, *d)
			}
			return true
		})
		if err != nil {
			return false, wrap("readdir", dir, "", err)
		}
		slices.SortFunc(all, func(a, b fs.Dirent) int { return strings.Compare(a.Name, b.Name) })
		for i := range all {
			if !yield(&all[i]) {
				return false, nil
			}
		}
		return true, nil
	}
	eof, err := f.readPages(ctx, c, dir, want, yield, func(r *meta.Reader, limit int, page []meta.Dentry) ([]meta.Dentry, error) {
		for d, err := range r.DentriesByName(ctx, dir.ID, after, limit) {
			if err != nil {
				return nil, err
			}
			page = append(page, d)
		}
		return page, nil
	}, func(last *meta.Dentry) { after = last.Name })
	return eof, wrap("readdir", dir, "", err)
}

// readPages yields entries page by page; the View of a page has ended when its
// entries are yielded, so a slow reader holds nothing.
func (f *FS) readPages(ctx context.Context, c *fs.Caller, dir fs.Node, want fs.AttrMask, yield func(*fs.Dirent) bool, next func(r *meta.Reader, limit int, page []meta.Dentry) ([]meta.Dentry, error), passed func(last *meta.Dentry)) (bool, error) {
	first := true
	limit := 32 // small replies are common; grow for long listings
	var page []meta.Dentry
	var ids []fs.FileID
	var inodes []*meta.Inode
	attrs := want&^fs.AttrType != 0
	for {
		page, ids, inodes = page[:0], ids[:0], nil
		var active map[fs.FileID]bool
		if attrs && dir.Live() {
			active = f.io.ActiveIDs() // before the View, see below
		}
		err := f.viewAt(ctx, dir, func(r *meta.Reader, d *meta.Inode) error {
			if d.Type != fs.Directory {
				return fs.NotDir
			}
			if err := f.mayHoldNames(ctx, r, d); err != nil {
				return err
			}
			if first {
				if err := f.need(ctx, r, c, d, fs.RightList); err != nil {
					return err
				}
				first = false
			}
			var err error
			if page, err = next(r, limit, page[:0]); err != nil {
				return err
			}
			if !attrs {
				return nil
			}
			ids = ids[:0]
			for _, e := range page {
				ids = append(ids, e.ID)
			}
			inodes, err = r.Inodes(ctx, ids)
			return err
		})
		if err != nil {
			return false, err
		}
		n := len(page)
		if n > 0 {
			passed(&page[n-1])
		}
		var out fs.Dirent
		for k := range page {
			e := &page[k]
			out = fs.Dirent{Name: e.Name, ID: e.ID, Type: e.Type, Cookie: e.Cookie}
			node := fs.Node{ID: e.ID, Snap: dir.Snap}
			switch {
			case !attrs || inodes[k] == nil:
			case dir.Live() && (active[e.ID] || f.io.Active(e.ID)):
				// Buffered writes that were flushed since the View began are
				// in neither: look again under the guard.
				if a, err := f.GetAttr(ctx, c, node, want); err == nil {
					out.Attr = a
				}
			default:
				out.Attr = attrOf(node, inodes[k])
			}
			if !yield(&out) {
				return false, nil
			}
		}
		if n < limit {
			return true, nil
		}
		limit = min(longPage, limit*2)
	}
}

// readSnapshotDir lists the snapshots of a directory. Cookies are ids above
// the reserved ones.
func (f *FS) readSnapshotDir(ctx context.Context, c *fs.Caller, dir fs.Node, after uint64, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	err := f.db.View(ctx, func(r *meta.Reader) error {
		d, err := f.directory(ctx, r, dir.ID)
		if err != nil {
			return err
		}
		return f.need(ctx, r, c, d, fs.RightList)
	})
	if err != nil {
		return false, err
	}
	snaps, err := f.covering(ctx, dir.ID)
	if err != nil {
		return false, err
	}
	for _, s := range snaps {
		cookie := uint64(s.ID) + fs.FirstCookie
		if cookie <= after {
			continue
		}
		e := fs.Dirent{Name: s.Name, ID: dir.ID, Type: fs.Directory, Cookie: cookie}
		a, err := f.GetAttr(ctx, c, fs.Node{ID: dir.ID, Snap: s.ID}, want)
		if err == nil {
			e.Attr = a
		}
		if !yield(&e) {
			return false, nil
		}
	}
	return true, nil
}
