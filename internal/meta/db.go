package meta

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/kv"
)

// FormatVersion is the version of the key space that this code writes.
const FormatVersion = 1

// Superblock identifies a file system.
type Superblock struct {
	UUID    [16]byte
	Version int
	// Features that a reader must know, that a writer must know, and that
	// anybody may ignore.
	Incompat, ROCompat, Compat []string
	FoldPolicy                 int
	HashKey                    [16]byte // of folded names
	HandleKey                  [32]byte // of NFS file handles
	Created                    time.Time
}

// FormatOptions describe a new file system.
type FormatOptions struct {
	UUID [16]byte // zero: random
	Now  time.Time
	// RootOwner and RootGroup own the root directory, RootMode are its bits; 0: 0755.
	RootOwner, RootGroup identity.AuthID
	RootMode             fs.Mode
}

// ReleaseFunc ends the hold of a stream on extents, in the transaction given.
// It is called for at most releasePerTxn extents at once.
type ReleaseFunc func(ctx context.Context, tx kv.Txn, stream fs.StreamID, extents []uint64) error

// Options configure a DB. The zero value of each works except Release.
type Options struct {
	Release ReleaseFunc
	// Committed is told every change of totals once it is durable, before the
	// Update that made it returns. It must be quick.
	Committed func(dir fs.FileID, d Delta)
	// Logger; nil: discard.
	Logger *slog.Logger
}

// DB is the metadata of one file system on one node. Safe for concurrent use.
type DB struct {
	kv    kv.Engine
	o     Options
	super Superblock

	// commit is held shared by every Update and exclusively where no delta may
	// be under way: when a snapshot is taken or a directory changes its parent.
	commit sync.RWMutex

	ids      [3]idBatch
	lastMark atomic.Uint64

	snaps   snapCache
	topo    topoCache
	chunks  chunkCache
	deltas  deltaQueue
	release workSignal
	// releases holds what release signals.
	releases releaseQueue
	orphans  workSignal
	freed    atomic.Uint64 // see FreedWithSnapshots
}

// workSignal wakes a worker.
type workSignal chan struct{}

func (s workSignal) wake() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// Format makes an empty file system. ErrExists: there is one.
func Format(ctx context.Context, engine kv.Engine, o FormatOptions) error {
	s := Superblock{UUID: o.UUID, Version: FormatVersion, FoldPolicy: 1, Created: o.Now.UTC()}
	if s.UUID == ([16]byte{}) {
		_, _ = rand.Read(s.UUID[:]) // never fails
		s.UUID[6] = s.UUID[6]&0x0f | 0x40
		s.UUID[8] = s.UUID[8]&0x3f | 0x80
	}
	_, _ = rand.Read(s.HashKey[:])
	_, _ = rand.Read(s.HandleKey[:])
	v, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("meta: encode superblock: %w", err)
	}
	if o.RootMode == 0 {
		o.RootMode = 0o755
	}
	now := fs.TimeOf(o.Now)
	_, err = engine.Update(ctx, func(tx kv.Txn) error {
		switch _, err := tx.Get(ctx, plainKey(tagSuper, 0, 0)); {
		case err == nil:
			return ErrExists
		case !errors.Is(err, kv.ErrNotFound):
			return err
		}
		tx.Put(plainKey(tagSuper, 0, 0), v)
		tx.Put(plainKey(tagEpoch, 0, 0), epochRecord{Epoch: 1, Version: 1}.encode())
		tx.Put(plainKey(tagTopology, 0, 0), encodeNumber(1))
		root := Inode{ID: fs.RootID, Type: fs.Directory, Sole: true, Mode: o.RootMode, Owner: o.RootOwner, Group: o.RootGroup, Links: 2,
			Atime: now, Mtime: now, Ctime: now, Btime: now, Change: 1, Birth: 1}
		tx.Put(inodeKey(fs.RootID), root.encode())
		t := totals{Birth: 1}
		tx.Put(totalsKey(fs.RootID), t.encode())
		return nil
	})
	return err
}

// Open opens the file system in engine. ErrFormat: there is none, or a newer one.
func Open(ctx context.Context, engine kv.Engine, o Options) (*DB, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	db := &DB{kv: engine, o: o, release: make(workSignal, 1), orphans: make(workSignal, 1)}
	db.topo.parents = map[fs.FileID]dirLink{}
	db.deltas.dirs = map[fs.FileID]*dirDeltas{}
	err := engine.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		v, err := r.Get(ctx, plainKey(tagSuper, 0, 0))
		if errors.Is(err, kv.ErrNotFound) {
			return fmt.Errorf("%w: the store holds no file system", ErrFormat)
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal(v, &db.super); err != nil {
			return fmt.Errorf("%w: superblock: %w", ErrFormat, err)
		}
		if db.super.Version != FormatVersion || len(db.super.Incompat) > 0 {
			return fmt.Errorf("%w: version %d, features %v; this program knows version %d", ErrFormat, db.super.Version, db.super.Incompat, FormatVersion)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("meta: open: %w", err)
	}
	if err := db.startMarks(ctx); err != nil {
		return nil, fmt.Errorf("meta: open: %w", err)
	}
	if err := db.loadDeltas(ctx); err != nil {
		return nil, fmt.Errorf("meta: read pending totals: %w", err)
	}
	if err := db.Roll(ctx); err != nil {
		return nil, fmt.Errorf("meta: roll up pending totals: %w", err)
	}
	db.releases.scan = true
	db.release.wake()
	db.orphans.wake()
	return db, nil
}

// Superblock identifies the file system.
func (db *DB) Superblock() Superblock { return db.super }

// KV is the engine below, for records of other rooms.
func (db *DB) KV() kv.Engine { return db.kv }

// viewTries bounds how often a View is begun again because its snapshot became
// too old for the engine.
const viewTries = 16

// view runs fn on one snapshot of the store, and again on a later one when that
// became too old.
func (db *DB) view(ctx context.Context, fn func(kv.Reader) error) error {
	for tries := 1; ; tries++ {
		err := db.kv.View(ctx, kv.Linearizable, fn)
		if !errors.Is(err, kv.ErrSnapshotTooOld) || tries == viewTries || ctx.Err() != nil {
			return err
		}
	}
}

// View runs fn on one snapshot of the live tree. fn may run several times, each
// time from the start: what it gathers it resets first.
func (db *DB) View(ctx context.Context, fn func(*Reader) error) error {
	return db.view(ctx, func(r kv.Reader) error {
		return fn(&Reader{db: db, r: r})
	})
}

// ViewAt is View of the tree as of a snapshot. ErrNotFound: there is no such
// snapshot, or it is being deleted.
func (db *DB) ViewAt(ctx context.Context, snap fs.SnapshotID, fn func(*Reader) error) error {
	if snap == 0 {
		return db.View(ctx, fn)
	}
	return db.view(ctx, func(r kv.Reader) error {
		ep, err := readEpoch(ctx, r)
		if err != nil {
			return err
		}
		list, err := db.snaps.get(ctx, r, ep)
		if err != nil {
			return err
		}
		if !list.live(snap) {
			return fmt.Errorf("%w: snapshot %d", ErrNotFound, snap)
		}
		return fn(&Reader{db: db, r: r, snap: uint64(snap)})
	})
}

// Update runs fn in a serializable transaction, as often as conflicts demand.
// fn must have no side effects. When Update returns nil the changes are durable.
func (db *DB) Update(ctx context.Context, fn func(*Txn) error) error {
	db.commit.RLock()
	defer db.commit.RUnlock()
	return db.update(ctx, fn)
}

// Exclusive is Update while no other runs and every delta is rolled up: for
// what moves whole trees.
func (db *DB) Exclusive(ctx context.Context, fn func(*Txn) error) error {
	return db.ExclusiveThen(ctx, fn, func() {})
}

// ExclusiveThen is Exclusive and runs then after the commit, before any other
// Update.
func (db *DB) ExclusiveThen(ctx context.Context, fn func(*Txn) error, then func()) error {
	db.commit.Lock()
	defer db.commit.Unlock()
	if err := db.Roll(ctx); err != nil {
		return err
	}
	if err := db.update(ctx, fn); err != nil {
		return err
	}
	then()
	return nil
}

func (db *DB) update(ctx context.Context, fn func(*Txn) error) error {
	var last *Txn
	_, err := db.kv.Update(ctx, func(k kv.Txn) error {
		tx := &Txn{Reader: Reader{db: db, r: k}, kv: k}
		last = tx
		ep, err := readEpoch(ctx, k)
		if err != nil {
			return err
		}
		tx.epoch, tx.newest, tx.ep = ep.Epoch, ep.Newest, ep
		if err := fn(tx); err != nil {
			return err
		}
		tx.finish()
		return nil
	})
	if err != nil {
		if last != nil && len(last.released) > 0 {
			db.releases.mustScan() // the outcome may be unknown
			db.release.wake()
		}
		return err
	}
	db.register(last)
	if len(last.released) > 0 {
		db.releases.add(last.released)
		db.release.wake()
	}
	if last.orphaned {
		db.orphans.wake()
	}
	return nil
}

// Released is signalled when extents wait to be released, see StepRelease.
func (db *DB) Released() <-chan struct{} { return db.release }

// Orphaned is signalled when inodes without a name wait to be freed.
func (db *DB) Orphaned() <-chan struct{} { return db.orphans }

func encodeNumber(n uint64) []byte {
	e := encoder{recordFormat}
	e.u(n)
	return e
}

func decodeNumber(v []byte) (uint64, error) {
	d, n := newDecoder(v)
	return n, d.end("number", 0)
}

// epochRecord is in the read set of every transaction.
type epochRecord struct {
	Epoch   uint64 // of mutations from now on
	Newest  uint64 // newest live snapshot, 0 if none
	Version uint64 // grows with every change of the list of snapshots
}

func (e epochRecord) encode() []byte {
	b := encoder{recordFormat}
	b.u(e.Epoch)
	b.u(e.Newest)
	b.u(e.Version)
	return b
}

var epochKey = plainKey(tagEpoch, 0, 0)

func readEpoch(ctx context.Context, r kv.Reader) (epochRecord, error) {
	v, err := r.Get(ctx, epochKey)
	if err != nil {
		return epochRecord{}, fmt.Errorf("meta: read epoch: %w", err)
	}
	d, epoch := newDecoder(v)
	e := epochRecord{epoch, d.u(), d.u()}
	return e, d.end("epoch record", 0)
}
