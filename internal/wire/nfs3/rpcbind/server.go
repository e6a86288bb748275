// Package rpcbind tells clients the ports of RPC programs: the RPCBIND protocol,
// versions 3 and 4, and its forerunner, the port mapper, version 2 (RFC 1833).
// It can be the server on port 111, or register with one that the machine has.
//
// Invariants: entries given at the start cannot be changed over the network.
// Only this machine, from a privileged port, may add and remove others, of which
// there is a bounded number. Calls on behalf of others (CALLIT, BCAST, INDIRECT)
// are never made: they let a stranger borrow this machine's address.
//
// The package must not know what the programs do. It opens no sockets.
package rpcbind

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"manifold/internal/wire/sunrpc"

	"golang.org/x/time/rate"
)

// Program is the RPC program number of rpcbind.
const Program = 100000

// Entry is one program version on one transport.
type Entry struct {
	Prog, Vers uint32
	// Net is "tcp", "udp", "tcp6" or "udp6".
	Net  string
	Port uint16
}

// Options configure a Server.
type Options struct {
	// Entries that are there from the start. rpcbind itself need not be among
	// them if Port is set.
	Entries []Entry
	// Port that the server is reached at: 111 unless it was moved.
	Port uint16
	// IPv6 lists rpcbind itself on IPv6 too.
	IPv6   bool
	Logger *slog.Logger // discards
	Now    func() time.Time
}

// maxAdded bounds entries that local programs add.
const maxAdded = 256

const maxString = 256

// Server answers rpcbind calls.
type Server struct {
	o   Options
	rpc *sunrpc.Server

	quiet rate.Sometimes // of messages that strangers can cause

	mu      sync.Mutex
	entries []Entry
	fixed   int // entries[:fixed] stay
	stats   [3][procCount]uint32
	sets    [3]uint32
	unsets  [3]uint32
}

// Procedures. Version 2 has those up to callit, with getport in getaddr's place.
const (
	procNull = iota
	procSet
	procUnset
	procGetAddr
	procDump
	procCallIt
	procGetTime
	procUaddrToTaddr
	procTaddrToUaddr
	procGetVersAddr
	procIndirect
	procGetAddrList
	procGetStat
	procCount
)

// New builds a server. It owns no goroutine until it serves.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Port == 0 {
		o.Port = 111
	}
	s := &Server{o: o, quiet: rate.Sometimes{First: 20, Interval: time.Second}}
	nets := []string{"tcp", "udp"}
	if o.IPv6 {
		nets = append(nets, "tcp6", "udp6")
	}
	for vers := uint32(2); vers <= 4; vers++ {
		for _, n := range nets {
			s.entries = append(s.entries, Entry{Program, vers, n, o.Port})
		}
	}
	s.entries = append(s.entries, o.Entries...)
	s.fixed = len(s.entries)
	s.rpc = sunrpc.New(sunrpc.Options{
		Logger:    o.Logger,
		MaxRecord: 16 << 10, MaxConns: 256, MaxConnsPerAddr: 32, MaxCallsPerConn: 16,
		MaxBytesPerConn: 256 << 10, MaxRequestBytes: 8 << 20, MaxReplyBytes: 8 << 20, MaxWorkers: 64,
		StallTimeout: 10 * time.Second, CacheEntries: 64, CacheBytes: 64 << 10,
		Programs: []*sunrpc.Program{{Number: Program, Versions: []uint32{2, 3, 4}, Packet: true, Handle: s.handle}},
	})
	return s
}

// Serve answers on connections from l until ctx ends or Shutdown. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error { return s.rpc.Serve(ctx, l) }

// ServePacket answers datagrams likewise.
func (s *Server) ServePacket(ctx context.Context, pc net.PacketConn) error {
	return s.rpc.ServePacket(ctx, pc)
}

// Shutdown stops taking calls and returns when those that arrived are answered.
func (s *Server) Shutdown(ctx context.Context) error { return s.rpc.Shutdown(ctx) }

func (s *Server) handle(_ context.Context, c *sunrpc.Call) sunrpc.Accept {
	last := uint32(procGetStat)
	switch c.Vers {
	case 2:
		last = procCallIt
	case 3:
		last = procTaddrToUaddr
	}
	if c.Proc > last {
		return sunrpc.ProcedureUnavailable
	}
	s.mu.Lock()
	s.stats[c.Vers-2][c.Proc]++
	s.mu.Unlock()
	switch c.Proc {
	case procNull:
		return sunrpc.Success
	case procCallIt:
		// Not even an error in a datagram, whose sender may be forged.
		if c.Packet {
			return sunrpc.NoReply
		}
		return sunrpc.ProcedureUnavailable
	case procIndirect:
		return sunrpc.ProcedureUnavailable
	}
	if c.Vers == 2 {
		return s.portmap(c)
	}
	return s.rpcbind(c)
}

// find answers the entry for a program on a transport: of that version, or of
// any if none has it, so that the client learns the versions from the program.
func (s *Server) find(prog, vers uint32, netid string, exact bool) (Entry, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var any Entry
	found := false
	for _, e := range s.entries {
		if e.Prog == prog && e.Net == netid {
			if e.Vers == vers {
				return e, true
			}
			any, found = e, !exact
		}
	}
	return any, found
}

func (s *Server) list() []Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries)
}

// mayChange tells whether the caller is a privileged program of this machine.
func mayChange(c *sunrpc.Call) bool {
	return c.Peer.Addr().IsLoopback() && c.Peer.Port() < 1024
}

func (s *Server) set(c *sunrpc.Call, e Entry) bool {
	if !mayChange(c) || e.Port == 0 {
		s.quiet.Do(func() {
			s.o.Logger.Warn("rpcbind: registration refused", "client", c.Peer, "program", e.Prog)
		})
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sets[c.Vers-2]++
	for _, o := range s.entries {
		if o.Prog == e.Prog && o.Vers == e.Vers && o.Net == e.Net {
			return o == e
		}
	}
	if len(s.entries)-s.fixed >= maxAdded {
		return false
	}
	s.entries = append(s.entries, e)
	return true
}

// unset removes what was added, on one transport or, with "", on all.
func (s *Server) unset(c *sunrpc.Call, prog, vers uint32, nets ...string) bool {
	if !mayChange(c) {
		s.quiet.Do(func() { s.o.Logger.Warn("rpcbind: removal refused", "client", c.Peer, "program", prog) })
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsets[c.Vers-2]++
	added := s.entries[s.fixed:]
	kept := slices.DeleteFunc(added, func(e Entry) bool {
		return e.Prog == prog && e.Vers == vers && (len(nets) == 0 || slices.Contains(nets, e.Net))
	})
	s.entries = s.entries[:s.fixed+len(kept)]
	return len(kept) < len(added)
}

// Protocols of the port mapper.
const (
	protoTCP = 6
	protoUDP = 17
)

func (s *Server) portmap(c *sunrpc.Call) sunrpc.Accept {
	e := &c.Reply
	if c.Proc == procDump {
		for _, x := range s.list() {
			proto := uint32(protoTCP)
			switch x.Net {
			case "udp":
				proto = protoUDP
			case "tcp":
			default:
				continue // version 2 knows IPv4 only
			}
			e.U32(1)
			e.U32(x.Prog)
			e.U32(x.Vers)
			e.U32(proto)
			e.U32(uint32(x.Port))
		}
		e.U32(0)
		return sunrpc.Success
	}
	d := &c.Args
	prog, vers, proto, port := d.U32(), d.U32(), d.U32(), d.U32()
	if !d.OK() || port > 0xffff && c.Proc == procSet {
		return sunrpc.GarbageArgs
	}
	netid := ""
	switch proto {
	case protoTCP:
		netid = "tcp"
	case protoUDP:
		netid = "udp"
	}
	switch c.Proc {
	case procSet:
		e.Bool(netid != "" && s.set(c, Entry{prog, vers, netid, uint16(port)}))
	case procUnset:
		e.Bool(s.unset(c, prog, vers, "tcp", "udp"))
	case procGetAddr:
		x, _ := s.find(prog, vers, netid, false)
		e.U32(uint32(x.Port))
	}
	return sunrpc.Success
}

// uaddr renders a universal address: the host's, then the port's two bytes, in
// decimal with dots.
func uaddr(a netip.Addr, port uint16) string {
	return a.WithZone("").String() + "." + strconv.Itoa(int(port>>8)) + "." + strconv.Itoa(int(port&0xff))
}

// parseUaddr reads a universal address.
func parseUaddr(s string) (netip.AddrPort, bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return netip.AddrPort{}, false
	}
	j := strings.LastIndexByte(s[:i], '.')
	if j < 0 {
		return netip.AddrPort{}, false
	}
	a, err := netip.ParseAddr(s[:j])
	hi, err1 := strconv.ParseUint(s[j+1:i], 10, 8)
	lo, err2 := strconv.ParseUint(s[i+1:], 10, 8)
	if err != nil || err1 != nil || err2 != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, uint16(hi<<8|lo)), true
}
