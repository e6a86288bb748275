package segment

import (
	"encoding/binary"

	"manifold/internal/data"
)

const (
	spareSuffix = ".spare"
	// pageBytes is the unit in which a reused file is written: a part of a page
	// that is not in memory would have to be read first.
	pageBytes = 4096
)

// spare is the file of a removed segment that will become a new one. Its blocks
// are allocated and often in memory, so that writing over them takes neither a
// block, a page nor a journal. What it holds means nothing.
type spare struct {
	num   uint64 // of the segment it was
	bytes int64
}

func (s spare) name() string { return nameWith(s.num, spareSuffix) }

// wantsSpare tells whether the file of a segment to be removed shall be kept.
func (s *Store) wantsSpare(sg *seg) bool {
	s.mu.Lock()
	bytes, total := sg.bytes, s.spareBytes()
	s.mu.Unlock()
	if bytes != s.o.SegmentBytes || bytes%pageBytes != 0 || total+bytes > s.o.SpareBytes {
		return false
	}
	_, free, err := s.disk.Space()
	return err == nil && free >= uint64(2*s.o.ReserveBytes) && uint64(total+bytes) <= free/8
}

// spareBytes needs mu.
func (s *Store) spareBytes() (n int64) {
	for _, sp := range s.mu.spares {
		n += sp.bytes
	}
	return n
}

// adopt makes a spare file the segment of the next number; nil if there is
// none. Needs create.
func (s *Store) adopt() *seg {
	for {
		var sp *spare
		s.mu.Lock()
		for i := len(s.mu.spares) - 1; i >= 0 && sp == nil; i-- { // the last is the likeliest in memory
			if c := s.mu.spares[i]; c.bytes == s.o.SegmentBytes && c.bytes%pageBytes == 0 {
				sp = &c
				s.mu.spares = append(s.mu.spares[:i], s.mu.spares[i+1:]...)
			}
		}
		num := s.mu.next
		if sp != nil {
			s.mu.next++
		}
		s.mu.Unlock()
		if sp == nil {
			return nil
		}
		f, err := s.disk.Adopt(sp.name(), nameOf(num), headOf(num))
		if err == nil {
			s.count.reused.Add(1)
			return &seg{num: num, file: f, bytes: sp.bytes, end: pageBytes, mine: true, reused: true}
		}
		// Whatever is wrong with it: others serve as well.
		_ = s.disk.Remove(sp.name())
		_ = s.disk.Remove(nameOf(num))
	}
}

// dropSpares gives the files back to the disk; it tells whether there were any.
func (s *Store) dropSpares() (dropped bool, err error) {
	s.mu.Lock()
	all := s.mu.spares
	s.mu.spares = nil
	s.mu.Unlock()
	for i, sp := range all {
		if err := s.removeFile(sp.name()); err != nil {
			s.mu.Lock()
			s.mu.spares = append(s.mu.spares, all[i:]...)
			s.mu.Unlock()
			return dropped, err
		}
		dropped = true
	}
	return dropped, nil
}

// headOf is the first page of a reused file: whatever lies in it that does not
// say this number is of before.
func headOf(num uint64) []byte {
	h := make([]byte, pageBytes)
	binary.BigEndian.PutUint32(h, headMagic)
	binary.BigEndian.PutUint32(h[4:], 1)
	binary.BigEndian.PutUint64(h[8:], num)
	binary.BigEndian.PutUint32(h[20:], data.Sum(data.ExtentID(num), h[:20]))
	return h
}

// isHead tells whether h begins with the head of segment num.
func isHead(h []byte, num uint64) bool {
	return len(h) >= headerBytes && [headerBytes]byte(h) == [headerBytes]byte(headOf(num))
}
