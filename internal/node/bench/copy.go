package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"manifold/internal/wire/sunrpc"
)

const (
	cachedRead   = "cached read"
	plainCopy    = "plain copy"
	bufferedCopy = "plain copy, buffered"

	// turns of each of the three, which alternate; the median counts.
	turns = 5
	// window of READ calls that are under way, as a kernel that reads ahead has.
	window = 8
)

// cached measures a sequential read of the large files, which are in the
// system's page cache, and beside it what the machine can do at best: a copy of
// a file of the same bytes from the page cache to a TCP connection by io.Copy,
// which Go leaves to sendfile, and by reads and writes, which are the faster way
// over loopback. Whoever receives them checks the bytes.
func (r *nfsRun) cached(ctx context.Context, perClient int) (phases []Phase, err error) {
	blocks := perClient * len(r.conns)
	total := int64(blocks) * int64(r.o.IOBytes)
	name := filepath.Join(r.o.PlainDir, r.top)
	plain, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plain.Close(), os.Remove(name)) }()
	if err := fill(plain, total); err != nil {
		return nil, err
	}
	nc, err := r.o.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, nc.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	defer stop()
	c := newReadConn(nc, r.o.IOBytes)
	rows := []struct {
		name string
		run  func(*histogram) error
	}{
		{cachedRead, func(h *histogram) error { return c.files(r.conns, perClient, h) }},
		{plainCopy, func(h *histogram) error { return r.copyPlain(ctx, plain, plain, total, h) }},
		{bufferedCopy, func(h *histogram) error { return r.copyPlain(ctx, plain, struct{ io.Reader }{plain}, total, h) }},
	}
	rates := make([][]Phase, len(rows))
	for turn := range turns {
		for i, row := range rows {
			p := Phase{Name: row.name, Ops: blocks, Bytes: total}
			if err := p.measure(row.run); err != nil {
				return nil, fmt.Errorf("%s: %w", p.Name, errors.Join(context.Cause(ctx), err))
			}
			rates[i] = append(rates[i], p)
			if r.o.Progress != nil {
				r.o.Progress(p.Name, turn+1, turns)
			}
		}
	}
	for _, all := range rates {
		slices.SortFunc(all, func(a, b Phase) int { return int(a.Wall - b.Wall) })
		phases = append(phases, all[len(all)/2])
	}
	return phases, nil
}

// measure runs what makes the phase.
func (p *Phase) measure(run func(*histogram) error) error {
	var times histogram
	mem, cpu, start := watchMemory(), processCPU(), time.Now()
	err := run(&times)
	p.Wall, p.CPU, p.PeakRSS = time.Since(start), processCPU()-cpu, mem.stop()
	p.P50, p.P99 = times.quantile(0.5), times.quantile(0.99)
	return err
}

// fill writes what content says, and to disk: writing back must not go on while
// others measure.
func fill(f *os.File, size int64) error {
	for at := int64(0); at < size; {
		n, err := f.Write(content(uint64(at), int(min(size-at, int64(len(pattern))))))
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return f.Sync()
}

// check tells whether b is what is at off.
func check(off uint64, b []byte) error {
	for i := 0; i < len(b); {
		want := content(off+uint64(i), len(b)-i)
		if !bytes.Equal(b[i:i+len(want)], want) {
			return fmt.Errorf("wrong bytes at %d", off+uint64(i))
		}
		i += len(want)
	}
	return nil
}

// copyPlain sends f by way of how, which hides from io.Copy what it is or does
// not, and receives it in blocks.
func (r *nfsRun) copyPlain(ctx context.Context, f *os.File, how io.Reader, size int64, h *histogram) (err error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	from, to, err := r.o.Pair(ctx)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		_, err := copyTo(from, how)
		sent <- errors.Join(err, from.Close())
	}()
	defer func() {
		err = errors.Join(err, to.Close()) // ends the sender, too
		if serr := <-sent; err == nil {
			err = serr
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = to.Close() })
	defer stop()
	buf := make([]byte, r.o.IOBytes)
	for at := int64(0); at < size; at += int64(len(buf)) {
		t := time.Now()
		if _, err := io.ReadFull(to, buf); err != nil {
			return err
		}
		if err := check(uint64(at), buf); err != nil {
			return err
		}
		h.add(time.Since(t))
	}
	return nil
}

func copyTo(to net.Conn, r io.Reader) (int64, error) {
	if _, ok := r.(*os.File); ok {
		return io.Copy(to, r)
	}
	return io.CopyBuffer(struct{ io.Writer }{to}, r, make([]byte, 256<<10))
}

// readConn reads files with several calls under way. It allocates nothing and
// has no goroutine, so that what is measured is the server.
type readConn struct {
	nc   net.Conn
	in   *bufio.Reader
	cred *sunrpc.SysCred
	io   int
	xid  uint32
	buf  []byte
	sent [window]time.Time
}

func newReadConn(nc net.Conn, ioBytes int) *readConn {
	return &readConn{nc: nc, in: bufio.NewReaderSize(nc, 4<<10), cred: &sunrpc.SysCred{Machine: "bench"}, io: ioBytes, buf: make([]byte, ioBytes)}
}

// files reads the large file of each client, one after the other.
func (c *readConn) files(of []*nfsConn, perClient int, h *histogram) error {
	n := len(of) * perClient
	place := func(i int) (handle, uint64) { return of[i/perClient].large, uint64(i%perClient) * uint64(c.io) }
	first := c.xid
	for i := range min(n, window) {
		if err := c.send(place(i)); err != nil {
			return err
		}
	}
	waiting := map[uint32]int{} // blocks by call: replies may come in any order
	for i := range min(n, window) {
		waiting[first+uint32(i)] = i
	}
	for next := window; len(waiting) > 0; next++ {
		xid, err := c.receive()
		if err != nil {
			return err
		}
		i, ok := waiting[xid]
		if !ok {
			return fmt.Errorf("a reply to call %d, which was not made", xid)
		}
		delete(waiting, xid)
		_, off := place(i)
		if err := check(off, c.buf); err != nil {
			return err
		}
		h.add(time.Since(c.sent[xid%window]))
		if next < n {
			waiting[c.xid] = next
			if err := c.send(place(next)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *readConn) send(h handle, off uint64) error {
	e := sunrpc.NewEncoder(512)
	defer e.Release()
	e.U32(0)
	sunrpc.EncodeCall(&e, c.xid, progNFS, version3, procRead, c.cred)
	e.Opaque(h)
	e.U64(off)
	e.U32(uint32(c.io))
	e.SetU32(0, 1<<31|uint32(e.Len()-4))
	c.sent[c.xid%window] = time.Now()
	c.xid++
	_, err := c.nc.Write(e.Bytes())
	return err
}

// receive reads one reply, its data to c.buf, and answers whose it is.
func (c *readConn) receive() (xid uint32, err error) {
	// Record mark, RPC header with an empty verifier, status, attributes, count,
	// end of file, length.
	const rpc, head = 4 + 6*4, 4 + 6*4 + 4 + 4 + fattrBytes + 3*4
	b, err := c.in.Peek(head)
	if err != nil {
		// A refusal is shorter.
		if b, err = c.in.Peek(rpc + 4); err != nil {
			return 0, err
		}
	}
	mark := binary.BigEndian.Uint32(b)
	xid = binary.BigEndian.Uint32(b[4:])
	d, err := sunrpc.DecodeReply(b[4:])
	if err != nil {
		return xid, err
	}
	if st := d.U32(); st != 0 {
		return xid, status(st)
	}
	skipAttr(&d)
	count := int(d.U32())
	d.Bool()
	if !d.OK() || int(d.U32()) != count || mark != 1<<31|uint32(head-4+count) {
		return xid, errReply
	}
	if count != c.io {
		return xid, fmt.Errorf("%d of %d bytes read", count, c.io)
	}
	if _, err := c.in.Discard(head); err != nil {
		return xid, err
	}
	_, err = io.ReadFull(c.in, c.buf)
	return xid, err
}
