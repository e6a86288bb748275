// Package lock keeps byte-range locks and share modes of open files, in memory.
//
// [Table] is the one table of byte-range locks of a process, for all protocols.
// In the POSIX space a range belongs to an owner: its locks merge, split,
// upgrade and downgrade, and never conflict with each other. In the SMB space a
// lock belongs to a handle and stays as it was taken. The spaces do not see
// each other unless strict locking is set.
//
// [Shares] is the table of what opens allow others.
//
// Invariants:
//   - No two granted locks conflict.
//   - Waiters are granted in order: one that conflicts with an earlier waiter
//     waits behind it. In the POSIX space so does a new request that may wait,
//     unless that would never end.
//   - A POSIX owner does not wait for itself, by way of any files and owners.
//     That is found when waiting begins; an owner which goes on to take locks
//     while it waits (threads of one process) can still lock itself up.
//   - A waiter is granted, canceled or released, exactly once.
//   - No I/O and no callback happens under a lock.
//
// The package must not know protocols, permissions or storage. Grace periods
// and recovery are told to it.
package lock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
)

// Options shape a Table; the zero value works.
type Options struct {
	// Strict makes POSIX and SMB locks conflict with each other, as SetStrict does.
	Strict bool
	// MaxLocks bounds granted and waiting locks together; 0 is 1,048,576.
	MaxLocks int
}

const (
	defaultMaxLocks = 1 << 20
	shardCount      = 64
)

// Table implements [fs.Locks].
//
// Lock order: world, a shard's mu, waits. Whoever only touches one file holds
// world for reading and the file's shard; looking for deadlocks holds world for
// writing, and so sees all files at rest.
type Table struct {
	o      Options
	world  sync.RWMutex
	shards [shardCount]shard
	// waits has the waiters of each owner, for the search of deadlocks.
	waits struct {
		sync.Mutex
		of map[ownerKey][]*waiter
	}
	grace    atomic.Bool
	strict   atomic.Bool
	count    atomic.Int64 // granted and waiting
	smbCount atomic.Int64 // granted in the SMB space
}

type shard struct {
	mu    sync.Mutex
	files map[fs.Node]*file // those with a lock or waiter
}

// file has the locks of one node, all its streams and both spaces.
type file struct {
	node  fs.Node
	held  []held    // in no order
	queue []*waiter // in order of arrival
}

// held is a granted lock, or what a waiter asks for.
type held struct {
	stream      fs.StreamID
	space       fs.LockSpace
	exclusive   bool
	empty       bool   // SMB: no byte at all, at start
	start, last uint64 // inclusive
	handle      uint64
	reclaim     bool
	owner       fs.LockOwner
	cookie      []byte
}

// New makes an empty table.
func New(o Options) *Table {
	if o.MaxLocks == 0 {
		o.MaxLocks = defaultMaxLocks
	}
	t := &Table{o: o}
	t.strict.Store(o.Strict)
	for i := range t.shards {
		t.shards[i].files = map[fs.Node]*file{}
	}
	t.waits.of = map[ownerKey][]*waiter{}
	return t
}

func (t *Table) shard(n fs.Node) *shard {
	h := (uint64(n.ID) ^ uint64(n.Snap)<<32) * 0x9e3779b97f4a7c15
	return &t.shards[h>>(64-6)]
}

var (
	errRange   = errors.New("the range goes beyond the last offset")
	errNoGrace = errors.New("reclaim outside of the grace period")
)

// request reads r.
func request(op string, r *fs.LockRequest) (held, error) {
	h := held{
		stream: r.Stream, space: r.Space, exclusive: r.Exclusive, handle: r.Handle,
		reclaim: r.Reclaim, owner: r.Owner, cookie: r.Cookie, start: r.Range.Offset,
	}
	switch n := r.Range.Length; {
	case n == 0 && r.Space == fs.LockSMB:
		h.empty, h.last = true, h.start
	case n == 0:
		h.last = math.MaxUint64
	default:
		if h.last = h.start + n - 1; h.last < h.start {
			return h, fs.E(op, r.Node, "", fs.Invalid, errRange)
		}
	}
	if r.Space > fs.LockSMB {
		return h, fs.E(op, r.Node, "", fs.Invalid, fmt.Errorf("lock space %d", r.Space))
	}
	return h, nil
}

// rangeOf is the range as the contract has it.
func (h *held) rangeOf() fs.LockRange {
	if h.empty || h.space == fs.LockPOSIX && h.last == math.MaxUint64 {
		return fs.LockRange{Offset: h.start}
	}
	return fs.LockRange{Offset: h.start, Length: h.last - h.start + 1}
}

func (h *held) info() *fs.LockConflictInfo {
	return &fs.LockConflictInfo{Owner: h.owner, Range: h.rangeOf(), Exclusive: h.exclusive}
}

// overlaps tells whether the ranges have a byte in common. An empty range
// overlaps what it lies inside of, as Windows has it.
func (h *held) overlaps(o *held) bool {
	switch {
	case h.empty && o.empty:
		return false
	case h.empty:
		return o.start < h.start && h.start <= o.last
	case o.empty:
		return h.start < o.start && o.start <= h.last
	}
	return h.start <= o.last && o.start <= h.last
}

// same tells whether two locks have one owner. SMB locks belong to a handle.
func (h *held) same(o *held) bool {
	return h.space == o.space && h.handle == o.handle && h.owner.Owner == o.owner.Owner && h.owner.Client == o.owner.Client
}

// blocks tells whether h, granted, is in the way of what want asks for.
func (h *held) blocks(want *held, strict bool) bool {
	switch {
	case h.stream != want.stream || !h.exclusive && !want.exclusive || !h.overlaps(want):
		return false
	case h.space != want.space:
		return strict
	case h.space == fs.LockSMB:
		// Even the handle's own locks exclude an exclusive one; its exclusive
		// lock does not exclude a shared one (LockFileEx).
		return want.exclusive || !h.same(want)
	}
	return !h.same(want)
}

// blocker answers the granted lock in the way of want that begins first.
func (f *file) blocker(want *held, strict bool) *held {
	var first *held
	for i := range f.held {
		if h := &f.held[i]; h.blocks(want, strict) && (first == nil || h.start < first.start) {
			first = h
		}
	}
	return first
}

// admit checks what does not depend on other locks.
func (t *Table) admit(op string, r *fs.LockRequest) error {
	if r.Space != fs.LockPOSIX {
		return nil // SMB has no reclaims: its locks go with their handles
	}
	switch grace := t.grace.Load(); {
	case grace && !r.Reclaim:
		return fs.E(op, r.Node, "", fs.Grace, nil)
	case !grace && r.Reclaim:
		return fs.E(op, r.Node, "", fs.Grace, errNoGrace)
	}
	return nil
}

func (t *Table) room(op string, n fs.Node) error {
	if t.count.Load() >= int64(t.o.MaxLocks) {
		return fs.E(op, n, "", fs.TooMany, fmt.Errorf("%d locks", t.o.MaxLocks))
	}
	return nil
}

// Lock implements [fs.Locks]. Waiters are not in the way: only granted locks are.
func (t *Table) Lock(_ context.Context, _ *fs.Caller, r *fs.LockRequest) (*fs.LockConflictInfo, error) {
	want, err := request("lock", r)
	if err != nil {
		return nil, err
	}
	if err := t.admit("lock", r); err != nil {
		return nil, err
	}
	t.world.RLock()
	defer t.world.RUnlock()
	s := t.shard(r.Node)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.file(r.Node)
	defer s.tidy(f)
	if b := f.blocker(&want, t.strict.Load()); b != nil {
		return b.info(), fs.E("lock", r.Node, "", fs.LockConflict, nil)
	}
	if err := t.room("lock", r.Node); err != nil {
		return nil, err
	}
	t.grant(f, &want)
	t.wake(f) // a downgrade may let others in
	return nil, nil
}

// TestLock implements [fs.Locks].
func (t *Table) TestLock(_ context.Context, _ *fs.Caller, r *fs.LockRequest) (*fs.LockConflictInfo, error) {
	want, err := request("test lock", r)
	if err != nil {
		return nil, err
	}
	if r.Space == fs.LockPOSIX && t.grace.Load() && !r.Reclaim {
		return nil, fs.E("test lock", r.Node, "", fs.Grace, nil)
	}
	t.world.RLock()
	defer t.world.RUnlock()
	s := t.shard(r.Node)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[r.Node]
	if f == nil {
		return nil, nil
	}
	if b := f.blocker(&want, t.strict.Load()); b != nil {
		return b.info(), nil
	}
	return nil, nil
}

// Unlock implements [fs.Locks].
func (t *Table) Unlock(_ context.Context, _ *fs.Caller, r *fs.LockRequest) error {
	what, err := request("unlock", r)
	if err != nil {
		return err
	}
	t.world.RLock()
	defer t.world.RUnlock()
	s := t.shard(r.Node)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[r.Node]
	if f == nil {
		f = &file{node: r.Node}
	}
	defer s.tidy(f)
	if what.space == fs.LockSMB {
		if !t.unlockExact(f, &what) {
			return fs.E("unlock", r.Node, "", fs.NoLock, nil)
		}
	} else {
		t.replace(f, &what, false)
	}
	t.wake(f)
	return nil
}

// SetGrace implements [fs.Locks]. It concerns the POSIX space only.
func (t *Table) SetGrace(on bool) { t.grace.Store(on) }

// SetStrict implements [fs.Locks].
func (t *Table) SetStrict(on bool) { t.strict.Store(on) }

// Strict tells what SetStrict has set.
func (t *Table) Strict() bool { return t.strict.Load() }

// CheckIO answers the SMB lock that forbids reading or writing the bytes
// [off, off+length) of a stream, nil if none: another handle's exclusive lock
// forbids both, any shared lock forbids writing, even to who holds it
// ([MS-FSA] 2.1.4.10). Handle 0 is a protocol without opens. Who is of another
// space is bound under strict locking only. Without SMB locks it costs an
// atomic load.
func (t *Table) CheckIO(space fs.LockSpace, n fs.Node, stream fs.StreamID, handle, off, length uint64, write bool) *fs.LockConflictInfo {
	if t.smbCount.Load() == 0 || length == 0 || space != fs.LockSMB && !t.strict.Load() {
		return nil
	}
	io := held{stream: stream, space: fs.LockSMB, start: off, last: off + length - 1}
	if io.last < io.start {
		io.last = math.MaxUint64
	}
	t.world.RLock()
	defer t.world.RUnlock()
	s := t.shard(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[n]
	if f == nil {
		return nil
	}
	for i := range f.held {
		h := &f.held[i]
		if h.space != fs.LockSMB || h.stream != stream || !h.overlaps(&io) {
			continue
		}
		if h.exclusive && (handle == 0 || h.handle != handle) || !h.exclusive && write {
			return h.info()
		}
	}
	return nil
}

func (s *shard) file(n fs.Node) *file {
	f := s.files[n]
	if f == nil {
		f = &file{node: n}
		s.files[n] = f
	}
	return f
}

// tidy forgets a file without locks.
func (s *shard) tidy(f *file) {
	if len(f.held) == 0 && len(f.queue) == 0 && s.files[f.node] == f {
		delete(s.files, f.node)
	}
}

// grant adds a lock that nothing blocks.
func (t *Table) grant(f *file, want *held) {
	if want.space == fs.LockSMB {
		f.held = append(f.held, *want)
		t.count.Add(1)
		t.smbCount.Add(1)
		return
	}
	t.replace(f, want, true)
}

// replace gives the owner's range the lock want, or with add false none:
// what the owner had there is cut out, equal neighbours merge.
func (t *Table) replace(f *file, want *held, add bool) {
	n := *want
	var space [2]held
	pieces := space[:0] // what is left of locks that were cut
	for i := 0; i < len(f.held); {
		h := &f.held[i]
		if !touches(h, &n) || h.space != fs.LockPOSIX || h.stream != n.stream || !h.same(&n) {
			i++
			continue
		}
		switch {
		case add && h.exclusive == n.exclusive:
			n.start, n.last = min(n.start, h.start), max(n.last, h.last)
		case h.overlaps(&n):
			if h.start < n.start {
				left := *h
				left.last = n.start - 1
				pieces = append(pieces, left)
			}
			if h.last > n.last {
				right := *h
				right.start = n.last + 1
				pieces = append(pieces, right)
			}
		default: // a neighbour of the other kind
			i++
			continue
		}
		t.drop(f, i)
	}
	if add {
		pieces = append(pieces, n)
	}
	f.held = append(f.held, pieces...)
	t.count.Add(int64(len(pieces)))
}

// touches tells whether two ranges overlap or are neighbours.
func touches(a, b *held) bool {
	return a.overlaps(b) || a.last != math.MaxUint64 && a.last+1 == b.start || b.last != math.MaxUint64 && b.last+1 == a.start
}

// unlockExact frees one SMB lock of exactly this range, an exclusive one first.
func (t *Table) unlockExact(f *file, what *held) bool {
	found := -1
	for i := range f.held {
		h := &f.held[i]
		if h.stream == what.stream && h.start == what.start && h.last == what.last && h.empty == what.empty && h.same(what) {
			if found = i; h.exclusive {
				break
			}
		}
	}
	if found < 0 {
		return false
	}
	t.drop(f, found)
	return true
}

// drop frees the granted lock i.
func (t *Table) drop(f *file, i int) {
	if f.held[i].space == fs.LockSMB {
		t.smbCount.Add(-1)
	}
	t.count.Add(-1)
	end := len(f.held) - 1
	f.held[i] = f.held[end]
	f.held[end] = held{}
	f.held = f.held[:end]
}
