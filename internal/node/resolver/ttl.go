package resolver

import (
	"net"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// watch sees the answers that the library reads, since it does not tell how
// long they hold.
type watch struct {
	mu   sync.Mutex
	seen ttl
}

// conn lets the watch see what is read from c.
func (w *watch) conn(c net.Conn) net.Conn {
	if p, ok := c.(net.PacketConn); ok {
		return &packets{c, p, w}
	}
	return &stream{Conn: c, w: w}
}

// life is the shortest time that an answer said it holds.
func (w *watch) life() ttl {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

func (w *watch) message(b []byte) {
	d, ok := holds(b)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.seen.known || d < w.seen.d {
		w.seen = ttl{d, true}
	}
}

// maxRecords bounds what is looked at of one message.
const maxRecords = 256

// holds answers how long a DNS message holds: the least of its answers, or if
// there are none what its zone says of absent names (RFC 2308 section 5).
func holds(b []byte) (time.Duration, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError || p.SkipAllQuestions() != nil {
		return 0, false
	}
	least, any := uint32(0), false
	take := func(n uint32) {
		if n > 1<<31-1 {
			n = 0 // RFC 2181 section 8
		}
		if !any || n < least {
			least, any = n, true
		}
	}
	for range maxRecords {
		r, err := p.AnswerHeader()
		if err != nil {
			break
		}
		take(r.TTL)
		if p.SkipAnswer() != nil {
			return 0, false
		}
	}
	if any {
		return time.Duration(least) * time.Second, true
	}
	for range maxRecords {
		r, err := p.AuthorityHeader()
		if err != nil {
			break
		}
		if r.Type != dnsmessage.TypeSOA {
			if p.SkipAuthority() != nil {
				return 0, false
			}
			continue
		}
		soa, err := p.SOAResource()
		if err != nil {
			return 0, false
		}
		take(min(r.TTL, soa.MinTTL))
	}
	return time.Duration(least) * time.Second, any
}

// packets is a socket that gives a message with each read. The library tells it
// from a stream by its being a PacketConn.
type packets struct {
	net.Conn
	net.PacketConn
	w *watch
}

func (c *packets) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.message(b[:n])
	return n, err
}

func (c *packets) Close() error                       { return c.Conn.Close() }
func (c *packets) LocalAddr() net.Addr                { return c.Conn.LocalAddr() }
func (c *packets) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(t) }
func (c *packets) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(t) }
func (c *packets) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(t) }

// stream is a connection with a length before each message (RFC 1035 section 4.2.2).
type stream struct {
	net.Conn
	w   *watch
	got []byte // what is read of the present message
}

func (c *stream) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for c.got = append(c.got, b[:n]...); len(c.got) >= 2; {
		size := 2 + int(c.got[0])<<8 + int(c.got[1])
		if len(c.got) < size {
			break
		}
		c.w.message(c.got[2:size])
		c.got = c.got[size:]
	}
	return n, err
}
