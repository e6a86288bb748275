package meta

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// releasePerTxn bounds the extents of one release step; each costs its owner
// a few reads and writes in the same transaction.
const releasePerTxn = 40

// queueRelease notes that a stream no longer maps extents in any version.
func (tx *Txn) queueRelease(_ context.Context, sid fs.StreamID, extents []uint64) error {
	if len(extents) == 0 {
		return nil
	}
	e := newEncoder(8+6*len(extents), tx.epoch)
	e.u(uint64(len(extents)))
	for _, x := range extents {
		e.u(x)
	}
	tx.kv.Put(releaseKey(sid, tx.db.mark()), e)
	tx.released = true
	return nil
}

func decodeRelease(v []byte) ([]uint64, error) {
	d, _ := newDecoder(v)
	n := d.u()
	if n > uint64(len(d.in)) {
		d.fail()
	}
	var out []uint64
	for ; n > 0 && !d.bad; n-- {
		out = append(out, d.u())
	}
	return out, d.end("release record", 0)
}

// StepRelease ends the hold of streams on queued extents, a bounded number a
// call. more tells whether there is work left.
func (db *DB) StepRelease(ctx context.Context) (more bool, err error) {
	type item struct {
		key []byte
		ids []uint64
	}
	var items []item
	total := 0
	err = db.kv.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		for e, err := range r.Scan(ctx, table(tagRelease), kv.ScanOptions{Limit: releasePerTxn}) {
			if err != nil {
				return err
			}
			if len(e.Key) != 17 {
				return fmt.Errorf("%w: release key", ErrCorrupt)
			}
			ids, err := decodeRelease(e.Value)
			if err != nil {
				return err
			}
			if total > 0 && total+len(ids) > releasePerTxn {
				more = true
				break
			}
			items = append(items, item{bytes.Clone(e.Key), ids})
			total += len(ids)
		}
		return nil
	})
	if err != nil || len(items) == 0 {
		return false, err
	}
	_, err = db.kv.Update(ctx, func(tx kv.Txn) error {
		for _, it := range items {
			// Only this worker removes rows, but it may run twice after a crash.
			switch _, err := tx.Get(ctx, it.key); {
			case errors.Is(err, kv.ErrNotFound):
				continue
			case err != nil:
				return err
			}
			now := it.ids[:min(len(it.ids), releasePerTxn)]
			if db.o.Release != nil {
				if err := db.o.Release(ctx, tx, fs.StreamID(idOf(it.key)), now); err != nil {
					return err
				}
			}
			if len(now) == len(it.ids) {
				tx.Delete(it.key)
				continue
			}
			rest := it.ids[len(now):]
			e := newEncoder(8+6*len(rest), 0)
			e.u(uint64(len(rest)))
			for _, x := range rest {
				e.u(x)
			}
			tx.Put(it.key, e)
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("meta: release extents: %w", err)
	}
	return true, nil
}
