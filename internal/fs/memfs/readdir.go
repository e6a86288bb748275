package memfs

import (
	"context"
	"maps"
	"slices"

	"manifold/internal/fs"
)

// readdirBatch is how many entries are taken under the lock at a time.
const readdirBatch = 256

// ReadDir implements fs.Namespace.
func (f *FS) ReadDir(ctx context.Context, c *fs.Caller, dir fs.Node, after uint64, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	after = max(after, fs.FirstCookie-1)
	return f.list(ctx, c, dir, yield, func(d *inode) []fs.Dirent {
		var out []fs.Dirent
		names := d.ordered()
		i, _ := slices.BinarySearchFunc(names, after+1, func(n fs.Name, cookie uint64) int {
			if d.entries[n].cookie < cookie {
				return -1
			}
			return 1
		})
		for ; i < len(names) && len(out) < readdirBatch; i++ {
			out = append(out, f.dirent(d, dir, names[i], want))
			after = out[len(out)-1].Cookie
		}
		return out
	})
}

// ReadDirByName implements fs.Namespace.
func (f *FS) ReadDirByName(ctx context.Context, c *fs.Caller, dir fs.Node, after fs.Name, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	return f.list(ctx, c, dir, yield, func(d *inode) []fs.Dirent {
		var out []fs.Dirent
		names := slices.Sorted(maps.Keys(d.entries))
		for _, name := range names {
			if name > after {
				if out = append(out, f.dirent(d, dir, name, want)); len(out) == readdirBatch {
					break
				}
			}
		}
		if len(out) > 0 {
			after = out[len(out)-1].Name
		}
		return out
	})
}

func (f *FS) dirent(d *inode, dir fs.Node, name fs.Name, want fs.AttrMask) fs.Dirent {
	e := d.entries[name]
	node := fs.Node{ID: e.id, Snap: dir.Snap}
	if dir.Snap == fs.SnapshotDir {
		node = fs.Node{ID: dir.ID, Snap: f.snapshotNamed(dir.ID, name).ID}
	}
	n, _, err := f.find("readdir", node)
	if err != nil {
		return fs.Dirent{Name: name, ID: e.id, Cookie: e.cookie}
	}
	return fs.Dirent{Name: name, ID: n.id, Type: n.typ, Cookie: e.cookie, Attr: f.attr(n, node, want)}
}

// list takes entries batch by batch under the lock and yields them outside it.
func (f *FS) list(ctx context.Context, c *fs.Caller, dir fs.Node, yield func(*fs.Dirent) bool, next func(*inode) []fs.Dirent) (bool, error) {
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return false, fs.E("readdir", dir, "", fs.Canceled, err)
		}
		f.mu.Lock()
		d, _, err := f.dir("readdir", dir)
		if err == nil && first && !f.can(c, d, fs.RightList) {
			err = fs.E("readdir", dir, "", fs.Access, nil)
		}
		if err != nil {
			f.mu.Unlock()
			return false, err
		}
		batch := next(d)
		f.mu.Unlock()
		for i := range batch {
			if !yield(&batch[i]) {
				return false, nil
			}
		}
		if len(batch) < readdirBatch {
			return true, nil
		}
	}
}
