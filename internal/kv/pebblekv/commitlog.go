package pebblekv

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
)

// commitLog is the write-ahead log. Commits are added to it in their order; who
// then waits for its own commit writes and syncs all that were added, if nobody
// is at it: so a commit that is alone wakes no other goroutine. Those that come
// while a round is on wait for the next one, which a goroutine of the log's does,
// and goes on with rounds as long as somebody waits: so the disk does not wait for
// a goroutine to wake.
//
// It lies in segments, files of their own numbers, one after the other. A segment
// is as long as it was when the next one was ready, so nobody waits for a file to
// be made.
type commitLog struct {
	files segmentFiles
	log   *slog.Logger
	limit int64         // from when on a segment gives way to the next, bytes
	wake  chan struct{} // of the keeper

	// rounds wakes the goroutine of the rounds that nobody leads; closing stop
	// ends it, which closes stopped.
	rounds, stop, stopped chan struct{}

	// durable is the number of the newest commit whose record is synced.
	durable atomic.Uint64

	// Only who does a round touches it.
	file *segment

	mu struct {
		sync.Mutex
		buf, spare []byte // records to be written; the buffer of the last round
		last       uint64 // the newest number in buf
		taken      uint64 // the newest number of the round that is on
		inUse      uint64 // number of file, if no round is on
		no, salt   uint64 // of the segment that the next record goes to
		end        int64  // of that segment, buf included
		synced     int64  // of that segment
		// next is the segment made ready to be the next; from buf[cut:] on buf
		// goes to moved, once it is in use.
		next, moved *segment
		cut         int
		busy        bool   // a round is on
		now, after  *group // who waits for this round and for the next
		err         error
	}
}

// group are the goroutines that wait for one round.
type group struct {
	done chan struct{} // closed when the round has ended
	err  error         // set before
}

// maxSpare is the largest buffer that is kept for the next round.
const maxSpare = 1 << 20

// add appends the record of a commit, whose number is one more than the last, and
// tells which segment it goes to. The caller serializes calls.
func (l *commitLog) add(number uint64, changes []byte) (segment uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.end >= l.limit && l.mu.next != nil && l.mu.moved == nil {
		s := l.mu.next
		l.mu.moved, l.mu.next, l.mu.cut = s, nil, len(l.mu.buf)
		l.mu.no, l.mu.salt, l.mu.end, l.mu.synced = s.no, s.salt, s.end, s.end
	}
	before := len(l.mu.buf)
	l.mu.buf = appendRecord(l.mu.buf, l.mu.salt, number, uint64(l.mu.synced), changes)
	half := l.mu.end / (l.limit / 2)
	l.mu.end += int64(len(l.mu.buf) - before)
	l.mu.last = number
	if l.mu.end/(l.limit/2) != half {
		l.wakeKeeper()
	}
	return l.mu.no
}

// wakeKeeper has the next segment made, and those that nothing needs removed.
func (l *commitLog) wakeKeeper() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// sync returns when the record of a commit, and so all before it, are durable.
func (l *commitLog) sync(number uint64) error {
	if l.durable.Load() >= number {
		return nil
	}
	l.mu.Lock()
	if err := l.mu.err; err != nil || l.durable.Load() >= number {
		l.mu.Unlock()
		return err
	}
	if !l.mu.busy {
		l.mu.busy = true
		err := l.round(nil)
		if l.mu.busy = l.mu.after != nil; l.mu.busy {
			l.rounds <- struct{}{} // there is room: it waits for this
		}
		l.mu.Unlock()
		return err
	}
	g := &l.mu.after
	if number <= l.mu.taken {
		g = &l.mu.now
	}
	if *g == nil {
		*g = &group{done: make(chan struct{})}
	}
	mine := *g
	l.mu.Unlock()
	<-mine.done
	return mine.err
}

// run does rounds when somebody waits for one and nobody is at it.
func (l *commitLog) run() {
	defer close(l.stopped)
	for {
		select {
		case <-l.stop:
			return
		case <-l.rounds:
		}
		l.mu.Lock()
		for l.mu.after != nil {
			g := l.mu.after
			l.mu.after = nil
			_ = l.round(g) // the group has it
		}
		l.mu.busy = false
		l.mu.Unlock()
	}
}

// round writes and syncs all that was added, for g and whoever joins meanwhile. It
// is called with mu held, which it lets go in between.
func (l *commitLog) round(g *group) error {
	err := l.mu.err
	if err == nil {
		buf, last, cut, moved := l.mu.buf, l.mu.last, l.mu.cut, l.mu.moved
		l.mu.buf, l.mu.spare, l.mu.taken, l.mu.now = l.mu.spare[:0], nil, last, g
		l.mu.cut, l.mu.moved = 0, nil
		l.mu.Unlock()
		err = l.write(buf, cut, moved)
		l.mu.Lock()
		l.mu.inUse = l.file.no
		if err == nil {
			l.durable.Store(last)
			if l.file.no == l.mu.no {
				l.mu.synced = l.file.end
			}
		}
		if cap(buf) <= maxSpare {
			l.mu.spare = buf[:0]
		}
		g = l.mu.now // someone may have joined a round of one
		l.mu.now = nil
		l.mu.err = err
	}
	if g != nil {
		g.err = err
		close(g.done)
	}
	return err
}

// write makes buf durable, of which all from cut on goes to moved, if there is
// one: only after everything before it is durable.
func (l *commitLog) write(buf []byte, cut int, moved *segment) error {
	if moved == nil {
		return l.file.write(buf)
	}
	if cut > 0 {
		if err := l.file.write(buf[:cut]); err != nil {
			return errors.Join(err, moved.close())
		}
	}
	old := l.file
	l.file = moved
	return errors.Join(old.close(), moved.write(buf[cut:]))
}

// begin makes s the segment in use. All commits up to last are in the tables.
func (l *commitLog) begin(s *segment, last uint64) {
	l.file = s
	l.durable.Store(last)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.inUse, l.mu.no, l.mu.salt, l.mu.end, l.mu.synced = s.no, s.no, s.salt, s.end, s.end
	l.mu.last, l.mu.taken = last, last
	l.rounds, l.stop, l.stopped = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	go l.run()
}

// close lets go of the files. Nobody may add or wait any more.
func (l *commitLog) close() error {
	if l.file == nil {
		return nil // it was never begun
	}
	close(l.stop)
	<-l.stopped
	var err error
	for _, s := range []*segment{l.file, l.mu.moved, l.mu.next} {
		if s != nil {
			err = errors.Join(err, s.close())
		}
	}
	return err
}
