package pgkv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"manifold/internal/kv"
	"manifold/internal/kv/kvbase"
)

// slot is a row that every commit of one transaction at a time overwrites with
// its number. When a connection breaks at COMMIT, the row tells what happened.
type slot struct {
	id  int64
	seq int64 // of the last commit tried
}

func (e *Engine) takeSlot() *slot {
	e.slotMu.Lock()
	defer e.slotMu.Unlock()
	if n := len(e.slots); n > 0 {
		s := e.slots[n-1]
		e.slots = e.slots[:n-1]
		return s
	}
	e.nslots++
	return &slot{id: e.nslots}
}

func (e *Engine) giveSlot(s *slot) {
	e.slotMu.Lock()
	defer e.slotMu.Unlock()
	e.slots = append(e.slots, s)
}

// resolve finds out whether the last commit of the slot happened: nil if so,
// kvbase.ErrConflict if it did not and never will. All statements of that
// commit were accepted before COMMIT was sent, so the row is locked as long as
// it is undecided, and this upsert waits for it.
func (e *Engine) resolve(ctx context.Context, s *slot) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.o.Patience)
	defer cancel()
	for n := 0; ; n++ {
		seq, err := e.readSlot(ctx, s)
		if err == nil {
			if seq == s.seq {
				return nil
			}
			return kvbase.ErrConflict
		}
		e.log.Warn("look for the outcome of a commit", "err", err)
		if errors.Is(err, kv.ErrUnknownOutcome) {
			return err
		}
		t := time.NewTimer(min(time.Duration(n+1)*50*time.Millisecond, time.Second))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%w: %w", kv.ErrUnknownOutcome, err)
		}
	}
}

func (e *Engine) readSlot(ctx context.Context, s *slot) (seq int64, err error) {
	c, err := e.acquire(ctx)
	if err != nil {
		return 0, err
	}
	t := tx{e: e, c: c, begin: `begin`}
	defer t.release(ctx)
	// Its own commit makes sure that what it saw is on the standby too.
	b := t.batch()
	b.Queue(`insert into manifold_slot (origin, slot, seq, rev) values ($1, $2, 0, 0)
		on conflict (origin, slot) do update set rev = manifold_slot.rev + 1 returning seq`, e.origin, s.id)
	err = t.send(ctx, b, func(br batchResults) error { return br.QueryRow().Scan(&seq) })
	if err == nil {
		err = t.commit(ctx)
	}
	return seq, err
}
