package segment_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"manifold/internal/data"
	"manifold/internal/data/errdisk"
	"manifold/internal/data/segment"
)

func TestDirectory(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	d := segment.OSDisk{Dir: dir}
	total, free, err := d.Space()
	if err != nil || free == 0 || free > total {
		t.Fatalf("space %d of %d: %v", free, total, err)
	}
	o := segment.Options{SegmentBytes: 5 << 20, ReserveBytes: 1 << 20, BallastBytes: 1 << 20}
	s := mustOpen(t, d, o)
	if err := s.Reclaim(ctx); err != nil {
		t.Fatal(err)
	}
	size := func(name string) int64 {
		t.Helper()
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != 0o600 {
			t.Fatalf("%s has mode %v", name, fi.Mode())
		}
		return fi.Size()
	}
	if n := size("ballast"); n != 1<<20 {
		t.Fatalf("ballast of %d bytes", n)
	}
	// More buffers than one system call takes.
	want := payload(1, 300000)
	var parts [][]byte
	for p := want; len(p) > 0; p = p[min(len(p), 100):] {
		parts = append(parts, p[:min(len(p), 100)])
	}
	rec, err := s.Append(ctx, 1, parts)
	if err != nil {
		t.Fatal(err)
	}
	if n := size("0000000000000001.seg"); n != 5<<20 {
		t.Fatalf("an open segment of %d bytes", n)
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	fill(t, s, 2, 1, 2<<20)
	s.Close()
	if n := size("0000000000000001.seg"); n > 300000+2<<20+100 {
		t.Fatalf("a closed segment of %d bytes", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "stray.seg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, d, o)
	if err := s.Trim(1, 300024); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if err := s.Verify(ctx, rec); err != nil {
		t.Fatal(err)
	}
	if err := s.ReadAt(ctx, rec, 0, got); err != nil || !bytes.Equal(got, want) {
		t.Fatal(err)
	}
	if len(s.Segments()) != 1 {
		t.Fatalf("%+v", s.Segments())
	}
}

// evictions is a disk that notes what of its files leaves the memory.
type evictions struct {
	segment.Disk
	bytes int64
}

type evicting struct {
	segment.File
	d *evictions
}

func (d *evictions) Create(name string, sizeBytes int64) (segment.File, error) {
	f, err := d.Disk.Create(name, sizeBytes)
	return &evicting{f, d}, err
}

func (f *evicting) Evict(_, n int64) error {
	f.d.bytes += n
	return nil
}

func TestForget(t *testing.T) {
	ctx := t.Context()
	d := &evictions{Disk: errdisk.New()}
	s := mustOpen(t, d, opts)
	for id, n := range map[data.ExtentID]int{1: 100, 2: 200_000} {
		rec, err := s.Append(ctx, id, [][]byte{payload(uint64(id), n)})
		if err == nil {
			err = s.Sync(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Forget(rec)
		// Whoever still reads it reads the disk.
		if got := make([]byte, n); s.ReadAt(ctx, rec, 0, got) != nil || !bytes.Equal(got, payload(uint64(id), n)) {
			t.Errorf("extent %d is not readable", id)
		}
	}
	if d.bytes != 200_000 {
		t.Errorf("%d bytes left the memory, want those of the large extent", d.bytes)
	}
	s.Forget(data.Record{ID: 3, Segment: 99, Length: 1 << 20}) // gone meanwhile
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.Forget(data.Record{ID: 2, Segment: 1, Length: 1 << 20})
}
