package pgkv

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
	"manifold/internal/kv/kvtest"
	"manifold/internal/kv/pgkv/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func buffer(k []byte, v string) *kvbase.Buffer {
	return &kvbase.Buffer{Writes: []kvbase.Write{{Key: k, Value: []byte(v)}}}
}

func TestSuite(t *testing.T) {
	x := &schemas{s: pgtest.Start(t)}
	kvtest.Run(t, func(t *testing.T) kv.Engine { return x.open(t, Options{}) }, kvtest.MayRetry)
	t.Run("Ages", func(t *testing.T) {
		kvtest.RunAges(t, func(t *testing.T, now func() time.Time) kv.Engine { return x.open(t, Options{Now: now}) })
	})
	t.Run("TwoNodes", func(t *testing.T) { testTwoNodes(t, x) })
	t.Run("Outcome", func(t *testing.T) { testOutcome(t, x) })
	t.Run("Expiry", func(t *testing.T) { testExpiry(t, x) })
	t.Run("FenceHoldsEnd", func(t *testing.T) { testFenceHoldsEnd(t, x) })
	t.Run("LongScan", func(t *testing.T) { testLongScan(t, x) })
	t.Run("Refusals", func(t *testing.T) { testRefusals(t, x) })
}

// testTwoNodes looks from one engine at what another does.
func testTwoNodes(t *testing.T, x *schemas) {
	a := x.open(t, Options{PollInterval: 5 * time.Millisecond})
	b, err := Open(t.Context(), Options{DSN: x.dsn()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	k := []byte("key of b")
	events, err := a.Watch(ctx, kv.Prefix([]byte("key")))
	if err != nil {
		t.Fatal(err)
	}
	put := func(e *Engine, k []byte) {
		if _, err := e.Update(ctx, func(t kv.Txn) error { t.Put(k, []byte("1")); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	// A revision that is taken and not yet committed is seen when it is,
	// though a later one is seen first.
	at, err := b.begin(ctx, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var rev int64
	if err := at.(*attempt).write(ctx, buffer([]byte("key under way"), "1"), &rev); err != nil {
		t.Fatal(err)
	}
	put(b, k)
	for seen := false; !seen; {
		for _, got := range (<-events).Keys {
			seen = seen || string(got) == string(k)
		}
	}
	if err := at.(*attempt).t.commit(ctx); err != nil {
		t.Fatal(err)
	}
	at.Abort()
	batch := <-events
	if len(batch.Keys) != 1 || string(batch.Keys[0]) != "key under way" {
		t.Errorf("the commit that was late: %+v", batch)
	}
	// A session of b is ended by a; b's fence fails at once, its holder hears
	// of it when it renews.
	s, err := b.NewSession(ctx, time.Minute, []byte("b"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := a.Sessions(ctx)
	if err != nil || len(list) != 1 || list[0].ID != s.ID() || string(list[0].Info) != "b" {
		t.Errorf("Sessions: %v, %v", list, err)
	}
	if err := a.EndSession(ctx, s.ID()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Update(ctx, func(t kv.Txn) error { t.Fence(s); t.Put(k, nil); return nil }); !errors.Is(err, kv.ErrFenced) {
		t.Errorf("the fence: %v", err)
	}
	renew(s)
	select {
	case <-s.Lost():
	case <-ctx.Done():
		t.Error("the holder did not hear of the end")
	}
	if err := errors.Join(a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
	for range events {
	}
}

// renew makes a session renew itself now, unless it has ended.
func renew(s kv.Session) {
	select {
	case s.(*session).now <- struct{}{}:
	case <-s.Lost():
	}
}

// testExpiry lets a session run out because its holder cannot renew it.
func testExpiry(t *testing.T, x *schemas) {
	a := x.open(t, Options{})
	ctx := t.Context()
	s, err := a.NewSession(ctx, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A renewal moves the end, and does not conflict with a fence that comes
	// from a snapshot before it.
	first := s.(*session).term()
	if _, err := a.Update(ctx, func(t kv.Txn) error {
		if _, err := t.Get(ctx, []byte("k")); !errors.Is(err, kv.ErrNotFound) {
			return fmt.Errorf("attempt again: %w", err)
		}
		renew(s)
		renew(s) // begins after the first has ended
		t.Fence(s)
		t.Put([]byte("k"), nil)
		return nil
	}); err != nil {
		t.Errorf("a fence across a renewal: %v", err)
	}
	if now := s.(*session).term(); !now.After(first) {
		t.Errorf("the renewal left the end at %v, was %v", now, first)
	}
	// The row goes behind the holder's back, as when its clock stood still.
	x.s.SQL(t, fmt.Sprintf(`update s%d.manifold_session set expires = clock_timestamp() - interval '1 second'`, x.n))
	if _, err := a.Update(ctx, func(t kv.Txn) error { t.Fence(s); t.Put([]byte("k"), nil); return nil }); !errors.Is(err, kv.ErrFenced) {
		t.Errorf("the fence of a session that ran out: %v", err)
	}
	renew(s)
	<-s.Lost()
	if list, err := a.Sessions(ctx); err != nil || len(list) != 0 {
		t.Errorf("Sessions: %v, %v", list, err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// testFenceHoldsEnd ends a session while a commit fenced by it is under way:
// the end waits for the commit.
func testFenceHoldsEnd(t *testing.T, x *schemas) {
	e := x.open(t, Options{})
	ctx := t.Context()
	s, err := e.NewSession(ctx, time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := e.begin(ctx, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	b := buffer([]byte("k"), "1")
	b.Fences = []uint64{s.ID()}
	var rev int64
	if err := a.(*attempt).write(ctx, b, &rev); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.EndSession(ctx, s.ID()) }()
	waitBlocked(t, x.s)
	select {
	case err := <-ended:
		t.Errorf("the session ended before its commit: %v", err)
	default:
	}
	if err := a.(*attempt).t.commit(ctx); err != nil {
		t.Errorf("commit: %v", err)
	}
	a.Abort()
	if err := <-ended; err != nil {
		t.Errorf("EndSession: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// testLongScan reads more pages than one, both ways, with small and large values.
func testLongScan(t *testing.T, x *schemas) {
	e := x.open(t, Options{})
	ctx := t.Context()
	const n = 600
	for i := 0; i < n; i += 100 {
		if _, err := e.Update(ctx, func(t kv.Txn) error {
			for j := i; j < i+100; j++ {
				t.Put(fmt.Appendf(nil, "key%06d", j), make([]byte, 10+j%7*1000))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range []kv.ScanOptions{{}, {Reverse: true}, {KeysOnly: true}, {Limit: 333}, {Reverse: true, Limit: 333}} {
		err := e.View(ctx, kv.Linearizable, func(r kv.Reader) error {
			i := 0
			for got, err := range r.Scan(ctx, kv.Prefix([]byte("key")), o) {
				if err != nil {
					return err
				}
				j := i
				if o.Reverse {
					j = n - 1 - i
				}
				if want := fmt.Sprintf("key%06d", j); string(got.Key) != want {
					return fmt.Errorf("key %d is %q, want %q", i, got.Key, want)
				}
				if !o.KeysOnly && len(got.Value) != 10+j%7*1000 {
					return fmt.Errorf("value %d has %d bytes", i, len(got.Value))
				}
				i++
			}
			if want := max(o.Limit, (1-min(o.Limit, 1))*n); i != want {
				return fmt.Errorf("%d keys, want %d", i, want)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// testRefusals opens what must not be opened.
func testRefusals(t *testing.T, x *schemas) {
	e := x.open(t, Options{})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{DSN: x.dsn() + " synchronous_commit=off"}); err == nil {
		t.Error("a database that does not write before it acknowledges was accepted")
	}
	x.s.SQL(t, fmt.Sprintf(`update s%d.manifold_format set version = 2`, x.n))
	if _, err := Open(t.Context(), Options{DSN: x.dsn()}); err == nil {
		t.Error("tables of a newer program were accepted")
	}
	if _, err := Open(t.Context(), Options{DSN: "host=/nowhere user=postgres", Patience: time.Millisecond}); !errors.Is(err, kv.ErrUnavailable) {
		t.Errorf("a database that is not there: %v", err)
	}
}

func TestPackKeys(t *testing.T) {
	in := []kvbase.Write{{Key: []byte("a")}, {Key: make([]byte, 2048)}, {Key: []byte{0, 1}}}
	out, err := unpackKeys(packKeys(in))
	if err != nil || len(out) != len(in) {
		t.Fatal(out, err)
	}
	for i := range in {
		if string(in[i].Key) != string(out[i].Key) {
			t.Errorf("key %d: %q", i, out[i].Key)
		}
	}
	var many []kvbase.Write
	for range 40 {
		many = append(many, in[1])
	}
	if packKeys(many) != nil {
		t.Error("too many keys were packed")
	}
}

// FuzzUnpackKeys reads rows that anything may have written.
func FuzzUnpackKeys(f *testing.F) {
	f.Add(packKeys([]kvbase.Write{{Key: []byte("abc")}, {Key: []byte{}}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		ws, err := unpackKeys(p)
		if err == nil && len(p) < maxPacked && len(ws) > 0 {
			if again, err := unpackKeys(packKeys(ws)); err != nil || len(again) != len(ws) {
				t.Errorf("%q: %v", p, err)
			}
		}
	})
}
