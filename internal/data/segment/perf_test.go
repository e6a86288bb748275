package segment_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"manifold/internal/data"
	"manifold/internal/data/errdisk"
	"manifold/internal/data/segment"
)

// countingDisk counts what is read and opened.
type countingDisk struct {
	segment.Disk
	opens, open, bytes atomic.Int64
}

type countingFile struct {
	segment.File
	d *countingDisk
}

func (d *countingDisk) Open(name string) (segment.File, error) {
	f, err := d.Disk.Open(name)
	if err != nil {
		return nil, err
	}
	d.opens.Add(1)
	d.open.Add(1)
	return countingFile{f, d}, nil
}

func (f countingFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.bytes.Add(int64(len(p)))
	return f.File.ReadAt(p, off)
}

func (f countingFile) Close() error {
	f.d.open.Add(-1)
	return f.File.Close()
}

func fill(t testing.TB, s *segment.Store, first data.ExtentID, count, size int) []data.Record {
	t.Helper()
	var recs []data.Record
	for i := range count {
		id := first + data.ExtentID(i)
		rec, err := s.Append(t.Context(), id, [][]byte{payload(uint64(id), size)})
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, rec)
	}
	if err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	return recs
}

func TestSmallReadsOfABlockReadItOnce(t *testing.T) {
	ctx := t.Context()
	mem := errdisk.New()
	fillStore := mustOpen(t, mem, opts)
	recs := fill(t, fillStore, 1, 1, 4*data.BlockBytes)
	fillStore.Close()

	d := &countingDisk{Disk: mem}
	s := mustOpen(t, d, segment.Options{SegmentBytes: 5 << 20, ReserveBytes: -1})
	want, got := payload(1, 4*data.BlockBytes), make([]byte, 4096)
	for off := 0; off < len(want); off += len(got) {
		if err := s.ReadAt(ctx, recs[0], uint64(off), got); err != nil || !bytes.Equal(got, want[off:off+len(got)]) {
			t.Fatalf("at %d: %v", off, err)
		}
	}
	if n := d.bytes.Load(); n != int64(len(want)) {
		t.Fatalf("%d bytes read for %d", n, len(want))
	}
	if st := s.Stats(); st.Misses != 4 || st.Hits != 60 || st.Reads != 64 || st.Segments != 1 || st.Open != 1 || st.Failed != nil {
		t.Fatalf("%+v", st)
	}
	got = make([]byte, len(want))
	if err := s.ReadAt(ctx, recs[0], 0, got); err != nil || !bytes.Equal(got, want) {
		t.Fatal(err)
	}
}

func TestOpenFilesAreBounded(t *testing.T) {
	ctx := t.Context()
	mem := errdisk.New()
	w := mustOpen(t, mem, opts)
	recs := fill(t, w, 1, 12, 3<<20) // one a segment
	w.Close()
	d := &countingDisk{Disk: mem}
	s := mustOpen(t, d, segment.Options{SegmentBytes: 5 << 20, ReserveBytes: -1, OpenFiles: 3, CacheBytes: -1})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r, got := rand.New(rand.NewPCG(3, uint64(w))), make([]byte, 100)
			for range 200 {
				if err := s.ReadAt(ctx, recs[r.IntN(len(recs))], uint64(r.IntN(3<<20-100)), got); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := d.open.Load(); n > 3 {
		t.Fatalf("%d files idle and open", n)
	}
	if d.opens.Load() < 12 {
		t.Fatal("the test did not open each")
	}
	s.Close()
	if n := d.open.Load(); n != 0 {
		t.Fatalf("%d files open after Close", n)
	}
}

func TestRemovedSegmentSaysMoved(t *testing.T) {
	for name, d := range map[string]segment.Disk{"os": segment.OSDisk{Dir: t.TempDir()}, "memory": errdisk.New()} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s := mustOpen(t, d, opts)
			recs := fill(t, s, 1, 3, 3<<20)
			if err := s.Remove(recs[2].Segment); err == nil {
				t.Fatal("the active segment was removed")
			}
			s.Condemn(recs[0].Segment)
			if err := recs[0].Fence(); !errors.Is(err, data.ErrMoved) {
				t.Fatalf("fence of a condemned segment: %v", err)
			}
			if err := s.Remove(recs[0].Segment); err != nil {
				t.Fatal(err)
			}
			if err := s.Remove(recs[0].Segment); err != nil {
				t.Fatalf("removing again: %v", err)
			}
			got := make([]byte, 3<<20)
			if err := s.ReadAt(ctx, recs[0], 0, got); !errors.Is(err, data.ErrMoved) || errors.Is(err, data.ErrCorrupt) {
				t.Fatalf("read of a removed segment: %v", err)
			}
			to, err := s.Relocate(ctx, recs[1])
			if err != nil {
				t.Fatal(err)
			}
			if to.Segment == recs[1].Segment || to.Segment == recs[2].Segment {
				t.Fatalf("relocated into segment %d", to.Segment)
			}
			if err := s.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			if err := s.Remove(recs[1].Segment); err != nil {
				t.Fatal(err)
			}
			if err := s.ReadAt(ctx, to, 0, got); err != nil || !bytes.Equal(got, payload(2, 3<<20)) {
				t.Fatalf("relocated extent: %v", err)
			}
		})
	}
}

func TestNumbersAreNeverReused(t *testing.T) {
	d := errdisk.New()
	used := map[uint64]bool{}
	id := data.ExtentID(1)
	for range 5 {
		s := mustOpen(t, d, opts)
		recs := fill(t, s, id, 2, 3<<20)
		id += 2
		for _, rec := range recs {
			if used[rec.Segment] {
				t.Fatalf("segment %d twice", rec.Segment)
			}
			used[rec.Segment] = true
		}
		s.Close()
		s = mustOpen(t, d, opts)
		for _, i := range s.Segments() {
			if err := s.Remove(i.Num); err != nil {
				t.Fatal(err)
			}
		}
		if left := s.Segments(); len(left) != 1 || left[0].Bytes != 0 {
			t.Fatalf("left after removing all: %+v", left)
		}
		s.Close()
	}
}

func BenchmarkAppendSync(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, writers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%dKiB/%dwriters", size>>10, writers), func(b *testing.B) {
				ctx := b.Context()
				s := mustOpen(b, segment.OSDisk{Dir: b.TempDir()}, segment.Options{ReserveBytes: -1})
				p := payload(1, size)
				b.SetBytes(int64(size))
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range writers {
					wg.Go(func() {
						for {
							id := next.Add(1)
							if id > int64(b.N) {
								return
							}
							_, err := s.Append(ctx, data.ExtentID(id), [][]byte{p})
							if err == nil {
								err = s.Sync(ctx)
							}
							if err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

func BenchmarkAppendStream(b *testing.B) {
	ctx := b.Context()
	s := mustOpen(b, segment.OSDisk{Dir: b.TempDir()}, segment.Options{ReserveBytes: -1})
	parts := make([][]byte, 4)
	for i := range parts {
		parts[i] = payload(uint64(i), 1<<20)
	}
	b.SetBytes(4 << 20)
	for i := 0; b.Loop(); i++ {
		if _, err := s.Append(ctx, data.ExtentID(i+1), parts); err != nil {
			b.Fatal(err)
		}
		if i%4 == 3 {
			if err := s.Sync(ctx); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkReadAt(b *testing.B) {
	for _, c := range []struct {
		name          string
		extents, size int
	}{{"1MiB", 64, 1 << 20}, {"64KiB", 64, 64 << 10}, {"4KiBcached", 16, 4 << 10}, {"4KiBrandom256MiB", 256, 4 << 10}} {
		b.Run(c.name, func(b *testing.B) {
			ctx := b.Context()
			s := mustOpen(b, segment.OSDisk{Dir: b.TempDir()}, segment.Options{ReserveBytes: -1})
			recs := fill(b, s, 1, c.extents, 1<<20)
			r, got := rand.New(rand.NewPCG(1, 1)), make([]byte, c.size)
			b.SetBytes(int64(c.size))
			b.ResetTimer()
			for b.Loop() {
				off := r.IntN((1<<20)/c.size) * c.size
				if err := s.ReadAt(ctx, recs[r.IntN(len(recs))], uint64(off), got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
