package smb

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"manifold/internal/identity/ntlm"
)

// attempts counts failed sign-ins by user name and client network, so that
// guessing is slow and does not lock the user out from elsewhere.
type attempts struct {
	mu     sync.Mutex
	failed map[attemptKey]bucket
}

type attemptKey struct {
	user string
	net  netip.Prefix
}

// bucket holds failures, draining one per attemptDrain.
type bucket struct {
	level float64
	at    time.Time
}

const (
	maxFailures  = 10
	attemptDrain = 6 * time.Second // one more attempt each
	maxAttempts  = 10_000          // pairs that are tracked
)

func attemptOf(user string, client netip.Addr) attemptKey {
	bits := 32
	if client = client.Unmap(); client.Is6() {
		bits = 64 // one host has as many addresses as it likes
	}
	p, _ := client.Prefix(bits)
	user = strings.ToLower(user)
	return attemptKey{user[:min(len(user), 256)], p}
}

func (b bucket) levelAt(t time.Time) float64 {
	return max(0, b.level-float64(t.Sub(b.at))/float64(attemptDrain))
}

func (a *attempts) allowed(k attemptKey, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed[k].levelAt(now) <= maxFailures-1
}

func (a *attempts) fail(k attemptKey, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed == nil {
		a.failed = map[attemptKey]bucket{}
	}
	if _, known := a.failed[k]; !known && len(a.failed) >= maxAttempts {
		for k, b := range a.failed {
			if b.levelAt(now) == 0 {
				delete(a.failed, k)
			}
		}
		if len(a.failed) >= maxAttempts {
			return // who has this many networks is not stopped by counting
		}
	}
	a.failed[k] = bucket{min(a.failed[k].levelAt(now)+1, maxFailures), now}
}

func (a *attempts) succeed(k attemptKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.failed, k)
}

// gate is the accounts as one exchange may ask for them.
type gate struct {
	s      *Server
	client netip.Addr
	asked  bool // and was answered
	key    attemptKey
}

// Account implements ntlm.Authenticator.
func (g *gate) Account(ctx context.Context, domain, user string) (*ntlm.Account, error) {
	g.key = attemptOf(user, g.client)
	if !g.s.attempts.allowed(g.key, g.s.o.Now()) {
		return nil, ntlm.ErrDenied // not counted, or guessing would lock out for ever
	}
	g.asked = true
	return g.s.o.Accounts.Account(ctx, domain, user)
}

// done counts how the exchange went.
func (g *gate) done(ok bool) {
	switch {
	case g == nil || !g.asked:
	case ok:
		g.s.attempts.succeed(g.key)
	default:
		g.s.attempts.fail(g.key, g.s.o.Now())
	}
}
