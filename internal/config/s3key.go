package config

import (
	"cmp"
	"context"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"time"

	"manifold/internal/identity"
	"manifold/internal/kv"
)

// S3KeysPerIdentity is how many access keys an identity may have.
const S3KeysPerIdentity = 2

// S3Key binds signed S3 requests to an identity.
type S3Key struct {
	// AccessKey is its public name.
	AccessKey string          `json:"access_key"`
	Owner     identity.AuthID `json:"owner"`
	Created   time.Time       `json:"created"`
	// Secret is sealed.
	Secret []byte `json:"secret"`
}

func slotName(a identity.AuthID, slot int) string {
	return strconv.FormatUint(uint64(a), 10) + "/" + strconv.Itoa(slot)
}

// AddS3Key makes an access key; ErrLimit if the owner has enough. The secret is
// seen only this once.
func (s *Store) AddS3Key(ctx context.Context, a identity.AuthID) (secret string, rec Record[S3Key], err error) {
	var name [10]byte
	var b [30]byte
	if err := s.random(name[:]); err != nil {
		return "", rec, err
	}
	if err := s.random(b[:]); err != nil {
		return "", rec, err
	}
	// Clients know the shape: 20 letters and digits, and 40 characters.
	k := S3Key{AccessKey: "MFLD" + base32.StdEncoding.EncodeToString(name[:]), Owner: a, Created: s.now().UTC()}
	secret = base64.StdEncoding.EncodeToString(b[:])
	err = s.update(ctx, func(tx kv.Txn) error {
		id, err := next(ctx, tx, counterS3Key, 1)
		if err != nil {
			return err
		}
		if err := claim(ctx, tx, spaceS3Key, k.AccessKey, id); err != nil {
			return err
		}
		free := false
		for slot := 1; slot <= S3KeysPerIdentity && !free; slot++ {
			err := claim(ctx, tx, spaceS3Slot, slotName(a, slot), id)
			if err != nil && !errors.Is(err, ErrExists) {
				return err
			}
			free = err == nil
		}
		if !free {
			return ErrLimit
		}
		if k.Secret, err = s.seal(sealS3Key, id, []byte(secret)); err != nil {
			return err
		}
		rec, err = put(ctx, tx, kindS3Key, id, k)
		return err
	})
	if err != nil {
		return "", rec, err
	}
	return secret, rec, s.refreshS3(context.WithoutCancel(ctx), kindS3Key, rec.ID)
}

// S3Key answers a key by its public name, with its secret. It costs no I/O.
func (s *Store) S3Key(accessKey string) (rec Record[S3Key], secret string, err error) {
	s.s3.mu.RLock()
	k, ok := s.s3.mu.keys[accessKey]
	s.s3.mu.RUnlock()
	if !ok {
		return rec, "", ErrNotFound
	}
	b, err := s.unseal(sealS3Key, k.ID, k.Value.Secret)
	return *k, string(b), err
}

// S3Keys lists keys by id, those greater than after; a set owner narrows them.
// Limit 0 is all.
func (s *Store) S3Keys(after uint64, owner identity.AuthID, limit int) []Record[S3Key] {
	s.s3.mu.RLock()
	var out []Record[S3Key]
	for _, k := range s.s3.mu.keys {
		if k.ID > after && (owner == identity.Unset || k.Value.Owner == owner) {
			out = append(out, *k)
		}
	}
	s.s3.mu.RUnlock()
	slices.SortFunc(out, func(a, b Record[S3Key]) int { return cmp.Compare(a.ID, b.ID) })
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	for i := range out {
		out[i].Value.Secret = nil
	}
	return out
}

// DeleteS3Key revokes a key at once.
func (s *Store) DeleteS3Key(ctx context.Context, accessKey string) error {
	var id uint64
	err := s.update(ctx, func(tx kv.Txn) (err error) {
		if id, err = owner(ctx, tx, spaceS3Key, accessKey); err != nil {
			return err
		}
		rec, err := get[S3Key](ctx, tx, kindS3Key, id)
		if err != nil {
			return err
		}
		for slot := 1; slot <= S3KeysPerIdentity; slot++ {
			name := slotName(rec.Value.Owner, slot)
			if holder, err := owner(ctx, tx, spaceS3Slot, name); err == nil && holder == id {
				tx.Delete(nameKey(spaceS3Slot, name))
			} else if err != nil && !errors.Is(err, ErrNotFound) {
				return err
			}
		}
		tx.Delete(recordKey(kindS3Key, id))
		tx.Delete(nameKey(spaceS3Key, accessKey))
		return nil
	})
	if err != nil {
		return err
	}
	return s.refreshS3(context.WithoutCancel(ctx), kindS3Key, id)
}
