package sunrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// readAhead is the buffer that calls are read into. A call with a block of data
// fits, so it costs one read; the rest of a longer record is read straight into
// place. An idle connection has no buffer.
const readAhead = 8 << 10

type inBuf [readAhead]byte

var inPool = sync.Pool{New: func() any { return new(inBuf) }}

// Session is a place for a program to keep what it knows about a connection.
type Session struct{ Value atomic.Value }

// A conn is one stream connection: one goroutine reads and hands calls to
// workers; the worker whose reply finds nobody writing writes, for others too.
type conn struct {
	srv         *Server
	nc          net.Conn
	sock        *socket // nc, for what is short
	peer, local netip.AddrPort
	session     Session

	readingSince, writingSince atomic.Int64 // tick, 0 is not

	lone lone
	ctx  context.Context // of serve, for readers that take over

	in   *inBuf // nil: nothing is read ahead
	r, w int    // what is, in it

	mu       sync.Mutex
	out      []*Call
	spare    []*Call
	vec      net.Buffers
	writing  bool
	broken   bool
	calls    int
	replying int // of calls, whose replies are being written
	bytes    int64
	waiting  bool
	released chan struct{} // cap 1: wakes the reader
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, nc: nc, sock: newSocket(nc), released: make(chan struct{}, 1)}
	c.sock.want, c.sock.unwanted = c.want, c.unwanted
	c.lone.ended = make(chan error, 1)
	c.peer, c.local = addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	return c
}

func addrPort(a net.Addr) netip.AddrPort {
	var p netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		p = a.AddrPort()
	case *net.UDPAddr:
		p = a.AddrPort()
	default:
		return p
	}
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

var errBadRecord = errors.New("sunrpc: bad record")

var callPool = sync.Pool{New: func() any { return new(Call) }}

// interrupt makes the reader stop; calls in flight are still answered.
func (c *conn) interrupt() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

func (c *conn) serve(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() })
	defer stop()
	err := c.readAll(ctx)
	c.unwanted()
	var timeout net.Error
	graceful := errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, io.EOF)
	if errors.Is(err, errBadRecord) {
		c.srv.n.badRecords.Add(1)
		c.srv.quiet.Do(func() {
			c.srv.o.Logger.WarnContext(ctx, "connection closed: it sent what is no RPC record", "peer", c.peer)
		})
	}
	if !graceful {
		_ = c.nc.Close()
	}
	c.wait(func() bool { return c.calls == 0 })
	_ = c.nc.Close()
}

// read takes calls off the connection until it fails.
func (c *conn) read(ctx context.Context) error {
	s := c.srv
	for {
		rec, cost, err := c.record(ctx)
		if err != nil {
			return err
		}
		call := callPool.Get().(*Call)
		call.Record, call.requestCost, call.replyCost = rec, cost, 0
		call.conn, call.packet, call.Packet, call.ctx = c, nil, false, ctx
		call.Peer, call.Local, call.Session = c.peer, c.local, &c.session
		call.Start = time.Now()
		ok := s.route(call)
		c.mu.Lock()
		c.calls++
		c.bytes += cost
		c.mu.Unlock()
		if !ok {
			call.drop()
			return errBadRecord
		}
		call.replyHint = call.replySize()
		if extra := int64(call.replyHint - smallReply); extra > 0 {
			extra = min(extra, s.o.MaxReplyBytes)
			if err := s.acquire(ctx, s.replies.TryAcquire, s.replies.Acquire, extra); err != nil {
				call.drop()
				return err
			}
			call.replyCost = extra
			c.mu.Lock()
			c.bytes += extra
			c.mu.Unlock()
		}
		if c.alone(call) {
			if !c.runHere(call) {
				return errTakenOver
			}
			continue
		}
		s.n.handed.Add(1)
		s.dispatch(ctx, call)
		c.mu.Lock()
		full := c.full()
		c.mu.Unlock()
		if full {
			s.n.waits.Add(1)
			c.wait(func() bool { return !c.full() })
		}
	}
}

// quickReply bounds the replies of calls that the reader runs itself.
const quickReply = 64 << 10

// alone tells whether the reader runs a call itself: handing it to a worker
// costs two switches of threads, more than a GETATTR takes. It must be the only
// one in flight, with nothing read behind it; and seldom wait, since the next call
// is not read meanwhile, unless the client has sent one call at a time for a while.
func (c *conn) alone(call *Call) bool {
	next := c.r != c.w
	c.mu.Lock()
	if next {
		c.lone.saw(false)
	}
	only, streak := c.calls-c.replying == 1, c.lone.streak
	c.mu.Unlock()
	return only && !next && call.replyHint <= quickReply && call.prog != nil && call.prog.Quick != nil &&
		(streak >= loneAfter || call.prog.Quick(call.Vers, call.Proc))
}

func (c *conn) full() bool {
	return c.calls >= c.srv.o.MaxCallsPerConn || c.bytes >= c.srv.o.MaxBytesPerConn
}

func (s *Server) acquire(ctx context.Context, try func(int64) bool, wait func(context.Context, int64) error, n int64) error {
	if try(n) {
		return nil
	}
	s.n.waits.Add(1)
	return wait(ctx, n)
}

// wait blocks the reader until cond holds; cond is called with c.mu held.
func (c *conn) wait(cond func() bool) {
	c.mu.Lock()
	for !cond() {
		c.waiting = true
		c.mu.Unlock()
		<-c.released
		c.mu.Lock()
	}
	c.waiting = false
	c.mu.Unlock()
}

// fill reads until n bytes (at most readAhead) are buffered.
func (c *conn) fill(n int) error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w-c.r >= n {
		return nil
	}
	if readAhead-c.r < n {
		c.w = copy(c.in[:], c.in[c.r:c.w])
		c.r = 0
	}
	for c.w-c.r < n {
		m, err := c.sock.read()
		c.w += m
		if c.w-c.r >= n {
			return nil
		}
		if err != nil {
			if c.w > c.r && errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		if m > 0 {
			c.readingSince.CompareAndSwap(0, c.srv.tick.Load())
		}
	}
	return nil
}

// want is where the next bytes are read to.
func (c *conn) want() []byte {
	if c.in == nil {
		c.in = inPool.Get().(*inBuf)
	}
	return c.in[c.w:]
}

// unwanted lets go of the buffer when there is nothing to read into it.
func (c *conn) unwanted() {
	if c.in != nil && c.r == c.w {
		c.r, c.w = 0, 0
		inPool.Put(c.in)
		c.in = nil
	}
}

// record reads one record, which may come in fragments.
func (c *conn) record(ctx context.Context) (*Buf, int64, error) {
	s := c.srv
	var rec *Buf
	var cost int64
	fail := func(err error) (*Buf, int64, error) {
		if rec != nil {
			rec.Release()
		}
		if cost > 0 {
			s.releaseRequest(cost)
		}
		return nil, 0, err
	}
	for fragments := 0; ; fragments++ {
		if err := c.fill(4); err != nil {
			return fail(err)
		}
		mark := binary.BigEndian.Uint32(c.in[c.r:])
		c.r += 4
		n, last := int(mark&^lastFragment), mark&lastFragment != 0
		have := 0
		if rec != nil {
			have = len(rec.b)
		}
		if have+n > s.o.MaxRecord || last && have+n < minCall || fragments > 1024 {
			return fail(errBadRecord)
		}
		if c.w-c.r < n || !last {
			// Not all there: from here on the clock runs.
			c.readingSince.CompareAndSwap(0, s.tick.Load())
		}
		if rec == nil {
			if last {
				cost = int64(n) + smallReply
			} else {
				cost = int64(s.o.MaxRecord) + smallReply // its length is not known
			}
			if err := s.acquire(ctx, s.requests.TryAcquire, s.requests.Acquire, cost); err != nil {
				cost = 0
				return fail(err)
			}
			s.n.requestBytes.Add(cost)
			rec = NewBuf(n)
		} else {
			rec = extend(rec, n)
		}
		part := rec.b[have:]
		m := copy(part, c.in[c.r:c.w])
		c.r += m
		if m < len(part) {
			if len(part)-m < readAhead/2 {
				// A short rest: read ahead, the next call may be there too.
				if err := c.fill(len(part) - m); err != nil {
					return fail(err)
				}
				c.r += copy(part[m:], c.in[c.r:c.w])
			} else if _, err := io.ReadFull(c.nc, part[m:]); err != nil {
				return fail(err)
			}
		}
		if last {
			if c.readingSince.Load() != 0 {
				c.readingSince.Store(0)
			}
			return rec, cost, nil
		}
	}
}

// extend makes room for n more bytes, moving them seldom enough that many small
// fragments cost no more than a few large ones.
func extend(rec *Buf, n int) *Buf {
	have := len(rec.b)
	if cap(rec.b)-have < n {
		bigger := NewBuf(max(2*have, have+n))
		copy(bigger.b, rec.b)
		rec.Release()
		rec = bigger
	}
	rec.b = rec.b[:have+n]
	return rec
}

func (s *Server) releaseRequest(cost int64) {
	s.requests.Release(cost)
	s.n.requestBytes.Add(-cost)
}

// send queues the reply of a call and, unless somebody is at it, writes what is queued.
func (c *conn) send(call *Call) {
	c.mu.Lock()
	c.out = append(c.out, call)
	if c.writing {
		c.mu.Unlock()
		return
	}
	c.writing = true
	for len(c.out) > 0 {
		batch := c.out
		c.out = c.spare[:0]
		c.spare = nil
		broken := c.broken
		only := c.calls == 1
		c.replying = len(batch)
		c.mu.Unlock()
		c.sock.unread = -1
		if !broken && c.write(batch) != nil {
			broken = true
			_ = c.nc.Close()
		}
		unread := c.sock.unread
		for i, b := range batch {
			b.Reply.Release()
			c.finished(b)
			batch[i] = nil
		}
		c.mu.Lock()
		c.replying = 0
		if unread >= 0 {
			c.lone.saw(only && unread == 0)
		}
		c.spare = batch[:0]
		c.broken = broken
	}
	c.writing = false
	c.mu.Unlock()
}

const (
	maxVec   = 64
	maxBatch = 4 << 20
)

func (c *conn) write(batch []*Call) error {
	defer c.writingSince.Store(0)
	for len(batch) > 0 {
		c.writingSince.Store(c.srv.tick.Load())
		if len(batch) == 1 {
			_, err := c.sock.Write(batch[0].Reply.b)
			return err
		}
		vec, n, size := c.vec[:0], 0, 0
		for ; n < len(batch) && n < maxVec && size < maxBatch; n++ {
			vec = append(vec, batch[n].Reply.b)
			size += len(batch[n].Reply.b)
		}
		c.vec = vec // WriteTo advances its receiver; the next round starts from the array again
		whole := vec
		_, err := c.vec.WriteTo(c.nc)
		clear(whole)
		c.vec = whole[:0]
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// finished ends a call whose reply is written or given up.
func (c *conn) finished(call *Call) {
	request, reply := call.requestCost, call.replyCost
	call.recycle()
	c.srv.releaseRequest(request)
	if reply > 0 {
		c.srv.replies.Release(reply)
	}
	c.mu.Lock()
	c.calls--
	c.bytes -= request + reply
	wake := c.waiting
	c.mu.Unlock()
	if wake {
		select {
		case c.released <- struct{}{}:
		default:
		}
	}
}

func (c *Call) recycle() {
	c.Record.Release()
	*c = Call{}
	callPool.Put(c)
}
