package memfs

import (
	"context"
	"strings"

	"manifold/internal/fs"
)

// watchBacklog is how many events a watcher may fall behind.
const watchBacklog = 4096

type watch struct {
	dir       fs.FileID
	recursive bool
	types     fs.EventType
	ch        chan fs.Event // one longer than the backlog, for EventResync
	stop      func() bool
}

// Watch implements fs.Watcher.
func (f *FS) Watch(ctx context.Context, dir fs.FileID, recursive bool, types fs.EventType) (<-chan fs.Event, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, _, err := f.dir("watch", fs.Node{ID: dir}); err != nil {
		return nil, err
	}
	w := &watch{dir: dir, recursive: recursive, types: types, ch: make(chan fs.Event, watchBacklog+1)}
	f.watches[w] = struct{}{}
	w.stop = context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.endWatch(w)
	})
	return w.ch, nil
}

// endWatch closes the channel, once.
func (f *FS) endWatch(w *watch) {
	if _, ok := f.watches[w]; !ok {
		return
	}
	delete(f.watches, w)
	w.stop()
	close(w.ch)
}

func (f *FS) send(w *watch, e fs.Event) {
	if len(w.ch) >= watchBacklog {
		w.ch <- fs.Event{Type: fs.EventResync, Dir: w.dir}
		f.endWatch(w)
		return
	}
	w.ch <- e
}

// notify tells of a change of n itself, under all its names.
func (f *FS) notify(n *inode, types fs.EventType) {
	for _, l := range n.links {
		if d := f.live[l.dir]; d != nil {
			f.notifyName(d, l.name, n, types, 0)
		}
	}
}

// notifyName tells of a change of n under one name. Names that come and go are
// told while they are there.
func (f *FS) notifyName(d *inode, name fs.Name, n *inode, types fs.EventType, cookie uint64) {
	for w := range f.watches {
		t := types & w.types
		if t == 0 {
			continue
		}
		path, ok := f.pathBelow(w.dir, d, name, w.recursive)
		if !ok {
			continue
		}
		e := fs.Event{Type: t, Dir: d.id, Name: name, ID: n.id, Object: n.typ, Cookie: cookie}
		if w.recursive {
			e.Path = path
		}
		f.send(w, e)
	}
}

// pathBelow answers the path of a name in d relative to dir.
func (f *FS) pathBelow(dir fs.FileID, d *inode, name fs.Name, deep bool) (string, bool) {
	parts := []string{name}
	for d.id != dir {
		if !deep || len(d.links) == 0 {
			return "", false
		}
		parts = append([]string{d.links[0].name}, parts...)
		if d = f.live[d.links[0].dir]; d == nil {
			return "", false
		}
	}
	return strings.Join(parts, "/"), true
}

// notifyGone tells watchers of a directory that it is removed, and ends them.
func (f *FS) notifyGone(n *inode) {
	for w := range f.watches {
		if w.dir == n.id {
			if w.types&fs.EventSelfRemoved != 0 {
				f.send(w, fs.Event{Type: fs.EventSelfRemoved, Dir: n.id, ID: n.id, Object: n.typ})
			}
			f.endWatch(w)
		}
	}
}
