package pebblekv

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// countedFile counts what comes through it, which is what the scheduler is told.
type countedFile struct {
	vfs.File
	writes, syncs int
}

func (c *countedFile) WriteAt(p []byte, at int64) (int, error) {
	c.writes++
	return c.File.WriteAt(p, at)
}
func (c *countedFile) SyncData() error { c.syncs++; return c.File.SyncData() }

// TestLogFile writes and syncs with one commit waiting, with several, after a
// slow call, and past the end of quick ones.
func TestLogFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	f, err := vfs.Default.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var waits atomic.Int64
	var p pace
	c := &countedFile{File: f}
	l := &logFile{File: c, fd: f.Fd(), waits: &waits, pace: &p, past: -1}
	want := ""
	step := func(what string, commits int64, told int) {
		t.Helper()
		waits.Store(commits)
		c.writes, c.syncs = 0, 0
		n, err := l.Write([]byte(what))
		if err := errors.Join(err, l.SyncData()); err != nil || n != len(what) {
			t.Fatalf("%s: %d, %v", what, n, err)
		}
		if c.writes != told || c.syncs != told {
			t.Errorf("%s: the scheduler was told of %d writes and %d syncs, want %d each", what, c.writes, c.syncs, told)
		}
		want += what
	}
	p.limit = time.Hour // this machine's disk is quick whatever it does
	step("one,", 1, 0)
	step("two,", 2, 1)
	p.took(2 * time.Hour)
	step("slow,", 1, 1)
	for range quickRun - 1 { // the step was one
		p.took(time.Second)
	}
	step("quick again.", 1, 0)
	p.limit = 1 // nanosecond: any call is slow
	p.took(time.Hour)
	step("slow,", 1, 1)
	step("and slow.", 1, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	p = pace{limit: time.Hour}
	if _, err := l.Write([]byte("x")); err == nil {
		t.Error("a closed file was written")
	}
}

// TestLogFileErrors reports what the system says.
func TestLogFileErrors(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var waits atomic.Int64
	waits.Store(1)
	l := &logFile{fd: r.Fd(), waits: &waits, pace: &pace{limit: time.Hour}, past: -1}
	if _, err := l.Write([]byte("x")); err == nil {
		t.Error("the reading end of a pipe was written")
	}
	if err := l.SyncData(); err == nil {
		t.Error("a pipe was synced")
	}
}

// TestLogFilePast writes past the page cache, pieces of all lengths, then with memory
// that a disk does not take, and reads what is there after each.
func TestLogFilePast(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	f, err := vfs.Default.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	var waits atomic.Int64
	l := newLogFile(f, f.Fd(), &waits, &pace{limit: time.Hour})
	defer l.Close()
	past := l.past >= 0 // not every file system has such writes
	const piece = 40 << 10
	log := &aheadFile{File: l, piece: piece}
	rng := rand.New(rand.NewPCG(1, 2))
	var want []byte
	step := func(n int) {
		t.Helper()
		waits.Store(rng.Int64N(2) + 1)
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(rng.Uint32() | 1)
		}
		m, err := log.Write(p)
		if err := errors.Join(err, log.SyncData()); err != nil || m != n {
			t.Fatalf("%d bytes: %d, %v", n, m, err)
		}
		want = append(want, p...)
		got, err := os.ReadFile(name)
		if err != nil || len(got) < len(want) || !bytes.Equal(got[:len(want)], want) {
			t.Fatalf("after %d bytes more %d are wrong, or none: %v", n, len(want), err)
		}
		if rest := bytes.Trim(got[len(want):], "\x00"); len(rest) > 0 || len(got) > len(want)+piece+2*block {
			t.Fatalf("after %d bytes: %d of %d follow, not only zeros", len(want), len(rest), len(got)-len(want))
		}
	}
	sizes := []int{1, block - 1, block, block + 1, 3 * block, maxQuietly, maxQuietly + 1, maxBlocks, 2*maxBlocks + 5, 7}
	for range 100 {
		sizes = append(sizes, 1+rng.IntN(3*block))
	}
	for _, n := range sizes {
		step(n)
	}
	if past != (l.past >= 0) {
		t.Fatal("the disk did not take what it should")
	}
	if !past {
		return
	}
	l.blocks = append(aligned(minBlocks + block)[1:1], l.blocks[:l.tail]...)[:minBlocks]
	for range 20 {
		step(1 + rng.IntN(3*block))
	}
	// File systems in memory take any; a disk's are in the page cache now.
	t.Logf("past the page cache: %t", l.past >= 0)
}
