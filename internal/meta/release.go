package meta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

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
	key := releaseKey(sid, tx.db.mark())
	tx.kv.Put(key, e)
	tx.released = append(tx.released, releaseRow{key, slices.Clone(extents)})
	return nil
}

// releaseRow is a row of the queue: extents that its stream no longer maps.
type releaseRow struct {
	key []byte
	ids []uint64
}

// releaseQueue remembers the rows of the stored queue, so that the worker need
// not look for them among the tombstones of those it has consumed.
type releaseQueue struct {
	mu   sync.Mutex
	rows []releaseRow
	// scan: there may be stored rows that are not in rows.
	scan bool
}

const maxReleaseRows = 1 << 14

func (q *releaseQueue) add(rows []releaseRow) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.rows)+len(rows) > maxReleaseRows {
		q.scan = true
		return
	}
	q.rows = append(q.rows, rows...)
}

func (q *releaseQueue) mustScan() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.scan = true
}

// take removes rows with at most max extents, but at least one row if there is
// any; with none it tells whether to scan and takes that note back.
func (q *releaseQueue) take(max int) (rows []releaseRow, scan bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, total := 0, 0
	for n < len(q.rows) && (n == 0 || total+len(q.rows[n].ids) <= max) {
		total += len(q.rows[n].ids)
		n++
	}
	if n == 0 {
		scan, q.scan = q.scan, false
		return nil, scan
	}
	rows = slices.Clone(q.rows[:n])
	if q.rows = q.rows[n:]; len(q.rows) == 0 {
		q.rows = nil
	}
	return rows, false
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
	items, scan := db.releases.take(releasePerTxn)
	if scan {
		if items, err = db.scanReleases(ctx); len(items) > 0 || err != nil {
			db.releases.mustScan()
		}
	}
	if err != nil || len(items) == 0 {
		return false, err
	}
	var left []releaseRow
	_, err = db.kv.Update(ctx, func(tx kv.Txn) error {
		left = left[:0]
		for _, it := range items {
			// Only this worker removes rows, but it may meet one twice.
			v, err := tx.Get(ctx, it.key)
			if errors.Is(err, kv.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			ids, err := decodeRelease(v)
			if err != nil {
				return err
			}
			now := ids[:min(len(ids), releasePerTxn)]
			if db.o.Release != nil {
				if err := db.o.Release(ctx, tx, fs.StreamID(idOf(it.key)), now); err != nil {
					return err
				}
			}
			if len(now) == len(ids) {
				tx.Delete(it.key)
				continue
			}
			rest := ids[len(now):]
			e := newEncoder(8+6*len(rest), 0)
			e.u(uint64(len(rest)))
			for _, x := range rest {
				e.u(x)
			}
			tx.Put(it.key, e)
			left = append(left, releaseRow{it.key, rest})
		}
		return nil
	})
	if err != nil {
		db.releases.mustScan()
		return false, fmt.Errorf("meta: release extents: %w", err)
	}
	db.releases.add(left)
	return true, nil
}

// scanReleases reads the first rows of the stored queue.
func (db *DB) scanReleases(ctx context.Context) (items []releaseRow, err error) {
	total := 0
	err = db.view(ctx, func(r kv.Reader) error {
		items, total = items[:0], 0
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
				break
			}
			items = append(items, releaseRow{bytes.Clone(e.Key), ids})
			total += len(ids)
		}
		return nil
	})
	return items, err
}
