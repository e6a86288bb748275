package smb

import (
	"bufio"
	"context"
	"crypto/sha512"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/wire/accept"
)

const (
	maxFrame   = 1<<24 - 1
	headroom   = 4 + transformSize
	smallFrame = 64 << 10
	readAhead  = 2 << 10
	maxPending = 4096 // requests of one connection in flight
	maxChain   = 256
	maxEnded   = 16
)

// conn is one transport connection.
type conn struct {
	s      *Server
	nc     net.Conn
	remote netip.AddrPort
	number uint64 // in the order of their coming
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	place  *accept.Place
	silent *time.Timer // ends who does not log in

	wmu sync.Mutex // of writes

	readErr chan error // why nothing more is read; see lead.go
	slow    slowWatch

	draining atomic.Bool
	policy   *Policy       // in force when the client connected
	agreed   atomic.Uint32 // the dialect, for those who do not negotiate

	// Set by negotiation, before anything else runs.
	dialect    uint16
	negotiated bool
	multi      bool // an SMB1 negotiate was answered with 2.???
	clientGUID [16]byte
	clientCaps uint32
	clientMode uint16
	dialects   []uint16 // that the client offered
	cipher     uint16
	signAlg    int
	preauth    [64]byte

	// Of whoever reads. Small frames come with their length in one call of the
	// system; what does not fit goes straight to where it belongs.
	in     *bufio.Reader
	lenBuf [4]byte

	mu       sync.Mutex
	credits  creditWindow
	sessions map[uint64]*session
	ended    map[uint64]*signer  // of sessions that are gone, to tell so under their keys
	pending  map[uint64]*request // by message id
	async    map[uint64]*request
	nextID   uint64
	closed   bool
	gone     chan struct{} // closed when it is in no session any more
	unacked  bool          // test control: breaks to this connection are not heard
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		s: s, nc: nc, policy: s.policy.Load(), remote: addrOf(nc), credits: newCreditWindow(s.o.MaxCredits),
		sessions: map[uint64]*session{}, pending: map[uint64]*request{}, async: map[uint64]*request{}, signAlg: signHMAC, gone: make(chan struct{}),
		readErr: make(chan error, 1), in: bufio.NewReaderSize(nc, readAhead),
	}
	c.slow.every = s.o.HeadStart
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.silent = time.AfterFunc(s.o.LoginTimeout, func() {
		s.o.Logger.Debug("client does not log in", "client", c.remote)
		_ = nc.Close()
	})
	return c
}

// loggedIn says that the client has told who it is.
func (c *conn) loggedIn() {
	c.silent.Stop()
	c.place.LoggedIn()
}

func (c *conn) serve() {
	defer c.teardown()
	defer c.place.Leave()
	defer c.silent.Stop()
	defer c.slow.stop()
	c.wg.Add(1)
	c.lead()
	c.wg.Done()
	err := <-c.readErr
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.s.o.Logger.Debug("connection ends", "client", c.remote, "err", err)
	}
}

// drain reads no more; what waits for others is given up.
func (c *conn) drain() {
	c.draining.Store(true)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

func (c *conn) teardown() {
	if c.draining.Load() {
		c.mu.Lock()
		for _, r := range c.async {
			r.cancel(statusError(stCancelled))
		}
		c.mu.Unlock()
		c.wg.Wait()
	}
	_ = c.nc.Close()
	c.mu.Lock()
	c.closed = true
	sessions := make([]*session, 0, len(c.sessions))
	for _, s := range c.sessions {
		sessions = append(sessions, s)
	}
	c.mu.Unlock()
	c.cancel()
	for _, s := range sessions {
		s.leave(c)
	}
	c.mu.Lock()
	for _, r := range c.pending {
		if !r.mayGoOn() {
			r.cancel(context.Canceled)
		}
	}
	c.mu.Unlock()
	c.s.drop(c)
	close(c.gone)
	c.wg.Wait()
}

// ends tells whether the connection is being taken out of its sessions.
func (c *conn) ends() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		return false
	}
	select {
	case <-c.gone:
		return false
	default:
		return true
	}
}

// mayGoOn tells whether a request outlives its connection: a create that can
// be replayed on another channel of the session. Needs c.mu.
func (r *request) mayGoOn() bool {
	s := r.replayable.Load()
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == sessionValid && len(s.channels) > 0
}

var errProtocol = errors.New("smb: protocol violation")

// next reads a frame; nil if it wants no answer, or has it.
func (c *conn) next() (*chain, error) {
	for {
		hdr := c.lenBuf[:]
		if _, err := io.ReadFull(c.in, hdr); err != nil {
			return nil, err
		}
		n := int(hdr[1])<<16 | int(hdr[2])<<8 | int(hdr[3])
		switch {
		case hdr[0] == 0x85 && n == 0: // NetBIOS keep-alive
			continue
		case hdr[0] != 0:
			return nil, errProtocol
		case n < 24, !c.negotiated && n > smallFrame, n > c.s.o.MaxWrite+64<<10 && n > c.s.o.MaxTransact+64<<10:
			return nil, errProtocol
		}
		if err := c.s.memory.Acquire(c.ctx, int64(n)); err != nil {
			return nil, err
		}
		buf := c.s.pool.get(n)
		if _, err := io.ReadFull(c.in, buf.b); err != nil {
			buf.Release()
			c.s.memory.Release(int64(n))
			return nil, err
		}
		return c.receive(buf, int64(n))
	}
}

// receive answers what is to be done for one frame, whose memory it takes over;
// nil if that was little and is done.
func (c *conn) receive(buf *buffer, held int64) (*chain, error) {
	done := func() {
		buf.Release()
		c.s.memory.Release(held)
	}
	ch := &chain{c: c, buf: buf, done: done}
	msg := buf.b
	switch le.Uint32(msg) {
	case magicSMB1:
		defer done()
		return nil, c.negotiateSMB1(msg)
	case magicTransform:
		var err error
		if msg, err = c.decrypt(ch, msg); err != nil {
			done()
			return nil, err
		}
	}
	if err := c.split(ch, msg); err != nil {
		done()
		return nil, err
	}
	first := ch.reqs[0]
	if first.hdr.command == cmdCancel {
		defer done()
		c.cancelRequest(first)
		return nil, nil
	}
	c.mu.Lock()
	tooMany := len(c.pending) > maxPending
	for _, r := range ch.reqs {
		c.pending[r.hdr.messageID] = r
	}
	c.mu.Unlock()
	if tooMany {
		done()
		return nil, errProtocol
	}
	return ch, nil
}

// split cuts a frame into its requests and takes their credits.
func (c *conn) split(ch *chain, msg []byte) error {
	for {
		h, ok := parseHeader(msg)
		if !ok || h.flags&flagResponse != 0 || len(ch.reqs) >= maxChain {
			return errProtocol
		}
		one := msg
		if h.next != 0 {
			if h.next%8 != 0 || h.next < headerSize || int(h.next) > len(msg)-headerSize {
				return errProtocol
			}
			one, msg = msg[:h.next], msg[h.next:]
		}
		r := &request{c: c, ch: ch, hdr: h, msg: one, index: len(ch.reqs)}
		if h.command != cmdCancel {
			c.mu.Lock()
			ok = c.credits.take(h.messageID, r.charge())
			c.mu.Unlock()
			if !ok {
				return errProtocol
			}
		}
		ctx := c.ctx
		if h.command == cmdCreate {
			ctx = c.s.ctx // ended by the teardown, if it may not go on
		}
		r.ctx, r.cancel = context.WithCancelCause(ctx)
		ch.reqs = append(ch.reqs, r)
		if h.next == 0 {
			break
		}
	}
	ch.last = len(ch.reqs) - 1
	return nil
}

var errTransform = errors.New("smb: bad encrypted message")

// decrypt opens a transformed frame in place.
func (c *conn) decrypt(ch *chain, msg []byte) ([]byte, error) {
	if len(msg) < transformSize+headerSize || c.dialect < dialect300 {
		return nil, errTransform
	}
	size, id := le.Uint32(msg[36:]), le.Uint64(msg[44:])
	if int(size) != len(msg)-transformSize || le.Uint16(msg[42:]) != 1 {
		return nil, errTransform
	}
	c.mu.Lock()
	s := c.sessions[id]
	c.mu.Unlock()
	if s == nil { // who has the key is told under it that it is not of this connection
		if s = c.s.session(id); s == nil {
			return nil, errTransform
		}
	}
	k := s.cipherKeys()
	if k == nil || k.in == nil {
		return nil, errTransform
	}
	var sealed []byte
	// The tag lies in front of the data; move it behind, as AEADs have it.
	var tag [16]byte
	copy(tag[:], msg[4:20])
	aad := msg[20:transformSize]
	body := msg[transformSize:]
	sealed = append(body, tag[:]...) // copies where the buffer has no room
	plain, err := k.in.Open(sealed[:0], msg[20:20+k.in.NonceSize()], sealed, aad)
	if err != nil {
		return nil, errTransform
	}
	ch.sealed, ch.copied = s, len(plain) > 0 && &plain[0] != &body[0]
	return plain, nil
}

// write sends a frame. b has headroom before the first message.
func (c *conn) write(b []byte, sealed *session) {
	if sealed != nil {
		k := sealed.cipherKeys()
		body := b[headroom:]
		t := b[4:headroom]
		clear(t)
		le.PutUint32(t, magicTransform)
		le.PutUint64(t[20:], sealed.nonce.Add(1))
		le.PutUint32(t[36:], uint32(len(body)))
		le.PutUint16(t[42:], 1)
		le.PutUint64(t[44:], sealed.id)
		out := k.out.Seal(body[:0], t[20:20+k.out.NonceSize()], body, t[20:])
		n := len(out) - 16
		copy(t[4:20], out[n:])
		if &out[0] != &body[0] {
			b = append(b[:headroom:headroom], out[:n]...)
		}
	} else {
		b = b[transformSize:]
	}
	n := len(b) - 4
	b[0], b[1], b[2], b[3] = 0, byte(n>>16), byte(n>>8), byte(n)
	c.wmu.Lock()
	defer c.wmu.Unlock()
	_ = c.nc.SetWriteDeadline(time.Now().Add(60 * time.Second))
	if _, err := c.nc.Write(b); err != nil {
		_ = c.nc.Close()
	}
}

func (c *conn) cancelRequest(r *request) {
	c.mu.Lock()
	var t *request
	if r.hdr.flags&flagAsync != 0 {
		t = c.async[r.hdr.asyncID]
	} else {
		t = c.pending[r.hdr.messageID]
	}
	c.mu.Unlock()
	if t != nil {
		t.cancel(statusError(stCancelled))
	}
}

func (c *conn) forget(r *request) {
	c.mu.Lock()
	delete(c.pending, r.hdr.messageID)
	if r.asyncID != 0 {
		delete(c.async, r.asyncID)
	}
	c.mu.Unlock()
}

func chainHash(h *[64]byte, msg []byte) {
	d := sha512.New()
	d.Write(h[:])
	d.Write(msg)
	d.Sum(h[:0])
}
