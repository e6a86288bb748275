package meta_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"manifold/internal/kv"
	"manifold/internal/kv/memkv"
)

// faulty is a store that loses some of what is written to it.
type faulty struct {
	kv.Engine
	put    func(key []byte) bool // false: lost
	delete func(key []byte) bool
	// change answers what is written instead; nil: as it is.
	change func(key, value []byte) (k, v []byte)
	// twice answers a second key to write; nil: none.
	twice func(key []byte) []byte
}

func (f *faulty) Update(ctx context.Context, fn func(kv.Txn) error) (kv.Rev, error) {
	return f.Engine.Update(ctx, func(tx kv.Txn) error { return fn(&faultyTxn{tx, f}) })
}

type faultyTxn struct {
	kv.Txn
	f *faulty
}

func (t *faultyTxn) Put(key, value []byte) {
	if t.f.change != nil {
		key, value = t.f.change(key, value)
	}
	if t.f.put == nil || t.f.put(key) {
		t.Txn.Put(key, value)
	}
	if t.f.twice != nil {
		if k := t.f.twice(key); k != nil {
			t.Txn.Put(k, value)
		}
	}
}

func (t *faultyTxn) Delete(key []byte) {
	if t.f.delete == nil || t.f.delete(key) {
		t.Txn.Delete(key)
	}
}

func (t *faultyTxn) DeleteOnce(key []byte) {
	if t.f.delete == nil || t.f.delete(key) {
		t.Txn.DeleteOnce(key)
	}
}

// TestModelCatches proves that the model notices defects: each fault makes the
// engine forget one thing, as a mistake in the code would.
func TestModelCatches(t *testing.T) {
	tag := func(b byte) func([]byte) bool { return func(k []byte) bool { return k[0] != b } }
	// sometimes loses every fifth write of a table, so that the fault is rare.
	sometimes := func(b byte) func([]byte) bool {
		n := 0
		return func(k []byte) bool {
			if k[0] != b {
				return true
			}
			n++
			return n%5 != 0
		}
	}
	for _, c := range []struct {
		name        string
		put, delete func([]byte) bool
	}{
		{name: "history of inodes is not kept", put: tag(0x50)},
		{name: "history of names is not kept", put: tag(0x51)},
		{name: "history of listings is not kept", put: tag(0x52)},
		{name: "history of chunk maps is not kept", put: tag(0x58)},
		{name: "history of xattrs is not kept", put: tag(0x56)},
		{name: "history of totals is not kept", put: tag(0x5d)},
		{name: "history of further links is not kept", put: tag(0x53)},
		{name: "death lists lose entries", put: sometimes(0x20)},
		{name: "old versions are never removed", delete: tag(0x58)},
		{name: "releases get lost", put: sometimes(0x24)},
		{name: "deltas get lost", put: sometimes(0x1c)},
		{name: "deltas are applied twice", delete: tag(0x1c)},
		{name: "releases are repeated", delete: tag(0x24)},
		{name: "topology version stays", put: tag(0x04)},
		{name: "removed names stay in listings", delete: sometimes(0x12)},
		{name: "orphan marks get lost", put: sometimes(0x1a)},
		{name: "removed xattrs stay", delete: sometimes(0x16)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(60) {
				if err := caught(t.Context(), seed, &faulty{Engine: memkv.New(), put: c.put, delete: c.delete}); err != nil {
					return
				}
			}
			t.Error("no run noticed")
		})
	}
}

// reference tells a row of the model's holds that is no owner's.
func reference(k []byte) bool { return k[0] == 0xf0 && binary.BigEndian.Uint64(k[25:]) != 0 }

// every tells the nth, 2nth, ... key that fits.
func every(n int, fits func([]byte) bool) func([]byte) bool {
	seen := 0
	return func(k []byte) bool {
		if !fits(k) {
			return false
		}
		seen++
		return seen%n == 0
	}
}

// TestModelCatches_references does the same with extents that several streams,
// chunks or versions share.
func TestModelCatches_references(t *testing.T) {
	lost, doubled, kept := every(4, reference), every(4, reference), every(4, reference)
	chunk := func(k []byte) bool { return k[0] == 0x18 }
	for _, c := range []struct {
		name string
		f    faulty
	}{
		{"references get lost", faulty{put: func(k []byte) bool { return !lost(k) }}},
		{"references are made twice", faulty{twice: func(k []byte) []byte {
			if !doubled(k) {
				return nil
			}
			k = bytes.Clone(k)
			k[len(k)-8] |= 0x80 // a number that no clock gives
			return k
		}}},
		{"references stay when they are released", faulty{delete: func(k []byte) bool { return !kept(k) }}},
		{"owners stay when they are released", faulty{delete: func(k []byte) bool { return k[0] != 0xf0 || reference(k) }}},
		{"a reference goes to another stream", faulty{change: func(k, v []byte) ([]byte, []byte) {
			if reference(k) {
				k = bytes.Clone(k)
				k[16] ^= 1
			}
			return k, v
		}}},
		{"chunk maps forget their old versions", faulty{change: func(k, v []byte) ([]byte, []byte) {
			if !chunk(k) {
				return k, v
			}
			rest := v[1:]
			for range 2 { // birth and mask
				_, n := binary.Uvarint(rest)
				rest = rest[n:]
			}
			_, n := binary.Uvarint(rest)
			return k, append(append(bytes.Clone(v[:len(v)-len(rest)]), 0), rest[n:]...)
		}}},
		{"shared extents are forgotten by one version", faulty{change: shortened(every(9, func(k []byte) bool { return k[0] == 0x58 }))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(60) {
				f := c.f
				f.Engine = memkv.New()
				if err := caught(t.Context(), seed, &f); err != nil {
					return
				}
			}
			t.Error("no run noticed")
		})
	}
}

// shortened makes an old chunk map lose its last fragment.
func shortened(turn func([]byte) bool) func(k, v []byte) ([]byte, []byte) {
	return func(k, v []byte) ([]byte, []byte) {
		if !turn(k) {
			return k, v
		}
		at := 1
		for range 3 {
			_, n := binary.Uvarint(v[at:])
			at += n
		}
		count, n := binary.Uvarint(v[at:])
		if count < 2 {
			return k, v
		}
		out := binary.AppendUvarint(bytes.Clone(v[:at]), count-1)
		body := v[at+n:]
		end := 0
		for range 4 * (count - 1) {
			_, m := binary.Uvarint(body[end:])
			end += m
		}
		return k, append(out, body[:end]...)
	}
}

func caught(ctx context.Context, seed uint64, e kv.Engine) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return runBounded(ctx, seed, e)
}

// runBounded is run with background work that cannot go on for ever.
func runBounded(ctx context.Context, seed uint64, e kv.Engine) error {
	w, err := newWorld(ctx, seed, e)
	if err != nil {
		return err
	}
	w.bound = 2000
	return w.play(seed, 300)
}
