package nfs3

import (
	"encoding/binary"

	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

// readPrefix are the results before the data: status, attributes, count, eof, length.
const readPrefix = 4 + 4 + fattrSize + 4 + 4 + 4

func (q *request) read() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	off, count := d.U64(), d.U32()
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	if st != OK {
		q.reply(st).U32(0)
		return sunrpc.Success
	}
	n := int(min(count, maxIO))
	e := &q.c.Reply
	start := e.Len()
	// The file system fills the reply in place; what precedes the data has a
	// fixed length if the attributes are there, and Read answers them.
	dst := e.Reserve(readPrefix + n + 3)[readPrefix : readPrefix+n]
	q.readReq = fs.ReadRequest{Offset: off, OwnerOverride: true, Execute: true, Want: fs.AttrBasic}
	r, err := q.s.o.FS.Read(q.ctx, q.caller, h.node, &q.readReq, dst)
	e.Truncate(start)
	if err != nil {
		q.postAttr(q.reply(q.fail("read", err)), h.node, nil)
		return sunrpc.Success
	}
	if r.Attr.Mask&fs.AttrBasic != fs.AttrBasic {
		if r.Attr, err = q.s.o.FS.GetAttr(q.ctx, q.caller, h.node, fs.AttrBasic); err != nil {
			q.reply(q.fail("read", err)).U32(0)
			return sunrpc.Success
		}
	}
	q.reply(OK)
	e.U32(1)
	q.attr(e, &r.Attr)
	e.U32(uint32(r.N))
	e.Bool(r.EOF)
	e.U32(uint32(r.N))
	pad := -r.N & 3
	clear(e.Reserve(r.N + pad)[r.N:])
	q.out = r.N
	return sunrpc.Success
}

func (q *request) write() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	off, count, stable := d.U64(), d.U32(), d.U32()
	data := d.Opaque(d.Left())
	if !d.OK() || stable > uint32(fs.FileSync) {
		return garbage
	}
	h, st := q.enter(fh)
	if st == OK && (uint64(count) != uint64(len(data)) || len(data) > maxIO) {
		st = ErrInval
	}
	if st != OK {
		q.wcc(q.reply(st), h.node, nil)
		return sunrpc.Success
	}
	q.writeReq = fs.WriteRequest{
		Offset: off, Data: data, Owner: q.c.Record, Stability: fs.Stability(stable),
		OwnerOverride: true, Want: fs.AttrBasic,
	}
	r, err := q.s.o.FS.Write(q.ctx, q.caller, h.node, &q.writeReq)
	if err != nil {
		q.wcc(q.reply(q.fail("write", err)), h.node, nil)
		return sunrpc.Success
	}
	e := q.reply(OK)
	q.wcc(e, h.node, dirChange(&r.File))
	b := e.Reserve(16)
	binary.BigEndian.PutUint32(b, uint32(r.Count))
	binary.BigEndian.PutUint32(b[4:], uint32(r.Committed))
	binary.BigEndian.PutUint64(b[8:], uint64(r.Verifier))
	q.in = r.Count
	return sunrpc.Success
}

func (q *request) commit() sunrpc.Accept {
	d := &q.c.Args
	fh := d.Opaque(maxHandle)
	off, count := d.U64(), d.U32()
	if !d.OK() {
		return garbage
	}
	h, st := q.enter(fh)
	if st != OK {
		q.wcc(q.reply(st), h.node, nil)
		return sunrpc.Success
	}
	v, ch, err := q.s.o.FS.Commit(q.ctx, q.caller, h.node, 0, off, uint64(count))
	if err != nil {
		q.wcc(q.reply(q.fail("commit", err)), h.node, nil)
		return sunrpc.Success
	}
	e := q.reply(OK)
	q.wcc(e, h.node, dirChange(&ch))
	e.U64(uint64(v))
	return sunrpc.Success
}
