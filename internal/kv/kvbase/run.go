package kvbase

import (
	"context"
	"errors"
	"fmt"
	"time"

	"manifold/internal/kv"
)

// maxOldAttempts is how many attempts in a row may outlive MaxTxnAge before
// the Update is given up: one may be the fault of a busy machine.
const maxOldAttempts = 3

// Runner runs Updates for an engine.
type Runner struct {
	Limits kv.Limits
	// Now is the clock that MaxTxnAge is measured with.
	Now func() time.Time
	// Begin starts one attempt; n counts those that failed before, and own is
	// the turn of this Update, if it has it.
	Begin func(ctx context.Context, n int, own *Ticket) (Attempt, error)
	// Turn is for engines that yield to it before a commit.
	Turn Turn
}

var errOld = errors.New("attempt too old")

// Update runs fn until it commits, fails, or ctx ends.
func (r *Runner) Update(ctx context.Context, fn func(kv.Txn) error) (kv.Rev, error) {
	t := &Txn{lim: r.Limits}
	old := 0
	var own *Ticket
	defer func() { r.Turn.Give(own) }()
	for n := 0; ; n++ {
		if own == nil {
			own = r.Turn.Take(n)
		}
		rev, err := r.once(ctx, t, fn, n, own)
		switch err {
		case ErrConflict:
		case errOld:
			if old++; old == maxOldAttempts {
				return 0, fmt.Errorf("%w: took longer than %v", kv.ErrTooLarge, r.Limits.MaxTxnAge)
			}
		default:
			return rev, err
		}
		wait := n
		if own != nil {
			own.lost()
			wait = 0 // the others wait now
		}
		if err := Backoff(ctx, wait); err != nil {
			return 0, err
		}
	}
}

func (r *Runner) once(ctx context.Context, t *Txn, fn func(kv.Txn) error, n int, own *Ticket) (kv.Rev, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	start := r.Now()
	a, err := r.Begin(ctx, n, own)
	if err != nil {
		return 0, err
	}
	defer a.Abort()
	t.begin(a)
	ferr := func() error {
		defer func() { t.done = true }()
		return fn(t)
	}()
	switch {
	case t.err != nil && errors.Is(t.err, ErrConflict):
		return 0, ErrConflict
	case t.err != nil && ferr != nil:
		return 0, ferr
	case t.err != nil:
		return 0, t.err
	case r.Now().Sub(start) > r.Limits.MaxTxnAge:
		return 0, errOld
	}
	if ferr == nil && (len(t.buf.Writes) > 0 || len(t.buf.Fences) > 0) {
		rev, err := a.Commit(ctx, &t.buf)
		return rev, plain(err)
	}
	rev, err := a.Validate(ctx)
	if err != nil {
		return 0, plain(err)
	}
	return rev, ferr
}

// plain strips the context from a conflict, so that it compares.
func plain(err error) error {
	if err != nil && errors.Is(err, ErrConflict) {
		return ErrConflict
	}
	return err
}
