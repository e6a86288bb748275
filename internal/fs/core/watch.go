package core

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
	"manifold/internal/meta"
)

// watchQueue is how many events a watcher may fall behind.
const watchQueue = 4096

// nameStripes are so many that changes of different names rarely wait for each
// other.
const nameStripes = 1 << 13

// watchHub delivers events to watchers on this node. With no watcher an event
// costs one atomic load.
type watchHub struct {
	f       *FS
	count   atomic.Int32
	cookies atomic.Uint64

	// names is held from before the change of a name until its event was sent,
	// so that events of a name come in the order of its changes; striped by name.
	// Nothing else is waited for meanwhile, leases least of all.
	names [nameStripes]sync.Mutex

	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

type watcher struct {
	dir       fs.FileID
	recursive bool
	types     fs.EventType
	ch        chan fs.Event
}

// Watch implements fs.Watcher.
func (f *FS) Watch(ctx context.Context, dir fs.FileID, recursive bool, types fs.EventType) (<-chan fs.Event, error) {
	err := f.db.View(ctx, func(r *meta.Reader) error {
		_, err := f.directory(ctx, r, dir)
		return err
	})
	if err != nil {
		return nil, wrap("watch", fs.Node{ID: dir}, "", err)
	}
	w := &watcher{dir, recursive, types, make(chan fs.Event, watchQueue+1)}
	h := &f.hub
	h.mu.Lock()
	if h.watchers == nil {
		h.watchers = map[*watcher]struct{}{}
	}
	h.f = f
	h.watchers[w] = struct{}{}
	h.count.Store(int32(len(h.watchers)))
	h.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.drop(w)
	})
	return w.ch, nil
}

// drop ends a watcher; needs mu.
func (h *watchHub) drop(w *watcher) {
	if _, ok := h.watchers[w]; ok {
		delete(h.watchers, w)
		h.count.Store(int32(len(h.watchers)))
		close(w.ch)
	}
}

func (h *watchHub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		h.drop(w)
	}
}

func (h *watchHub) stripe(dir fs.FileID, name string) uint32 {
	x := uint32(2166136261) ^ uint32(dir) // FNV-1a
	for i := range len(name) {
		x = (x ^ uint32(name[i])) * 16777619
	}
	return (x ^ x>>13) % nameStripes
}

// order begins a change of a name; end is called once its event was sent.
func (h *watchHub) order(dir fs.FileID, name string) (end func()) {
	m := &h.names[h.stripe(dir, name)]
	m.Lock()
	return m.Unlock
}

// orderOf is order for a change of several names.
func (h *watchHub) orderOf(names ...fs.Entry) (end func()) {
	at := make([]uint32, len(names))
	for i, n := range names {
		at[i] = h.stripe(n.Dir.ID, n.Name)
	}
	slices.Sort(at) // one order for all, so that nobody waits in a circle
	at = slices.Compact(at)
	for _, i := range at {
		h.names[i].Lock()
	}
	return func() {
		for _, i := range at {
			h.names[i].Unlock()
		}
	}
}

func (h *watchHub) cookie() uint64 { return h.cookies.Add(1) }

// name tells that a name of dir came or went.
func (h *watchHub) name(t fs.EventType, dir fs.FileID, name string, id fs.FileID, typ fs.Type, cookie uint64) {
	if h.count.Load() == 0 {
		return
	}
	h.send(fs.Event{Type: t, Dir: dir, Name: name, ID: id, Object: typ, Cookie: cookie})
}

// object tells that an object changed, under its primary name.
func (h *watchHub) object(t fs.EventType, id fs.FileID) {
	if h.count.Load() == 0 {
		return
	}
	e := fs.Event{Type: t, ID: id}
	err := h.f.db.View(h.f.work, func(r *meta.Reader) error {
		i, err := r.Inode(h.f.work, id)
		if err == nil {
			e.Dir, e.Name, e.Object = i.Parent, i.ParentName, i.Type
		}
		return err
	})
	if err != nil {
		e.Dir = id // gone: whoever watches it hears so
	}
	h.send(e)
}

func (h *watchHub) send(e fs.Event) {
	// Paths first: no reads under the lock.
	path := func(dir fs.FileID) (string, bool) { return h.relative(dir, e) }
	h.mu.Lock()
	ws := make([]*watcher, 0, len(h.watchers))
	for w := range h.watchers {
		ws = append(ws, w)
	}
	h.mu.Unlock()
	type delivery struct {
		w *watcher
		e fs.Event
	}
	var out []delivery
	for _, w := range ws {
		if w.types&e.Type == 0 {
			continue
		}
		switch {
		case w.dir == e.Dir, w.dir == e.ID && e.Type&fs.EventSelfRemoved != 0:
			d := e
			d.Path = e.Name
			out = append(out, delivery{w, d})
		case w.recursive:
			if p, ok := path(w.dir); ok {
				d := e
				d.Path = p
				out = append(out, delivery{w, d})
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, d := range out {
		if _, ok := h.watchers[d.w]; !ok {
			continue
		}
		if len(d.w.ch) >= watchQueue {
			d.w.ch <- fs.Event{Type: fs.EventResync, Dir: d.w.dir} // room for one is kept
			h.drop(d.w)
			continue
		}
		d.w.ch <- d.e
	}
}

// relative is the path of the event below dir.
func (h *watchHub) relative(dir fs.FileID, e fs.Event) (string, bool) {
	var parts []string
	found := false
	err := h.f.db.View(h.f.work, func(r *meta.Reader) error {
		parts = append(parts[:0], e.Name)
		at := e.Dir
		for at != 0 {
			if at == dir {
				found = true
				return nil
			}
			i, err := r.Inode(h.f.work, at)
			if err != nil {
				return err
			}
			parts = append(parts, i.ParentName)
			at = i.Parent
		}
		return nil
	})
	if err != nil || !found {
		return "", false
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/"), true
}
