package smb

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"manifold/internal/fs"
)

// Create options.
const (
	optDirectory     = 0x00000001
	optWriteThrough  = 0x00000002
	optNonDirectory  = 0x00000040
	optDeleteOnClose = 0x00001000
	optReparsePoint  = 0x00200000
	optUnsupported   = 0x00102080
)

// createParams are the arguments of a CREATE.
type createParams struct {
	level       byte
	access      uint32
	attrs       uint32
	share       fs.Share
	disposition fs.OpenDisposition
	options     uint32
	name        string
	ctx         createContexts
	maximum     bool
	desired     fs.Rights
}

func mapGeneric(a uint32) uint32 {
	if a&genericAll != 0 {
		a |= fileAll
	}
	if a&genericRead != 0 {
		a |= fileGenericRead
	}
	if a&genericWrite != 0 {
		a |= fileGenericWrite
	}
	if a&genericExecute != 0 {
		a |= fileGenericExecute
	}
	return a &^ (genericAll | genericRead | genericWrite | genericExecute)
}

func (r *request) create() status {
	var q createParams
	if st := r.parseCreate(&q); st != stOK {
		return r.createFailed(st)
	}
	if r.tree.shared() == nil {
		return r.createFailed(r.openPipe(&q))
	}
	if q.ctx.reconnect != nil {
		return r.createFailed(r.reconnect(&q))
	}
	return r.createFailed(r.createFile(&q))
}

func (r *request) createFailed(st status) status {
	if st.failed() {
		r.ch.open, r.ch.failed = nil, st
	}
	return st
}

func (r *request) parseCreate(q *createParams) status {
	p := r.payload()
	q.level = p[3]
	q.access, q.attrs = le.Uint32(p[24:]), le.Uint32(p[28:])
	share, disp := le.Uint32(p[32:]), le.Uint32(p[36:])
	q.options = le.Uint32(p[40:])
	name, ok := r.bytes(uint64(le.Uint16(p[44:])), uint64(le.Uint16(p[46:])))
	if !ok || len(name)%2 != 0 {
		return stInvalidParameter
	}
	q.name = decodeUTF16(name)
	ctxs, ok := r.bytes(uint64(le.Uint32(p[48:])), uint64(le.Uint32(p[52:])))
	if !ok {
		return stInvalidParameter
	}
	if st := parseContexts(ctxs, &q.ctx); st != stOK {
		return st
	}
	if q.ctx.lease == nil && q.level == oplockLease {
		q.level = oplockNone
	}
	if r.c.dialect < dialect210 {
		q.ctx.lease = nil
	}
	if q.level == oplockLease && r.c.dialect < dialect210 || q.ctx.badLease {
		q.level = oplockNone
	}
	if q.ctx.lease != nil && q.ctx.lease.v2 && r.c.dialect < dialect300 {
		q.ctx.lease = nil
	}
	if q.level != oplockLease && q.ctx.reconnect == nil {
		q.ctx.lease = nil
	}
	if r.c.dialect < dialect300 && (q.ctx.durable == 2 || q.ctx.reconnect2) {
		q.ctx.durable, q.ctx.reconnect, q.ctx.reconnect2 = 0, nil, false
	}
	if q.ctx.reconnect != nil {
		return stOK
	}
	switch {
	case le.Uint32(p[4:]) > 3:
		return stBadImpersonationLevel
	case q.options&0xff000000 != 0:
		return stInvalidParameter
	case q.options&optUnsupported != 0:
		return stNotSupported
	case disp > 5, share > 7:
		return stInvalidParameter
	case q.options&optDirectory != 0 && q.options&optNonDirectory != 0:
		return stInvalidParameter
	case q.access == 0, q.access&0x0ce0fe00 != 0:
		return stAccessDenied
	case q.attrs&^0x7fb7 != 0:
		return stInvalidParameter
	case q.access&accessSystemSecurity != 0:
		return stPrivilegeNotHeld
	case q.options&optDirectory != 0 && (disp == 0 || disp == 4 || disp == 5):
		return stInvalidParameter
	}
	q.share, q.disposition = fs.Share(share), fs.OpenDisposition(disp)
	q.maximum = q.access&accessMaximum != 0
	q.desired = fs.Rights(mapGeneric(q.access) & fileAll)
	if q.options&optDeleteOnClose != 0 && q.desired&fs.RightDelete == 0 && !q.maximum {
		return stInvalidParameter
	}
	return stOK
}

// createFile opens a file or directory.
func (r *request) createFile(q *createParams) status {
	srv := r.c.s
	if st := r.snapshotPath(q); st != stOK {
		return st
	}
	if q.ctx.durable == 2 && q.ctx.createGUID != ([16]byte{}) {
		if o, st := r.replayed(q); st != stOK || o != nil {
			return st
		}
		done, ok := r.beginCreate(q)
		if !ok {
			return stFileNotAvailable
		}
		defer done()
	}
	if q.ctx.appID != ([16]byte{}) {
		r.closeInstances(q.ctx.appID)
	}
	t, st := r.walk(q.name)
	if st != stOK {
		return st
	}
	if q.ctx.snapshot != 0 {
		if t, st = r.inSnapshot(q, t); st != stOK {
			return st
		}
	}
	deadline := time.Now().Add(srv.o.BreakTimeout + 5*time.Second)
	hesitated := false
	for {
		st, wait := r.tryCreate(q, &t)
		if wait == nil {
			if (st == stSharingViolation || st == stDeletePending) && !hesitated && r.hesitate() {
				hesitated = true
				continue
			}
			return st
		}
		if time.Now().After(deadline) {
			return stSharingViolation
		}
		if st := r.await(wait); st != stOK {
			return st
		}
	}
}

// hesitation is how long an open that others are in the way of waits for the
// end of a connection of theirs.
const hesitation = 20 * time.Millisecond

// hesitate waits a moment if who is in the way came by another connection: that
// may have been lost just now, and who comes back at once finds himself. It
// answers whether it is worth another try.
func (r *request) hesitate() bool {
	if len(r.inTheWay) == 0 {
		return false
	}
	r.ch.letNext()
	t := time.NewTimer(hesitation)
	defer t.Stop()
	for _, c := range r.inTheWay {
		select {
		case <-c.gone:
		case <-r.ctx.Done():
			return false
		case <-t.C:
			return true
		}
	}
	return true
}

// awaitClosing waits for the opens of an object that are on their way out. It
// answers false if there are none.
func (r *request) awaitClosing(n fs.Node) bool {
	s := r.c.s
	var wait []chan struct{}
	s.mu.Lock()
	if f := s.files[fileKey{node: n}]; f != nil {
		wait = slices.Collect(maps.Values(f.closing))
	}
	s.mu.Unlock()
	for _, w := range wait {
		select {
		case <-w:
		case <-r.ctx.Done():
			return false
		}
	}
	return len(wait) > 0
}

// block notes whose open is in the way; needs Server.mu.
func (r *request) block(f *file) {
	r.inTheWay = nil
	for _, o := range f.opens {
		if o.conn != nil && o.conn != r.c && !slices.Contains(r.inTheWay, o.conn) {
			r.inTheWay = append(r.inTheWay, o.conn)
		}
	}
}

// tryCreate opens unless something must be waited for first.
func (r *request) tryCreate(q *createParams, t *target) (st status, wait []chan struct{}) {
	srv := r.c.s
	var ns []notice
	mu := srv.names.of(t.dir, t.name)
	mu.Lock()
	unlock := func() {
		mu.Unlock()
		sendAll(ns)
	}
	defer unlock()
	a, stored, found, st := r.lookup(r.ctx, t)
	if st != stOK {
		return st, nil
	}
	spec, st := r.openSpec(q, t, &a, stored, found)
	if st != stOK {
		return st, nil
	}
	overwrite := q.disposition == fs.OpenSupersede || q.disposition == fs.OpenOverwrite || q.disposition == fs.OpenOverwriteIf
	var own *cache
	if q.ctx.lease != nil {
		if st, own = r.checkLease(q, t, found, &a); st != stOK {
			return st, nil
		}
	}
	if found {
		wait, st = r.clearWay(q, t, &a, own, overwrite, spec, &ns)
		if wait != nil || st != stOK {
			return st, wait
		}
	}
	h, res, err := srv.o.FS.Open(r.ctx, r.caller, spec)
	if found && err != nil && fs.KindOf(err) == fs.Sharing && r.awaitClosing(a.Node) {
		h, res, err = srv.o.FS.Open(r.ctx, r.caller, spec)
	}
	if err != nil {
		return r.openError(err, q, t, &a, found), nil
	}
	o, st := r.newOpen(q, t, h, &res, stored)
	if st != stOK {
		_ = h.Close(context.WithoutCancel(r.ctx))
		return st, nil
	}
	if st := r.afterOpen(q, t, o, &res, overwrite); st != stOK {
		_ = srv.closeOpen(r.ctx, o)
		return st, nil
	}
	return r.createReply(q, o, &res), nil
}

func (r *request) openError(err error, q *createParams, t *target, a *fs.Attr, found bool) status {
	if found && q.disposition == fs.OpenCreate && fs.KindOf(err) == fs.Exist {
		return stObjectNameCollision
	}
	if fs.KindOf(err) == fs.ReadOnly && r.tree.shared().ReadOnly {
		return stAccessDenied
	}
	if fs.KindOf(err) == fs.Stale {
		return stObjectNameNotFound
	}
	return statusOf(err)
}

// openSpec checks what can be told from the attributes and asks for the open.
func (r *request) openSpec(q *createParams, t *target, a *fs.Attr, stored string, found bool) (*fs.OpenSpec, status) {
	spec := &fs.OpenSpec{
		Dir: t.dir, Name: stored, StreamName: t.stream, Desired: q.desired, MaximumAllowed: q.maximum, Share: q.share,
		Space: fs.LockSMB, Disposition: q.disposition, Want: wantAttrs,
		Owner: fs.LockOwner{Client: "smb:" + r.c.remote.String(), Addr: r.c.remote.Addr().String()},
	}
	if t.name == "" {
		spec.Name = ""
	}
	overwrite := q.disposition == fs.OpenSupersede || q.disposition == fs.OpenOverwrite || q.disposition == fs.OpenOverwriteIf
	asDir := q.options&optDirectory != 0 || t.dirType
	switch {
	case asDir && t.stream != "":
		return nil, stNotADirectory
	case asDir && t.hasStream && !t.dirType:
		return nil, stNotADirectory
	case q.options&optNonDirectory != 0 && t.dirType:
		return nil, stFileIsDirectory
	}
	if found {
		isDir := a.Type == fs.Directory
		switch {
		case q.disposition == fs.OpenCreate && t.stream == "":
			return nil, stObjectNameCollision
		case a.Type == fs.Symlink && q.options&optReparsePoint == 0:
			return nil, r.symlinkError(a.Node, 0)
		case asDir && !isDir:
			return nil, stNotADirectory
		case isDir && t.stream == "" && (q.options&optNonDirectory != 0 || t.hasStream && !t.dirType):
			return nil, stFileIsDirectory
		case isDir && t.stream == "" && overwrite:
			return nil, stObjectNameCollision
		}
		if isDir && t.stream == "" && overwrite {
			return nil, stFileIsDirectory
		}
		ro := a.DOS&fs.DOSReadOnly != 0 && !isDir
		if ro {
			if q.options&optDeleteOnClose != 0 {
				return nil, stCannotDelete
			}
			if q.desired&(fs.RightModify|fs.RightExtend) != 0 || overwrite {
				return nil, stAccessDenied
			}
		}
		if overwrite && t.stream == "" {
			if a.DOS&fs.DOSHidden != 0 && q.attrs&uint32(fs.DOSHidden) == 0 || a.DOS&fs.DOSSystem != 0 && q.attrs&uint32(fs.DOSSystem) == 0 {
				return nil, stAccessDenied
			}
			if q.attrs&uint32(fs.DOSReadOnly) != 0 && q.options&optDeleteOnClose != 0 {
				return nil, stCannotDelete
			}
		}
		if cap := r.tree.rights(); q.desired&^cap != 0 {
			return nil, stAccessDenied
		}
	} else {
		switch {
		case q.disposition == fs.OpenExisting || q.disposition == fs.OpenOverwrite:
			return nil, stObjectNameNotFound
		case r.tree.rights()&fs.RightModify == 0:
			return nil, stAccessDenied
		case q.attrs&uint32(fs.DOSReadOnly) != 0 && q.options&optDeleteOnClose != 0:
			return nil, stCannotDelete
		}
		spec.Create.Type = fs.File
		if asDir {
			spec.Create.Type = fs.Directory
		}
		mode := r.tree.shared().FileMode
		if asDir {
			mode = r.tree.shared().DirMode
		}
		if mode == 0 {
			mode = 0o644
			if asDir {
				mode = 0o755
			}
		}
		dos := fs.DOSAttr(q.attrs) & (fs.DOSReadOnly | fs.DOSHidden | fs.DOSSystem | fs.DOSArchive | fs.DOSTemporary | fs.DOSOffline | fs.DOSNotContentIndexed)
		if !asDir {
			dos |= fs.DOSArchive
		} else {
			dos &^= fs.DOSTemporary
		}
		spec.Create.Set, spec.Create.ModeYields = fs.SetAttr{Mode: &mode, DOS: &dos}, true
		spec.Create.Want = wantAttrs
	}
	spec.MustBeDir = asDir
	spec.DeleteOnClose = q.options&optDeleteOnClose != 0
	return spec, stOK
}

// clearWay checks deletion, sharing and caches of an existing file.
func (r *request) clearWay(q *createParams, t *target, a *fs.Attr, own *cache, overwrite bool, spec *fs.OpenSpec, ns *[]notice) ([]chan struct{}, status) {
	srv := r.c.s
	key := fileKey{node: a.Node}
	access := q.desired
	if q.maximum {
		if got, err := srv.o.FS.Access(r.ctx, r.caller, a.Node, fs.RightsAll); err == nil {
			access |= got & fileAll
		}
		if a.DOS&fs.DOSReadOnly != 0 && a.Type != fs.Directory {
			access &^= fs.RightModify | fs.RightExtend
		}
		access &= r.tree.rights()
		spec.MaximumAllowed = false
		spec.Desired = access
	}
	if overwrite {
		access |= fs.RightModify
	}
	var streams []fs.StreamInfo
	if t.stream != "" || access&fs.RightDelete != 0 && srv.streamsOpen(a.Node) {
		if ss, err := srv.o.FS.Streams(r.ctx, fs.SystemCaller(), a.Node); err == nil {
			for _, s := range ss {
				if t.stream != "" && equalFold(s.Name, t.stream) {
					key.stream = s.ID
					t.stream = s.Name
				}
			}
			streams = ss
		}
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if f := srv.files[fileKey{node: a.Node}]; f != nil && f.pending {
		if len(f.opens) == 0 && f.streams == 0 { // it is as good as gone
			return slices.Collect(maps.Values(f.closing)), stOK
		}
		r.block(f)
		return nil, stDeletePending
	}
	if t.stream != "" && key.stream == 0 {
		return nil, stOK
	}
	if t.stream == "" && access&fs.RightDelete != 0 {
		// Deleting a file deletes its streams.
		for _, s := range streams {
			if sf := srv.files[fileKey{a.Node, s.ID}]; sf != nil {
				for _, x := range sf.opens {
					if shareConflict(fs.RightDelete, fs.ShareAll, x) {
						return nil, stSharingViolation
					}
				}
			}
		}
	}
	f := srv.files[key]
	if f == nil {
		return nil, stOK
	}
	if f.pending {
		r.block(f)
		return nil, stDeletePending
	}
	wait, sharing := srv.contend(f, own, access, q.share, overwrite, ns)
	if len(wait) > 0 {
		return wait, stOK
	}
	if sharing {
		r.block(f)
		return nil, stSharingViolation
	}
	return nil, stOK
}

// streamsOpen tells whether a named stream of an object is open.
func (s *Server) streamsOpen(n fs.Node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[fileKey{node: n}]
	return f != nil && f.streams > 0
}

// checkLease finds the lease of the key, which must be for the same file.
func (r *request) checkLease(q *createParams, t *target, found bool, a *fs.Attr) (status, *cache) {
	srv := r.c.s
	srv.mu.Lock()
	defer srv.mu.Unlock()
	l := srv.leases[leaseID{r.c.clientGUID, q.ctx.lease.key}]
	if l == nil {
		return stOK, nil
	}
	if !found || l.file.node != a.Node || (t.stream == "") != (l.file.stream == 0) {
		return stInvalidParameter, nil
	}
	return stOK, l.cache
}

func (r *request) newOpen(q *createParams, t *target, h fs.Handle, res *fs.OpenResult, stored string) (*open, status) {
	srv := r.c.s
	o := &open{
		s: srv, handle: h, node: h.Node(), stream: h.Stream(), isDir: res.Attr.Type == fs.Directory && h.Stream() == 0,
		granted: h.Granted() & fileAll, share: q.share, options: q.options, created: srv.o.Now(),
		guid: r.c.clientGUID, user: r.caller.Cred.User, sess: r.sess, tree: r.tree, conn: r.c, path: t.stored(stored), dir: t.dir, name: stored,
		sname: t.stream, doom: q.options&optDeleteOnClose != 0, appID: q.ctx.appID, isCreate: res.Action == fs.OpenCreated,
		mode: q.options & 0x1e, chanSeq: uint16(r.hdr.status),
	}
	o.granted &= r.tree.rights()
	o.locker = fs.LockOwner{Client: "smb:" + r.c.remote.String(), Addr: r.c.remote.Addr().String()}
	o.ctx, o.cancel = context.WithCancel(srv.ctx)
	o.id = srv.newID()
	o.vol = srv.newID()
	srv.mu.Lock()
	if len(srv.opens) >= srv.o.MaxOpens {
		srv.mu.Unlock()
		o.cancel()
		return nil, stInsufficientResources
	}
	srv.enroll(o)
	if q.ctx.alloc > 0 && res.Action != fs.OpenOpened && o.file != nil {
		o.file.alloc = (q.ctx.alloc + fs.BlockSize - 1) &^ (fs.BlockSize - 1)
	}
	srv.grant(o, q.level, q.ctx.lease)
	r.makeDurable(q, o)
	srv.mu.Unlock()
	r.sess.mu.Lock()
	gone := r.sess.state == sessionGone
	if !gone {
		r.sess.opens[o] = struct{}{}
	}
	r.sess.mu.Unlock()
	if gone {
		_ = srv.closeOpen(r.ctx, o)
		return nil, stUserSessionDeleted
	}
	return o, stOK
}

// makeDurable keeps the open over a lost connection if its caching allows.
// Needs s.mu.
func (r *request) makeDurable(q *createParams, o *open) {
	if q.ctx.durable == 2 {
		o.created2 = q.ctx.createGUID // for replays, durable or not
	}
	if q.ctx.durable == 0 || o.isDir || o.cache == nil || o.cache.state&leaseH == 0 || o.level != oplockBatch && o.level != oplockLease {
		return
	}
	o.durable = q.ctx.durable
	if q.ctx.durable == 2 {
		o.created2 = q.ctx.createGUID
		o.timeout = min(time.Duration(q.ctx.durableTime)*time.Millisecond, r.c.s.o.DurableMax)
		if o.timeout == 0 {
			o.timeout = r.c.s.o.DurableTimeout
		}
	}
}

// afterOpen does what is not part of the atomic open.
func (r *request) afterOpen(q *createParams, t *target, o *open, res *fs.OpenResult, overwrite bool) status {
	sys := *r.caller
	ctx := context.WithoutCancel(r.ctx)
	f := r.c.s.o.FS
	if res.Action != fs.OpenOpened && res.Action != fs.OpenCreated && o.stream == 0 {
		dos := fs.DOSAttr(q.attrs)&(fs.DOSReadOnly|fs.DOSHidden|fs.DOSSystem|fs.DOSArchive|fs.DOSTemporary|fs.DOSOffline|fs.DOSNotContentIndexed) | fs.DOSArchive
		if res.Attr.DOS != dos {
			if ch, err := f.SetAttr(ctx, r.system(), o.node, &fs.SetAttr{DOS: &dos}); err == nil {
				_ = ch
				if a, err := o.attr(ctx); err == nil {
					res.Attr = a
				}
			}
		}
		if ss, err := f.Streams(ctx, &sys, o.node); err == nil {
			remover := r.system()
			for _, s := range ss {
				_ = f.RemoveStream(ctx, remover, o.node, s.ID)
			}
		}
	}
	if q.options&optDeleteOnClose != 0 && res.Action != fs.OpenCreated {
		r.c.s.contendHandle(o)
	}
	created := res.Action != fs.OpenOpened
	if q.ctx.hasSD && res.Action == fs.OpenCreated && o.stream == 0 {
		if st := r.setSD(ctx, o, q.ctx.sd, 0, true); st != stOK {
			r.undo(o)
			return st
		}
	}
	if q.ctx.hasEA && len(q.ctx.ea) > 0 && created {
		if st := r.setEAs(ctx, o.node, q.ctx.ea); st != stOK {
			if res.Action == fs.OpenCreated {
				r.undo(o)
			}
			return st
		}
	}
	if o.stream != 0 || q.ctx.hasSD {
		if a, err := o.attr(ctx); err == nil {
			res.Attr = a
		}
	}
	return stOK
}

// undo makes what a failed create made go away at its close.
func (r *request) undo(o *open) {
	r.c.s.mu.Lock()
	o.doom = true
	r.c.s.mu.Unlock()
	_ = o.handle.SetDeleteOnClose(context.WithoutCancel(r.ctx), true)
}

// createReply builds the response.
func (r *request) createReply(q *createParams, o *open, res *fs.OpenResult) status {
	srv := r.c.s
	b := make([]byte, 88, 256)
	b[0] = 89
	srv.mu.Lock()
	b[2] = o.level
	srv.mu.Unlock()
	le.PutUint32(b[4:], uint32(res.Action))
	if reparseTag(res.Attr.Type) != 0 && o.stream == 0 {
		b[3] = 1
	}
	putNetworkOpen(b[8:], &res.Attr, o)
	le.PutUint64(b[64:], o.id)
	le.PutUint64(b[72:], o.vol)
	var last int
	add := func(name string, data []byte) {
		if last != 0 {
			b = alignTo(b, last, 8)
			le.PutUint32(b[last:], uint32(len(b)-last))
		}
		last = len(b)
		b = appendZero(b, 16)
		le.PutUint16(b[last+4:], 16)
		le.PutUint16(b[last+6:], uint16(len(name)))
		b = append(b, name...)
		b = alignTo(b, last, 8)
		if len(data) > 0 {
			le.PutUint16(b[last+10:], uint16(len(b)-last))
			le.PutUint32(b[last+12:], uint32(len(data)))
			b = append(b, data...)
		}
	}
	srv.mu.Lock()
	if o.level == oplockLease && o.cache != nil {
		add("RqLs", leaseReply(o.cache))
	}
	srv.mu.Unlock()
	if q.ctx.maximal {
		d := make([]byte, 8)
		if q.ctx.maximalTime == 0 || q.ctx.maximalTime != filetime(res.Attr.Mtime) {
			got, err := srv.o.FS.Access(r.ctx, r.caller, o.node, fs.RightsAll)
			if err != nil {
				le.PutUint32(d, uint32(statusOf(err)))
			}
			le.PutUint32(d[4:], uint32(got&r.tree.rights()&fileAll))
		} else {
			le.PutUint32(d, 0xC0000073) // STATUS_NONE_MAPPED
		}
		add("MxAc", d)
	}
	if q.ctx.diskID {
		d := make([]byte, 32)
		le.PutUint64(d, uint64(o.node.ID))
		le.PutUint64(d[8:], volumeID(srv))
		add("QFid", d)
	}
	if o.durable == 1 && q.ctx.durable == 1 {
		add("DHnQ", make([]byte, 8))
	}
	if o.durable == 2 && q.ctx.durable == 2 {
		d := make([]byte, 8)
		le.PutUint32(d, uint32(o.timeout/time.Millisecond))
		add("DH2Q", d)
	}
	if q.ctx.aapl != nil {
		if d := aaplReply(q.ctx.aapl, srv); d != nil {
			add("AAPL", d)
		}
	}
	if last != 0 {
		le.PutUint32(b[80:], headerSize+88)
		le.PutUint32(b[84:], uint32(len(b)-88))
	}
	r.body = b
	srv.mu.Lock()
	if o.created2 != ([16]byte{}) && q.ctx.durable == 2 {
		o.reply, o.replyReq = append([]byte(nil), b...), *q
		o.replyReq.ctx = createContexts{createGUID: q.ctx.createGUID, lease: q.ctx.lease}
		o.replyReq.name = strings.Clone(q.name)
	}
	srv.mu.Unlock()
	r.ch.open, r.ch.failed = o, 0
	return stOK
}

func volumeID(s *Server) uint64 { return le.Uint64(s.o.GUID[:]) }
