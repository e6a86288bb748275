package core

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// detachedTrees knows whether any tree is being deleted. With none, asking
// whether an object is in one costs a load and no key.
type detachedTrees struct {
	count atomic.Int32

	mu    sync.Mutex
	at    uint64
	roots map[fs.FileID]uint64 // when it was noted
}

// note is called before a tree may be detached, and again once it is.
func (t *detachedTrees) note(dir fs.FileID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.roots == nil {
		t.roots = map[fs.FileID]uint64{}
	}
	t.at++
	t.roots[dir] = t.at
	t.count.Store(int32(len(t.roots)))
}

func (t *detachedTrees) noted(dir fs.FileID) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.roots[dir]
}

// forget takes a root out unless it was noted again since at.
func (t *detachedTrees) forget(dir fs.FileID, at uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.roots[dir] == at {
		delete(t.roots, dir)
		t.count.Store(int32(len(t.roots)))
	}
}

// loadTrees notes the deletions that an earlier process has left.
func (f *FS) loadTrees(ctx context.Context) error {
	ids, err := f.treeIntents(ctx)
	for _, id := range ids {
		f.trees.note(id)
	}
	return err
}

// settleTree forgets a root whose deletion is over, was called off or never
// began. When that cannot be found out it stays noted, which only costs reads.
func (f *FS) settleTree(dir fs.FileID) {
	at := f.trees.noted(dir)
	if at == 0 {
		return
	}
	err := f.db.View(f.work, func(r *meta.Reader) error {
		var in treeIntent
		return r.Intent(f.work, uint64(dir), &in)
	})
	if errors.Is(err, meta.ErrNotFound) {
		f.trees.forget(dir, at)
	}
}

// detached tells whether every way up from a live object ends at a tree that is
// being deleted.
func (f *FS) detached(ctx context.Context, r inodeReader, n *meta.Inode) (bool, error) {
	if f.trees.count.Load() == 0 || r.Snap() != 0 || n.ID == fs.RootID || n.Staged != nil {
		return false, nil
	}
	if n.Extra == 0 {
		return f.cutOff(ctx, r, n.Parent)
	}
	links, err := r.Links(ctx, n)
	if err != nil {
		return false, err
	}
	for _, l := range links {
		if off, err := f.cutOff(ctx, r, l.Dir); err != nil || !off {
			return false, err
		}
	}
	return true, nil
}

// cutOff tells whether a directory does not lead up to the root; 0 does not.
func (f *FS) cutOff(ctx context.Context, r inodeReader, dir fs.FileID) (bool, error) {
	if dir == 0 || dir == fs.RootID {
		return dir == 0, nil
	}
	above, err := r.Ancestors(ctx, dir)
	if errors.Is(err, meta.ErrNotFound) {
		return true, nil // freed already
	}
	if err != nil {
		return false, err
	}
	return above[len(above)-1] != fs.RootID, nil
}
