package audit

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
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
// first record. A record is its length and CRC-32C, 4 bytes each, and then,
// counted and summed by them, sequence number and nanoseconds since 1970, 8
// bytes each, all big-endian, and the text. Numbers within a segment grow by
// one; a torn end is cut off. The file "position" says what was sent.
//
// A record comes into the file "intake" first, which is mapped into memory, so
// that it outlives the process however that ends, and costs no system call. A
// full intake is written to the segment at once and then written over: its few
// pages stay in the processor's cache, and mapping ever new ones would cost more
// than all else that is done for a record. What of it is in the segments
// already is told by the numbers.
type spool struct {
	dir          string
	limit        int64
	segmentBytes int64
	resendBytes  int64

	mu struct {
		sync.Mutex
		segments []segment // what is in files; the last is written to if current is set
		current  *output
		old      []*output // full, to be closed by sync
		intake   []byte    // mapped
		from     int64     // what is to be written of intake, up to used; before are older records
		used     int64
		first    uint64 // sequence number of the first record in it
		next     uint64 // sequence number of the next record
		stored   uint64 // records since the start of the process
		bytes    int64  // of segments and intake
		pos      position
		moved    bool // pos is not on disk
		closed   bool
	}
}

type segment struct {
	first uint64
	bytes int64
}

// output is a segment that is written to.
type output struct {
	f     *os.File
	used  int64
	clean int64 // what of used is on disk
}

type position struct {
	// Sent is the last sequence number that was written to a connection.
	Sent uint64    `json:"sent"`
	At   time.Time `json:"at"`
	// Next is a lower bound of the next sequence number.
	Next uint64 `json:"next"`
	// Dropped records are not reported yet.
	Dropped uint64 `json:"dropped,omitempty"`
}

// entry is a stored record.
type entry struct {
	seq  uint64
	time int64 // nanoseconds since 1970
	text []byte
}

var errFull = errors.New("the spool is full")

const (
	maxSegment = 4 << 20
	// intakeBytes hold any record, and what comes while a disk is full;
	// intakeFull are written to the segment.
	intakeBytes = 256 << 10
	intakeFull  = 64 << 10
	maxText     = 128 << 10
	sumBytes    = 8  // length and checksum
	headBytes   = 24 // those, sequence number, time
	segmentExt  = ".records"
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func openSpool(dir string, limit int64) (*spool, error) {
	err := os.Mkdir(dir, 0o700)
	switch {
	case err == nil:
		err = syncNames(filepath.Dir(dir))
	case errors.Is(err, os.ErrExist):
		err = nil
	}
	if err != nil {
		return nil, err
	}
	s := &spool{dir: dir, limit: limit, segmentBytes: max(4096, min(maxSegment, limit/8)), resendBytes: min(ResendBytes, limit/4)}
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
		n, ok := strings.CutSuffix(e.Name(), segmentExt)
		first, err := strconv.ParseUint(n, 10, 64)
		if !ok || err != nil {
			continue
		}
		last, good, err := s.check(first)
		if err != nil {
			return nil, err
		}
		s.mu.next = max(s.mu.next, last+1, first)
		if good == 0 {
			if err := os.Remove(s.segment(first)); err != nil {
				return nil, err
			}
			continue
		}
		s.mu.segments = append(s.mu.segments, segment{first, good})
		s.mu.bytes += good
	}
	slices.SortFunc(s.mu.segments, func(a, b segment) int { return cmp.Compare(a.first, b.first) })
	if err := s.openIntake(); err != nil {
		return nil, err
	}
	return s, nil
}

// openIntake maps it and takes over what an earlier process left there.
func (s *spool) openIntake() error {
	f, err := os.OpenFile(s.path("intake"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close() // memory stays mapped
	// Blocks first: memory behind which there is no room on disk is a trap.
	err = unix.EINTR
	for errors.Is(err, unix.EINTR) {
		err = unix.Fallocate(int(f.Fd()), 0, 0, intakeBytes)
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = lengthen(f, intakeBytes)
	}
	if err != nil {
		return err
	}
	if s.mu.intake, err = unix.Mmap(int(f.Fd()), 0, intakeBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	for last := uint64(0); ; {
		e, size, err := decode(s.mu.intake[s.mu.used:])
		if err != nil || size == 0 || last != 0 && e.seq != last+1 {
			break // behind the last are zeros or older records
		}
		last = e.seq
		if s.mu.used == s.mu.from && e.seq < s.mu.next { // it is in a segment, or was
			s.mu.from += int64(size)
		} else {
			if s.mu.used == s.mu.from {
				s.mu.first = e.seq
			}
			s.mu.next = e.seq + 1
			s.mu.bytes += int64(size)
		}
		s.mu.used += int64(size)
	}
	if s.mu.from == s.mu.used {
		s.mu.from, s.mu.used = 0, 0
	}
	return nil
}

// lengthen writes zeros up to a size, for file systems that do not preallocate.
func lengthen(f *os.File, size int64) error {
	st, err := f.Stat()
	if err != nil || st.Size() >= size {
		return err
	}
	_, err = f.WriteAt(make([]byte, size-st.Size()), st.Size())
	return err
}

func (s *spool) path(name string) string { return filepath.Join(s.dir, name) }
func (s *spool) segment(f uint64) string { return s.path(fmt.Sprintf("%020d%s", f, segmentExt)) }

// check reads a segment and cuts off what was not written whole.
func (s *spool) check(first uint64) (last uint64, good int64, err error) {
	f, err := os.OpenFile(s.segment(first), os.O_RDWR, 0o600)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	b := make([]byte, 1<<20)
	next := first
	for have, off := 0, int64(0); off < st.Size(); {
		n, err := f.ReadAt(b[have:min(int64(len(b)), int64(have)+st.Size()-off)], off)
		if n == 0 {
			return 0, 0, err
		}
		off += int64(n)
		have += n
		at := 0
		for {
			e, size, err := decode(b[at:have])
			if err != nil || size > 0 && e.seq != next {
				return last, good, f.Truncate(good) // damaged
			}
			if size == 0 {
				break // more is to be read
			}
			next++
			at += size
			last, good = e.seq, good+int64(size)
		}
		have = copy(b, b[at:have])
	}
	return last, good, f.Truncate(good)
}

var errDamaged = errors.New("audit: record damaged")

// decode answers the first record in b and its size, 0 if b does not hold all
// of it. The text lies in b.
func decode(b []byte) (e entry, size int, err error) {
	if len(b) < sumBytes {
		return e, 0, nil
	}
	n := int(binary.BigEndian.Uint32(b))
	if n < headBytes-sumBytes || n > headBytes-sumBytes+maxText {
		return e, 0, errDamaged
	}
	if len(b) < sumBytes+n {
		return e, 0, nil
	}
	body := b[sumBytes : sumBytes+n]
	if crc32.Checksum(body, crcTable) != binary.BigEndian.Uint32(b[4:]) {
		return e, 0, errDamaged
	}
	return entry{binary.BigEndian.Uint64(body), int64(binary.BigEndian.Uint64(body[8:])), body[16:]}, sumBytes + n, nil
}

// encode puts a record into b, which has just the room.
func encode(b []byte, seq uint64, at int64, text []byte) {
	binary.BigEndian.PutUint32(b, uint32(len(b)-sumBytes))
	binary.BigEndian.PutUint64(b[sumBytes:], seq)
	binary.BigEndian.PutUint64(b[sumBytes+8:], uint64(at))
	copy(b[headBytes:], text)
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[sumBytes:], crcTable))
}

// append numbers and stores a record; errFull if there is no room. What was
// dropped before is reported first: report renders that.
func (s *spool) append(at int64, text []byte, report func(dropped uint64) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return os.ErrClosed
	}
	err := s.reportDropped(at, report)
	if err == nil {
		err = s.put(at, text)
	}
	if err != nil {
		s.mu.pos.Dropped++
		s.mu.moved = true
	}
	return err
}

// reportDropped stores how many records were dropped, if any were. mu is held.
func (s *spool) reportDropped(at int64, report func(dropped uint64) []byte) error {
	if s.mu.pos.Dropped == 0 {
		return nil
	}
	if s.mu.bytes+2*headBytes > s.limit {
		return errFull // before it is rendered in vain, time and again
	}
	err := s.put(at, report(s.mu.pos.Dropped))
	if err == nil {
		s.mu.pos.Dropped, s.mu.moved = 0, true
	}
	return err
}

// put stores a record. mu is held.
func (s *spool) put(at int64, text []byte) error {
	size := int64(headBytes + len(text))
	if len(text) > maxText || size > s.segmentBytes {
		return errors.New("audit: a record is too long")
	}
	if s.mu.bytes+size > s.limit {
		return errFull
	}
	if s.mu.used-s.mu.from+size > min(intakeFull, s.segmentBytes) || s.mu.used+size > intakeBytes {
		if err := s.flush(); err != nil && s.mu.used+size > intakeBytes {
			return err
		}
	}
	if s.mu.used == 0 {
		s.mu.first = s.mu.next
	}
	encode(s.mu.intake[s.mu.used:s.mu.used+size], s.mu.next, at, text)
	s.mu.used += size
	s.mu.bytes += size
	s.mu.next++
	s.mu.stored++
	return nil
}

// flush writes the intake to the segment. mu is held.
func (s *spool) flush() error {
	if s.mu.used == 0 {
		return nil
	}
	part := s.mu.intake[s.mu.from:s.mu.used]
	if o := s.mu.current; o == nil || o.used > 0 && o.used+int64(len(part)) > s.segmentBytes {
		f, err := os.OpenFile(s.segment(s.mu.first), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if o != nil {
			s.mu.old = append(s.mu.old, o)
		}
		s.mu.current = &output{f: f}
		s.mu.segments = append(s.mu.segments, segment{first: s.mu.first})
	}
	o := s.mu.current
	if _, err := o.f.WriteAt(part, o.used); err != nil {
		return err // what was written of it will be written over
	}
	o.used += int64(len(part))
	s.mu.segments[len(s.mu.segments)-1].bytes = o.used
	s.mu.from, s.mu.used = 0, 0
	return nil
}

// file brings what was appended to where readers look for it.
func (s *spool) file() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flush()
}

// filed answers the number of the first record that is not in a segment yet.
// mu is held.
func (s *spool) filed() uint64 {
	if s.mu.used > 0 {
		return s.mu.first
	}
	return s.mu.next
}

// close makes the file durable and lets go of it.
func (o *output) close() error { return errors.Join(o.f.Sync(), o.f.Close()) }

// trim removes segments whose records everybody has up to the sequence number
// done and that will not be sent again.
func (s *spool) trim(done uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	total := int64(0)
	keep := len(s.mu.segments) - 1 // the last is written to
	for ; keep > 0; keep-- {
		// All of the one before is done if this begins no later than what is next.
		if s.mu.segments[keep].first > done+1 {
			continue
		}
		if total += s.mu.segments[keep].bytes; total >= s.resendBytes {
			break
		}
	}
	for ; keep > 0; keep-- {
		if err := os.Remove(s.segment(s.mu.segments[0].first)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		s.mu.bytes -= s.mu.segments[0].bytes
		s.mu.segments = s.mu.segments[1:]
	}
	return nil
}

// sync makes durable what was stored and where the sender is.
func (s *spool) sync() error {
	s.mu.Lock()
	err := s.flush()
	old := s.mu.old
	s.mu.old = nil
	m := s.mu.current
	used := int64(0)
	if m != nil {
		used = m.used
	}
	moved := s.mu.moved
	s.mu.moved = false
	pos := s.position()
	pos.Next = s.filed() // else what is in the intake would count as older
	s.mu.Unlock()
	fresh := m != nil && m.clean == 0 // a file whose name may not be on disk
	for _, m := range old {
		fresh = fresh || m.clean == 0
		err = errors.Join(err, m.close())
	}
	if fresh {
		err = errors.Join(err, syncNames(s.dir))
	}
	// Only sync and close close files, and their caller is one.
	if m != nil && used > m.clean {
		err = errors.Join(err, unix.Fdatasync(int(m.f.Fd())))
		m.clean = used
		moved = true
	}
	if moved || len(old) > 0 {
		err = errors.Join(err, s.writePosition(pos))
	}
	return err
}

// syncNames makes the names in a directory durable.
func syncNames(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// position as it is to be written. mu is held.
func (s *spool) position() position {
	p := s.mu.pos
	p.Next = s.mu.next
	return p
}

// writePosition replaces the file whole.
func (s *spool) writePosition(p position) error {
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
	s.mu.pos.Sent, s.mu.pos.At, s.mu.moved = max(seq, s.mu.pos.Sent), at, true
}

// state answers what was sent last, what was dropped and not reported, and how
// many bytes there are.
func (s *spool) state() (p position, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position(), s.mu.bytes
}

func (s *spool) count() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.stored
}

func (s *spool) close() error {
	err := s.sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	pos := s.position()
	pos.Next = s.filed()
	if m := s.mu.current; m != nil {
		err = errors.Join(err, m.close())
		s.mu.current = nil
	}
	if s.mu.intake != nil {
		err = errors.Join(err, unix.Munmap(s.mu.intake))
		s.mu.intake, s.mu.from, s.mu.used = nil, 0, 0
	}
	s.mu.closed = true
	return errors.Join(err, s.writePosition(pos))
}

// flushDropped reports what was dropped, if there is room.
func (s *spool) flushDropped(at int64, report func(dropped uint64) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reportDropped(at, report)
}
