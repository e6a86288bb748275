package smb

import (
	"context"

	"manifold/internal/fs"
)

const (
	lockShared    = 1
	lockExclusive = 2
	lockUnlock    = 4
	lockImmediate = 16
)

func (r *request) lock() status {
	p := r.payload()
	n := int(le.Uint16(p[2:]))
	seq := le.Uint32(p[4:])
	if n == 0 || len(p) < 24+24*n {
		return stInvalidParameter
	}
	o, st := r.file(p[8:24])
	if st != stOK {
		return st
	}
	if o.handle == nil || o.isDir {
		return stInvalidDeviceRequest
	}
	if st, replay := o.lockSequence(r, seq); replay {
		r.body = []byte{4, 0, 0, 0}
		return st
	}
	elems := make([]lockElem, n)
	for i := range elems {
		e := p[24+24*i:]
		elems[i] = lockElem{le.Uint64(e), le.Uint64(e[8:]), le.Uint32(e[16:])}
	}
	unlock := elems[0].flags&lockUnlock != 0
	for i, e := range elems {
		switch {
		case unlock && i == 0 && e.flags != lockUnlock:
			return stInvalidParameter
		case unlock: // what is wrong further on is found when its turn comes
			continue
		case e.flags&^(lockShared|lockExclusive|lockImmediate) != 0,
			e.flags&(lockShared|lockExclusive) == 0, e.flags&(lockShared|lockExclusive) == lockShared|lockExclusive:
			return stInvalidParameter
		case n > 1 && e.flags&lockImmediate == 0:
			return stInvalidParameter
		}
		if e.length > 0 && e.offset+e.length-1 < e.offset {
			return stInvalidLockRange
		}
	}
	if unlock {
		return r.unlock(o, elems, seq)
	}
	if o.granted&(fs.RightRead|fs.RightModify|fs.RightExtend|fs.RightExecute) == 0 {
		return stAccessDenied
	}
	r.c.s.contendRead(o)
	for i, e := range elems {
		if st := r.lockOne(o, e); st != stOK {
			for _, u := range elems[:i] {
				if r.c.s.o.FS.Unlock(context.WithoutCancel(r.ctx), r.caller, o.lockRequest(u)) == nil {
					o.countLocks(-1)
				}
			}
			return st
		}
		o.countLocks(1)
	}
	o.lockDone(seq)
	r.body = []byte{4, 0, 0, 0}
	return stOK
}

type lockElem struct {
	offset, length uint64
	flags          uint32
}

func (o *open) lockRequest(e lockElem) *fs.LockRequest {
	return &fs.LockRequest{
		Node: o.node, Stream: o.stream, Space: fs.LockSMB, Owner: o.locker, Range: fs.LockRange{Offset: e.offset, Length: e.length},
		Exclusive: e.flags&lockExclusive != 0, Handle: o.handle.ID(),
	}
}

func (o *open) countLocks(n int) {
	o.s.mu.Lock()
	o.locks += n
	if o.file != nil {
		o.file.locks += n
	}
	o.s.mu.Unlock()
}

func (r *request) lockOne(o *open, e lockElem) status {
	req := o.lockRequest(e)
	f := r.c.s.o.FS
	if e.flags&lockImmediate != 0 {
		_, err := f.Lock(r.ctx, r.caller, req)
		if err != nil && fs.KindOf(err) == fs.LockConflict {
			return stLockNotGranted
		}
		return statusOf(err)
	}
	w, err := f.LockWait(r.ctx, r.caller, req)
	if err != nil {
		if fs.KindOf(err) == fs.LockConflict {
			return stLockNotGranted
		}
		return statusOf(err)
	}
	if w == nil {
		return stOK
	}
	r.pend()
	gaveUp := stCancelled
	select {
	case <-w.Granted():
		return stOK
	case <-w.Canceled():
		return stRangeNotLocked
	case <-o.ctx.Done():
		gaveUp = stRangeNotLocked
	case <-r.ctx.Done():
	}
	if w.Cancel() {
		return gaveUp
	}
	return stOK // it was granted just before
}

func (r *request) unlock(o *open, elems []lockElem, seq uint32) status {
	for _, e := range elems {
		if e.flags != lockUnlock {
			return stInvalidParameter
		}
		if err := r.c.s.o.FS.Unlock(r.ctx, r.caller, o.lockRequest(e)); err != nil {
			if fs.KindOf(err) == fs.NoLock {
				return stRangeNotLocked
			}
			return statusOf(err)
		}
		o.countLocks(-1)
	}
	o.lockDone(seq)
	r.body = []byte{4, 0, 0, 0}
	return stOK
}

// lockSequence finds a lock request that was done already, [MS-SMB2] 3.3.5.14.
func (o *open) lockSequence(r *request, seq uint32) (status, bool) {
	if !o.keepsSequence(r.c) {
		return stOK, false
	}
	idx, num := seq>>4, byte(seq&0xF)
	if idx == 0 || idx > 64 {
		return stOK, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lockSeq[idx] == num+1 {
		return stOK, true
	}
	o.lockSeq[idx] = 0
	return stOK, false
}

func (o *open) keepsSequence(c *conn) bool {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	return c.dialect >= dialect300 || c.dialect == dialect210 && o.durable != 0
}

func (o *open) lockDone(seq uint32) {
	idx, num := seq>>4, byte(seq&0xF)
	if idx == 0 || idx > 64 {
		return
	}
	o.mu.Lock()
	o.lockSeq[idx] = num + 1
	o.mu.Unlock()
}
