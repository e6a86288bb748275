package kvbase

import (
	"sync/atomic"
	"time"
)

// escalateAfter is how many attempts an Update loses before it asks the
// others to let it through. A scan of a busy prefix would lose for ever.
const escalateAfter = 6

// maxYield bounds how long a commit waits for the Update whose turn it is. It
// is a courtesy and no lock: whoever has the turn may itself wait for a lock
// of the caller's that another Update runs under.
const maxYield = 20 * time.Millisecond

// Turn lets one unlucky Update at a time go first. The zero value works.
type Turn struct{ cur atomic.Pointer[Ticket] }

// Ticket is the turn that was taken.
type Ticket struct{ done chan struct{} }

// Take takes the turn for an attempt after n that failed; nil if it is too
// early or another has it.
func (t *Turn) Take(n int) *Ticket {
	if n < escalateAfter || t.cur.Load() != nil {
		return nil
	}
	x := &Ticket{done: make(chan struct{})}
	if !t.cur.CompareAndSwap(nil, x) {
		return nil
	}
	return x
}

// Give ends a turn; own may be nil.
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
	timer := time.NewTimer(maxYield)
	defer timer.Stop()
	select {
	case <-x.done:
	case <-timer.C:
	}
}
