package smb

import (
	"context"
	"time"

	"manifold/internal/fs"
)

// replayed finds the open that an earlier sending of the same create made.
func (r *request) replayed(q *createParams) (*open, status) {
	s := r.c.s
	s.mu.Lock()
	var o *open
	for _, x := range s.opens {
		if x.created2 == q.ctx.createGUID && x.guid == r.c.clientGUID && (o == nil || o.touched) {
			o = x
		}
	}
	touched := o != nil && o.touched && o.sess != nil
	s.mu.Unlock()
	if o == nil {
		return nil, stOK
	}
	if r.hdr.flags&flagReplay == 0 {
		return nil, stDuplicateObjectID
	}
	if touched {
		return nil, stOK // it was used since: this is an open of its own
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case o.sess == nil:
		return nil, stFileNotAvailable
	case o.sess != r.sess || o.tree != r.tree:
		return nil, stDuplicateObjectID
	case (q.ctx.lease == nil) != (o.replyReq.ctx.lease == nil),
		q.ctx.lease != nil && q.ctx.lease.key != o.replyReq.ctx.lease.key:
		return nil, stAccessDenied
	}
	r.body = append([]byte(nil), o.reply...)
	r.body[2] = o.level
	if q.level != oplockLease && q.level < o.replyReq.level {
		// Less is wanted than the first time: with it comes no durable handle.
		r.body = r.body[:88]
		r.body[2] = q.level
		clear(r.body[80:88])
	}
	if o.level == oplockLease && o.cache != nil {
		const at = 88 + 24 // the data of the first context
		copy(r.body[at:], leaseReply(o.cache))
	}
	r.ch.open, r.ch.failed = o, 0
	return o, stOK
}

// createID names a create that may be sent again.
type createID struct{ client, guid [16]byte }

// beginCreate notes that a create runs. It fails if its first sending still does.
func (r *request) beginCreate(q *createParams) (done func(), ok bool) {
	s, id := r.c.s, createID{r.c.clientGUID, q.ctx.createGUID}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, runs := s.creating[id]; runs {
		return nil, false
	}
	s.creating[id] = struct{}{}
	r.replayable.Store(r.sess)
	return func() {
		s.mu.Lock()
		delete(s.creating, id)
		s.mu.Unlock()
	}, true
}

// reconnect gives a client its durable open back.
func (r *request) reconnect(q *createParams) status {
	s := r.c.s
	p, v := le.Uint64(q.ctx.reconnect), le.Uint64(q.ctx.reconnect[8:])
	s.mu.Lock()
	o := s.opens[p]
	if o != nil && o.sess != nil && o.conn != nil && o.conn != r.c {
		// The connection that it was lost with may not have noticed yet.
		gone := o.conn.gone
		s.mu.Unlock()
		t := time.NewTimer(500 * time.Millisecond)
		select {
		case <-gone:
		case <-t.C:
		case <-r.ctx.Done():
		}
		t.Stop()
		s.mu.Lock()
		o = s.opens[p]
	}
	ok := o != nil && !o.closed && o.sess == nil && o.durable != 0 && o.user == r.caller.Cred.User
	switch {
	case !ok:
	case q.ctx.reconnect2:
		ok = o.created2 == q.ctx.createGUID
	default:
		ok = o.vol == v
	}
	if ok {
		if l := o.cache.lease; l != nil {
			ok = q.ctx.lease != nil && q.ctx.lease.key == l.id.key && l.v2 == q.ctx.lease.v2 && r.c.clientGUID == l.id.client
			if ok && !equalFold(q.name, o.path) {
				s.mu.Unlock()
				return stInvalidParameter
			}
		} else {
			ok = q.ctx.lease == nil
		}
	}
	if !ok {
		s.mu.Unlock()
		return stObjectNameNotFound
	}
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
	o.sess, o.tree, o.conn = r.sess, r.tree, r.c
	o.vol = s.newID()
	s.mu.Unlock()
	r.sess.mu.Lock()
	r.sess.opens[o] = struct{}{}
	r.sess.mu.Unlock()
	a, err := r.attr(o)
	if err != nil {
		_ = s.closeOpen(r.ctx, o)
		return stObjectNameNotFound
	}
	res := fs.OpenResult{Attr: a, Action: fs.OpenOpened}
	rq := createParams{ctx: createContexts{maximal: q.ctx.maximal, diskID: q.ctx.diskID}}
	st := r.createReply(&rq, o, &res)
	return st
}

// closeInstances closes what other clients opened as the same application.
func (r *request) closeInstances(id [16]byte) {
	s := r.c.s
	s.mu.Lock()
	var old []*open
	for _, o := range s.opens {
		if o.appID == id && o.guid != r.c.clientGUID {
			old = append(old, o)
		}
	}
	s.mu.Unlock()
	for _, o := range old {
		_ = s.closeOpen(context.WithoutCancel(r.ctx), o)
	}
}

// aaplReply answers Apple's query of what the server can.
func aaplReply(b []byte, s *Server) []byte {
	if len(b) < 24 || le.Uint32(b) != 1 {
		return nil
	}
	want := le.Uint64(b[8:])
	out := make([]byte, 16)
	le.PutUint32(out, 1)
	le.PutUint64(out[8:], want&7)
	if want&1 != 0 {
		out = le.AppendUint64(out, 4) // UNIX based: no reduced ACLs
	}
	if want&2 != 0 {
		out = le.AppendUint64(out, 4) // full sync; names are found in any case
	}
	if want&4 != 0 {
		model := encodeUTF16(s.o.Name)
		out = appendZero(out, 4)
		out = le.AppendUint32(out, uint32(len(model)))
		out = append(out, model...)
	}
	return out
}

// snapshotPath takes an @GMT token out of a path.
func (r *request) snapshotPath(q *createParams) status {
	const form = "@GMT-2006.01.02-15.04.05"
	for i := 0; i+len(form) <= len(q.name); i++ {
		if q.name[i] != '@' || i > 0 && q.name[i-1] != '\\' {
			continue
		}
		at, err := time.Parse(form, q.name[i:i+len(form)])
		if err != nil {
			continue
		}
		rest := q.name[i+len(form):]
		if rest != "" && rest[0] != '\\' {
			continue
		}
		q.ctx.snapshot = filetimeOf(at)
		if i == 0 && rest != "" {
			rest = rest[1:]
		}
		q.name = q.name[:max(i-1, 0)] + rest
		return stOK
	}
	return stOK
}

// inSnapshot moves a target into the snapshot of the share that was taken at
// the time asked for.
func (r *request) inSnapshot(q *createParams, t target) (target, status) {
	id := fs.SnapshotID(0)
	root := r.tree.shared().Root
	err := r.c.s.o.FS.ListSnapshots(r.ctx, 0, func(s *fs.Snapshot) bool {
		if filetimeOf(s.Created)/10_000_000 != q.ctx.snapshot/10_000_000 {
			return true
		}
		in, err := r.c.s.o.FS.Contains(r.ctx, s.Root, root)
		if err == nil && in {
			id = s.ID
			return false
		}
		return true
	})
	if err != nil {
		return t, statusOf(err)
	}
	if id == 0 {
		return t, stObjectNameNotFound
	}
	live := r.tree
	share := *live.shared()
	share.Root.Snap = id
	shadow := request{c: r.c, ch: r.ch, ctx: r.ctx, caller: r.caller}
	shadow.tree = &tree{id: live.id, sess: live.sess, caller: r.caller}
	shadow.tree.share.Store(&share)
	t, st := shadow.walk(q.name)
	r.errData = shadow.errData
	return t, st
}
