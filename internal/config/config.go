// Package config keeps what an administrator decides, in the key store: users,
// groups, passwords, sessions, tokens, exports, protocol settings, the TLS
// certificate and who this node is.
//
// Invariants:
//   - Every record is typed, carries its format and a revision that is never
//     used twice, so that a stale If-Match is always noticed.
//   - A change commits whole: a record, its names and its memberships are
//     written by one transaction.
//   - Ids are never reused. User and group ids are their RIDs.
//   - No secret is kept that need not be: passwords are argon2id hashes, tokens
//     SHA-256 hashes of 256 random bits; what is needed in the clear is sealed
//     under a key that is not in the key store.
//
// The package must not know who asks, nor any protocol: privileges are checked
// by its callers, and they turn its errors into theirs.
package config

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/kv"
)

// Errors, possibly wrapped; test with errors.Is.
var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("config: not found")
	// ErrExists: the name, uid, gid or path is taken.
	ErrExists = errors.New("config: already exists")
	// ErrStale: the revision given is not the record's.
	ErrStale = errors.New("config: revision does not match")
	// ErrInvalid: the new value breaks a rule; see [InvalidError].
	ErrInvalid = errors.New("config: invalid")
	// ErrBuiltIn: a built-in record cannot be removed.
	ErrBuiltIn = errors.New("config: built in")
	// ErrInUse: something else refers to the record.
	ErrInUse = errors.New("config: in use")
	// ErrLimit: a fixed number of such records is reached.
	ErrLimit = errors.New("config: limit reached")
	// ErrCredentials: wrong name, password or token, or one that has expired.
	ErrCredentials = errors.New("config: wrong credentials")
	// ErrFormat: a newer version wrote the record.
	ErrFormat = errors.New("config: unknown format")
	// ErrCorrupt: a record cannot be read.
	ErrCorrupt = errors.New("config: corrupt record")
)

// InvalidError says which rule a value breaks, in words for the administrator.
// It is an [ErrInvalid].
type InvalidError struct {
	Field  string
	Reason string
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

func invalid(field, format string, a ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, a...)}
}

// Record is one value with its id and revision.
type Record[T any] struct {
	ID       uint64
	Revision uint64
	Value    T
}

// Options shape a Store. Only KV is required.
type Options struct {
	KV kv.Engine
	// Now is the clock; nil is the system's.
	Now func() time.Time
	// Rand is the source of tokens, salts and keys; nil is the system's.
	Rand io.Reader
	// Logger gets what happens in the background; nil discards.
	Logger *slog.Logger
	// SealKey seals secrets that are needed in the clear, SealKeyBytes long;
	// without it there can be none of those.
	SealKey []byte
}

// Store is the configuration. Safe for concurrent use.
type Store struct {
	kv  kv.Engine
	now func() time.Time
	rnd io.Reader
	log *slog.Logger

	hashing chan struct{} // a slot for each password that is hashed at a time: it costs memory
	dummy   func() string // a hash to compare with when there is no user
	proved  proofs
	slow    atomic.Uint64 // passwords that were compared by the slow hash
	sealer  cipher.AEAD // nil without a key

	exports   atomic.Pointer[ExportTable]
	directory atomic.Pointer[Directory]
	nfs       atomic.Pointer[NFS]
	ftp       atomic.Pointer[FTP]
	ssh       atomic.Pointer[SSH]
	general   atomic.Pointer[General]
	news      news
	s3        s3Tables
	shares    atomic.Pointer[ShareTable]
	smb       atomic.Pointer[SMB]
	reload    sync.Mutex // one reload at a time, so that an older one never wins

	stop    context.CancelFunc
	watcher sync.WaitGroup
}

// Open reads the configuration in o.KV. On an empty store it answers a Store
// whose [Store.FirstRun] has yet to be called. Close it before the engine.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{kv: o.KV, now: o.Now, rnd: o.Rand, log: o.Logger, hashing: make(chan struct{}, 2)}
	if s.now == nil {
		s.now = time.Now
	}
	if s.rnd == nil {
		s.rnd = rand.Reader
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.sealer, err = sealer(o.SealKey); err != nil {
		return nil, err
	}
	s.dummy = sync.OnceValue(func() string {
		h, _ := s.hash("no user has this password")
		return h
	})
	if err := s.checkFormat(ctx); err != nil {
		return nil, err
	}
	// The store outlives the call that opened it, hence not ctx.
	wctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	changes, err := s.kv.Watch(wctx, watched)
	if err != nil {
		stop()
		return nil, fmt.Errorf("config: watch: %w", err)
	}
	if err := errors.Join(s.load(ctx), s.loadS3(ctx)); err != nil {
		stop()
		return nil, err
	}
	s.watcher.Go(func() { s.follow(wctx, changes) })
	return s, nil
}

// news tells whoever waits that something else is in force.
type news struct {
	mu sync.Mutex
	ch chan struct{} // closed by the next change; nil if nobody waits
}

func (n *news) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *news) tell() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}

// Changed answers a channel that is closed by the next change of what is in
// force, on whichever node it was made. Ask for it before reading what you
// want to follow.
func (s *Store) Changed() <-chan struct{} { return s.news.wait() }

// Close stops the background work. The engine stays open.
func (s *Store) Close() error {
	s.stop()
	s.watcher.Wait()
	return nil
}

// format of all records together; a store with a higher one is refused.
const format = 1

func (s *Store) checkFormat(ctx context.Context) error {
	return s.kv.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		n, err := counter(ctx, r, counterFormat)
		if err == nil && n > format {
			return fmt.Errorf("%w: the configuration has format %d, this version reads up to %d", ErrFormat, n, format)
		}
		return err
	})
}

// counter reads a counter, 0 if it was never written.
func counter(ctx context.Context, r kv.Reader, id uint64) (uint64, error) {
	b, err := r.Get(ctx, counterKey(id))
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	case len(b) != 8:
		return 0, fmt.Errorf("%w: counter %d", ErrCorrupt, id)
	}
	return binary.BigEndian.Uint64(b), nil
}

func setCounter(tx kv.Txn, id, n uint64) {
	tx.Put(counterKey(id), binary.BigEndian.AppendUint64(nil, n))
}

// next takes the next number of a counter, at least low.
func next(ctx context.Context, tx kv.Txn, id, low uint64) (uint64, error) {
	n, err := counter(ctx, tx, id)
	if err != nil {
		return 0, err
	}
	n = max(n+1, low)
	setCounter(tx, id, n)
	return n, nil
}

func (s *Store) update(ctx context.Context, fn func(kv.Txn) error) error {
	_, err := s.kv.Update(ctx, fn)
	return err
}

func (s *Store) view(ctx context.Context, fn func(kv.Reader) error) error {
	return s.kv.View(ctx, kv.Linearizable, fn)
}

// random fills b from the source of secrets.
func (s *Store) random(b []byte) error {
	if _, err := io.ReadFull(s.rnd, b); err != nil {
		return fmt.Errorf("config: random: %w", err)
	}
	return nil
}
