package nfs3

import (
	"encoding/binary"
	"math"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/wire/sunrpc"
)

// File types, numbered as in RFC 1813 2.6.
const (
	typeReg     = 1
	typeDir     = 2
	typeBlock   = 3
	typeChar    = 4
	typeSymlink = 5
	typeSocket  = 6
	typeFIFO    = 7
)

func wireType(t fs.Type) uint32 {
	switch t {
	case fs.Directory:
		return typeDir
	case fs.Symlink:
		return typeSymlink
	case fs.FIFO:
		return typeFIFO
	case fs.Socket:
		return typeSocket
	case fs.CharDevice:
		return typeChar
	case fs.BlockDevice:
		return typeBlock
	}
	return typeReg
}

// fileID is the file id that clients see: the inode number of live objects, and
// for those in snapshots a number that no live object has.
func (q *request) fileID(n fs.Node) uint64 {
	id := n.ID
	if !n.Live() {
		x := uint64(n.ID) + uint64(n.Snap)*0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		id = fs.FileID(x ^ x>>31 | 1<<63)
	}
	return q.export.ShowFileID(id)
}

const fattrSize = 84

// attr encodes a fattr3.
func (q *request) attr(e *sunrpc.Encoder, a *fs.Attr) {
	put := binary.BigEndian.PutUint32
	put64 := binary.BigEndian.PutUint64
	b := e.Reserve(fattrSize)
	put(b[0:], wireType(a.Type))
	put(b[4:], uint32(a.Mode&fs.ModeAll))
	put(b[8:], a.Links)
	put(b[12:], q.s.o.Identities.UIDOf(a.Owner))
	put(b[16:], q.s.o.Identities.GIDOf(a.Group))
	put64(b[20:], q.export.ShowFileSize(a.Size))
	put64(b[28:], q.export.ShowFileSize(a.DataBytes+a.MetaBytes))
	put(b[36:], a.RdevMajor)
	put(b[40:], a.RdevMinor)
	put64(b[44:], q.s.fsid)
	put64(b[52:], q.fileID(a.Node))
	putTime(b[60:], a.Atime)
	putTime(b[68:], a.Mtime)
	putTime(b[76:], a.Ctime)
}

// putTime writes an nfstime3, which reaches from 1970 to 2106.
func putTime(b []byte, t fs.Time) {
	sec := uint32(min(max(t.Sec, 0), math.MaxUint32))
	binary.BigEndian.PutUint32(b, sec)
	binary.BigEndian.PutUint32(b[4:], t.Nsec)
}

// postAttr encodes a post_op_attr, asking for what a lacks. The object has the
// node n; if it cannot be asked the reply goes without.
func (q *request) postAttr(e *sunrpc.Encoder, n fs.Node, a *fs.Attr) {
	if a == nil || a.Mask&fs.AttrBasic != fs.AttrBasic {
		if q.caller == nil {
			e.U32(0)
			return
		}
		got, err := q.s.o.FS.GetAttr(q.ctx, q.caller, n, fs.AttrBasic)
		if err != nil {
			e.U32(0)
			return
		}
		a = &got
	}
	e.U32(1)
	q.attr(e, a)
}

// wcc encodes wcc_data of an object that a change was tried on. ch is nil if it failed.
func (q *request) wcc(e *sunrpc.Encoder, n fs.Node, ch *fs.Changed) {
	if ch == nil {
		e.U32(0)
		q.postAttr(e, n, nil)
		return
	}
	if ch.Before.Set && ch.Atomic {
		b := e.Reserve(28)
		binary.BigEndian.PutUint32(b, 1)
		binary.BigEndian.PutUint64(b[4:], q.export.ShowFileSize(ch.Before.Size))
		putTime(b[12:], ch.Before.Mtime)
		putTime(b[20:], ch.Before.Ctime)
	} else {
		e.U32(0)
	}
	q.postAttr(e, n, &ch.After)
}

// setAttr is a decoded sattr3 with the places its pointers point to.
type setAttr struct {
	fs.SetAttr
	mode         fs.Mode
	owner, group identity.AuthID
	size         uint64
	atime, mtime fs.TimeSet
}

// decode reads a sattr3.
func (s *setAttr) decode(d *sunrpc.Decoder) {
	if d.Bool() {
		s.mode = fs.Mode(d.U32()) & fs.ModeAll
		s.Mode = &s.mode
	}
	if d.Bool() {
		s.owner = identity.UID(d.U32())
		s.Owner = &s.owner
	}
	if d.Bool() {
		s.group = identity.GID(d.U32())
		s.Group = &s.group
	}
	if d.Bool() {
		s.size = d.U64()
		s.Size = &s.size
	}
	s.Atime = decodeTimeSet(d, &s.atime)
	s.Mtime = decodeTimeSet(d, &s.mtime)
}

func decodeTimeSet(d *sunrpc.Decoder, t *fs.TimeSet) *fs.TimeSet {
	switch d.U32() {
	case 0:
		return nil
	case 1:
		t.Now = true
		return t
	case 2:
		t.Time = decodeTime(d)
		return t
	}
	d.Fail()
	return nil
}

func decodeTime(d *sunrpc.Decoder) fs.Time {
	t := fs.Time{Sec: int64(d.U32()), Nsec: d.U32()}
	if t.Nsec > 999_999_999 {
		// A client's fault that is not worth refusing the call for.
		t.Nsec = 999_999_999
	}
	return t
}
