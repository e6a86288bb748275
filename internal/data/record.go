package data

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	recordFormat byte = 1
	recordHead        = 1 + 1 + 1 + 1 + 8 + 8 + 8 + 4
	kindSegment  byte = 1
	kindInline   byte = 2
)

// Record says where an extent lies and how to verify it.
type Record struct {
	ID ExtentID
	// Owner is the stream that owns the extent; 0 when only references are left.
	Owner uint64
	// Length of the extent in bytes.
	Length uint32
	// Segment and Offset locate the payload of an extent that is not inline.
	Segment, Offset uint64
	// Sums are the checksums of the blocks, see Sum.
	Sums []uint32
	// IsInline: the payload lies in the key store.
	IsInline bool
	// Inline is that payload, filled by GetExtents.
	Inline []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum of one block: CRC32C over the extent id (8 bytes,
// big-endian) and the block, so that a block of another extent never verifies.
func Sum(id ExtentID, block []byte) uint32 {
	var seed [8]byte
	binary.BigEndian.PutUint64(seed[:], uint64(id))
	return crc32.Update(crc32.Update(0, castagnoli, seed[:]), castagnoli, block)
}

// Sums returns the checksums of all blocks of payload.
func Sums(id ExtentID, payload []byte) []uint32 {
	sums := make([]uint32, 0, blocksOf(len(payload)))
	for len(payload) > 0 {
		n := min(len(payload), BlockBytes)
		sums = append(sums, Sum(id, payload[:n]))
		payload = payload[n:]
	}
	return sums
}

func blocksOf(n int) int { return (n + BlockBytes - 1) / BlockBytes }

// CheckRange tells whether n bytes at off lie inside the extent.
func (r Record) CheckRange(off uint64, n int) error {
	if off > uint64(r.Length) || uint64(n) > uint64(r.Length)-off {
		return fmt.Errorf("%w: %d bytes at %d of %d in extent %d", ErrRange, n, off, r.Length, r.ID)
	}
	return nil
}

// encode: format 1, kind, compression 0, encryption 0, owner u64, segment u64,
// offset u64, length u32, one u32 per block, and a CRC32C (seeded like Sum)
// over all before it.
func (r Record) encode() []byte {
	kind := kindSegment
	if r.IsInline {
		kind = kindInline
	}
	b := make([]byte, 0, recordHead+4*len(r.Sums)+4)
	b = append(b, recordFormat, kind, 0, 0)
	b = binary.BigEndian.AppendUint64(b, r.Owner)
	b = binary.BigEndian.AppendUint64(b, r.Segment)
	b = binary.BigEndian.AppendUint64(b, r.Offset)
	b = binary.BigEndian.AppendUint32(b, r.Length)
	for _, s := range r.Sums {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return binary.BigEndian.AppendUint32(b, Sum(r.ID, b))
}

func decodeRecord(id ExtentID, b []byte) (Record, error) {
	bad := func() (Record, error) { return Record{}, &CorruptError{Extent: id, Block: -1} }
	if len(b) < recordHead+4 {
		return bad()
	}
	if b[0] != recordFormat {
		return Record{}, fmt.Errorf("%w: %d in extent %d", ErrFormat, b[0], id)
	}
	body := b[:len(b)-4]
	if Sum(id, body) != binary.BigEndian.Uint32(b[len(body):]) {
		return bad()
	}
	if b[2] != 0 || b[3] != 0 {
		return Record{}, fmt.Errorf("%w: compressed or encrypted extent %d", ErrFormat, id)
	}
	r := Record{
		ID: id, IsInline: b[1] == kindInline,
		Owner:   binary.BigEndian.Uint64(b[4:]),
		Segment: binary.BigEndian.Uint64(b[12:]),
		Offset:  binary.BigEndian.Uint64(b[20:]),
		Length:  binary.BigEndian.Uint32(b[28:]),
	}
	if b[1] != kindInline && b[1] != kindSegment || r.Length == 0 || r.Length > MaxExtentBytes ||
		len(body)-recordHead != 4*blocksOf(int(r.Length)) {
		return bad()
	}
	for p := body[recordHead:]; len(p) > 0; p = p[4:] {
		r.Sums = append(r.Sums, binary.BigEndian.Uint32(p))
	}
	return r, nil
}
