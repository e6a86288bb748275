package pebblekv

import (
	"encoding/binary"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/kv"
)

// flip changes one byte of a file, at a fraction of its length.
func flip(t *testing.T, fs vfs.FS, name string, num, den int64) {
	t.Helper()
	f, err := fs.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b[int64(len(b))*num/den] ^= 0x10
	w, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Sync(), w.Close()); err != nil {
		t.Fatal(err)
	}
}

func filesOf(t *testing.T, fs vfs.FS, suffix string) []string {
	t.Helper()
	return filesIn(t, fs, "store", suffix)
}

func segmentsOf(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	return filesIn(t, fs, "store/log", segmentSuffix)
}

func filesIn(t *testing.T, fs vfs.FS, dir, suffix string) (out []string) {
	t.Helper()
	all, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range all {
		if strings.HasSuffix(n, suffix) {
			out = append(out, path.Join(dir, n))
		}
	}
	slices.Sort(out)
	return out
}

func damageKey(i uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'k'}, i) }

// fill writes numbered keys in commits of ten, each number after size bytes.
func fill(t *testing.T, e *Engine, n uint64, size int) {
	t.Helper()
	for i := uint64(0); i < n; i += 10 {
		if _, err := e.Update(t.Context(), func(x kv.Txn) error {
			for j := i; j < i+10; j++ {
				x.Put(damageKey(j), binary.BigEndian.AppendUint64(make([]byte, size), j))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedTable flips bits in a table, and in a file of values that lie
// beside the tables: reads answer rightly or fail, and never wrongly.
func TestDamagedTable(t *testing.T) {
	t.Run("table", func(t *testing.T) { damagedTable(t, ".sst", 200) })
	t.Run("values", func(t *testing.T) { damagedTable(t, ".blob", separateFrom) })
}

func damagedTable(t *testing.T, suffix string, size int) {
	const n = 2000
	lost := 0
	for part := range int64(8) {
		fs := vfs.NewMem()
		e := open(t, Options{FS: fs})
		fill(t, e, n, size)
		if err := errors.Join(e.db.Flush(), e.Close()); err != nil {
			t.Fatal(err)
		}
		files := filesOf(t, fs, suffix)
		if len(files) == 0 {
			t.Fatalf("there is no %s file", suffix)
		}
		flip(t, fs, files[0], part, 8)
		e, err := Open(t.Context(), Options{Dir: "store", FS: fs})
		if err != nil {
			lost++
			continue // found at once
		}
		failed := 0
		for i := range uint64(n) {
			err := e.View(t.Context(), kv.Linearizable, func(r kv.Reader) error {
				v, err := r.Get(t.Context(), damageKey(i))
				if err == nil && binary.BigEndian.Uint64(v[size:]) != i {
					t.Errorf("key %d has a wrong value", i)
				}
				return err
			})
			if err != nil {
				if failed++; !errors.Is(err, kv.ErrUnavailable) {
					t.Fatalf("part %d, key %d: %v", part, i, err)
				}
			}
		}
		lost += failed
		t.Logf("part %d of 8: %d of %d reads failed", part, failed, n)
		_ = e.Close()
	}
	if lost == 0 {
		t.Error("no read noticed the damage")
	}
}

// TestDamagedLog flips bits of the log of a store that was not closed, a new
// one and an old one. What follows them was acknowledged, so opening must
// fail: to go on without it would be a silent loss.
func TestDamagedLog(t *testing.T) {
	t.Run("grown", func(t *testing.T) { damagedLog(t, 0) })
	// Its end is zeros when it is damaged.
	t.Run("filled beforehand", func(t *testing.T) { damagedLog(t, 64<<10) })
}

func damagedLog(t *testing.T, ahead int64) {
	fs := vfs.NewCrashableMem()
	for _, age := range []string{"new", "old"} {
		e := open(t, Options{FS: fs, LogAhead: ahead})
		fill(t, e, 1000, 200)
		opened := 0
		for part := range int64(10) {
			clone := fs.CrashClone(vfs.CrashCloneCfg{})
			logs := segmentsOf(t, clone)
			if len(logs) == 0 {
				t.Fatal("there is no log")
			}
			// The last record is left out: damage there looks like the end. What
			// fills up a record to where the next one begins may be anything.
			flip(t, clone, logs[len(logs)-1], part, 14)
			if c, err := Open(t.Context(), Options{Dir: "store", FS: clone}); err == nil {
				opened++
				if _, err := fetch(c.db, damageKey(999)); err != nil {
					t.Errorf("a damaged log of a store that is %s was opened, part %d; the last key acknowledged: %v", age, part, err)
				}
				_ = c.Close()
			}
		}
		if opened > 2 {
			t.Errorf("the damage of a store that is %s was not found in %d of 10 places", age, opened)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
