package data

import "encoding/binary"

// The key space of extents, tags 0x80 to 0x9f. Every key is a tag, an 8-byte
// big-endian extent id (segment number for 0x84 and 0x85) and a suffix;
// integers are big-endian.
//
//	tag   suffix      value
//	0x80  -           extent record, see Record.encode
//	0x81  -           inline payload, the plain bytes; checksums in the record
//	0x82  stream u64, number u64  reference row: one format byte, 1
//	0x83  -           queued to be freed: one format byte, 1
//	0x84  offset u64  what lies in a segment: format byte 1, extent u64, stored bytes u32
//	0x85  -           condemned segment: one format byte, 1
//	0x86  -           extent found corrupt: format byte 1, block u32, unix time u64
const (
	tagExtent    byte = 0x80
	tagInline    byte = 0x81
	tagRef       byte = 0x82
	tagFree      byte = 0x83
	tagSegment   byte = 0x84
	tagCondemned byte = 0x85
	tagCorrupt   byte = 0x86
)

const rowFormat byte = 1

func key(tag byte, id ExtentID) []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 25), tag), uint64(id))
}

func refPrefix(id ExtentID, stream uint64) []byte {
	return binary.BigEndian.AppendUint64(key(tagRef, id), stream)
}

func refKey(id ExtentID, stream, number uint64) []byte {
	return binary.BigEndian.AppendUint64(refPrefix(id, stream), number)
}

func segKey(tag byte, segment uint64) []byte { return key(tag, ExtentID(segment)) }

func indexKey(segment, offset uint64) []byte {
	return binary.BigEndian.AppendUint64(segKey(tagSegment, segment), offset)
}
