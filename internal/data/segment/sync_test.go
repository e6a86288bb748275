package segment_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"manifold/internal/data"
	"manifold/internal/data/errdisk"
)

// Whoever comes while a sync runs shares the next one.
func TestWaitersShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		d := errdisk.New()
		s := mustOpen(t, d, opts)
		var syncs atomic.Int32
		goOn := make(chan struct{})
		d.SetFaults(errdisk.Faults{Hook: func(op errdisk.Op, _ string) error {
			if op == errdisk.OpSync && syncs.Add(1) == 1 {
				<-goOn
			}
			return nil
		}})
		one := func(id data.ExtentID) {
			_, err := s.Append(ctx, id, [][]byte{payload(uint64(id), 1000)})
			if err == nil {
				err = s.Sync(ctx)
			}
			if err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		for id := data.ExtentID(1); id <= 20; id++ {
			wg.Go(func() { one(id) })
			synctest.Wait() // the first is in its sync, the others wait for the next
		}
		close(goOn)
		wg.Wait()
		if n := syncs.Load(); n != 2 {
			t.Fatalf("%d syncs, want 2", n)
		}
	})
}

// Nobody is told that bytes are safe when the sync of any failed.
func TestFailedSyncFailsAllItsWaiters(t *testing.T) {
	ctx := t.Context()
	d := errdisk.New()
	s := mustOpen(t, d, opts)
	if _, err := s.Append(ctx, 1, [][]byte{{1}}); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("lost")
	d.SetFaults(errdisk.Faults{Sync: cause})
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- s.Sync(ctx) }()
	}
	for range cap(errs) {
		if err := <-errs; !errors.Is(err, data.ErrFailed) || !errors.Is(err, cause) {
			t.Fatalf("a waiter got %v", err)
		}
	}
}
