package streamio

import (
	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Guard keeps an inode's buffered state still while its attributes are read.
type Guard struct {
	e *Engine
	f *file
}

// Guard must be taken before the view that loads the inode, and ended after Apply.
func (e *Engine) Guard(id fs.FileID) Guard {
	f := e.peek(id)
	if f != nil {
		f.mu.RLock()
	}
	return Guard{e, f}
}

// Apply merges what buffered writes have done into ino, which was loaded under the guard.
func (g Guard) Apply(ino *meta.Inode) {
	if g.f != nil {
		g.f.apply(ino)
	}
}

// End lets writers go on.
func (g Guard) End() {
	if g.f != nil {
		g.f.mu.RUnlock()
		g.e.drop(g.f)
	}
}

// Active tells whether buffered writes exist for id, without waiting.
func (e *Engine) Active(id fs.FileID) bool {
	s := e.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[id] != nil
}

// apply needs f.mu.
func (f *file) apply(ino *meta.Inode) {
	if f.dirtyAt.IsZero() || f.gone {
		return
	}
	if st := f.streams[0]; st != nil {
		ino.Data.Size = max(ino.Data.Size, st.end)
		ino.Data.Rev += st.revs
	}
	// Whoever sets mtime flushes first, so the buffered one is the later. Links
	// and renames move ctime on without that.
	ino.Mtime = f.mtime
	if f.ctime.Compare(ino.Ctime) > 0 {
		ino.Ctime = f.ctime
	}
	ino.Change = max(ino.Change, f.change)
	if f.kill {
		ino.Mode &^= fs.ModeSetuid | fs.ModeSetgid
	}
}

// StreamSize is the size of a named stream with buffered writes counted.
func (e *Engine) StreamSize(id fs.FileID, sid fs.StreamID, stored uint64) uint64 {
	f := e.peek(id)
	if f == nil {
		return stored
	}
	defer e.drop(f)
	f.mu.RLock()
	defer f.mu.RUnlock()
	if st := f.streams[sid]; st != nil {
		return max(stored, st.end)
	}
	return stored
}

// ActiveIDs are the inodes that have buffered writes now.
func (e *Engine) ActiveIDs() map[fs.FileID]bool {
	var ids map[fs.FileID]bool
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		for id := range s.files {
			if ids == nil {
				ids = map[fs.FileID]bool{}
			}
			ids[id] = true
		}
		s.mu.Unlock()
	}
	return ids
}
