package data

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"manifold/internal/kv"
)

// CorruptMark says that a scrub found an extent corrupt.
type CorruptMark struct {
	ID    ExtentID
	Block int // -1 unknown
	Seen  time.Time
}

// Mark notes that an extent is corrupt, unless it is gone. An older mark stays.
func Mark(ctx context.Context, tx kv.Txn, id ExtentID, block int, seen time.Time) error {
	vals, err := tx.GetMany(ctx, [][]byte{key(tagExtent, id), key(tagCorrupt, id)})
	if err != nil {
		return fmt.Errorf("data: read mark: %w", err)
	}
	if vals[0] == nil || vals[1] != nil {
		return nil
	}
	v := binary.BigEndian.AppendUint32([]byte{rowFormat}, uint32(int32(block)))
	tx.Put(key(tagCorrupt, id), binary.BigEndian.AppendUint64(v, uint64(seen.Unix())))
	return nil
}

// Unmark takes the mark away.
func Unmark(tx kv.Txn, id ExtentID) { tx.Delete(key(tagCorrupt, id)) }

// Marked tells whether the extent is marked.
func Marked(ctx context.Context, r kv.Reader, id ExtentID) (bool, error) {
	_, err := r.Get(ctx, key(tagCorrupt, id))
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("data: read mark: %w", err)
	}
	return true, nil
}

// Marks returns up to limit marks of the extents after after. r must be of a View.
func Marks(ctx context.Context, r kv.Reader, after ExtentID, limit int) ([]CorruptMark, error) {
	rng := kv.Range{Start: append(key(tagCorrupt, after), 0), End: []byte{tagCorrupt + 1}}
	var ms []CorruptMark
	for e, err := range r.Scan(ctx, rng, kv.ScanOptions{Limit: limit}) {
		if err != nil {
			return nil, fmt.Errorf("data: scan marks: %w", err)
		}
		m, err := decodeMark(e.Key, e.Value)
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

func decodeMark(k, v []byte) (CorruptMark, error) {
	if len(k) != 9 || len(v) != 13 || v[0] != rowFormat {
		return CorruptMark{}, fmt.Errorf("%w: mark of a corrupt extent", ErrFormat)
	}
	return CorruptMark{
		ID:    ExtentID(binary.BigEndian.Uint64(k[1:])),
		Block: int(int32(binary.BigEndian.Uint32(v[1:]))),
		Seen:  time.Unix(int64(binary.BigEndian.Uint64(v[5:])), 0),
	}, nil
}
