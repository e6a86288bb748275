package nlm

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

// once tells which procedures must not run twice for one call.
func once(_, proc uint32) bool {
	switch proc {
	case procLock, procCancel, procUnlock, procShare, procUnshare, procNMLock:
		return true
	}
	return false
}

// handle answers one NLM call.
func (s *Service) handle(ctx context.Context, c *sunrpc.Call) sunrpc.Accept {
	d := &c.Args
	switch p := c.Proc; {
	case p == procNull:
		return sunrpc.Success
	case p >= procTest && p <= procUnlock, p == procNMLock:
		var a args
		if a.decode(d, p); !d.OK() {
			return sunrpc.GarbageArgs
		}
		s.answer(ctx, c, p, &a, &c.Reply)
		return sunrpc.Success
	case p >= procTestMsg && p < procGrantedMsg:
		var a args
		p -= procTestMsg - procTest
		if a.decode(d, p); !d.OK() {
			return sunrpc.GarbageArgs
		}
		s.answerLater(ctx, c, p, &a)
		return sunrpc.Success
	case p >= procTestRes && p <= procGrantedRes:
		return sunrpc.Success // our callbacks wait for their own answers
	case p == procShare || p == procUnshare:
		var a shareArgs
		if a.decode(d); !d.OK() {
			return sunrpc.GarbageArgs
		}
		st := s.share(ctx, c, &a, p == procShare)
		c.Reply.Opaque(a.cookie)
		c.Reply.U32(uint32(st))
		c.Reply.U32(0) // sequence
		return sunrpc.Success
	case p == procFreeAll:
		name := string(d.Opaque(maxCaller))
		d.U32()
		if !d.OK() {
			return sunrpc.GarbageArgs
		}
		s.free(ctx, hostKey{c.Peer.Addr(), name})
		return sunrpc.Success
	}
	return sunrpc.ProcedureUnavailable
}

// answer does what a call asks for and encodes the results.
func (s *Service) answer(ctx context.Context, c *sunrpc.Call, proc uint32, a *args, e *sunrpc.Encoder) {
	var st Status
	var holder *fs.LockConflictInfo
	q, err := s.request(ctx, c, a)
	switch {
	case !s.running():
		st = DeniedGrace
	case err != nil:
		st = statusOf(err)
	case proc == procTest:
		holder, st = s.test(ctx, q)
	case proc == procLock:
		st = s.lock(ctx, q, true)
	case proc == procNMLock:
		st = s.lock(ctx, q, false)
	case proc == procCancel:
		st = s.cancelWait(ctx, q)
	case proc == procUnlock:
		st = s.unlock(ctx, q)
	}
	e.Opaque(a.cookie)
	e.U32(uint32(st))
	if st == Denied && proc == procTest {
		if holder == nil {
			holder = &fs.LockConflictInfo{Exclusive: true}
		}
		encodeHolder(e, holder)
	}
}

// answerLater answers an asynchronous call by a call of our own.
func (s *Service) answerLater(ctx context.Context, c *sunrpc.Call, proc uint32, a *args) {
	select {
	case s.async <- struct{}{}:
	default:
		return // too many; the client repeats the call
	}
	e := sunrpc.NewEncoder(256)
	s.answer(ctx, c, proc, a, &e)
	results := cloned(e.Bytes())
	e.Release()
	to, from := c.Peer.Addr(), c.Local.Addr()
	if !s.spawn(func() {
		defer func() { <-s.async }()
		err := s.call(s.ctx, portKey{to, Program, Version}, from, procTestRes+proc-procTest, func(e *sunrpc.Encoder) {
			copy(e.Reserve(len(results)), results)
		}, nil)
		if err != nil && s.ctx.Err() == nil {
			s.o.Logger.Warn("answer to an asynchronous lock call not delivered", "client", to, "error", err)
		}
	}) {
		<-s.async
	}
}

func (s *Service) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.started && !s.closed
}

// request is a call about a lock.
type request struct {
	*args
	host   Host
	caller *fs.Caller
	fs.LockRequest
}

// request resolves the handle and checks that the caller may touch the file.
func (s *Service) request(ctx context.Context, c *sunrpc.Call, a *args) (*request, error) {
	r, ok := a.span()
	if !ok {
		return nil, fs.TooBig
	}
	n, caller, err := s.o.Resolve(ctx, c, a.fh)
	if err != nil {
		return nil, err
	}
	attr, err := s.o.FS.GetAttr(ctx, caller, n, fs.AttrType|fs.AttrOwner)
	if err != nil {
		return nil, err
	}
	if attr.Type != fs.File {
		return nil, fs.NotFile
	}
	// Who has the file open may lock it. What the open checked cannot be known
	// here; any right to the data, or being the owner, will do.
	if !caller.Cred.IsUser(attr.Owner) {
		have, err := s.o.FS.Access(ctx, caller, n, fs.RightRead|fs.RightExecute|fs.RightsWriteData)
		if err != nil {
			return nil, err
		}
		if have == 0 {
			return nil, fs.Access
		}
	}
	h := Host{Name: string(a.caller), Addr: c.Peer.Addr(), Local: c.Local.Addr()}
	return &request{args: a, host: h, caller: caller, LockRequest: fs.LockRequest{
		Node: n, Space: fs.LockPOSIX, Range: r, Exclusive: a.exclusive, Reclaim: a.reclaim, Cookie: cloned(a.fh),
		Owner: fs.LockOwner{Client: h.client(), Owner: a.owner(), Addr: h.Addr.String()},
	}}, nil
}

func (s *Service) test(ctx context.Context, q *request) (*fs.LockConflictInfo, Status) {
	i, err := s.o.FS.TestLock(ctx, q.caller, &q.LockRequest)
	switch {
	case err != nil:
		return nil, statusOf(err)
	case i != nil:
		return i, Denied
	}
	return nil, Granted
}

// lock grants, denies or queues a lock.
func (s *Service) lock(ctx context.Context, q *request, watch bool) Status {
	if watch {
		if err := s.remember(ctx, q.host); err != nil {
			s.o.Logger.WarnContext(ctx, "lock denied: its host cannot be remembered", "client", q.host.Addr, "error", err)
			return DeniedNoLocks
		}
	}
	if q.block && !q.reclaim {
		return s.lockWait(ctx, q)
	}
	if _, err := s.o.FS.Lock(ctx, q.caller, &q.LockRequest); err != nil {
		return statusOf(err)
	}
	return Granted
}

func (s *Service) unlock(ctx context.Context, q *request) Status {
	s.settle(q)
	err := s.o.FS.Unlock(ctx, q.caller, &q.LockRequest)
	if err != nil && fs.KindOf(err) != fs.NoLock {
		return statusOf(err)
	}
	return Granted
}
