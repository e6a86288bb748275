// Package kv is the contract of the ordered transactional key store that all
// metadata lives in. Engines live in the folders below (memkv, pebblekv, pgkv)
// and all pass the one suite in kvtest.
//
// Invariants every engine keeps:
//   - Keys are raw bytes in bytewise order, 1 to [MaxKeyBytes] long. Those that
//     begin with [EngineTag] are no keys: engines may keep notes of their own there.
//   - A View reads one consistent snapshot. Updates and Views have one serial
//     order, and what returned before another began precedes it. Of two Updates
//     that overlap, the one that read what the other changed precedes it or
//     runs again.
//   - When Update returns nil, the commit is durable. A View (and the reads of
//     an Update) never shows a reply-worthy state that a crash could take back:
//     engines wait for the sync of what was seen before they return.
//   - The same limits hold on every engine, see [Limits]. Bigger work is an
//     intent record plus idempotent steps.
//   - Every Scan and Guard inside an Update stays within one key prefix as
//     [PrefixOf] defines it; Views may scan anything.
//
// The package must not know what the keys mean.
package kv

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"time"
)

// Errors that engines return, possibly wrapped; test with errors.Is.
var (
	// ErrNotFound: the key does not exist in the snapshot.
	ErrNotFound = errors.New("kv: not found")
	// ErrTooLarge: a transaction exceeded [Limits], or a key or value is too long.
	ErrTooLarge = errors.New("kv: transaction too large")
	// ErrTooManyRetries: conflicts went on until the context ended or the engine gave up.
	ErrTooManyRetries = errors.New("kv: too many retries")
	// ErrUnknownOutcome: the commit may or may not have happened, and the engine could not find out.
	ErrUnknownOutcome = errors.New("kv: unknown outcome")
	// ErrFenced: the session given to Fence has ended, nothing was committed.
	ErrFenced = errors.New("kv: session fenced")
	// ErrUnavailable: the engine cannot be reached or has failed; nothing was committed.
	ErrUnavailable = errors.New("kv: engine unavailable")
	// ErrOutsidePrefix: a Scan or Guard inside an Update crossed a prefix: a bug of the caller.
	ErrOutsidePrefix = errors.New("kv: scan or guard crosses a key prefix")
	// ErrSnapshotTooOld: a View outlived Limits.MaxSnapshotAge, or its snapshot
	// turned out to fit in no serial order (on pgkv); run it again.
	ErrSnapshotTooOld = errors.New("kv: snapshot too old")
	// ErrClosed: the engine was closed.
	ErrClosed = errors.New("kv: engine closed")
)

const (
	// MaxKeyBytes bounds a key.
	MaxKeyBytes = 2048
	// EngineTag is the first byte that no key has.
	EngineTag = 0xff
	// PrefixBytes is how many leading bytes of a key make its prefix: a table
	// tag of one byte and a 64-bit id.
	PrefixBytes = 9
)

// PrefixOf returns the prefix of key: its first [PrefixBytes] bytes, or the
// whole key when it is shorter. It aliases key.
func PrefixOf(key []byte) []byte {
	if len(key) > PrefixBytes {
		return key[:PrefixBytes]
	}
	return key
}

// KV is one key and its value. Both are only valid until the next step of the
// iteration that yields them; copy what you keep.
type KV struct{ Key, Value []byte }

// Range is the half-open key interval [Start, End). A nil End means up to the last key.
type Range struct{ Start, End []byte }

// Prefix returns the range of all keys that start with p.
func Prefix(p []byte) Range { return Range{Start: bytes.Clone(p), End: Successor(p)} }

// Successor returns the first key after all keys that start with p, nil if there is none.
func Successor(p []byte) []byte {
	e := bytes.Clone(p)
	for i := len(e) - 1; i >= 0; i-- {
		e[i]++
		if e[i] != 0 {
			return e[:i+1]
		}
	}
	return nil
}

// Contains tells whether key lies in r.
func (r Range) Contains(key []byte) bool {
	return bytes.Compare(key, r.Start) >= 0 && (r.End == nil || bytes.Compare(key, r.End) < 0)
}

// WithinPrefix tells whether all keys of r share one prefix as [PrefixOf] defines it.
func (r Range) WithinPrefix() bool {
	if len(r.Start) < PrefixBytes || r.End == nil {
		return false
	}
	p := r.Start[:PrefixBytes]
	if bytes.HasPrefix(r.End, p) {
		return true
	}
	return bytes.Equal(r.End, Successor(p))
}

// ScanOptions shape a Scan. The zero value yields every key of the range in order.
type ScanOptions struct {
	// Limit stops after so many keys; 0 means no limit.
	Limit int
	// Reverse yields the keys in descending order.
	Reverse bool
	// KeysOnly leaves KV.Value nil where that is cheaper.
	KeysOnly bool
}

// Reader reads one consistent snapshot.
type Reader interface {
	// Get returns the value of key, or ErrNotFound. The caller may keep the
	// value but must not change it.
	Get(ctx context.Context, key []byte) ([]byte, error)
	// GetMany returns the values of keys in their order, nil where absent, in
	// one round trip.
	GetMany(ctx context.Context, keys [][]byte) ([][]byte, error)
	// Scan yields the keys of r in bytewise order. An error ends the sequence
	// and is yielded last with an empty KV.
	Scan(ctx context.Context, r Range, o ScanOptions) iter.Seq2[KV, error]
}

// Txn is an Update in progress. It sees its own writes. All it reads joins the
// read set. Not safe for concurrent use.
//
// An error of a read ends the attempt, whatever the function makes of it; it
// may be a conflict that the engine has found already and will retry. Puts
// report nothing: what they exceed comes back from Update.
type Txn interface {
	Reader
	// Put buffers a write; the last write of a key wins. The engine copies both.
	Put(key, value []byte)
	// Delete buffers a deletion; deleting an absent key is no error.
	Delete(key []byte)
	// DeleteOnce is Delete of a key that has been written by one Update since
	// it was last absent. An engine need not keep a trace of such a key. Of a
	// key that was overwritten, an older value may come back.
	DeleteOnce(key []byte)
	// Guard puts all keys of r into the read set, absent ones included, as a
	// Scan of all of r would.
	Guard(r Range)
	// Unvalidated reads the same snapshot without joining the read set, for
	// hints and caches. It shows the snapshot as it was, without the writes of
	// this Txn, and may scan anything. Its reads do not count against Limits.
	// An engine that cannot read without validating validates.
	Unvalidated() Reader
	// Fence makes the commit fail with ErrFenced unless the session is still valid.
	Fence(s Session)
}

// Freshness says how old the snapshot of a View may be.
type Freshness struct{ MaxAge time.Duration }

// Linearizable asks for a snapshot that includes every Update that returned before the View began.
var Linearizable = Freshness{}

// AtMost allows a snapshot up to d old.
func AtMost(d time.Duration) Freshness { return Freshness{MaxAge: d} }

// Rev numbers commits of an engine; it grows. It is only for ordering and Watch.
type Rev uint64

// Batch is what a Watch delivers: a hint that keys changed.
type Batch struct {
	Rev Rev
	// Keys that changed in the watched range; may be coalesced.
	Keys [][]byte
	// Resync means events were lost: read the range again.
	Resync bool
}

// Limits are the bounds of a transaction. One set holds on every engine.
type Limits struct {
	MaxReads       int           // keys read in an Update, scanned ones included
	MaxWrites      int           // keys written in an Update
	MaxTxnBytes    int           // sum of keys and values written
	MaxValueBytes  int           // one value
	MaxTxnAge      time.Duration // of one attempt of an Update; the third in a row that is older ends it with ErrTooLarge
	MaxSnapshotAge time.Duration // of a View
}

// DefaultLimits are the limits that every engine enforces.
var DefaultLimits = Limits{
	MaxReads:       1000,
	MaxWrites:      256,
	MaxTxnBytes:    1 << 20,
	MaxValueBytes:  768 << 10,
	MaxTxnAge:      4 * time.Second,
	MaxSnapshotAge: 60 * time.Second,
}

// Session is a lease with fencing. Its holder must stop acting on it once
// Valid says so or Lost is closed.
type Session interface {
	// ID is unique for the life of the store.
	ID() uint64
	// Valid tells how long the lease is still good without renewal.
	Valid() (time.Duration, bool)
	// Lost is closed when the session has ended for whatever reason.
	Lost() <-chan struct{}
	// Close ends the session. Safe to call twice.
	Close(ctx context.Context) error
}

// SessionInfo describes a session to others.
type SessionInfo struct {
	ID   uint64
	Info []byte
}

// Engine is one ordered transactional store. Safe for concurrent use.
type Engine interface {
	// View runs fn on one snapshot. fn runs once. The Reader is dead afterwards.
	View(ctx context.Context, f Freshness, fn func(Reader) error) error
	// Update runs fn in a serializable transaction and commits when fn returns
	// nil. fn may run many times and must have no side effects. An error of fn
	// (not of the engine) is returned as it is, and nothing is written, but
	// only after the reads that led to it were validated. Conflicts are retried
	// with jittered backoff until ctx ends.
	Update(ctx context.Context, fn func(Txn) error) (Rev, error)
	// Watch delivers hints about commits in r from now on, never the truth. The
	// channel closes when ctx ends or the engine closes.
	Watch(ctx context.Context, r Range) (<-chan Batch, error)
	// NewSession starts a lease that the engine renews by itself every ttl/3.
	NewSession(ctx context.Context, ttl time.Duration, info []byte) (Session, error)
	// Sessions lists the sessions that have not ended.
	Sessions(ctx context.Context) ([]SessionInfo, error)
	// EndSession ends another's session: its Fence fails from then on.
	EndSession(ctx context.Context, id uint64) error
	// Limits are the bounds of this engine: DefaultLimits.
	Limits() Limits
	// Close waits for running transactions and releases the store.
	Close() error
}

// Horizon is an optional power of an engine all of whose Views run in this process.
type Horizon interface {
	// Past tells whether every View that still runs began after the commit of rev.
	Past(rev Rev) bool
}

// Checkpointer is an optional power of an embedded engine: a consistent copy
// of the whole store in dir, which must not exist.
type Checkpointer interface {
	Checkpoint(ctx context.Context, dir string) error
}
