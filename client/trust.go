package client

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Peer is a server that has shown its certificate.
type Peer struct {
	// Name by which it was called.
	Name string
	// Fingerprint of its certificate: SHA-256 in lower-case hexadecimal digits.
	Fingerprint string
	// Verified is nil if the certificate is good by the system's authorities,
	// else why it is not.
	Verified error
}

// Insecure trusts every certificate: whoever sits on the way can read and
// change everything.
func Insecure(Peer) error { return nil }

// Pinned trusts the certificate with that fingerprint, and no other.
func Pinned(fingerprint string) func(Peer) error {
	want := strings.ToLower(strings.ReplaceAll(fingerprint, ":", ""))
	return func(p Peer) error {
		if p.Fingerprint != want {
			return fmt.Errorf("the certificate of %s has the fingerprint %s, not the expected %s", p.Name, p.Fingerprint, want)
		}
		return nil
	}
}

func transport(trust func(Peer) error) http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 5 * time.Minute
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if trust != nil {
		// The usual verification is not left out: VerifyConnection runs it and
		// hands its verdict on.
		t.TLSClientConfig.InsecureSkipVerify = true
		t.TLSClientConfig.VerifyConnection = func(cs tls.ConnectionState) error { return judge(cs, trust) }
	}
	return t
}

func judge(cs tls.ConnectionState, trust func(Peer) error) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	sum := sha256.Sum256(cs.PeerCertificates[0].Raw)
	p := Peer{Name: cs.ServerName, Fingerprint: hex.EncodeToString(sum[:])}
	opts := x509.VerifyOptions{DNSName: cs.ServerName, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, p.Verified = cs.PeerCertificates[0].Verify(opts)
	return trust(p)
}
