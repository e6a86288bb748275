package config

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"

	"manifold/internal/kv"
)

// Ids of settings of which there is one each; stored.
const (
	settingSyslog      uint64 = 1
	settingCA          uint64 = 2
	settingTime        uint64 = 3
	settingWebUI       uint64 = 4
	settingAtime       uint64 = 5
	settingPermissions uint64 = 6
	settingNotify      uint64 = 7
	settingDNS         uint64 = 8
	settingOverrides   uint64 = 9
	settingTLS         uint64 = 10
)

// setting reads a setting, def with revision 0 if it was never made.
func setting[T any](ctx context.Context, s *Store, id uint64, def T) (Record[T], error) {
	return readOr(ctx, s, kindSetting, id, def)
}

// setSetting replaces a setting whose revision is as given (0: any).
func setSetting[T any](ctx context.Context, s *Store, id, revision uint64, v T) (Record[T], error) {
	return updated(ctx, s, func(tx kv.Txn) (Record[T], error) { return replace(ctx, tx, kindSetting, id, revision, v) })
}

// changeSetting is setSetting for those that others follow: it is in force when
// the call returns.
func changeSetting[T any](ctx context.Context, s *Store, id, revision uint64, v T) (Record[T], error) {
	return changed(ctx, s, func(tx kv.Txn) (Record[T], error) { return replace(ctx, tx, kindSetting, id, revision, v) })
}

// loadSetting reads a setting into v, which stays as it is if there is none.
func loadSetting[T any](ctx context.Context, r kv.Reader, id uint64, v *T) error {
	rec, err := get[T](ctx, r, kindSetting, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		*v = rec.Value
	}
	return err
}

// Syslog says where audit records go.
type Syslog struct {
	Enabled bool   `json:"enabled"`
	Server  string `json:"server"` // host name or address
	Port    uint16 `json:"port"`
	TLS     bool   `json:"tls,omitempty"`
	Local   bool   `json:"local,omitempty"` // also kept on the node
	Format  string `json:"format"`          // csv or json
}

// DefaultSyslog is that of a fresh system.
var DefaultSyslog = Syslog{Port: 514, Format: "csv"}

// Syslog answers where audit records go.
func (s *Store) Syslog(ctx context.Context) (Record[Syslog], error) {
	return setting(ctx, s, settingSyslog, DefaultSyslog)
}

// SetSyslog replaces it. Nodes follow.
func (s *Store) SetSyslog(ctx context.Context, revision uint64, v Syslog) (Record[Syslog], error) {
	switch {
	case v.Format != "csv" && v.Format != "json":
		return Record[Syslog]{}, invalid("format", "%q: want csv or json", v.Format)
	case v.Enabled && v.Server == "":
		return Record[Syslog]{}, invalid("server_address", "is missing")
	case len(v.Server) > 253 || strings.ContainsAny(v.Server, " \t\r\n/"):
		return Record[Syslog]{}, invalid("server_address", "%q is no host name or address", v.Server)
	case v.Enabled && v.Port == 0:
		return Record[Syslog]{}, invalid("server_port", "must not be 0")
	}
	return changeSetting(ctx, s, settingSyslog, revision, v)
}

// CACertificates are those that servers which we connect to are trusted by.
type CACertificates struct {
	PEM string `json:"pem"` // as it was given
}

// CACertificates answers them, ErrNotFound if there are none.
func (s *Store) CACertificates(ctx context.Context) (Record[CACertificates], error) {
	return read[CACertificates](ctx, s, kindSetting, settingCA)
}

// SetCACertificates replaces them.
func (s *Store) SetCACertificates(ctx context.Context, revision uint64, text string) (Record[CACertificates], error) {
	found := 0
	for rest := []byte(text); ; found++ {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if _, err := x509.ParseCertificate(b.Bytes); err != nil || b.Type != "CERTIFICATE" {
			return Record[CACertificates]{}, invalid("ca_certificate", "holds something that is no certificate")
		}
	}
	if found == 0 {
		return Record[CACertificates]{}, invalid("ca_certificate", "holds no certificate in PEM")
	}
	return setSetting(ctx, s, settingCA, revision, CACertificates{text})
}

// DeleteCACertificates removes them.
func (s *Store) DeleteCACertificates(ctx context.Context, revision uint64) error {
	return s.update(ctx, func(tx kv.Txn) error {
		if _, err := forChange[CACertificates](ctx, tx, kindSetting, settingCA, revision); err != nil {
			return err
		}
		tx.Delete(recordKey(kindSetting, settingCA))
		return nil
	})
}
