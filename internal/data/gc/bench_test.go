package gc_test

import (
	"context"
	"testing"

	"manifold/internal/data"
	"manifold/internal/data/gc"
	"manifold/internal/kv"
	"manifold/internal/kv/pebblekv"
)

// listOnly has segments of 256 MiB and no bytes.
type listOnly struct {
	data.Segmented
	segments uint64
}

func (l listOnly) info(num uint64) data.SegmentInfo {
	return data.SegmentInfo{Num: num, Bytes: 256 << 20, Last: num == l.segments}
}

func (l listOnly) Segments() (infos []data.SegmentInfo) {
	for num := range l.segments {
		infos = append(infos, l.info(num+1))
	}
	return infos
}

func (l listOnly) Segment(num uint64) (data.SegmentInfo, bool) { return l.info(num), true }
func (l listOnly) Reclaim(context.Context) error               { return nil }
func (l listOnly) Trim(uint64, int64) error                    { return nil }

// BenchmarkStart counts what lives in 100,000 extents of 1 MiB.
func BenchmarkStart(b *testing.B) {
	const perSegment, segments = 255, 392
	eng, err := pebblekv.Open(b.Context(), pebblekv.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer eng.Close()
	id := data.ExtentID(0)
	for num := range uint64(segments) {
		for from := 0; from < perSegment; from += 85 {
			_, err := eng.Update(b.Context(), func(tx kv.Txn) error {
				for i := range 85 {
					rec := data.Record{
						ID: id + data.ExtentID(i) + 1, Length: 1 << 20, Sums: make([]uint32, 16),
						Segment: num + 1, Offset: uint64(from+i)*(1<<20+24) + 24,
					}
					if err := data.PutExtent(tx, stream, rec); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			id += 85
		}
	}
	b.ResetTimer()
	for b.Loop() {
		c, err := gc.New(eng, listOnly{segments: segments}, gc.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for more := true; more; {
			if more, err = c.Step(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(id), "ns/extent")
}
