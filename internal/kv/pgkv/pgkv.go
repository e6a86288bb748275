// Package pgkv is the engine of the key store for clusters: one table of a
// database that speaks PostgreSQL's protocol, shared by all nodes. It keeps to
// the SQL that PostgreSQL, CockroachDB and YugabyteDB have in common.
//
// How it maps. An Update is a SERIALIZABLE transaction: reads go to the
// database at once, writes are buffered and sent before COMMIT. A View is a
// SERIALIZABLE READ ONLY transaction on the primary. The database decides
// about conflicts (SQLSTATE 40001 and 40P01), and the Update runs again.
//
// Invariants:
//   - COMMIT travels alone, after everything else was accepted. So a
//     connection that breaks earlier has committed nothing, and one that breaks
//     at COMMIT is looked into through the slot record that every transaction
//     writes (see outcome.go).
//   - A fence locks the session's row until the commit, so that ending a
//     session waits for its last commit and precedes all others.
//   - Only what the database acknowledged is acknowledged. With a synchronous
//     standby that includes the standby; a warning at COMMIT, by which
//     PostgreSQL says that it gave up waiting for one, is an unknown outcome.
//   - Time is the database's clock, except that a holder of a session counts
//     its lease from before the request that renewed it.
//
// The package must not know what the keys mean.
package pgkv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// Options shape an Engine. The zero value works except for DSN.
type Options struct {
	// DSN is a connection string or URL as libpq knows them; it may name
	// several hosts, of which the one that accepts writes is used.
	DSN string
	// Logger gets what an operator should know; nil means silence.
	Logger *slog.Logger
	// MaxConns bounds the connections, and with them the transactions that run
	// at once; 0 means 32.
	MaxConns int
	// Patience is how long a transaction waits for a database that cannot be
	// reached before it fails with kv.ErrUnavailable; 0 means 15 s.
	Patience time.Duration
	// PollInterval is how often watches look for the commits of other nodes; 0
	// means 100 ms.
	PollInterval time.Duration
	// Now is the clock for the age limits; nil means time.Now.
	Now func() time.Time
}

// Engine implements kv.Engine on a database.
type Engine struct {
	pool   *pgxpool.Pool
	log    *slog.Logger
	o      Options
	runner kvbase.Runner
	gate   *kvbase.Gate
	hub    kvbase.Hub
	poll   poller

	origin  int64        // tells this engine's slots from those of others
	lastRev atomic.Int64 // the newest revision met
	warned  sync.Map     // *pgconn.PgConn to the warning it gave

	slotMu sync.Mutex
	slots  []*slot // not in use
	nslots int64

	sessMu   sync.Mutex
	sessions map[uint64]*session

	run  context.Context    // of the goroutines; has no deadline
	stop context.CancelFunc // ends the goroutines
	wg   sync.WaitGroup
}

var _ kv.Engine = (*Engine)(nil)

// Open connects and makes the tables if they are absent.
func Open(ctx context.Context, o Options) (*Engine, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxConns == 0 {
		o.MaxConns = 32
	}
	if o.Patience == 0 {
		o.Patience = 15 * time.Second
	}
	if o.PollInterval == 0 {
		o.PollInterval = 100 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Engine{log: o.Logger, o: o, gate: kvbase.NewGate(), sessions: map[uint64]*session{}}
	e.runner = kvbase.Runner{Limits: kv.DefaultLimits, Now: o.Now, Begin: e.begin}
	c, err := pgxpool.ParseConfig(o.DSN)
	if err != nil {
		return nil, fmt.Errorf("pgkv: connection string: %w", err)
	}
	c.MaxConns = int32(o.MaxConns)
	c.ConnConfig.OnNotice = e.notice
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 3 * time.Second
	}
	if c.ConnConfig.ValidateConnect == nil {
		c.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	c.BeforeClose = func(x *pgxConn) { e.warned.Delete(x.PgConn()) }
	// The goroutines outlive the call and end with Close.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	e.run, e.stop = run, stop
	if e.pool, err = pgxpool.NewWithConfig(run, c); err == nil {
		err = e.prepare(ctx)
	}
	if err != nil {
		if e.pool != nil {
			e.pool.Close()
		}
		stop()
		return nil, fmt.Errorf("pgkv: open: %w", err)
	}
	e.poll.init(e)
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		e.poll.run(run)
	}()
	return e, nil
}

// notice remembers a warning until the commit that may have caused it asks.
func (e *Engine) notice(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" || n.SeverityUnlocalized == "" && n.Severity == "WARNING" {
		e.warned.Store(c, n.Message)
	}
}

func (e *Engine) enter() error {
	if !e.gate.Enter() {
		return kv.ErrClosed
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

// Limits implements kv.Engine.
func (e *Engine) Limits() kv.Limits { return kv.DefaultLimits }

// Close implements kv.Engine.
func (e *Engine) Close() error {
	if !e.gate.Shut() {
		return nil
	}
	err := e.closeSessions()
	e.stop()
	e.hub.Close()
	e.wg.Wait()
	e.pool.Close()
	return err
}

// met notes a revision and returns it.
func (e *Engine) met(rev int64) kv.Rev {
	for {
		old := e.lastRev.Load()
		if old >= rev || e.lastRev.CompareAndSwap(old, rev) {
			return kv.Rev(rev)
		}
	}
}

// errBroken: the connection is of no more use. Nothing was committed on it,
// unless COMMIT had been sent.
var errBroken = errors.New("connection lost")

// classify turns an error of the database into one of the contract, except
// for errBroken and kvbase.ErrConflict, which the caller has to handle. lost
// tells whether the connection is closed since.
func classify(ctx context.Context, err error, lost bool) error {
	if err == nil {
		return nil
	}
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	var pe *pgconn.PgError
	switch isPg := errors.As(err, &pe); {
	case errors.Is(err, kv.ErrFenced):
		return err
	case !isPg && lost:
		return fmt.Errorf("%w: %w", errBroken, err)
	case !isPg:
	case pe.Code == "40001" || pe.Code == "40P01":
		return kvbase.ErrConflict
	case pe.Code[:2] == "08" || pe.Code[:2] == "57" || pe.Code == "25006" || pe.Code == "25P03" || pe.Code == "53300":
		// Lost, shut down, demoted to a standby, idle too long, or full.
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
}

// acquire takes a connection and waits with Patience while there is none.
func (e *Engine) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	var deadline time.Time
	for {
		c, err := e.pool.Acquire(ctx)
		if err == nil {
			return c, nil
		}
		if cerr := ctx.Err(); cerr != nil {
			return nil, cerr
		}
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(e.o.Patience)
			e.log.Warn("the metadata database cannot be reached", "err", err)
		}
		if now.After(deadline) {
			return nil, fmt.Errorf("%w: %w", kv.ErrUnavailable, err)
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}
