// Package attempts makes guessing of passwords slow.
//
// Invariants: only failures cost, since programs sign in hundreds of times with
// the right password. User name and client network are counted as a pair, so
// that guessing from one network does not lock the user out from another.
// Attempts of one pair are made one after the other: many at once would all be
// allowed before the first has failed. Memory is bounded. The package must not
// know how anybody is proved.
package attempts

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// ErrTooMany says that sign-in failed too often; try again later.
var ErrTooMany = errors.New("too many failed sign-ins")

// Table counts failed sign-ins.
type Table struct {
	now func() time.Time

	mu struct {
		sync.Mutex
		failed map[Key]bucket
		turns  map[Key]*turn
	}
}

// turn is a lock that exists while somebody holds or awaits it.
type turn struct {
	slot  chan struct{}
	users int
}

// Key is a pair of user and client network.
type Key struct {
	user string
	net  netip.Prefix
}

// bucket holds failures, draining one per drain.
type bucket struct {
	level float64
	at    time.Time
}

const (
	maxFailures = 10
	drain       = 6 * time.Second // one more attempt each
	maxTracked  = 10_000
)

// New makes a Table that asks now for the time.
func New(now func() time.Time) *Table {
	a := &Table{now: now}
	a.mu.failed = map[Key]bucket{}
	a.mu.turns = map[Key]*turn{}
	return a
}

// Begin waits for the pair's turn, and answers ErrTooMany if it has failed too
// often. Unless it fails, done must be called.
func (a *Table) Begin(ctx context.Context, k Key) (done func(), err error) {
	a.mu.Lock()
	t := a.mu.turns[k]
	if t == nil {
		t = &turn{slot: make(chan struct{}, 1)}
		a.mu.turns[k] = t
	}
	t.users++
	a.mu.Unlock()
	leave := func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(a.mu.turns, k)
		}
	}
	select {
	case t.slot <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
	done = func() { <-t.slot; leave() }
	if !a.allowed(k) {
		done()
		return nil, ErrTooMany
	}
	return done, nil
}

// Of answers the pair; names are the same whatever their case.
func Of(user string, client netip.Addr) Key {
	bits := 32
	if client = client.Unmap(); client.Is6() {
		bits = 64 // one host has as many addresses as it likes
	}
	p, _ := client.Prefix(bits)
	user = strings.ToLower(user)
	return Key{user[:min(len(user), 256)], p}
}

func (b bucket) levelAt(t time.Time) float64 {
	return max(0, b.level-float64(t.Sub(b.at))/float64(drain))
}

// allowed tells whether another attempt may be made.
func (a *Table) allowed(k Key) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.mu.failed[k]
	// There must be room for one more: a full bucket drains at once, but slowly.
	return !ok || b.levelAt(a.now()) <= maxFailures-1
}

// Exhausted tells whether a pair has failed so often that its next attempt
// would be refused.
func (a *Table) Exhausted(k Key) bool { return !a.allowed(k) }

// Fail counts an attempt that was wrong.
func (a *Table) Fail(k Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if _, known := a.mu.failed[k]; !known && len(a.mu.failed) >= maxTracked {
		for k, b := range a.mu.failed {
			if b.levelAt(now) == 0 {
				delete(a.mu.failed, k)
			}
		}
		if len(a.mu.failed) >= maxTracked {
			// An attacker with this many networks is not stopped by counting;
			// memory stays bounded, and the password hash slows each attempt.
			return
		}
	}
	a.mu.failed[k] = bucket{min(a.mu.failed[k].levelAt(now)+1, maxFailures), now}
}

// Succeed forgives what failed before.
func (a *Table) Succeed(k Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.mu.failed, k)
}
