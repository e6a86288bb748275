package config

import (
	"bytes"
	"errors"
	"testing"

	"manifold/internal/kv/memkv"
)

func TestSeal(t *testing.T) {
	open := func(key []byte) *Store {
		t.Helper()
		engine := memkv.New()
		t.Cleanup(func() { _ = engine.Close() })
		s, err := Open(t.Context(), Options{KV: engine, SealKey: key})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	s := open(bytes.Repeat([]byte{7}, SealKeyBytes))
	plain := []byte("wJalrXUtnFEMI/K7MDENG")
	one, err := s.seal(sealS3Key, 1, plain)
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.seal(sealS3Key, 1, plain)
	if err != nil || bytes.Equal(one, two) || bytes.Contains(one, plain) {
		t.Errorf("sealed twice: %x and %x, %v", one, two, err)
	}
	if got, err := s.unseal(sealS3Key, 1, one); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("unseal: %q, %v", got, err)
	}
	for name, try := range map[string]func() ([]byte, error){
		"another_id":      func() ([]byte, error) { return s.unseal(sealS3Key, 2, one) },
		"another_purpose": func() ([]byte, error) { return s.unseal(sealNTHash, 1, one) },
		"another_key":     func() ([]byte, error) { return open(bytes.Repeat([]byte{8}, SealKeyBytes)).unseal(sealS3Key, 1, one) },
		"no_key":          func() ([]byte, error) { return open(nil).unseal(sealS3Key, 1, one) },
		"a_changed_byte": func() ([]byte, error) {
			b := bytes.Clone(one)
			b[len(b)-1] ^= 1
			return s.unseal(sealS3Key, 1, b)
		},
	} {
		if got, err := try(); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := s.unseal(sealS3Key, 1, one[:5]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("cut short: %v", err)
	}
	if _, err := open(nil).seal(sealS3Key, 1, plain); !errors.Is(err, ErrSealed) {
		t.Errorf("seal without a key: %v", err)
	}
	if _, err := Open(t.Context(), Options{KV: memkv.New(), SealKey: []byte("short")}); err == nil {
		t.Error("a short key was taken")
	}
}
