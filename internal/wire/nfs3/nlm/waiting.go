package nlm

import (
	"context"
	"fmt"
	"time"

	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

// blocked is a request that waits, or that was granted and the client does not
// know yet.
type blocked struct {
	key     string
	args    args
	req     fs.LockRequest
	caller  *fs.Caller
	host    Host
	waiter  fs.Waiter // nil while it is being queued
	granted bool
}

// key tells requests apart; a client that asks again asks for the same.
func (q *request) key() string {
	return fmt.Sprintf("%d.%d.%d.%d.%t.%q.%q", q.Node.ID, q.Node.Snap, q.Range.Offset, q.Range.Length, q.Exclusive, q.Owner.Client, q.Owner.Owner)
}

// lockWait grants a lock or lets it wait.
func (s *Service) lockWait(ctx context.Context, q *request) Status {
	k := q.key()
	s.mu.Lock()
	if b := s.blocked[k]; b != nil {
		defer s.mu.Unlock()
		if b.granted {
			// It asks again before our callback reached it.
			delete(s.blocked, k)
			return Granted
		}
		return Blocked
	}
	if s.closed || len(s.blocked) >= s.o.MaxWaiting {
		s.mu.Unlock()
		return DeniedNoLocks
	}
	b := &blocked{key: k, args: q.args.clone(), req: q.LockRequest, caller: q.caller, host: q.host}
	s.blocked[k] = b // a repeat that comes meanwhile finds it
	s.mu.Unlock()

	w, err := s.o.FS.LockWait(ctx, q.caller, &b.req)
	s.mu.Lock()
	if err != nil || w == nil {
		delete(s.blocked, k)
		s.mu.Unlock()
		if err != nil {
			return statusOf(err)
		}
		return Granted
	}
	b.waiter = w
	s.mu.Unlock()
	if !s.spawn(func() { s.await(b) }) {
		w.Cancel()
		return DeniedNoLocks
	}
	return Blocked
}

// await waits for a lock and tells the client.
func (s *Service) await(b *blocked) {
	select {
	case <-b.waiter.Granted():
	case <-b.waiter.Canceled():
		s.take(b)
		return
	case <-s.ctx.Done():
		b.waiter.Cancel()
		return
	}
	s.mu.Lock()
	if s.blocked[b.key] != b {
		s.mu.Unlock()
		return
	}
	b.granted = true
	s.mu.Unlock()
	accepted := s.callback(b)
	// Only if it is still here has the client not got the lock by asking again.
	if s.take(b) && !accepted {
		if err := s.o.FS.Unlock(s.ctx, b.caller, &b.req); err != nil && s.ctx.Err() == nil {
			s.o.Logger.Warn("a lock that its client does not want could not be freed", "client", b.host.Addr, "error", err)
		}
	}
}

// take removes b, and tells whether it was still there.
func (s *Service) take(b *blocked) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocked[b.key] != b {
		return false
	}
	delete(s.blocked, b.key)
	return true
}

// callback tells the client that its lock is granted, until it answers.
func (s *Service) callback(b *blocked) bool {
	limit := time.Now().Add(s.o.CallbackPatience)
	pause := s.o.Retry
	for {
		st := Failed
		err := s.call(s.ctx, portKey{b.host.Addr, Program, Version}, b.host.Local, procGranted, func(e *sunrpc.Encoder) {
			e.Opaque(b.args.cookie)
			e.Bool(b.args.exclusive)
			b.args.lock.encode(e)
		}, func(d *sunrpc.Decoder) error {
			d.Opaque(maxObject)
			if st = Status(d.U32()); !d.OK() {
				return errMalformed
			}
			return nil
		})
		switch {
		case err == nil && st == DeniedGrace: // it is reclaiming; later
		case err == nil:
			return st == Granted
		}
		s.mu.Lock()
		wanted := s.blocked[b.key] == b
		s.mu.Unlock()
		if !wanted || time.Now().Add(pause).After(limit) || !s.pause(pause) {
			if wanted && s.ctx.Err() == nil {
				s.o.Logger.Warn("a granted lock is given back: its client cannot be told", "client", b.host.Addr, "error", err)
			}
			return false
		}
		pause = min(2*pause, time.Minute)
	}
}

// pause waits, or answers false when the service ends.
func (s *Service) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// cancelWait gives up a request that waits. One that was granted meanwhile is freed.
func (s *Service) cancelWait(ctx context.Context, q *request) Status {
	k := q.key()
	s.mu.Lock()
	b := s.blocked[k]
	if b == nil || b.waiter == nil {
		s.mu.Unlock()
		return Denied
	}
	delete(s.blocked, k)
	s.mu.Unlock()
	if b.waiter.Cancel() {
		return Granted
	}
	if err := s.o.FS.Unlock(ctx, q.caller, &b.req); err != nil && fs.KindOf(err) != fs.NoLock {
		return statusOf(err)
	}
	return Granted
}

// settle forgets grants of the same owner on the same file that the client has
// not acknowledged: by unlocking it shows that it knows.
func (s *Service) settle(q *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, b := range s.blocked {
		if b.granted && b.req.Node == q.Node && b.req.Owner == q.Owner {
			delete(s.blocked, k)
		}
	}
}

// dropWaiting gives up all requests of a client.
func (s *Service) dropWaiting(client string) {
	var ws []fs.Waiter
	s.mu.Lock()
	for k, b := range s.blocked {
		if b.req.Owner.Client == client && b.waiter != nil {
			delete(s.blocked, k)
			ws = append(ws, b.waiter)
		}
	}
	s.mu.Unlock()
	for _, w := range ws {
		w.Cancel() // a lock that was granted is released with the client's others
	}
}
