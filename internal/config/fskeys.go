package config

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"strconv"
	"strings"

	"manifold/internal/kv"
)

// FSKey is a public key that locks snapshots. The private one is never here.
type FSKey struct {
	Name     string `json:"name"`
	Comment  string `json:"comment,omitempty"`
	Disabled bool   `json:"disabled,omitempty"`
	// PublicKey as given: PEM of an ECDSA P-256 key.
	PublicKey string `json:"public_key"`
}

// ParseFSKey reads a public key; only ECDSA P-256 is taken.
func ParseFSKey(text string) (*ecdsa.PublicKey, error) {
	der := []byte(nil)
	if b, _ := pem.Decode([]byte(text)); b != nil {
		der = b.Bytes
	}
	k, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, invalid("public_key", "is no public key in PEM")
	}
	e, ok := k.(*ecdsa.PublicKey)
	if !ok || e.Curve != elliptic.P256() {
		return nil, invalid("public_key", "is no ECDSA key on P-256")
	}
	return e, nil
}

// Verify tells whether sig, in ASN.1, signs the SHA-256 of a text.
func (k *FSKey) Verify(text string, sig []byte) bool {
	p, err := ParseFSKey(k.PublicKey)
	h := sha256.Sum256([]byte(text))
	return err == nil && ecdsa.VerifyASN1(p, h[:], sig)
}

func checkFSKey(k *FSKey) error {
	if _, err := strconv.ParseUint(k.Name, 10, 64); err == nil || k.Name == "" || len(k.Name) > 128 || strings.TrimSpace(k.Name) != k.Name {
		return invalid("name", "%q: want 1 to 128 bytes that are no number", k.Name)
	}
	if len(k.Comment) > 4096 {
		return invalid("comment", "is longer than 4096 bytes")
	}
	_, err := ParseFSKey(k.PublicKey)
	return err
}

// FSKeys lists the keys by id.
func (s *Store) FSKeys(ctx context.Context) ([]Record[FSKey], error) {
	return list[FSKey](ctx, s, kindFSKey, 0, 0)
}

// FSKey answers a key by its id in digits, or by its name.
func (s *Store) FSKey(ctx context.Context, ref string) (Record[FSKey], error) {
	if id, err := strconv.ParseUint(ref, 10, 64); err == nil {
		return read[FSKey](ctx, s, kindFSKey, id)
	}
	return byName[FSKey](ctx, s, kindFSKey, spaceFSKey, fold(ref))
}

// AddFSKey registers a key.
func (s *Store) AddFSKey(ctx context.Context, k FSKey) (Record[FSKey], error) {
	var rec Record[FSKey]
	if err := checkFSKey(&k); err != nil {
		return rec, err
	}
	err := s.update(ctx, func(tx kv.Txn) error {
		id, err := next(ctx, tx, counterFSKey, 1)
		if err != nil {
			return err
		}
		if err := claim(ctx, tx, spaceFSKey, fold(k.Name), id); err != nil {
			return err
		}
		rec, err = put(ctx, tx, kindFSKey, id, k)
		return err
	})
	return rec, err
}

// ModifyFSKey replaces a key whose revision is as given (0: any). Whether it
// may be switched off or swapped is for the caller to find out.
func (s *Store) ModifyFSKey(ctx context.Context, id, revision uint64, k FSKey) (Record[FSKey], error) {
	var rec Record[FSKey]
	if err := checkFSKey(&k); err != nil {
		return rec, err
	}
	err := s.update(ctx, func(tx kv.Txn) error {
		old, err := forChange[FSKey](ctx, tx, kindFSKey, id, revision)
		if err != nil {
			return err
		}
		if err := rename(ctx, tx, spaceFSKey, fold(old.Value.Name), fold(k.Name), id); err != nil {
			return err
		}
		rec, err = put(ctx, tx, kindFSKey, id, k)
		return err
	})
	return rec, err
}

// DeleteFSKey removes a key that no policy uses.
func (s *Store) DeleteFSKey(ctx context.Context, id, revision uint64) error {
	return s.update(ctx, func(tx kv.Txn) error {
		old, err := forChange[FSKey](ctx, tx, kindFSKey, id, revision)
		if err != nil {
			return err
		}
		for p, err := range all[Policy](ctx, tx, kindPolicy, 0, 0) {
			if err != nil {
				return err
			}
			if p.Value.LockKey == id {
				return ErrInUse
			}
		}
		tx.Delete(recordKey(kindFSKey, id))
		return rename(ctx, tx, spaceFSKey, fold(old.Value.Name), "", id)
	})
}
