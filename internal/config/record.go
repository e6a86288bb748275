package config

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"manifold/internal/kv"
)

// A record's value is one byte recordFormat, its revision as uvarint, and JSON.
const recordFormat = 1

func encode[T any](revision uint64, v T) ([]byte, error) {
	j, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("config: encode: %w", err)
	}
	b := binary.AppendUvarint([]byte{recordFormat}, revision)
	return append(b, j...), nil
}

func decode[T any](id uint64, b []byte) (Record[T], error) {
	rec := Record[T]{ID: id}
	if len(b) == 0 {
		return rec, fmt.Errorf("%w: empty", ErrCorrupt)
	}
	if b[0] != recordFormat {
		return rec, fmt.Errorf("%w: record has format %d", ErrFormat, b[0])
	}
	rev, n := binary.Uvarint(b[1:])
	if n <= 0 {
		return rec, fmt.Errorf("%w: revision", ErrCorrupt)
	}
	rec.Revision = rev
	if err := json.Unmarshal(b[1+n:], &rec.Value); err != nil {
		return rec, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return rec, nil
}

// get reads one record, ErrNotFound if there is none.
func get[T any](ctx context.Context, r kv.Reader, k kind, id uint64) (Record[T], error) {
	b, err := r.Get(ctx, recordKey(k, id))
	if errors.Is(err, kv.ErrNotFound) {
		return Record[T]{}, ErrNotFound
	}
	if err != nil {
		return Record[T]{}, err
	}
	rec, err := decode[T](id, b)
	if err != nil {
		return rec, fmt.Errorf("config: record %d of kind %d: %w", id, k, err)
	}
	return rec, nil
}

// all yields the records of a kind by id, those greater than after. An error is yielded last.
func all[T any](ctx context.Context, r kv.Reader, k kind, after uint64, limit int) iter.Seq2[Record[T], error] {
	return func(yield func(Record[T], error) bool) {
		rg := kv.Prefix(kindPrefix(k))
		if after > 0 {
			rg.Start = append(recordKey(k, after), 0)
		}
		for e, err := range r.Scan(ctx, rg, kv.ScanOptions{Limit: limit}) {
			if err != nil {
				yield(Record[T]{}, err)
				return
			}
			rec, err := decode[T](lastNumber(e.Key), e.Value)
			if err != nil {
				err = fmt.Errorf("config: record %d of kind %d: %w", rec.ID, k, err)
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// list collects records of a kind in one snapshot; limit 0 is all.
func list[T any](ctx context.Context, s *Store, k kind, after uint64, limit int) ([]Record[T], error) {
	var out []Record[T]
	err := s.view(ctx, func(r kv.Reader) (err error) {
		out, err = collect(all[T](ctx, r, k, after, limit))
		return err
	})
	return out, err
}

func collect[T any](recs iter.Seq2[Record[T], error]) ([]Record[T], error) {
	var out []Record[T]
	for rec, err := range recs {
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

// read is get in a View of its own.
func read[T any](ctx context.Context, s *Store, k kind, id uint64) (Record[T], error) {
	var rec Record[T]
	err := s.view(ctx, func(r kv.Reader) (err error) {
		rec, err = get[T](ctx, r, k, id)
		return err
	})
	return rec, err
}

// readOr reads a record, def with revision 0 if it was never written.
func readOr[T any](ctx context.Context, s *Store, k kind, id uint64, def T) (Record[T], error) {
	rec, err := read[T](ctx, s, k, id)
	if errors.Is(err, ErrNotFound) {
		return Record[T]{ID: id, Value: def}, nil
	}
	return rec, err
}

// put writes a record under a new revision.
func put[T any](ctx context.Context, tx kv.Txn, k kind, id uint64, v T) (Record[T], error) {
	rev, err := next(ctx, tx, counterRevision, 1)
	if err != nil {
		return Record[T]{}, err
	}
	b, err := encode(rev, v)
	if err != nil {
		return Record[T]{}, err
	}
	tx.Put(recordKey(k, id), b)
	return Record[T]{ID: id, Revision: rev, Value: v}, nil
}

// forChange reads a record that is about to change and checks the revision
// that its changer has seen; 0 is any.
func forChange[T any](ctx context.Context, tx kv.Txn, k kind, id, revision uint64) (Record[T], error) {
	rec, err := get[T](ctx, tx, k, id)
	if err == nil && revision != 0 && revision != rec.Revision {
		return rec, ErrStale
	}
	return rec, err
}

// replace writes a record, which need not be there, and checks the revision that
// its changer has seen; 0 is any.
func replace[T any](ctx context.Context, tx kv.Txn, k kind, id, revision uint64, v T) (Record[T], error) {
	old, err := get[T](ctx, tx, k, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return old, err
	}
	if revision != 0 && revision != old.Revision {
		return old, ErrStale
	}
	return put(ctx, tx, k, id, v)
}

// updated is [Store.update] for one record.
func updated[T any](ctx context.Context, s *Store, fn func(kv.Txn) (Record[T], error)) (rec Record[T], err error) {
	err = s.update(ctx, func(tx kv.Txn) (err error) {
		rec, err = fn(tx)
		return err
	})
	return rec, err
}

// changed is [Store.change] for one record.
func changed[T any](ctx context.Context, s *Store, fn func(kv.Txn) (Record[T], error)) (rec Record[T], err error) {
	err = s.change(ctx, func(tx kv.Txn) (err error) {
		rec, err = fn(tx)
		return err
	})
	return rec, err
}

// claim takes a unique name for id, ErrExists if another has it.
func claim(ctx context.Context, tx kv.Txn, s space, name string, id uint64) error {
	owner, err := owner(ctx, tx, s, name)
	switch {
	case err == nil && owner != id:
		return ErrExists
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	tx.Put(nameKey(s, name), binary.BigEndian.AppendUint64(nil, id))
	return nil
}

// rename gives up one unique name and claims another; "" is none.
func rename(ctx context.Context, tx kv.Txn, s space, from, to string, id uint64) error {
	if from == to {
		return nil
	}
	if from != "" {
		tx.Delete(nameKey(s, from))
	}
	if to == "" {
		return nil
	}
	return claim(ctx, tx, s, to, id)
}

// owner tells who has a unique name.
func owner(ctx context.Context, r kv.Reader, s space, name string) (uint64, error) {
	b, err := r.Get(ctx, nameKey(s, name))
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return 0, ErrNotFound
	case err != nil:
		return 0, err
	case len(b) != 8:
		return 0, fmt.Errorf("%w: name %q", ErrCorrupt, name)
	}
	return binary.BigEndian.Uint64(b), nil
}
