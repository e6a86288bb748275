package config

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
)

// SealKeyBytes is the length of the key that secrets are sealed under.
const SealKeyBytes = 32

// ErrSealed: a secret cannot be opened, because the key is not that which
// sealed it, or there is none.
var ErrSealed = errors.New("config: sealed secret cannot be opened")

// A sealed secret is one byte sealFormat, a nonce and what AES-256-GCM makes of
// the plain text. What it belongs to is authenticated with it, so that one
// record's secret is worth nothing in another.
const sealFormat = 1

// purpose of a sealed secret. Numbers are stored: only add to them.
type purpose uint64

const (
	sealS3Key  purpose = 1 // secret of an S3 access key, by its number
	sealNTHash purpose = 2 // NT hash of a user's password, by user id
	sealSSHKey purpose = 3 // private host key of SSH, by its place among them
)

func sealer(key []byte) (cipher.AEAD, error) {
	if len(key) == 0 {
		return nil, nil
	}
	if len(key) != SealKeyBytes {
		return nil, fmt.Errorf("config: the key for secrets has %d bytes, want %d", len(key), SealKeyBytes)
	}
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

func sealContext(p purpose, id uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(p)), id)
}

// seal encrypts a secret that must be had in the clear later. What only has to
// be compared is kept as a hash instead.
func (s *Store) seal(p purpose, id uint64, plain []byte) ([]byte, error) {
	if s.sealer == nil {
		return nil, fmt.Errorf("%w: the store was opened without a key", ErrSealed)
	}
	out := make([]byte, 1+s.sealer.NonceSize(), 1+s.sealer.NonceSize()+len(plain)+s.sealer.Overhead())
	out[0] = sealFormat
	if err := s.random(out[1:]); err != nil {
		return nil, err
	}
	return s.sealer.Seal(out, out[1:], plain, sealContext(p, id)), nil
}

// unseal answers what seal was given, or ErrSealed.
func (s *Store) unseal(p purpose, id uint64, sealed []byte) ([]byte, error) {
	switch {
	case s.sealer == nil:
		return nil, fmt.Errorf("%w: the store was opened without a key", ErrSealed)
	case len(sealed) < 1+s.sealer.NonceSize():
		return nil, fmt.Errorf("%w: sealed secret", ErrCorrupt)
	case sealed[0] != sealFormat:
		return nil, fmt.Errorf("%w: sealed secret has format %d", ErrFormat, sealed[0])
	}
	n := 1 + s.sealer.NonceSize()
	plain, err := s.sealer.Open(nil, sealed[1:n], sealed[n:], sealContext(p, id))
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}
