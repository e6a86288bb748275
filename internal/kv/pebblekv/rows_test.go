package pebblekv

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/kv"
)

func TestRowCache(t *testing.T) {
	var c rowCache
	c.init()
	k, h := []byte("k"), uint64(1)<<63
	hit := func(slot uint64) (string, bool) {
		v, ok := c.get(h, k, slot)
		return string(v), ok
	}
	c.refresh(h, k, []byte("never read"), 3)
	if _, ok := hit(3); ok {
		t.Error("a key that was never read is cached")
	}
	c.put(h, k, []byte("5"), 5)
	if v, ok := hit(5); !ok || v != "5" {
		t.Errorf("%q, %v", v, ok)
	}
	c.refresh(h, k, []byte("7"), 7)
	// A reader that looked at the slot before commit 7 raised it.
	if v, ok := hit(5); ok {
		t.Errorf("a reader of version 5 got %q", v)
	}
	if v, ok := hit(7); !ok || v != "7" {
		t.Errorf("%q, %v", v, ok)
	}
	if v, ok := hit(8); ok {
		t.Errorf("a reader of version 8 got %q", v)
	}
	if _, ok := c.get(h, []byte("other"), 7); ok {
		t.Error("another key got the value")
	}
	c.put(h, k, nil, 9)
	if v, ok := c.get(h, k, 9); !ok || v != nil {
		t.Errorf("an absent key: %q, %v", v, ok)
	}
	c.put(h, k, make([]byte, maxRowSize), 10)
	if _, ok := hit(10); ok {
		t.Error("a large value is cached")
	}
}

// TestTornReads keeps some hot keys equal in every commit while Views and
// Updates that fail look at all of them, without staging: this is about the
// windows between two loads.
func TestTornReads(t *testing.T) {
	const keys, rounds = 4, 4000
	e := open(t, Options{FS: vfs.NewMem(), NoSync: true})
	key := func(i int) []byte { return binary.BigEndian.AppendUint64([]byte{'k'}, uint64(i)) }
	write := func(n uint64) error {
		_, err := e.Update(t.Context(), func(x kv.Txn) error {
			for i := range keys {
				x.Put(key(i), binary.BigEndian.AppendUint64(nil, n))
			}
			return nil
		})
		return err
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	torn := errors.New("saw two states at once")
	done := errors.New("done")
	look := func(ctx context.Context, r kv.Reader) (uint64, error) {
		var first uint64
		for i := range keys {
			v, err := r.Get(ctx, key(i))
			if err != nil {
				return 0, err
			}
			n := binary.BigEndian.Uint64(v)
			if i > 0 && n != first {
				return 0, torn
			}
			first = n
		}
		return first, nil
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var last uint64
			for ctx.Err() == nil {
				var n uint64
				var err error
				if w%2 == 0 {
					err = e.View(t.Context(), kv.Linearizable, func(r kv.Reader) (err error) { n, err = look(ctx, r); return err })
				} else {
					_, err = e.Update(t.Context(), func(x kv.Txn) (err error) {
						var r kv.Reader = x
						if w == 3 {
							r = x.Unvalidated()
						}
						if n, err = look(ctx, r); err == nil {
							err = done
						}
						return err
					})
				}
				if err != nil && err != done {
					t.Errorf("reader %d: %v", w, err)
					return
				}
				if n < last {
					t.Errorf("reader %d saw %d after %d", w, n, last)
					return
				}
				last = n
			}
		}()
	}
	for n := range uint64(rounds) {
		if err := write(n + 1); err != nil {
			t.Error(err)
			break
		}
	}
	stop()
	wg.Wait()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
