package nfs3

import (
	"context"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/identity"
	"manifold/internal/wire/sunrpc"
)

// Procedures of RFC 1813 3.3.
const (
	procNull = iota
	procGetAttr
	procSetAttr
	procLookup
	procAccess
	procReadlink
	procRead
	procWrite
	procCreate
	procMkdir
	procSymlink
	procMknod
	procRemove
	procRmdir
	procRename
	procLink
	procReadDir
	procReadDirPlus
	procFSStat
	procFSInfo
	procPathConf
	procCommit
	procCount
)

var procNames = [procCount]string{
	"NULL", "GETATTR", "SETATTR", "LOOKUP", "ACCESS", "READLINK", "READ", "WRITE", "CREATE", "MKDIR", "SYMLINK",
	"MKNOD", "REMOVE", "RMDIR", "RENAME", "LINK", "READDIR", "READDIRPLUS", "FSSTAT", "FSINFO", "PATHCONF", "COMMIT",
}

// Procedures are the names of all that are answered.
func Procedures() []string { return procNames[:] }

// maxIO is the most file data in one READ or WRITE.
const maxIO = 1 << 20

// once tells which procedures must not run twice. WRITE is among them because a
// repeat that runs late could undo a newer WRITE.
func once(_, proc uint32) bool {
	switch proc {
	case procSetAttr, procWrite, procCreate, procMkdir, procSymlink, procMknod, procRemove, procRmdir, procRename, procLink:
		return true
	}
	return false
}

// quick tells which procedures change nothing and so wait for no disk to be
// flushed; a READ may wait for one block.
func quick(_, proc uint32) bool {
	switch proc {
	case procNull, procGetAttr, procLookup, procAccess, procReadlink, procRead, procFSInfo, procPathConf:
		return true
	}
	return false
}

// replySize tells how long the results may get, from a copy of the arguments.
func replySize(c *sunrpc.Call) int {
	const small = 360 // LOOKUP and CREATE with two sets of attributes and a handle
	d := c.Args
	switch c.Proc {
	case procRead:
		d.Opaque(maxHandle)
		d.U64()
		return small + int(min(d.U32(), maxIO))
	case procReadDir:
		d.Opaque(maxHandle)
		d.U64()
		d.U64()
		return small + int(min(d.U32(), maxIO))
	case procReadDirPlus:
		d.Opaque(maxHandle)
		d.U64()
		d.U64()
		d.U32()
		return small + int(min(d.U32(), maxIO))
	}
	return small
}

// request is one call while it is answered.
type request struct {
	s       *Server
	ctx     context.Context
	c       *sunrpc.Call
	export  *export.Export // of the call's handle
	caller  *fs.Caller     // nil until the handle was good
	status  Status
	in, out int
	refused bool // a handle was, of which file
	file    fs.FileID

	// What is handed to the file system by pointer, here so that it costs no allocation.
	readReq  fs.ReadRequest
	writeReq fs.WriteRequest
	set      setAttr
	create   fs.CreateSpec
}

var requestPool = sync.Pool{New: func() any { return new(request) }}

// handle answers one call of the NFS program.
func (s *Server) handle(ctx context.Context, c *sunrpc.Call) sunrpc.Accept {
	if c.Proc >= procCount {
		return sunrpc.ProcedureUnavailable
	}
	if c.Proc != procNull && s.o.AuthSys != nil && !s.o.AuthSys() {
		return sunrpc.TooWeak
	}
	q := requestPool.Get().(*request)
	q.s, q.ctx, q.c = s, ctx, c
	a := q.dispatch()
	s.ops[c.Proc].Add(1)
	d := time.Since(c.Start)
	if s.o.Observer != nil {
		o := Op{
			Program: "nfs3", Name: procNames[c.Proc], Proc: c.Proc, Status: q.status, Duration: d,
			In: q.in, Out: q.out, Client: c.Peer.Addr(),
		}
		if q.refused {
			o.Refused, o.File = true, q.file
			if c.Cred.Flavor == sunrpc.FlavorSys {
				o.User = identity.UID(c.Cred.UID)
			}
		}
		s.o.Observer.Observe(o)
	}
	if d >= s.o.SlowOp {
		s.quiet.Do(func() {
			s.o.Logger.WarnContext(ctx, "slow NFS call", "procedure", procNames[c.Proc], "duration", d,
				"status", q.status.String(), "client", c.Peer)
		})
	}
	*q = request{}
	requestPool.Put(q)
	return a
}

func (q *request) dispatch() sunrpc.Accept {
	switch q.c.Proc {
	case procNull:
		return sunrpc.Success
	case procGetAttr:
		return q.getAttr()
	case procSetAttr:
		return q.setAttrs()
	case procLookup:
		return q.lookup()
	case procAccess:
		return q.access()
	case procReadlink:
		return q.readlink()
	case procRead:
		return q.read()
	case procWrite:
		return q.write()
	case procCreate:
		return q.createFile()
	case procMkdir:
		return q.mkdir()
	case procSymlink:
		return q.symlink()
	case procMknod:
		return q.mknod()
	case procRemove:
		return q.remove(fs.RemoveFile)
	case procRmdir:
		return q.remove(fs.RemoveDir)
	case procRename:
		return q.rename()
	case procLink:
		return q.link()
	case procReadDir:
		return q.readDir()
	case procReadDirPlus:
		return q.readDirPlus()
	case procFSStat:
		return q.fsStat()
	case procFSInfo:
		return q.fsInfo()
	case procPathConf:
		return q.pathConf()
	case procCommit:
		return q.commit()
	}
	return sunrpc.ProcedureUnavailable
}

// enter reads the bytes of a handle and finds its export and who calls under it.
func (q *request) enter(fh []byte) (handle, Status) {
	h, st := q.admit(fh)
	if st != OK {
		q.refused, q.file = true, h.node.ID
	}
	return h, st
}

func (q *request) admit(fh []byte) (handle, Status) {
	h, st := q.s.handles.get(fh)
	if st != OK {
		return h, st
	}
	x, ok := q.s.o.Exports.ByID(h.export)
	if !ok {
		return h, ErrStale
	}
	root, err := q.s.rootOf(q.ctx, x, false)
	if err != nil {
		if k := fs.KindOf(err); k == fs.NotExist || k == fs.NotDir {
			return h, ErrStale
		}
		return h, q.fail("find export", err)
	}
	if root != h.root {
		return h, ErrStale
	}
	caller, err := q.s.callerOf(q.ctx, q.c, x)
	if err != nil {
		return h, q.fail("expand caller", err)
	}
	q.export = x
	if caller == nil {
		return h, ErrAcces
	}
	q.caller = caller
	return h, OK
}

// enterTwo is enter for calls with two handles, which must be of one export.
func (q *request) enterTwo(first, second []byte) (a, b handle, st Status) {
	defer func() {
		if st != OK && !q.refused {
			q.refused, q.file = true, b.node.ID
		}
	}()
	if a, st = q.enter(first); st != OK {
		return a, b, st
	}
	if b, st = q.s.handles.get(second); st != OK {
		return a, b, st
	}
	if b.export != a.export {
		return a, b, ErrXDev
	}
	if b.root != a.root {
		return a, b, ErrStale
	}
	return a, b, OK
}

// fail answers the status of an error and logs those that are our fault.
func (q *request) fail(op string, err error) Status {
	st := StatusOf(err)
	if st == ErrServerFault || st == ErrIO {
		q.s.quiet.Do(func() {
			q.s.o.Logger.ErrorContext(q.ctx, "NFS call failed", "operation", op, "program", q.c.Prog, "procedure", q.c.Proc,
				"client", q.c.Peer, "error", err)
		})
	}
	return st
}

// reply begins the results with their status.
func (q *request) reply(st Status) *sunrpc.Encoder {
	q.status = st
	q.c.Reply.U32(uint32(st))
	return &q.c.Reply
}

// putHandle encodes an nfs_fh3.
func (q *request) putHandle(e *sunrpc.Encoder, root fs.FileID, n fs.Node) {
	var b [handleSize]byte
	q.s.handles.put(&b, handle{node: n, root: root, export: q.export.ID})
	e.Opaque(b[:])
}

const garbage = sunrpc.GarbageArgs

// maxNameArg bounds a name in arguments. Longer ones than fs.MaxName are
// answered NAMETOOLONG, not as garbage.
const maxNameArg = 4096
