package config

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"manifold/internal/identity"
	"manifold/internal/identity/sid"
	"manifold/internal/kv"
)

// SIDs translates principals to security identifiers and back. What is not of
// this cluster gets a number when it is first seen, and keeps it for ever: ACEs
// hold numbers.
type SIDs struct {
	s      *Store
	scheme sid.Scheme

	mu    sync.RWMutex
	ids   map[sid.SID]identity.AuthID // those that were asked for
	names map[identity.AuthID]sid.SID
}

// foreign is a principal that this cluster does not have itself.
type foreign struct {
	SID string `json:"sid"`
}

// MaxForeignBy bounds what one user who is no administrator can make the cluster
// remember for ever by setting permissions for SIDs that nobody knows.
const MaxForeignBy = 10_000

const (
	maxForeign  = 1 << 24
	foreignSeen = 1 << 16 // remembered in memory
)

// SIDs answers the translation; the cluster must have been made.
func (s *Store) SIDs(ctx context.Context) (*SIDs, error) {
	c, err := s.Cluster(ctx)
	if err != nil {
		return nil, err
	}
	return &SIDs{s: s, scheme: sid.NewScheme(c.Value.UUID), ids: map[sid.SID]identity.AuthID{}, names: map[identity.AuthID]sid.SID{}}, nil
}

// SID is the text form of the SID of one of the cluster's own principals, ""
// for others.
func (c *Cluster) SID(a identity.AuthID) string {
	n, _ := sid.NewScheme(c.UUID).Of(a)
	return n.String()
}

// Scheme answers the SIDs that follow from numbers.
func (x *SIDs) Scheme() sid.Scheme { return x.scheme }

// Of answers the SID of a principal, [sid.Nobody] if it has none.
func (x *SIDs) Of(ctx context.Context, a identity.AuthID) (sid.SID, error) {
	if n, ok := x.scheme.Of(a); ok {
		return n, nil
	}
	x.mu.RLock()
	n, ok := x.names[a]
	x.mu.RUnlock()
	if ok || a.Kind() != identity.KindMapped {
		if !ok {
			n = sid.Nobody
		}
		return n, nil
	}
	rec, err := read[foreign](ctx, x.s, kindForeign, uint64(a-identity.MappedBase))
	if errors.Is(err, ErrNotFound) {
		return sid.Nobody, nil
	}
	if err != nil {
		return "", err
	}
	if n, ok = sid.ParseText(rec.Value.SID); !ok {
		return "", fmt.Errorf("%w: SID of %d", ErrCorrupt, a)
	}
	x.remember(a, n)
	return n, nil
}

// AuthID answers the number of a SID and gives it one if it has none.
func (x *SIDs) AuthID(ctx context.Context, n sid.SID) (identity.AuthID, error) {
	return x.number(ctx, n, identity.Unset)
}

// AuthIDFor is AuthID for a user who may bring in at most [MaxForeignBy] SIDs
// ever: ErrLimit. Those that have a number cost nothing.
func (x *SIDs) AuthIDFor(ctx context.Context, user identity.AuthID, n sid.SID) (identity.AuthID, error) {
	return x.number(ctx, n, user)
}

func (x *SIDs) number(ctx context.Context, n sid.SID, by identity.AuthID) (identity.AuthID, error) {
	if a, ok := x.scheme.AuthID(n); ok {
		return a, nil
	}
	x.mu.RLock()
	a, ok := x.ids[n]
	x.mu.RUnlock()
	if ok {
		return a, nil
	}
	text := n.String()
	if text == "" {
		return 0, invalid("sid", "is malformed")
	}
	// Most have a number: finding that costs no transaction.
	err := x.s.view(ctx, func(r kv.Reader) error {
		id, err := owner(ctx, r, spaceForeign, text)
		a = identity.MappedBase + identity.AuthID(id)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		a, err = x.bringIn(ctx, text, by)
	}
	if err != nil {
		return 0, err
	}
	x.remember(a, n)
	return a, nil
}

// bringIn gives a SID a number, at the expense of a user unless that is Unset.
func (x *SIDs) bringIn(ctx context.Context, text string, by identity.AuthID) (a identity.AuthID, err error) {
	err = x.s.update(ctx, func(tx kv.Txn) error {
		id, err := owner(ctx, tx, spaceForeign, text)
		if errors.Is(err, ErrNotFound) {
			if id, err = next(ctx, tx, counterForeign, 1); err != nil {
				return err
			}
			if id > maxForeign {
				return ErrLimit
			}
			if by != identity.Unset {
				if err := count(ctx, tx, by); err != nil {
					return err
				}
			}
			if err := claim(ctx, tx, spaceForeign, text, id); err != nil {
				return err
			}
			_, err = put(ctx, tx, kindForeign, id, foreign{text})
		}
		a = identity.MappedBase + identity.AuthID(id)
		return err
	})
	return a, err
}

// foreignBy is how many SIDs a user has brought in.
type foreignBy struct {
	Count int `json:"count"`
}

func count(ctx context.Context, tx kv.Txn, user identity.AuthID) error {
	rec, err := get[foreignBy](ctx, tx, kindForeignBy, uint64(user))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if rec.Value.Count >= MaxForeignBy {
		return ErrLimit
	}
	rec.Value.Count++
	_, err = put(ctx, tx, kindForeignBy, uint64(user), rec.Value)
	return err
}

func (x *SIDs) remember(a identity.AuthID, n sid.SID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.ids) >= foreignSeen {
		clear(x.ids)
		clear(x.names)
	}
	x.ids[n], x.names[a] = a, n
}
