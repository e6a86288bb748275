package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"manifold/internal/kv"
)

// FTP are the settings of the FTP server.
type FTP struct {
	Enabled bool `json:"enabled"`
	// CheckRemoteHost takes data connections from the client's own host only.
	CheckRemoteHost bool `json:"check_remote_host"`
	// LogOperations logs every command that reads or changes files.
	LogOperations bool `json:"log_operations"`
	// ChrootUsers makes the home directory all that a user sees.
	ChrootUsers bool `json:"chroot_users"`
	// AllowUnencrypted lets users log in without TLS.
	AllowUnencrypted bool `json:"allow_unencrypted"`
	ExpandWildcards  bool `json:"expand_wildcards"`
	// Anonymous is the id of the local user that anonymous logins act for; 0:
	// there are none.
	Anonymous uint64 `json:"anonymous,omitempty"`
	Greeting  string `json:"greeting,omitempty"`
}

// DefaultFTP are the settings of a fresh system.
var DefaultFTP = FTP{CheckRemoteHost: true}

// maxGreeting bounds what every client of FTP is told.
const maxGreeting = 4096

// FTP answers the settings of the FTP server.
func (s *Store) FTP(ctx context.Context) (Record[FTP], error) {
	return readOr(ctx, s, kindFTP, theOne, DefaultFTP)
}

// FTPInForce answers them at the cost of one atomic load.
func (s *Store) FTPInForce() FTP { return *s.ftp.Load() }

// SetFTP replaces them; they are in force when it returns.
func (s *Store) SetFTP(ctx context.Context, revision uint64, v FTP) (Record[FTP], error) {
	if len(v.Greeting) > maxGreeting || !utf8.ValidString(v.Greeting) || strings.ContainsFunc(v.Greeting, func(r rune) bool { return r < ' ' && r != '\n' }) {
		return Record[FTP]{}, invalid("greeting", "want text of at most %d bytes", maxGreeting)
	}
	return changed(ctx, s, func(tx kv.Txn) (Record[FTP], error) {
		if v.Anonymous != 0 {
			if _, err := get[User](ctx, tx, kindUser, v.Anonymous); errors.Is(err, ErrNotFound) {
				return Record[FTP]{}, invalid("anonymous_user", "there is no local user %d", v.Anonymous)
			} else if err != nil {
				return Record[FTP]{}, err
			}
		}
		return replace(ctx, tx, kindFTP, theOne, revision, v)
	})
}

// SSH are the settings of the SSH server.
type SSH struct {
	Enabled bool `json:"enabled"`
	// SFTP serves files; the shell does not depend on it.
	SFTP bool `json:"sftp"`
	// Passwords lets users log in without a public key.
	Passwords bool `json:"passwords"`
	// ChrootUsers makes the home directory all that SFTP shows.
	ChrootUsers bool `json:"chroot_users"`
}

// DefaultSSH are the settings of a fresh system.
var DefaultSSH = SSH{Enabled: true, SFTP: true, Passwords: true}

// SSH answers the settings of the SSH server.
func (s *Store) SSH(ctx context.Context) (Record[SSH], error) {
	return readOr(ctx, s, kindSSH, theOne, DefaultSSH)
}

// SSHInForce answers them at the cost of one atomic load.
func (s *Store) SSHInForce() SSH { return *s.ssh.Load() }

// SetSSH replaces them; they are in force when it returns.
func (s *Store) SetSSH(ctx context.Context, revision uint64, v SSH) (Record[SSH], error) {
	return changed(ctx, s, func(tx kv.Txn) (Record[SSH], error) { return replace(ctx, tx, kindSSH, theOne, revision, v) })
}

// hostKeys are the private keys of the SSH server, in PEM and sealed.
type hostKeys struct {
	Keys [][]byte `json:"keys"`
}

// SSHHostKeys answers the private host keys of SSH; the first call has made
// make them and keeps them for ever, so that clients know the server again.
func (s *Store) SSHHostKeys(ctx context.Context, make func() ([][]byte, error)) ([][]byte, error) {
	rec, err := read[hostKeys](ctx, s, kindHostKeys, theOne)
	if errors.Is(err, ErrNotFound) {
		made, merr := make()
		if merr != nil {
			return nil, merr
		}
		err = s.update(ctx, func(tx kv.Txn) (err error) {
			// Another node may have been first.
			if rec, err = get[hostKeys](ctx, tx, kindHostKeys, theOne); !errors.Is(err, ErrNotFound) {
				return err
			}
			v := hostKeys{}
			for i, k := range made {
				b, err := s.seal(sealSSHKey, uint64(i), k)
				if err != nil {
					return err
				}
				v.Keys = append(v.Keys, b)
			}
			rec, err = put(ctx, tx, kindHostKeys, theOne, v)
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("config: SSH host keys: %w", err)
	}
	var out [][]byte
	for i, k := range rec.Value.Keys {
		b, err := s.unseal(sealSSHKey, uint64(i), k)
		if err != nil {
			return nil, fmt.Errorf("config: SSH host keys: %w", err)
		}
		out = append(out, b)
	}
	return out, nil
}

// SSHKey is a public key with which a user logs in over SSH.
type SSHKey struct {
	// Fingerprint "SHA256:…" names it within its user.
	Fingerprint string `json:"fingerprint"`
	// Type is its algorithm, as "ssh-ed25519".
	Type string `json:"type"`
	// Wire is the key as RFC 4253 6.6 encodes it.
	Wire    []byte    `json:"wire"`
	Comment string    `json:"comment,omitempty"`
	Created time.Time `json:"created"`
}

// sshKeys are the keys of one user.
type sshKeys struct {
	Keys []SSHKey `json:"keys"`
}

// MaxSSHKeys bounds the public keys of one user.
const MaxSSHKeys = 64

// SSHKeys lists the public keys of a user, the oldest first; ErrNotFound if
// there is no such user.
func (s *Store) SSHKeys(ctx context.Context, user uint64) ([]SSHKey, error) {
	var rec Record[sshKeys]
	err := s.view(ctx, func(r kv.Reader) error {
		if _, err := get[User](ctx, r, kindUser, user); err != nil {
			return err
		}
		var err error
		rec, err = get[sshKeys](ctx, r, kindSSHKeys, user)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		return err
	})
	return rec.Value.Keys, err
}

// AddSSHKey gives a user one more key; ErrExists if it has it.
func (s *Store) AddSSHKey(ctx context.Context, user uint64, k SSHKey) (SSHKey, error) {
	if k.Fingerprint == "" || len(k.Wire) == 0 {
		return k, invalid("public_key", "is missing")
	}
	if len(k.Comment) > 1024 || !utf8.ValidString(k.Comment) {
		return k, invalid("comment", "want text of at most 1024 bytes")
	}
	k.Created = s.now().UTC()
	err := s.changeSSHKeys(ctx, user, func(ks []SSHKey) ([]SSHKey, error) {
		switch {
		case slices.ContainsFunc(ks, func(o SSHKey) bool { return o.Fingerprint == k.Fingerprint }):
			return nil, ErrExists
		case len(ks) >= MaxSSHKeys:
			return nil, ErrLimit
		}
		return append(ks, k), nil
	})
	return k, err
}

// DeleteSSHKey takes a key away from a user, by its fingerprint.
func (s *Store) DeleteSSHKey(ctx context.Context, user uint64, fingerprint string) error {
	return s.changeSSHKeys(ctx, user, func(ks []SSHKey) ([]SSHKey, error) {
		i := slices.IndexFunc(ks, func(k SSHKey) bool { return k.Fingerprint == fingerprint })
		if i < 0 {
			return nil, ErrNotFound
		}
		return slices.Delete(ks, i, i+1), nil
	})
}

func (s *Store) changeSSHKeys(ctx context.Context, user uint64, fn func([]SSHKey) ([]SSHKey, error)) error {
	return s.update(ctx, func(tx kv.Txn) error {
		if _, err := get[User](ctx, tx, kindUser, user); err != nil {
			return err
		}
		rec, err := get[sshKeys](ctx, tx, kindSSHKeys, user)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		ks, err := fn(rec.Value.Keys)
		if err != nil {
			return err
		}
		_, err = put(ctx, tx, kindSSHKeys, user, sshKeys{ks})
		return err
	})
}
