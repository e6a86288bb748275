package rpcbind

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"manifold/internal/wire/sunrpc"
)

// owner of all entries, as rpcinfo shows it.
const owner = "superuser"

// mapping is the rpcb of versions 3 and 4.
type mapping struct {
	prog, vers  uint32
	netid, addr string
}

func decodeMapping(d *sunrpc.Decoder) mapping {
	m := mapping{prog: d.U32(), vers: d.U32()}
	m.netid, m.addr = string(d.Opaque(maxString)), string(d.Opaque(maxString))
	d.Opaque(maxString) // the owner says nothing that is believed
	return m
}

func (s *Server) rpcbind(c *sunrpc.Call) sunrpc.Accept {
	d, e := &c.Args, &c.Reply
	switch c.Proc {
	case procSet, procUnset, procGetAddr, procGetVersAddr, procGetAddrList:
		m := decodeMapping(d)
		if !d.OK() {
			return sunrpc.GarbageArgs
		}
		s.mapped(c, m)
	case procDump:
		for _, x := range s.list() {
			e.U32(1)
			e.U32(x.Prog)
			e.U32(x.Vers)
			e.String(x.Net)
			e.String(uaddr(anyAddr(x.Net), x.Port))
			e.String(owner)
		}
		e.U32(0)
	case procGetTime:
		e.U32(uint32(s.o.Now().Unix()))
	case procUaddrToTaddr:
		text := string(d.Opaque(maxString))
		if !d.OK() {
			return sunrpc.GarbageArgs
		}
		b := sockaddr(text)
		e.U32(uint32(len(b)))
		e.Opaque(b)
	case procTaddrToUaddr:
		d.U32() // the length of the caller's buffer
		b := d.Opaque(maxString)
		if !d.OK() {
			return sunrpc.GarbageArgs
		}
		e.String(sockaddrText(b))
	case procGetStat:
		s.encodeStats(e)
	}
	return sunrpc.Success
}

func (s *Server) mapped(c *sunrpc.Call, m mapping) {
	e := &c.Reply
	switch c.Proc {
	case procSet:
		a, ok := parseUaddr(m.addr)
		e.Bool(ok && knownNet(m.netid) && s.set(c, Entry{m.prog, m.vers, m.netid, a.Port()}))
	case procUnset:
		if m.netid == "" {
			e.Bool(s.unset(c, m.prog, m.vers))
		} else {
			e.Bool(s.unset(c, m.prog, m.vers, m.netid))
		}
	case procGetAddr, procGetVersAddr:
		netid := m.netid
		if !knownNet(netid) {
			netid = arrivedBy(c)
		}
		x, ok := s.find(m.prog, m.vers, netid, c.Proc == procGetVersAddr)
		if !ok {
			e.String("")
			return
		}
		e.String(uaddr(reach(c, x.Net), x.Port))
	case procGetAddrList:
		for _, x := range s.list() {
			if x.Prog != m.prog || x.Vers != m.vers {
				continue
			}
			e.U32(1)
			e.String(uaddr(reach(c, x.Net), x.Port))
			e.String(x.Net)
			family, proto, semantics := "inet", "tcp", uint32(3) // connections with orderly release
			if strings.HasSuffix(x.Net, "6") {
				family = "inet6"
			}
			if strings.HasPrefix(x.Net, "udp") {
				proto, semantics = "udp", 1
			}
			e.U32(semantics)
			e.String(family)
			e.String(proto)
		}
		e.U32(0)
	}
}

func knownNet(n string) bool { return n == "tcp" || n == "udp" || n == "tcp6" || n == "udp6" }

// arrivedBy is the transport that a call came over.
func arrivedBy(c *sunrpc.Call) string {
	n := "tcp"
	if c.Packet {
		n = "udp"
	}
	if c.Peer.Addr().Is6() {
		n += "6"
	}
	return n
}

func anyAddr(netid string) netip.Addr {
	if strings.HasSuffix(netid, "6") {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// reach is the address at which the caller reaches this machine: the one it
// called, if that is of the transport's family.
func reach(c *sunrpc.Call, netid string) netip.Addr {
	a := c.Local.Addr()
	if a.IsValid() && a.Is6() == strings.HasSuffix(netid, "6") {
		return a
	}
	return anyAddr(netid)
}

// Address families of Linux, as socket addresses carry them.
const (
	familyInet  = 2
	familyInet6 = 10
)

// sockaddr is the socket address of a universal address, empty if it is none.
func sockaddr(text string) []byte {
	a, ok := parseUaddr(text)
	if !ok {
		return nil
	}
	if a.Addr().Is4() {
		b := make([]byte, 16)
		binary.NativeEndian.PutUint16(b, familyInet)
		binary.BigEndian.PutUint16(b[2:], a.Port())
		copy(b[4:], a.Addr().AsSlice())
		return b
	}
	b := make([]byte, 28)
	binary.NativeEndian.PutUint16(b, familyInet6)
	binary.BigEndian.PutUint16(b[2:], a.Port())
	copy(b[8:], a.Addr().AsSlice())
	return b
}

func sockaddrText(b []byte) string {
	if len(b) < 8 {
		return ""
	}
	port := binary.BigEndian.Uint16(b[2:])
	switch binary.NativeEndian.Uint16(b) {
	case familyInet:
		return uaddr(netip.AddrFrom4([4]byte(b[4:8])), port)
	case familyInet6:
		if len(b) >= 24 {
			return uaddr(netip.AddrFrom16([16]byte(b[8:24])), port)
		}
	}
	return ""
}

// encodeStats writes an rpcb_stat_byvers: for each version counts of calls, of
// SET and UNSET, and no list of what was asked for.
func (s *Server) encodeStats(e *sunrpc.Encoder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for v := range s.stats {
		for _, n := range s.stats[v] {
			e.U32(n)
		}
		e.U32(s.sets[v])
		e.U32(s.unsets[v])
		e.U32(0)
		e.U32(0)
	}
}
