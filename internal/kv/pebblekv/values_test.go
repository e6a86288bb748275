package pebblekv

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/kv"
)

// TestLargeValuesAreWrittenOnce writes payloads of small files, in an order that
// makes every table overlap every other, and has all of it compacted: that moves
// the rows, not the payloads.
func TestLargeValuesAreWrittenOnce(t *testing.T) {
	e := open(t, Options{FS: vfs.NewMem(), MemTableBytes: 256 << 10})
	defer e.Close()
	const n, size = 2000, 4096
	payload := make([]byte, size)
	if _, err := rand.Read(payload); err != nil {
		t.Fatal(err)
	}
	for i := uint64(0); i < n; i += 10 {
		if _, err := e.Update(t.Context(), func(x kv.Txn) error {
			for j := i; j < i+10; j++ {
				x.Put(damageKey(j*7919%n), payload)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := e.db.Compact(context.Background(), damageKey(0), damageKey(math.MaxUint64), false); err != nil {
		t.Fatal(err)
	}
	payloads, rows := uint64(0), uint64(0)
	m := e.db.Metrics()
	for _, l := range m.Levels {
		payloads += max(l.BlobBytesFlushed, l.BlobBytesCompacted) // the latter counts flushes too
		rows += l.TableBytesCompacted
	}
	t.Logf("%d bytes of payload: %d written as payloads, %d by compactions of rows", n*size, payloads, rows)
	if payloads > n*size*21/20 || rows > n*size/10 {
		t.Error("payloads were written again")
	}
}

// TestOldFormat opens a store of the format before values lay beside the tables.
func TestOldFormat(t *testing.T) {
	mem := vfs.NewMem()
	old, err := pebble.Open("store", &pebble.Options{FS: mem, FormatMajorVersion: pebble.FormatWALSyncChunks})
	if err != nil {
		t.Fatal(err)
	}
	long := bytes.Repeat([]byte("value"), 1000)
	if err := errors.Join(old.Set(damageKey(1), long, pebble.Sync), old.Flush(), old.Set(damageKey(2), long, pebble.Sync), old.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		e, err := Open(t.Context(), Options{Dir: "store", FS: mem})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []uint64{1, 2} {
			if err := e.View(t.Context(), kv.Linearizable, func(r kv.Reader) error {
				v, err := r.Get(t.Context(), damageKey(k))
				if !bytes.Equal(v, long) {
					t.Errorf("key %d has %d bytes", k, len(v))
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Update(t.Context(), func(x kv.Txn) error { x.Put(damageKey(k), long); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
