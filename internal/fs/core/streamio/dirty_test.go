package streamio

import (
	"bytes"
	"math/rand"
	"testing"
)

type countedBuffer struct{ refs int }

func (b *countedBuffer) Retain()  { b.refs++ }
func (b *countedBuffer) Release() { b.refs-- }

// TestDirtySetModel drives a dirtySet with random writes, cuts and flushes
// beside a plain byte map, and checks content, order, byte count and that
// every buffer reference is given back.
func TestDirtySetModel(t *testing.T) {
	const size = 256
	for seed := int64(0); seed < 300; seed++ {
		r := rand.New(rand.NewSource(seed))
		var d dirtySet
		var bufs []*countedBuffer
		model := map[uint64]byte{}
		batch := uint64(0)
		open := map[uint64]map[uint64]byte{} // captured bytes of flushes under way
		for op := 0; op < 200; op++ {
			from := uint64(r.Intn(size))
			to := from + uint64(r.Intn(40))
			switch r.Intn(6) {
			case 0, 1, 2:
				b := &countedBuffer{refs: 1}
				bufs = append(bufs, b)
				data := make([]byte, to-from)
				r.Read(data)
				d.insert(span{off: from, data: data, owner: b, seq: uint64(op)})
				for i, c := range data {
					model[from+uint64(i)] = c
					for _, o := range open {
						delete(o, from+uint64(i))
					}
				}
			case 3:
				d.cut(from, to)
				for i := from; i < to; i++ {
					delete(model, i)
					for _, o := range open {
						delete(o, i)
					}
				}
			case 4:
				batch++
				got, _ := d.capture(from, to, batch, 64)
				o := map[uint64]byte{}
				for _, s := range got {
					for i, c := range s.data {
						if model[s.off+uint64(i)] != c {
							t.Fatalf("seed %d op %d: captured stale byte at %d", seed, op, s.off+uint64(i))
						}
						o[s.off+uint64(i)] = c
					}
					s.release()
				}
				open[batch] = o
			case 5:
				for b, o := range open {
					ok := r.Intn(2) == 0
					d.settle(b, ok)
					if ok {
						for i := range o {
							delete(model, i)
						}
					}
					delete(open, b)
					break
				}
			}
			var total uint64
			last := uint64(0)
			for i, s := range d.spans {
				if len(s.data) == 0 || i > 0 && s.off < last {
					t.Fatalf("seed %d op %d: spans out of order or empty", seed, op)
				}
				last = s.end()
				total += uint64(len(s.data))
			}
			if total != d.bytes || int(total) != len(model) {
				t.Fatalf("seed %d op %d: %d bytes in spans, %d counted, %d in the model", seed, op, total, d.bytes, len(model))
			}
			got, want := bytes.Repeat([]byte{0xee}, size+64), bytes.Repeat([]byte{0xee}, size+64)
			d.overlay(0, got)
			for i, c := range model {
				want[i] = c
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("seed %d op %d: overlay differs", seed, op)
			}
			all := true
			for i := from; i < to; i++ {
				_, ok := model[i]
				all = all && ok
			}
			if d.covers(from, to) != all {
				t.Fatalf("seed %d op %d: covers(%d, %d) != %v", seed, op, from, to, all)
			}
		}
		d.drop()
		for i, b := range bufs {
			if b.refs != 0 {
				t.Fatalf("seed %d: buffer %d has %d references left", seed, i, b.refs)
			}
		}
	}
}
