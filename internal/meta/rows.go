package meta

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// QuotaRecord is a hard limit on a directory's tree.
type QuotaRecord struct {
	Limit    uint64
	Revision uint64
}

// Quota returns the quota of dir. ErrNotFound.
func (r *Reader) Quota(ctx context.Context, dir fs.FileID) (QuotaRecord, error) {
	var q QuotaRecord
	v, err := r.r.Get(ctx, quotaKey(dir))
	if errors.Is(err, kv.ErrNotFound) {
		return q, ErrNotFound
	}
	if err != nil {
		return q, err
	}
	return q, decodeJSON(v, &q)
}

// Quotas returns all quotas.
func (r *Reader) Quotas(ctx context.Context) (map[fs.FileID]QuotaRecord, error) {
	out := map[fs.FileID]QuotaRecord{}
	for e, err := range r.r.Scan(ctx, table(tagQuota), kv.ScanOptions{}) {
		if err != nil {
			return nil, err
		}
		var q QuotaRecord
		if err := decodeJSON(e.Value, &q); err != nil {
			return nil, err
		}
		out[fs.FileID(idOf(e.Key))] = q
	}
	return out, nil
}

// PutQuota stores, DeleteQuota removes the quota of a directory.
func (tx *Txn) PutQuota(dir fs.FileID, q QuotaRecord) error {
	v, err := encodeJSON(q)
	if err != nil {
		return err
	}
	tx.kv.Put(quotaKey(dir), v)
	return nil
}

// DeleteQuota removes the quota of a directory.
func (tx *Txn) DeleteQuota(dir fs.FileID) { tx.kv.Delete(quotaKey(dir)) }

func decodeJSON(v []byte, to any) error {
	if len(v) == 0 || v[0] != recordFormat {
		return fmt.Errorf("%w: record format", ErrCorrupt)
	}
	if err := json.Unmarshal(v[1:], to); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// PutIntent records work in steps under an id; DeleteIntent ends it.
func (tx *Txn) PutIntent(id uint64, v any) error {
	b, err := encodeJSON(v)
	if err != nil {
		return err
	}
	tx.kv.Put(plainKey(tagIntent, id, 0), b)
	return nil
}

// DeleteIntent ends the work.
func (tx *Txn) DeleteIntent(id uint64) { tx.kv.Delete(plainKey(tagIntent, id, 0)) }

// Intent reads the record of work in steps into to. ErrNotFound.
func (r *Reader) Intent(ctx context.Context, id uint64, to any) error {
	v, err := r.r.Get(ctx, plainKey(tagIntent, id, 0))
	if errors.Is(err, kv.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return decodeJSON(v, to)
}

// Intents calls fn for every record of work in steps; decode reads it.
func (r *Reader) Intents(ctx context.Context, fn func(id uint64, decode func(any) error) error) error {
	for e, err := range r.r.Scan(ctx, table(tagIntent), kv.ScanOptions{}) {
		if err != nil {
			return err
		}
		v := bytes.Clone(e.Value)
		if err := fn(plainIDOf(e.Key), func(to any) error { return decodeJSON(v, to) }); err != nil {
			return err
		}
	}
	return nil
}

// ClientKind separates durable records of protocol clients; stored.
type ClientKind uint64

// Client kinds.
const (
	ClientNSM  ClientKind = 1 // monitored hosts of the NFSv3 lock manager
	ClientNFS4 ClientKind = 2
)

func clientKey(k ClientKind, name string) []byte {
	return append(plainKey(tagClient, uint64(k), len(name)), name...)
}

// PutClient keeps a durable record of a client; nil removes it.
func (tx *Txn) PutClient(k ClientKind, name string, v []byte) {
	if v == nil {
		tx.kv.Delete(clientKey(k, name))
		return
	}
	tx.kv.Put(clientKey(k, name), append([]byte{recordFormat}, v...))
}

// Clients calls fn for every durable record of a kind.
func (r *Reader) Clients(ctx context.Context, k ClientKind, fn func(name string, v []byte) error) error {
	for e, err := range r.r.Scan(ctx, kv.Prefix(plainKey(tagClient, uint64(k), 0)), kv.ScanOptions{}) {
		if err != nil {
			return err
		}
		if len(e.Value) == 0 {
			return fmt.Errorf("%w: client record", ErrCorrupt)
		}
		if err := fn(string(e.Key[9:]), bytes.Clone(e.Value[1:])); err != nil {
			return err
		}
	}
	return nil
}
