package config

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"manifold/internal/kv"
)

// SessionLife is how long a login lasts.
const SessionLife = 10 * time.Hour

// Session is a login in progress.
type Session struct {
	User uint64 `json:"user"`
	// Privileges are those of the moment of login, as the caller named them.
	Privileges []string  `json:"privileges,omitempty"`
	Created    time.Time `json:"created"`
	Expires    time.Time `json:"expires"`
	// Generation of the password that the login used.
	Generation uint64 `json:"generation"`
}

// Prefixes by which the kinds of token are told apart.
const (
	sessionPrefix = "1:"
	accessPrefix  = "access-v1:"
	metricsPrefix = "metrics-v1:"
)

// newToken makes an opaque token of 256 random bits and its hash.
func (s *Store) newToken(prefix string) (token string, hash [32]byte, err error) {
	var b [32]byte
	if err := s.random(b[:]); err != nil {
		return "", hash, err
	}
	token = prefix + base64.RawURLEncoding.EncodeToString(b[:])
	return token, sha256.Sum256([]byte(token)), nil
}

// NewSession logs a user in who has proved who it is, and answers the token.
func (s *Store) NewSession(ctx context.Context, user uint64, privileges []string) (string, Session, error) {
	token, hash, err := s.newToken(sessionPrefix)
	if err != nil {
		return "", Session{}, err
	}
	now := s.now().UTC()
	ses := Session{User: user, Privileges: slices.Clone(privileges), Created: now, Expires: now.Add(SessionLife)}
	err = s.update(ctx, func(tx kv.Txn) error {
		if _, err := get[User](ctx, tx, kindUser, user); err != nil {
			return err
		}
		pw, err := get[password](ctx, tx, kindPassword, user)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		ses.Generation = pw.Value.Generation
		b, err := encode(0, ses)
		if err != nil {
			return err
		}
		tx.Put(hashKey(tagSession, hash), b)
		return nil
	})
	return token, ses, err
}

// EndSession logs out; an unknown token is no error.
func (s *Store) EndSession(ctx context.Context, token string) error {
	hash := sha256.Sum256([]byte(token))
	return s.update(ctx, func(tx kv.Txn) error {
		tx.Delete(hashKey(tagSession, hash))
		return nil
	})
}

// Bearer is who a token stands for.
type Bearer struct {
	User Record[User]
	// Privileges as of the login; nil with an access token, whose user's
	// present ones count.
	Privileges []string
	// AccessToken is the id of the access token used, 0 with a session.
	AccessToken uint64
}

// Bearer answers who a session or access token stands for, or ErrCredentials.
func (s *Store) Bearer(ctx context.Context, token string) (Bearer, error) {
	hash := sha256.Sum256([]byte(token))
	var b Bearer
	err := s.view(ctx, func(r kv.Reader) (err error) {
		if strings.HasPrefix(token, accessPrefix) {
			b, err = s.accessBearer(ctx, r, hash)
			return err
		}
		b, err = s.sessionBearer(ctx, r, hash)
		return err
	})
	if errors.Is(err, ErrNotFound) || errors.Is(err, kv.ErrNotFound) {
		return Bearer{}, ErrCredentials
	}
	return b, err
}

func (s *Store) sessionBearer(ctx context.Context, r kv.Reader, hash [32]byte) (Bearer, error) {
	v, err := r.Get(ctx, hashKey(tagSession, hash))
	if err != nil {
		return Bearer{}, err
	}
	ses, err := decode[Session](0, v)
	if err != nil {
		return Bearer{}, err
	}
	if !s.now().Before(ses.Value.Expires) {
		return Bearer{}, ErrCredentials
	}
	u, err := get[User](ctx, r, kindUser, ses.Value.User)
	if err != nil {
		return Bearer{}, err
	}
	pw, err := get[password](ctx, r, kindPassword, u.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Bearer{}, err
	}
	if pw.Value.Generation != ses.Value.Generation {
		return Bearer{}, ErrCredentials
	}
	return Bearer{User: u, Privileges: ses.Value.Privileges}, nil
}

func (s *Store) accessBearer(ctx context.Context, r kv.Reader, hash [32]byte) (Bearer, error) {
	v, err := r.Get(ctx, hashKey(tagTokenHash, hash))
	if err != nil {
		return Bearer{}, err
	}
	if len(v) != 8 {
		return Bearer{}, fmt.Errorf("%w: access token", ErrCorrupt)
	}
	t, err := get[AccessToken](ctx, r, kindToken, lastNumber(v))
	if err != nil {
		return Bearer{}, err
	}
	if !t.Value.Enabled || !t.Value.Expires.IsZero() && !s.now().Before(t.Value.Expires) {
		return Bearer{}, ErrCredentials
	}
	u, err := get[User](ctx, r, kindUser, t.Value.User)
	return Bearer{User: u, AccessToken: t.ID}, err
}

// Sweep removes a bounded number of expired sessions and tells whether to call
// it again soon.
func (s *Store) Sweep(ctx context.Context) (more bool, err error) {
	const batch = 200
	var dead [][]byte
	now := s.now()
	err = s.view(ctx, func(r kv.Reader) error {
		for e, err := range r.Scan(ctx, kv.Prefix([]byte{tagSession}), kv.ScanOptions{}) {
			if err != nil {
				return err
			}
			// What cannot be read is no session to anyone.
			if ses, err := decode[Session](0, e.Value); err == nil && now.Before(ses.Value.Expires) || errors.Is(err, ErrFormat) {
				continue
			}
			if dead = append(dead, slices.Clone(e.Key)); len(dead) == batch {
				break
			}
		}
		return nil
	})
	if err != nil || len(dead) == 0 {
		return false, err
	}
	err = s.update(ctx, func(tx kv.Txn) error {
		for _, k := range dead {
			tx.Delete(k)
		}
		return nil
	})
	return len(dead) == batch, err
}

// MaxTokensPerUser is how many access tokens a user may have.
const MaxTokensPerUser = 2

// AccessToken is a long-lived token of a user.
type AccessToken struct {
	User    uint64    `json:"user"`
	Creator uint64    `json:"creator"`
	Created time.Time `json:"created"`
	// Expires is zero for never.
	Expires time.Time `json:"expires,omitzero"`
	Enabled bool      `json:"enabled"`
	// Hash of the token itself, SHA-256.
	Hash []byte `json:"hash"`
}

// NewAccessToken issues a token; the answer is the only time it is seen.
func (s *Store) NewAccessToken(ctx context.Context, user, creator uint64, expires time.Time) (string, Record[AccessToken], error) {
	var rec Record[AccessToken]
	if !expires.IsZero() && !expires.After(s.now()) {
		return "", rec, invalid("expiration_time", "is in the past")
	}
	token, hash, err := s.newToken(accessPrefix)
	if err != nil {
		return "", rec, err
	}
	err = s.update(ctx, func(tx kv.Txn) error {
		if _, err := get[User](ctx, tx, kindUser, user); err != nil {
			return err
		}
		have, err := pairs(ctx, tx, tagUserTokens, user)
		if err != nil {
			return err
		}
		if len(have) >= MaxTokensPerUser {
			return ErrLimit
		}
		id, err := next(ctx, tx, counterToken, 1)
		if err != nil {
			return err
		}
		t := AccessToken{User: user, Creator: creator, Created: s.now().UTC(), Enabled: true, Hash: hash[:]}
		if !expires.IsZero() {
			t.Expires = expires.UTC()
		}
		tx.Put(hashKey(tagTokenHash, hash), recordKey(kindToken, id)[9:])
		tx.Put(key(tagUserTokens, user, id), nil)
		rec, err = put(ctx, tx, kindToken, id, t)
		return err
	})
	if err != nil {
		return "", rec, err
	}
	return token, rec, nil
}

// AccessToken answers what is known of a token.
func (s *Store) AccessToken(ctx context.Context, id uint64) (Record[AccessToken], error) {
	return read[AccessToken](ctx, s, kindToken, id)
}

// AccessTokens lists tokens by id, those greater than after; limit 0 is all.
func (s *Store) AccessTokens(ctx context.Context, after uint64, limit int) ([]Record[AccessToken], error) {
	return list[AccessToken](ctx, s, kindToken, after, limit)
}

// ModifyAccessToken switches a token on or off and moves its expiry.
func (s *Store) ModifyAccessToken(ctx context.Context, id, revision uint64, enabled bool, expires time.Time) (Record[AccessToken], error) {
	var rec Record[AccessToken]
	err := s.update(ctx, func(tx kv.Txn) error {
		old, err := forChange[AccessToken](ctx, tx, kindToken, id, revision)
		if err != nil {
			return err
		}
		t := old.Value
		t.Enabled, t.Expires = enabled, time.Time{}
		if !expires.IsZero() {
			t.Expires = expires.UTC()
		}
		rec, err = put(ctx, tx, kindToken, id, t)
		return err
	})
	return rec, err
}

// DeleteAccessToken revokes a token.
func (s *Store) DeleteAccessToken(ctx context.Context, id, revision uint64) error {
	return s.update(ctx, func(tx kv.Txn) error {
		if _, err := forChange[AccessToken](ctx, tx, kindToken, id, revision); err != nil {
			return err
		}
		return dropToken(ctx, tx, id)
	})
}

func dropToken(ctx context.Context, tx kv.Txn, id uint64) error {
	t, err := get[AccessToken](ctx, tx, kindToken, id)
	if err != nil {
		return err
	}
	if len(t.Value.Hash) == sha256.Size {
		tx.Delete(hashKey(tagTokenHash, [32]byte(t.Value.Hash)))
	}
	tx.Delete(key(tagUserTokens, t.Value.User, id))
	tx.Delete(recordKey(kindToken, id))
	return nil
}
