package rpcbind

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"manifold/internal/wire/sunrpc"
)

// Dial opens a connection; network is "unix" or "tcp".
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// Where the machine's own rpcbind is reached. It believes who calls over the
// socket; over TCP it wants a privileged port.
const (
	socketPath = "/run/rpcbind.sock"
	loopback   = "127.0.0.1:111"
)

// callTimeout bounds one call to the machine's rpcbind.
const callTimeout = 5 * time.Second

// ErrRefused says that the machine's rpcbind would not take an entry.
var ErrRefused = errors.New("rpcbind: registration refused")

// Registration are entries in the machine's rpcbind.
type Registration struct {
	dial    Dial
	entries []Entry
}

// Register puts entries into the rpcbind that the machine runs, in place of
// what is there for the same programs: after a crash that is our own.
// If one is refused none remain.
func Register(ctx context.Context, dial Dial, entries []Entry) (*Registration, error) {
	c, err := connect(ctx, dial)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r := &Registration{dial: dial}
	for _, e := range entries {
		if _, err = change(ctx, c, procUnset, e); err != nil {
			break
		}
		var ok bool
		if ok, err = change(ctx, c, procSet, e); err == nil && !ok {
			err = fmt.Errorf("%w: program %d version %d on %s port %d", ErrRefused, e.Prog, e.Vers, e.Net, e.Port)
		}
		if err != nil {
			break
		}
		r.entries = append(r.entries, e)
	}
	if err != nil {
		for _, e := range r.entries {
			_, _ = change(ctx, c, procUnset, e)
		}
		return nil, err
	}
	return r, nil
}

// Close takes the entries out again.
func (r *Registration) Close(ctx context.Context) error {
	c, err := connect(ctx, r.dial)
	if err != nil {
		return err
	}
	defer c.Close()
	var errs []error
	for _, e := range r.entries {
		if _, err := change(ctx, c, procUnset, e); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func connect(ctx context.Context, dial Dial) (*sunrpc.Client, error) {
	nc, err := dial(ctx, "unix", socketPath)
	if err != nil {
		var err2 error
		if nc, err2 = dial(ctx, "tcp", loopback); err2 != nil {
			return nil, fmt.Errorf("rpcbind: reach the machine's rpcbind: %w", errors.Join(err, err2))
		}
	}
	return sunrpc.NewClient(nc), nil
}

// change sets or unsets an entry by version 4 of the protocol.
func change(ctx context.Context, c *sunrpc.Client, proc uint32, e Entry) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ok := false
	err := c.Call(ctx, Program, 4, proc, &sunrpc.SysCred{Machine: "localhost"}, func(w *sunrpc.Encoder) {
		w.U32(e.Prog)
		w.U32(e.Vers)
		w.String(e.Net)
		w.String(uaddr(anyAddr(e.Net), e.Port))
		w.String(owner)
	}, func(d *sunrpc.Decoder) error {
		ok = d.Bool()
		if !d.OK() {
			return errors.New("rpcbind: malformed answer")
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("rpcbind: program %d version %d on %s: %w", e.Prog, e.Vers, e.Net, err)
	}
	return ok, nil
}

// Lookup asks the rpcbind at the other end of c for the port of a program on
// netid, "tcp" or "tcp6"; 0 if it has none.
func Lookup(ctx context.Context, c *sunrpc.Client, prog, vers uint32, netid string) (uint16, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var port uint16
	err := c.Call(ctx, Program, 4, procGetAddr, nil, func(w *sunrpc.Encoder) {
		w.U32(prog)
		w.U32(vers)
		w.String(netid)
		w.String("")
		w.String("")
	}, func(d *sunrpc.Decoder) error {
		text := string(d.Opaque(maxString))
		a, ok := parseUaddr(text)
		if !d.OK() || !ok && text != "" {
			return errors.New("rpcbind: malformed answer")
		}
		port = a.Port()
		return nil
	})
	var e *sunrpc.Error
	if errors.As(err, &e) && e.Accept == sunrpc.ProgramMismatch && netid == "tcp" {
		// A port mapper of old, which knows version 2 only.
		err = c.Call(ctx, Program, 2, procGetAddr, nil, func(w *sunrpc.Encoder) {
			w.U32(prog)
			w.U32(vers)
			w.U32(protoTCP)
			w.U32(0)
		}, func(d *sunrpc.Decoder) error {
			n := d.U32()
			if !d.OK() || n > 0xffff {
				return errors.New("rpcbind: malformed answer")
			}
			port = uint16(n)
			return nil
		})
	}
	if err != nil {
		return 0, fmt.Errorf("rpcbind: ask for program %d: %w", prog, err)
	}
	return port, nil
}
