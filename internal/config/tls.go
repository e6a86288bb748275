package config

import (
	"context"
	"crypto/tls"
	"slices"
)

// TLS are the cipher suites that servers accept, by their names at IANA.
type TLS struct {
	TLS12 []string `json:"tls_1_2"`
	TLS13 []string `json:"tls_1_3"`
}

// requiredTLS12 are those that no client of HTTP/2 may be refused (RFC 9113
// 9.2.2), one for each kind of key that a certificate may have.
var requiredTLS12 = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}

// knownSuites are the suites of a version that are not known to be weak.
func knownSuites(version uint16) []*tls.CipherSuite {
	var out []*tls.CipherSuite
	for _, s := range tls.CipherSuites() {
		if slices.Contains(s.SupportedVersions, version) {
			out = append(out, s)
		}
	}
	return out
}

func suiteNames(l []*tls.CipherSuite) []string {
	out := make([]string, len(l))
	for i, s := range l {
		out[i] = s.Name
	}
	return out
}

// DefaultTLS accepts every suite that is not known to be weak.
func DefaultTLS() TLS {
	return TLS{suiteNames(knownSuites(tls.VersionTLS12)), suiteNames(knownSuites(tls.VersionTLS13))}
}

// Suites are the numbers of the suites for TLS 1.2.
func (t TLS) Suites() []uint16 {
	var out []uint16
	for _, s := range knownSuites(tls.VersionTLS12) {
		if slices.Contains(t.TLS12, s.Name) {
			out = append(out, s.ID)
		}
	}
	return out
}

// TLS answers the suites that are accepted.
func (s *Store) TLS(ctx context.Context) (Record[TLS], error) {
	return setting(ctx, s, settingTLS, defaultGeneral.TLS)
}

// SetTLS replaces them. Those of TLS 1.3 are all required, which knows no weak
// ones, and of TLS 1.2 those that every client has.
func (s *Store) SetTLS(ctx context.Context, revision uint64, v TLS) (Record[TLS], error) {
	for _, x := range []struct {
		field   string
		version uint16
		given   []string
	}{{"tls_1_2", tls.VersionTLS12, v.TLS12}, {"tls_1_3", tls.VersionTLS13, v.TLS13}} {
		known := knownSuites(x.version)
		for i, name := range x.given {
			if !slices.ContainsFunc(known, func(c *tls.CipherSuite) bool { return c.Name == name }) {
				return Record[TLS]{}, invalid(x.field, "%q is no cipher suite that can be accepted", name)
			}
			if slices.Contains(x.given[:i], name) {
				return Record[TLS]{}, invalid(x.field, "%s is there twice", name)
			}
		}
		for _, c := range known {
			if (x.version == tls.VersionTLS13 || slices.Contains(requiredTLS12, c.ID)) && !slices.Contains(x.given, c.Name) {
				return Record[TLS]{}, invalid(x.field, "%s is required", c.Name)
			}
		}
	}
	return changeSetting(ctx, s, settingTLS, revision, v)
}
