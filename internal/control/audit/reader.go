package audit

import (
	"os"
	"slices"
)

// readBytes is read at once, and holds any record.
const readBytes = 256 << 10

// reader goes through a spool from some record on. It belongs to one goroutine.
type reader struct {
	s    *spool
	next uint64
	seg  uint64 // first record of the segment that f reads
	at   uint64 // number of the record that comes next in it
	f    *os.File
	off  int64 // bytes of the segment that were read into buf
	buf  []byte
	rest []byte // what of buf is still to be decoded
	seen uint64 // number of the first record that was not in a file when there was nothing to read
}

func (s *spool) readFrom(seq uint64) *reader { return &reader{s: s, next: seq} }

// resume begins where records must be sent again, see [ResendBytes].
func (s *spool) resume() *reader {
	s.mu.Lock()
	pos := s.mu.pos
	from, total, newest := pos.Sent+1, int64(0), true
	for _, g := range slices.Backward(s.mu.segments) {
		if g.first > pos.Sent || total >= s.resendBytes {
			continue
		}
		from = g.first
		if !newest { // of which little may have been sent
			total += g.bytes
		}
		newest = false
	}
	s.mu.Unlock()
	type item struct {
		seq   uint64
		bytes int64
	}
	var window []item
	total = 0
	scan := s.readFrom(from)
	defer scan.close()
	for {
		e, ok := scan.read()
		if !ok || e.seq > pos.Sent {
			break
		}
		if pos.At.UnixNano()-e.time > int64(ResendTime) {
			continue
		}
		n := int64(headBytes + len(e.text))
		window = append(window, item{e.seq, n})
		for total += n; total > s.resendBytes; window = window[1:] {
			total -= window[0].bytes
		}
	}
	if len(window) > 0 {
		return s.readFrom(window[0].seq)
	}
	return s.readFrom(pos.Sent + 1)
}

// read answers the next record, false if there is none yet. Its text is good
// until the next call.
func (r *reader) read() (entry, bool) {
	for {
		e, size, err := decode(r.rest)
		switch {
		case err != nil || size > 0 && e.seq != r.at: // damaged: the rest of the segment is lost
			r.close()
			r.next = max(r.next, r.seg+1)
			if !r.fill(true) {
				return entry{}, false
			}
		case size == 0:
			if !r.fill(false) {
				return entry{}, false
			}
		default:
			r.rest = r.rest[size:]
			r.at++
			if e.seq >= r.next {
				r.next = e.seq + 1
				return e, true
			}
		}
	}
}

// fill reads on, in the present segment or, if that is at its end or skip is
// set, the next.
func (r *reader) fill(skip bool) bool {
	for {
		seg, bytes, ok := r.place(skip)
		if !ok {
			return false
		}
		if r.f == nil || seg != r.seg {
			r.close()
			f, err := os.Open(r.s.segment(seg))
			if err != nil {
				return false
			}
			r.f, r.seg, r.at = f, seg, seg
		}
		if r.buf == nil {
			r.buf = make([]byte, readBytes)
		}
		have := copy(r.buf, r.rest)
		n, _ := r.f.ReadAt(r.buf[have:min(int64(len(r.buf)), int64(have)+bytes-r.off)], r.off)
		if n == 0 { // cannot be read: it is skipped
			r.rest, skip = nil, true
			continue
		}
		r.off += int64(n)
		r.rest = r.buf[:have+n]
		return true
	}
}

// place answers the segment to read on in and its length; false if nothing is
// there yet.
func (r *reader) place(skip bool) (first uint64, bytes int64, ok bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	segs := r.s.mu.segments
	r.seen = r.s.filed()
	if r.f != nil && !skip {
		for i, g := range segs {
			switch {
			case g.first != r.seg:
			case r.off < g.bytes:
				return g.first, g.bytes, true
			case i == len(segs)-1:
				return 0, 0, false
			}
		}
	}
	// The last that begins at or before the next record, else the first after.
	for _, g := range segs {
		if g.first <= r.seg && r.seg != 0 {
			continue
		}
		if !ok || g.first <= r.next {
			first, bytes, ok = g.first, g.bytes, g.bytes > 0
		}
	}
	return first, bytes, ok
}

func (r *reader) close() {
	if r.f != nil {
		_ = r.f.Close() // it was only read
		r.f = nil
	}
	r.off, r.rest = 0, nil
}

// ready tells whether there is more than there was when read found nothing.
func (r *reader) ready() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.seen < r.s.mu.next
}
