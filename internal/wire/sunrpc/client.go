package sunrpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
)

// An Error is a reply that is not a success.
type Error struct {
	Denied bool
	Accept Accept   // unless Denied
	Auth   AuthStat // if Denied for the credential
}

func (e *Error) Error() string {
	if e.Denied {
		return fmt.Sprintf("sunrpc: call denied, authentication state %d", e.Auth)
	}
	return fmt.Sprintf("sunrpc: call not done, accept state %d", e.Accept)
}

var (
	// ErrClosed says that the connection was lost or closed before the reply came.
	ErrClosed = errors.New("sunrpc: connection closed")
	errReply  = errors.New("sunrpc: malformed reply")
)

// SysCred is the AUTH_SYS credential of a client.
type SysCred struct {
	Machine  string
	UID, GID uint32
	GIDs     []uint32
}

func (c *SysCred) encode(e *Encoder) {
	if c == nil {
		e.U64(0)
		return
	}
	e.U32(uint32(FlavorSys))
	at := e.Len()
	e.U32(0)
	e.U32(0) // stamp
	e.String(c.Machine)
	e.U32(c.UID)
	e.U32(c.GID)
	e.U32(uint32(len(c.GIDs)))
	for _, g := range c.GIDs {
		e.U32(g)
	}
	e.SetU32(at, uint32(e.Len()-at-4))
}

// EncodeCall appends the header of a call and of its credential, nil being AUTH_NONE.
func EncodeCall(e *Encoder, xid, prog, vers, proc uint32, cred *SysCred) {
	e.U32(xid)
	e.U32(msgCall)
	e.U32(rpcVersion)
	e.U32(prog)
	e.U32(vers)
	e.U32(proc)
	cred.encode(e)
	e.U64(0)
}

// A Client makes calls over one stream connection; many may be under way.
type Client struct {
	nc       net.Conn
	maxReply int

	wmu sync.Mutex

	mu      sync.Mutex
	xid     uint32
	pending map[uint32]chan []byte
	err     error
	done    chan struct{}
}

// NewClient owns nc. Its goroutine ends with Close or when the connection fails.
func NewClient(nc net.Conn) *Client {
	c := &Client{nc: nc, maxReply: 2 << 20, pending: map[uint32]chan []byte{}, done: make(chan struct{}),
		xid: rand.Uint32()} // programs that start one after another must not repeat each other's
	go c.read()
	return c
}

// Close cuts the connection; calls under way fail.
func (c *Client) Close() error {
	err := c.nc.Close()
	<-c.done
	return err
}

func (c *Client) read() {
	defer close(c.done)
	r := bufio.NewReader(c.nc)
	for {
		rec, err := readRecord(r, c.maxReply)
		if err != nil || len(rec) < 4 {
			break
		}
		xid := binary.BigEndian.Uint32(rec)
		c.mu.Lock()
		ch := c.pending[xid]
		delete(c.pending, xid)
		c.mu.Unlock()
		if ch != nil {
			ch <- rec
		}
	}
	_ = c.nc.Close()
	c.mu.Lock()
	c.err = ErrClosed
	for xid, ch := range c.pending {
		close(ch)
		delete(c.pending, xid)
	}
	c.mu.Unlock()
}

func readRecord(r io.Reader, limit int) ([]byte, error) {
	var rec []byte
	for {
		var mark [4]byte
		if _, err := io.ReadFull(r, mark[:]); err != nil {
			return nil, err
		}
		m := binary.BigEndian.Uint32(mark[:])
		n := int(m &^ lastFragment)
		if len(rec)+n > limit {
			return nil, errReply
		}
		at := len(rec)
		rec = append(rec, make([]byte, n)...)
		if _, err := io.ReadFull(r, rec[at:]); err != nil {
			return nil, err
		}
		if m&lastFragment != 0 {
			return rec, nil
		}
	}
}

// Call makes one call. args encodes the arguments (nil: none); results, if not
// nil, decodes what came back and must check the decoder.
func (c *Client) Call(ctx context.Context, prog, vers, proc uint32, cred *SysCred, args func(*Encoder), results func(*Decoder) error) error {
	ch := make(chan []byte, 1)
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	c.xid++
	xid := c.xid
	c.pending[xid] = ch
	c.mu.Unlock()
	e := NewEncoder(smallSize)
	e.U32(0)
	EncodeCall(&e, xid, prog, vers, proc, cred)
	if args != nil {
		args(&e)
	}
	e.SetU32(0, lastFragment|uint32(e.Len()-4))
	c.wmu.Lock()
	_, err := c.nc.Write(e.b)
	c.wmu.Unlock()
	e.Release()
	if err != nil {
		c.forget(xid)
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	select {
	case rec, ok := <-ch:
		if !ok {
			return ErrClosed
		}
		d, err := DecodeReply(rec)
		if err != nil || results == nil {
			return err
		}
		return results(&d)
	case <-ctx.Done():
		c.forget(xid)
		return ctx.Err()
	}
}

func (c *Client) forget(xid uint32) {
	c.mu.Lock()
	delete(c.pending, xid)
	c.mu.Unlock()
}

// DecodeReply reads the header of a reply without its record mark and answers
// the decoder of its results, or an *Error.
func DecodeReply(rec []byte) (Decoder, error) {
	d := NewDecoder(rec)
	d.U32()
	if d.U32() != msgReply {
		return d, errReply
	}
	switch d.U32() {
	case replyAccepted:
		d.U32()
		d.Opaque(maxAuthBody)
		a := Accept(d.U32())
		if !d.OK() {
			return d, errReply
		}
		if a != Success {
			return d, &Error{Accept: a}
		}
		return d, nil
	case replyDenied:
		e := &Error{Denied: true}
		if d.U32() == rejectAuth {
			e.Auth = AuthStat(d.U32())
		}
		if d.OK() {
			return d, e
		}
	}
	return d, errReply
}
