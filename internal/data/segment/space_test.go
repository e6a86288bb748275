package segment_test

import (
	"errors"
	"testing"

	"manifold/internal/data"
	"manifold/internal/data/errdisk"
	"manifold/internal/data/segment"
)

func hasBallast(t *testing.T, d *errdisk.Disk) bool {
	t.Helper()
	_, err := d.Stat("ballast")
	return err == nil
}

func TestReserveStopsGrowth(t *testing.T) {
	ctx := t.Context()
	d := errdisk.New()
	d.SetSize(64<<20, 0)
	o := segment.Options{SegmentBytes: 10 << 20, ReserveBytes: 20 << 20, BallastBytes: 8 << 20}
	s := mustOpen(t, d, o)
	if err := s.Reclaim(ctx); err != nil || !hasBallast(t, d) {
		t.Fatalf("ballast on an empty disk: %v", err)
	}
	var recs []data.Record
	for {
		rec, err := s.Append(ctx, data.ExtentID(len(recs)+1), [][]byte{make([]byte, 4<<20)})
		if errors.Is(err, data.ErrNoSpace) {
			break
		}
		if err != nil || len(recs) > 100 {
			t.Fatalf("append %d: %v", len(recs), err)
		}
		recs = append(recs, rec)
	}
	_, free, err := d.Space()
	if err != nil || free < 12<<20 || free > 12<<20+10<<20 { // the ballast is part of the reserve
		t.Fatalf("stopped with %d free: %v", free, err)
	}
	if sp, err := s.Space(ctx); err != nil || sp.Free > 10<<20 || sp.Total != 64<<20 {
		t.Fatalf("space %+v, %v", sp, err)
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatalf("sync at the watermark: %v", err)
	}
	// Collecting goes on: it moves an extent and so frees a segment.
	if _, err := s.Relocate(ctx, recs[1]); err != nil {
		t.Fatalf("moving at the watermark: %v", err)
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs[:4] {
		if err := s.Remove(rec.Segment); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(ctx, 1000, [][]byte{make([]byte, 4<<20)}); err != nil {
		t.Fatalf("after segments were removed: %v", err)
	}

	// Others fill the disk: the ballast goes.
	d.SetSize(64<<20, 24<<20)
	if err := s.Reclaim(ctx); err != nil || hasBallast(t, d) {
		t.Fatalf("ballast on a full disk: %v", err)
	}
	if err := s.Reclaim(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, 1001, [][]byte{make([]byte, 4<<20)}); err != nil {
		t.Fatal(err) // there is room in the segment
	}
	if _, err := s.Append(ctx, 1002, [][]byte{make([]byte, 4<<20)}); !errors.Is(err, data.ErrNoSpace) {
		t.Fatalf("append on a full disk: %v", err)
	}
	s.Close()
	s = mustOpen(t, d, o)
	d.SetSize(128<<20, 0)
	if err := s.Reclaim(ctx); err != nil || !hasBallast(t, d) {
		t.Fatalf("ballast when there is plenty again: %v", err)
	}
	s.Close()
	s = mustOpen(t, d, o) // knows of it
	d.SetSize(128<<20, 126<<20)
	if err := s.Reclaim(ctx); err != nil || hasBallast(t, d) {
		t.Fatalf("ballast after a restart on a full disk: %v", err)
	}
}

func TestLastSegmentsAreSmaller(t *testing.T) {
	d := errdisk.New()
	d.SetSize(40<<20, 0)
	s := mustOpen(t, d, segment.Options{SegmentBytes: 32 << 20, ReserveBytes: 22 << 20, BallastBytes: -1})
	if _, err := s.Append(t.Context(), 1, [][]byte{make([]byte, 4<<20)}); err != nil {
		t.Fatal(err)
	}
	if i := s.Segments(); len(i) != 1 || i[0].Bytes != 18<<20 {
		t.Fatalf("%+v", i)
	}
}

// What moves while space is short must not take all that it frees.
func TestMovingOnTheReserveIsModest(t *testing.T) {
	ctx := t.Context()
	d := errdisk.New()
	d.SetSize(100<<20, 0)
	s := mustOpen(t, d, segment.Options{SegmentBytes: 32 << 20, ReserveBytes: 60 << 20, BallastBytes: -1})
	rec, err := s.Append(ctx, 1, [][]byte{make([]byte, 4<<20)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Relocate(ctx, rec); err != nil {
		t.Fatal(err)
	}
	if i := s.Segments(); len(i) != 2 || i[1].Bytes != 8<<20 {
		t.Errorf("%+v", i)
	}
	d.SetSize(400<<20, 0)
	s.Seal(s.Segments()[1].Num)
	if _, err := s.Relocate(ctx, rec); err != nil {
		t.Fatal(err)
	}
	if i := s.Segments(); len(i) != 3 || i[2].Bytes != 32<<20 {
		t.Errorf("with plenty of space: %+v", i)
	}
}
