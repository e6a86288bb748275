package ftp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
)

// transfer is a running one.
type transfer struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// await waits for the running transfer, if any.
func (c *conn) await() {
	c.mu.Lock()
	t := c.transfer
	c.mu.Unlock()
	if t != nil {
		<-t.done
	}
}

// abort ends the running transfer, and tells whether there was one.
func (c *conn) abort() bool {
	c.mu.Lock()
	t := c.transfer
	c.mu.Unlock()
	if t == nil {
		return false
	}
	t.cancel()
	<-t.done
	return true
}

// ready checks what every transfer needs before it is begun.
func (c *conn) ready() bool {
	switch {
	case c.data.passive == nil && !c.data.active.IsValid():
		c.reply(425, "PASV, EPSV, PORT or EPRT comes first.")
	case !c.private && !c.set.AllowUnencrypted:
		c.reply(522, "Data connections must be encrypted: PROT P comes first.")
	default:
		return true
	}
	return false
}

// dataConn is an open data connection.
type dataConn struct {
	stalling
	tls *tls.Conn // nil in the clear
	raw *ending   // below tls
	tcp net.Conn
}

// Read is that of the stream; with TLS its end must have been announced.
func (d *dataConn) Read(b []byte) (int, error) {
	n, err := d.stalling.Read(b)
	if err == io.EOF && d.raw != nil && d.raw.ended {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// errStored marks errors of the file system, as opposed to those of the network.
type errStored struct{ error }

func (e errStored) Unwrap() error { return e.error }

// run connects and lets work do its part in a goroutine of its own, so that
// ABOR is heard. finish, if any, runs when the data connection is closed and
// before success is told; it is called whatever happened.
func (c *conn) run(ctx context.Context, verb, arg, opening string, work func(ctx context.Context, d *dataConn, o *Op) error, finish func(context.Context) error) {
	parent := ctx
	ctx, cancel := context.WithCancel(ctx)
	t := &transfer{cancel: cancel, done: make(chan struct{})}
	c.mu.Lock()
	c.transfer = t
	c.mu.Unlock()
	c.nc.Begin()
	go func() {
		defer c.nc.End()
		began := time.Now()
		o := Op{Command: verb}
		d, err := c.exchange(ctx, opening, &o, work)
		if finish != nil {
			// What arrived is kept, whoever hung up.
			if ferr := finish(context.WithoutCancel(ctx)); ferr != nil && err == nil {
				err = errStored{ferr}
			}
		}
		if d != nil && err != nil {
			_ = d.tcp.Close()
		}
		c.outcome(ctx, err, d != nil)
		o.Duration = time.Since(began)
		c.tell(ctx, o, arg)
		if d != nil && err == nil {
			c.drain(parent, d)
		}
		cancel()
		c.mu.Lock()
		c.transfer = nil
		_ = c.nc.SetReadDeadline(time.Now().Add(c.s.o.IdleTimeout))
		c.mu.Unlock()
		close(t.done)
	}()
}

// exchange opens the data connection, does the work and shuts it down for
// writing. It answers nil if there was no data connection.
func (c *conn) exchange(ctx context.Context, opening string, o *Op, work func(context.Context, *dataConn, *Op) error) (d *dataConn, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("ftp: panic: %v", p)
			c.s.o.Logger.ErrorContext(ctx, "ftp: transfer ended by a bug", "panic", p)
			_ = c.nc.Close()
		}
	}()
	plan := c.data // is used up
	c.data = dataPlan{}
	defer plan.close()
	tcp, err := c.connect(ctx, &plan)
	if err != nil {
		return nil, err
	}
	d = &dataConn{stalling: stalling{Conn: tcp, d: c.s.o.StallTimeout}, tcp: tcp}
	stop := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	defer stop()
	c.reply(150, opening)
	plan.close() // not before: the client waits for the reply
	if c.private {
		raw := &ending{Conn: tcp}
		if !c.set.AllowUncleanEnd {
			d.raw = raw
		}
		if d.tls, err = c.encrypt(ctx, raw); err != nil {
			return d, err
		}
		o.Resumed = d.tls.ConnectionState().DidResume
		if c.set.RequireSessionReuse && !o.Resumed {
			return d, errNoReuse
		}
		d.stalling.Conn = d.tls
	}
	if err := work(ctx, d, o); err != nil {
		return d, err
	}
	if d.tls != nil {
		return d, d.tls.CloseWrite()
	}
	if h, ok := tcp.(interface{ CloseWrite() error }); ok {
		return d, h.CloseWrite()
	}
	return d, nil
}

var errNoReuse = errors.New("ftp: the data connection did not resume the TLS session")

// maxDrains bounds the data connections of a session that wait for their end.
const maxDrains = 4

// drain closes a data connection after success. It waits a moment for the
// client to close first: closing on unread bytes, such as the client's goodbye
// in TLS, would reset the connection and lose what is still on its way. Clients
// may take their time with it, and go on with the next command meanwhile.
func (c *conn) drain(ctx context.Context, d *dataConn) {
	c.drains <- struct{}{}
	stop := context.AfterFunc(ctx, func() { _ = d.tcp.Close() })
	_ = d.tcp.SetDeadline(time.Now().Add(2 * time.Second))
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		defer stop()
		_, _ = io.CopyN(io.Discard, d.tcp, 64<<10)
		_ = d.tcp.Close()
		<-c.drains
	}()
}

// outcome replies for a transfer.
func (c *conn) outcome(ctx context.Context, err error, connected bool) {
	var stored errStored
	switch {
	case err == nil:
		c.reply(226, "Transfer complete.")
	case ctx.Err() != nil: // ABOR, or the control connection ended
		c.reply(426, "Transfer aborted.")
	case errors.As(err, &stored):
		c.fail(ctx, stored.error)
	case errors.Is(err, errNoReuse):
		c.reply(522, "The data connection must resume the TLS session of the control connection.")
	case !connected:
		c.reply(425, "The data connection did not come about.")
	default:
		c.reply(426, "The data connection was closed; transfer aborted.")
	}
}

// abor is RFC 959 4.1.3.
func (c *conn) abor(context.Context, string) {
	if c.abort() {
		c.reply(226, "The transfer was aborted.")
		return
	}
	c.data.close()
	c.reply(225, "There is no transfer.")
}

// restCmd is RFC 3659 5.
func (c *conn) restCmd(_ context.Context, arg string) {
	n, err := strconv.ParseUint(arg, 10, 63)
	if err != nil || n > math.MaxInt64 {
		c.reply(501, "The offset cannot be read.")
		return
	}
	c.rest = n
	c.reply(350, fmt.Sprintf("Restarting at %d.", n))
}

// typeCmd takes types without changing anything: a text file that came over
// FTP is the same bytes over every other protocol.
func (c *conn) typeCmd(_ context.Context, arg string) {
	switch strings.ToUpper(arg) {
	case "I", "L 8", "L8":
		c.ascii = false
	case "A", "A N":
		c.ascii = true
	default:
		c.reply(504, "Only TYPE A and I are known.")
		return
	}
	c.reply(200, "OK.")
}

func (c *conn) mode(_ context.Context, arg string) { c.only(arg, "S") }
func (c *conn) stru(_ context.Context, arg string) { c.only(arg, "F") }

func (c *conn) only(arg, want string) {
	if !strings.EqualFold(arg, want) {
		c.reply(504, "Only "+want+" is known.")
		return
	}
	c.reply(200, "OK.")
}

func (c *conn) openFile(ctx context.Context, p *walk.Place, rights fs.Rights, how fs.OpenDisposition) (fs.Handle, fs.Attr, error) {
	if p.Exists && p.Attr.Type != fs.File {
		if p.Attr.Type == fs.Directory {
			return nil, fs.Attr{}, fs.IsDir
		}
		return nil, fs.Attr{}, fs.NotFile
	}
	mode := 0o666 &^ c.s.umask
	o := &fs.OpenSpec{
		Dir: p.Dir, Name: p.Name, Desired: rights, Share: fs.ShareAll, Disposition: how, MustNotBeDir: true,
		Create: fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Mode: &mode}},
		Owner:  fs.LockOwner{Client: "ftp:" + c.from.String(), Addr: c.from.String()}, Want: fs.AttrType | fs.AttrSize,
	}
	var h fs.Handle
	var r fs.OpenResult
	err := walk.Retry(ctx, func() (err error) {
		h, r, err = c.s.o.FS.Open(ctx, c.caller, o)
		return err
	})
	return h, r.Attr, err
}

func (c *conn) retr(ctx context.Context, arg string) {
	off := c.rest
	if !c.ready() {
		return
	}
	p, err := c.there(ctx, arg, true, 0)
	var h fs.Handle
	var a fs.Attr
	if err == nil {
		h, a, err = c.openFile(ctx, &p, fs.RightRead, fs.OpenExisting)
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	if off > a.Size {
		_ = h.Close(ctx)
		c.reply(554, "The restart point is beyond the end of the file.")
		return
	}
	c.run(ctx, "RETR", arg, fmt.Sprintf("Opening data connection for %s (%d bytes).", printable(p.Name), a.Size-off),
		func(ctx context.Context, d *dataConn, o *Op) error { return send(ctx, h, off, d, o) }, h.Close)
}

// send copies a file to a data connection. While one piece of a large file is on
// its way, the next is read.
func send(ctx context.Context, h fs.Handle, off uint64, d io.Writer, o *Op) error {
	b := take(&firstBuffers)
	r, err := h.Read(ctx, off, b.b)
	if err != nil {
		b.Release()
		return errStored{err}
	}
	p := piece{b: b, n: r.N, last: r.EOF || r.N == 0}
	if p.last {
		defer b.Release()
		return p.send(d, o)
	}
	ctx, cancel := context.WithCancel(ctx)
	pieces := make(chan piece, 1)
	done := make(chan struct{})
	defer func() {
		cancel()
		<-done
	}()
	go func() {
		defer close(done)
		defer close(pieces)
		for off := off + uint64(p.n); ; {
			b := take(&transferBuffers)
			r, err := readAhead(ctx, h, off, b.b)
			p := piece{b: b, n: r.N, last: r.EOF || r.N == 0, err: err}
			select {
			case pieces <- p:
			case <-ctx.Done():
				b.Release()
				return
			}
			if p.last || err != nil {
				return
			}
			off += uint64(r.N)
		}
	}()
	defer func() {
		cancel()
		for p := range pieces {
			p.b.Release()
		}
	}()
	for {
		err := p.send(d, o)
		p.b.Release()
		if err != nil || p.last {
			return err
		}
		var ok bool
		if p, ok = <-pieces; !ok {
			return ctx.Err()
		}
		if p.err != nil {
			p.b.Release()
			return errStored{p.err}
		}
	}
}

// readAhead is a read in a goroutine of its own, where nobody else is told of a
// bug.
func readAhead(ctx context.Context, h fs.Handle, off uint64, b []byte) (r fs.ReadResult, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("ftp: panic: %v", p)
		}
	}()
	return h.Read(ctx, off, b)
}

// piece is a part of a file on its way to the client.
type piece struct {
	b    *buffer
	n    int
	last bool
	err  error
}

func (p *piece) send(d io.Writer, o *Op) error {
	if p.n == 0 {
		return nil
	}
	_, err := d.Write(p.b.b[:p.n])
	if err == nil {
		o.Out += uint64(p.n)
	}
	return err
}

func (c *conn) stor(ctx context.Context, arg string) {
	off := c.rest
	how := fs.OpenOverwriteIf
	if off > 0 {
		how = fs.OpenIf
	}
	c.receive(ctx, "STOR", arg, arg, how, off, false)
}

func (c *conn) appe(ctx context.Context, arg string) {
	c.receive(ctx, "APPE", arg, arg, fs.OpenIf, 0, true)
}

// stou stores under a name that is free (RFC 1123 4.1.2.9).
func (c *conn) stou(ctx context.Context, arg string) {
	if arg == "" {
		arg = "ftp"
	}
	c.receive(ctx, "STOU", arg, arg+"."+strings.ToLower(rand.Text()[:10]), fs.OpenCreate, 0, false)
}

func (c *conn) receive(ctx context.Context, verb, arg, path string, how fs.OpenDisposition, off uint64, appends bool) {
	if !c.ready() {
		return
	}
	p, err := c.at(ctx, path, true, 0)
	if err == nil && p.Name == "" {
		err = fs.IsDir
	}
	rights := fs.RightsWriteData
	if appends {
		rights = fs.RightExtend
	}
	u := &upload{off: off, appends: appends}
	switch {
	case err != nil:
	case verb == "STOR" && !p.Exists:
		// What may be made there is made while the data come.
		var got fs.Rights
		if got, err = c.s.o.FS.Access(ctx, c.caller, p.Dir, fs.RightAddFile); err == nil && got == 0 {
			err = fs.Access
		}
		if err == nil {
			u.opened = make(chan struct{})
			c.wg.Go(func() {
				defer close(u.opened)
				u.open(context.WithoutCancel(ctx), c, &p, rights, how)
			})
		}
	default:
		u.h, _, err = c.openFile(ctx, &p, rights, how)
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	opening := "Ok to send data."
	if verb == "STOU" {
		opening = "FILE: " + p.Name
	}
	c.run(ctx, verb, arg, opening,
		func(ctx context.Context, d *dataConn, o *Op) error { return u.store(ctx, d, o) }, u.finish)
}

// upload is a file on its way in.
type upload struct {
	off     uint64
	appends bool

	opened chan struct{} // closed when h and err are set; nil if h is from the start
	h      fs.Handle
	err    error

	flushing atomic.Bool // a flush runs
	flushes  sync.WaitGroup
}

// open opens the file in a goroutine of its own, where nobody else is told of a
// bug.
func (u *upload) open(ctx context.Context, c *conn, p *walk.Place, rights fs.Rights, how fs.OpenDisposition) {
	defer func() {
		if p := recover(); p != nil {
			u.err = fmt.Errorf("ftp: panic: %v", p)
		}
	}()
	u.h, _, u.err = c.openFile(ctx, p, rights, how)
}

func (u *upload) handle() (fs.Handle, error) {
	if u.opened != nil {
		<-u.opened
	}
	return u.h, u.err
}

// finish makes durable what has come.
func (u *upload) finish(ctx context.Context) error {
	h, err := u.handle()
	if err != nil {
		return err
	}
	u.flushes.Wait()
	return errors.Join(h.Flush(ctx), h.Close(ctx))
}

// flushSize is how much of a file gathers before it goes to disk beside what
// still comes.
const flushSize = 8 << 20

// flush begins to make durable what has come so far, unless the disk is still
// at what came before.
func (u *upload) flush(ctx context.Context, h fs.Handle) bool {
	if !u.flushing.CompareAndSwap(false, true) {
		return false
	}
	u.flushes.Go(func() {
		defer u.flushing.Store(false)
		defer func() { _ = recover() }() // finish meets the same
		_ = h.Flush(ctx)                 // what fails stays buffered, and finish says so
	})
	return true
}

// fill reads until b is full or nothing more comes; unlike io.ReadFull it keeps
// the reader's error as it is.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

// store copies a data connection to a file. Over TLS the end must have been
// announced (else io.ErrUnexpectedEOF), so that nobody on the way can cut a
// file short.
func (u *upload) store(ctx context.Context, d io.Reader, o *Op) error {
	gathered := 0
	for p := &firstBuffers; ; p = &transferBuffers {
		b := take(p)
		n, rerr := fill(d, b.b)
		h, err := u.handle()
		if err != nil {
			err = errStored{err}
		} else {
			err = u.put(ctx, h, b, n)
		}
		b.Release()
		if err != nil {
			return err
		}
		u.off += uint64(n)
		o.In += uint64(n)
		if rerr == io.EOF {
			return nil
		}
		if rerr != nil {
			return rerr
		}
		if gathered += n; gathered >= flushSize && u.flush(ctx, h) {
			gathered = 0
		}
	}
}

// put writes what a buffer holds.
func (u *upload) put(ctx context.Context, h fs.Handle, b *buffer, n int) error {
	if n == 0 {
		return nil
	}
	if u.off > fs.MaxFileSize-uint64(n) {
		return errStored{fs.TooBig}
	}
	w := &fs.WriteRequest{Offset: u.off, Data: b.b[:n], Append: u.appends}
	if n > len(b.b)/2 {
		w.Owner = b // of less a copy is made, so that little does not hold much
	}
	err := walk.Retry(ctx, func() error {
		_, err := h.Write(ctx, w)
		return err
	})
	if err != nil {
		return errStored{err}
	}
	return nil
}
