package nlm

import (
	"encoding/binary"
	"math"

	"manifold/internal/fs"
	"manifold/internal/wire/sunrpc"
)

// Procedures of NLM.
const (
	procNull       = 0
	procTest       = 1
	procLock       = 2
	procCancel     = 3
	procUnlock     = 4
	procGranted    = 5
	procTestMsg    = 6
	procGrantedMsg = 10
	procTestRes    = 11
	procGrantedRes = 15
	procShare      = 20
	procUnshare    = 21
	procNMLock     = 22
	procFreeAll    = 23
)

// Status is an nlm4_stats.
type Status uint32

// Statuses.
const (
	Granted       Status = 0
	Denied        Status = 1
	DeniedNoLocks Status = 2
	Blocked       Status = 3
	DeniedGrace   Status = 4
	Deadlock      Status = 5
	ReadOnly      Status = 6
	StaleHandle   Status = 7
	TooBig        Status = 8
	Failed        Status = 9
)

const (
	maxObject = 1024 // of a netobj
	maxCaller = 1024
)

// statusOfKind has the kinds that have a status of their own; all others are Failed.
func statusOf(err error) Status {
	switch fs.KindOf(err) {
	case fs.LockConflict, fs.Sharing:
		return Denied
	case fs.Grace, fs.Retry, fs.Unavailable, fs.Canceled:
		// A client waits and asks again.
		return DeniedGrace
	case fs.Deadlock:
		return Deadlock
	case fs.ReadOnly, fs.WORM:
		return ReadOnly
	case fs.Stale:
		return StaleHandle
	case fs.TooBig:
		return TooBig
	case fs.NoSpace, fs.TooMany, fs.NoLock:
		return DeniedNoLocks
	}
	return Failed
}

// lock is an nlm4_lock. Its bytes are the call's until clone.
type lock struct {
	caller, fh, oh []byte
	svid           uint32
	off, length    uint64
}

func (l *lock) decode(d *sunrpc.Decoder) {
	l.caller, l.fh, l.oh = d.Opaque(maxCaller), d.Opaque(maxObject), d.Opaque(maxObject)
	l.svid, l.off, l.length = d.U32(), d.U64(), d.U64()
}

func (l *lock) encode(e *sunrpc.Encoder) {
	e.Opaque(l.caller)
	e.Opaque(l.fh)
	e.Opaque(l.oh)
	e.U32(l.svid)
	e.U64(l.off)
	e.U64(l.length)
}

func cloned(p []byte) []byte { return append([]byte(nil), p...) }

// args are the arguments of the calls about locks.
type args struct {
	cookie           []byte
	block, exclusive bool
	reclaim          bool
	lock
}

// decode reads the arguments of a procedure; those of its asynchronous variant
// are the same.
func (a *args) decode(d *sunrpc.Decoder, proc uint32) {
	a.cookie = d.Opaque(maxObject)
	switch proc {
	case procTest:
		a.exclusive = d.Bool()
	case procLock, procCancel, procNMLock:
		a.block, a.exclusive = d.Bool(), d.Bool()
	}
	a.lock.decode(d)
	if proc == procLock || proc == procNMLock {
		a.reclaim = d.Bool()
		d.U32() // the client's state; its notices carry it too
	}
}

// clone makes the arguments outlive the call.
func (a *args) clone() args {
	b := *a
	b.cookie, b.caller, b.fh, b.oh = cloned(a.cookie), cloned(a.caller), cloned(a.fh), cloned(a.oh)
	return b
}

// span is the range of a lock; ok is false if it begins beyond the largest offset.
func (l *lock) span() (r fs.LockRange, ok bool) {
	if l.off > math.MaxInt64 {
		return r, false
	}
	r = fs.LockRange{Offset: l.off, Length: l.length}
	if l.length > math.MaxInt64-l.off {
		r.Length = 0 // to the end
	}
	return r, true
}

// owner packs the process number and the opaque owner into one; the lock table
// compares them only.
func (l *lock) owner() string {
	return string(binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(l.oh)), l.svid)) + string(l.oh)
}

// holder encodes an nlm4_holder; owners that are not of NLM have neither
// process number nor opaque owner.
func encodeHolder(e *sunrpc.Encoder, i *fs.LockConflictInfo) {
	e.Bool(i.Exclusive)
	o := i.Owner.Owner
	if len(i.Owner.Client) > 4 && i.Owner.Client[:4] == "nlm:" && len(o) >= 4 {
		e.U32(binary.BigEndian.Uint32([]byte(o[:4])))
		e.String(o[4:])
	} else {
		e.U32(0)
		e.String("")
	}
	e.U64(i.Range.Offset)
	e.U64(i.Range.Length)
}
