// Package datatest is the conformance suite of data.Store. Every
// implementation runs it from its own test.
package datatest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"manifold/internal/data"
	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

// Subject is a store under test and what can be done to it. What is nil is not tested.
type Subject struct {
	Store data.Store
	// Crash returns the store that a power loss now would leave.
	Crash func(t *testing.T) Subject
	// Corrupt inverts a bit of the stored payload of an extent.
	Corrupt func(t *testing.T, rec data.Record, at uint64)
	// FailSync makes every later sync of the disk fail, or not if err is nil.
	FailSync func(err error)
}

// Run runs the suite on stores that open makes; each is used by one test.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	for _, c := range []struct {
		name string
		fn   func(t *testing.T, s Subject)
	}{
		{"ReadBack", readBack},
		{"Arguments", arguments},
		{"PartsAreTheCallers", partsAreTheCallers},
		{"Inline", inline},
		{"Concurrent", concurrent},
		{"Crash", crash},
		{"CommitsSurvive", commitsSurvive},
		{"Corrupt", corrupt},
		{"FailedSync", failedSync},
		{"Space", space},
		{"Close", closed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() { s.Store.Close() })
			c.fn(t, s)
		})
	}
}

// Payload is n bytes that depend on seed.
func Payload(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+7)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

func mustAppend(t *testing.T, s data.Store, id data.ExtentID, p []byte) data.Record {
	t.Helper()
	rec, err := s.Append(t.Context(), id, [][]byte{p})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func mustRead(t *testing.T, s data.Store, rec data.Record, off uint64, want []byte) {
	t.Helper()
	got := bytes.Repeat([]byte{0xee}, len(want))
	if err := s.ReadAt(t.Context(), rec, off, got); err != nil {
		t.Fatalf("extent %d, %d bytes at %d: %v", rec.ID, len(want), off, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("extent %d, %d bytes at %d: wrong bytes", rec.ID, len(want), off)
	}
}

func readBack(t *testing.T, s Subject) {
	r := rand.New(rand.NewPCG(7, 7))
	for i, n := range []int{1, 2, 4095, 65535, 65536, 65537, 131072, 1 << 20, data.MaxExtentBytes - 1, data.MaxExtentBytes} {
		id := data.ExtentID(i)<<40 + 1
		p := Payload(uint64(i), n)
		a, b := r.IntN(n+1), r.IntN(n+1)
		rec, err := s.Store.Append(t.Context(), id, [][]byte{p[:min(a, b)], p[min(a, b):max(a, b)], nil, p[max(a, b):]})
		if err != nil {
			t.Fatal(err)
		}
		if rec.ID != id || rec.Length != uint32(n) || rec.IsInline || rec.Check() != nil {
			t.Fatalf("record %+v", rec)
		}
		mustRead(t, s.Store, rec, 0, p) // before any sync
		if err := s.Store.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 30 {
			off := r.IntN(n + 1)
			mustRead(t, s.Store, rec, uint64(off), p[off:off+r.IntN(n-off+1)])
		}
		for block := range data.Blocks(n) {
			off := block * data.BlockBytes
			mustRead(t, s.Store, rec, uint64(off), p[off:min(off+data.BlockBytes, n)])
		}
	}
}

func arguments(t *testing.T, s Subject) {
	for _, c := range []struct {
		id    data.ExtentID
		parts [][]byte
	}{{0, [][]byte{{1}}}, {1, nil}, {1, [][]byte{nil, {}}}, {1, [][]byte{make([]byte, data.MaxExtentBytes), {1}}}} {
		if _, err := s.Store.Append(t.Context(), c.id, c.parts); !errors.Is(err, data.ErrRange) {
			t.Fatalf("append as %d: %v", c.id, err)
		}
	}
	rec := mustAppend(t, s.Store, 1, Payload(1, 100))
	for _, c := range []struct {
		off uint64
		n   int
	}{{0, 101}, {100, 1}, {101, 0}, {1 << 63, 1}, {^uint64(0), 2}} {
		if err := s.Store.ReadAt(t.Context(), rec, c.off, make([]byte, c.n)); !errors.Is(err, data.ErrRange) {
			t.Fatalf("%d bytes at %d: %v", c.n, c.off, err)
		}
	}
	bad := rec
	bad.Sums = nil
	if err := s.Store.ReadAt(t.Context(), bad, 0, make([]byte, 1)); !errors.Is(err, data.ErrCorrupt) {
		t.Fatalf("record without checksums: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Store.Append(ctx, 2, [][]byte{{1}}); !errors.Is(err, context.Canceled) {
		t.Fatalf("append with an ended context: %v", err)
	}
	if err := s.Store.ReadAt(ctx, rec, 0, make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Fatalf("read with an ended context: %v", err)
	}
}

func partsAreTheCallers(t *testing.T, s Subject) {
	p := Payload(1, 100000)
	want := bytes.Clone(p)
	parts := [][]byte{p[:10], p[10:]}
	rec, err := s.Store.Append(t.Context(), 1, parts)
	if err != nil {
		t.Fatal(err)
	}
	if len(parts[0]) != 10 || !bytes.Equal(p, want) {
		t.Fatal("the caller's parts were changed")
	}
	clear(p)
	mustRead(t, s.Store, rec, 0, want)
}

func inline(t *testing.T, s Subject) {
	ctx, eng := t.Context(), memkv.New()
	defer eng.Close()
	p := Payload(3, s.Store.InlineMax())
	if len(p) == 0 || len(p) > data.BlockBytes {
		t.Fatalf("InlineMax %d", len(p))
	}
	if _, err := eng.Update(ctx, func(tx kv.Txn) error {
		return data.PutInline(tx, 5, 1, [][]byte{p[:100], p[100:]})
	}); err != nil {
		t.Fatal(err)
	}
	rec := lookup(t, eng, 5)
	mustRead(t, s.Store, rec, 0, p)
	mustRead(t, s.Store, rec, 77, p[77:200])
	rec.Inline = bytes.Clone(rec.Inline)
	rec.Inline[3] ^= 4
	if err := s.Store.ReadAt(ctx, rec, 50, make([]byte, 5)); !errors.Is(err, data.ErrCorrupt) {
		t.Fatalf("rotten inline payload: %v", err)
	}
}

func lookup(t *testing.T, eng kv.Engine, id data.ExtentID) (rec data.Record) {
	t.Helper()
	err := eng.View(t.Context(), kv.Linearizable, func(r kv.Reader) error {
		recs, err := data.GetExtents(t.Context(), r, []data.ExtentID{id})
		if err == nil {
			rec = recs[0]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func concurrent(t *testing.T, s Subject) {
	var wg sync.WaitGroup
	for w := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(w, 2))
			for i := range uint64(10) {
				id := data.ExtentID(w*100 + i + 1)
				p := Payload(uint64(id), r.IntN(200000)+1)
				rec, err := s.Store.Append(t.Context(), id, [][]byte{p})
				if err == nil {
					err = s.Store.Sync(t.Context())
				}
				got := make([]byte, len(p))
				if err == nil {
					err = s.Store.ReadAt(t.Context(), rec, 0, got)
				}
				if err != nil || !bytes.Equal(got, p) {
					t.Errorf("extent %d: %v", id, err)
				}
			}
		})
	}
	wg.Wait()
}

func crash(t *testing.T, s Subject) {
	if s.Crash == nil {
		return
	}
	type kept struct {
		rec data.Record
		p   []byte
	}
	var all []kept
	id := data.ExtentID(0)
	r := rand.New(rand.NewPCG(11, 3))
	for range 5 {
		var unsynced []kept
		for range 20 {
			id++
			p := Payload(uint64(id), r.IntN(300000)+1)
			unsynced = append(unsynced, kept{mustAppend(t, s.Store, id, p), p})
			if r.IntN(4) == 0 {
				if err := s.Store.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
				all, unsynced = append(all, unsynced...), nil
			}
		}
		s = s.Crash(t)
		store := s.Store
		t.Cleanup(func() { store.Close() })
		for _, k := range all {
			mustRead(t, s.Store, k.rec, 0, k.p)
		}
		for _, k := range unsynced { // may be there or not, but never wrong
			got := make([]byte, len(k.p))
			if err := s.Store.ReadAt(t.Context(), k.rec, 0, got); err == nil && !bytes.Equal(got, k.p) {
				t.Fatalf("extent %d: wrong bytes", k.rec.ID)
			}
		}
	}
}

// What the engine has committed after a sync reads back after a crash of both.
func commitsSurvive(t *testing.T, s Subject) {
	if s.Crash == nil {
		return
	}
	eng := memkv.New()
	next := data.ExtentID(0)
	var mu sync.Mutex
	sizes := map[data.ExtentID]int{}
	for round := range uint64(3) {
		var wg sync.WaitGroup
		for w := range uint64(4) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(round, w))
				for range 10 {
					mu.Lock()
					next++
					id := next
					mu.Unlock()
					n := r.IntN(150000) + 1
					if err := commit(t.Context(), eng, s.Store, id, Payload(uint64(id), n)); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					sizes[id] = n
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		eng, s = eng.Crash(), s.Crash(t)
		e, store := eng, s.Store
		t.Cleanup(func() { e.Close(); store.Close() })
		for id, n := range sizes {
			mustRead(t, s.Store, lookup(t, eng, id), 0, Payload(uint64(id), n))
		}
	}
}

func commit(ctx context.Context, eng kv.Engine, s data.Store, id data.ExtentID, p []byte) error {
	if len(p) <= s.InlineMax() {
		_, err := eng.Update(ctx, func(tx kv.Txn) error { return data.PutInline(tx, id, 1, [][]byte{p}) })
		return err
	}
	rec, err := s.Append(ctx, id, [][]byte{p})
	if err != nil {
		return err
	}
	if err := s.Sync(ctx); err != nil {
		return err
	}
	_, err = eng.Update(ctx, func(tx kv.Txn) error { return data.PutExtent(tx, 1, rec) })
	return err
}

func corrupt(t *testing.T, s Subject) {
	if s.Corrupt == nil {
		return
	}
	p := Payload(1, 3*data.BlockBytes+100)
	other := mustAppend(t, s.Store, 1, p)
	rec := mustAppend(t, s.Store, 2, p)
	s.Corrupt(t, rec, 2*data.BlockBytes+7)
	got := make([]byte, len(p))
	err := s.Store.ReadAt(t.Context(), rec, 0, got)
	var ce *data.CorruptError
	if !errors.Is(err, data.ErrCorrupt) || !errors.As(err, &ce) || ce.Extent != 2 || ce.Block != 2 {
		t.Fatalf("flipped bit: %v", err)
	}
	if err := s.Store.ReadAt(t.Context(), rec, 2*data.BlockBytes+5000, got[:10]); !errors.Is(err, data.ErrCorrupt) {
		t.Fatalf("another part of the bad block: %v", err)
	}
	mustRead(t, s.Store, rec, 0, p[:2*data.BlockBytes])
	mustRead(t, s.Store, rec, 3*data.BlockBytes, p[3*data.BlockBytes:])
	// The same bytes under another id do not verify.
	swapped := other
	swapped.Segment, swapped.Offset = rec.Segment, rec.Offset
	swapped.ID = 3
	if err := s.Store.ReadAt(t.Context(), swapped, 0, got[:10]); !errors.Is(err, data.ErrCorrupt) {
		t.Fatalf("bytes of another extent: %v", err)
	}
}

func failedSync(t *testing.T, s Subject) {
	if s.FailSync == nil {
		return
	}
	p := Payload(1, 70000)
	kept := mustAppend(t, s.Store, 1, p)
	if err := s.Store.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s.Store, 2, p)
	cause := fmt.Errorf("the disk is gone")
	s.FailSync(cause)
	if err := s.Store.Sync(t.Context()); !errors.Is(err, data.ErrFailed) || !errors.Is(err, cause) {
		t.Fatalf("failed sync: %v", err)
	}
	s.FailSync(nil)
	if err := s.Store.Sync(t.Context()); !errors.Is(err, data.ErrFailed) {
		t.Fatalf("sync after a failed one: %v", err)
	}
	if _, err := s.Store.Append(t.Context(), 3, [][]byte{p}); !errors.Is(err, data.ErrFailed) {
		t.Fatalf("append after a failed sync: %v", err)
	}
	mustRead(t, s.Store, kept, 0, p)
}

func space(t *testing.T, s Subject) {
	sp, err := s.Store.Space(t.Context())
	if err != nil || sp.Total == 0 || sp.Free > sp.Total {
		t.Fatalf("%+v, %v", sp, err)
	}
}

func closed(t *testing.T, s Subject) {
	rec := mustAppend(t, s.Store, 1, Payload(1, 100000))
	for range 2 {
		if err := s.Store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Store.Append(t.Context(), 2, [][]byte{{1}}); !errors.Is(err, data.ErrClosed) {
		t.Fatalf("append: %v", err)
	}
	if err := s.Store.Sync(t.Context()); !errors.Is(err, data.ErrClosed) {
		t.Fatalf("sync: %v", err)
	}
	if err := s.Store.ReadAt(t.Context(), rec, 0, make([]byte, 10)); !errors.Is(err, data.ErrClosed) {
		t.Fatalf("read: %v", err)
	}
}
