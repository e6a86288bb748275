package data

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"manifold/internal/kv"
)

// Located is one row of the index of a segment.
type Located struct {
	Offset uint64
	ID     ExtentID
	Bytes  uint32 // stored
}

func putIndex(tx kv.Txn, rec Record) {
	v := binary.BigEndian.AppendUint64([]byte{rowFormat}, uint64(rec.ID))
	tx.Put(indexKey(rec.Segment, rec.Offset), binary.BigEndian.AppendUint32(v, uint32(rec.StoredBytes())))
}

func decodeLocated(k, v []byte) (l Located, err error) {
	if len(k) != 17 || len(v) != 13 {
		return l, fmt.Errorf("%w: index row of a segment", ErrCorrupt)
	}
	if v[0] != rowFormat {
		return l, fmt.Errorf("%w: %d in the index of a segment", ErrFormat, v[0])
	}
	return Located{
		Offset: binary.BigEndian.Uint64(k[9:]),
		ID:     ExtentID(binary.BigEndian.Uint64(v[1:])),
		Bytes:  binary.BigEndian.Uint32(v[9:]),
	}, nil
}

// InSegment returns up to limit extents that lie in a segment from offset from
// on, in the order of their offsets.
func InSegment(ctx context.Context, r kv.Reader, segment, from uint64, limit int) ([]Located, error) {
	rng := kv.Range{Start: indexKey(segment, from), End: kv.Successor(segKey(tagSegment, segment))}
	var ls []Located
	for e, err := range r.Scan(ctx, rng, kv.ScanOptions{Limit: limit}) {
		if err != nil {
			return nil, fmt.Errorf("data: scan index of segment %d: %w", segment, err)
		}
		l, err := decodeLocated(e.Key, e.Value)
		if err != nil {
			return nil, err
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// Extents returns up to limit records, without inline payloads, of the extents
// after after. r must be of a View. Records that do not decode are skipped and
// their ids returned in bad.
func Extents(ctx context.Context, r kv.Reader, after ExtentID, limit int) (recs []Record, bad []ExtentID, last ExtentID, err error) {
	last = after
	rng := kv.Range{Start: append(key(tagExtent, after), 0), End: []byte{tagExtent + 1}}
	for e, err := range r.Scan(ctx, rng, kv.ScanOptions{Limit: limit}) {
		if err != nil {
			return nil, nil, after, fmt.Errorf("data: scan extents: %w", err)
		}
		if len(e.Key) != 9 {
			continue
		}
		last = ExtentID(binary.BigEndian.Uint64(e.Key[1:]))
		if rec, err := decodeRecord(last, e.Value); err == nil {
			recs = append(recs, rec)
		} else {
			bad = append(bad, last)
		}
	}
	return recs, bad, last, nil
}

// Newest returns the highest id of any extent, 0 if there is none. r must be of a View.
func Newest(ctx context.Context, r kv.Reader) (ExtentID, error) {
	rng := kv.Range{Start: []byte{tagExtent}, End: []byte{tagExtent + 1}}
	for e, err := range r.Scan(ctx, rng, kv.ScanOptions{Limit: 1, Reverse: true, KeysOnly: true}) {
		if err != nil {
			return 0, fmt.Errorf("data: scan extents: %w", err)
		}
		if len(e.Key) == 9 {
			return ExtentID(binary.BigEndian.Uint64(e.Key[1:])), nil
		}
	}
	return 0, nil
}

// Move installs where an extent lies now, appended and synced, if it still lies
// where from says; false if it does not. From may be inline. It costs a read,
// three writes and a guard.
func Move(ctx context.Context, tx kv.Txn, from, to Record) (bool, error) {
	rec, err := record(ctx, tx, from.ID)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if rec.IsInline != from.IsInline || rec.Segment != from.Segment || rec.Offset != from.Offset {
		return false, nil
	}
	if to.ID != rec.ID || to.IsInline || to.Length != rec.Length || to.Check() != nil {
		return false, fmt.Errorf("%w: moving extent %d", ErrRange, rec.ID)
	}
	if err := fence(tx, to); err != nil {
		return false, err
	}
	if rec.IsInline {
		tx.Delete(key(tagInline, rec.ID))
	} else {
		tx.Delete(indexKey(rec.Segment, rec.Offset))
	}
	to.Owner = rec.Owner
	tx.Put(key(tagExtent, to.ID), to.encode())
	putIndex(tx, to)
	return true, nil
}

// fence makes the transaction fail if the segment is condemned before it commits:
// the guard sees marks set from its snapshot on, Fence those before.
func fence(tx kv.Txn, rec Record) error {
	tx.Guard(kv.Prefix(segKey(tagCondemned, rec.Segment)))
	if rec.Fence != nil {
		return rec.Fence()
	}
	return nil
}

// Condemn marks a segment to be removed; false if an extent lies in it. The
// store must have refused the segment's Fences before.
func Condemn(ctx context.Context, tx kv.Txn, segment uint64) (bool, error) {
	ls, err := InSegment(ctx, tx, segment, 0, 1)
	if err != nil || len(ls) > 0 {
		return false, err
	}
	tx.Guard(kv.Prefix(segKey(tagSegment, segment)))
	tx.Put(segKey(tagCondemned, segment), []byte{rowFormat})
	return true, nil
}

// Removed takes the mark of a condemned segment away once its file is gone.
func Removed(tx kv.Txn, segment uint64) { tx.Delete(segKey(tagCondemned, segment)) }

// Condemned lists the segments that are to be removed. r must be of a View.
func Condemned(ctx context.Context, r kv.Reader) ([]uint64, error) {
	rng := kv.Range{Start: []byte{tagCondemned}, End: []byte{tagCondemned + 1}}
	var nums []uint64
	for e, err := range r.Scan(ctx, rng, kv.ScanOptions{KeysOnly: true}) {
		if err != nil {
			return nil, fmt.Errorf("data: scan condemned segments: %w", err)
		}
		if len(e.Key) == 9 {
			nums = append(nums, binary.BigEndian.Uint64(e.Key[1:]))
		}
	}
	return nums, nil
}

// Ref is one reference row.
type Ref struct {
	Extent         ExtentID
	Stream, Number uint64
}

// Refs returns up to limit references, those after after in order of extent,
// stream and number. r must be of a View.
func Refs(ctx context.Context, r kv.Reader, after Ref, limit int) ([]Ref, error) {
	rng := kv.Range{Start: append(refKey(after.Extent, after.Stream, after.Number), 0), End: []byte{tagRef + 1}}
	var out []Ref
	for e, err := range r.Scan(ctx, rng, kv.ScanOptions{Limit: limit, KeysOnly: true}) {
		if err != nil {
			return nil, fmt.Errorf("data: scan references: %w", err)
		}
		if len(e.Key) != 25 {
			return nil, fmt.Errorf("%w: key of a reference", ErrCorrupt)
		}
		out = append(out, Ref{ExtentID(binary.BigEndian.Uint64(e.Key[1:])), binary.BigEndian.Uint64(e.Key[9:]), binary.BigEndian.Uint64(e.Key[17:])})
	}
	return out, nil
}
