package nfs3

import (
	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

// Cookies of the two entries that the file system does not list. A cookie is
// where the next listing goes on, so these are of "." and "..".
const (
	cookieDot    = 1
	cookieDotDot = 2
)

// Sizes of the results beside the entries: attributes of the directory, cookie
// verifier, end of the list, eof. The status is not counted.
const listFrame = 4 + fattrSize + 8 + 4 + 4

// lister fills a reply with entries.
type lister struct {
	q       *request
	e       *sunrpc.Encoder
	h       handle
	plus    bool
	end     int // where the entries must end
	dirLeft int // bytes of names and cookies left, READDIRPLUS
	n       int // entries in the reply
}

// add appends one entry, or answers false if there is no room.
func (l *lister) add(node fs.Node, name string, cookie uint64, a *fs.Attr) bool {
	padded := (len(name) + 3) &^ 3
	info := 8 + 4 + padded + 8
	size := 4 + info
	if l.plus {
		size += 4 + fattrSize + 4 + 4 + handleSize
	}
	if l.e.Len()+size > l.end {
		return false
	}
	if l.plus {
		if l.dirLeft < info && l.n > 0 {
			return false
		}
		l.dirLeft -= info
	}
	l.n++
	l.e.U32(1)
	l.e.U64(l.q.fileID(node))
	l.e.String(name)
	l.e.U64(cookie)
	if !l.plus {
		return true
	}
	if a == nil || a.Mask&fs.AttrBasic != fs.AttrBasic {
		l.e.U64(0) // gone meanwhile: neither attributes nor handle
		return true
	}
	l.e.U32(1)
	l.q.attr(l.e, a)
	l.e.U32(1)
	l.q.putHandle(l.e, l.h.root, node)
	return true
}

func (q *request) readDir() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	cookie := d.U64()
	d.U64() // verifier: cookies stay good as long as the directory lives
	count := d.U32()
	if !d.OK() {
		return garbage
	}
	return q.list(fh, cookie, count, count, false)
}

func (q *request) readDirPlus() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	cookie := d.U64()
	d.U64()
	dirCount, maxCount := d.U32(), d.U32()
	if !d.OK() {
		return garbage
	}
	return q.list(fh, cookie, dirCount, maxCount, true)
}

func (q *request) list(fh []byte, cookie uint64, dirCount, maxCount uint32, plus bool) sunrpc.Accept {
	h, st := q.enter(fh)
	if st != OK {
		q.reply(st).U32(0)
		return sunrpc.Success
	}
	e := &q.c.Reply
	start := e.Len()
	failed := func(st Status, a *fs.Attr) sunrpc.Accept {
		e.Truncate(start)
		q.postAttr(q.reply(st), h.node, a)
		return sunrpc.Success
	}
	dir, err := q.s.o.FS.GetAttr(q.ctx, q.caller, h.node, fs.AttrBasic)
	switch {
	case err != nil:
		return failed(q.fail("readdir", err), nil)
	case dir.Type != fs.Directory:
		return failed(ErrNotDir, &dir)
	case cookie > 1<<63-1:
		return failed(ErrBadCookie, &dir)
	}
	q.reply(OK)
	q.postAttr(e, h.node, &dir)
	e.U64(0) // cookie verifier
	l := &lister{
		q: q, e: e, h: h, plus: plus, dirLeft: int(min(dirCount, maxIO)),
		end: start + 4 + int(min(maxCount, maxIO)) - 8,
	}
	full := false
	if cookie < cookieDot {
		full = !l.add(h.node, ".", cookieDot, &dir)
	}
	if cookie < cookieDotDot && !full {
		full = !l.dotDot(&dir)
	}
	want := fs.AttrMask(0)
	switch {
	case plus:
		want = fs.AttrBasic
	case h.node.Snap == fs.SnapshotDir:
		want = fs.AttrType // for the node: entries there are one object at many times
	}
	eof := false
	if !full {
		eof, err = q.s.o.FS.ReadDir(q.ctx, q.caller, h.node, max(cookie, cookieDotDot), want, func(x *fs.Dirent) bool {
			node := fs.Node{ID: x.ID, Snap: h.node.Snap}
			if x.Attr.Mask != 0 {
				node = x.Attr.Node
			}
			return l.add(node, x.Name, x.Cookie, &x.Attr)
		})
		if err != nil {
			return failed(q.fail("readdir", err), &dir)
		}
	}
	if l.n == 0 && !eof {
		return failed(ErrTooSmall, &dir)
	}
	e.U32(0)
	e.Bool(eof)
	return sunrpc.Success
}

// dotDot appends the entry "..". One who may list a directory but not pass
// through it cannot be told of the parent; it then shows as the directory.
func (l *lister) dotDot(dir *fs.Attr) bool {
	a, err := l.q.find(l.h, "..")
	if err != nil {
		a = *dir
	}
	return l.add(a.Node, "..", cookieDotDot, &a)
}
