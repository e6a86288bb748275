package scrub_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"manifold/internal/data"
	"manifold/internal/data/errdisk"
	"manifold/internal/data/scrub"
	"manifold/internal/data/segment"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

type world struct {
	t     *testing.T
	disk  *errdisk.Disk
	eng   *memkv.Engine
	store *segment.Store
	recs  map[data.ExtentID]data.Record
}

// newWorld has the extents 1 to 6 of 1 MiB, two or three a segment, the last
// appended without record, and the inline extent 7.
func newWorld(t *testing.T) *world {
	w := &world{t: t, disk: errdisk.New(), eng: memkv.New(), recs: map[data.ExtentID]data.Record{}}
	var err error
	w.store, err = segment.Open(w.disk, segment.Options{SegmentBytes: 5 << 20, ReserveBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.store.Close() })
	for id := data.ExtentID(1); id <= 6; id++ {
		rec, err := w.store.Append(t.Context(), id, [][]byte{bytes.Repeat([]byte{byte(id)}, 3<<19)})
		if err != nil {
			t.Fatal(err)
		}
		w.recs[id] = rec
	}
	if err := w.store.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.update(func(tx kv.Txn) error {
		for id := data.ExtentID(1); id < 6; id++ {
			if err := data.PutExtent(tx, 10, w.recs[id]); err != nil {
				return err
			}
		}
		return data.PutInline(tx, 7, 10, [][]byte{[]byte("inline")})
	})
	return w
}

func (w *world) update(fn func(kv.Txn) error) {
	w.t.Helper()
	if _, err := w.eng.Update(w.t.Context(), fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) run(o scrub.Options) scrub.Report {
	w.t.Helper()
	rep, err := scrub.Run(w.t.Context(), w.eng, w.store, o)
	if err != nil {
		w.t.Fatal(err)
	}
	return rep
}

func (w *world) flip(id data.ExtentID, at int64) {
	rec := w.recs[id]
	w.disk.Flip(fmt.Sprintf("%016x.seg", rec.Segment), int64(rec.Offset)+at)
}

func (w *world) marks() (ids []data.ExtentID) {
	w.t.Helper()
	err := w.eng.View(w.t.Context(), kv.Linearizable, func(r kv.Reader) error {
		ms, err := data.Marks(w.t.Context(), r, 0, 100)
		for _, m := range ms {
			ids = append(ids, m.ID)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return ids
}

func (w *world) want(rep scrub.Report, want ...scrub.Finding) {
	w.t.Helper()
	if diff := cmp.Diff(want, rep.Findings, cmpopts.IgnoreFields(scrub.Finding{}, "Err")); diff != "" {
		w.t.Fatal(diff)
	}
	if rep.Progress.Findings != uint64(len(want)) {
		w.t.Fatalf("%d findings counted", rep.Progress.Findings)
	}
}

func key(tag byte, parts ...uint64) []byte {
	k := []byte{tag}
	for _, p := range parts {
		k = binary.BigEndian.AppendUint64(k, p)
	}
	return k
}

func TestCleanStore(t *testing.T) {
	w := newWorld(t)
	var last scrub.Progress
	rep := w.run(scrub.Options{Rate: 1 << 40, Progress: func(p scrub.Progress) { last = p }})
	w.want(rep)
	if rep.Extents != 6 || rep.Bytes != 5*3<<19+6 || rep.Segments != 2 || rep.DeadEntries != 1 || rep.DeadBytes != 3<<19 {
		t.Fatalf("%+v", rep)
	}
	if last != rep.Progress {
		t.Fatalf("last progress %+v, report %+v", last, rep.Progress)
	}
}

func TestChecksumIsFoundMarkedAndCleared(t *testing.T) {
	w := newWorld(t)
	w.flip(2, 5*data.BlockBytes+7)
	w.want(w.run(scrub.Options{}), scrub.Finding{Kind: scrub.Checksum, Extent: 2, Owner: 10, Segment: 1, Block: 5})
	if diff := cmp.Diff([]data.ExtentID{2}, w.marks()); diff != "" {
		t.Fatal(diff)
	}
	w.flip(2, 5*data.BlockBytes+7)
	w.want(w.run(scrub.Options{}))
	if ids := w.marks(); len(ids) != 0 {
		t.Fatalf("marks left: %v", ids)
	}
}

func TestDamage(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(w *world)
		want   []scrub.Finding
	}{
		{"segment gone", func(w *world) {
			if err := w.disk.Remove(fmt.Sprintf("%016x.seg", 1)); err != nil {
				w.t.Fatal(err)
			}
			w.reopen()
		}, []scrub.Finding{
			{Kind: scrub.Missing, Extent: 1, Owner: 10, Segment: 1, Block: -1},
			{Kind: scrub.Missing, Extent: 2, Owner: 10, Segment: 1, Block: -1},
			{Kind: scrub.Missing, Extent: 3, Owner: 10, Segment: 1, Block: -1},
		}},
		{"segment cut", func(w *world) {
			w.reopen()
			if err := w.store.Trim(1, int64(w.recs[3].Offset)+100); err != nil {
				w.t.Fatal(err)
			}
		}, []scrub.Finding{
			{Kind: scrub.Checksum, Extent: 3, Owner: 10, Segment: 1, Block: 0},
			{Kind: scrub.BadSegment, Segment: 1, Block: -1},
		}},
		{"header", func(w *world) {
			w.reopen()
			w.flip(2, -20)
		}, []scrub.Finding{{Kind: scrub.BadSegment, Segment: 1, Block: -1}}},
		{"inline payload gone", func(w *world) {
			w.update(func(tx kv.Txn) error { tx.Delete(key(0x81, 7)); return nil })
		}, []scrub.Finding{{Kind: scrub.Missing, Extent: 7, Block: -1}}},
		{"inline payload rotten", func(w *world) {
			w.update(func(tx kv.Txn) error { tx.Put(key(0x81, 7), []byte("inlane")); return nil })
		}, []scrub.Finding{{Kind: scrub.Checksum, Extent: 7, Owner: 10}}},
		{"record rotten", func(w *world) {
			w.update(func(tx kv.Txn) error {
				v, err := tx.Get(w.t.Context(), key(0x80, 4))
				v = bytes.Clone(v)
				v[30] ^= 1
				tx.Put(key(0x80, 4), v)
				return err
			})
		}, []scrub.Finding{{Kind: scrub.BadRecord, Extent: 4, Block: -1}}},
		{"index row missing", func(w *world) {
			w.update(func(tx kv.Txn) error { tx.Delete(key(0x84, 1, w.recs[2].Offset)); return nil })
		}, []scrub.Finding{{Kind: scrub.BadIndex, Extent: 2, Owner: 10, Segment: 1, Block: -1}}},
		{"index row without record", func(w *world) {
			w.update(func(tx kv.Txn) error { tx.Delete(key(0x80, 4)); return nil })
		}, []scrub.Finding{{Kind: scrub.BadIndex, Extent: 4, Segment: 2, Block: -1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.damage(w)
			w.want(w.run(scrub.Options{Now: func() time.Time { return time.Unix(1e9, 0) }}), c.want...)
		})
	}
}

func (w *world) reopen() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	var err error
	if w.store, err = segment.Open(w.disk, segment.Options{SegmentBytes: 5 << 20, ReserveBytes: -1}); err != nil {
		w.t.Fatal(err)
	}
	store := w.store
	w.t.Cleanup(func() { store.Close() })
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	_, err := scrub.Run(ctx, w.eng, w.store, scrub.Options{Progress: func(scrub.Progress) { stop() }})
	if err == nil {
		t.Fatal("a canceled scrub said it was whole")
	}
}
