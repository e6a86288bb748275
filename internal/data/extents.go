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

// AddRef makes stream hold the extent too. Adding it twice is one reference.
func AddRef(ctx context.Context, tx kv.Txn, id ExtentID, stream uint64) error {
	rec, err := record(ctx, tx, id)
	if err != nil || rec.Owner == stream {
		return err
	}
	tx.Put(refKey(id, stream), []byte{rowFormat})
	tx.Delete(key(tagFree, id)) // it may have been let go just before
	return nil
}

// DropRef ends the hold of stream, as owner or by reference. When nobody is
// left the extent is queued to be freed. Dropping what is not held changes nothing.
func DropRef(ctx context.Context, tx kv.Txn, id ExtentID, stream uint64) error {
	rec, err := record(ctx, tx, id)
	if err != nil {
		return err
	}
	if rec.Owner == stream {
		rec.Owner = 0
		tx.Put(key(tagExtent, id), rec.encode())
	} else {
		ref := refKey(id, stream)
		switch _, err := tx.Get(ctx, ref); {
		case errors.Is(err, kv.ErrNotFound):
			return nil
		case err != nil:
			return fmt.Errorf("data: read reference: %w", err)
		}
		tx.Delete(ref)
	}
	if rec.Owner != 0 {
		return nil
	}
	// The scan joins the read set, so a reference added meanwhile aborts this.
	rows := kv.Prefix(key(tagRef, id))
	tx.Guard(rows)
	for _, err := range tx.Scan(ctx, rows, kv.ScanOptions{Limit: 1, KeysOnly: true}) {
		if err != nil {
			return fmt.Errorf("data: scan references: %w", err)
		}
		return nil
	}
	tx.Put(key(tagFree, id), []byte{rowFormat})
	return nil
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
