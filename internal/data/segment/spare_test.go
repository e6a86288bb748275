package segment_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"manifold/internal/data"
	"manifold/internal/data/errdisk"
	"manifold/internal/data/segment"
)

var spareOpts = segment.Options{SegmentBytes: 8 << 20, ReserveBytes: -1}

// holding are the extents that a walk over the headers of a segment finds.
func holding(t *testing.T, s *segment.Store, num uint64) (ids []data.ExtentID, sound bool) {
	t.Helper()
	sound, err := s.Entries(t.Context(), num, func(e data.Entry) error { ids = append(ids, e.ID); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return ids, sound
}

func mustRead(t *testing.T, s *segment.Store, rec data.Record) {
	t.Helper()
	got := make([]byte, rec.Length)
	if err := s.ReadAt(t.Context(), rec, 0, got); err != nil || !bytes.Equal(got, payload(uint64(rec.ID), len(got))) {
		t.Fatalf("extent %d: %v", rec.ID, err)
	}
}

func TestFilesOfRemovedSegmentsAreReused(t *testing.T) {
	for name, d := range map[string]segment.Disk{"os": segment.OSDisk{Dir: t.TempDir()}, "memory": errdisk.New()} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, d, spareOpts)
			fill(t, s, 1, 4*70, 100_001) // 79 fill a segment
			if n := s.Stats(); n.Segments != 4 || n.Reused != 0 {
				t.Fatalf("%+v", n)
			}
			for _, num := range []uint64{1, 2, 4} {
				s.Seal(num)
				if err := s.Remove(num); err != nil {
					t.Fatal(err)
				}
			}
			// Of the last one an empty file says that its number is spent.
			if n := s.Stats(); n.Spares != 2 || n.Segments != 2 {
				t.Fatalf("%+v", n)
			}
			sizes := []int{20_000, 4096, 4096 - 24, 1 << 20, 65536, 1}
			var recs []data.Record
			for i, n := range sizes {
				recs = append(recs, fill(t, s, data.ExtentID(1000+i), 1, n)...)
			}
			if n := s.Stats(); n.Spares != 1 || n.Reused != 1 {
				t.Fatalf("%+v", n)
			}
			check := func(s *segment.Store) {
				t.Helper()
				for _, rec := range recs {
					if rec.Segment != 5 {
						t.Fatalf("extent %d lies in %d", rec.ID, rec.Segment)
					}
					mustRead(t, s, rec)
				}
				ids, sound := holding(t, s, 5)
				if want := []data.ExtentID{1000, 1001, 1002, 1003, 1004, 1005}; !sound || !slices.Equal(ids, want) {
					t.Fatalf("headers tell of %d, sound %v", ids, sound)
				}
			}
			check(s)
			if m, ok := d.(*errdisk.Disk); ok {
				check(mustOpen(t, m.Crash(), spareOpts)) // with what was there before behind the end
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, d, spareOpts)
			check(s)
			if rec := fill(t, s, 2000, 1, 70_000)[0]; rec.Segment != 6 || s.Stats().Spares != 0 {
				t.Fatalf("extent of segment %d, %+v", rec.Segment, s.Stats())
			}
		})
	}
}

// A crash keeps of what was not synced what luck will have; nothing of before
// may show.
func TestReusedFileAfterATornCrash(t *testing.T) {
	for seed := range uint64(20) {
		d := errdisk.New()
		s := mustOpen(t, d, spareOpts)
		fill(t, s, 1, 140, 70_000)
		s.Seal(1)
		if err := s.Remove(1); err != nil {
			t.Fatal(err)
		}
		s.Seal(2)
		synced := fill(t, s, 1000, 5, 70_000)
		if s.Stats().Reused != 1 {
			t.Fatalf("%+v", s.Stats())
		}
		for id := data.ExtentID(1005); id < 1010; id++ {
			if _, err := s.Append(t.Context(), id, [][]byte{payload(uint64(id), 70_000)}); err != nil {
				t.Fatal(err)
			}
		}
		after := mustOpen(t, d.CrashTorn(rand.New(rand.NewPCG(seed, 1))), spareOpts)
		for _, rec := range synced {
			mustRead(t, after, rec)
		}
		ids, sound := holding(t, after, 3)
		for i, id := range ids {
			if id != 1000+data.ExtentID(i) {
				t.Fatalf("seed %d: headers tell of %d", seed, ids)
			}
		}
		if !sound || len(ids) < 5 {
			t.Fatalf("seed %d: %d headers, sound %v", seed, len(ids), sound)
		}
	}
}

func TestFileThatIsReadIsNotReused(t *testing.T) {
	d := errdisk.New()
	s := mustOpen(t, d, spareOpts)
	recs := fill(t, s, 1, 140, 100_000)
	s.Seal(1)
	reading, goOn := make(chan struct{}), make(chan struct{})
	d.SetFaults(errdisk.Faults{Hook: func(op errdisk.Op, _ string) error {
		if op == errdisk.OpRead {
			close(reading)
			<-goOn
		}
		return nil
	}})
	got, done := make([]byte, recs[0].Length), make(chan error)
	go func() { done <- s.ReadAt(context.Background(), recs[0], 0, got) }()
	<-reading
	d.SetFaults(errdisk.Faults{})
	if err := s.Remove(1); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats(); n.Spares != 0 {
		t.Fatalf("%+v", n)
	}
	close(goOn)
	if err := <-done; err != nil || !bytes.Equal(got, payload(1, len(got))) {
		t.Fatalf("read over the removal: %v", err)
	}
	if names, err := d.List(); err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
}

func TestSparesGoWhenTheDiskFills(t *testing.T) {
	d := errdisk.New()
	d.SetSize(256<<20, 0)
	o := segment.Options{SegmentBytes: 8 << 20, ReserveBytes: 16 << 20, BallastBytes: -1, SpareBytes: 16 << 20}
	s := mustOpen(t, d, o)
	fill(t, s, 1, 5, 4<<20)
	before, err := s.Space(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for num := range uint64(4) {
		if err := s.Remove(num + 1); err != nil {
			t.Fatal(err)
		}
	}
	after, err := s.Space(t.Context())
	if err != nil || s.Stats().Spares != 2 || after.Free != before.Free+32<<20 {
		t.Fatalf("%d spares, %d and then %d free, %v", s.Stats().Spares, before.Free, after.Free, err)
	}
	if err := s.Reclaim(t.Context()); err != nil || s.Stats().Spares != 2 {
		t.Fatalf("%d spares, %v", s.Stats().Spares, err)
	}
	d.SetSize(256<<20, 256<<20-8<<20-16<<20-20<<20) // others fill it
	if err := s.Reclaim(t.Context()); err != nil || s.Stats().Spares != 0 {
		t.Fatalf("%d spares, %v", s.Stats().Spares, err)
	}
	if names, err := d.List(); err != nil || len(names) != 1 {
		t.Fatalf("%q, %v", names, err)
	}
}

// A backup may have given a segment a second name.
func TestFileWithAnotherNameIsNotWrittenOver(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, segment.OSDisk{Dir: dir}, spareOpts)
	fill(t, s, 1, 100, 100_001)
	s.Seal(1)
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.Link(filepath.Join(dir, "0000000000000001.seg"), copied); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(1); err != nil {
		t.Fatal(err)
	}
	s.Seal(2)
	fill(t, s, 1000, 3, 100_001)
	if n := s.Stats(); n.Reused != 0 || n.Spares != 0 {
		t.Fatalf("%+v", n)
	}
	if now, err := os.ReadFile(copied); err != nil || !bytes.Equal(now, before) {
		t.Fatalf("the other name shows new bytes: %v", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n.Name(), ".spare") {
			t.Errorf("%s is left", n.Name())
		}
	}
}
