package meta

import (
	"context"
	"encoding/binary"
	"iter"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// Kinds of change log entries; stored.
const (
	logInode byte = 'i' // the inode, its streams or its metadata
	logEntry byte = 'n' // a name of the directory came, went or changed its object
)

// log notes a change of an object that some live snapshot sees. Nothing else
// can ask for it.
func (tx *Txn) log(ctx context.Context, id fs.FileID, kind byte, name string) error {
	s, err := tx.newestCovering(ctx, id, 1)
	if err != nil || s == 0 {
		return err
	}
	tx.kv.Put(logKey(tx.epoch, id, kind, name), []byte{recordFormat})
	return nil
}

func (tx *Txn) logName(ctx context.Context, dir fs.FileID, name string) error {
	if tx.newest == 0 {
		return nil
	}
	return tx.log(ctx, dir, logEntry, name)
}

// Change is one entry of the change log.
type Change struct {
	Epoch uint64
	ID    fs.FileID
	// Entry: the name Name of directory ID changed; else the inode itself did.
	Entry bool
	Name  string
}

// Changes yields the log of epochs (after, upTo]. r must be live.
func (r *Reader) Changes(ctx context.Context, after, upTo fs.SnapshotID) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		rng := kv.Range{Start: plainKey(tagLog, uint64(after)+1, 0), End: plainKey(tagLog, uint64(upTo)+1, 0)}
		for e, err := range r.r.Scan(ctx, rng, kv.ScanOptions{KeysOnly: true}) {
			if err != nil {
				yield(Change{}, err)
				return
			}
			if len(e.Key) < 18 {
				yield(Change{}, ErrCorrupt)
				return
			}
			c := Change{Epoch: plainIDOf(e.Key), ID: fs.FileID(binary.BigEndian.Uint64(e.Key[9:])), Entry: e.Key[17] == logEntry, Name: string(e.Key[18:])}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// TrimLog removes log entries that no pair of live snapshots can ask for, a
// bounded number a call.
func (db *DB) TrimLog(ctx context.Context) (more bool, err error) {
	var keys [][]byte
	err = db.view(ctx, func(r kv.Reader) error {
		keys = keys[:0]
		ep, err := readEpoch(ctx, r)
		if err != nil {
			return err
		}
		list, err := db.snaps.get(ctx, r, ep)
		if err != nil {
			return err
		}
		oldest := ep.Epoch
		for _, ss := range list.roots {
			oldest = min(oldest, ss[len(ss)-1])
		}
		rng := kv.Range{Start: []byte{tagLog}, End: plainKey(tagLog, oldest+1, 0)}
		for e, err := range r.Scan(ctx, rng, kv.ScanOptions{Limit: 200, KeysOnly: true}) {
			if err != nil {
				return err
			}
			keys = append(keys, append([]byte(nil), e.Key...))
		}
		return nil
	})
	if err != nil || len(keys) == 0 {
		return false, err
	}
	_, err = db.kv.Update(ctx, func(tx kv.Txn) error {
		for _, k := range keys {
			tx.Delete(k)
		}
		return nil
	})
	return len(keys) == 200, err
}
