package nfs3

import (
	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

func (q *request) lookup() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	name := string(d.Opaque(maxNameArg))
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	if st != OK {
		q.reply(st).U32(0)
		return sunrpc.Success
	}
	a, err := q.find(h, name)
	if err != nil {
		q.postAttr(q.reply(q.fail("lookup", err)), h.node, nil)
		return sunrpc.Success
	}
	e := q.reply(OK)
	q.putHandle(e, h.root, a.Node)
	q.postAttr(e, a.Node, &a)
	q.postAttr(e, h.node, nil)
	return sunrpc.Success
}

// find looks a name up without leaving the export: ".." of its directory is
// the directory itself, and ".." of the directory's own snapshots leads back to
// ".snapshot" even where a snapshot was taken further up.
func (q *request) find(h handle, name string) (fs.Attr, error) {
	node := h.node
	if name == ".." && node.ID == h.root && node.Snap != fs.SnapshotDir {
		if node.Live() {
			name = "."
		} else {
			return q.s.o.FS.GetAttr(q.ctx, q.caller, fs.Node{ID: node.ID, Snap: fs.SnapshotDir}, fs.AttrBasic)
		}
	}
	return q.s.o.FS.Lookup(q.ctx, q.caller, node, name, fs.AttrBasic)
}

func (q *request) readlink() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	var target []byte
	if st == OK {
		var err error
		if target, err = q.s.o.FS.Readlink(q.ctx, q.caller, h.node); err != nil {
			st = q.fail("readlink", err)
		}
	}
	e := q.reply(st)
	q.postAttr(e, h.node, nil)
	if st == OK {
		e.Opaque(target)
	}
	return sunrpc.Success
}

// Modes of CREATE.
const (
	createUnchecked = 0
	createGuarded   = 1
	createExclusive = 2
)

func (q *request) createFile() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	name := string(d.Opaque(maxNameArg))
	q.create.Type = fs.File
	switch d.U32() {
	case createUnchecked:
		q.create.Disposition = fs.CreateUnchecked
		q.set.decode(d)
	case createGuarded:
		q.create.Disposition = fs.CreateNew
		q.set.decode(d)
	case createExclusive:
		q.create.Disposition = fs.CreateExclusive
		q.create.Verifier = d.U64()
	default:
		d.Fail()
	}
	return q.make(fh, name)
}

func (q *request) mkdir() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	name := string(d.Opaque(maxNameArg))
	q.create.Type = fs.Directory
	q.set.decode(d)
	return q.make(fh, name)
}

func (q *request) symlink() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	name := string(d.Opaque(maxNameArg))
	q.create.Type = fs.Symlink
	q.set.decode(d)
	q.create.Target = append([]byte(nil), d.Opaque(maxNameArg)...)
	return q.make(fh, name)
}

func (q *request) mknod() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	name := string(d.Opaque(maxNameArg))
	bad := false
	switch t := d.U32(); t {
	case typeChar, typeBlock:
		q.create.Type = fs.CharDevice
		if t == typeBlock {
			q.create.Type = fs.BlockDevice
		}
		q.set.decode(d)
		q.create.RdevMajor, q.create.RdevMinor = d.U32(), d.U32()
	case typeSocket, typeFIFO:
		q.create.Type = fs.FIFO
		if t == typeSocket {
			q.create.Type = fs.Socket
		}
		q.set.decode(d)
	default:
		bad = true // of a type that is not made here; its data is unknown
	}
	if !bad {
		return q.make(fh, name)
	}
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	if st == OK {
		st = ErrBadType
	}
	q.wcc(q.reply(st), h.node, nil)
	return sunrpc.Success
}

// make makes what q.create and q.set say.
func (q *request) make(fh []byte, name string) sunrpc.Accept {
	if !q.c.Args.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	if st == OK && (name == "." || name == ".." || name == fs.SnapshotDirName) {
		st = ErrExist
	}
	if st != OK {
		q.wcc(q.reply(st), h.node, nil)
		return sunrpc.Success
	}
	q.create.Set = q.set.SetAttr
	q.create.Set.OwnerOverride = true
	q.create.Want = fs.AttrBasic
	r, err := q.s.o.FS.Create(q.ctx, q.caller, h.node, name, &q.create)
	if err != nil {
		q.wcc(q.reply(q.fail("create", err)), h.node, nil)
		return sunrpc.Success
	}
	e := q.reply(OK)
	e.U32(1)
	q.putHandle(e, h.root, r.Attr.Node)
	q.postAttr(e, r.Attr.Node, &r.Attr)
	q.wcc(e, h.node, dirChange(&r.Dir))
	return sunrpc.Success
}

// dirChange is the change of a directory, or nil if it was not changed, which
// leaves its attributes to be asked for.
func dirChange(ch *fs.Changed) *fs.Changed {
	if !ch.Before.Set && ch.After.Mask == 0 {
		return nil
	}
	return ch
}

func (q *request) remove(mode fs.RemoveMode) sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	name := string(d.Opaque(maxNameArg))
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	if st == OK && mode == fs.RemoveDir {
		switch name {
		case ".":
			st = ErrInval
		case "..":
			st = ErrExist
		}
	}
	if st != OK {
		q.wcc(q.reply(st), h.node, nil)
		return sunrpc.Success
	}
	r, err := q.s.o.FS.Remove(q.ctx, q.caller, h.node, name, mode)
	if err != nil {
		q.wcc(q.reply(q.fail("remove", err)), h.node, nil)
		return sunrpc.Success
	}
	q.wcc(q.reply(OK), h.node, dirChange(&r.Dir))
	return sunrpc.Success
}

func (q *request) rename() sunrpc.Accept {
	d := &q.c.Args
	fromFH := d.Opaque(maxHandle)
	fromName := string(d.Opaque(maxNameArg))
	toFH := d.Opaque(maxHandle)
	toName := string(d.Opaque(maxNameArg))
	if !d.OK() {
		return garbage
	}
	from, to, st := q.enterTwo(fromFH, toFH)
	if st != OK {
		e := q.reply(st)
		q.wcc(e, from.node, nil)
		e.U64(0) // nothing is known of the second directory
		return sunrpc.Success
	}
	r, err := q.s.o.FS.Rename(q.ctx, q.caller, from.node, fromName, to.node, toName, fs.RenameOptions{})
	if err != nil {
		e := q.reply(q.fail("rename", err))
		q.wcc(e, from.node, nil)
		q.wcc(e, to.node, nil)
		return sunrpc.Success
	}
	e := q.reply(OK)
	q.wcc(e, from.node, dirChange(&r.From))
	q.wcc(e, to.node, dirChange(&r.To))
	return sunrpc.Success
}

func (q *request) link() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	dirFH := d.Opaque(maxHandle)
	name := string(d.Opaque(maxNameArg))
	if !d.OK() {
		return garbage
	}
	h, dir, st := q.enterTwo(fh, dirFH)
	if st == OK && (name == "." || name == ".." || name == fs.SnapshotDirName) {
		st = ErrExist
	}
	if st != OK {
		e := q.reply(st)
		q.postAttr(e, h.node, nil)
		e.U64(0)
		return sunrpc.Success
	}
	r, err := q.s.o.FS.Link(q.ctx, q.caller, h.node, dir.node, name)
	if err != nil {
		e := q.reply(q.fail("link", err))
		q.postAttr(e, h.node, nil)
		q.wcc(e, dir.node, nil)
		return sunrpc.Success
	}
	e := q.reply(OK)
	q.postAttr(e, h.node, &r.Target)
	q.wcc(e, dir.node, dirChange(&r.Dir))
	return sunrpc.Success
}
