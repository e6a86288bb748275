package pebblekv

import (
	"errors"
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

func (c *countedFile) Write(p []byte) (int, error) { c.writes++; return c.File.Write(p) }
func (c *countedFile) SyncData() error             { c.syncs++; return c.File.SyncData() }

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
	l := &logFile{File: c, fd: f.Fd(), waits: &waits, pace: &p}
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
	l := &logFile{fd: r.Fd(), waits: &waits, pace: &pace{limit: time.Hour}}
	if _, err := l.Write([]byte("x")); err == nil {
		t.Error("the reading end of a pipe was written")
	}
	if err := l.SyncData(); err == nil {
		t.Error("a pipe was synced")
	}
}
