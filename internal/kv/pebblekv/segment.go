package pebblekv

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// segment is one file of the log, open to be written.
type segment struct {
	f    vfs.File
	no   uint64
	salt uint64
	end  int64 // of what was written
}

// write appends and makes it durable.
func (s *segment) write(p []byte) error {
	n, err := s.f.Write(p)
	s.end += int64(n)
	if err != nil {
		return err
	}
	return s.f.SyncData()
}

func (s *segment) close() error { return s.f.Close() }

// category is what Pebble's statistics of writes count the log as.
const category = vfs.DiskWriteCategory("manifold-log")

const (
	segmentSuffix = ".log"
	segmentTemp   = "new.tmp"
	// copiedName is a file in the log of a copy: its tables lack nothing, and no
	// segments belong to it.
	copiedName = "copied"
)

// segmentFiles are the files of a log.
type segmentFiles struct {
	fs  vfs.FS
	dir string
	// max is the longest file that is used again, bytes.
	max int64
	// wrap is given each file that is written, of which size bytes exist.
	wrap func(f vfs.File, size int64) vfs.File
}

// of returns the files of the log of a store.
func (s segmentFiles) of(store string) segmentFiles {
	s.dir = s.fs.PathJoin(store, logDir)
	return s
}

func (s segmentFiles) path(no uint64) string {
	return s.fs.PathJoin(s.dir, fmt.Sprintf("%016x%s", no, segmentSuffix))
}

// open makes the directory if there is none.
func (s segmentFiles) open() error {
	if err := s.fs.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	return s.syncDir(s.fs.PathDir(s.dir))
}

func (s segmentFiles) syncDir(dir string) error {
	d, err := s.fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// list returns the numbers of all segments, in their order, and whether the log
// is that of a copy.
func (s segmentFiles) list() (all []uint64, copied bool, err error) {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return nil, false, err
	}
	for _, n := range names {
		if n == copiedName {
			copied = true
		}
		digits, ok := strings.CutSuffix(n, segmentSuffix)
		if !ok {
			continue
		}
		no, err := strconv.ParseUint(digits, 16, 64)
		if err != nil || no == 0 {
			return nil, false, fmt.Errorf("a segment has the name %q", n)
		}
		all = append(all, no)
	}
	slices.Sort(all)
	return all, copied, nil
}

// read returns the content of a segment.
func (s segmentFiles) read(no uint64) (_ []byte, err error) {
	f, err := s.fs.Open(s.path(no))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	i, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, i.Size())
	_, err = io.ReadFull(f, b)
	return b, err
}

// make makes the segment of a number, which is durable then: of the file of an
// old segment that is not needed any more, unless old is 0.
func (s segmentFiles) make(no, old uint64) (_ *segment, err error) {
	from := s.fs.PathJoin(s.dir, segmentTemp)
	if old != 0 {
		if err := s.fs.Rename(s.path(old), from); err != nil {
			return nil, err
		}
	}
	f, size, err := s.reuse(from)
	if err != nil {
		if f, err = s.fs.Create(from, category); err != nil {
			return nil, err
		}
		size = 0
	}
	var r [8]byte
	_, _ = rand.Read(r[:]) // never fails
	n := &segment{no: no, salt: binary.BigEndian.Uint64(r[:]), f: s.wrap(f, size)}
	if _, err = n.f.Write(appendSegmentHeader(nil, no, n.salt)); err == nil {
		err = n.f.Sync()
	}
	if err == nil {
		err = s.fs.Rename(from, s.path(no))
	}
	if err == nil {
		err = s.syncDir(s.dir)
	}
	if err != nil {
		return nil, errors.Join(err, n.f.Close())
	}
	n.end = segmentHeader
	return n, nil
}

// reuse opens a file to be a segment, if it is there and not too long.
func (s segmentFiles) reuse(name string) (_ vfs.File, size int64, err error) {
	f, err := s.fs.OpenReadWrite(name, category)
	if err != nil {
		return nil, 0, err
	}
	i, err := f.Stat()
	if err == nil && i.Size() > s.max {
		err = errors.New("the file is too long")
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, i.Size(), nil
}

// markCopy makes the log of a copy, in whose tables nothing lacks.
func (s segmentFiles) markCopy() error {
	if err := s.open(); err != nil {
		return err
	}
	f, err := s.fs.Create(s.fs.PathJoin(s.dir, copiedName), category)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), s.syncDir(s.dir))
}
