package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func noReport(uint64) []byte { return []byte("dropped") }

func newSpool(t *testing.T, dir string, limit int64) *spool {
	t.Helper()
	s, err := openSpool(dir, limit)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *spool) mustAppend(t *testing.T, n int) {
	t.Helper()
	for range n {
		if err := s.append(time.Now().UnixNano(), fmt.Appendf(nil, "record %d", s.mu.next), noReport); err != nil {
			t.Fatal(err)
		}
	}
}

// A process that is killed writes nothing more: what it had appended is there.
func TestSpool_killed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	next := 1
	for range 3 {
		s := newSpool(t, dir, 1<<20)
		s.mustAppend(t, 5000) // over several segments
		next += 5000
		kill(s)
		s = newSpool(t, dir, 1<<20)
		got := stored(s)
		if len(got) != next-1 || got[len(got)-1] != fmt.Sprint("record ", next-1) || s.mu.next != uint64(next) {
			t.Fatalf("%d records, next is %d, want %d", len(got), s.mu.next, next)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What was not written whole is cut off; the rest is read.
func TestSpool_torn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	s := newSpool(t, dir, 1<<20)
	s.mustAppend(t, 10)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	path := s.segment(1)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut <= headBytes+len("record 10"); cut += 3 {
		for _, torn := range [][]byte{whole[:len(whole)-cut], append(whole[:len(whole)-cut:len(whole)-cut], make([]byte, 10_000)...)} {
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			s := newSpool(t, dir, 1<<20)
			if got := stored(s); len(got) != 9 || s.mu.next != 11 {
				t.Fatalf("cut %d: %d records, next %d", cut, len(got), s.mu.next)
			}
		}
	}
}

// Segments that were sent go, but for those that may be sent again.
func TestSpool_trim(t *testing.T) {
	s := newSpool(t, filepath.Join(t.TempDir(), "audit"), 80<<10)
	r := s.readFrom(1)
	defer r.close()
	at := time.Now()
	for range 20 {
		s.mustAppend(t, 500)
		if err := s.file(); err != nil {
			t.Fatal(err)
		}
		var last entry
		for {
			e, ok := r.read()
			if !ok {
				break
			}
			if e.seq != last.seq+1 && last.seq != 0 {
				t.Fatalf("%d after %d", e.seq, last.seq)
			}
			last = e
		}
		s.sent(last.seq, at)
		if err := s.trim(last.seq); err != nil {
			t.Fatal(err)
		}
	}
	p, bytes := s.state()
	if p.Sent != 10_000 || bytes > s.resendBytes+2*s.segmentBytes {
		t.Errorf("%+v, %d bytes", p, bytes)
	}
	again := s.resume()
	defer again.close()
	size, n := int64(0), 0
	for {
		e, ok := again.read()
		if !ok {
			break
		}
		size += headBytes + int64(len(e.text))
		n++
	}
	if size > s.resendBytes || size < s.resendBytes-100 || again.next != 10_001 {
		t.Errorf("%d records of %d bytes would be sent again, next %d", n, size, again.next)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// What an intake still holds of records that are in a segment, or behind the
// last, is none of what is left in it, however often the process is killed.
func TestSpool_intake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	last, behind := uint64(0), 0
	for round, n := range []int{100, 1, 30, 5000, 7, 0, 0, 3} {
		s := newSpool(t, dir, 1<<20)
		if s.mu.next != last+1 {
			t.Fatalf("round %d: next is %d, want %d", round, s.mu.next, last+1)
		}
		for range n { // of one size, so that new ones end where old ones begin
			if err := s.append(time.Now().UnixNano(), fmt.Appendf(nil, "record %08d", s.mu.next), noReport); err != nil {
				t.Fatal(err)
			}
		}
		if last = s.mu.next - 1; round%3 == 2 {
			if err := s.file(); err != nil {
				t.Fatal(err)
			}
		}
		if s.mu.used > 0 && s.mu.intake[s.mu.used+3] != 0 {
			behind++
		}
		kill(s)
	}
	s := newSpool(t, dir, 1<<20)
	got := stored(s)
	if behind < 2 || uint64(len(got)) != last || s.mu.next != last+1 {
		t.Fatalf("%d records, next is %d, want %d; %d times there were older ones behind the last", len(got), s.mu.next, last, behind)
	}
	for i, x := range got {
		if want := fmt.Sprintf("record %08d", i+1); x != want {
			t.Fatalf("%s where %s was due", x, want)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// Records wait in the intake while no segment can be written, as on a full
// disk, also over a kill; what finds no room is refused.
func TestSpool_noSegment(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "audit")
	s := newSpool(t, dir, 1<<20)
	s.mustAppend(t, 5)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	s = newSpool(t, dir, 1<<20)
	inWay := s.segment(6)
	if err := os.Mkdir(inWay, 0o700); err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; s.append(1, make([]byte, 1000), noReport) == nil; n++ {
	}
	if want := intakeBytes / (1000 + headBytes); n != want {
		t.Fatalf("%d records were taken, want %d", n, want)
	}
	if s.sync() == nil {
		t.Error("what could not be written was not reported")
	}
	kill(s)
	if err := os.Remove(inWay); err != nil {
		t.Fatal(err)
	}
	s = newSpool(t, dir, 1<<20)
	if got := stored(s); len(got) != 5+n {
		t.Errorf("%d records, want %d", len(got), 5+n)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// Where nothing can be preallocated, what is there stays.
func TestLengthen(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("abc"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := lengthen(f, 100); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(f.Name())
		if err != nil || len(b) != 100 || string(b[:4]) != "abc\x00" {
			t.Errorf("%q, %v", b, err)
		}
	}
}

// kill leaves a spool as a process does that is killed.
func kill(s *spool) {
	for _, o := range append(s.mu.old, s.mu.current) {
		if o != nil {
			_ = o.f.Close()
		}
	}
}

// A reader takes nothing from a segment that is no longer what it was.
func TestReader_overwritten(t *testing.T) {
	s := newSpool(t, filepath.Join(t.TempDir(), "audit"), 1<<20)
	s.mustAppend(t, 3)
	size := int64(headBytes + len("record 1"))
	encode(s.mu.intake[size:2*size], 50, 0, []byte("record X"))
	if err := s.file(); err != nil {
		t.Fatal(err)
	}
	r := s.readFrom(1)
	defer r.close()
	if e, ok := r.read(); !ok || e.seq != 1 {
		t.Fatalf("%+v, %t", e, ok)
	}
	if e, ok := r.read(); ok {
		t.Errorf("read %+v", e)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// What was sent long before the connection was used last is not sent again.
func TestSpool_resendTime(t *testing.T) {
	s := newSpool(t, filepath.Join(t.TempDir(), "audit"), 1<<20)
	now := time.Now()
	for i, age := range []time.Duration{time.Hour, 20 * time.Minute, 5 * time.Minute, 0} {
		if err := s.append(now.Add(-age).UnixNano(), []byte{byte(i)}, noReport); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.file(); err != nil {
		t.Fatal(err)
	}
	s.sent(4, now)
	if r := s.resume(); r.next != 3 {
		t.Errorf("it resumes at %d", r.next)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

func FuzzDecode(f *testing.F) {
	b := make([]byte, headBytes+5)
	encode(b, 7, 9, []byte("hello"))
	f.Add(b)
	f.Add(b[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			e, n, err := decode(b)
			if err != nil || n == 0 {
				return
			}
			again := make([]byte, n)
			if encode(again, e.seq, e.time, e.text); string(again) != string(b[:n]) {
				t.Fatalf("%x became %x", b[:n], again)
			}
			b = b[n:]
		}
	})
}
