package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"time"

	"manifold/internal/ports"
	"manifold/internal/wire/nfs3"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/nfs3/rpcbind"
	"manifold/internal/wire/sunrpc"
)

// rpcEntries are what clients can ask rpcbind for: the programs on the sockets
// of the NFS port. UDP serves MOUNT only.
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
			rpcbind.Entry{Prog: mount.Program, Vers: 3, Net: n, Port: port})
	}
	for _, n := range families("udp", packets) {
		out = append(out,
			rpcbind.Entry{Prog: mount.Program, Vers: 1, Net: n, Port: port},
			rpcbind.Entry{Prog: mount.Program, Vers: 3, Net: n, Port: port})
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
		var err error
		for port := uint16(1023); port > 1023-32; port-- {
			var c net.Conn
			if c, err = l.Dial(ctx, ports.RPCBindOut, network, address, ports.DialOptions{LocalPort: port}); err == nil {
				return c, nil
			}
			if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EADDRNOTAVAIL) {
				break
			}
		}
		return nil, err
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

// register tells the rpcbind of this machine where we are.
func register(ctx context.Context, l *ports.Ledger, entries []rpcbind.Entry) (*rpcbind.Registration, error) {
	r, err := rpcbind.Register(ctx, dialRPCBind(l), entries)
	if err != nil {
		return nil, fmt.Errorf("port 111 belongs to the rpcbind of this machine, which does not take our programs: %w\n"+
			"run as root, move ours with --port %[2]s=N, or do without it with --disable %[2]s", err, ports.RPCBind)
	}
	return r, nil
}
