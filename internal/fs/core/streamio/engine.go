// Package streamio moves the bytes of streams: reads through chunk maps and
// extents, buffers writes that need not be durable yet, and makes them durable
// in one metadata transaction with the inode's size, times and totals.
//
// Invariants:
//   - Order of a flush: payload into segments, group sync, metadata commit,
//     then waiters are told. A crash leaves unreferenced bytes, never a
//     reference to missing ones.
//   - Every reader on this node sees buffered bytes, size and times at once.
//   - Buffered bytes are bounded by Options.DirtyBytes; writers wait beyond it.
//     Space and quota for them are reserved when the write is accepted.
//   - Bytes acknowledged as unstable are lost only by a crash or an error, and
//     then the write verifier has changed.
//   - A new extent never crosses a chunk. A copy may map parts of it in any chunk of
//     any stream, with a hold for each, see meta.Txn.PutShared.
//
// Lock order: file.gate, then the turn to flush (file.lead), then file.flushMu, then
// file.mu, then a shard's mu. No I/O under file.mu held for writing.
//
// It must not know permissions, names or protocols; callers pass a check that
// runs on the inode it loads anyway.
package streamio

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/data"
	"manifold/internal/fs"
	"manifold/internal/meta"
)

// Options configure an Engine. The zero value of each works.
type Options struct {
	// DirtyBytes bounds buffered bytes of all files. 0: 256 MiB.
	DirtyBytes int64
	// FlushBytes starts flushing a file in the background when it has so many
	// dirty bytes. 0: 16 MiB.
	FlushBytes int64
	// FlushAge flushes what has been dirty for longer. 0: 2 s.
	FlushAge time.Duration
	// Now is the clock. nil: time.Now.
	Now func() time.Time
	// Logger; nil: discard.
	Logger *slog.Logger
}

// Check inspects the inode before an operation touches it, inside the view that
// loaded it. Returning an error ends the operation with it.
type Check func(r *meta.Reader, ino *meta.Inode) (Effect, error)

// Effect is what a write does beyond its data.
type Effect struct {
	// KillPrivilege clears setuid and setgid.
	KillPrivilege bool
	// Release, if set, is called exactly once when the bytes are counted in
	// the totals or dropped: it gives back the space the check has reserved.
	Release func()
}

// Engine is the stream I/O of one node. Safe for concurrent use.
type Engine struct {
	db    *meta.DB
	store data.Store
	o     Options

	verifier atomic.Uint64
	batches  atomic.Uint64
	seq      atomic.Uint64

	shards [64]shard

	// budget is the dirty bytes still allowed; room wakes waiting writers.
	budget struct {
		sync.Mutex
		used int64
		room chan struct{} // closed and replaced when bytes were freed
	}

	kick    chan *file // files to flush in the background
	stop    context.CancelFunc
	ctx     context.Context
	workers sync.WaitGroup
}

type shard struct {
	mu    sync.Mutex
	files map[fs.FileID]*file
}

// file is the state of an inode that has dirty bytes or an operation under way.
type file struct {
	id   fs.FileID
	refs int // guarded by the shard's mu

	// gate is held shared while a write is accepted and exclusively while an
	// operation needs the inode without buffered bytes.
	gate sync.RWMutex
	// flushMu serialises what commits data of this inode.
	flushMu sync.Mutex

	mu      sync.RWMutex
	streams map[fs.StreamID]*stream
	dirtyAt time.Time // when the oldest dirty byte came; zero if clean
	queued  bool      // in kick
	gone    bool      // the inode was removed: dirty bytes are dropped

	flushing bool          // somebody has the turn to flush
	flushed  chan struct{} // closed when that ends; nil: nobody waits
	waiting  int           // how many do

	// What buffered writes have done to the inode, valid while dirtyAt is set:
	// absolute values that the flush merges by maximum.
	mtime, ctime fs.Time
	change       uint64
	kill         bool
	// seen is the greatest change that anybody was told, readable without mu.
	seen atomic.Uint64
}

// Change is the change that buffered writes of an inode have shown, 0 if there
// are none. Who changes the inode without a flush goes on from there.
func (e *Engine) Change(id fs.FileID) uint64 {
	s := e.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[id]; f != nil {
		return f.seen.Load()
	}
	return 0
}

// stream is the in-memory state of one byte sequence with dirty bytes.
type stream struct {
	dirtySet
	end  uint64 // first byte after the furthest buffered write
	revs uint64 // buffered writes not yet counted in the data revision
}

// New starts an Engine. Close stops it, as does the end of ctx.
func New(ctx context.Context, db *meta.DB, store data.Store, o Options) *Engine {
	if o.DirtyBytes == 0 {
		o.DirtyBytes = 256 << 20
	}
	if o.FlushBytes == 0 {
		o.FlushBytes = 16 << 20
	}
	if o.FlushAge == 0 {
		o.FlushAge = 2 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{db: db, store: store, o: o, kick: make(chan *file, 1024)}
	e.ctx, e.stop = context.WithCancel(ctx)
	for i := range e.shards {
		e.shards[i].files = map[fs.FileID]*file{}
	}
	e.budget.room = make(chan struct{})
	e.newVerifier()
	for range 4 {
		e.workers.Add(1)
		go e.flushWorker()
	}
	e.workers.Add(1)
	go e.ageWorker()
	return e
}

// newVerifier says that unstable writes may have been lost.
func (e *Engine) newVerifier() {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	e.verifier.Store(binary.LittleEndian.Uint64(b[:]))
}

// Verifier is the present write verifier.
func (e *Engine) Verifier() fs.Verifier { return fs.Verifier(e.verifier.Load()) }

// Close flushes everything and stops the workers.
func (e *Engine) Close(ctx context.Context) error {
	err := e.FlushAll(ctx)
	e.stop()
	e.workers.Wait()
	return err
}

func (e *Engine) now() fs.Time { return fs.TimeOf(e.o.Now()) }

func (e *Engine) shard(id fs.FileID) *shard { return &e.shards[uint64(id)%uint64(len(e.shards))] }

// hold returns the file of id, made if need be; drop it afterwards.
func (e *Engine) hold(id fs.FileID) *file {
	s := e.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f == nil {
		f = &file{id: id, streams: map[fs.StreamID]*stream{}}
		s.files[id] = f
	}
	f.refs++
	return f
}

// peek returns the file of id if there is one; drop it afterwards.
func (e *Engine) peek(id fs.FileID) *file {
	s := e.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[id]
	if f != nil {
		f.refs++
	}
	return f
}

// drop gives a file back; the last one of a clean file frees it.
func (e *Engine) drop(f *file) {
	s := e.shard(f.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	f.refs--
	if f.refs == 0 {
		// Nobody else holds f, and nobody can get it without the shard's lock.
		if f.dirtyAt.IsZero() {
			delete(s.files, f.id)
		}
	}
}

// files returns all files with dirty bytes, held.
func (e *Engine) heldFiles() []*file {
	var all []*file
	for i := range e.shards {
		s := &e.shards[i]
		s.mu.Lock()
		for _, f := range s.files {
			f.refs++
			all = append(all, f)
		}
		s.mu.Unlock()
	}
	return all
}

// spend takes n bytes of the dirty budget, waiting for flushes if need be.
func (e *Engine) spend(ctx context.Context, n int64) error {
	for {
		e.budget.Lock()
		if e.budget.used == 0 || e.budget.used+n <= e.o.DirtyBytes {
			e.budget.used += n
			e.budget.Unlock()
			return nil
		}
		room := e.budget.room
		e.budget.Unlock()
		e.flushOldest()
		select {
		case <-room:
		case <-ctx.Done():
			return fs.E("write", fs.Node{}, "", fs.Canceled, ctx.Err())
		case <-e.ctx.Done():
			return fs.E("write", fs.Node{}, "", fs.Unavailable, e.ctx.Err())
		}
	}
}

func (e *Engine) refund(n int64) {
	if n == 0 {
		return
	}
	e.budget.Lock()
	e.budget.used -= n
	close(e.budget.room)
	e.budget.room = make(chan struct{})
	e.budget.Unlock()
}

// DirtyBytes is how much is buffered now.
func (e *Engine) DirtyBytes() int64 {
	e.budget.Lock()
	defer e.budget.Unlock()
	return e.budget.used
}
