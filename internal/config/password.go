package config

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/argon2"

	"manifold/internal/identity/ntlm"
	"manifold/internal/kv"
)

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// password is what is kept of a user's password.
type password struct {
	Hash string `json:"hash"`
	// Generation grows when an administrator resets the password; sessions of
	// older generations are over.
	Generation uint64 `json:"generation"`
	// NT is the NT hash, sealed: NTLM cannot do without it. Nil in records from
	// before it was kept, until the password is set or found right again, and
	// where the store has no key.
	NT []byte `json:"nt,omitempty"`
}

// hashes are what is made of a password before it is stored.
type hashes struct {
	slow string // argon2id
	nt   [16]byte
}

func (s *Store) hashes(p string) (h hashes, err error) {
	h.slow, err = s.hash(p)
	h.nt = ntlm.NTHash(p)
	return h, err
}

// putPassword stores what was made of a password.
func (s *Store) putPassword(ctx context.Context, tx kv.Txn, user, generation uint64, h hashes) error {
	p := password{Hash: h.slow, Generation: generation}
	if s.sealer != nil {
		var err error
		if p.NT, err = s.seal(sealNTHash, user, h.nt[:]); err != nil {
			return err
		}
	}
	_, err := put(ctx, tx, kindPassword, user, p)
	return err
}

// learnNT keeps the NT hash of a password that was found right, if it is missing.
func (s *Store) learnNT(ctx context.Context, user uint64, stored *Record[password], pass string) error {
	if s.sealer == nil || stored.Value.NT != nil {
		return nil
	}
	return s.update(ctx, func(tx kv.Txn) error {
		now, err := get[password](ctx, tx, kindPassword, user)
		if err != nil || now.Revision != stored.Revision {
			return err // it was set meanwhile, with its NT hash
		}
		return s.putPassword(ctx, tx, user, now.Value.Generation, hashes{now.Value.Hash, ntlm.NTHash(pass)})
	})
}

// NTHash answers the user of that name and the NT hash of its password;
// ErrNotFound if there is no such user, ErrCredentials if it has none.
func (s *Store) NTHash(ctx context.Context, name string) (u Record[User], hash [16]byte, err error) {
	var stored Record[password]
	err = s.view(ctx, func(r kv.Reader) error {
		id, err := owner(ctx, r, spacePrincipal, fold(name))
		if err != nil {
			return err
		}
		if u, err = get[User](ctx, r, kindUser, id); err != nil {
			return err
		}
		if stored, err = get[password](ctx, r, kindPassword, id); errors.Is(err, ErrNotFound) {
			err = nil
		}
		return err
	})
	if err == nil && stored.Value.NT == nil {
		err = ErrCredentials
	}
	if err != nil {
		return u, hash, err
	}
	plain, err := s.unseal(sealNTHash, u.ID, stored.Value.NT)
	if err != nil {
		return u, hash, err
	}
	if copy(hash[:], plain) != len(hash) {
		return u, hash, fmt.Errorf("%w: NT hash of user %d", ErrCorrupt, u.ID)
	}
	return u, hash, nil
}

// The cost of a hash: 19 MiB and two passes, the lowest that OWASP recommends
// for argon2id. Programs log in hundreds of times, so a login must stay well
// under 50 ms. Stored hashes carry their own cost, so it can be raised.
const (
	hashMemoryKiB = 19 << 10
	hashPasses    = 2
	saltBytes     = 16
	hashBytes     = 32
)

// MaxPasswordBytes bounds what a login may make us hash.
const MaxPasswordBytes = 1024

// CheckPassword tells whether a new password is good enough.
func CheckPassword(p string) error {
	switch {
	case len(p) > MaxPasswordBytes:
		return invalid("password", "is longer than %d bytes", MaxPasswordBytes)
	case !utf8.ValidString(p) || strings.ContainsRune(p, 0):
		return invalid("password", "is not text")
	case utf8.RuneCountInString(p) < 8:
		return invalid("password", "needs at least 8 characters")
	}
	var lower, upper, digit, special int
	for _, r := range p {
		switch {
		case unicode.IsLower(r):
			lower = 1
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsDigit(r):
			digit = 1
		default:
			special = 1
		}
	}
	if lower+upper+digit+special < 3 {
		return invalid("password", "needs three of: lower case, upper case, digits, other characters")
	}
	return nil
}

// hash makes the string that is stored.
func (s *Store) hash(p string) (string, error) {
	salt := make([]byte, saltBytes)
	if err := s.random(salt); err != nil {
		return "", err
	}
	s.hashing <- struct{}{}
	defer func() { <-s.hashing }()
	sum := argon2.IDKey([]byte(p), salt, hashPasses, hashMemoryKiB, 1, hashBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, hashMemoryKiB, hashPasses, b64(salt), b64(sum)), nil
}

// verify compares in constant time.
func (s *Store) verify(ctx context.Context, p, hash string) (bool, error) {
	select {
	case s.hashing <- struct{}{}:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	defer func() { <-s.hashing }()
	s.slow.Add(1)
	ok, err := argon2id.ComparePasswordAndHash(p, hash)
	if err != nil {
		return false, fmt.Errorf("%w: password hash: %w", ErrCorrupt, err)
	}
	return ok, nil
}

// Authenticate answers the user of that name and password, or ErrCredentials.
// It takes as long for a user that does not exist. Limiting the rate of
// attempts is up to the caller.
func (s *Store) Authenticate(ctx context.Context, name, pass string) (Record[User], error) {
	if len(pass) > MaxPasswordBytes {
		return Record[User]{}, ErrCredentials
	}
	var rec Record[User]
	var stored Record[password]
	err := s.view(ctx, func(r kv.Reader) error {
		id, err := owner(ctx, r, spacePrincipal, fold(name))
		if err != nil {
			return err
		}
		if rec, err = get[User](ctx, r, kindUser, id); err != nil {
			return err
		}
		stored, err = get[password](ctx, r, kindPassword, id)
		return err
	})
	known := err == nil
	if errors.Is(err, ErrNotFound) {
		stored.Value.Hash = s.dummy()
	} else if err != nil {
		return Record[User]{}, err
	}
	if known && s.proved.has(&rec, stored.Value.Hash, pass, s.now()) {
		return rec, nil
	}
	ok, err := s.verify(ctx, pass, stored.Value.Hash)
	if err != nil {
		return Record[User]{}, err
	}
	if !ok || !known {
		return Record[User]{}, ErrCredentials
	}
	if err := s.learnNT(ctx, rec.ID, &stored, pass); err != nil {
		s.log.WarnContext(ctx, "a password cannot be used over SMB yet", "user", rec.ID, "error", err)
	}
	return rec, s.proved.add(&rec, stored.Value.Hash, pass, s.now())
}

// SetPassword is an administrator's reset: it ends the user's sessions.
func (s *Store) SetPassword(ctx context.Context, user uint64, pass string) error {
	return s.setPassword(ctx, user, pass, 1)
}

func (s *Store) setPassword(ctx context.Context, user uint64, pass string, generations uint64) error {
	if err := CheckPassword(pass); err != nil {
		return err
	}
	h, err := s.hashes(pass)
	if err != nil {
		return err
	}
	return s.update(ctx, func(tx kv.Txn) error {
		if _, err := get[User](ctx, tx, kindUser, user); err != nil {
			return err
		}
		old, err := get[password](ctx, tx, kindPassword, user)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		return s.putPassword(ctx, tx, user, old.Value.Generation+generations, h)
	})
}

// ChangePassword sets a user's own password, given the present one. Sessions go on.
func (s *Store) ChangePassword(ctx context.Context, user uint64, old, pass string) error {
	stored, err := read[password](ctx, s, kindPassword, user)
	if errors.Is(err, ErrNotFound) || len(old) > MaxPasswordBytes {
		return ErrCredentials
	}
	if err != nil {
		return err
	}
	if ok, err := s.verify(ctx, old, stored.Value.Hash); err != nil {
		return err
	} else if !ok {
		return ErrCredentials
	}
	return s.setPassword(ctx, user, pass, 0)
}

// HasPassword tells whether a user can log in with a password.
func (s *Store) HasPassword(ctx context.Context, user uint64) (bool, error) {
	_, err := read[password](ctx, s, kindPassword, user)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
