package config

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"time"

	"manifold/internal/kv"
)

// Certificate is the TLS certificate of every TLS port and its key, in PEM.
type Certificate struct {
	Chain string `json:"chain"`
	Key   string `json:"key"`
	// SelfSigned: made by us at first run, trusted by nobody.
	SelfSigned bool `json:"self_signed,omitempty"`
}

// TLS parses the certificate for use.
func (c Certificate) TLS() (tls.Certificate, error) {
	return tls.X509KeyPair([]byte(c.Chain), []byte(c.Key))
}

// Certificate answers the present certificate.
func (s *Store) Certificate(ctx context.Context) (Record[Certificate], error) {
	return read[Certificate](ctx, s, kindCertificate, theOne)
}

// SetCertificate replaces it by a chain, own certificate first, and its key.
func (s *Store) SetCertificate(ctx context.Context, revision uint64, chain, key string) (Record[Certificate], error) {
	var rec Record[Certificate]
	c := Certificate{Chain: chain, Key: key}
	if _, err := c.TLS(); err != nil {
		return rec, invalid("certificate", "%v", err)
	}
	err := s.update(ctx, func(tx kv.Txn) error {
		if _, err := forChange[Certificate](ctx, tx, kindCertificate, theOne, revision); err != nil {
			return err
		}
		var err error
		rec, err = put(ctx, tx, kindCertificate, theOne, c)
		return err
	})
	return rec, err
}

// selfSigned makes an ECDSA P-256 certificate for the given names, good for
// ten years: nobody trusts it by its issuer, so changing it only breaks pins.
func (s *Store) selfSigned(hosts []string, addrs []netip.Addr) (Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), s.rnd)
	if err != nil {
		return Certificate{}, fmt.Errorf("config: certificate key: %w", err)
	}
	serial := make([]byte, 16)
	if err := s.random(serial); err != nil {
		return Certificate{}, err
	}
	serial[0] &= 0x7f
	now := s.now()
	t := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{Organization: []string{"manifold"}, CommonName: "manifold self-signed"},
		NotBefore:             now.Add(-time.Hour), // clients' clocks differ
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              hosts,
	}
	for _, a := range addrs {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.AsSlice()))
	}
	der, err := x509.CreateCertificate(s.rnd, t, t, key.Public(), key)
	if err != nil {
		return Certificate{}, fmt.Errorf("config: self-signed certificate: %w", err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Certificate{}, fmt.Errorf("config: self-signed certificate: %w", err)
	}
	return Certificate{Chain: pemString("CERTIFICATE", der), Key: pemString("PRIVATE KEY", k), SelfSigned: true}, nil
}

func pemString(kind string, der []byte) string {
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}) // a Buffer does not fail
	return b.String()
}
