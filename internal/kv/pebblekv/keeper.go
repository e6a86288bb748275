package pebblekv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// markKey is the engine's own key that each commit sets: to the number of the
// commit and the number of the segment that has its record, 0 if none has. As it
// comes and goes with what the commit changes, it tells exactly up to where the
// log is in the tables.
var markKey = private

const (
	markBytes = 16
	// markChange is the length of a change of the mark in a batch.
	markChange = 1 + 1 + 1 + 1 + markBytes
)

func putMark(b []byte, number, segment uint64) {
	binary.BigEndian.PutUint64(b, number)
	binary.BigEndian.PutUint64(b[8:], segment)
}

// setMark is the change of a mark.
func setMark(b *pebble.Batch, number, segment uint64) error {
	v := make([]byte, markBytes)
	putMark(v, number, segment)
	return b.Set(markKey, v, nil)
}

// readMark returns the mark, zeros if there is none: with durable as it is in the
// tables.
func readMark(db *pebble.DB, durable bool) (number, segment uint64, err error) {
	it, err := db.NewIter(&pebble.IterOptions{
		LowerBound: markKey, UpperBound: append(markKey[:len(markKey):len(markKey)], 0), OnlyReadGuaranteedDurable: durable,
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return 0, 0, it.Error()
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return 0, 0, err
	}
	if len(v) != markBytes {
		return 0, 0, fmt.Errorf("the mark of the log has %d bytes", len(v))
	}
	return binary.BigEndian.Uint64(v), binary.BigEndian.Uint64(v[8:]), nil
}

// maxOld is how many segments that nothing needs are kept to be used again.
const maxOld = 2

// keeper makes the segment that comes next and removes those that nothing needs.
// It is a goroutine of its own while the engine is open.
type keeper struct {
	log  *commitLog
	db   *pebble.DB
	stop chan struct{}
	done chan struct{}
	// all are the numbers of the segments, from old to new. Only the keeper
	// touches it once it runs.
	all []uint64
}

func (k *keeper) run() {
	defer close(k.done)
	for {
		select {
		case <-k.stop:
			return
		case <-k.log.wake:
		}
		if err := k.tend(); err != nil {
			// The segment in use only grows until this works.
			k.log.log.Warn("the segments of the key store's log cannot be tended", "err", err)
		}
	}
}

// stopKeeper ends the keeper, if there is one.
func (e *Engine) stopKeeper() {
	if k := e.keeper; k != nil {
		close(k.stop)
		<-k.done
	}
}

// tend does what there is to do.
func (k *keeper) tend() error {
	_, needed, err := readMark(k.db, true)
	if err != nil {
		return err
	}
	l := k.log
	l.mu.Lock()
	// The tables may be ahead of the log.
	needed = min(needed, l.mu.inUse)
	wanted := l.mu.err == nil && l.mu.next == nil && l.mu.moved == nil && l.mu.end >= l.limit/2
	no := l.mu.no + 1
	l.mu.Unlock()
	old := 0
	for old < len(k.all) && k.all[old] < needed {
		old++
	}
	if wanted {
		var from uint64
		if old > 0 {
			from = k.all[0]
		}
		if from != 0 { // whatever comes of it
			k.all, old = k.all[1:], old-1
		}
		s, err := l.files.make(no, from)
		if err != nil {
			return err
		}
		k.all = append(k.all, no)
		l.mu.Lock()
		l.mu.next = s
		l.mu.Unlock()
	}
	for ; old > maxOld; old-- {
		if err := l.files.fs.Remove(l.files.path(k.all[0])); err != nil {
			return err
		}
		k.all = k.all[1:]
	}
	return nil
}
