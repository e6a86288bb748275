package sftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Packet types (draft-ietf-secsh-filexfer-02 section 3).
const (
	typeInit     = 1
	typeVersion  = 2
	typeOpen     = 3
	typeClose    = 4
	typeRead     = 5
	typeWrite    = 6
	typeLstat    = 7
	typeFstat    = 8
	typeSetstat  = 9
	typeFsetstat = 10
	typeOpendir  = 11
	typeReaddir  = 12
	typeRemove   = 13
	typeMkdir    = 14
	typeRmdir    = 15
	typeRealpath = 16
	typeStat     = 17
	typeRename   = 18
	typeReadlink = 19
	typeSymlink  = 20
	typeStatus   = 101
	typeHandle   = 102
	typeData     = 103
	typeName     = 104
	typeAttrs    = 105
	typeExtended = 200
	typeReply    = 201
)

// version that is spoken.
const version = 3

// Limits of a packet, those that OpenSSH's server announces.
const (
	maxPacket = 256 << 10
	maxData   = maxPacket - 1024
)

var errShort = errors.New("sftp: packet ends early")

// reader takes a packet apart. After the first error it answers zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b) {
		r.err = errShort
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) u32() uint32 {
	b := r.take(4)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (r *reader) u64() uint64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func (r *reader) bytes() []byte {
	n := r.u32()
	if n > maxPacket {
		r.err = errShort
		return nil
	}
	return r.take(int(n))
}

func (r *reader) str() string { return string(r.bytes()) }

// Attribute flags (section 5).
const (
	attrSize     = 0x1
	attrUIDGID   = 0x2
	attrMode     = 0x4
	attrTimes    = 0x8
	attrExtended = 0x80000000
)

// attrs are file attributes as on the wire.
type attrs struct {
	flags        uint32
	size         uint64
	uid, gid     uint32
	mode         uint32
	atime, mtime uint32
}

func (r *reader) attrs() (a attrs) {
	a.flags = r.u32()
	if a.flags&attrSize != 0 {
		a.size = r.u64()
	}
	if a.flags&attrUIDGID != 0 {
		a.uid, a.gid = r.u32(), r.u32()
	}
	if a.flags&attrMode != 0 {
		a.mode = r.u32()
	}
	if a.flags&attrTimes != 0 {
		a.atime, a.mtime = r.u32(), r.u32()
	}
	if a.flags&attrExtended != 0 {
		for n := r.u32(); n > 0 && r.err == nil; n-- {
			r.bytes()
			r.bytes()
		}
	}
	if a.flags&^uint32(attrSize|attrUIDGID|attrMode|attrTimes|attrExtended) != 0 && r.err == nil {
		r.err = fmt.Errorf("sftp: attribute flags %#x", a.flags)
	}
	return a
}

// packet is a reply in the making; its length is set by bytes.
type packet []byte

func reply(buf []byte, typ byte, id uint32) packet {
	p := append(packet(buf[:0]), 0, 0, 0, 0, typ)
	return p.u32(id)
}

func (p packet) u32(v uint32) packet { return binary.BigEndian.AppendUint32(p, v) }
func (p packet) u64(v uint64) packet { return binary.BigEndian.AppendUint64(p, v) }
func (p packet) str(s string) packet {
	return append(p.u32(uint32(len(s))), s...)
}

func (p packet) attrs(a *attrs) packet {
	p = p.u32(a.flags)
	if a.flags&attrSize != 0 {
		p = p.u64(a.size)
	}
	if a.flags&attrUIDGID != 0 {
		p = p.u32(a.uid).u32(a.gid)
	}
	if a.flags&attrMode != 0 {
		p = p.u32(a.mode)
	}
	if a.flags&attrTimes != 0 {
		p = p.u32(a.atime).u32(a.mtime)
	}
	return p
}

// finish sets the length.
func (p packet) finish() []byte {
	binary.BigEndian.PutUint32(p, uint32(len(p)-4))
	return p
}

// readPacket reads one packet into buf, which has room for maxPacket bytes.
// The first byte is the type.
func readPacket(r io.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxPacket {
		return nil, fmt.Errorf("sftp: packet of %d bytes", n)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return nil, err
	}
	return buf[:n], nil
}
