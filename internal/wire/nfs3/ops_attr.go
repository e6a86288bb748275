package nfs3

import (
	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

func (q *request) getAttr() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	if st != OK {
		q.reply(st)
		return sunrpc.Success
	}
	a, err := q.s.o.FS.GetAttr(q.ctx, q.caller, h.node, fs.AttrBasic)
	if err != nil {
		q.reply(q.fail("getattr", err))
		return sunrpc.Success
	}
	q.attr(q.reply(OK), &a)
	return sunrpc.Success
}

func (q *request) setAttrs() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	q.set.decode(d)
	var guard fs.Time
	if d.Bool() {
		guard = decodeTime(d)
		q.set.GuardCtime = &guard
	}
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	var ch *fs.Changed
	if st == OK {
		q.set.OwnerOverride = true
		got, err := q.s.o.FS.SetAttr(q.ctx, q.caller, h.node, &q.set.SetAttr)
		if err != nil {
			st = q.fail("setattr", err)
		} else {
			ch = &got
		}
	}
	q.wcc(q.reply(st), h.node, ch)
	return sunrpc.Success
}

// Access bits of RFC 1813 3.3.4.
const (
	accessRead    = 0x01
	accessLookup  = 0x02
	accessModify  = 0x04
	accessExtend  = 0x08
	accessDelete  = 0x10
	accessExecute = 0x20
)

// accessRights answers the rights that an access bit stands for, 0 if the bit
// has no meaning for the type. A client adds a name where it has EXTEND and
// takes one away where it has DELETE; MODIFY of a directory is both of a name's
// removal and its replacement, so it asks for the right to delete children.
func accessRights(bit uint32, dir bool) fs.Rights {
	switch {
	case bit == accessRead:
		return fs.RightRead
	case bit == accessLookup && dir:
		return fs.RightTraverse
	case bit == accessModify && dir:
		return fs.RightDeleteChild
	case bit == accessModify:
		return fs.RightModify
	case bit == accessExtend && dir:
		return fs.RightAddFile | fs.RightAddSubdir
	case bit == accessExtend:
		return fs.RightExtend
	case bit == accessDelete && dir:
		return fs.RightDeleteChild
	case bit == accessExecute && !dir:
		return fs.RightExecute
	}
	return 0
}

func (q *request) access() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	asked := d.U32()
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	if st != OK {
		q.reply(st).U32(0)
		return sunrpc.Success
	}
	a, err := q.s.o.FS.GetAttr(q.ctx, q.caller, h.node, fs.AttrBasic)
	var granted uint32
	if err == nil {
		dir := a.Type == fs.Directory
		var want fs.Rights
		for bit := uint32(accessRead); bit <= accessExecute; bit <<= 1 {
			if asked&bit != 0 {
				want |= accessRights(bit, dir)
			}
		}
		var have fs.Rights
		have, err = q.s.o.FS.Access(q.ctx, q.caller, h.node, want)
		for bit := uint32(accessRead); bit <= accessExecute; bit <<= 1 {
			if r := accessRights(bit, dir); asked&bit != 0 && r != 0 && have&r == r {
				granted |= bit
			}
		}
	}
	if err != nil {
		q.postAttr(q.reply(q.fail("access", err)), h.node, nil)
		return sunrpc.Success
	}
	e := q.reply(OK)
	q.postAttr(e, h.node, &a)
	e.U32(granted)
	return sunrpc.Success
}

func (q *request) fsStat() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	var f fs.StatFS
	if st == OK {
		var err error
		if f, err = q.s.o.FS.StatFS(q.ctx, q.caller, h.node); err != nil {
			st = q.fail("statfs", err)
		}
	}
	e := q.reply(st)
	q.postAttr(e, h.node, nil)
	if st != OK {
		return sunrpc.Success
	}
	e.U64(q.export.ShowFSSize(f.TotalBytes))
	e.U64(q.export.ShowFSSize(f.FreeBytes))
	e.U64(q.export.ShowFSSize(f.AvailBytes))
	e.U64(f.TotalFiles)
	e.U64(f.FreeFiles)
	e.U64(f.FreeFiles)
	e.U32(0) // figures may change at any time
	return sunrpc.Success
}

// Properties of RFC 1813 3.3.19: hard links, symbolic links, PATHCONF the same
// everywhere, times can be set.
const properties = 0x01 | 0x02 | 0x08 | 0x10

const preferredDir = 128 << 10

func (q *request) fsInfo() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	e := q.reply(st)
	q.postAttr(e, h.node, nil)
	if st != OK {
		return sunrpc.Success
	}
	e.U32(maxIO) // rtmax
	e.U32(maxIO) // rtpref
	e.U32(fs.BlockSize)
	e.U32(maxIO) // wtmax
	e.U32(maxIO) // wtpref
	e.U32(fs.BlockSize)
	e.U32(preferredDir)
	e.U64(fs.MaxFileSize)
	e.U32(0) // times are exact to
	e.U32(1) // 1 ns
	e.U32(properties)
	return sunrpc.Success
}

func (q *request) pathConf() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	e := q.reply(st)
	q.postAttr(e, h.node, nil)
	if st != OK {
		return sunrpc.Success
	}
	e.U32(fs.MaxLinks)
	e.U32(fs.MaxName)
	e.Bool(true)  // no truncation of names
	e.Bool(true)  // chown restricted
	e.Bool(false) // case insensitive
	e.Bool(true)  // case preserving
	return sunrpc.Success
}
