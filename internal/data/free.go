package data

import (
	"context"
	"encoding/binary"
	"errors"
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

// Free removes the record and inline payload of a queued extent. One that is
// no longer queued is left alone, so it may be repeated and may race AddRef.
// The bytes in a segment stay; they are dead from then on.
func Free(ctx context.Context, tx kv.Txn, id ExtentID) error {
	switch _, err := tx.Get(ctx, key(tagFree, id)); {
	case errors.Is(err, kv.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("data: read free queue: %w", err)
	}
	// AddRef reads the record, so the deletion makes a concurrent one fail or retry.
	tx.Delete(key(tagExtent, id))
	tx.Delete(key(tagInline, id))
	tx.Delete(key(tagFree, id))
	return nil
}
