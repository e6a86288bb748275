package smb

import (
	"context"
	"strings"
	"sync"

	"manifold/internal/fs"
)

// pipe is an open named pipe: a message goes in, its answer comes out.
type pipe struct {
	name string
	mu   sync.Mutex
	rpc  rpc
	out  []byte // of an answer, what was not read yet
}

// openPipe opens a pipe of IPC$.
func (r *request) openPipe(q *createParams) status {
	name := strings.ToLower(strings.TrimPrefix(q.name, "\\"))
	name = strings.TrimPrefix(name, "pipe\\")
	switch name {
	case "srvsvc", "wkssvc":
	default:
		return stObjectNameNotFound
	}
	srv := r.c.s
	o := &open{
		s: srv, pipe: &pipe{name: name}, granted: fs.Rights(mapGeneric(q.access) & fileAll), share: q.share, created: srv.o.Now(),
		guid: r.c.clientGUID, user: r.caller.Cred.User, sess: r.sess, tree: r.tree, conn: r.c, path: name,
	}
	o.ctx, o.cancel = context.WithCancel(srv.ctx)
	o.id, o.vol = srv.newID(), srv.newID()
	srv.mu.Lock()
	srv.enroll(o)
	srv.mu.Unlock()
	r.sess.mu.Lock()
	r.sess.opens[o] = struct{}{}
	r.sess.mu.Unlock()
	b := make([]byte, 88)
	b[0] = 89
	le.PutUint32(b[4:], uint32(fs.OpenOpened))
	le.PutUint32(b[56:], attrNormal)
	le.PutUint64(b[40:], 4096)
	le.PutUint64(b[64:], o.id)
	le.PutUint64(b[72:], o.vol)
	r.body = b
	r.ch.open, r.ch.failed = o, 0
	return stOK
}

func (r *request) writePipe(o *open, data []byte) status {
	p := o.pipe
	p.mu.Lock()
	defer p.mu.Unlock()
	out, st := p.rpc.feed(r, p.name, data)
	if st != stOK {
		return st
	}
	p.out = append(p.out, out...)
	b := make([]byte, 16)
	b[0] = 17
	le.PutUint32(b[4:], uint32(len(data)))
	r.body = b
	return stOK
}

func (r *request) readPipe(o *open, n int) status {
	p := o.pipe
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.out) == 0 {
		return stPipeDisconnected
	}
	st := stOK
	part := p.out
	if len(part) > n {
		part, st = part[:n], stBufferOverflow
	}
	p.out = p.out[len(part):]
	b := make([]byte, 16, 16+len(part))
	b[0], b[2] = 17, headerSize+16
	le.PutUint32(b[4:], uint32(len(part)))
	r.body = append(b, part...)
	return st
}

func (r *request) transceive(o *open, in []byte, limit int) ([]byte, status) {
	p := o.pipe
	p.mu.Lock()
	defer p.mu.Unlock()
	out, st := p.rpc.feed(r, p.name, in)
	if st != stOK {
		return nil, st
	}
	if len(out) > limit {
		p.out = append(p.out[:0], out[limit:]...)
		return out[:limit], stBufferOverflow
	}
	return out, stOK
}

func (r *request) queryPipe(o *open, class byte) ([]byte, status) {
	switch class {
	case fiStandard:
		b := make([]byte, 24)
		le.PutUint64(b, 4096)
		le.PutUint32(b[16:], 1)
		b[20] = 1
		return b, stOK
	case fiName:
		return appendName(nil, "\\"+o.path), stOK
	case fiPipe:
		return make([]byte, 8), stOK
	case fiPipeLocal:
		return make([]byte, 40), stOK
	}
	return nil, stInvalidParameter
}
