package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"manifold/internal/wire/accept"
)

// dataPlan is how the next data connection comes about.
type dataPlan struct {
	passive net.Listener
	active  netip.AddrPort
}

func (d *dataPlan) close() {
	if d.passive != nil {
		_ = d.passive.Close()
	}
	*d = dataPlan{}
}

// bind opens a port for one transfer and answers its number.
func (c *conn) bind(ctx context.Context) (uint16, bool) {
	c.data.close()
	l, err := c.s.o.Ports.ListenData(ctx, c.local.Addr())
	if err != nil {
		c.s.o.Logger.WarnContext(ctx, "ftp: no port for a data connection", "err", err)
		c.reply(425, "No port is free for a data connection.")
		return 0, false
	}
	c.data.passive = l
	return accept.AddrPort(l.Addr()).Port(), true
}

// pasv is RFC 959 4.1.2; it can name IPv4 addresses only.
func (c *conn) pasv(ctx context.Context, _ string) {
	if c.epsvAll {
		c.reply(501, "Only EPSV after EPSV ALL.")
		return
	}
	a := c.local.Addr()
	if c.set.PassiveAddress.Is4() {
		a = c.set.PassiveAddress
	}
	if !a.Is4() {
		c.reply(425, "Use EPSV.")
		return
	}
	if p, ok := c.bind(ctx); ok {
		b := a.As4()
		c.reply(227, fmt.Sprintf("Entering Passive Mode (%d,%d,%d,%d,%d,%d).", b[0], b[1], b[2], b[3], p>>8, p&0xff))
	}
}

// epsv is RFC 2428 3.
func (c *conn) epsv(ctx context.Context, arg string) {
	family := "1"
	if c.local.Addr().Is6() {
		family = "2"
	}
	switch {
	case strings.EqualFold(arg, "ALL"):
		c.epsvAll = true
		c.reply(200, "Only EPSV from now on.")
		return
	case arg != "" && arg != "1" && arg != "2":
		c.reply(501, "Unknown argument.")
		return
	case arg != "" && arg != family:
		c.reply(522, "Network protocol not supported, use ("+family+").")
		return
	}
	if p, ok := c.bind(ctx); ok {
		c.reply(229, fmt.Sprintf("Entering Extended Passive Mode (|||%d|).", p))
	}
}

// activate takes the port of a client. Ports of the system and other hosts
// would make this server attack them (RFC 2577).
func (c *conn) activate(a netip.AddrPort) {
	switch {
	case c.epsvAll:
		c.reply(501, "Only EPSV after EPSV ALL.")
	case a.Port() < 1024 || a.Addr().IsMulticast() || a.Addr().IsUnspecified() ||
		!c.set.AnyRemoteHost && a.Addr() != c.from.Addr():
		c.reply(504, "No data connection is made to that address.")
	default:
		c.data.close()
		c.data.active = a
		c.reply(200, "OK.")
	}
}

func (c *conn) port(_ context.Context, arg string) {
	a, err := parsePort(arg)
	if err != nil {
		c.reply(501, "The address cannot be read.")
		return
	}
	c.activate(a)
}

func (c *conn) eprt(_ context.Context, arg string) {
	a, known, err := parseEprt(arg)
	switch {
	case !known:
		c.reply(522, "Network protocol not supported, use (1,2).")
	case err != nil:
		c.reply(501, "The address cannot be read.")
	default:
		c.activate(a)
	}
}

// errForeign tells of a data connection from another host.
var errForeign = errors.New("ftp: only other hosts came to the data port")

// connect opens the data connection that the plan says.
func (c *conn) connect(ctx context.Context, plan *dataPlan) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.o.DataTimeout)
	defer cancel()
	if plan.passive == nil {
		return c.s.o.Ports.DialData(ctx, c.local.Addr(), plan.active)
	}
	l := plan.passive
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for range 16 {
		d, err := l.Accept()
		if err != nil {
			return nil, err
		}
		if c.set.AnyRemoteHost || accept.AddrPort(d.RemoteAddr()).Addr() == c.from.Addr() {
			return d, nil
		}
		_ = d.Close()
	}
	return nil, errForeign
}

// ending notes the end of a TCP stream. crypto/tls takes one between two records
// for the end of the session, which anybody on the way could have made.
type ending struct {
	net.Conn
	ended bool
	quick int // bytes that are still acknowledged at once
}

// quickBytes is how much of an encrypted data connection is acknowledged at
// once: handshake and contents of small files.
const quickBytes = 64 << 10

func (e *ending) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if err == io.EOF {
		e.ended = true
	}
	if e.quick > 0 {
		e.quick -= n
		quickAck(e.Conn)
	}
	return n, err
}

// encrypt does the handshake on a data connection.
func (c *conn) encrypt(ctx context.Context, raw *ending) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.o.DataTimeout)
	defer cancel()
	t := tls.Server(raw, c.tlsConfig)
	raw.quick = quickBytes
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// stalling gives each read and write of a data connection its time. Deadlines
// are moved when an eighth of the time is over, not with every call.
type stalling struct {
	net.Conn
	d           time.Duration
	read, write time.Time // when the deadlines were set
}

func (s *stalling) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(s.read) > s.d/8 {
		s.read = now
		_ = s.SetReadDeadline(now.Add(s.d))
	}
	return s.Conn.Read(b)
}

func (s *stalling) Write(b []byte) (int, error) {
	if now := time.Now(); now.Sub(s.write) > s.d/8 {
		s.write = now
		_ = s.SetWriteDeadline(now.Add(s.d))
	}
	return s.Conn.Write(b)
}
