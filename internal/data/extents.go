package data

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"manifold/internal/kv"
)

// PutExtent installs the record of an appended and synced extent, owned by
// stream. It costs two writes and a guard. ErrMoved means that the transaction
// came so late that the bytes were collected: append them again.
func PutExtent(tx kv.Txn, stream uint64, rec Record) error {
	if rec.ID == 0 || stream == 0 || rec.IsInline || rec.Check() != nil {
		return fmt.Errorf("%w: record of extent %d", ErrRange, rec.ID)
	}
	if err := fence(tx, rec); err != nil {
		return err
	}
	rec.Owner = stream
	tx.Put(key(tagExtent, rec.ID), rec.encode())
	putIndex(tx, rec)
	return nil
}

// PutInline installs an extent whose payload, the concatenation of parts, lies
// in the key store.
func PutInline(tx kv.Txn, id ExtentID, stream uint64, parts [][]byte) error {
	p := bytes.Join(parts, nil)
	if id == 0 || stream == 0 || len(p) == 0 || len(p) > BlockBytes {
		return fmt.Errorf("%w: %d inline bytes for extent %d", ErrRange, len(p), id)
	}
	rec := Record{ID: id, Owner: stream, Length: uint32(len(p)), Sums: Sums(id, p), IsInline: true}
	tx.Put(key(tagExtent, id), rec.encode())
	tx.Put(key(tagInline, id), p)
	return nil
}

// GetExtents returns the records of ids in their order, inline payloads
// included (not yet verified: Store.ReadAt does). A missing record is ErrNotFound.
func GetExtents(ctx context.Context, r kv.Reader, ids []ExtentID) ([]Record, error) {
	keys := make([][]byte, len(ids))
	for i, id := range ids {
		keys[i] = key(tagExtent, id)
	}
	vals, err := r.GetMany(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("data: read extent records: %w", err)
	}
	recs := make([]Record, len(ids))
	var inline []int
	keys = keys[:0]
	for i, v := range vals {
		if v == nil {
			return nil, fmt.Errorf("%w: %d", ErrNotFound, ids[i])
		}
		if recs[i], err = decodeRecord(ids[i], v); err != nil {
			return nil, err
		}
		if recs[i].IsInline {
			inline = append(inline, i)
			keys = append(keys, key(tagInline, ids[i]))
		}
	}
	if len(inline) == 0 {
		return recs, nil
	}
	if vals, err = r.GetMany(ctx, keys); err != nil {
		return nil, fmt.Errorf("data: read inline payloads: %w", err)
	}
	for k, i := range inline {
		if len(vals[k]) != int(recs[i].Length) {
			return nil, &CorruptError{Extent: ids[i]}
		}
		recs[i].Inline = vals[k]
	}
	return recs, nil
}

// AddRef gives stream one more hold of the extent, by a reference of the given
// number: new to the extent and stream, as from a clock that never repeats. The
// extent must be held by somebody who cannot let go before this commits. It
// costs two reads and a write or two.
func AddRef(ctx context.Context, tx kv.Txn, id ExtentID, stream, number uint64) error {
	vals, err := tx.GetMany(ctx, [][]byte{key(tagExtent, id), key(tagFree, id)})
	if err != nil {
		return fmt.Errorf("data: read extent record: %w", err)
	}
	if vals[0] == nil {
		return fmt.Errorf("%w: %d", ErrNotFound, id)
	}
	tx.Put(refKey(id, stream, number), []byte{rowFormat})
	if vals[1] != nil {
		tx.Delete(key(tagFree, id)) // it may have been let go just before
	}
	return nil
}

// DropRef ends one hold of stream: a reference if it has one, else that of the
// owner. When nobody is left the extent is queued to be freed. Dropping what is
// not held changes nothing.
func DropRef(ctx context.Context, tx kv.Txn, id ExtentID, stream uint64) error {
	rec, err := record(ctx, tx, id)
	if err != nil {
		return err
	}
	// The scans join the read set, so a reference added meanwhile aborts this.
	rows := kv.Prefix(key(tagRef, id))
	tx.Guard(rows)
	all, err := refs(ctx, tx, rows, 2)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		mine, err := refs(ctx, tx, kv.Prefix(refPrefix(id, stream)), 1)
		if err != nil {
			return err
		}
		if len(mine) > 0 {
			tx.Delete(mine[0])
			if len(all) == 1 && rec.Owner == 0 {
				tx.Put(key(tagFree, id), []byte{rowFormat})
			}
			return nil
		}
	}
	if rec.Owner != stream {
		return nil
	}
	rec.Owner = 0
	tx.Put(key(tagExtent, id), rec.encode())
	if len(all) == 0 {
		tx.Put(key(tagFree, id), []byte{rowFormat})
	}
	return nil
}

// refs returns up to limit keys of reference rows.
func refs(ctx context.Context, tx kv.Txn, rng kv.Range, limit int) ([][]byte, error) {
	var out [][]byte
	for e, err := range tx.Scan(ctx, rng, kv.ScanOptions{Limit: limit, KeysOnly: true}) {
		if err != nil {
			return nil, fmt.Errorf("data: scan references: %w", err)
		}
		out = append(out, bytes.Clone(e.Key))
	}
	return out, nil
}

func record(ctx context.Context, r kv.Reader, id ExtentID) (Record, error) {
	v, err := r.Get(ctx, key(tagExtent, id))
	if errors.Is(err, kv.ErrNotFound) {
		return Record{}, fmt.Errorf("%w: %d", ErrNotFound, id)
	}
	if err != nil {
		return Record{}, fmt.Errorf("data: read extent record: %w", err)
	}
	return decodeRecord(id, v)
}
