package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"iter"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"manifold/internal/kv"
)

// mapTxn is a kv.Txn on a map, enough for one transaction at a time.
type mapTxn map[string][]byte

func (m mapTxn) Get(_ context.Context, k []byte) ([]byte, error) {
	if v, ok := m[string(k)]; ok {
		return v, nil
	}
	return nil, kv.ErrNotFound
}

func (m mapTxn) GetMany(_ context.Context, ks [][]byte) ([][]byte, error) {
	vs := make([][]byte, len(ks))
	for i, k := range ks {
		vs[i] = m[string(k)]
	}
	return vs, nil
}

func (m mapTxn) Scan(_ context.Context, r kv.Range, _ kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		if !r.WithinPrefix() {
			yield(kv.KV{}, kv.ErrOutsidePrefix)
			return
		}
		for k, v := range m {
			if r.Contains([]byte(k)) && !yield(kv.KV{Key: []byte(k), Value: v}, nil) {
				return
			}
		}
	}
}

func (m mapTxn) Put(k, v []byte)         { m[string(k)] = slices.Clone(v) }
func (m mapTxn) Delete(k []byte)         { delete(m, string(k)) }
func (m mapTxn) DeleteOnce(k []byte)     { m.Delete(k) }
func (m mapTxn) Guard(kv.Range)          {}
func (m mapTxn) Unvalidated() kv.Reader  { return m }
func (m mapTxn) Fence(kv.Session)        {}
func (m mapTxn) queued(id ExtentID) bool { return m[string(key(tagFree, id))] != nil }

func TestRecordsRoundTrip(t *testing.T) {
	ctx, tx := t.Context(), mapTxn{}
	p := bytes.Repeat([]byte("x"), 3*BlockBytes+1)
	rec := Record{ID: 7, Length: uint32(len(p)), Segment: 3, Offset: 24, Sums: Sums(7, p)}
	if err := PutExtent(tx, 9, rec); err != nil {
		t.Fatal(err)
	}
	if err := PutInline(tx, 8, 9, [][]byte{[]byte("ab"), []byte("c")}); err != nil {
		t.Fatal(err)
	}
	got, err := GetExtents(ctx, tx, []ExtentID{8, 7})
	if err != nil {
		t.Fatal(err)
	}
	rec.Owner = 9
	if d := cmp.Diff(rec, got[1]); d != "" {
		t.Fatal(d)
	}
	if string(got[0].Inline) != "abc" {
		t.Fatalf("inline payload %q", got[0].Inline)
	}
	if _, err := GetExtents(ctx, tx, []ExtentID{1}); !errors.Is(err, ErrNotFound) {
		t.Fatal(err)
	}
}

func TestExtentGoesWithItsLastHolder(t *testing.T) {
	ctx, tx := t.Context(), mapTxn{}
	if err := PutInline(tx, 1, 10, [][]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	step := func(what string, err error, queued bool) {
		t.Helper()
		if err != nil || tx.queued(1) != queued {
			t.Fatalf("%s: err %v, queued %v", what, err, tx.queued(1))
		}
	}
	step("add", AddRef(ctx, tx, 1, 11, 1), false)
	step("add the same", AddRef(ctx, tx, 1, 11, 1), false)
	step("add another", AddRef(ctx, tx, 1, 11, 2), false)
	step("owner holds twice", AddRef(ctx, tx, 1, 10, 3), false)
	step("stranger", DropRef(ctx, tx, 1, 99), false)
	step("owner leaves once", DropRef(ctx, tx, 1, 10), false)
	step("owner leaves", DropRef(ctx, tx, 1, 10), false)
	step("owner is gone", DropRef(ctx, tx, 1, 10), false)
	step("the other leaves once", DropRef(ctx, tx, 1, 11), false)
	step("last leaves", DropRef(ctx, tx, 1, 11), true)
	step("held again", AddRef(ctx, tx, 1, 12, 4), false)
	step("and left", DropRef(ctx, tx, 1, 12), true)
}

func FuzzDecodeRecord(f *testing.F) {
	good := Record{ID: 1, Owner: 2, Length: 5, Sums: []uint32{4}}.encode()
	f.Add(good)
	f.Add([]byte{})
	f.Add(good[:len(good)-1])
	f.Add(Record{ID: 1, Owner: 2, Segment: 3, Offset: 24, Length: BlockBytes + 1, Compression: Zstd, Encryption: AES256GCM, KeyID: 7, Stored: []uint32{100, 17}, Sums: []uint32{4, 5}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 { // let the fuzzer past the checksum
			b = binary.BigEndian.AppendUint32(b[:len(b)-4:len(b)-4], Sum(1, b[:len(b)-4]))
		}
		r, err := decodeRecord(1, b)
		if err == nil && !bytes.Equal(r.encode(), b) {
			t.Fatalf("decoded record encodes differently: %x", b)
		}
	})
}

func TestFree(t *testing.T) {
	ctx, tx := t.Context(), mapTxn{}
	for id := ExtentID(1); id <= 2; id++ {
		if err := PutInline(tx, id, 10, [][]byte{{1}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := DropRef(ctx, tx, 2, 10); err != nil {
		t.Fatal(err)
	}
	for id := ExtentID(1); id <= 2; id++ {
		if _, _, err := Free(ctx, tx, id); err != nil {
			t.Fatal(err)
		}
	}
	if len(tx) != 2 {
		t.Fatalf("%d keys left, want record and payload of the extent still held", len(tx))
	}
	if ids, err := Queued(ctx, snapshot{tx}, 0, 10); err != nil || len(ids) != 0 {
		t.Fatalf("queue %v, %v", ids, err)
	}
	if err := DropRef(ctx, tx, 1, 10); err != nil {
		t.Fatal(err)
	}
	if ids, err := Queued(ctx, snapshot{tx}, 0, 10); err != nil || !slices.Equal(ids, []ExtentID{1}) {
		t.Fatalf("queue %v, %v", ids, err)
	}
}

// snapshot is the Reader of a View, which may scan anything.
type snapshot struct{ mapTxn }

func (s snapshot) Scan(_ context.Context, r kv.Range, _ kv.ScanOptions) iter.Seq2[kv.KV, error] {
	return func(yield func(kv.KV, error) bool) {
		for k, v := range s.mapTxn {
			if r.Contains([]byte(k)) && !yield(kv.KV{Key: []byte(k), Value: v}, nil) {
				return
			}
		}
	}
}

func TestSumIsCRC32COverIDAndBlock(t *testing.T) {
	b := append(binary.BigEndian.AppendUint64(nil, 0x0102030405060708), "block"...)
	if got, want := Sum(0x0102030405060708, []byte("block")), crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)); got != want {
		t.Fatalf("%08x, want %08x", got, want)
	}
	p := bytes.Repeat([]byte("abc"), BlockBytes)
	if diff := cmp.Diff(Sums(3, p), Sums(3, p[:1], nil, p[1:BlockBytes+5], p[BlockBytes+5:])); diff != "" {
		t.Fatal(diff)
	}
}

func TestEncodedRecordsRoundTrip(t *testing.T) {
	for _, r := range []Record{
		{ID: 1, Owner: 2, Segment: 3, Offset: 24, Length: 5, Sums: []uint32{4}},
		{ID: 1, Owner: 2, Segment: 3, Offset: 24, Length: BlockBytes + 1, Compression: Zstd, Stored: []uint32{100, 1}, Sums: []uint32{4, 5}},
		{ID: 1, Owner: 2, Segment: 3, Offset: 24, Length: BlockBytes + 1, Encryption: AES256GCM, KeyID: 7, Salt: [16]byte{1, 2}, Stored: []uint32{BlockBytes + 16, 17}, Sums: []uint32{4, 5}},
	} {
		got, err := decodeRecord(1, r.encode())
		if diff := cmp.Diff(r, got); err != nil || diff != "" {
			t.Fatalf("%v %s", err, diff)
		}
	}
	for _, r := range []Record{
		{ID: 1, Length: 5, Sums: []uint32{4}, Stored: []uint32{5}},
		{ID: 1, Length: 5, Sums: []uint32{4}, Compression: Zstd, Stored: []uint32{6}},
		{ID: 1, Length: 5, Sums: []uint32{4}, Compression: Zstd, Stored: []uint32{0}},
		{ID: 1, Length: 5, Sums: []uint32{4}, Encryption: AES256GCM, Stored: []uint32{5}},
		{ID: 1, Length: 5, Sums: []uint32{4}, Compression: 2, Stored: []uint32{5}},
		{ID: 1, Length: 5, Sums: []uint32{4, 4}},
		{ID: 1},
	} {
		if _, err := decodeRecord(1, r.encode()); err == nil {
			t.Fatalf("taken: %+v", r)
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add(indexKey(1, 24), []byte{1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 1, 0})
	f.Add(key(tagCorrupt, 5), []byte{1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9})
	f.Fuzz(func(t *testing.T, k, v []byte) {
		if l, err := decodeLocated(k, v); err == nil && !bytes.Equal(k[9:], binary.BigEndian.AppendUint64(nil, l.Offset)) {
			t.Fatal("another offset")
		}
		_, _ = decodeMark(k, v)
	})
}
