package segment_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"manifold/internal/data"
	"manifold/internal/data/datatest"
	"manifold/internal/data/errdisk"
	"manifold/internal/data/segment"
)

func onMemory(t *testing.T, d *errdisk.Disk, o segment.Options) datatest.Subject {
	return datatest.Subject{
		Store: mustOpen(t, d, o),
		Crash: func(t *testing.T) datatest.Subject { return onMemory(t, d.Crash(), o) },
		Corrupt: func(_ *testing.T, rec data.Record, at uint64) {
			if rec.Stored != nil { // about there; the block is what counts
				off := uint64(0)
				for _, n := range rec.Stored[:at/data.BlockBytes] {
					off += uint64(n)
				}
				at = off
			}
			d.Flip(fmt.Sprintf("%016x.seg", rec.Segment), int64(rec.Offset+at))
		},
		FailSync: func(err error) { d.SetFaults(errdisk.Faults{Sync: err}) },
	}
}

func torn(t *testing.T, d *errdisk.Disk, r *rand.Rand) datatest.Subject {
	s := onMemory(t, d, opts)
	s.Crash = func(t *testing.T) datatest.Subject { return torn(t, d.CrashTorn(r), r) }
	return s
}

func TestSuite(t *testing.T) {
	t.Run("directory", func(t *testing.T) {
		datatest.Run(t, func(t *testing.T) datatest.Subject {
			dir := t.TempDir()
			return datatest.Subject{
				Store: mustOpen(t, segment.OSDisk{Dir: dir}, opts),
				Corrupt: func(t *testing.T, rec data.Record, at uint64) {
					f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("%016x.seg", rec.Segment)), os.O_RDWR, 0)
					if err != nil {
						t.Fatal(err)
					}
					defer f.Close()
					b := make([]byte, 1)
					if _, err := f.ReadAt(b, int64(rec.Offset+at)); err != nil {
						t.Fatal(err)
					}
					b[0] ^= 1
					if _, err := f.WriteAt(b, int64(rec.Offset+at)); err != nil {
						t.Fatal(err)
					}
				},
			}
		})
	})
	t.Run("memory", func(t *testing.T) {
		datatest.Run(t, func(t *testing.T) datatest.Subject { return onMemory(t, errdisk.New(), opts) })
	})
	t.Run("torn pages", func(t *testing.T) {
		datatest.Run(t, func(t *testing.T) datatest.Subject {
			return torn(t, errdisk.New(), rand.New(rand.NewPCG(1, 2)))
		})
	})
	t.Run("compressed and encrypted", func(t *testing.T) {
		datatest.Run(t, func(t *testing.T) datatest.Subject {
			keys := &ring{keys: map[uint32][32]byte{}}
			keys.add()
			o := opts
			o.Compress, o.Keys = true, keys
			return onMemory(t, errdisk.New(), o)
		})
	})
}
