package smb

import (
	"context"
	"strings"
	"sync"

	"manifold/internal/fs"
	"manifold/internal/wire/smb/rpc"
)

// pipe is an open named pipe: a message goes in, its answer comes out.
type pipe struct {
	mu    sync.Mutex
	calls *rpc.Association
	out   []byte        // of an answer, what was not read yet
	ready chan struct{} // something has come out
}

// maxPiped bounds what a client has not read; who wants more reads first.
const maxPiped = 16 << 20

// openPipe opens a pipe of IPC$.
func (r *request) openPipe(q *createParams) status {
	name := strings.ToLower(strings.TrimPrefix(q.name, "\\"))
	name = strings.TrimPrefix(name, "pipe\\")
	srv := r.c.s
	calls, ok := srv.rpc.Open(name)
	if !ok {
		return stObjectNameNotFound
	}
	o := &open{
		s: srv, pipe: &pipe{calls: calls, ready: make(chan struct{}, 1)}, granted: fs.Rights(mapGeneric(q.access) & fileAll), share: q.share, created: srv.o.Now(),
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

// calls makes the calls of what a client has written, and answers what it is to
// read; needs the pipe's mu.
func (r *request) calls(p *pipe, in []byte) []byte {
	c := &rpc.Caller{Caller: r.caller, Session: r.sess.id}
	r.sess.mu.Lock()
	if id := r.sess.ident; id != nil && id.Account != nil {
		c.User, c.Domain = id.Account.Name, id.Domain
	}
	r.sess.mu.Unlock()
	return p.calls.Feed(r.ctx, c, in)
}

func (r *request) writePipe(o *open, data []byte) status {
	p := o.pipe
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.out) > maxPiped {
		return stPipeBusy
	}
	p.out = append(p.out, r.calls(p, data)...)
	if len(p.out) > 0 {
		p.wake()
	}
	b := make([]byte, 16)
	b[0] = 17
	le.PutUint32(b[4:], uint32(len(data)))
	r.body = b
	return stOK
}

// wake tells one who waits for something to read; needs mu.
func (p *pipe) wake() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

// readPipe answers what has come out, and waits for it if there is nothing.
func (r *request) readPipe(o *open, n int) status {
	p := o.pipe
	p.mu.Lock()
	for len(p.out) == 0 {
		p.mu.Unlock()
		if r.asyncID == 0 {
			r.pend()
		}
		select {
		case <-p.ready:
		case <-o.ctx.Done():
			return stPipeDisconnected
		case <-r.ctx.Done():
			return stCancelled
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	st := stOK
	part := p.out
	if len(part) > n {
		part, st = part[:n], stBufferOverflow
	}
	p.out = p.out[len(part):]
	if len(p.out) > 0 {
		p.wake()
	} else {
		p.out = nil
	}
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
	if len(p.out) > 0 {
		return nil, stPipeBusy
	}
	out := r.calls(p, in)
	if len(out) > limit {
		p.out = append(p.out[:0], out[limit:]...)
		p.wake()
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
