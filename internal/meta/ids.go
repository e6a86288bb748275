package meta

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// Kinds of id counters; stored.
const (
	counterFile = iota
	counterStream
	counterExtent
	counterMark
)

// idBatch hands out ids of a batch reserved in the store. A restart loses the
// rest of the batch, never reuses it.
type idBatch struct {
	mu         sync.Mutex
	next, last uint64 // [next, last)
}

const idsPerBatch = 1 << 12

func (b *idBatch) take(ctx context.Context, db *DB, kind uint64) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == b.last {
		var from uint64
		_, err := db.kv.Update(ctx, func(tx kv.Txn) error {
			key := plainKey(tagCounter, kind, 0)
			from = 3
			v, err := tx.Get(ctx, key)
			switch {
			case err == nil:
				if from, err = decodeNumber(v); err != nil {
					return err
				}
			case !errors.Is(err, kv.ErrNotFound):
				return err
			}
			tx.Put(key, encodeNumber(from+idsPerBatch))
			return nil
		})
		if err != nil {
			return 0, fmt.Errorf("meta: reserve ids: %w", err)
		}
		b.next, b.last = from, from+idsPerBatch
	}
	id := b.next
	b.next++
	return id, nil
}

// NewFileID returns a fresh inode number. Not to be called within a transaction.
func (db *DB) NewFileID(ctx context.Context) (fs.FileID, error) {
	id, err := db.ids[counterFile].take(ctx, db, counterFile)
	return fs.FileID(id), err
}

// namedStreamBit keeps ids of further streams apart from those of default
// streams, which have the number of their inode.
const namedStreamBit = 1 << 62

// NewStreamID returns a fresh stream id. The default stream of a file needs
// none: it has the number of the inode.
func (db *DB) NewStreamID(ctx context.Context) (fs.StreamID, error) {
	id, err := db.ids[counterStream].take(ctx, db, counterStream)
	return fs.StreamID(id | namedStreamBit), err
}

// NewExtentID returns a fresh extent id.
func (db *DB) NewExtentID(ctx context.Context) (uint64, error) {
	return db.ids[counterExtent].take(ctx, db, counterExtent)
}

// startMarks begins the marks of this opening of the store: the count of
// openings above, a counter below.
func (db *DB) startMarks(ctx context.Context) error {
	var n uint64
	_, err := db.kv.Update(ctx, func(tx kv.Txn) error {
		key := plainKey(tagCounter, counterMark, 0)
		n = 1
		v, err := tx.Get(ctx, key)
		switch {
		case err == nil:
			if n, err = decodeNumber(v); err != nil {
				return err
			}
		case !errors.Is(err, kv.ErrNotFound):
			return err
		}
		tx.Put(key, encodeNumber(n+1))
		return nil
	})
	db.lastMark.Store(n << 40)
	return err
}

// mark returns a number that makes a key unique.
func (db *DB) mark() uint64 { return db.lastMark.Add(1) }
