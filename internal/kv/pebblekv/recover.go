package pebblekv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// logDir is the folder of the log in that of the store.
const logDir = "log"

// epochKey counts the openings. It is from when the engine's own keys were those
// longer than any key of a caller.
var epochKey = append(bytes.Repeat([]byte{0xff}, 2049), "epoch"...)

// minSegment is the least that a segment takes before it gives way, bytes.
const minSegment = 64 << 10

// start brings the tables up to the end of the log, counts this opening, and
// begins a new log.
//
// The tables have what their mark says, all up to one commit and nothing of any
// after, and each commit of the log that is applied moves the mark along: so
// each is applied once, in whatever step a crash comes. All is in synced tables
// before the first new commit, and the new mark with it, which makes all segments
// but the new one old.
func (e *Engine) start(o Options) error {
	e.files = newSegmentFiles(e, o)
	files := e.files
	if err := files.open(); err != nil {
		return err
	}
	all, copied, err := files.list()
	if err != nil {
		return err
	}
	last, err := e.replay(files, all, copied)
	if err != nil {
		return err
	}
	n, err := e.countOpening()
	if err != nil {
		return err
	}
	n = max(n, last) + 1
	var s *segment
	no := uint64(0)
	if !e.noSync {
		no = 1
		if len(all) > 0 {
			no = all[len(all)-1] + 1
		}
		if s, err = files.make(no, 0); err != nil {
			return err
		}
		all = append(all, no)
	}
	err = e.setMark(n, no)
	if err == nil {
		err = e.db.Flush()
	}
	if err == nil && copied {
		err = errors.Join(files.fs.Remove(files.fs.PathJoin(files.dir, copiedName)), files.syncDir(files.dir))
	}
	if err != nil {
		if s != nil {
			err = errors.Join(err, s.close())
		}
		return err
	}
	e.issued.Store(n)
	e.committed.Store(n)
	e.sync.advance(n)
	if s != nil {
		e.wal.files, e.wal.log, e.wal.limit = files, e.log, max(minSegment, int64(o.MemTableBytes)/2)
		e.wal.begin(s, n)
		e.keeper = &keeper{log: &e.wal, db: e.db, all: all, stop: make(chan struct{}), done: make(chan struct{})}
		go e.keeper.run()
		e.wal.wakeKeeper()
	}
	return nil
}

// newSegmentFiles are the files of the log.
func newSegmentFiles(e *Engine, o Options) segmentFiles {
	fs := o.FS
	if fs == nil {
		fs = vfs.Default
	}
	return segmentFiles{fs: fs, max: int64(o.MemTableBytes),
		wrap: func(f vfs.File, size int64) vfs.File {
			if o.FS == nil {
				f = e.logFile(f)
			}
			if o.LogAhead > 0 {
				f = &aheadFile{File: f, log: o.Logger, piece: o.LogAhead, filled: size}
			}
			return f
		}}.of(o.Dir)
}

// replay applies what is in the log and not in the tables, and returns the number
// of the newest commit.
func (e *Engine) replay(files segmentFiles, all []uint64, copied bool) (uint64, error) {
	last, first, err := readMark(e.db, false)
	if err != nil || first == 0 || copied {
		return last, err
	}
	i, ok := slices.BinarySearch(all, first)
	if !ok {
		return 0, fmt.Errorf("%w: segment %d is missing", errLogDamaged, first)
	}
	no := first
	r := logReader{last: last, take: func(number uint64, changes []byte) error {
		return e.redo(number, no, changes)
	}}
	for _, have := range all[i:] {
		if have != no {
			return 0, fmt.Errorf("%w: segment %d is missing", errLogDamaged, no)
		}
		b, err := files.read(no)
		if err != nil {
			return 0, err
		}
		if err := r.segment(b, no); err != nil {
			return 0, err
		}
		no++
	}
	if r.last != last {
		e.log.Info("the key store's log was replayed", "commits", r.last-last)
	}
	return r.last, nil
}

// redo applies a commit of the log.
func (e *Engine) redo(number, segment uint64, changes []byte) error {
	b := e.db.NewBatch()
	defer b.Close()
	err := eachChange(changes, func(kind byte, key, value []byte) error {
		switch kind {
		case changeSet:
			return b.Set(key, value, nil)
		case changeDeleteOnce:
			return b.SingleDelete(key, nil)
		default:
			return b.Delete(key, nil)
		}
	})
	if err == nil {
		err = setMark(b, number, segment)
	}
	if err != nil {
		return err
	}
	return e.db.Apply(b, pebble.NoSync)
}

// setMark sets the mark outside a commit.
func (e *Engine) setMark(number, segment uint64) error {
	b := e.db.NewBatch()
	defer b.Close()
	if err := setMark(b, number, segment); err != nil {
		return err
	}
	return e.db.Apply(b, pebble.NoSync)
}

// countOpening counts this opening. Its batch also tells how far Pebble's own
// sequence numbers got, from where ours go on: each commit takes at least one
// of Pebble's, so ours grow over restarts too.
func (e *Engine) countOpening() (uint64, error) {
	v, closer, err := e.db.Get(epochKey)
	switch {
	case err == nil && len(v) == 8:
		e.epoch = binary.BigEndian.Uint64(v)
	case err == nil:
		err = errors.New("the counter of openings is damaged")
	case errors.Is(err, pebble.ErrNotFound):
		err = nil
	}
	if closer != nil {
		err = errors.Join(err, closer.Close())
	}
	if err != nil {
		return 0, err
	}
	e.epoch++
	b := e.db.NewBatch()
	defer b.Close()
	if err := b.Set(epochKey, binary.BigEndian.AppendUint64(nil, e.epoch), nil); err != nil {
		return 0, err
	}
	if err := e.db.Apply(b, pebble.NoSync); err != nil {
		return 0, err
	}
	return uint64(b.SeqNum()), nil
}
