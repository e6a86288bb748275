package service

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// attempts counts failed sign-ins per user name and client network. Only
// failures cost: programs sign in hundreds of times with the right password.
// The pair is counted, so that guessing from one network does not lock the
// user out from another. Attempts of one pair are made one after the other:
// many at once would all be allowed before the first has failed.
type attempts struct {
	now func() time.Time

	mu struct {
		sync.Mutex
		failed map[attemptKey]bucket
		turns  map[attemptKey]*turn
	}
}

// turn is a lock that exists while somebody holds or awaits it.
type turn struct {
	slot  chan struct{}
	users int
}

type attemptKey struct {
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

func newAttempts(now func() time.Time) *attempts {
	a := &attempts{now: now}
	a.mu.failed = map[attemptKey]bucket{}
	a.mu.turns = map[attemptKey]*turn{}
	return a
}

// begin waits for the pair's turn. Unless it fails, done must be called.
func (a *attempts) begin(ctx context.Context, k attemptKey) (done func(), err error) {
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
		return nil, ErrTooManyAttempts
	}
	return done, nil
}

func keyOf(user string, client netip.Addr) attemptKey {
	bits := 32
	if client = client.Unmap(); client.Is6() {
		bits = 64 // one host has as many addresses as it likes
	}
	p, _ := client.Prefix(bits)
	user = strings.ToLower(user)
	return attemptKey{user[:min(len(user), 256)], p}
}

func (b bucket) levelAt(t time.Time) float64 {
	return max(0, b.level-float64(t.Sub(b.at))/float64(drain))
}

// allowed tells whether another attempt may be made.
func (a *attempts) allowed(k attemptKey) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.mu.failed[k]
	// There must be room for one more: a full bucket drains at once, but slowly.
	return !ok || b.levelAt(a.now()) <= maxFailures-1
}

func (a *attempts) fail(k attemptKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if len(a.mu.failed) >= maxTracked {
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

func (a *attempts) succeed(k attemptKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.mu.failed, k)
}
