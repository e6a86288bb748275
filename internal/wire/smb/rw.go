package smb

import (
	"context"

	"manifold/internal/fs"
)

// checkLength bounds a request by negotiated limits and credits.
func (r *request) checkLength(n, limit int) bool {
	if r.c.dialect < dialect210 {
		limit = 64 << 10
	}
	return n <= limit && r.needs(n)
}

func (r *request) read() status {
	p := r.payload()
	n, off := int(le.Uint32(p[4:])), le.Uint64(p[8:])
	minimum := int(le.Uint32(p[32:]))
	o, st := r.file(p[16:32])
	if st != stOK {
		return st
	}
	if n < 0 || !r.checkLength(n, r.c.s.o.MaxRead) {
		return stInvalidParameter
	}
	_ = o.checkSequence(r) // stale ones may still read
	if o.pipe != nil {
		return r.readPipe(o, n)
	}
	switch {
	case o.isDir:
		return stInvalidDeviceRequest
	case o.granted&(fs.RightRead|fs.RightExecute) == 0:
		return stAccessDenied
	case off > fs.MaxFileSize || uint64(n) > fs.MaxFileSize-off:
		return stInvalidParameter
	}
	head := 16
	if r.c.s.padReads.Load() {
		head += 8
	}
	buf := r.c.s.pool.get(head + n)
	defer buf.Release()
	b := buf.b
	clear(b[:head])
	res, err := o.handle.Read(r.ctx, off, b[head:])
	if err != nil {
		return statusOf(err)
	}
	if res.N == 0 && n > 0 || res.N < minimum {
		return stEndOfFile
	}
	b[0], b[2] = 17, byte(headerSize+head)
	le.PutUint32(b[4:], uint32(res.N))
	r.body = b[:head+res.N]
	o.mu.Lock()
	o.pos = off + uint64(res.N)
	o.mu.Unlock()
	r.emit(stOK)
	return stSent
}

// stSent says that the handler has put its response out itself, because the
// body lies in memory that goes back.
const stSent status = 1 << 31 >> 1

func (r *request) emit(st status) { r.ch.append(r, st, r.body) }

func (r *request) write() status {
	p := r.payload()
	n, off := int(le.Uint32(p[4:])), le.Uint64(p[8:])
	data, ok := r.bytes(uint64(le.Uint16(p[2:])), uint64(n))
	if !ok || n > 0 && int(le.Uint16(p[2:])) < headerSize+48 {
		return stInvalidParameter
	}
	o, st := r.file(p[16:32])
	if st != stOK {
		return st
	}
	if !r.checkLength(n, r.c.s.o.MaxWrite) {
		return stInvalidParameter
	}
	if o.pipe != nil {
		return r.writePipe(o, data)
	}
	through := le.Uint32(p[44:])&1 != 0 && r.c.dialect >= dialect210 || o.options&optWriteThrough != 0
	// Only who may do nothing but append may leave the place to the server.
	toEnd := off == ^uint64(0) && o.granted&fs.RightModify == 0
	switch {
	case o.isDir:
		return stInvalidDeviceRequest
	case o.granted&(fs.RightModify|fs.RightExtend) == 0:
		return stAccessDenied
	case !toEnd && (off > fs.MaxFileSize || uint64(n) > fs.MaxFileSize-off):
		return stInvalidParameter
	}
	if st := o.checkSequence(r); st != stOK {
		return st
	}
	r.c.s.contendRead(o)
	if n > 0 {
		w := fs.WriteRequest{Offset: off, Data: data, Stability: fs.Unstable, Append: toEnd}
		if !r.ch.copied {
			w.Owner = r.ch.buf
		}
		if toEnd {
			w.Offset = 0
		}
		if through {
			w.Stability = fs.FileSync
		}
		if _, err := o.handle.Write(context.WithoutCancel(r.ctx), &w); err != nil {
			return statusOf(err)
		}
	}
	b := make([]byte, 16)
	b[0] = 17
	le.PutUint32(b[4:], uint32(n))
	r.body = b
	o.mu.Lock()
	o.pos = off + uint64(n)
	o.mu.Unlock()
	return stOK
}

// checkSequence refuses what a client sent on a channel that it gave up,
// [MS-SMB2] 3.3.5.2.10.
func (o *open) checkSequence(r *request) status {
	if r.c.dialect < dialect300 {
		return stOK
	}
	seq := uint16(r.hdr.status)
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	switch d := int16(seq - o.chanSeq); {
	case d >= 0:
		o.chanSeq = seq
		return stOK
	default:
		return stFileNotAvailable
	}
}

func (r *request) flush() status {
	p := r.payload()
	o, st := r.file(p[8:24])
	if st != stOK {
		return st
	}
	if o.handle != nil {
		if o.granted&(fs.RightModify|fs.RightExtend) == 0 {
			return stAccessDenied
		}
		if !o.isDir {
			if err := o.handle.Flush(r.ctx); err != nil {
				return statusOf(err)
			}
		}
	}
	r.body = []byte{4, 0, 0, 0}
	return stOK
}
