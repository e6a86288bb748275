package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"manifold/internal/ports"
	"manifold/internal/wire/nfs3"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/nfs3/nlm"
	"manifold/internal/wire/nfs3/rpcbind"
	"manifold/internal/wire/sunrpc"
)

// rpcEntries are what clients can ask rpcbind for: the programs on the sockets
// of the NFS port. UDP serves MOUNT and the status monitor only.
func rpcEntries(socks *ports.Sockets, port uint16) []rpcbind.Entry {
	if socks == nil {
		return nil
	}
	var streams, packets []net.Addr
	for _, l := range socks.Listeners {
		streams = append(streams, l.Addr())
	}
	for _, p := range socks.Packets {
		packets = append(packets, p.LocalAddr())
	}
	var out []rpcbind.Entry
	for _, n := range families("tcp", streams) {
		out = append(out,
			rpcbind.Entry{Prog: nfs3.Program, Vers: 3, Net: n, Port: port},
			rpcbind.Entry{Prog: mount.Program, Vers: 1, Net: n, Port: port},
			rpcbind.Entry{Prog: mount.Program, Vers: 3, Net: n, Port: port},
			rpcbind.Entry{Prog: nlm.Program, Vers: nlm.Version, Net: n, Port: port},
			rpcbind.Entry{Prog: nlm.MonitorProgram, Vers: nlm.MonitorVersion, Net: n, Port: port})
	}
	for _, n := range families("udp", packets) {
		out = append(out,
			rpcbind.Entry{Prog: mount.Program, Vers: 1, Net: n, Port: port},
			rpcbind.Entry{Prog: mount.Program, Vers: 3, Net: n, Port: port},
			rpcbind.Entry{Prog: nlm.MonitorProgram, Vers: nlm.MonitorVersion, Net: n, Port: port})
	}
	return out
}

// families names the transports by which sockets can be reached: "tcp" for
// IPv4, "tcp6" for IPv6, both for the wildcard of IPv6.
func families(transport string, addrs []net.Addr) []string {
	var v4, v6 bool
	for _, a := range addrs {
		p, err := netip.ParseAddrPort(a.String())
		if err != nil {
			continue
		}
		switch a := p.Addr(); {
		case a == netip.IPv6Unspecified():
			v4, v6 = true, true
		case a.Unmap().Is4():
			v4 = true
		default:
			v6 = true
		}
	}
	var out []string
	if v4 {
		out = append(out, transport)
	}
	if v6 {
		out = append(out, transport+"6")
	}
	return out
}

// rpcbindPart serves our own rpcbind.
func rpcbindPart(socks *ports.Sockets, port uint16, entries []rpcbind.Entry, log *slog.Logger) part {
	var addrs []net.Addr
	for _, l := range socks.Listeners {
		addrs = append(addrs, l.Addr())
	}
	s := rpcbind.New(rpcbind.Options{Entries: entries, Port: port, IPv6: len(families("tcp", addrs)) > 1, Logger: log})
	return part{
		name: "rpcbind",
		serve: func(ctx context.Context) error {
			return serveSockets(socks, func(l net.Listener) error { return s.Serve(ctx, l) }, func(p net.PacketConn) error { return s.ServePacket(ctx, p) })
		},
		shutdown: s.Shutdown,
	}
}

// dialRPCBind reaches the rpcbind of this machine. Over TCP it believes only
// who comes from a privileged port.
func dialRPCBind(l *ports.Ledger) rpcbind.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if network == "unix" {
			return ports.DialUnix(ctx, address)
		}
		return dialPrivileged(ctx, l, ports.RPCBindOut, address, netip.Addr{})
	}
}

// probeRPCBind tells whether what has the port of rpcbind is an rpcbind.
func probeRPCBind(l *ports.Ledger) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		nc, err := l.Dial(ctx, ports.RPCBindOut, "tcp", "127.0.0.1:111", ports.DialOptions{})
		if err != nil {
			return err
		}
		c := sunrpc.NewClient(nc)
		err = c.Call(ctx, rpcbind.Program, 2, 0, nil, func(*sunrpc.Encoder) {}, func(*sunrpc.Decoder) error { return nil })
		return errors.Join(err, c.Close())
	}
}

// register tells the rpcbind of this machine where we are. The lock manager and
// status monitor of the machine's own NFS client have the same program numbers
// as ours and cannot do without them, so what is there of those stays: locks
// then tells that ours can be found.
func register(ctx context.Context, l *ports.Ledger, entries []rpcbind.Entry, log *slog.Logger) (r *rpcbind.Registration, locks bool, err error) {
	mine, locks, err := withoutTaken(ctx, l, entries, log)
	if err == nil {
		r, err = rpcbind.Register(ctx, dialRPCBind(l), mine)
	}
	if err != nil {
		return nil, false, fmt.Errorf("port 111 belongs to the rpcbind of this machine, which does not take our programs: %w\n"+
			"run as root, move ours with --port %[2]s=N, or do without it with --disable %[2]s", err, ports.RPCBind)
	}
	return r, locks, nil
}

func withoutTaken(ctx context.Context, l *ports.Ledger, entries []rpcbind.Entry, log *slog.Logger) (mine []rpcbind.Entry, locks bool, err error) {
	nc, err := l.Dial(ctx, ports.RPCBindOut, "tcp", "127.0.0.1:111", ports.DialOptions{})
	if err != nil {
		return nil, false, err
	}
	c := sunrpc.NewClient(nc)
	defer c.Close()
	locks = true
	taken := map[uint32]bool{}
	for _, e := range entries {
		if e.Net != "tcp" || taken[e.Prog] {
			continue
		}
		port, err := rpcbind.Lookup(ctx, c, e.Prog, e.Vers, e.Net)
		switch {
		case err != nil:
			return nil, false, err
		case port == 0 || port == e.Port:
		case e.Prog == nlm.Program || e.Prog == nlm.MonitorProgram:
			log.WarnContext(ctx, "this machine has a lock manager or status monitor of its own; clients do not find ours and must mount with nolock", "program", e.Prog, "port", port)
			taken[e.Prog], locks = true, false
		default:
			log.WarnContext(ctx, "rpcbind knew another server for a program of ours; it now tells clients of us", "program", e.Prog, "port", port)
		}
	}
	for _, e := range entries {
		if !taken[e.Prog] {
			mine = append(mine, e)
		}
	}
	return mine, locks, nil
}
