package meta

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// snapList is the list of live snapshots as of one epoch record.
type snapList struct {
	version uint64
	ids     []uint64               // ascending
	roots   map[fs.FileID][]uint64 // newest first
}

func (l *snapList) live(s fs.SnapshotID) bool {
	_, ok := slices.BinarySearch(l.ids, uint64(s))
	return ok
}

// older is the newest live snapshot in [since, before), 0 if none.
func (l *snapList) older(since, before uint64) uint64 {
	i, _ := slices.BinarySearch(l.ids, before)
	if i == 0 || l.ids[i-1] < since {
		return 0
	}
	return l.ids[i-1]
}

type snapCache struct {
	mu   sync.RWMutex
	list *snapList
}

// get returns the list that belongs to ep, which was read through the same snapshot as r.
func (c *snapCache) get(ctx context.Context, r kv.Reader, ep epochRecord) (*snapList, error) {
	c.mu.RLock()
	l := c.list
	c.mu.RUnlock()
	if l != nil && l.version == ep.Version {
		return l, nil
	}
	l = &snapList{version: ep.Version, roots: map[fs.FileID][]uint64{}}
	for e, err := range r.Scan(ctx, table(tagSnapshot), kv.ScanOptions{}) {
		if err != nil {
			return nil, err
		}
		s, err := decodeSnapshot(e.Key, e.Value)
		if err != nil {
			return nil, err
		}
		if s.InDelete {
			continue
		}
		l.ids = append(l.ids, uint64(s.ID))
		l.roots[s.Root] = append(l.roots[s.Root], uint64(s.ID))
	}
	for _, ids := range l.roots {
		slices.Reverse(ids)
	}
	c.mu.Lock()
	if c.list == nil || c.list.version < l.version {
		c.list = l
	}
	c.mu.Unlock()
	return l, nil
}

func snapshotKey(id fs.SnapshotID) []byte { return plainKey(tagSnapshot, uint64(id), 0) }

func decodeSnapshot(key, v []byte) (fs.Snapshot, error) {
	var s fs.Snapshot
	if len(key) != 9 || len(v) == 0 || v[0] != recordFormat {
		return s, fmt.Errorf("%w: snapshot record", ErrCorrupt)
	}
	if err := json.Unmarshal(v[1:], &s); err != nil {
		return s, fmt.Errorf("%w: snapshot %d: %w", ErrCorrupt, plainIDOf(key), err)
	}
	s.ID = fs.SnapshotID(plainIDOf(key))
	return s, nil
}

func encodeJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("meta: encode record: %w", err)
	}
	return append([]byte{recordFormat}, b...), nil
}

// TakeSnapshot records s and begins a new epoch. What was committed before the
// call is in the snapshot; the caller has flushed buffered writes. name makes
// the full name from the id.
func (db *DB) TakeSnapshot(ctx context.Context, s fs.Snapshot, name func(fs.SnapshotID) string) (fs.Snapshot, error) {
	err := db.Exclusive(ctx, func(tx *Txn) error {
		if _, err := tx.Inode(ctx, s.Root); err != nil {
			return err
		}
		s.ID = fs.SnapshotID(tx.epoch)
		s.Name = name(s.ID)
		s.Revision = 1
		v, err := encodeJSON(s)
		if err != nil {
			return err
		}
		tx.kv.Put(snapshotKey(s.ID), v)
		tx.kv.Put(epochKey, epochRecord{tx.epoch + 1, tx.epoch, tx.ep.Version + 1}.encode())
		return nil
	})
	return s, err
}

// Snapshot returns one snapshot, those being deleted included. ErrNotFound.
func (db *DB) Snapshot(ctx context.Context, id fs.SnapshotID) (fs.Snapshot, error) {
	var s fs.Snapshot
	err := db.view(ctx, func(r kv.Reader) error {
		v, err := r.Get(ctx, snapshotKey(id))
		if errors.Is(err, kv.ErrNotFound) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		s, err = decodeSnapshot(snapshotKey(id), v)
		return err
	})
	return s, err
}

// Snapshots returns all snapshots in order of their ids, those being deleted included.
func (db *DB) Snapshots(ctx context.Context) ([]fs.Snapshot, error) {
	var out []fs.Snapshot
	err := db.View(ctx, func(r *Reader) error {
		var err error
		out, err = r.Snapshots(ctx)
		return err
	})
	return out, err
}

// Snapshots returns all snapshots in order of their ids.
func (r *Reader) Snapshots(ctx context.Context) ([]fs.Snapshot, error) {
	var out []fs.Snapshot
	for e, err := range r.r.Scan(ctx, table(tagSnapshot), kv.ScanOptions{}) {
		if err != nil {
			return nil, err
		}
		s, err := decodeSnapshot(e.Key, e.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// ChangeSnapshot lets fn alter a snapshot record; ErrNotFound if it is gone or
// being deleted.
func (db *DB) ChangeSnapshot(ctx context.Context, id fs.SnapshotID, fn func(*fs.Snapshot) error) (fs.Snapshot, error) {
	var s fs.Snapshot
	_, err := db.kv.Update(ctx, func(tx kv.Txn) error {
		v, err := tx.Get(ctx, snapshotKey(id))
		if errors.Is(err, kv.ErrNotFound) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		if s, err = decodeSnapshot(snapshotKey(id), v); err != nil {
			return err
		}
		if s.InDelete {
			return ErrNotFound
		}
		if err := fn(&s); err != nil {
			return err
		}
		s.Revision++
		if v, err = encodeJSON(s); err != nil {
			return err
		}
		tx.Put(snapshotKey(id), v)
		if !s.InDelete {
			return nil
		}
		ep, err := readEpoch(ctx, tx)
		if err != nil {
			return err
		}
		ep.Version++
		if ep.Newest == uint64(id) {
			ep.Newest = 0
			rng := kv.Range{Start: []byte{tagSnapshot}, End: snapshotKey(id)}
			for e, err := range tx.Unvalidated().Scan(ctx, rng, kv.ScanOptions{Reverse: true}) {
				if err != nil {
					return err
				}
				o, err := decodeSnapshot(e.Key, e.Value)
				if err != nil {
					return err
				}
				if !o.InDelete {
					ep.Newest = uint64(o.ID)
					break
				}
			}
		}
		// Every change of the list goes through the epoch record, so the
		// unvalidated scan above is as of this record.
		tx.Put(epochKey, ep.encode())
		return nil
	})
	return s, err
}

// DeleteSnapshot marks a snapshot as being deleted: it is not live any more,
// and StepSnapshotDelete reclaims what only it kept. check may refuse.
func (db *DB) DeleteSnapshot(ctx context.Context, id fs.SnapshotID, check func(*fs.Snapshot) error) error {
	_, err := db.ChangeSnapshot(ctx, id, func(s *fs.Snapshot) error {
		if err := check(s); err != nil {
			return err
		}
		s.InDelete = true
		return nil
	})
	return err
}

// deathPerTxn bounds one step: each entry costs up to three reads and four writes.
const deathPerTxn = 40

// StepSnapshotDelete reclaims a bounded part of a snapshot being deleted. more
// tells whether there is work left.
func (db *DB) StepSnapshotDelete(ctx context.Context) (more bool, err error) {
	var victim fs.SnapshotID
	var entries [][]byte
	err = db.View(ctx, func(r *Reader) error {
		victim, entries = 0, entries[:0]
		all, err := r.Snapshots(ctx)
		if err != nil {
			return err
		}
		for _, s := range all {
			if s.InDelete {
				victim = s.ID
				break
			}
		}
		if victim == 0 {
			return nil
		}
		for e, err := range r.r.Scan(ctx, kv.Prefix(plainKey(tagDeath, uint64(victim), 0)), kv.ScanOptions{Limit: deathPerTxn, KeysOnly: true}) {
			if err != nil {
				return err
			}
			entries = append(entries, bytes.Clone(e.Key))
		}
		return nil
	})
	if err != nil || victim == 0 {
		return false, err
	}
	freed := int64(0)
	err = db.Update(ctx, func(tx *Txn) error {
		freed = 0
		if len(entries) == 0 {
			tx.kv.Delete(snapshotKey(victim))
			return nil
		}
		list, err := db.snaps.get(ctx, tx.kv.Unvalidated(), tx.ep)
		if err != nil {
			return err
		}
		for _, k := range entries {
			n, err := tx.bury(ctx, list, k, uint64(victim))
			if err != nil {
				return err
			}
			freed += n
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("meta: reclaim snapshot %d: %w", victim, err)
	}
	db.freed.Add(uint64(max(0, freed)))
	return true, nil
}

// FreedWithSnapshots is how many bytes of data that only snapshots kept have gone
// with them since the start.
func (db *DB) FreedWithSnapshots() uint64 { return db.freed.Load() }

// bury handles one death list entry: the old version goes, or is filed under
// the next older snapshot that may need it. It answers the bytes that no snapshot
// keeps any more.
func (tx *Txn) bury(ctx context.Context, list *snapList, death []byte, victim uint64) (freed int64, err error) {
	h := death[9:]
	key, end, ok := splitHistory(h)
	if !ok {
		return 0, fmt.Errorf("%w: death list of snapshot %d", ErrCorrupt, victim)
	}
	tx.kv.Delete(death)
	v, err := tx.kv.Get(ctx, h)
	if errors.Is(err, kv.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	birth := birthOf(v)
	if s := list.older(birth, victim); s != 0 {
		tx.kv.Put(deathKey(fs.SnapshotID(s), h), []byte{recordFormat})
		return 0, nil
	}
	if key[0] == tagChunk {
		if freed, err = tx.buryChunk(ctx, key, end, v); err != nil {
			return 0, err
		}
	}
	tx.kv.Delete(h)
	return freed, nil
}

// buryChunk queues for release the holds that go with a version: of extents that
// neither the version before nor the one after maps, and, since those two come
// to be neighbours, of those that both map but this one does not.
func (tx *Txn) buryChunk(ctx context.Context, key []byte, end uint64, v []byte) (freed int64, err error) {
	sid := fs.StreamID(idOf(key))
	c, err := decodeChunk(uint64(sid), v)
	if err != nil {
		return 0, err
	}
	p := historyPrefix(key)
	// The neighbours in history; the scan also sees what this step deleted.
	before, err := tx.neighbour(ctx, sid, kv.Range{Start: p, End: binary.BigEndian.AppendUint64(bytes.Clone(p), end)}, true)
	if err != nil {
		return 0, err
	}
	after, err := tx.neighbour(ctx, sid, kv.Range{Start: binary.BigEndian.AppendUint64(bytes.Clone(p), end+1), End: kv.Successor(p)}, false)
	if err != nil {
		return 0, err
	}
	if after == nil {
		cur, err := tx.kv.Get(ctx, key)
		switch {
		case err == nil:
			if after, err = decodeChunk(uint64(sid), cur); err != nil {
				return 0, err
			}
		case !errors.Is(err, kv.ErrNotFound):
			return 0, err
		}
	}
	change := int64(0)
	if after != nil {
		change -= lost(c.Frags, after.Frags)
	} else {
		change -= lost(c.Frags, nil)
	}
	if before != nil {
		change -= lost(before.Frags, c.Frags)
		if after != nil {
			change += lost(before.Frags, after.Frags)
		} else {
			change += lost(before.Frags, nil)
		}
	}
	if err := tx.addSnapshotBytes(ctx, change); err != nil {
		return 0, err
	}
	gone := missing(c.Frags, nil)
	if before != nil {
		gone = subtract(gone, before.Frags)
	}
	if after != nil {
		gone = subtract(gone, after.Frags)
	}
	if before != nil && after != nil {
		gone = append(gone, both(missing(before.Frags, c.Frags), after.Frags)...)
	}
	return -change, tx.queueRelease(ctx, sid, gone)
}

// neighbour is the first old version of a chunk in a range, from one end.
func (tx *Txn) neighbour(ctx context.Context, sid fs.StreamID, rng kv.Range, reverse bool) (*Chunk, error) {
	for e, err := range tx.kv.Scan(ctx, rng, kv.ScanOptions{Limit: 1, Reverse: reverse}) {
		if err != nil {
			return nil, err
		}
		return decodeChunk(uint64(sid), e.Value)
	}
	return nil, nil
}

// both lists the ids that frags map, too.
func both(ids []uint64, frags []Frag) []uint64 {
	if len(ids) == 0 {
		return nil
	}
	has := make(map[uint64]struct{}, len(frags))
	for _, f := range frags {
		has[f.Extent] = struct{}{}
	}
	return slices.DeleteFunc(ids, func(x uint64) bool { _, ok := has[x]; return !ok })
}

// At returns the tree as of a snapshot, read in the transaction; 0 is the live
// one. ErrNotFound: there is no such snapshot, or it is being deleted.
func (tx *Txn) At(ctx context.Context, snap fs.SnapshotID) (*Reader, error) {
	if snap == 0 {
		return &tx.Reader, nil
	}
	list, err := tx.db.snaps.get(ctx, tx.kv.Unvalidated(), tx.ep)
	if err != nil {
		return nil, err
	}
	if !list.live(snap) {
		return nil, fmt.Errorf("%w: snapshot %d", ErrNotFound, snap)
	}
	return &Reader{db: tx.db, r: tx.kv, snap: uint64(snap)}, nil
}
