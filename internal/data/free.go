package data

import (
	"context"
	"encoding/binary"
	"fmt"

	"manifold/internal/kv"
)

// Queued returns up to limit extents that wait to be freed, from after on. r
// must be of a View, since the scan crosses key prefixes.
func Queued(ctx context.Context, r kv.Reader, after ExtentID, limit int) ([]ExtentID, error) {
	rng := kv.Range{Start: append(key(tagFree, after), 0), End: []byte{tagFree + 1}}
	var ids []ExtentID
	for e, err := range r.Scan(ctx, rng, kv.ScanOptions{Limit: limit, KeysOnly: true}) {
		if err != nil {
			return nil, fmt.Errorf("data: scan free queue: %w", err)
		}
		if len(e.Key) == 9 {
			ids = append(ids, ExtentID(binary.BigEndian.Uint64(e.Key[1:])))
		}
	}
	return ids, nil
}

// QueueRange is the key range of the queue, to be watched.
func QueueRange() kv.Range { return kv.Range{Start: []byte{tagFree}, End: []byte{tagFree + 1}} }

// Free removes the record and inline payload of a queued extent and returns
// the record. One that is no longer queued is left alone (ok is false), so it
// may be repeated and may race AddRef. The bytes in a segment stay; they are
// dead from then on. It costs two reads and four writes.
func Free(ctx context.Context, tx kv.Txn, id ExtentID) (rec Record, ok bool, err error) {
	vals, err := tx.GetMany(ctx, [][]byte{key(tagFree, id), key(tagExtent, id)})
	if err != nil {
		return rec, false, fmt.Errorf("data: read free queue: %w", err)
	}
	if vals[0] == nil {
		return rec, false, nil
	}
	if vals[1] != nil {
		if rec, err = decodeRecord(id, vals[1]); err != nil {
			// Its bytes cannot be found; a scrub says so. It stays queued.
			return Record{}, false, err
		}
		// AddRef reads the record, so the deletion makes a concurrent one fail or retry.
		tx.Delete(key(tagExtent, id))
		if rec.IsInline {
			tx.Delete(key(tagInline, id))
		} else {
			tx.Delete(indexKey(rec.Segment, rec.Offset))
		}
		tx.Delete(key(tagCorrupt, id))
	}
	tx.Delete(key(tagFree, id))
	return rec, true, nil
}
