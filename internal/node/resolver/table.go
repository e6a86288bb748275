package resolver

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// TTL is how long an answer is remembered that says nothing of it.
	TTL = time.Minute
	// FailTTL is how long a failure to get an answer is.
	FailTTL = 5 * time.Second
	// Bounds of what a zone asks for; the upper ones of names and of their absence.
	minTTL    = time.Second
	maxTTL    = time.Hour
	maxAbsent = 5 * time.Minute
	// maxStale is how long an answer stands in for one that cannot be had.
	maxStale = time.Hour
	maxKept  = 4096
)

// ttl is how long an answer may be remembered, if it says so.
type ttl struct {
	d     time.Duration
	known bool
}

func (t ttl) within(most time.Duration) time.Duration {
	if !t.known {
		return min(TTL, most)
	}
	return min(max(t.d, minTTL), most)
}

// table remembers answers.
type table[K comparable, T any] struct {
	now func() time.Time

	mu sync.Mutex
	m  map[K]*answer[T]
}

// answer is guarded by the lock of its table.
type answer[T any] struct {
	found []T
	err   error
	until time.Time
	// last is when a server was heard last, zero if none ever was.
	last time.Time
	busy chan struct{} // closed when the question under way is over; nil: none
}

func newTable[K comparable, T any](now func() time.Time) *table[K, T] {
	return &table[K, T]{now: now, m: map[K]*answer[T]{}}
}

func (t *table[K, T]) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.m = map[K]*answer[T]{}
}

// get answers what is remembered, else asks. While one caller asks, others get
// the answer that has run out, or wait for the new one.
func (t *table[K, T]) get(ctx context.Context, key K, ask func(context.Context) ([]T, ttl, error)) ([]T, error) {
	for {
		t.mu.Lock()
		a := t.m[key]
		now := t.now()
		if a != nil && (now.Before(a.until) || a.busy != nil && a.heard(now)) {
			defer t.mu.Unlock()
			return a.found, a.err
		}
		if a == nil || a.busy == nil {
			return t.ask(ctx, key, a, ask)
		}
		busy := a.busy
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// heard tells whether the answer is one of a server, and of late.
func (a *answer[T]) heard(now time.Time) bool { return !a.last.IsZero() && now.Sub(a.last) < maxStale }

// ask is called with the lock, and gives it back.
func (t *table[K, T]) ask(ctx context.Context, key K, a *answer[T], ask func(context.Context) ([]T, ttl, error)) ([]T, error) {
	if a == nil {
		if len(t.m) >= maxKept {
			t.evict()
		}
		a = &answer[T]{}
		t.m[key] = a
	}
	busy := make(chan struct{})
	a.busy = busy
	t.mu.Unlock()

	found, life, err := ask(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	a.busy = nil
	close(busy)
	now := t.now()
	switch {
	case errors.Is(err, context.Canceled):
		return nil, err // of the caller's patience, not of the name
	case err == nil:
		a.found, a.err, a.last, a.until = found, nil, now, now.Add(life.within(maxTTL))
	case notFound(err):
		a.found, a.err, a.last, a.until = nil, err, now, now.Add(life.within(maxAbsent))
	case a.heard(now):
		a.until = now.Add(FailTTL)
	default:
		a.found, a.err, a.until = nil, err, now.Add(FailTTL)
	}
	return a.found, a.err
}

// evict makes room. Which answers go does not matter.
func (t *table[K, T]) evict() {
	n := maxKept / 8
	for k, a := range t.m {
		if n--; n < 0 {
			return
		}
		if a.busy == nil {
			delete(t.m, k)
		}
	}
}
