package streamio

import (
	"sort"

	"manifold/internal/fs"
)

// copyBelow: payloads up to this size are copied out of the caller's buffer
// instead of keeping that (larger) buffer alive.
const copyBelow = 16 << 10

// span is a run of bytes of one write that is not yet durable. Pieces that
// later writes cut out of it share owner.
type span struct {
	off   uint64
	data  []byte
	owner fs.Buffer // nil: data is ours, the garbage collector frees it
	// batch is the flush that has captured the span, 0 if none. Captured
	// bytes are immutable; a piece that is still here when its flush commits
	// is what that flush made durable.
	batch uint64
	// seq orders writes.
	seq uint64
	// stable: a caller waits for it.
	stable bool
}

func (s *span) end() uint64 { return s.off + uint64(len(s.data)) }

func (s *span) release() {
	if s.owner != nil {
		s.owner.Release()
	}
}

// dirtySet holds the not yet durable bytes of one stream as sorted,
// non-overlapping spans. The zero value is empty. Guarded by its file's mu.
type dirtySet struct {
	spans []span
	bytes uint64
}

// first returns the index of the first span that ends after off.
func (d *dirtySet) first(off uint64) int {
	n := len(d.spans)
	// Sequential writers append: look at the end first.
	if n == 0 || d.spans[n-1].end() <= off {
		return n
	}
	return sort.Search(n, func(i int) bool { return d.spans[i].end() > off })
}

// insert adds s, cutting away what it overlaps.
func (d *dirtySet) insert(s span) {
	if len(s.data) == 0 {
		s.release()
		return
	}
	i := d.cut(s.off, s.end())
	d.spans = append(d.spans, span{})
	copy(d.spans[i+1:], d.spans[i:])
	d.spans[i] = s
	d.bytes += uint64(len(s.data))
}

// cut removes [from, to) and returns the index where a span at from belongs.
func (d *dirtySet) cut(from, to uint64) int {
	i := d.first(from)
	if i == len(d.spans) || d.spans[i].off >= to || from >= to {
		return i
	}
	if s := &d.spans[i]; s.off < from {
		if s.end() > to { // the hole lies inside one span: split
			right := *s
			k := to - s.off
			right.off, right.data = to, s.data[k:]
			if right.owner != nil {
				right.owner.Retain()
			}
			d.bytes -= to - from
			s.data = s.data[:from-s.off]
			d.spans = append(d.spans, span{})
			copy(d.spans[i+2:], d.spans[i+1:])
			d.spans[i+1] = right
			return i + 1
		}
		d.bytes -= s.end() - from
		s.data = s.data[:from-s.off]
		i++
	}
	j := i
	for j < len(d.spans) && d.spans[j].end() <= to {
		d.bytes -= uint64(len(d.spans[j].data))
		d.spans[j].release()
		j++
	}
	if j < len(d.spans) && d.spans[j].off < to {
		s := &d.spans[j]
		k := to - s.off
		d.bytes -= k
		s.off, s.data = to, s.data[k:]
	}
	d.remove(i, j)
	return i
}

func (d *dirtySet) remove(i, j int) {
	if i == j {
		return
	}
	n := copy(d.spans[i:], d.spans[j:])
	clear(d.spans[i+n:])
	d.spans = d.spans[:i+n]
}

// capture marks the spans that intersect [from, to) as belonging to batch, and
// returns copies that keep their memory alive, at most maxBytes (but at least
// one span). Spans already captured are skipped.
func (d *dirtySet) capture(from, to, batch uint64, maxBytes int) (got []span, more bool) {
	bytes := 0
	for i := d.first(from); i < len(d.spans) && d.spans[i].off < to; i++ {
		s := &d.spans[i]
		if s.batch != 0 {
			continue
		}
		if len(got) > 0 && bytes+len(s.data) > maxBytes {
			return got, true
		}
		s.batch = batch
		if s.owner != nil {
			s.owner.Retain()
		}
		got = append(got, *s)
		bytes += len(s.data)
	}
	return got, false
}

// settle ends a flush: its pieces leave the set when it committed, else they
// become plain dirty bytes again.
func (d *dirtySet) settle(batch uint64, committed bool) {
	out := d.spans[:0]
	for i := range d.spans {
		s := d.spans[i]
		if s.batch == batch {
			if committed {
				d.bytes -= uint64(len(s.data))
				s.release()
				continue
			}
			s.batch = 0
		}
		out = append(out, s)
	}
	clear(d.spans[len(out):])
	d.spans = out
}

// overlay copies the dirty bytes within [off, off+len(dst)) over dst.
func (d *dirtySet) overlay(off uint64, dst []byte) {
	end := off + uint64(len(dst))
	for i := d.first(off); i < len(d.spans) && d.spans[i].off < end; i++ {
		s := &d.spans[i]
		if s.off >= off {
			copy(dst[s.off-off:], s.data)
		} else {
			copy(dst, s.data[off-s.off:])
		}
	}
}

// dirty tells whether there is a byte in [from, to).
func (d *dirtySet) dirty(from, to uint64) bool {
	i := d.first(from)
	return i < len(d.spans) && d.spans[i].off < to
}

// covers tells whether every byte of [off, end) is dirty.
func (d *dirtySet) covers(off, end uint64) bool {
	for i := d.first(off); off < end; i++ {
		if i == len(d.spans) || d.spans[i].off > off {
			return false
		}
		off = d.spans[i].end()
	}
	return true
}

// drop forgets everything.
func (d *dirtySet) drop() {
	for i := range d.spans {
		d.spans[i].release()
	}
	d.spans, d.bytes = nil, 0
}
