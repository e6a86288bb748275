package config

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"manifold/internal/identity"
	"manifold/internal/kv"
)

// FirstRunOptions say what a fresh system starts with.
type FirstRunOptions struct {
	// AdminPassword of the user admin; see [Store.NewPassword].
	AdminPassword string
	// ClusterUUID is the UUID of the file system; "" makes one.
	ClusterUUID string
	// ClusterName; "" is "manifold".
	ClusterName string
	// NodeName is the name of this machine.
	NodeName string
	// Subnets that the factory export serves; none means that it serves nobody.
	Subnets []netip.Prefix
	// Hosts and Addresses go into the self-signed certificate.
	Hosts     []string
	Addresses []netip.Addr
}

// Initialized tells whether FirstRun has been done.
func (s *Store) Initialized(ctx context.Context) (bool, error) {
	_, err := s.Cluster(ctx)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// FirstRun writes the records of a fresh system, all of them in one
// transaction; ErrExists if it has been done. The answer is the token that
// reads metrics, which is seen only this once.
func (s *Store) FirstRun(ctx context.Context, o FirstRunOptions) (metricsToken string, err error) {
	if o.ClusterName == "" {
		o.ClusterName = "manifold"
	}
	if err := checkClusterName(o.ClusterName); err != nil {
		return "", err
	}
	if err := CheckPassword(o.AdminPassword); err != nil {
		return "", err
	}
	admin, err := s.hashes(o.AdminPassword)
	if err != nil {
		return "", err
	}
	cert, err := s.selfSigned(o.Hosts, o.Addresses)
	if err != nil {
		return "", err
	}
	token, tokenHash, err := s.newToken(metricsPrefix)
	if err != nil {
		return "", err
	}
	if o.ClusterUUID == "" {
		if o.ClusterUUID, err = s.uuid(); err != nil {
			return "", err
		}
	}
	nodeID, err := s.uuid()
	if err != nil {
		return "", err
	}
	err = s.update(ctx, func(tx kv.Txn) error {
		switch _, err := get[Cluster](ctx, tx, kindCluster, theOne); {
		case err == nil:
			return ErrExists
		case !errors.Is(err, ErrNotFound):
			return err
		}
		setCounter(tx, counterFormat, format)
		if _, err := put(ctx, tx, kindCluster, theOne, Cluster{Name: o.ClusterName, UUID: o.ClusterUUID, Created: s.now().UTC()}); err != nil {
			return err
		}
		if _, err := put(ctx, tx, kindNode, theOne, Node{Name: o.NodeName, UUID: nodeID}); err != nil {
			return err
		}
		if _, err := put(ctx, tx, kindCertificate, theOne, cert); err != nil {
			return err
		}
		if _, err := put(ctx, tx, kindMetrics, theOne, metrics{Hash: tokenHash[:]}); err != nil {
			return err
		}
		if _, err := put(ctx, tx, kindNFS, theOne, DefaultNFS); err != nil {
			return err
		}
		if err := s.putBuiltIns(ctx, tx, admin); err != nil {
			return err
		}
		if _, err := put(ctx, tx, kindSMB, theOne, DefaultSMB()); err != nil {
			return err
		}
		if err := s.putFactoryShare(ctx, tx, o.Subnets); err != nil {
			return err
		}
		return s.putFactoryExport(ctx, tx, o.Subnets)
	})
	if err != nil {
		return "", err
	}
	return token, s.load(ctx)
}

func (s *Store) putBuiltIns(ctx context.Context, tx kv.Txn, admin hashes) error {
	for _, g := range []struct {
		id   identity.AuthID
		name string
	}{
		{identity.Administrators, "Administrators"}, {identity.Users, "Users"}, {identity.Guests, "Guests"},
	} {
		if _, err := putNewGroup(ctx, tx, uint64(g.id), Group{Name: g.name}); err != nil {
			return err
		}
	}
	for _, u := range []struct {
		id      identity.AuthID
		name    string
		primary identity.AuthID
		hashes  hashes
	}{
		{identity.Admin, "admin", identity.Users, admin}, {identity.Guest, "guest", identity.Guests, hashes{}},
	} {
		if _, err := s.putNewUser(ctx, tx, uint64(u.id), User{Name: u.name, PrimaryGroup: uint64(u.primary)}, u.hashes); err != nil {
			return err
		}
	}
	setMember(tx, uint64(identity.Administrators), uint64(identity.Admin), true)
	return nil
}

// uuid makes a random UUID (RFC 9562 §5.4).
func (s *Store) uuid() (string, error) {
	var b [16]byte
	if err := s.random(b[:]); err != nil {
		return "", err
	}
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return UUIDString(b), nil
}

// UUIDString renders a UUID in its text form.
func UUIDString(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// NewPassword makes a password of about 95 random bits that passes
// CheckPassword and can be read aloud: four groups of five characters.
func (s *Store) NewPassword() (string, error) {
	const letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
	for {
		var b strings.Builder
		for n := 0; n < 20; {
			var r [1]byte
			if err := s.random(r[:]); err != nil {
				return "", err
			}
			if int(r[0]) >= 256/len(letters)*len(letters) {
				continue // would favour the first letters
			}
			if n > 0 && n%5 == 0 {
				b.WriteByte('-')
			}
			b.WriteByte(letters[int(r[0])%len(letters)])
			n++
		}
		if p := b.String(); CheckPassword(p) == nil {
			return p, nil
		}
	}
}
