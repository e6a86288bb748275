package smb

import (
	"sync/atomic"
	"time"
)

// Of the goroutines that serve a connection one reads. It answers what it has
// read itself, so that a request that nothing holds up costs no switch to
// another goroutine; when the next frame may begin before the answer is there,
// another takes the reading over.

// maxParked bounds the goroutines of a server that wait to take reading over.
const maxParked = 16

// lead reads frames and answers them until another has taken the reading over,
// or nothing more can be read.
func (c *conn) lead() {
	for {
		ch, err := c.next()
		if err != nil {
			c.readErr <- err
			return
		}
		if ch != nil && !c.answer(ch) {
			return
		}
	}
}

// answer runs the requests of a frame and tells whether the reading is still
// the caller's.
func (c *conn) answer(ch *chain) bool {
	switch ch.reqs[0].hdr.command {
	case cmdCreate, cmdClose, cmdSetInfo, cmdQueryInfo, cmdIoctl:
		c.slow.begin(ch)
		defer c.slow.end(ch)
	}
	ch.run()
	return !ch.handedOff.Swap(true)
}

// handOver gives the reading to another goroutine.
func (c *conn) handOver() {
	c.wg.Add(1)
	select {
	case c.s.parked <- c:
	default:
		c.s.wg.Add(1)
		go c.s.follow(c)
	}
}

// follow leads a connection, and others afterwards.
func (s *Server) follow(c *conn) {
	defer s.wg.Done()
	for {
		c.lead()
		c.wg.Done()
		if s.idle.Add(1) > maxParked {
			s.idle.Add(-1)
			return
		}
		select {
		case c = <-s.parked:
			s.idle.Add(-1)
		case <-s.parkClosed:
			return
		case <-s.ctx.Done():
			return
		}
	}
}

// slowWatch lets the next frame begin when a request takes longer than its head
// start. It looks now and then while there are requests, since a timer for each
// would cost more than most requests do.
type slowWatch struct {
	every time.Duration
	cur   atomic.Pointer[chain]
	busy  atomic.Bool // there were requests since the last look
	armed atomic.Bool
	ended atomic.Bool
	seen  *chain // at the last look
}

func (w *slowWatch) begin(ch *chain) {
	w.cur.Store(ch)
	w.busy.Store(true)
	w.arm()
}

func (w *slowWatch) end(ch *chain) { w.cur.CompareAndSwap(ch, nil) }

func (w *slowWatch) arm() {
	if !w.ended.Load() && !w.armed.Swap(true) {
		time.AfterFunc(w.every, w.look)
	}
}

func (w *slowWatch) stop() { w.ended.Store(true) }

// look runs once at a time: only who has set armed starts the timer.
func (w *slowWatch) look() {
	ch := w.cur.Load()
	if ch != nil && ch == w.seen && !w.ended.Load() {
		w.cur.CompareAndSwap(ch, nil)
		ch.letNext()
		ch = nil
	}
	w.seen = ch
	busy := w.busy.Swap(false)
	w.armed.Store(false)
	if busy || ch != nil {
		w.arm()
	}
}
