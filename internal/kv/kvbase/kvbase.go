// Package kvbase holds what every engine of the key store does in the same
// way: the buffer of an Update with its limits and own-write overlay, the loop
// that retries conflicts, the table of in-memory sessions, the fan-out of
// watches and the gate that Close waits at.
//
// Invariants:
//   - Limits are counted here and nowhere else, so that they are the same on
//     every engine.
//   - An error that a read gave inside an Update sticks: the Update cannot
//     commit after it, whatever the function does with the error.
//   - A Txn is dead once its function has returned.
//
// The package must not know how an engine stores or validates anything.
package kvbase

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/kv"
)

// ErrConflict is what an engine's attempt returns when another transaction got
// in between. It never leaves the engine.
var ErrConflict = errors.New("kv: conflict")

// ErrDone is what a Reader or Txn returns after its function has returned.
var ErrDone = errors.New("kv: transaction is over")

// CheckKey tells whether a key is one that callers may have.
func CheckKey(key []byte) error {
	if len(key) == 0 || len(key) > kv.MaxKeyBytes {
		return fmt.Errorf("%w: key of %d bytes", kv.ErrTooLarge, len(key))
	}
	if key[0] == kv.EngineTag {
		return fmt.Errorf("%w: key %x is beyond those of callers", kv.ErrTooLarge, key)
	}
	return nil
}

// Backoff waits before the next attempt after n conflicts in a row.
func Backoff(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", kv.ErrTooManyRetries, err)
	}
	if n < 2 {
		runtime.Gosched()
		return nil
	}
	limit := 20 * time.Millisecond
	if n < 9 {
		limit = 50 * time.Microsecond << n
	}
	t := time.NewTimer(rand.N(limit))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", kv.ErrTooManyRetries, ctx.Err())
	}
}

// Gate counts the transactions that run and lets Close wait for them.
type Gate struct {
	n      atomic.Int64
	closed atomic.Bool
	once   sync.Once
	idle   chan struct{}
}

// NewGate returns an open gate.
func NewGate() *Gate { return &Gate{idle: make(chan struct{})} }

// Enter lets a transaction in, or says that the gate is closed.
func (g *Gate) Enter() bool {
	g.n.Add(1)
	if g.closed.Load() {
		g.Leave()
		return false
	}
	return true
}

// Leave ends what Enter began.
func (g *Gate) Leave() {
	if g.n.Add(-1) == 0 && g.closed.Load() {
		g.once.Do(func() { close(g.idle) })
	}
}

// Shut turns new transactions away and waits for those inside. It reports
// whether this call was the one that closed the gate.
func (g *Gate) Shut() bool {
	first := g.closed.CompareAndSwap(false, true)
	if g.n.Load() == 0 {
		g.once.Do(func() { close(g.idle) })
	}
	<-g.idle
	return first
}
