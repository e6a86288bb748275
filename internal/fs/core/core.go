// Package core is the one implementation of file semantics: names, attributes,
// permissions, opens, snapshots, totals and quotas, on the metadata engine and
// the extents below it. Byte traffic lies in streamio.
//
// Invariants:
//   - Every mutation checks permission in the transaction that makes it.
//   - What a call has answered is durable, except unstable writes.
//   - Memory holds nothing that a restart cannot rebuild: opens, locks and
//     watches end with the process, orphans are found and freed at start.
//
// Lock order: quotas.mu after everything; no lock is held over a transaction
// except by streamio's Exclusive and meta's Exclusive.
//
// The package must not know any protocol or how records are stored.
package core

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/data"
	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/fs/core/streamio"
	"manifold/internal/fs/lock"
	"manifold/internal/kv"
	"manifold/internal/meta"
)

// Options configure an FS.
type Options struct {
	KV    kv.Engine
	Store data.Store
	// Release ends the hold of a stream on extents; nil: data.DropRef of each.
	Release meta.ReleaseFunc
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Logger; nil: discard.
	Logger *slog.Logger
	// DirtyBytes bounds buffered writes; 0: 256 MiB.
	DirtyBytes int64
	// ReserveBytes of the data store are not given to writers; 0: 64 MiB.
	ReserveBytes uint64
	// RollEvery is how often totals are rolled up; 0: 150 ms.
	RollEvery time.Duration
	// Atime is how old an access time grows before a read changes it, 0 for
	// never; asked at every read. nil: never.
	Atime func() time.Duration
	// Permissions is what a chmod does to an ACL; nil: acl.CrossProtocol.
	Permissions func() acl.Policy
}

// FS implements fs.FS. Safe for concurrent use.
type FS struct {
	*lock.Table

	o   Options
	db  *meta.DB
	io  *streamio.Engine
	log *slog.Logger

	acls   aclCache
	opens  openTable
	trees  detachedTrees
	quotas quotaTable
	hub    watchHub

	breaker atomic.Pointer[fs.Breaker]
	expired atomic.Pointer[func(fs.Snapshot)]

	space struct {
		total, free atomic.Uint64
	}
	freedTrees    atomic.Uint64 // see Reclaimed
	kickSnapshots chan struct{}
	kickMasks     chan maskWork
	kickTrees     chan struct{}
	readFiles     chan fs.FileID // whose access times are to change

	boot    uint64          // tells this process from earlier ones
	work    context.Context // of workers; ends with Close
	stop    context.CancelFunc
	workers sync.WaitGroup
}

var _ fs.FS = (*FS)(nil)

// New opens the file system in o.KV, which meta.Format has made. Close stops it.
func New(ctx context.Context, o Options) (*FS, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = 64 << 20
	}
	if o.RollEvery == 0 {
		o.RollEvery = 150 * time.Millisecond
	}
	if o.Permissions == nil {
		o.Permissions = func() acl.Policy { return acl.CrossProtocol }
	}
	if o.Release == nil {
		o.Release = dropRefs
	}
	f := &FS{o: o, log: o.Logger, Table: lock.New(lock.Options{}),
		kickSnapshots: make(chan struct{}, 1), kickMasks: make(chan maskWork, 1024), kickTrees: make(chan struct{}, 1), readFiles: make(chan fs.FileID, 1024)}
	f.opens.files = map[fs.Node]*openFile{}
	f.quotas.dirs = map[fs.FileID]*quotaState{}
	f.boot = newBoot()
	f.work, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	db, err := meta.Open(ctx, o.KV, meta.Options{Release: o.Release, Logger: o.Logger, Committed: f.committed})
	if err != nil {
		return nil, err
	}
	f.db = db
	if err := f.loadTrees(ctx); err != nil {
		return nil, err
	}
	if err := f.loadQuotas(ctx); err != nil {
		return nil, err
	}
	if err := f.measureSpace(ctx); err != nil {
		return nil, err
	}
	f.io = streamio.New(f.work, db, o.Store, streamio.Options{DirtyBytes: o.DirtyBytes, Now: o.Now, Logger: o.Logger})
	f.startWorkers(f.work)
	return f, nil
}

// Close flushes buffered writes and stops the workers. The engines stay open.
func (f *FS) Close(ctx context.Context) error {
	err := f.io.Close(ctx)
	f.stop()
	f.workers.Wait()
	f.hub.close()
	return errors.Join(err, f.db.Roll(ctx))
}

const quiesceTries = 20

// Quiesce flushes buffered writes and finishes what the workers have to do: for
// checks and tests, while nobody else calls.
func (f *FS) Quiesce(ctx context.Context) error {
	if err := f.io.FlushAll(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) (bool, error){f.stepOrphans(), f.db.StepSnapshotDelete, f.db.TrimLog, f.db.StepRelease} {
		for tries, more := 0, true; more; {
			var err error
			more, err = step(ctx)
			if errors.Is(err, kv.ErrSnapshotTooOld) && tries < quiesceTries {
				tries, more = tries+1, true // its view has to be taken again
				continue
			}
			if err != nil {
				return err
			}
		}
	}
	return f.db.Roll(ctx)
}

// DB is the metadata below, for checks of a stopped system and for tests.
func (f *FS) DB() *meta.DB { return f.db }

// Superblock identifies the file system.
func (f *FS) Superblock() meta.Superblock { return f.db.Superblock() }

func dropRefs(ctx context.Context, tx kv.Txn, stream fs.StreamID, extents []uint64) error {
	for _, x := range extents {
		err := data.DropRef(ctx, tx, data.ExtentID(x), uint64(stream))
		if err != nil && !errors.Is(err, data.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (f *FS) now() fs.Time { return fs.TimeOf(f.o.Now()) }
