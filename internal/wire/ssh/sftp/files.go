package sftp

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
)

// Open flags (section 6.3).
const (
	openRead   = 0x01
	openWrite  = 0x02
	openAppend = 0x04
	openCreat  = 0x08
	openTrunc  = 0x10
	openExcl   = 0x20
)

// handle is an open file or directory.
type handle struct {
	file    fs.Handle // nil for a directory, and for what is not made
	append  bool
	written bool

	making *fs.OpenSpec // what is still to be done, see making.go
	opened time.Time    // then
	err    error        // that it was not done

	// What is written goes to disk beside what still comes.
	gathered int
	flushing atomic.Bool // a flush runs
	flushes  sync.WaitGroup

	dir   fs.Node
	after fs.Name
	begun bool // "." and ".." are listed
	eof   bool
}

func (s *session) add(h *handle) uint32 {
	for {
		s.next++
		if _, taken := s.handles[s.next]; !taken {
			s.handles[s.next] = h
			return s.next
		}
	}
}

func (s *session) room() error {
	if len(s.handles) >= s.MaxHandles {
		return fs.TooMany
	}
	return nil
}

func (s *session) handleReply(id, h uint32) packet {
	return reply(s.buf, typeHandle, id).u32(4).u32(h)
}

// handle reads a handle from a request.
func (s *session) handle(r *reader) (*handle, uint32, error) {
	h, n, err := s.named(r)
	if err == nil {
		err = h.err
	}
	return h, n, err
}

// named is handle, of files that could not be made too.
func (s *session) named(r *reader) (*handle, uint32, error) {
	b := r.bytes()
	if r.err != nil {
		return nil, 0, r.err
	}
	if len(b) != 4 {
		return nil, 0, errBadHandle
	}
	n := binary.BigEndian.Uint32(b)
	h := s.handles[n]
	if h == nil {
		return nil, 0, errBadHandle
	}
	return h, n, nil
}

func (s *session) file(r *reader) (*handle, error) {
	h, _, err := s.handle(r)
	if err == nil && h.file == nil {
		err = fs.IsDir
	}
	return h, err
}

// open is section 6.3.
func (s *session) open(ctx context.Context, id uint32, r *reader) (packet, error) {
	path, flags, a := r.str(), r.u32(), r.attrs()
	if r.err != nil {
		return nil, r.err
	}
	if err := s.room(); err != nil {
		return nil, err
	}
	if flags&(openRead|openWrite) == 0 || flags&openTrunc != 0 && flags&openWrite == 0 || flags&openExcl != 0 && flags&openCreat == 0 {
		return nil, fs.Invalid
	}
	excl := flags&(openCreat|openExcl) == openCreat|openExcl
	p, err := s.at(ctx, path, !excl, 0)
	if err != nil {
		return nil, err
	}
	mode := (fs.Mode(0o666) &^ s.umask)
	if a.flags&attrMode != 0 {
		mode = fs.Mode(a.mode) & fs.ModeAll &^ s.umask
	}
	o := fs.OpenSpec{
		Dir: p.Dir, Name: p.Name, Share: fs.ShareAll, Disposition: fs.OpenExisting, MustNotBeDir: true,
		Create: fs.CreateSpec{Type: fs.File, Set: fs.SetAttr{Mode: &mode}},
		Owner:  fs.LockOwner{Client: s.Owner, Addr: s.Caller.Client.String()}, Want: fs.AttrType,
	}
	if flags&openRead != 0 {
		o.Desired |= fs.RightRead
	}
	switch {
	case flags&openAppend != 0 && flags&openWrite != 0 && flags&openTrunc == 0:
		o.Desired |= fs.RightExtend
	case flags&openWrite != 0:
		o.Desired |= fs.RightsWriteData
	}
	switch {
	case excl:
		o.Disposition = fs.OpenCreate
	case flags&(openCreat|openTrunc) == openCreat|openTrunc:
		o.Disposition = fs.OpenOverwriteIf
	case flags&openCreat != 0:
		o.Disposition = fs.OpenIf
	case flags&openTrunc != 0:
		o.Disposition = fs.OpenOverwrite
	}
	if p.Exists && p.Attr.Type != fs.File {
		if p.Attr.Type == fs.Directory {
			return nil, fs.IsDir
		}
		if excl {
			return nil, fs.Exist
		}
		return nil, fs.NotFile
	}
	if s.later(ctx, flags, &p) {
		return s.handleReply(id, s.add(s.begin(ctx, &o))), nil
	}
	var f fs.Handle
	err = walk.Retry(ctx, func() (err error) {
		f, _, err = s.FS.Open(ctx, s.Caller, &o)
		return err
	})
	if err != nil {
		return nil, err
	}
	// A file that was made or emptied is so on disk when its handle closes.
	return s.handleReply(id, s.add(&handle{file: f, append: flags&openAppend != 0, written: flags&openWrite != 0})), nil
}

// close is section 6.3: what was written is stable before it is answered.
func (s *session) close(ctx context.Context, _ uint32, r *reader) (packet, error) {
	h, n, err := s.named(r)
	if err != nil {
		return nil, err
	}
	delete(s.handles, n)
	return nil, s.end(ctx, h)
}

func (s *session) end(ctx context.Context, h *handle) error {
	// A client that hangs up now does not take back what it asked for.
	ctx = context.WithoutCancel(ctx)
	if h.making != nil {
		s.settle(ctx)
	}
	return errors.Join(h.err, h.close(ctx))
}

func (h *handle) close(ctx context.Context) error {
	if h.file == nil {
		return nil
	}
	h.flushes.Wait()
	var err error
	if h.written {
		err = h.file.Flush(ctx)
	}
	return errors.Join(err, h.file.Close(ctx))
}

// closeAll closes what the client left open.
func (s *session) closeAll(ctx context.Context) {
	for n, h := range s.handles {
		if err := s.end(ctx, h); err != nil {
			s.Logger.WarnContext(ctx, "sftp: closing a file that the client left open", "err", err)
		}
		delete(s.handles, n)
	}
}

// read is section 6.4.
func (s *session) read(ctx context.Context, id uint32, r *reader) (packet, error) {
	h, err := s.file(r)
	if err != nil {
		return nil, err
	}
	off, n := r.u64(), r.u32()
	if r.err != nil {
		return nil, r.err
	}
	n = min(n, maxData)
	const head = 4 + 1 + 4 + 4
	if cap(s.buf) < head+int(n) {
		s.buf = make([]byte, 0, max(head+int(n), 64<<10))
	}
	p := reply(s.buf, typeData, id).u32(0)
	res, err := h.file.Read(ctx, off, p[head:head+int(n)])
	if err != nil {
		return nil, err
	}
	if res.N == 0 && n > 0 {
		return nil, errEOF
	}
	s.got = res.N
	p = p[:head+res.N]
	binary.BigEndian.PutUint32(p[head-4:], uint32(res.N))
	return p, nil
}

// write is section 6.4. It is stable at the close, or at fsync@openssh.com.
func (s *session) write(ctx context.Context, _ uint32, r *reader) (packet, error) {
	h, _, err := s.handle(r)
	if err != nil {
		return nil, err
	}
	off, data := r.u64(), r.bytes()
	if r.err != nil {
		return nil, r.err
	}
	if len(data) == 0 {
		return nil, nil
	}
	s.in = len(data)
	if h.making != nil {
		if s.hold(h, off, data) {
			return nil, nil
		}
		s.settle(ctx)
	}
	switch {
	case h.err != nil:
		return nil, h.err
	case h.file == nil:
		return nil, fs.IsDir
	}
	h.written = true
	err = walk.Retry(ctx, func() error {
		_, err := h.file.Write(ctx, &fs.WriteRequest{Offset: off, Data: data, Append: h.append})
		return err
	})
	if err == nil {
		h.wrote(ctx, len(data))
	}
	return nil, err
}

// flushSize is how much of a file gathers before it goes to disk.
const flushSize = 8 << 20

// wrote begins to make durable what has come so far, unless the disk is still
// at what came before.
func (h *handle) wrote(ctx context.Context, n int) {
	if h.gathered += n; h.gathered < flushSize || !h.flushing.CompareAndSwap(false, true) {
		return
	}
	h.gathered = 0
	h.flushes.Go(func() {
		defer h.flushing.Store(false)
		defer func() { _ = recover() }() // the close meets the same
		_ = h.file.Flush(ctx)            // what fails stays buffered, and the close says so
	})
}
