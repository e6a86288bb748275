package nfs3

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"manifold/internal/fs"
)

// A file handle on the wire, 48 bytes:
//
//	0  version, 1
//	1  zero
//	2  zero, 2 bytes
//	4  file system, 4 bytes: the start of a hash of its UUID
//	8  export id, 4
//	12 generation, 4: 0, as inode numbers are never used again
//	16 inode, 8
//	24 snapshot, 8
//	32 inode of the export's directory, 8
//	40 keyed hash of the above, 8
const (
	handleSize    = 48
	handleVersion = 1
	maxHandle     = 64
)

// handle is what a file handle says.
type handle struct {
	node   fs.Node
	root   fs.FileID
	export uint32
}

// handler makes and reads file handles of one file system.
type handler struct {
	k0, k1 uint64
	fsid   uint32
}

func newHandler(key []byte, fsid [16]byte) handler {
	k := sha256.Sum256(append([]byte("manifold nfs3 file handle\x00"), key...))
	f := sha256.Sum256(fsid[:])
	return handler{
		k0: binary.LittleEndian.Uint64(k[0:]), k1: binary.LittleEndian.Uint64(k[8:]),
		fsid: binary.BigEndian.Uint32(f[:]),
	}
}

// put writes the handle of h into b.
func (hs *handler) put(b *[handleSize]byte, h handle) {
	b[0], b[1], b[2], b[3] = handleVersion, 0, 0, 0
	binary.BigEndian.PutUint32(b[4:], hs.fsid)
	binary.BigEndian.PutUint32(b[8:], h.export)
	binary.BigEndian.PutUint32(b[12:], 0)
	binary.BigEndian.PutUint64(b[16:], uint64(h.node.ID))
	binary.BigEndian.PutUint64(b[24:], uint64(h.node.Snap))
	binary.BigEndian.PutUint64(b[32:], uint64(h.root))
	binary.BigEndian.PutUint64(b[40:], siphash(hs.k0, hs.k1, b[:40]))
}

// get reads a handle. What this server cannot have made is a bad handle; what
// it, or another that holds its key, made for another file system is stale.
func (hs *handler) get(b []byte) (handle, Status) {
	if len(b) != handleSize || b[0] != handleVersion ||
		binary.BigEndian.Uint64(b[40:]) != siphash(hs.k0, hs.k1, b[:40]) {
		return handle{}, ErrBadHandle
	}
	if binary.BigEndian.Uint32(b[4:]) != hs.fsid || binary.BigEndian.Uint32(b[12:]) != 0 {
		return handle{}, ErrStale
	}
	return handle{
		node: fs.Node{
			ID:   fs.FileID(binary.BigEndian.Uint64(b[16:])),
			Snap: fs.SnapshotID(binary.BigEndian.Uint64(b[24:])),
		},
		root:   fs.FileID(binary.BigEndian.Uint64(b[32:])),
		export: binary.BigEndian.Uint32(b[8:]),
	}, OK
}

// siphash is SipHash-2-4 of p.
func siphash(k0, k1 uint64, p []byte) uint64 {
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	tail := uint64(len(p)) << 56
	for len(p) >= 8 {
		m := binary.LittleEndian.Uint64(p)
		p = p[8:]
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	for i, c := range p {
		tail |= uint64(c) << (8 * i)
	}
	v3 ^= tail
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= tail
	v2 ^= 0xff
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
