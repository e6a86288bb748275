package meta

import (
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// keptChunks bounds how many chunks KeptBy looks into; of more it takes a sample
// of at least half as many.
const keptChunks = 4096

// KeptBy is how many bytes of data would cease to be kept by snapshots alone were
// these live ones deleted; it is exact for few chunks and an estimate for many.
// The death lists of the snapshots are read in the order of chunks, so that what
// goes of a chunk with any of them is known at once. What is deleted meanwhile
// may count or not.
func (db *DB) KeptBy(ctx context.Context, snaps []fs.SnapshotID) (uint64, error) {
	k := keeping{db: db, seed: maphash.MakeSeed(), most: keptChunks}
	for _, s := range snaps {
		k.snaps = append(k.snaps, uint64(s))
	}
	slices.Sort(k.snaps)
	k.snaps = slices.Compact(k.snaps)
	n, err := k.sum(ctx)
	if err != nil {
		return 0, fmt.Errorf("meta: what snapshots keep: %w", err)
	}
	return n, nil
}

// keeping is one run of KeptBy.
type keeping struct {
	db    *DB
	snaps []uint64 // ascending
	seed  maphash.Seed
	most  int

	// Chunks whose hash has none of the bits of mask are the sample.
	mask  uint64
	found []keptChunk
}

type keptChunk struct {
	hash  uint64
	bytes int64
}

// filed is a version of a chunk in the death list of a snapshot.
type filed struct{ end, snap uint64 }

func (k *keeping) sum(ctx context.Context) (uint64, error) {
	var lists deathLists
	for _, s := range k.snaps {
		l := &deathList{snap: s, from: deathKey(fs.SnapshotID(s), []byte{tagChunk | historyBit}), to: deathKey(fs.SnapshotID(s), []byte{(tagChunk | historyBit) + 1})}
		if err := l.fill(ctx, k.db, k.page()); err != nil {
			return 0, err
		}
		if len(l.page) > 0 {
			lists = append(lists, l)
		}
	}
	heap.Init(&lists)
	var chunk []byte // what the history keys of the present chunk start with
	var of []filed
	for len(lists) > 0 {
		l := lists[0]
		h := l.page[0]
		if len(h) < 8 {
			return 0, fmt.Errorf("%w: death list of snapshot %d", ErrCorrupt, l.snap)
		}
		p, end := h[:len(h)-8], binary.BigEndian.Uint64(h[len(h)-8:])
		if !bytes.Equal(p, chunk) {
			if err := k.look(ctx, chunk, of); err != nil {
				return 0, err
			}
			chunk, of = p, nil
		}
		of = append(of, filed{end, l.snap})
		if l.page = l.page[1:]; len(l.page) == 0 {
			if err := l.fill(ctx, k.db, k.page()); err != nil {
				return 0, err
			}
		}
		if len(l.page) == 0 {
			heap.Pop(&lists)
		} else {
			heap.Fix(&lists, 0)
		}
	}
	if err := k.look(ctx, chunk, of); err != nil {
		return 0, err
	}
	sum := int64(0)
	for _, c := range k.found {
		sum += c.bytes
	}
	return uint64(max(0, sum)) * (k.mask + 1), nil
}

// page bounds the memory of all lists together.
func (k *keeping) page() int { return max(16, 4096/len(k.snaps)) }

// look adds what goes of one chunk, if it is in the sample.
func (k *keeping) look(ctx context.Context, prefix []byte, of []filed) error {
	h := maphash.Bytes(k.seed, prefix)
	if prefix == nil || h&k.mask != 0 {
		return nil
	}
	n, err := k.goes(ctx, prefix, of)
	if err != nil {
		return err
	}
	k.found = append(k.found, keptChunk{h, n})
	for len(k.found) > k.most {
		k.mask = k.mask<<1 | 1
		k.found = slices.DeleteFunc(k.found, func(c keptChunk) bool { return c.hash&k.mask != 0 })
	}
	return nil
}

// goes is the difference between what snapshots alone keep of a chunk now, and
// what they would without the versions that go; see [DB.SnapshotBytes].
func (k *keeping) goes(ctx context.Context, prefix []byte, of []filed) (n int64, err error) {
	key, _, ok := splitHistory(append(bytes.Clone(prefix), make([]byte, 8)...))
	if !ok {
		return 0, fmt.Errorf("%w: a death list names no chunk", ErrCorrupt)
	}
	err = k.db.view(ctx, func(r kv.Reader) error {
		n = 0
		ep, err := readEpoch(ctx, r)
		if err != nil {
			return err
		}
		live, err := k.db.snaps.get(ctx, r, ep)
		if err != nil {
			return err
		}
		var last, lastKept []Frag
		next := func(frags []Frag, kept bool) {
			n += lost(last, frags)
			last = frags
			if kept {
				n -= lost(lastKept, frags)
				lastKept = frags
			}
		}
		for e, err := range r.Scan(ctx, kv.Prefix(prefix), kv.ScanOptions{}) {
			if err != nil {
				return err
			}
			c, err := decodeChunk(idOf(key), e.Value)
			if err != nil {
				return err
			}
			end := binary.BigEndian.Uint64(e.Key[len(prefix):])
			i := slices.IndexFunc(of, func(f filed) bool { return f.end == end })
			next(c.Frags, i < 0 || !k.only(live, birthOf(e.Value), of[i].snap))
		}
		v, err := r.Get(ctx, key)
		switch {
		case errors.Is(err, kv.ErrNotFound):
			next(nil, true)
			return nil
		case err != nil:
			return err
		}
		c, err := decodeChunk(idOf(key), v)
		if err != nil {
			return err
		}
		next(c.Frags, true)
		return nil
	})
	return n, err
}

// only tells whether all live snapshots of an epoch in [since, upTo] are among
// those that are to go, so that nothing is filed under one that stays.
func (k *keeping) only(live *snapList, since, upTo uint64) bool {
	count := func(ids []uint64) int {
		from, _ := slices.BinarySearch(ids, since)
		to, _ := slices.BinarySearch(ids, upTo+1)
		return to - from
	}
	return count(live.ids) == count(k.snaps)
}

// deathList reads the versions of chunks in a death list, in order, by pages.
type deathList struct {
	snap     uint64
	from, to []byte
	page     [][]byte // history keys
}

func (l *deathList) fill(ctx context.Context, db *DB, limit int) error {
	err := db.view(ctx, func(r kv.Reader) error {
		l.page = l.page[:0]
		for e, err := range r.Scan(ctx, kv.Range{Start: l.from, End: l.to}, kv.ScanOptions{Limit: limit, KeysOnly: true}) {
			if err != nil {
				return err
			}
			l.page = append(l.page, bytes.Clone(e.Key[9:]))
		}
		return nil
	})
	if n := len(l.page); err == nil && n > 0 {
		l.from = kv.Successor(deathKey(fs.SnapshotID(l.snap), l.page[n-1]))
	}
	return err
}

// deathLists are a heap by the key that is next.
type deathLists []*deathList

func (h deathLists) Len() int           { return len(h) }
func (h deathLists) Less(i, j int) bool { return bytes.Compare(h[i].page[0], h[j].page[0]) < 0 }
func (h deathLists) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *deathLists) Push(x any)        { *h = append(*h, x.(*deathList)) }

// Pop takes the last.
func (h *deathLists) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
