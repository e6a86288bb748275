package data

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	recordFormat byte = 1
	recordHead        = 1 + 1 + 1 + 1 + 8 + 8 + 8 + 4
	recordKey         = 4 + saltBytes
	saltBytes         = 16
	kindSegment  byte = 1
	kindInline   byte = 2

	// TagBytes is what encryption adds to a block.
	TagBytes = 16
)

// Compression of the blocks of an extent.
type Compression uint8

// Encryption of the blocks of an extent.
type Encryption uint8

// The algorithms.
const (
	// Plain blocks are stored as they are.
	Plain Compression = 0
	// Zstd compresses each block by itself; one that does not shrink is stored plain.
	Zstd Compression = 1

	// Clear blocks are not encrypted.
	Clear Encryption = 0
	// AES256GCM encrypts each block, after compression.
	AES256GCM Encryption = 1
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
	// Compression and Encryption of the stored blocks.
	Compression Compression
	Encryption  Encryption
	// KeyID and Salt lead to the key of an encrypted extent.
	KeyID uint32
	Salt  [saltBytes]byte
	// Stored are the stored lengths of the blocks; nil when neither compressed
	// nor encrypted, so that every block is stored in its own length.
	Stored []uint32
	// Sums are the checksums of the stored blocks, see Sum.
	Sums []uint32
	// IsInline: the payload lies in the key store.
	IsInline bool
	// Inline is that payload, filled by GetExtents.
	Inline []byte
	// Fence is set by Append. PutExtent asks it whether the bytes are still
	// kept for a commit to come; an error means to append them again.
	Fence func() error
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Sum is the checksum of one block: CRC32C over the extent id (8 bytes,
// big-endian) and the block, so that a block of another extent never verifies.
func Sum(id ExtentID, block []byte) uint32 {
	return SumMore(SumSeed(id), block)
}

// SumSeed begins a checksum to be continued by SumMore. It works byte by byte,
// since a slice given to the library would be allocated.
func SumSeed(id ExtentID) uint32 {
	crc := ^uint32(0)
	for shift := 56; shift >= 0; shift -= 8 {
		crc = castagnoli[byte(crc)^byte(uint64(id)>>shift)] ^ crc>>8
	}
	return ^crc
}

// SumMore continues a checksum over the next bytes of the block.
func SumMore(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

// Sums returns the checksums of all blocks of the payload, the concatenation of parts.
func Sums(id ExtentID, parts ...[]byte) []uint32 {
	total := 0
	for _, p := range parts {
		total += len(p)
	}
	if total == 0 {
		return nil
	}
	sums := make([]uint32, 0, Blocks(total))
	seed := SumSeed(id)
	sum, in := seed, 0
	for _, p := range parts {
		for len(p) > 0 {
			if in == BlockBytes {
				sums = append(sums, sum)
				sum, in = seed, 0
			}
			n := min(len(p), BlockBytes-in)
			sum = SumMore(sum, p[:n])
			in += n
			p = p[n:]
		}
	}
	return append(sums, sum)
}

// Blocks is how many blocks n bytes have.
func Blocks(n int) int { return (n + BlockBytes - 1) / BlockBytes }

// BlockLength is the plain length of a block.
func (r Record) BlockLength(block int) int {
	return min(int(r.Length)-block*BlockBytes, BlockBytes)
}

// StoredBytes is the length of the payload in the segment.
func (r Record) StoredBytes() int64 {
	if r.Stored == nil {
		return int64(r.Length)
	}
	n := int64(0)
	for _, s := range r.Stored {
		n += int64(s)
	}
	return n
}

// CheckRange tells whether n bytes at off lie inside the extent.
func (r Record) CheckRange(off uint64, n int) error {
	if off > uint64(r.Length) || uint64(n) > uint64(r.Length)-off {
		return fmt.Errorf("%w: %d bytes at %d of %d in extent %d", ErrRange, n, off, r.Length, r.ID)
	}
	return nil
}

// Check tells whether the record is whole: lengths and counts agree.
func (r Record) Check() error {
	bad := &CorruptError{Extent: r.ID, Block: -1}
	n := Blocks(int(r.Length))
	if r.Length == 0 || r.Length > MaxExtentBytes || len(r.Sums) != n {
		return bad
	}
	if r.Compression > Zstd || r.Encryption > AES256GCM {
		return fmt.Errorf("%w: compression %d, encryption %d in extent %d", ErrFormat, r.Compression, r.Encryption, r.ID)
	}
	if r.Compression == Plain && r.Encryption == Clear {
		if r.Stored != nil {
			return bad
		}
		return nil
	}
	if r.IsInline || len(r.Stored) != n {
		return bad
	}
	tag := 0
	if r.Encryption != Clear {
		tag = TagBytes
	}
	for i, s := range r.Stored {
		most := r.BlockLength(i) + tag
		if int64(s) <= int64(tag) || int64(s) > int64(most) || r.Compression == Plain && int64(s) != int64(most) {
			return bad
		}
	}
	return nil
}

// encode: format 1, kind, compression, encryption, owner u64, segment u64,
// offset u64, length u32; if encrypted the key id u32 and the salt; if
// compressed or encrypted the stored length u32 of every block; the checksum
// u32 of every block; and a CRC32C (seeded like Sum) over all before it.
func (r Record) encode() []byte {
	kind := kindSegment
	if r.IsInline {
		kind = kindInline
	}
	b := make([]byte, 0, recordHead+recordKey+4*len(r.Stored)+4*len(r.Sums)+4)
	b = append(b, recordFormat, kind, byte(r.Compression), byte(r.Encryption))
	b = binary.BigEndian.AppendUint64(b, r.Owner)
	b = binary.BigEndian.AppendUint64(b, r.Segment)
	b = binary.BigEndian.AppendUint64(b, r.Offset)
	b = binary.BigEndian.AppendUint32(b, r.Length)
	if r.Encryption != Clear {
		b = binary.BigEndian.AppendUint32(b, r.KeyID)
		b = append(b, r.Salt[:]...)
	}
	for _, s := range r.Stored {
		b = binary.BigEndian.AppendUint32(b, s)
	}
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
	r := Record{
		ID: id, IsInline: b[1] == kindInline,
		Compression: Compression(b[2]), Encryption: Encryption(b[3]),
		Owner:   binary.BigEndian.Uint64(b[4:]),
		Segment: binary.BigEndian.Uint64(b[12:]),
		Offset:  binary.BigEndian.Uint64(b[20:]),
		Length:  binary.BigEndian.Uint32(b[28:]),
	}
	if b[1] != kindInline && b[1] != kindSegment || r.Length == 0 || r.Length > MaxExtentBytes || r.Offset > 1<<62 {
		return bad()
	}
	rest, n := body[recordHead:], Blocks(int(r.Length))
	if r.Encryption != Clear {
		if len(rest) < recordKey {
			return bad()
		}
		r.KeyID = binary.BigEndian.Uint32(rest)
		copy(r.Salt[:], rest[4:])
		rest = rest[recordKey:]
	}
	words := func() []uint32 {
		w := make([]uint32, n)
		for i := range w {
			w[i] = binary.BigEndian.Uint32(rest[4*i:])
		}
		rest = rest[4*n:]
		return w
	}
	want := 4 * n
	if r.Compression != Plain || r.Encryption != Clear {
		want *= 2
	}
	if len(rest) != want {
		return bad()
	}
	if want != 4*n {
		r.Stored = words()
	}
	r.Sums = words()
	return r, r.Check()
}
