package pgkv

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"manifold/internal/kv"
	"manifold/internal/kv/kvtest"
	"manifold/internal/kv/pgkv/pgtest"
)

// TestFailover kills the primary under load and promotes its synchronous
// standby: nothing acknowledged is lost, and the writers go on by themselves.
func TestFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two servers; the full run has it")
	}
	primary := pgtest.Start(t, "synchronous_standby_names=*", "wal_level=replica", "max_wal_senders=4")
	// Until the standby is there, commits would wait for it.
	standby := primary.Standby(t)
	e, err := Open(t.Context(), Options{DSN: pgtest.DSN(primary, standby), Patience: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	c := kvtest.NewCrash(8, 200)
	ctx := t.Context()
	const each = 200
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx, e, each, 1) }()
	// A commit of the test's own tells how far the load is.
	for c.Acknowledged() < 8*each/4 {
		if _, err := e.Update(ctx, func(x kv.Txn) error { x.Put([]byte("beat"), nil); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	promised := c.Promised()
	before := c.Acknowledged()
	primary.Kill(t)
	start := time.Now()
	standby.Run(t, "pg_ctl", "promote", "-D", standby.Data(), "-w", "-s")
	if _, err := e.Update(ctx, func(x kv.Txn) error { x.Put([]byte("beat"), nil); return nil }); err != nil {
		t.Fatalf("the first commit after the failover: %v", err)
	}
	gap := time.Since(start)
	if err := c.Check(ctx, e, promised); err != nil {
		t.Errorf("after the failover: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the load: %v", err)
	}
	promised = c.Promised()
	if err := c.Check(ctx, e, promised); err != nil {
		t.Errorf("at the end: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("%d commits acknowledged before the kill, %d of %d in all, none lost; %v without commits",
		before, c.Acknowledged(), 8*each, gap)
	t.Run("Restart", func(t *testing.T) { testRestart(t, standby) })
}

// testOutcome breaks the connection at COMMIT, before and after the database
// has done it, and looks at what the engine makes of it.
func testOutcome(t *testing.T, x *schemas) {
	e := x.open(t, Options{Patience: 5 * time.Second})
	defer e.Close()
	ctx := t.Context()
	k := []byte("k")
	put := func(e *Engine, v string) error {
		_, err := e.Update(ctx, func(t kv.Txn) error { t.Put(k, []byte(v)); return nil })
		return err
	}
	if err := put(e, "0"); err != nil {
		t.Fatal(err)
	}
	s := e.takeSlot()
	// As if COMMIT had been sent and done.
	if err := e.resolve(ctx, s); err != nil {
		t.Errorf("a commit that happened: %v", err)
	}
	// As if it had been sent and lost.
	s.seq++
	if err := e.resolve(ctx, s); err == nil || errors.Is(err, kv.ErrUnknownOutcome) {
		t.Errorf("a commit that did not happen: %v", err)
	}
	e.giveSlot(s)
	// A transaction that is undecided makes the question wait.
	a, err := e.begin(ctx, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := a.(*attempt)
	var rev int64
	if err := at.write(ctx, buffer(k, "1"), &rev); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- e.resolve(ctx, at.s) }()
	waitBlocked(t, x.s)
	select {
	case err := <-answered:
		t.Fatalf("answered while the transaction was undecided: %v", err)
	default:
	}
	if err := at.t.commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Errorf("after the commit: %v", err)
	}
	at.Abort()
}

// waitBlocked returns once a transaction of the database waits for another.
func waitBlocked(t *testing.T, s *pgtest.Server) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), "host="+s.Dir+" user=postgres dbname=postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for n := 0; n == 0; {
		if err := c.QueryRow(t.Context(), `select count(*) from pg_locks where not granted`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

// testRestart kills the database under a View and starts it again: every call
// ends with a clear answer, and later ones work.
func testRestart(t *testing.T, s *pgtest.Server) {
	e, err := Open(t.Context(), Options{DSN: pgtest.DSN(s), Patience: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ctx := t.Context()
	k := []byte("k")
	put := func() error {
		_, err := e.Update(ctx, func(t kv.Txn) error { t.Put(k, []byte("v")); return nil })
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	err = e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
		if _, err := r.Get(ctx, k); err != nil {
			return err
		}
		s.Kill(t)
		_, err := r.Get(ctx, k)
		return err
	})
	if !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("a View that lost its connection: %v", err)
	}
	if err := put(); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("an Update without a database: %v", err)
	}
	if err := os.Remove(filepath.Join(s.Data(), "postmaster.pid")); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	if err := put(); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	var n atomic.Int32
	err = e.View(ctx, kv.Linearizable, func(r kv.Reader) error { n.Add(1); _, err := r.Get(ctx, k); return err })
	if err != nil || n.Load() != 1 {
		t.Errorf("a View after the restart: %v", err)
	}
}
