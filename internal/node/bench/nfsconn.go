package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"

	"manifold/internal/wire/sunrpc"
)

// Numbers of RFC 1813.
const (
	progNFS, progMount, version3 = 100003, 100005, 3

	procGetattr     = 1
	procLookup      = 3
	procRead        = 6
	procWrite       = 7
	procCreate      = 8
	procMkdir       = 9
	procRemove      = 12
	procRmdir       = 13
	procReaddirplus = 17
	procCommit      = 21

	unstable = 0
)

var errReply = errors.New("malformed reply")

// status is an NFSv3 status that is no success.
type status uint32

func (s status) Error() string { return fmt.Sprintf("NFS status %d", uint32(s)) }

type handle []byte

// nfsConn makes the calls that the benchmark needs.
type nfsConn struct {
	rpc   *sunrpc.Client
	cred  *sunrpc.SysCred
	large handle
}

func newNFSConn(nc net.Conn) *nfsConn {
	return &nfsConn{rpc: sunrpc.NewClient(nc), cred: &sunrpc.SysCred{Machine: "bench"}}
}

func (c *nfsConn) call(ctx context.Context, proc uint32, args func(*sunrpc.Encoder), results func(*sunrpc.Decoder) error) error {
	return c.rpc.Call(ctx, progNFS, version3, proc, c.cred, args, func(d *sunrpc.Decoder) error {
		if st := d.U32(); st != 0 {
			return status(st)
		}
		if results != nil {
			if err := results(d); err != nil {
				return err
			}
		}
		if !d.OK() {
			return errReply
		}
		return nil
	})
}

func (c *nfsConn) mount(ctx context.Context, path string) (h handle, err error) {
	err = c.rpc.Call(ctx, progMount, version3, 1, c.cred, func(e *sunrpc.Encoder) { e.String(path) }, func(d *sunrpc.Decoder) error {
		if st := d.U32(); st != 0 {
			return status(st)
		}
		h = bytes.Clone(d.Opaque(64))
		if !d.OK() {
			return errReply
		}
		return nil
	})
	return h, err
}

const fattrBytes = 84

// skipAttr skips a post_op_attr.
func skipAttr(d *sunrpc.Decoder) {
	if d.Bool() {
		d.Fixed(fattrBytes)
	}
}

// skipWCC skips wcc_data.
func skipWCC(d *sunrpc.Decoder) {
	if d.Bool() {
		d.Fixed(24)
	}
	skipAttr(d)
}

// encodeAttr sets a mode and nothing else.
func encodeAttr(e *sunrpc.Encoder, mode uint32) {
	e.Bool(true)
	e.U32(mode)
	for range 3 { // uid, gid, size
		e.Bool(false)
	}
	e.U32(0) // atime
	e.U32(0) // mtime
}

// make creates a file or a directory.
func (c *nfsConn) make(ctx context.Context, proc uint32, dir handle, name string) (h handle, err error) {
	err = c.call(ctx, proc, func(e *sunrpc.Encoder) {
		e.Opaque(dir)
		e.String(name)
		if proc == procCreate {
			e.U32(1) // GUARDED
			encodeAttr(e, 0o644)
			return
		}
		encodeAttr(e, 0o755)
	}, func(d *sunrpc.Decoder) error {
		if !d.Bool() {
			return errors.New("the server gave no handle")
		}
		h = bytes.Clone(d.Opaque(64))
		return nil
	})
	return h, err
}

func (c *nfsConn) lookup(ctx context.Context, dir handle, name string) (h handle, err error) {
	err = c.call(ctx, procLookup, func(e *sunrpc.Encoder) {
		e.Opaque(dir)
		e.String(name)
	}, func(d *sunrpc.Decoder) error {
		h = bytes.Clone(d.Opaque(64))
		return nil
	})
	return h, err
}

func (c *nfsConn) getattr(ctx context.Context, h handle) error {
	return c.call(ctx, procGetattr, func(e *sunrpc.Encoder) { e.Opaque(h) }, func(d *sunrpc.Decoder) error {
		d.Fixed(fattrBytes)
		return nil
	})
}

func (c *nfsConn) unlink(ctx context.Context, proc uint32, dir handle, name string) error {
	return c.call(ctx, proc, func(e *sunrpc.Encoder) {
		e.Opaque(dir)
		e.String(name)
	}, nil)
}

// content is what a large file holds from off on, at most len(pattern) bytes.
func content(off uint64, n int) []byte {
	at := int(off % uint64(len(pattern)))
	return pattern[at:min(at+n, len(pattern))]
}

func (c *nfsConn) write(ctx context.Context, h handle, off uint64, n int, stable uint32) error {
	return c.call(ctx, procWrite, func(e *sunrpc.Encoder) {
		e.Opaque(h)
		e.U64(off)
		e.U32(uint32(n))
		e.U32(stable)
		e.U32(uint32(n))
		b := e.Reserve(n)
		for i := 0; i < n; {
			i += copy(b[i:], content(off+uint64(i), n-i))
		}
	}, func(d *sunrpc.Decoder) error {
		skipWCC(d)
		if got := d.U32(); got != uint32(n) {
			return fmt.Errorf("%d of %d bytes written", got, n)
		}
		return nil
	})
}

func (c *nfsConn) commit(ctx context.Context, h handle) error {
	return c.call(ctx, procCommit, func(e *sunrpc.Encoder) {
		e.Opaque(h)
		e.U64(0)
		e.U32(0)
	}, nil)
}

func (c *nfsConn) read(ctx context.Context, h handle, off uint64, n int) error {
	return c.call(ctx, procRead, func(e *sunrpc.Encoder) {
		e.Opaque(h)
		e.U64(off)
		e.U32(uint32(n))
	}, func(d *sunrpc.Decoder) error {
		skipAttr(d)
		d.U32()
		d.Bool()
		b := d.Opaque(n)
		if !d.OK() {
			return errReply
		}
		if len(b) != n {
			return fmt.Errorf("%d of %d bytes read at %d", len(b), n, off)
		}
		return check(off, b)
	})
}

// list counts the entries of a directory with READDIRPLUS.
func (c *nfsConn) list(ctx context.Context, dir handle) (n int, err error) {
	var cookie uint64
	verf := make([]byte, 8)
	for eof := false; !eof; {
		before := n
		err := c.call(ctx, procReaddirplus, func(e *sunrpc.Encoder) {
			e.Opaque(dir)
			e.U64(cookie)
			e.Fixed(verf)
			e.U32(64 << 10)
			e.U32(256 << 10)
		}, func(d *sunrpc.Decoder) error {
			skipAttr(d)
			copy(verf, d.Fixed(8))
			for d.Bool() {
				d.U64()
				name := string(d.Opaque(255))
				cookie = d.U64()
				skipAttr(d)
				if d.Bool() {
					d.Opaque(64)
				}
				if !d.OK() {
					return errReply
				}
				if name != "." && name != ".." {
					n++
				}
			}
			eof = d.Bool()
			return nil
		})
		if err != nil {
			return n, err
		}
		if n == before && !eof {
			return n, errors.New("a listing that does not get on")
		}
	}
	return n, nil
}
