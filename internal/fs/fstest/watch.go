package fstest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"manifold/internal/fs"
)

func (e *env) watch(dir fs.Node, recursive bool, types fs.EventType) (<-chan fs.Event, context.CancelFunc) {
	e.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	ch, err := e.Watch(ctx, dir.ID, recursive, types)
	e.must(err)
	return ch, cancel
}

// next waits for an event.
func (e *env) next(ch <-chan fs.Event) fs.Event {
	e.Helper()
	select {
	case ev, ok := <-ch:
		if !ok {
			e.Fatal("the watch has ended")
		}
		return ev
	case <-time.After(20 * time.Second):
		e.Fatal("no event")
	}
	panic("not reached")
}

const namesOnly = fs.EventAdded | fs.EventRemoved | fs.EventMovedFrom | fs.EventMovedTo

var watchTests = []test{
	{"names", func(e *env) {
		d := e.mkdir(e.home, "d")
		ch, cancel := e.watch(e.home, false, namesOnly)
		defer cancel()
		f := e.file(e.home, "f", "data")
		e.file(d, "below", "")
		_, err := e.rename(e.home, "f", e.home, "g")
		e.must(err)
		_, err = e.Remove(e.ctx, e.root, e.home, "g", fs.RemoveAny)
		e.must(err)
		ev := e.next(ch)
		if ev.Type != fs.EventAdded || ev.Name != "f" || ev.Dir != e.home.ID || ev.ID != f.ID || ev.Object != fs.File {
			e.Fatalf("create: %+v", ev)
		}
		from, to := e.next(ch), e.next(ch)
		if from.Type != fs.EventMovedFrom || from.Name != "f" || to.Type != fs.EventMovedTo || to.Name != "g" ||
			from.Cookie == 0 || from.Cookie != to.Cookie {
			e.Fatalf("rename: %+v, %+v", from, to)
		}
		if ev = e.next(ch); ev.Type != fs.EventRemoved || ev.Name != "g" || ev.ID != f.ID {
			e.Fatalf("remove: %+v", ev)
		}
	}},
	{"recursive", func(e *env) {
		d := e.mkdir(e.mkdir(e.home, "a"), "b")
		ch, cancel := e.watch(e.home, true, namesOnly)
		defer cancel()
		e.file(d, "f", "")
		if ev := e.next(ch); ev.Type != fs.EventAdded || ev.Path != "a/b/f" || ev.Dir != d.ID {
			e.Fatalf("create below: %+v", ev)
		}
	}},
	{"objects", func(e *env) {
		f := e.file(e.home, "f", "data")
		for _, c := range []struct {
			typ    fs.EventType
			change func() error
		}{
			{fs.EventData, func() error {
				_, err := e.Write(e.ctx, e.root, f, &fs.WriteRequest{Data: []byte("x"), Stability: fs.FileSync})
				return err
			}},
			{fs.EventSize, func() error {
				_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Size: ptr(uint64(1))})
				return err
			}},
			{fs.EventACL, func() error {
				_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Mode: ptr(fs.Mode(0o600))})
				return err
			}},
			{fs.EventTimes, func() error {
				_, err := e.SetAttr(e.ctx, e.root, f, &fs.SetAttr{Mtime: &fs.TimeSet{Now: true}})
				return err
			}},
			{fs.EventXattr, func() error {
				_, err := e.SetMeta(e.ctx, e.root, f, fs.MetaXattr, "k", nil, fs.MetaUpsert)
				return err
			}},
			{fs.EventStream, func() error {
				_, err := e.CreateStream(e.ctx, e.root, f, "s", true)
				return err
			}},
		} {
			ch, cancel := e.watch(e.home, false, c.typ)
			e.must(c.change())
			if ev := e.next(ch); ev.Type&c.typ == 0 || ev.Name != "f" || ev.ID != f.ID {
				e.Fatalf("want %x: %+v", c.typ, ev)
			}
			cancel()
		}
	}},
	{"handles", func(e *env) {
		f := e.file(e.home, "f", "data")
		h := e.mustOpen(e.root, "f", func(o *fs.OpenSpec) { o.Desired |= fs.RightDelete | fs.RightModify | fs.RightWriteAttr })
		for _, c := range []struct {
			typ    fs.EventType
			change func() error
		}{
			{fs.EventData, func() error { _, err := h.Write(e.ctx, &fs.WriteRequest{Data: []byte("x")}); return err }},
			{fs.EventSize, func() error { _, err := h.SetAttr(e.ctx, &fs.SetAttr{Size: ptr(uint64(1))}); return err }},
			{fs.EventTimes, func() error {
				_, err := h.SetAttr(e.ctx, &fs.SetAttr{Mtime: &fs.TimeSet{Now: true}})
				return err
			}},
			{fs.EventRemoved, func() error { // a deletion as SMB does it
				e.must(h.SetDeleteOnClose(e.ctx, true))
				return h.Close(e.ctx)
			}},
		} {
			ch, cancel := e.watch(e.home, false, c.typ)
			e.must(c.change())
			if ev := e.next(ch); ev.Type&c.typ == 0 || ev.Name != "f" || ev.ID != f.ID {
				e.Fatalf("want %x: %+v", c.typ, ev)
			}
			cancel()
		}
	}},
	{"self_removed", func(e *env) {
		d := e.mkdir(e.home, "d")
		ch, cancel := e.watch(d, false, fs.EventsAll)
		defer cancel()
		_, err := e.Remove(e.ctx, e.root, e.home, "d", fs.RemoveAny)
		e.must(err)
		for e.next(ch).Type&fs.EventSelfRemoved == 0 {
		}
	}},
	{"ends", func(e *env) {
		ch, cancel := e.watch(e.home, false, fs.EventsAll)
		cancel()
		e.eventually("end of the watch", func() bool {
			select {
			case _, ok := <-ch:
				return !ok
			default:
				return false
			}
		})
		_, err := e.Watch(e.ctx, 1<<40, false, fs.EventsAll)
		e.want(err, fs.Stale)
		_, err = e.Watch(e.ctx, e.file(e.home, "f", "").ID, false, fs.EventsAll)
		e.want(err, fs.NotDir)
	}},
}

func (e *env) lock(n fs.Node, owner string, off, length uint64, exclusive bool) (*fs.LockConflictInfo, error) {
	return e.Lock(e.ctx, e.root, &fs.LockRequest{
		Node: n, Owner: fs.LockOwner{Client: "client-" + owner, Owner: owner}, Range: fs.LockRange{Offset: off, Length: length}, Exclusive: exclusive,
	})
}

// lockTests check that the lock table is wired; its own suite is elsewhere.
var lockTests = []test{
	{"conflict", func(e *env) {
		f := e.file(e.home, "f", "data")
		_, err := e.lock(f, "a", 0, 10, true)
		e.must(err)
		info, err := e.lock(f, "b", 5, 10, true)
		e.want(err, fs.LockConflict)
		if info == nil || info.Owner.Owner != "a" {
			e.Fatalf("conflict with %+v", info)
		}
		_, err = e.lock(f, "b", 10, 10, true)
		e.must(err)
		e.must(e.Unlock(e.ctx, e.root, &fs.LockRequest{Node: f, Owner: fs.LockOwner{Client: "client-a", Owner: "a"}, Range: fs.LockRange{Offset: 0, Length: 10}}))
		_, err = e.lock(f, "b", 0, 10, true)
		e.must(err)
		n, err := e.ReleaseClient(e.ctx, "client-b")
		e.must(err)
		if n == 0 {
			e.Fatal("nothing released")
		}
		_, err = e.lock(f, "a", 0, 0, true)
		e.must(err)
		// Advisory: nobody is kept from writing.
		e.write(f, 0, "more")
	}},
	{"waiter", func(e *env) {
		f := e.file(e.home, "f", "")
		_, err := e.lock(f, "a", 0, 0, true)
		e.must(err)
		w, err := e.LockWait(e.ctx, e.root, &fs.LockRequest{Node: f, Owner: fs.LockOwner{Client: "client-b", Owner: "b"}, Exclusive: true})
		e.must(err)
		if w == nil {
			e.Fatal("granted at once")
		}
		_, err = e.ReleaseClient(e.ctx, "client-a")
		e.must(err)
		select {
		case <-w.Granted():
		case <-time.After(20 * time.Second):
			e.Fatal("not granted")
		}
		var list []string
		e.must(e.LockList(e.ctx, f, func(l *fs.LockInfo) bool { list = append(list, fmt.Sprint(l.Owner.Owner, l.Waiting)); return true }))
		if !slices.Equal(list, []string{"bfalse"}) {
			e.Fatalf("locks %v", list)
		}
	}},
	{"mandatory", func(e *env) {
		f := e.file(e.home, "f", "data")
		smb := func(o *fs.OpenSpec) { o.Space = fs.LockSMB }
		h := e.mustOpen(e.root, "f", smb)
		h2 := e.mustOpen(e.root, "f", smb)
		_, err := e.Lock(e.ctx, e.root, &fs.LockRequest{
			Node: f, Space: fs.LockSMB, Owner: fs.LockOwner{Client: "smb", Owner: "1"}, Range: fs.LockRange{Offset: 0, Length: 2}, Exclusive: true, Handle: h.ID(),
		})
		e.must(err)
		buf := make([]byte, 2)
		_, err = h.Write(e.ctx, &fs.WriteRequest{Data: buf})
		e.must(err)
		_, err = h2.Write(e.ctx, &fs.WriteRequest{Data: buf})
		e.want(err, fs.LockConflict)
		_, err = h2.Read(e.ctx, 0, buf)
		e.want(err, fs.LockConflict)
		_, err = h2.Write(e.ctx, &fs.WriteRequest{Offset: 2, Data: buf})
		e.must(err)
		e.must(h.Close(e.ctx)) // its locks go with it
		_, err = h2.Write(e.ctx, &fs.WriteRequest{Data: buf})
		e.must(err)
		e.must(h2.Close(e.ctx))
	}},
}
