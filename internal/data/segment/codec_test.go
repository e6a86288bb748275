package segment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"manifold/internal/data"
	"manifold/internal/data/errdisk"
	"manifold/internal/data/segment"
)

// ring is a key provider; the current key is the one of the highest id.
type ring struct {
	keys map[uint32][32]byte
	last uint32
}

func (r *ring) add() {
	r.last++
	k := [32]byte{}
	for i := range k {
		k[i] = byte(int(r.last) * (i + 3))
	}
	r.keys[r.last] = k
}

func (r *ring) Current(context.Context) (uint32, [32]byte, error) { return r.last, r.keys[r.last], nil }

func (r *ring) Key(_ context.Context, id uint32) ([32]byte, error) {
	k, ok := r.keys[id]
	if !ok {
		return k, errors.New("forgotten")
	}
	return k, nil
}

// mixed is half text, half noise.
func mixed(seed uint64, n int) []byte {
	b := payload(seed, n)
	for i := range b {
		if i>>15&1 == 0 {
			b[i] = "the quick brown fox "[i%20]
		}
	}
	return b
}

func TestCodecs(t *testing.T) {
	for _, c := range []struct {
		name     string
		compress bool
		encrypt  bool
	}{{"zstd", true, false}, {"gcm", false, true}, {"zstd and gcm", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			ctx := t.Context()
			d := errdisk.New()
			o := opts
			o.Compress = c.compress
			keys := &ring{keys: map[uint32][32]byte{}}
			if c.encrypt {
				keys.add()
				o.Keys = keys
			}
			s := mustOpen(t, d, o)
			r := rand.New(rand.NewPCG(9, 9))
			recs, want := map[data.ExtentID]data.Record{}, map[data.ExtentID][]byte{}
			for i, n := range []int{1, 100, 65535, 65536, 65537, 1 << 20, data.MaxExtentBytes, 200000} {
				for _, p := range [][]byte{mixed(uint64(i), n), payload(uint64(i), n), make([]byte, n)} {
					id := data.ExtentID(len(recs) + 1)
					cut := r.IntN(n + 1)
					rec, err := s.Append(ctx, id, [][]byte{p[:cut], nil, p[cut:]})
					if err != nil {
						t.Fatal(err)
					}
					recs[id], want[id] = rec, p
					if c.encrypt {
						keys.add()
					}
				}
			}
			if c.compress && recs[18].StoredBytes() > 16<<10 {
				t.Fatalf("a mebibyte of zeros takes %d", recs[18].StoredBytes())
			}
			if err := s.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			s.Close()
			s = mustOpen(t, d, o)
			for id, p := range want {
				rec := recs[id]
				if id%2 == 0 {
					var err error
					if rec, err = s.Relocate(ctx, rec); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Verify(ctx, rec); err != nil {
					t.Fatal(err)
				}
				for k := range 12 {
					off := r.IntN(len(p))
					got := make([]byte, r.IntN(len(p)-off)+1)
					if k == 0 {
						off, got = 0, make([]byte, len(p))
					}
					if err := s.ReadAt(ctx, rec, uint64(off), got); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, p[off:off+len(got)]) {
						t.Fatalf("extent %d at %d: wrong bytes", id, off)
					}
				}
			}
			rec := recs[20]
			d.Flip(fmt.Sprintf("%016x.seg", rec.Segment), int64(rec.Offset)+10)
			got := make([]byte, rec.Length)
			if err := s.ReadAt(ctx, rec, 0, got); !errors.Is(err, data.ErrCorrupt) || !bytes.Equal(got, make([]byte, len(got))) {
				t.Fatalf("flipped bit: %v", err)
			}
		})
	}
}

func TestEncryptedIsUnreadableWithoutItsKey(t *testing.T) {
	ctx := t.Context()
	d := errdisk.New()
	keys := &ring{keys: map[uint32][32]byte{}}
	keys.add()
	o := opts
	o.Keys = keys
	s := mustOpen(t, d, o)
	p := bytes.Repeat([]byte("secret "), 10000)
	rec, err := s.Append(ctx, 1, [][]byte{p})
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Append(ctx, 1, [][]byte{p})
	if err != nil || again.Salt == rec.Salt {
		t.Fatalf("salt used twice: %v", err)
	}
	if err := s.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	f, err := d.Open(fmt.Sprintf("%016x.seg", rec.Segment))
	if err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 5<<20)
	if _, err := f.ReadAt(raw, 0); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("secret ")) {
		t.Fatal("plain text on the disk")
	}
	got := make([]byte, len(p))
	s.Close()
	s = mustOpen(t, d, opts)
	if err := s.ReadAt(ctx, rec, 0, got); !errors.Is(err, data.ErrKey) {
		t.Fatalf("without keys: %v", err)
	}
	if err := s.Verify(ctx, rec); err != nil {
		t.Fatalf("scrub needs no key: %v", err)
	}
	s = mustOpen(t, d, o)
	k := keys.keys[1]
	keys.keys[1] = [32]byte{1}
	if err := s.ReadAt(ctx, rec, 0, got); !errors.Is(err, data.ErrCorrupt) {
		t.Fatalf("with another key: %v", err)
	}
	delete(keys.keys, 1)
	if err := s.ReadAt(ctx, rec, 0, got); !errors.Is(err, data.ErrKey) {
		t.Fatalf("with the key forgotten: %v", err)
	}
	keys.keys[1] = k
	if err := s.ReadAt(ctx, rec, 0, got); err != nil || !bytes.Equal(got, p) {
		t.Fatal(err)
	}
}

func BenchmarkCodecs(b *testing.B) {
	keys := &ring{keys: map[uint32][32]byte{}}
	keys.add()
	for name, o := range map[string]segment.Options{"zstd": {Compress: true}, "gcm": {Keys: keys}} {
		o.ReserveBytes = -1
		p := mixed(1, 1<<20)
		b.Run(name+"/append", func(b *testing.B) {
			s := mustOpen(b, segment.OSDisk{Dir: b.TempDir()}, o)
			b.SetBytes(1 << 20)
			for i := 0; b.Loop(); i++ {
				if _, err := s.Append(b.Context(), data.ExtentID(i+1), [][]byte{p}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/read", func(b *testing.B) {
			s := mustOpen(b, segment.OSDisk{Dir: b.TempDir()}, o)
			rec, err := s.Append(b.Context(), 1, [][]byte{p})
			if err != nil {
				b.Fatal(err)
			}
			got := make([]byte, len(p))
			b.SetBytes(1 << 20)
			for b.Loop() {
				if err := s.ReadAt(b.Context(), rec, 0, got); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
