package kvbase

import (
	"sync/atomic"
	"time"
)

// escalateAfter is how many attempts an Update loses before it asks the
// others to let it through. A scan of a busy prefix would lose for ever.
const escalateAfter = 6

// Commits wait so long for the Update whose turn it is, the more the more
// often it lost. It is a courtesy and no lock: whoever has the turn may itself
// wait for a lock of the caller's that another Update runs under.
const (
	minYield = 20 * time.Millisecond
	maxYield = 640 * time.Millisecond
)

// Turn lets one unlucky Update at a time go first. The zero value works.
type Turn struct{ cur atomic.Pointer[Ticket] }

// Ticket is the turn that was taken, until the Update has ended.
type Ticket struct {
	yield atomic.Int64 // how long others wait
	done  chan struct{}
}

// Take takes the turn for an Update after n attempts that failed; nil if it is
// too early or another has it.
func (t *Turn) Take(n int) *Ticket {
	if n < escalateAfter || t.cur.Load() != nil {
		return nil
	}
	x := &Ticket{done: make(chan struct{})}
	x.yield.Store(int64(minYield))
	if !t.cur.CompareAndSwap(nil, x) {
		return nil
	}
	return x
}

// lost says that the Update failed again, in spite of its turn.
func (x *Ticket) lost() { x.yield.Store(min(2*x.yield.Load(), int64(maxYield))) }

// Give ends a turn; own may be nil, or have ended before.
func (t *Turn) Give(own *Ticket) {
	if own != nil && t.cur.CompareAndSwap(own, nil) {
		close(own.done)
	}
}

// Yield waits, before a commit, for another's turn to end.
func (t *Turn) Yield(own *Ticket) {
	x := t.cur.Load()
	if x == nil || x == own {
		return
	}
	timer := time.NewTimer(time.Duration(x.yield.Load()))
	defer timer.Stop()
	select {
	case <-x.done:
	case <-timer.C:
	}
}
