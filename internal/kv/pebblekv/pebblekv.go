// Package pebblekv is the embedded engine of the key store: one process, one
// directory, cockroachdb/pebble below, optimistic concurrency of our own above.
//
// How a transaction stays serializable. Every commit has a number. Two arrays
// of slots hold, by the hash of a key and by the hash of a key's prefix, the
// number of the last commit that touched it. A commit takes the lock, checks
// that no slot of its read set is newer than the state it read, raises the
// slots of its writes, applies the batch and only then publishes its number.
// An Update reads the newest state and looks at the slot after the read: a slot
// not newer than its start proves that the value is the one of its start, so
// reads need no snapshot and are yet consistent with each other. A newer slot
// moves the start forward if all earlier reads still hold, or ends the attempt.
// A collision of hashes costs a retry, never a wrong answer.
//
// Invariants:
//   - Slots are raised before the writes become visible, and the number of a
//     commit is published after.
//   - The write-ahead log is our own (commitLog), and Pebble has none: the one
//     who commits writes and syncs it. It is in the order of the numbers, so that
//     a synced commit means that all before it are synced.
//   - Each commit moves a mark along with what it changes, and Pebble's memtables
//     become tables whole and in order. So the tables always have all commits up
//     to the one of their mark and nothing of any later one, and what a crash
//     leaves is that, and then the commits after it that the log has. Tables may be
//     ahead of the log.
//   - Nothing is acknowledged, and nothing that was read is returned, before
//     the commits it depends on are synced. When the log fails, the engine ends
//     the process (Options.Fatal) before it acknowledges anything more.
//
// The package must not know what the keys mean.
package pebblekv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// Options shape an Engine. The zero value works except for Dir.
type Options struct {
	// Dir holds the store; it is made if absent and locked while open.
	Dir string
	// FS is the file layer below Pebble; nil means the operating system's.
	FS vfs.FS
	// Logger gets what Pebble reports; nil means silence.
	Logger *slog.Logger
	// CacheBytes bounds the block cache; 0 means 32 MiB, which with the
	// rest keeps the process near 125 MB after heavy reading.
	CacheBytes int64
	// RowBytes bounds the memory for single values above the block cache; 0
	// means 8 MiB.
	RowBytes int64
	// Scanned are the first bytes of keys that are read by scans and hardly ever
	// one by one: they get no room of RowBytes.
	Scanned string
	// MemTableBytes is how much is written before it goes into tables; a crash
	// leaves up to four times that to replay. 0 means 8 MiB. Larger means less
	// to compact: what is written and deleted in between never reaches a table.
	// Segments of the log have half of it.
	MemTableBytes uint64
	// LogAhead bytes of zeros are written after the end of a segment of the log
	// whenever it gets there, which makes each sync before that cheaper; 0 means
	// none.
	LogAhead int64
	// NoSync gives up durability for tests that do not need it.
	NoSync bool
	// Fatal is called once when the store can no longer be trusted to make
	// anything durable. It should end the process; nil means panic. If it
	// returns, every later call fails with kv.ErrUnavailable.
	Fatal func(error)
	// Now is the clock for the age limits; nil means time.Now.
	Now func() time.Time
}

// formatVersion is pinned: raising it is a one-way upgrade of the directory.
const formatVersion = pebble.FormatValueSeparation

// separateFrom is the size from which on a value lies in a file of its own kind,
// beside the tables: it is written there once, and no compaction that the rows
// go through copies it again.
const separateFrom = 1024

// private is what the engine's own keys begin with, and no key of a caller.
var private = []byte{kv.EngineTag}

// Engine implements kv.Engine on Pebble.
type Engine struct {
	db       *pebble.DB
	cache    *pebble.Cache
	log      *slog.Logger
	now      func() time.Time
	noSync   bool
	files    segmentFiles
	fatal    func(error)
	runner   kvbase.Runner
	gate     *kvbase.Gate
	sessions kvbase.Sessions
	hub      kvbase.Hub
	rows     rowCache

	epoch  uint64        // how often the store was opened; makes session ids unique
	lastID atomic.Uint64 // of a session in this epoch

	slots     slots
	issued    atomic.Uint64 // the newest number whose writes may be visible
	committed atomic.Uint64 // the newest number whose writes are visible for sure
	sync      syncer
	wal       commitLog
	keeper    *keeper      // of wal; nil: there is no log
	syncing   atomic.Int64 // commits that wait for the sync of the log
	pace      pace
	failure   atomic.Pointer[error]
	failOnce  sync.Once

	mu sync.Mutex // the commit lock

	snapMu sync.Mutex
	snap   *snapshot // the newest, kept for the next View
	// The ends of the list of all snapshots.
	oldest, newest *snapshot
}

var (
	_ kv.Engine       = (*Engine)(nil)
	_ kv.Checkpointer = (*Engine)(nil)
)

// Open opens or makes the store in o.Dir.
func Open(_ context.Context, o Options) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.RowBytes == 0 {
		o.RowBytes = 8 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 8 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Fatal == nil {
		o.Fatal = func(err error) { panic(err) }
	}
	e := &Engine{log: o.Logger, now: o.Now, noSync: o.NoSync, fatal: o.Fatal, gate: kvbase.NewGate()}
	e.sessions.Commit = &e.mu
	e.wal.wake = make(chan struct{}, 1)
	e.sync.init()
	e.slots.init()
	e.rows.init(o.RowBytes, o.Scanned, e.slots.hash)
	e.runner = kvbase.Runner{Limits: kv.DefaultLimits, Now: o.Now, Begin: e.begin}
	e.cache = pebble.NewCache(o.CacheBytes)
	db, err := pebble.Open(o.Dir, e.pebbleOptions(o))
	if err != nil {
		e.cache.Unref()
		return nil, fmt.Errorf("pebblekv: open %s: %w", o.Dir, err)
	}
	e.db = db
	if err := e.start(o); err != nil {
		err = errors.Join(err, db.Close())
		e.cache.Unref()
		return nil, fmt.Errorf("pebblekv: open %s: %w", o.Dir, err)
	}
	return e, nil
}

// fileLayer is what Pebble runs on.
func fileLayer(o Options) vfs.FS {
	if o.FS == nil {
		return orderFS{vfs.Default}
	}
	return orderFS{o.FS}
}

func (e *Engine) pebbleOptions(o Options) *pebble.Options {
	p := &pebble.Options{
		FS:                          fileLayer(o),
		DisableWAL:                  true,
		Cache:                       e.cache,
		FormatMajorVersion:          formatVersion,
		Logger:                      logger{e},
		EventListener:               e.listener(),
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               64 << 20,
		MaxOpenFiles:                1000,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
		BytesPerSync:                1 << 20,
	}
	for i := range p.Levels {
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	p.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled: true, MinimumSize: separateFrom, MaxBlobReferenceDepth: 32,
			RewriteMinimumAge: 5 * time.Minute, TargetGarbageRatio: 0.3,
		}
	}
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	return p
}

// fail ends the engine: nothing is acknowledged from here on.
func (e *Engine) fail(err error) {
	e.failOnce.Do(func() {
		e.failure.Store(&err)
		e.sync.fail()
		e.log.Error("the key store failed", "err", err)
		e.fatal(err)
	})
}

// enter admits one operation.
func (e *Engine) enter() error {
	if !e.gate.Enter() {
		return kv.ErrClosed
	}
	if p := e.failure.Load(); p != nil {
		e.gate.Leave()
		return fmt.Errorf("%w: %w", kv.ErrUnavailable, *p)
	}
	return nil
}

// Update implements kv.Engine.
func (e *Engine) Update(ctx context.Context, fn func(kv.Txn) error) (kv.Rev, error) {
	if err := e.enter(); err != nil {
		return 0, err
	}
	defer e.gate.Leave()
	return e.runner.Update(ctx, fn)
}

// Watch implements kv.Engine.
func (e *Engine) Watch(ctx context.Context, r kv.Range) (<-chan kv.Batch, error) {
	return e.hub.Watch(ctx, kv.Range{Start: bytes.Clone(r.Start), End: bytes.Clone(r.End)})
}

// NewSession implements kv.Engine. The epoch in the upper half makes the id
// unique over restarts without a write.
func (e *Engine) NewSession(_ context.Context, ttl time.Duration, info []byte) (kv.Session, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	return e.sessions.Add(e.epoch<<32|e.lastID.Add(1), ttl, info), nil
}

// Sessions implements kv.Engine.
func (e *Engine) Sessions(context.Context) ([]kv.SessionInfo, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	return e.sessions.List(), nil
}

// EndSession implements kv.Engine.
func (e *Engine) EndSession(_ context.Context, id uint64) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.gate.Leave()
	e.sessions.End(id)
	return nil
}

// Limits implements kv.Engine.
func (e *Engine) Limits() kv.Limits { return kv.DefaultLimits }

// Checkpoint implements kv.Checkpointer.
func (e *Engine) Checkpoint(ctx context.Context, dir string) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.gate.Leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	// The copy has what is in tables, up to one commit that is none of before this
	// call, and no log.
	err := e.db.Flush()
	if err == nil {
		err = e.db.Checkpoint(dir)
	}
	if err != nil {
		return fmt.Errorf("pebblekv: checkpoint: %w", err)
	}
	if err := e.files.of(dir).markCopy(); err != nil {
		return fmt.Errorf("pebblekv: checkpoint: %w", errors.Join(err, e.files.fs.RemoveAll(dir)))
	}
	return nil
}

// Close implements kv.Engine.
func (e *Engine) Close() error {
	if !e.gate.Shut() {
		return nil
	}
	e.sessions.EndAll()
	e.hub.Close()
	e.snapMu.Lock()
	if e.snap != nil {
		e.unref(e.snap)
		e.snap = nil
	}
	e.snapMu.Unlock()
	e.stopKeeper()
	var err error
	if e.failure.Load() == nil {
		// A closed store lies in tables, whose damage is always found; damage of
		// the last record of a log looks like its end.
		if err = e.setMark(e.committed.Load(), 0); err == nil {
			err = e.db.Flush()
		}
	}
	err = errors.Join(err, e.wal.close(), e.db.Close())
	e.cache.Unref()
	if err != nil {
		return fmt.Errorf("pebblekv: close: %w", err)
	}
	return nil
}
