package pebblekv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// writtenLog is a log as commits would have written it.
type writtenLog struct {
	segments [][]byte
	// ends[i] is where the records of each round in segment i end.
	ends [][]int
	// upTo[i] is the newest commit of each round in segment i.
	upTo [][]uint64
}

const logSalt = 0x5a17

// writeLog makes up commits from first on in rounds and segments. Records lie over
// those of an earlier life of the file.
func writeLog(rng *rand.Rand, first uint64, segments, rounds int) writtenLog {
	var w writtenLog
	number := first
	for no := range segments {
		salt := uint64(logSalt + no)
		b := appendSegmentHeader(nil, uint64(no+1), salt)
		var ends []int
		var upTo []uint64
		for range rounds {
			synced := len(b)
			for range 1 + rng.IntN(3) {
				b = appendRecord(b, salt, number, uint64(synced), fmt.Appendf(nil, "%d%s", number, bytes.Repeat([]byte{'x'}, rng.IntN(50))))
				number++
			}
			ends, upTo = append(ends, len(b)), append(upTo, number-1)
		}
		old := appendSegmentHeader(nil, 77, 99)
		for n := uint64(1); len(old) < len(b)+1000; n++ {
			old = appendRecord(old, 99, n, uint64(len(old)), []byte("of an earlier life"))
		}
		w.segments = append(w.segments, append(b, old[len(b):]...))
		w.ends, w.upTo = append(w.ends, ends), append(w.upTo, upTo)
	}
	return w
}

// readLog returns the commits after last.
func readLog(segments [][]byte, last uint64) ([]uint64, error) {
	var out []uint64
	r := logReader{last: last, take: func(n uint64, changes []byte) error {
		if !bytes.HasPrefix(changes, fmt.Append(nil, n)) {
			return fmt.Errorf("commit %d has %q", n, changes)
		}
		out = append(out, n)
		return nil
	}}
	for i, s := range segments {
		if err := r.segment(s, uint64(i+1)); err != nil {
			return out, err
		}
	}
	return out, nil
}

func numbers(first, last uint64) (out []uint64) {
	for ; first <= last; first++ {
		out = append(out, first)
	}
	return out
}

// TestReadLog reads logs whose tables are at any commit.
func TestReadLog(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	w := writeLog(rng, 1000, 3, 5)
	end := w.upTo[2][4]
	for last := uint64(999); last <= end+2; last++ {
		got, err := readLog(w.segments, last)
		if err != nil || !slices.Equal(got, numbers(last+1, end)) {
			t.Errorf("after %d: %v, %v", last, got, err)
		}
	}
	// What follows the tables lacks.
	if _, err := readLog(w.segments, 900); !errors.Is(err, errLogDamaged) {
		t.Errorf("a log that begins too late: %v", err)
	}
	if _, err := readLog(w.segments[:1], 900); !errors.Is(err, errLogDamaged) {
		t.Errorf("a segment that begins too late: %v", err)
	}
	r := logReader{last: 999, take: func(uint64, []byte) error { return nil }}
	if err := errors.Join(r.segment(w.segments[0], 1)); err != nil {
		t.Fatal(err)
	}
	if err := r.segment(w.segments[2], 3); !errors.Is(err, errLogDamaged) {
		t.Errorf("a segment in the middle lacks: %v", err)
	}
	if err := r.segment(w.segments[1], 7); !errors.Is(err, errLogDamaged) {
		t.Errorf("a segment of another number: %v", err)
	}
}

// TestReadTornLog keeps the last round in any part, as a disk may that lost its
// power: what was synced is read, and of the rest no more than what has all before
// it.
func TestReadTornLog(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 3000 {
		segments := 1 + rng.IntN(3)
		w := writeLog(rng, 1000, segments, 1+rng.IntN(4))
		s := segments - 1
		ends := w.ends[s]
		from, promised := segmentHeader, uint64(999)
		if s > 0 {
			promised = w.upTo[s-1][len(w.upTo[s-1])-1]
		}
		if n := len(ends); n > 1 {
			from, promised = ends[n-2], w.upTo[s][n-2]
		}
		b := w.segments[s]
		for at := from; at < ends[len(ends)-1]; at++ {
			// In pieces much smaller than sectors.
			if at%16 == 0 && rng.IntN(4) == 0 {
				clear(b[at:min(at+16, ends[len(ends)-1])])
			}
		}
		got, err := readLog(w.segments, 999)
		if err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if n := uint64(len(got)); n < promised-999 || !slices.Equal(got, numbers(1000, 999+n)) {
			t.Fatalf("%d: %v, %d was synced", i, got, promised)
		}
	}
}

// TestReadDamagedLog flips a byte in what was synced: it is found, unless it is in
// the last round, where it looks like the end, or in what nobody reads.
func TestReadDamagedLog(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	found := 0
	const tries = 3000
	for i := range tries {
		segments := 1 + rng.IntN(3)
		w := writeLog(rng, 1000, segments, 1+rng.IntN(4))
		last := w.upTo[segments-1]
		end, before := last[len(last)-1], uint64(999)
		if len(last) > 1 {
			before = last[len(last)-2]
		} else if segments > 1 {
			before = w.upTo[segments-2][len(w.upTo[segments-2])-1]
		}
		s := rng.IntN(segments)
		ends := w.ends[s]
		w.segments[s][rng.IntN(ends[len(ends)-1])] ^= 1 << rng.IntN(8)
		got, err := readLog(w.segments, 999)
		if err != nil {
			if found++; !errors.Is(err, errLogDamaged) {
				t.Fatalf("%d: %v", i, err)
			}
			continue
		}
		if n := uint64(len(got)); 999+n < before || !slices.Equal(got, numbers(1000, 999+n)) {
			t.Fatalf("%d: %v of %d", i, got, end)
		}
	}
	if found < tries/2 {
		t.Errorf("damage was found %d times", found)
	}
}

// FuzzLog reads what follows the head of a segment: commits come in order, and
// whatever is read is what was written.
func FuzzLog(f *testing.F) {
	w := writeLog(rand.New(rand.NewPCG(7, 8)), 1000, 1, 3)
	f.Add(w.segments[0][segmentHeader:], uint64(999))
	f.Add(w.segments[0][segmentHeader:], uint64(1002))
	f.Add([]byte(nil), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, last uint64) {
		seg := append(appendSegmentHeader(nil, 1, logSalt), b...)
		want := last
		r := logReader{last: last, take: func(n uint64, changes []byte) error {
			if want++; n != want {
				t.Errorf("commit %d, want %d", n, want)
			}
			if !bytes.Contains(b, changes) {
				t.Errorf("commit %d was made up", n)
			}
			_ = eachChange(changes, func(byte, []byte, []byte) error { return nil })
			return nil
		}}
		if err := r.segment(seg, 1); err != nil && !errors.Is(err, errLogDamaged) {
			t.Error(err)
		}
	})
}

// FuzzChanges reads the changes of a commit, and writes them again.
func FuzzChanges(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{changeSet, 1, 'k', 2, 'v', 'w', changeDelete, 1, 'x', changeDeleteOnce, 1, 'y'})
	f.Add([]byte{changeSet, 1, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		err := eachChange(b, func(kind byte, key, value []byte) error {
			again = binary.AppendUvarint(append(again, kind), uint64(len(key)))
			again = append(again, key...)
			if kind == changeSet {
				again = append(binary.AppendUvarint(again, uint64(len(value))), value...)
			}
			return nil
		})
		switch {
		case err != nil:
			if !errors.Is(err, errLogDamaged) {
				t.Error(err)
			}
		case len(again) > len(b): // a length may be written longer than it needs
			t.Errorf("%x became %x", b, again)
		}
	})
}
