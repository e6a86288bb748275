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
	p.udp, _ = pc.(*net.UDPConn)
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
		n, peer, addr, err := p.receive(rec.b)
		if err != nil {
			rec.Release()
			if ctx.Err() != nil || s.isDraining() || errors.Is(err, net.ErrClosed) {
				return err
			}
			continue // an ICMP error of an earlier answer, or a datagram that is too long
		}
		rec.b = rec.b[:n]
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

func (p *packetPort) receive(b []byte) (int, netip.AddrPort, net.Addr, error) {
	if p.udp != nil {
		n, from, err := p.udp.ReadFromUDPAddrPort(b)
		return n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), nil, err
	}
	n, addr, err := p.pc.ReadFrom(b)
	if err != nil {
		return 0, netip.AddrPort{}, nil, err
	}
	return n, addrPort(addr), addr, nil
}

func (p *packetPeer) send(c *Call) {
	b := c.Reply.b[4:] // datagrams have no record mark
	if p.port.udp != nil {
		to := c.Peer
		if local := addrPort(p.port.udp.LocalAddr()); local.Addr().Is6() && to.Addr().Is4() {
			to = netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
		}
		_, _ = p.port.udp.WriteToUDPAddrPort(b, to) // a lost answer is repeated at the client's wish
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
