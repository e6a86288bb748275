// Package nfsclient is a userspace NFSv3 client (RFC 1813) over TCP for tests:
// the crash checker, protocol tests and load generators drive a server with it.
//
// Invariants: one Conn may be used by many goroutines, calls are pipelined and
// matched by xid; a call never retries, so the caller knows exactly what was
// acknowledged: an error that is not a Status means "unknown outcome"; replies
// are bounded. It must not know how any server works inside.
package nfsclient

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Programs and versions.
const (
	progNFS   = 100003
	progMount = 100005
)

// maxReply bounds one reply record.
const maxReply = 4 << 20

// ErrGarbled says that a reply could not be decoded.
var ErrGarbled = errors.New("nfsclient: reply cannot be decoded")

// RPCError is a reply that refused the call below the level of NFS.
type RPCError struct {
	Denied bool
	Code   uint32 // accept_stat, or reject_stat when Denied
}

func (e *RPCError) Error() string {
	return fmt.Sprintf("nfsclient: RPC refused (denied %v, code %d)", e.Denied, e.Code)
}

// Cred is an AUTH_SYS credential.
type Cred struct {
	UID, GID uint32
	GIDs     []uint32 // at most 16
}

// Conn is one TCP connection.
type Conn struct {
	nc   net.Conn
	cred []byte
	xid  atomic.Uint32
	// wmu orders writers of nc.
	wmu sync.Mutex
	mu  struct {
		sync.Mutex
		pending map[uint32]chan []byte
		err     error
	}
	done chan struct{} // closed when the reader has ended
}

// Dial connects to an NFS server.
func Dial(ctx context.Context, addr string, cred Cred) (*Conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return NewConn(nc, cred), nil
}

// NewConn speaks over a connection that exists already and owns it from now on.
func NewConn(nc net.Conn, cred Cred) *Conn {
	c := &Conn{nc: nc, done: make(chan struct{})}
	var w writer
	w.u32(0) // stamp
	w.opaque([]byte("nfsclient"))
	w.u32(cred.UID)
	w.u32(cred.GID)
	w.u32(uint32(len(cred.GIDs)))
	for _, g := range cred.GIDs {
		w.u32(g)
	}
	c.cred = w.b
	c.xid.Store(uint32(time.Now().UnixNano()))
	c.mu.pending = map[uint32]chan []byte{}
	go c.read()
	return c
}

// Close ends the connection and waits for its reader; pending calls fail.
func (c *Conn) Close() error {
	err := c.nc.Close()
	<-c.done
	return err
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.err == nil {
		c.mu.err = err
	}
	for x, ch := range c.mu.pending {
		close(ch)
		delete(c.mu.pending, x)
	}
}

func (c *Conn) read() {
	defer close(c.done)
	for {
		rec, err := readRecord(c.nc)
		if err != nil {
			c.fail(err)
			return
		}
		if len(rec) < 4 {
			c.fail(ErrGarbled)
			return
		}
		xid := binary.BigEndian.Uint32(rec)
		c.mu.Lock()
		ch := c.mu.pending[xid]
		delete(c.mu.pending, xid)
		c.mu.Unlock()
		if ch != nil {
			ch <- rec[4:]
		}
	}
}

func readRecord(r io.Reader) ([]byte, error) {
	var rec []byte
	for {
		var h [4]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return nil, err
		}
		m := binary.BigEndian.Uint32(h[:])
		n := int(m &^ (1 << 31))
		if n > maxReply-len(rec) {
			return nil, fmt.Errorf("nfsclient: reply over %d bytes", maxReply)
		}
		at := len(rec)
		rec = append(rec, make([]byte, n)...)
		if _, err := io.ReadFull(r, rec[at:]); err != nil {
			return nil, err
		}
		if m>>31 == 1 {
			return rec, nil
		}
	}
}

// Call does one RPC and returns a reader of its results. An error leaves the
// outcome unknown unless it is an [RPCError].
func (c *Conn) call(ctx context.Context, prog, proc uint32, args []byte) (*reader, error) {
	xid := c.xid.Add(1)
	w := writer{b: make([]byte, 4, 128+len(args))}
	for _, v := range []uint32{xid, 0, 2, prog, 3, proc, 1} {
		w.u32(v)
	}
	w.opaque(c.cred)
	w.u32(0) // verifier AUTH_NONE
	w.u32(0)
	w.b = append(w.b, args...)
	binary.BigEndian.PutUint32(w.b, uint32(len(w.b)-4)|1<<31)

	ch := make(chan []byte, 1)
	c.mu.Lock()
	if err := c.mu.err; err != nil {
		c.mu.Unlock()
		return nil, err
	}
	c.mu.pending[xid] = ch
	c.mu.Unlock()
	c.wmu.Lock()
	_, err := c.nc.Write(w.b)
	c.wmu.Unlock()
	if err != nil {
		c.nc.Close() // a half-written record poisons the stream
		c.fail(err)
		return nil, err
	}
	select {
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.mu.pending, xid)
		c.mu.Unlock()
		return nil, ctx.Err()
	case b, ok := <-ch:
		if !ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			return nil, c.mu.err
		}
		return replyBody(b)
	}
}

// replyBody checks the reply header of RFC 5531 §9.
func replyBody(b []byte) (*reader, error) {
	r := &reader{b: b}
	if r.u32() != 1 {
		return nil, ErrGarbled
	}
	if r.u32() != 0 {
		return nil, &RPCError{Denied: true, Code: r.u32()}
	}
	r.u32() // verifier flavor
	r.opaque(400)
	code := r.u32()
	if r.bad {
		return nil, ErrGarbled
	}
	if code != 0 {
		return nil, &RPCError{Code: code}
	}
	return r, nil
}

// writer encodes XDR.
type writer struct{ b []byte }

func (w *writer) u32(v uint32)    { w.b = binary.BigEndian.AppendUint32(w.b, v) }
func (w *writer) u64(v uint64)    { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) str(s string)    { w.opaque([]byte(s)) }
func (w *writer) opaque(p []byte) { w.u32(uint32(len(p))); w.fixed(p) }

func (w *writer) fixed(p []byte) {
	w.b = append(w.b, p...)
	w.b = append(w.b, make([]byte, -len(p)&3)...)
}

// reader decodes XDR; after a failure it is bad and yields zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reader) u32() uint32 {
	if p := r.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if p := r.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (r *reader) bool() bool { return r.u32() != 0 }

func (r *reader) opaque(limit int) []byte {
	n := r.u32()
	if n > uint32(limit) {
		r.bad = true
		return nil
	}
	p := r.take(int(n))
	r.take(-int(n) & 3)
	return p
}
