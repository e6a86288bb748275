package pebblekv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2"

	"manifold/internal/kv"
)

// docs/format/log.md describes what the log consists of.
const (
	segmentMagic  = "MFCOMMIT"
	segmentFormat = 1
	// segmentHeader is the length of what a segment begins with.
	segmentHeader = 64
	// recordHeader is the length of what precedes the changes of a commit.
	recordHeader = 32
	// recordAlign is what records begin at a multiple of.
	recordAlign = 8
)

// Kinds of a change, as Pebble numbers them.
const (
	changeDelete     = byte(pebble.InternalKeyKindDelete)
	changeSet        = byte(pebble.InternalKeyKindSet)
	changeDeleteOnce = byte(pebble.InternalKeyKindSingleDelete)
)

// errLogDamaged is for a log that lacks what was acknowledged.
var errLogDamaged = errors.New("the log is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendSegmentHeader appends what the segment of a number begins with.
func appendSegmentHeader(b []byte, no, salt uint64) []byte {
	at := len(b)
	b = append(b, segmentMagic...)
	b = binary.BigEndian.AppendUint64(b, segmentFormat)
	b = binary.BigEndian.AppendUint64(b, no)
	b = binary.BigEndian.AppendUint64(b, salt)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
	return append(b, make([]byte, segmentHeader-(len(b)-at))...)
}

// parseSegmentHeader returns the number and the salt of a segment.
func parseSegmentHeader(b []byte) (no, salt uint64, err error) {
	if len(b) < segmentHeader || string(b[:8]) != segmentMagic ||
		crc32.Checksum(b[:32], castagnoli) != binary.BigEndian.Uint32(b[32:]) {
		return 0, 0, fmt.Errorf("%w: the head of a segment", errLogDamaged)
	}
	if f := binary.BigEndian.Uint64(b[8:]); f != segmentFormat {
		return 0, 0, fmt.Errorf("a segment of the log has format %d, this version reads %d", f, segmentFormat)
	}
	return binary.BigEndian.Uint64(b[16:]), binary.BigEndian.Uint64(b[24:]), nil
}

// appendRecord appends the record of a commit and zeros up to where the next one
// may begin.
func appendRecord(b []byte, salt, number, synced uint64, changes []byte) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(changes)))
	b = binary.BigEndian.AppendUint64(b, salt)
	b = binary.BigEndian.AppendUint64(b, number)
	b = binary.BigEndian.AppendUint64(b, synced)
	b = append(b, changes...)
	binary.BigEndian.PutUint32(b[at:], crc32.Checksum(b[at+4:], castagnoli))
	for n := len(b) - at; n%recordAlign != 0; n++ {
		b = append(b, 0)
	}
	return b
}

// record is the record of one commit.
type record struct {
	at, end int    // where it lies in its segment
	number  uint64 // of the commit
	synced  uint64 // how much of the segment was durable when it was made
	changes []byte // aliases the segment
}

// recordAt reads the record that begins at an offset of a segment.
func recordAt(b []byte, salt uint64, at int) (record, bool) {
	if at > len(b)-recordHeader || binary.BigEndian.Uint64(b[at+8:]) != salt {
		return record{}, false
	}
	n := binary.BigEndian.Uint32(b[at+4:])
	if uint64(n) > uint64(len(b)-recordHeader-at) {
		return record{}, false
	}
	end := at + recordHeader + int(n)
	if crc32.Checksum(b[at+4:end], castagnoli) != binary.BigEndian.Uint32(b[at:]) {
		return record{}, false
	}
	return record{
		at: at, end: (end + recordAlign - 1) / recordAlign * recordAlign,
		number: binary.BigEndian.Uint64(b[at+16:]), synced: binary.BigEndian.Uint64(b[at+24:]),
		changes: b[at+recordHeader : end],
	}, true
}

// nextRecord returns the first record that begins at an offset or after it.
func nextRecord(b []byte, salt uint64, at int) (record, bool) {
	sign := binary.BigEndian.AppendUint64(nil, salt)
	for at <= len(b)-recordHeader {
		if r, ok := recordAt(b, salt, at); ok {
			return r, true
		}
		// A record has the salt eight bytes after its beginning.
		i := bytes.Index(b[at+1+8:], sign)
		if i < 0 {
			break
		}
		at += 1 + i
	}
	return record{}, false
}

// logReader takes the commits out of the segments of a log, which it is given
// one after the other.
//
// A log ends with the last record that has all others before it. Anything may lie
// after it: zeros, records of an earlier life of the file, and records of the last
// round before a crash, which the disk may have kept in part. It is damaged if
// what follows tells that it was longer: a segment is begun when all of the one
// before is durable, and a record says up to where its own segment was durable
// when it was made.
type logReader struct {
	// last is the newest commit that is in the tables or was taken.
	last uint64
	// take is called with each commit after that, in their order.
	take func(number uint64, changes []byte) error

	ended bool // there is a hole, after which nothing counts
}

// segment reads one segment.
func (l *logReader) segment(b []byte, no uint64) error {
	n, salt, err := parseSegmentHeader(b)
	if err != nil {
		return err
	}
	if n != no {
		return fmt.Errorf("%w: segment %d says that it is %d", errLogDamaged, no, n)
	}
	hole := -1 // where the first record that lacks began
	for at := segmentHeader; ; {
		r, ok := nextRecord(b, salt, at)
		switch {
		case !ok:
			return nil
		case r.number <= l.last:
		case r.number == l.last+1 && !l.ended:
			if err := l.take(r.number, r.changes); err != nil {
				return err
			}
			l.last = r.number
		default:
			if !l.ended && r.at > at {
				l.ended, hole = true, at
			}
			if hole < 0 || r.synced > uint64(hole) {
				return fmt.Errorf("%w: commit %d is followed by %d in segment %d at %d", errLogDamaged, l.last, r.number, no, r.at)
			}
		}
		at = r.end
	}
}

// eachChange calls fn with each of the changes of a commit.
func eachChange(b []byte, fn func(kind byte, key, value []byte) error) error {
	field := func() ([]byte, bool) {
		n, l := binary.Uvarint(b)
		if l <= 0 || n > uint64(len(b)-l) {
			return nil, false
		}
		f := b[l : l+int(n)]
		b = b[l+int(n):]
		return f, true
	}
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		key, ok := field()
		if !ok || len(key) == 0 || len(key) > kv.MaxKeyBytes || bytes.Compare(key, private) >= 0 {
			return fmt.Errorf("%w: the key of a change", errLogDamaged)
		}
		var value []byte
		switch kind {
		case changeSet:
			if value, ok = field(); !ok {
				return fmt.Errorf("%w: the value of a change", errLogDamaged)
			}
		case changeDelete, changeDeleteOnce:
		default:
			return fmt.Errorf("%w: a change of kind %d", errLogDamaged, kind)
		}
		if err := fn(kind, key, value); err != nil {
			return err
		}
	}
	return nil
}
