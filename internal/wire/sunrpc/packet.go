package sunrpc

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// maxPacket is the longest datagram taken; calls that make sense over UDP are shorter.
const maxPacket = 9000

// maxPacketCalls bounds datagrams handled at once on one socket; more are dropped,
// as UDP clients repeat.
const maxPacketCalls = 64

// packetPort is one datagram socket.
type packetPort struct {
	srv   *Server
	pc    net.PacketConn
	udp   *net.UDPConn // pc if it is one: spares an allocation per datagram
	info  bool         // udp tells destination addresses
	wide  bool         // udp is an IPv6 socket
	oob   [oobSize]byte
	calls atomic.Int64
	wg    sync.WaitGroup
}

// packetPeer is where a datagram came from.
type packetPeer struct {
	port *packetPort
	addr net.Addr // unless port.udp
}

// ServePacket answers datagrams until ctx ends or Shutdown is called. Only
// programs with Packet are served. The socket is closed in any case.
func (s *Server) ServePacket(ctx context.Context, pc net.PacketConn) error {
	// Closing the socket would take away answers of calls in flight.
	leave, err := s.enter(func() { _ = pc.SetReadDeadline(time.Unix(1, 0)) })
	if err != nil {
		_ = pc.Close()
		return err
	}
	defer leave()
	p := &packetPort{srv: s, pc: pc}
	if p.udp, _ = pc.(*net.UDPConn); p.udp != nil {
		p.info = wantDestinations(p.udp)
		p.wide = localAddr(p.udp).Is6()
	}
	stop := context.AfterFunc(ctx, func() { _ = pc.Close() })
	defer stop()
	local := addrPort(pc.LocalAddr())
	err = p.read(ctx, local)
	p.wg.Wait()
	_ = pc.Close()
	if ctx.Err() != nil || s.isDraining() {
		return nil
	}
	return err
}

func (p *packetPort) read(ctx context.Context, local netip.AddrPort) error {
	s := p.srv
	for {
		rec := NewBuf(maxPacket)
		n, peer, dest, addr, err := p.receive(rec.b)
		if err != nil {
			rec.Release()
			if ctx.Err() != nil || s.isDraining() || errors.Is(err, net.ErrClosed) {
				return err
			}
			continue // an ICMP error of an earlier answer, or a datagram that is too long
		}
		rec.b = rec.b[:n]
		local := local
		if dest.IsValid() {
			local = netip.AddrPortFrom(dest, local.Port())
		}
		call := callPool.Get().(*Call)
		*call = Call{Record: rec, Packet: true, Peer: peer, Local: local, Start: time.Now(), ctx: ctx,
			packet: &packetPeer{port: p, addr: addr}, replyHint: smallSize}
		p.wg.Add(1)
		if p.calls.Add(1) > maxPacketCalls || !s.route(call) {
			s.n.packetsLost.Add(1)
			call.packet.finished(call)
			continue
		}
		s.dispatch(ctx, call)
	}
}

// localAddr is the address of a socket as it is bound, IPv4 in IPv6 not told apart.
func localAddr(u *net.UDPConn) netip.Addr {
	a, _ := u.LocalAddr().(*net.UDPAddr)
	if a == nil {
		return netip.Addr{}
	}
	return a.AddrPort().Addr()
}

// receive answers the length, sender and, where it is known, destination of a datagram.
func (p *packetPort) receive(b []byte) (n int, peer netip.AddrPort, dest netip.Addr, addr net.Addr, err error) {
	if p.udp != nil {
		n, oobn, _, from, err := p.udp.ReadMsgUDPAddrPort(b, p.oob[:])
		if err == nil && p.info {
			dest, _ = destination(p.oob[:oobn])
		}
		return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), dest, nil, err
	}
	if n, addr, err = p.pc.ReadFrom(b); err != nil {
		return 0, peer, dest, nil, err
	}
	return n, addrPort(addr), dest, addr, nil
}

func (p *packetPeer) send(c *Call) {
	b := c.Reply.b[4:] // datagrams have no record mark
	// A lost answer is repeated at the client's wish.
	if udp := p.port.udp; udp != nil {
		to, from := c.Peer, c.Local.Addr()
		if p.port.wide && to.Addr().Is4() {
			to = netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
		}
		var oob []byte
		if p.port.info && from.IsValid() && !from.IsUnspecified() && !from.IsMulticast() {
			oob = source(from)
		}
		if _, _, err := udp.WriteMsgUDPAddrPort(b, oob, to); err != nil && oob != nil {
			// The destination was no address of ours, a broadcast.
			_, _ = udp.WriteToUDPAddrPort(b, to)
		}
	} else {
		_, _ = p.port.pc.WriteTo(b, p.addr)
	}
	c.Reply.Release()
	p.finished(c)
}

func (p *packetPeer) finished(c *Call) {
	c.recycle()
	p.port.calls.Add(-1)
	p.port.wg.Done()
}
