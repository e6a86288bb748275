package segment_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"manifold/internal/data"
	"manifold/internal/data/errdisk"
	"manifold/internal/data/segment"
)

var opts = segment.Options{SegmentBytes: 5 << 20, ReserveBytes: -1}

func mustOpen(t testing.TB, d segment.Disk, o segment.Options) *segment.Store {
	t.Helper()
	s, err := segment.Open(d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func payload(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, n+7)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b[:n]
}

func TestReadBack(t *testing.T) {
	for name, d := range map[string]segment.Disk{"os": segment.OSDisk{Dir: t.TempDir()}, "memory": errdisk.New()} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s := mustOpen(t, d, opts)
			r := rand.New(rand.NewPCG(7, 7))
			recs, want := map[data.ExtentID]data.Record{}, map[data.ExtentID][]byte{}
			for i, n := range []int{1, 65535, 65536, 65537, 1 << 20, data.MaxExtentBytes, 200000} {
				id := data.ExtentID(i + 1)
				p := payload(uint64(i), n)
				rec, err := s.Append(ctx, id, [][]byte{p[:n/2], p[n/2:]})
				if err != nil {
					t.Fatal(err)
				}
				recs[id], want[id] = rec, p
			}
			if err := s.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = mustOpen(t, d, opts)
			for id, p := range want {
				for range 20 {
					off := r.IntN(len(p))
					got := make([]byte, r.IntN(len(p)-off)+1)
					if err := s.ReadAt(ctx, recs[id], uint64(off), got); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, p[off:off+len(got)]) {
						t.Fatalf("extent %d at %d: wrong bytes", id, off)
					}
				}
				if err := s.ReadAt(ctx, recs[id], 1, make([]byte, len(p))); !errors.Is(err, data.ErrRange) {
					t.Fatalf("read past the end: %v", err)
				}
			}
		})
	}
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	ctx := t.Context()
	d := errdisk.New()
	var mu sync.Mutex
	acked := map[data.ExtentID]data.Record{}
	next := data.ExtentID(0)
	for round := range 5 {
		s := mustOpen(t, d, opts)
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(round), uint64(w)))
				for range 8 {
					mu.Lock()
					next++
					id := next
					mu.Unlock()
					rec, err := s.Append(ctx, id, [][]byte{payload(uint64(id), r.IntN(300000)+1)})
					if err == nil && r.IntN(4) > 0 {
						if err = s.Sync(ctx); err == nil {
							mu.Lock()
							acked[id] = rec
							mu.Unlock()
						}
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		d = d.Crash()
		s = mustOpen(t, d, opts)
		for id, rec := range acked {
			got := make([]byte, rec.Length)
			if err := s.ReadAt(ctx, rec, 0, got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, payload(uint64(id), int(rec.Length))) {
				t.Fatalf("extent %d lost", id)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	ctx := t.Context()
	d := errdisk.New()
	s := mustOpen(t, d, opts)
	p := payload(1, 150000)
	rec, err := s.Append(ctx, 1, [][]byte{p})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(p))
	name := fmt.Sprintf("%016x.seg", rec.Segment)
	d.Flip(name, int64(rec.Offset)+data.BlockBytes+5)
	var ce *data.CorruptError
	if err := s.ReadAt(ctx, rec, 0, got); !errors.As(err, &ce) || ce.Block != 1 || !errors.Is(err, data.ErrCorrupt) {
		t.Fatalf("flipped bit: %v", err)
	}
	if err := s.ReadAt(ctx, rec, 10, got[:100]); err != nil {
		t.Fatalf("the good block: %v", err)
	}
	d.Flip(name, int64(rec.Offset)+data.BlockBytes+5)

	d.SetFaults(errdisk.Faults{Write: syscall.ENOSPC})
	if _, err := s.Append(ctx, 2, [][]byte{p}); !errors.Is(err, data.ErrNoSpace) {
		t.Fatalf("full disk: %v", err)
	}
	d.SetFaults(errdisk.Faults{Read: syscall.EIO})
	if err := s.ReadAt(ctx, rec, 0, got); !errors.Is(err, syscall.EIO) || errors.Is(err, data.ErrCorrupt) {
		t.Fatalf("read error: %v", err)
	}
	d.SetFaults(errdisk.Faults{})
	if _, err := s.Append(ctx, 3, [][]byte{p}); err != nil {
		t.Fatal(err)
	}
	d.SetFaults(errdisk.Faults{Sync: syscall.EIO})
	if err := s.Sync(ctx); !errors.Is(err, data.ErrFailed) {
		t.Fatalf("failed sync: %v", err)
	}
	d.SetFaults(errdisk.Faults{})
	if err := s.Sync(ctx); !errors.Is(err, data.ErrFailed) {
		t.Fatalf("sync after a failed one must not say success: %v", err)
	}
	if _, err := s.Append(ctx, 4, [][]byte{p}); !errors.Is(err, data.ErrFailed) {
		t.Fatalf("append after a failed sync: %v", err)
	}
	if err := s.ReadAt(ctx, rec, 0, got); err != nil || !bytes.Equal(got, p) {
		t.Fatalf("reads go on: %v", err)
	}
}
