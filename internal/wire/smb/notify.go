package smb

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"manifold/internal/fs"
)

// Filters of CHANGE_NOTIFY, [MS-SMB2] 2.2.35.
const (
	filterFileName   = 0x001
	filterDirName    = 0x002
	filterAttributes = 0x004
	filterSize       = 0x008
	filterWrite      = 0x010
	filterAccess     = 0x020
	filterCreation   = 0x040
	filterEA         = 0x080
	filterSecurity   = 0x100
	filterStreamName = 0x200
	filterStreamSize = 0x400
	filterStreamData = 0x800
)

// Actions, [MS-FSCC] 2.4.42.
const (
	actionAdded = iota + 1
	actionRemoved
	actionModified
	actionOldName
	actionNewName
	actionAddedStream
	actionRemovedStream
	actionModifiedStream
)

const maxWatchQueue = 4096

// halfRename is how long the second half of a rename is waited for; both are
// sent at once, so that it only matters if that one is out of sight.
const halfRename = 20 * time.Millisecond

// watchState collects the changes of a directory for one open.
type watchState struct {
	filter uint32
	deep   bool
	limit  int // buffer of the first request: what the open may buffer

	mu    sync.Mutex
	queue []change
	size  int
	lost  bool
	ended status // nothing will come any more
	// waiters are the requests that wait, in the order they came, which is that
	// of their answers.
	waiters []*watchWaiter
	cancel  context.CancelFunc
}

// watchWaiter is a request that waits; woken when it may be its turn.
type watchWaiter struct{ woken chan struct{} }

func (w *watchState) join() *watchWaiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	me := &watchWaiter{make(chan struct{}, 1)}
	w.waiters = append(w.waiters, me)
	return me
}

// leave lets the next have its turn: there may be something left.
func (w *watchState) leave(me *watchWaiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiters = slices.DeleteFunc(w.waiters, func(o *watchWaiter) bool { return o == me })
	w.wake()
}

type change struct {
	action uint32
	name   string
}

func (w *watchState) end(st status) {
	w.mu.Lock()
	if w.ended == 0 {
		w.ended = st
	}
	w.wake()
	w.mu.Unlock()
	w.cancel()
}

// wake tells who has waited longest; needs mu.
func (w *watchState) wake() {
	if len(w.waiters) == 0 {
		return
	}
	select {
	case w.waiters[0].woken <- struct{}{}:
	default:
	}
}

func (w *watchState) add(action uint32, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.queue)
	if action == actionModified && n > 0 && w.queue[n-1] == (change{action, name}) {
		return
	}
	w.size += 12 + 2*len(name) + 4
	if n >= maxWatchQueue || w.size > max(w.limit, 64)+64<<10 {
		w.queue, w.size, w.lost = nil, 0, true
	} else if !w.lost {
		w.queue = append(w.queue, change{action, name})
	}
	w.wake()
}

// eventsOf answers what of the core's events a filter wants.
func eventsOf(filter uint32) fs.EventType {
	t := fs.EventSelfRemoved | fs.EventResync
	if filter&(filterFileName|filterDirName) != 0 {
		t |= fs.EventAdded | fs.EventRemoved | fs.EventMovedFrom | fs.EventMovedTo
	}
	if filter&filterAttributes != 0 {
		t |= fs.EventAttr
	}
	if filter&filterSize != 0 {
		t |= fs.EventSize
	}
	if filter&(filterWrite|filterAccess|filterCreation) != 0 {
		t |= fs.EventTimes | fs.EventData | fs.EventSize
	}
	if filter&filterEA != 0 {
		t |= fs.EventXattr
	}
	if filter&filterSecurity != 0 {
		t |= fs.EventACL | fs.EventOwner
	}
	if filter&(filterStreamName|filterStreamSize|filterStreamData) != 0 {
		t |= fs.EventStream
	}
	if filter&filterAttributes != 0 {
		t |= fs.EventAdded | fs.EventRemoved | fs.EventMovedFrom | fs.EventMovedTo
	}
	return t
}

func (w *watchState) run(events <-chan fs.Event) {
	var moved fs.Event // the first half of a rename
	var movedName string
	flush := func() { // its second half did not come: it went out of sight
		if moved.Type != 0 {
			w.add(actionRemoved, movedName)
			moved = fs.Event{}
		}
	}
	for {
		var late <-chan time.Time
		if moved.Type != 0 {
			late = time.After(halfRename)
		}
		var e fs.Event
		var ok bool
		select {
		case <-late:
			flush()
			continue
		case e, ok = <-events:
		}
		if !ok {
			flush()
			return
		}
		name := e.Name
		if e.Path != "" {
			name = strings.ReplaceAll(e.Path, "/", "\\")
		}
		if e.Type&fs.EventMovedTo == 0 {
			flush()
		}
		isDir := e.Object == fs.Directory
		named := w.filter&filterFileName != 0 && !isDir || w.filter&filterDirName != 0 && isDir
		switch {
		case e.Type&fs.EventResync != 0:
			w.mu.Lock()
			w.queue, w.size, w.lost = nil, 0, true
			w.wake()
			w.mu.Unlock()
		case e.Type&fs.EventSelfRemoved != 0:
			w.end(stDeletePending)
		case e.Type&fs.EventMovedFrom != 0:
			if named {
				moved, movedName = e, name
			}
		case e.Type&fs.EventMovedTo != 0:
			// Only within one directory it is a new name.
			from, fromName := moved, movedName
			same := from.Type != 0 && from.Cookie == e.Cookie
			if same {
				moved = fs.Event{}
			} else {
				flush()
			}
			switch {
			case !named:
				if w.filter&filterAttributes != 0 && !isDir {
					w.add(actionModified, name) // renaming marks a file for archiving
				}
			case same && from.Dir == e.Dir:
				w.add(actionOldName, fromName)
				w.add(actionNewName, name)
			case same:
				w.add(actionRemoved, fromName)
				w.add(actionAdded, name)
			default:
				w.add(actionAdded, name)
			}
		case e.Type&fs.EventAdded != 0:
			if named {
				w.add(actionAdded, name)
			}
		case e.Type&fs.EventRemoved != 0:
			if named {
				w.add(actionRemoved, name)
			}
		case e.Type&fs.EventStream != 0:
			w.add(actionModifiedStream, name)
		default:
			w.add(actionModified, name)
		}
	}
}

func (r *request) changeNotify() status {
	p := r.payload()
	flags, limit := le.Uint16(p[2:]), int(le.Uint32(p[4:]))
	filter := le.Uint32(p[24:])
	o, st := r.file(p[8:24])
	if st != stOK {
		return st
	}
	switch {
	case limit < 0 || limit > r.c.s.o.MaxTransact || !r.needs(limit):
		return stInvalidParameter
	case !o.isDir || o.handle == nil:
		return stInvalidParameter
	case o.granted&fs.RightList == 0:
		return stAccessDenied
	case r.tree.shared().NoChangeNotify:
		return stNotImplemented
	}
	if r.index != r.ch.last {
		return stInternalError
	}
	r.c.s.mu.Lock()
	pending := o.file != nil && o.file.pending
	r.c.s.mu.Unlock()
	if pending {
		return stDeletePending
	}
	o.mu.Lock()
	w, begun := o.notify, false
	if w == nil {
		ctx, cancel := context.WithCancel(o.ctx)
		w = &watchState{filter: filter, deep: flags&1 != 0, limit: limit, cancel: cancel}
		events, err := r.c.s.o.FS.Watch(ctx, o.node.ID, w.deep, eventsOf(filter))
		if err != nil {
			cancel()
			o.mu.Unlock()
			return statusOf(err)
		}
		o.notify, begun = w, true
		r.c.s.wg.Add(1)
		go func() {
			defer r.c.s.wg.Done()
			w.run(events)
		}()
	}
	o.mu.Unlock()
	if begun {
		r.c.s.tell(Access{Kind: Watch, Client: r.c.remote, Cred: r.caller.Cred, Share: r.tree.name, Node: o.node})
	}
	pended := false
	me := w.join()
	defer w.leave(me)
	for {
		out, st, ok := w.take(me, limit)
		if ok {
			if st != stOK {
				return r.notifyEnds(st)
			}
			b := make([]byte, 8, 8+len(out))
			b[0], b[2] = 9, headerSize+8
			le.PutUint32(b[4:], uint32(len(out)))
			r.body = append(b, out...)
			return stOK
		}
		if !pended {
			pended = true
			r.pend()
		}
		select {
		case <-me.woken:
		case <-r.ctx.Done():
			return stCancelled
		}
	}
}

func (r *request) notifyEnds(st status) status {
	if st == stNotifyCleanup || st == stNotifyEnumDir {
		r.body = []byte{9, 0, 0, 0, 0, 0, 0, 0}
	}
	return st
}

// take answers what has come in, if anything has and it is the turn of me.
func (w *watchState) take(me *watchWaiter, limit int) (out []byte, st status, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiters[0] != me {
		return nil, 0, false
	}
	if w.lost {
		w.lost = false
		w.queue, w.size = nil, 0
		return nil, stNotifyEnumDir, true
	}
	if len(w.queue) == 0 {
		if w.ended != 0 {
			return nil, w.ended, true
		}
		return nil, 0, false
	}
	// An old name travels with its new one.
	last := -1
	for _, c := range w.queue {
		if last >= 0 {
			out = alignTo(out, 0, 4)
			le.PutUint32(out[last:], uint32(len(out)-last))
		}
		last = len(out)
		n := encodeUTF16(c.name)
		out = le.AppendUint32(out, 0)
		out = le.AppendUint32(out, c.action)
		out = le.AppendUint32(out, uint32(len(n)))
		out = append(out, n...)
	}
	w.queue, w.size = nil, 0
	if len(out) > min(limit, w.limit) { // what the first request said holds for all
		return nil, stNotifyEnumDir, true
	}
	return out, stOK, true
}
