package nlm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"manifold/internal/wire/nfs3/rpcbind"
	"manifold/internal/wire/sunrpc"
)

var errMalformed = errors.New("nlm: malformed answer")

const (
	rpcbindPort = 111
	// callTimeout bounds one call to a client, connecting included.
	callTimeout = 10 * time.Second
	// maxPorts bounds the ports of clients' programs that are remembered.
	maxPorts = 4096
)

// portKey is a program on a client.
type portKey struct {
	addr       netip.Addr
	prog, vers uint32
}

// call makes one call to a client's program, which its rpcbind finds.
func (s *Service) call(ctx context.Context, k portKey, from netip.Addr, proc uint32, args func(*sunrpc.Encoder), results func(*sunrpc.Decoder) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s.mu.Lock()
	port := s.ports[k]
	s.mu.Unlock()
	if port != 0 {
		if err := s.callPort(ctx, k, port, from, proc, args, results); err == nil {
			return nil
		}
		// It may have moved.
		s.mu.Lock()
		delete(s.ports, k)
		s.mu.Unlock()
	}
	port, err := s.findPort(ctx, k, from)
	if err != nil {
		return err
	}
	if err := s.callPort(ctx, k, port, from, proc, args, results); err != nil {
		return err
	}
	s.mu.Lock()
	if len(s.ports) >= maxPorts {
		clear(s.ports)
	}
	s.ports[k] = port
	s.mu.Unlock()
	return nil
}

func (s *Service) findPort(ctx context.Context, k portKey, from netip.Addr) (uint16, error) {
	nc, err := s.o.Dial(ctx, from, netip.AddrPortFrom(k.addr, rpcbindPort))
	if err != nil {
		return 0, fmt.Errorf("nlm: reach the client's rpcbind: %w", err)
	}
	c := sunrpc.NewClient(nc)
	defer c.Close()
	netid := "tcp"
	if k.addr.Is6() {
		netid = "tcp6"
	}
	port, err := rpcbind.Lookup(ctx, c, k.prog, k.vers, netid)
	if err == nil && port == 0 {
		err = fmt.Errorf("nlm: the client has no program %d", k.prog)
	}
	return port, err
}

func (s *Service) callPort(ctx context.Context, k portKey, port uint16, from netip.Addr, proc uint32, args func(*sunrpc.Encoder), results func(*sunrpc.Decoder) error) error {
	nc, err := s.o.Dial(ctx, from, netip.AddrPortFrom(k.addr, port))
	if err != nil {
		return fmt.Errorf("nlm: reach the client: %w", err)
	}
	c := sunrpc.NewClient(nc)
	defer c.Close()
	if err := c.Call(ctx, k.prog, k.vers, proc, &sunrpc.SysCred{Machine: s.o.Name}, args, results); err != nil {
		return fmt.Errorf("nlm: call the client: %w", err)
	}
	return nil
}
