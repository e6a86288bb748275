package sunrpc

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A client that sends its next call when it has the reply to the last has each
// call run by the goroutine that reads its connection: two switches of threads
// less, which on a quiet machine cost more than a change of metadata itself.
//
// Meanwhile nobody reads. If the call takes long, the patrol makes another
// goroutine the reader, so that calls that come later do not wait for it; they
// may even be what it waits for.

const (
	// loneAfter calls must have come alone before one that may wait for the disk
	// is run by the reader.
	loneAfter = 16
	// loneMost bounds how many are remembered, and overlap is how many of them a
	// call counts against that came before the reply to the last.
	loneMost, overlap = 32, 8
	// patience is how long the reader runs a call, up to twice that.
	patience = 10 * time.Millisecond
	// patrolRest is how many rounds without a call end the patrol.
	patrolRest = 50
)

// errTakenOver ends a reader that is no longer the one of its connection.
var errTakenOver = errors.New("sunrpc: another goroutine reads")

// lone is what a connection has for it.
type lone struct {
	// run is 0 unless the reader runs a call: the number of the call and the
	// patrol's round when it began. Whoever makes it 0 again is the reader.
	run    atomic.Uint64
	number atomic.Uint32
	listed atomic.Bool // in the patrol's list
	seen   uint32      // number when the patrol last came; its own

	streak int // how many calls came alone; under conn.mu
	ended  chan error
}

// saw notes whether the client had sent nothing more when the reply to its last call
// was about to be written. Whether the reader finds the next call there tells less:
// a quick client's comes while the reply's write returns. Under conn.mu.
func (l *lone) saw(alone bool) {
	switch {
	case !alone:
		l.streak = max(l.streak-overlap, 0)
	case l.streak < loneMost:
		l.streak++
	}
}

// patrol watches the calls that readers run. The zero value rests.
type patrol struct {
	mu    sync.Mutex
	conns map[*conn]struct{}

	round  atomic.Uint32
	active atomic.Bool
	wake   chan struct{}
}

// runHere runs a call and tells whether the caller is still the reader.
func (c *conn) runHere(call *Call) bool {
	p := &c.srv.patrol
	run := uint64(c.lone.number.Add(1))<<32 | uint64(p.round.Load())
	c.lone.run.Store(run)
	if !c.lone.listed.Load() {
		p.list(c)
	}
	if !p.active.Load() && p.active.CompareAndSwap(false, true) {
		p.wake <- struct{}{}
	}
	c.srv.run(call)
	return c.lone.run.CompareAndSwap(run, 0)
}

func (p *patrol) list(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = struct{}{}
	c.lone.listed.Store(true)
}

func (p *patrol) unlist(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (s *Server) runPatrol() {
	defer s.helpers.Done()
	p := &s.patrol
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		select {
		case <-p.wake:
		case <-s.stop:
			return
		}
		for rest := 0; rest < patrolRest; rest++ {
			t.Reset(patience)
			select {
			case <-t.C:
			case <-s.stop:
				return
			}
			if p.walk() {
				rest = 0
			}
		}
		p.active.Store(false)
		if p.walk() && p.active.CompareAndSwap(false, true) {
			p.wake <- struct{}{} // a call began as the patrol went to rest
		}
	}
}

// walk does one round and tells whether there was anything to watch.
func (p *patrol) walk() bool {
	round := p.round.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		run := c.lone.run.Load()
		if run != 0 {
			if round-uint32(run) > 1 && c.lone.run.CompareAndSwap(run, 0) {
				c.takeOver()
			}
			continue
		}
		if n := c.lone.number.Load(); n != c.lone.seen {
			c.lone.seen = n
			continue
		}
		// Idle since the last round. A call that begins now lists it again.
		c.lone.listed.Store(false)
		if c.lone.run.Load() == 0 {
			delete(p.conns, c)
		} else {
			c.lone.listed.Store(true)
		}
	}
	return len(p.conns) > 0
}

// takeOver starts a new reader in place of the one that runs a long call.
func (c *conn) takeOver() {
	s := c.srv
	s.n.takenOver.Add(1)
	s.running.Add(1) // not the last: the connection is one of them
	go func() {
		defer s.running.Done()
		c.mu.Lock()
		c.lone.streak = 0
		c.mu.Unlock()
		if err := c.read(c.ctx); !errors.Is(err, errTakenOver) {
			c.lone.ended <- err
		}
	}()
}

// readAll takes calls off the connection, by whichever goroutine, until it fails.
func (c *conn) readAll(ctx context.Context) error {
	c.ctx = ctx
	err := c.read(ctx)
	if errors.Is(err, errTakenOver) {
		err = <-c.lone.ended
	}
	return err
}
