package audit

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ResendBytes and ResendTime bound what is sent again after a reconnect or
// restart: a syslog server acknowledges nothing, so what it was sent last may
// have been lost with its buffers. Sent again is what came last of at most so
// many bytes and in that time before the connection was last used.
const (
	ResendBytes = 8 << 20
	ResendTime  = 10 * time.Minute
)

// A spool is a directory of segments, each named by the sequence number of its
// first record. A record is its length and CRC-32C, 4 bytes each, big-endian,
// and JSON. A torn end is cut off. The file "position" says what was sent.
type spool struct {
	dir   string
	limit int64

	mu struct {
		sync.Mutex
		segments []segment
		out      *os.File // last segment, open for appending
		next     uint64   // sequence number of the next record
		bytes    int64
		pos      position
		dirty    bool
	}
}

type segment struct {
	first uint64
	bytes int64
}

type position struct {
	// Sent is the last sequence number that was written to a connection.
	Sent uint64    `json:"sent"`
	At   time.Time `json:"at"`
	// Next is a lower bound of the next sequence number.
	Next uint64 `json:"next"`
}

var errFull = errors.New("the spool is full")

const (
	segmentBytes = 4 << 20
	maxRecord    = 256 << 10
	headBytes    = 8
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func openSpool(dir string, limit int64) (*spool, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	s := &spool{dir: dir, limit: limit}
	s.mu.next = 1
	switch b, err := os.ReadFile(s.path("position")); {
	case err == nil:
		if json.Unmarshal(b, &s.mu.pos) == nil { // else all is sent again
			s.mu.next = max(s.mu.next, s.mu.pos.Next, s.mu.pos.Sent+1)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range names {
		n, ok := strings.CutSuffix(e.Name(), ".audit")
		first, err := strconv.ParseUint(n, 10, 64)
		if !ok || err != nil {
			continue
		}
		last, good, err := s.check(first)
		if err != nil {
			return nil, err
		}
		s.mu.segments = append(s.mu.segments, segment{first, good})
		s.mu.bytes += good
		s.mu.next = max(s.mu.next, last+1, first)
	}
	slices.SortFunc(s.mu.segments, func(a, b segment) int { return compare(a.first, b.first) })
	return s, nil
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (s *spool) path(name string) string   { return filepath.Join(s.dir, name) }
func (s *spool) segment(f uint64) string   { return s.path(fmt.Sprintf("%020d.audit", f)) }
func decodeRecord(b []byte) (Record, bool) { var r Record; return r, json.Unmarshal(b, &r) == nil }

// check reads a segment and cuts off what was not written whole.
func (s *spool) check(first uint64) (last uint64, good int64, err error) {
	f, err := os.OpenFile(s.segment(first), os.O_RDWR, 0o600)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for {
		b, err := readRecord(r)
		if err != nil {
			break
		}
		rec, ok := decodeRecord(b)
		if !ok {
			break
		}
		last = rec.Seq
		good += headBytes + int64(len(b))
	}
	return last, good, f.Truncate(good)
}

// readRecord answers one record; any error means that there are no more.
func readRecord(r io.Reader) ([]byte, error) {
	var h [headBytes]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(h[:])
	if n > maxRecord {
		return nil, errors.New("audit: record too long")
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	if crc32.Checksum(b, crcTable) != binary.BigEndian.Uint32(h[4:]) {
		return nil, errors.New("audit: record damaged")
	}
	return b, nil
}

// append numbers and stores records, as many as fit, and answers how many.
func (s *spool) append(rs []Record) (stored int, err error) {
	if len(rs) == 0 {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trim()
	var buf []byte
	flush := func(n int) error {
		if len(buf) == 0 {
			return nil
		}
		if _, err := s.mu.out.Write(buf); err != nil {
			// What part got through is not known: the next start cuts it off.
			_ = s.mu.out.Close()
			s.mu.out = nil
			return err
		}
		last := len(s.mu.segments) - 1
		s.mu.segments[last].bytes += int64(len(buf))
		s.mu.bytes += int64(len(buf))
		s.mu.dirty = true
		stored, buf = n, nil
		return nil
	}
	for i := range rs {
		if s.mu.bytes+int64(len(buf)) >= s.limit {
			return stored, errors.Join(flush(i), errFull)
		}
		if s.mu.out == nil || s.mu.segments[len(s.mu.segments)-1].bytes+int64(len(buf)) >= segmentBytes {
			if err := errors.Join(flush(i), s.rotate()); err != nil {
				return stored, err
			}
		}
		rs[i].Seq = s.mu.next
		b, err := json.Marshal(&rs[i])
		if err != nil || len(b) > maxRecord {
			return stored, errors.Join(flush(i), err, errors.New("audit: record cannot be stored"))
		}
		s.mu.next++
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(b)))
		buf = binary.BigEndian.AppendUint32(buf, crc32.Checksum(b, crcTable))
		buf = append(buf, b...)
	}
	err = flush(len(rs))
	return stored, err
}

// rotate begins a segment. mu is held.
func (s *spool) rotate() error {
	if s.mu.out != nil {
		if err := errors.Join(s.mu.out.Sync(), s.mu.out.Close()); err != nil {
			return err
		}
		s.mu.out = nil
	}
	f, err := os.OpenFile(s.segment(s.mu.next), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	s.mu.out = f
	if n := len(s.mu.segments); n == 0 || s.mu.segments[n-1].first != s.mu.next {
		s.mu.segments = append(s.mu.segments, segment{first: s.mu.next})
	}
	return nil
}

// trim removes segments whose records were sent and will not be again. mu is held.
func (s *spool) trim() {
	total := int64(0)
	keep := len(s.mu.segments) - 1 // the last is written to
	for ; keep > 0; keep-- {
		if s.mu.segments[keep].first > s.mu.pos.Sent {
			continue
		}
		if total += s.mu.segments[keep].bytes; total >= ResendBytes {
			break
		}
	}
	for i := 0; i < keep; i++ {
		if err := os.Remove(s.segment(s.mu.segments[0].first)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return
		}
		s.mu.bytes -= s.mu.segments[0].bytes
		s.mu.segments = s.mu.segments[1:]
	}
}

// sync makes durable what was stored and where the sender is.
func (s *spool) sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.out == nil || !s.mu.dirty {
		return nil
	}
	s.mu.dirty = false
	return errors.Join(s.mu.out.Sync(), s.writePosition())
}

// writePosition replaces the file whole. mu is held.
func (s *spool) writePosition() error {
	p := s.mu.pos
	p.Next = s.mu.next
	b, err := json.Marshal(p)
	if err == nil {
		err = os.WriteFile(s.path("position.new"), b, 0o600)
	}
	if err == nil {
		err = os.Rename(s.path("position.new"), s.path("position"))
	}
	return err
}

// sent notes the last record that went out.
func (s *spool) sent(seq uint64, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.pos.Sent, s.mu.pos.At, s.mu.dirty = max(seq, s.mu.pos.Sent), at, true
}

func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.writePosition()
	if s.mu.out != nil {
		err = errors.Join(err, s.mu.out.Sync(), s.mu.out.Close())
		s.mu.out = nil
	}
	return err
}

// reader goes through a spool from some record on.
type reader struct {
	s    *spool
	next uint64
	seg  uint64 // segment that f reads
	f    *os.File
	r    *bufio.Reader
	off  int64 // bytes of the segment that were read
}

// resume begins where records must be sent again, see [ResendBytes].
func (s *spool) resume() *reader {
	s.mu.Lock()
	pos, segs := s.mu.pos, slices.Clone(s.mu.segments)
	s.mu.Unlock()
	r := &reader{s: s, next: pos.Sent + 1}
	if len(segs) == 0 {
		return r
	}
	type item struct {
		seq   uint64
		bytes int64
	}
	var window []item
	total := int64(0)
	scan := &reader{s: s, next: segs[0].first}
	defer scan.close()
	for {
		rec, n, ok := scan.read()
		if !ok || rec.Seq > pos.Sent {
			break
		}
		if pos.At.Sub(rec.Time) > ResendTime {
			continue
		}
		window = append(window, item{rec.Seq, n})
		for total += n; total > ResendBytes; window = window[1:] {
			total -= window[0].bytes
		}
	}
	if len(window) > 0 {
		r.next = window[0].seq
	}
	return r
}

// read answers the next record, false if there is none yet.
func (r *reader) read() (Record, int64, bool) {
	for {
		if r.f == nil && !r.open() {
			return Record{}, 0, false
		}
		r.s.mu.Lock()
		end, last := int64(0), true
		for i, g := range r.s.mu.segments {
			if g.first == r.seg {
				end, last = g.bytes, i == len(r.s.mu.segments)-1
			}
		}
		r.s.mu.Unlock()
		if r.off >= end {
			if last {
				return Record{}, 0, false
			}
			r.close()
			continue
		}
		b, err := readRecord(r.r)
		rec, ok := Record{}, false
		if err == nil {
			rec, ok = decodeRecord(b)
		}
		if !ok { // damaged: the rest of the segment is lost
			r.off = end
			r.next = max(r.next, r.seg+1)
			continue
		}
		n := headBytes + int64(len(b))
		r.off += n
		if rec.Seq < r.next {
			continue
		}
		r.next = rec.Seq + 1
		return rec, n, true
	}
}

// open finds the segment of the next record: the last that begins at or before
// it, else the first one after.
func (r *reader) open() bool {
	r.s.mu.Lock()
	var seg uint64
	found := false
	for _, g := range r.s.mu.segments {
		if g.first <= r.next && (g.first > r.seg || r.seg == 0) || !found && g.first > r.seg {
			seg, found = g.first, true
		}
	}
	r.s.mu.Unlock()
	if !found {
		return false
	}
	f, err := os.Open(r.s.segment(seg))
	if err != nil {
		return false
	}
	r.f, r.r, r.seg, r.off = f, bufio.NewReaderSize(f, 64<<10), seg, 0
	return true
}

func (r *reader) close() {
	if r.f != nil {
		_ = r.f.Close() // it was only read
		r.f = nil
	}
}
