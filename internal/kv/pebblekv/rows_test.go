package pebblekv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/kv"
)

func TestRowCache(t *testing.T) {
	var c rowCache
	var slot atomic.Uint64
	c.init(1<<20, "", func(b []byte) uint64 { return maphash.Bytes(seed, b) })
	k, h := []byte("k"), c.hash([]byte("k"))
	want := func(now uint64, val string, ver uint64) {
		t.Helper()
		v, n, ok := c.get(h, k, now)
		if !ok || string(v) != val || n != ver {
			t.Errorf("in state %d: %q since %d, %v; want %q since %d", now, v, n, ok, val, ver)
		}
	}
	miss := func(now uint64, key string) {
		t.Helper()
		if v, _, ok := c.get(h, []byte(key), now); ok {
			t.Errorf("in state %d %q is cached as %q", now, key, v)
		}
	}
	c.write(h, k, []byte("never read"), 3)
	want(3, "never read", 3)
	miss(2, "k")
	slot.Store(5)
	c.put(h, k, []byte("5"), 5, &slot)
	want(5, "5", 5)
	want(6, "5", 5) // another key moved on
	miss(4, "k")
	slot.Store(7)
	c.write(h, k, []byte("7, which is longer than before"), 7)
	miss(6, "k") // a reader that took its state before commit 7
	want(7, "7, which is longer than before", 7)
	miss(7, "other")
	c.write(h, []byte("other"), []byte("x"), 8)
	want(8, "7, which is longer than before", 7)

	// A reader that read before commit 9 and puts after that has written.
	slot.Store(9)
	c.write(h, k, nil, 9)
	c.put(h, k, []byte("7"), 7, &slot)
	miss(9, "k")

	slot.Store(10)
	c.put(h, k, nil, 10, &slot)
	if v, ver, ok := c.get(h, k, 10); !ok || v != nil || ver != 10 {
		t.Errorf("an absent key: %q, %v", v, ok)
	}
	c.put(h, k, []byte{}, 10, &slot)
	if v, _, ok := c.get(h, k, 10); !ok || v == nil {
		t.Errorf("an empty value: %v, %v", v, ok)
	}
	v, _, _ := c.get(h, k, 10)
	c.put(h, k, make([]byte, maxRowSize), 10, &slot)
	want(10, "", 10)
	c.write(h, k, make([]byte, maxRowSize), 11)
	miss(11, "k")
	c.write(h, k, []byte("later"), 12)
	if v, _, _ = c.get(h, k, 12); string(v) != "later" {
		t.Errorf("%q", v)
	}
	c.write(h, k, []byte("LATER"), 13)
	if string(v) != "later" {
		t.Error("a value that was handed out changed")
	}
}

var seed = maphash.MakeSeed()

// TestRowCacheModel: what is cached is always what was stored last, through
// many times the size of the rings, and something is.
func TestRowCacheModel(t *testing.T) {
	var c rowCache
	var slot atomic.Uint64
	c.init(1, "", func(b []byte) uint64 { return binary.LittleEndian.Uint64(b) * 0x9e3779b97f4a7c15 })
	r := rand.New(rand.NewPCG(1, 2))
	model := map[uint64][]byte{}
	key := make([]byte, 8)
	hits, keys := 0, uint64(100_000)
	for ver := uint64(1); ver <= 1_000_000; ver++ {
		n := r.Uint64N(keys)
		if r.IntN(4) == 0 {
			n %= 64
		}
		binary.LittleEndian.PutUint64(key, n)
		h := c.hash(key)
		switch r.IntN(4) {
		case 0:
			if v, _, ok := c.get(h, key, ver); ok {
				hits++
				if m := model[n]; !bytes.Equal(v, m) || (v == nil) != (m == nil) {
					t.Fatalf("commit %d, key %d: %x, not %x", ver, n, v, m)
				}
			}
			continue
		case 1:
			slot.Store(ver)
			c.put(h, key, model[n], ver, &slot)
			continue
		}
		v := binary.LittleEndian.AppendUint64(make([]byte, 0, 600), ver)
		v = v[:8+r.IntN(64)]
		switch r.IntN(16) {
		case 0:
			v = nil
		case 1:
			v = v[:8+r.IntN(592)]
		}
		model[n] = v
		c.write(h, key, v, ver)
	}
	if hits < 1000 {
		t.Errorf("only %d hits", hits)
	}
	for i := range c.shards {
		s := &c.shards[i]
		if s.head-s.tail > s.size {
			t.Errorf("shard %d holds %d bytes", i, s.head-s.tail)
		}
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

// TestBarredRows: keys that only scans read take no room.
func TestBarredRows(t *testing.T) {
	e := open(t, Options{FS: newCopyFS().fs(), Scanned: "sz"})
	for _, k := range []string{"abcdefgh1", "sbcdefgh1"} {
		if _, err := e.Update(t.Context(), func(tx kv.Txn) error { tx.Put([]byte(k), []byte("v")); return nil }); err != nil {
			t.Fatal(err)
		}
		_, err := e.Update(t.Context(), func(tx kv.Txn) error {
			v, err := tx.Get(t.Context(), []byte(k))
			if err != nil || string(v) != "v" {
				t.Errorf("%s: %q, %v", k, v, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _, kept := e.rows.get(e.slots.hash([]byte(k)), []byte(k), 1<<62)
		if kept != (k[0] == 'a') {
			t.Errorf("%s is kept: %v", k, kept)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// The index has room for the rows that the rings have room for, while it grows and
// at its largest: rows of inodes and entries that fit are there.
func TestRowsThatFitStay(t *testing.T) {
	var c rowCache
	c.init(8<<20, "", func(b []byte) uint64 { // the same in every run
		h := (binary.LittleEndian.Uint64(b) + 1) * 0x9e3779b97f4a7c15
		h = (h ^ h>>31) * 0xbf58476d1ce4e5b9
		return h ^ h>>29
	})
	const row = 56 // key and value: 40
	key, val := make([]byte, 16), make([]byte, 24)
	lost := func(n int) (lost int) {
		for i := range n {
			binary.LittleEndian.PutUint64(key, uint64(i))
			if _, _, ok := c.get(c.hash(key), key, 1); !ok {
				lost++
			}
		}
		return lost
	}
	made := 0
	for _, n := range []int{1000, 10_000, 50_000, 7 << 20 / row} {
		for ; made < n; made++ {
			binary.LittleEndian.PutUint64(key, uint64(made))
			c.write(c.hash(key), key, val, 1)
		}
		if l := lost(n); l > n/50 {
			t.Errorf("%d of %d rows are gone", l, n)
		}
	}
}
