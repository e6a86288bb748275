package ssh

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// KeyType is an algorithm of host keys.
type KeyType string

// Types of host keys.
const (
	Ed25519 KeyType = "ed25519"
	ECDSA   KeyType = "ecdsa"
	RSA     KeyType = "rsa"
)

// minRSABits is the least size of an RSA key, of hosts and of users.
const minRSABits = 2048

// GenerateHostKey makes a private host key in OpenSSH's PEM form, to be kept
// secret and handed to New at every start.
func GenerateHostKey(t KeyType, comment string) ([]byte, error) {
	var key crypto.PrivateKey
	var err error
	switch t {
	case Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case ECDSA:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RSA:
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	default:
		return nil, fmt.Errorf("ssh: host key type %q", t)
	}
	if err != nil {
		return nil, fmt.Errorf("ssh: generate host key: %w", err)
	}
	b, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, fmt.Errorf("ssh: encode host key: %w", err)
	}
	return pem.EncodeToMemory(b), nil
}

func parseHostKey(pemBytes []byte) (ssh.Signer, error) {
	s, err := ssh.ParsePrivateKey(pemBytes)
	if err != nil {
		// The error of the library could quote the key.
		return nil, errors.New("ssh: a host key cannot be read")
	}
	as, ok := s.(ssh.AlgorithmSigner)
	if !ok {
		return nil, fmt.Errorf("ssh: host key of type %s cannot be used", s.PublicKey().Type())
	}
	if err := checkKey(s.PublicKey()); err != nil {
		return nil, err
	}
	if s.PublicKey().Type() == ssh.KeyAlgoRSA {
		return ssh.NewSignerWithAlgorithms(as, []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
	}
	return s, nil
}

// PublicKey is a user's key as administrators and storage see it.
type PublicKey struct {
	// Type names the algorithm: "ssh-ed25519".
	Type string
	// Wire is the key as RFC 4253 6.6 encodes it; equal keys are equal bytes.
	Wire []byte
	// Comment is free text of the user.
	Comment string
}

// ParsePublicKey reads one line of an authorized_keys file. Options in front
// of the key are refused, since none would be obeyed.
func ParsePublicKey(line string) (PublicKey, error) {
	if len(line) > 16<<10 {
		return PublicKey{}, errors.New("ssh: public key is too long")
	}
	k, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	switch {
	case err != nil:
		return PublicKey{}, errors.New("ssh: not a public key in OpenSSH's one-line form")
	case len(options) > 0:
		return PublicKey{}, errors.New("ssh: options before a public key are not supported")
	case len(bytes.TrimSpace(rest)) > 0:
		return PublicKey{}, errors.New("ssh: more than one line")
	}
	if err := checkKey(k); err != nil {
		return PublicKey{}, err
	}
	return PublicKey{Type: k.Type(), Wire: k.Marshal(), Comment: comment}, nil
}

// String renders the key as one line of authorized_keys.
func (k PublicKey) String() string {
	p, err := ssh.ParsePublicKey(k.Wire)
	if err != nil {
		return ""
	}
	s := string(bytes.TrimSuffix(ssh.MarshalAuthorizedKey(p), []byte("\n")))
	if k.Comment != "" {
		s += " " + k.Comment
	}
	return s
}

// Fingerprint renders "SHA256:…" as ssh-keygen does.
func (k PublicKey) Fingerprint() string {
	p, err := ssh.ParsePublicKey(k.Wire)
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(p)
}

// checkKey refuses what may not be used: DSA, certificates, short RSA.
func checkKey(k ssh.PublicKey) error {
	switch k.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
		ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	case ssh.KeyAlgoRSA:
		c, ok := k.(ssh.CryptoPublicKey)
		if !ok {
			break
		}
		r, ok := c.CryptoPublicKey().(*rsa.PublicKey)
		if !ok {
			break
		}
		if r.N.BitLen() < minRSABits {
			return fmt.Errorf("ssh: RSA key of %d bits, at least %d are needed", r.N.BitLen(), minRSABits)
		}
		return nil
	}
	return fmt.Errorf("ssh: keys of type %s are not accepted", k.Type())
}

// PublicOf answers the public half of a host key.
func PublicOf(pemBytes []byte) (PublicKey, error) {
	s, err := parseHostKey(pemBytes)
	if err != nil {
		return PublicKey{}, err
	}
	return PublicKey{Type: s.PublicKey().Type(), Wire: s.PublicKey().Marshal()}, nil
}
