package config

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strings"
	"time"

	"manifold/internal/kv"
)

// Cluster is what the nodes of one file system have in common.
type Cluster struct {
	Name string `json:"name"`
	// UUID in its text form.
	UUID    string    `json:"uuid"`
	Created time.Time `json:"created"`
}

// Node is one member of the cluster. Its id is 1 and counts up.
type Node struct {
	Name string `json:"name"`
	UUID string `json:"uuid"`
}

// Cluster answers the identity of the cluster.
func (s *Store) Cluster(ctx context.Context) (Record[Cluster], error) {
	return read[Cluster](ctx, s, kindCluster, theOne)
}

// SetClusterName renames the cluster.
func (s *Store) SetClusterName(ctx context.Context, revision uint64, name string) (Record[Cluster], error) {
	var rec Record[Cluster]
	if err := checkClusterName(name); err != nil {
		return rec, err
	}
	err := s.update(ctx, func(tx kv.Txn) error {
		old, err := forChange[Cluster](ctx, tx, kindCluster, theOne, revision)
		if err != nil {
			return err
		}
		old.Value.Name = name
		rec, err = put(ctx, tx, kindCluster, theOne, old.Value)
		return err
	})
	return rec, err
}

// checkClusterName wants 2 to 15 letters, digits and hyphens, so that the name
// can become a machine account.
func checkClusterName(name string) error {
	if len(name) < 2 || len(name) > 15 || strings.Trim(name, "-") != name ||
		strings.ContainsFunc(name, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
		}) {
		return invalid("cluster_name", "%q: want 2 to 15 letters, digits and inner hyphens", name)
	}
	return nil
}

// Node answers a member.
func (s *Store) Node(ctx context.Context, id uint64) (Record[Node], error) {
	return read[Node](ctx, s, kindNode, id)
}

// NFS are the switches of the NFS protocols.
type NFS struct {
	V4Enabled      bool `json:"v4_enabled"`
	AuthSysEnabled bool `json:"auth_sys_enabled"`
	Krb5Enabled    bool `json:"krb5_enabled"`
	Krb5iEnabled   bool `json:"krb5i_enabled"`
	Krb5pEnabled   bool `json:"krb5p_enabled"`
}

// DefaultNFS are the switches of a fresh system.
var DefaultNFS = NFS{AuthSysEnabled: true, Krb5Enabled: true, Krb5iEnabled: true, Krb5pEnabled: true}

// NFS answers the switches.
func (s *Store) NFS(ctx context.Context) (Record[NFS], error) {
	return readOr(ctx, s, kindNFS, theOne, DefaultNFS)
}

// SetNFS replaces the switches.
func (s *Store) SetNFS(ctx context.Context, revision uint64, v NFS) (Record[NFS], error) {
	return changed(ctx, s, func(tx kv.Txn) (Record[NFS], error) { return replace(ctx, tx, kindNFS, theOne, revision, v) })
}

// NFSInForce answers the switches at the cost of one atomic load.
func (s *Store) NFSInForce() NFS { return *s.nfs.Load() }

// metrics is the hash of the token that reads metrics and nothing else.
type metrics struct {
	Hash []byte `json:"hash"`
}

// MetricsToken tells whether token may read the metrics.
func (s *Store) MetricsToken(ctx context.Context, token string) (bool, error) {
	if !strings.HasPrefix(token, metricsPrefix) {
		return false, nil
	}
	rec, err := read[metrics](ctx, s, kindMetrics, theOne)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	hash := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(hash[:], rec.Value.Hash) == 1, nil
}

// NewMetricsToken replaces the token; the answer is the only time it is seen.
func (s *Store) NewMetricsToken(ctx context.Context) (string, error) {
	token, hash, err := s.newToken(metricsPrefix)
	if err != nil {
		return "", err
	}
	err = s.update(ctx, func(tx kv.Txn) error {
		_, err := put(ctx, tx, kindMetrics, theOne, metrics{Hash: hash[:]})
		return err
	})
	return token, err
}

// Scrub is the last scrub of a node that was not stopped by hand.
type Scrub struct {
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	Extents  uint64    `json:"extents"`
	Bytes    uint64    `json:"bytes"`
	Segments uint64    `json:"segments"`
	Findings uint64    `json:"findings"`
}

// LastScrub answers the last scrub of a node, ErrNotFound if there was none.
func (s *Store) LastScrub(ctx context.Context, node uint64) (Scrub, error) {
	rec, err := read[Scrub](ctx, s, kindScrub, node)
	return rec.Value, err
}

// SetLastScrub remembers a scrub.
func (s *Store) SetLastScrub(ctx context.Context, node uint64, v Scrub) error {
	return s.update(ctx, func(tx kv.Txn) error {
		_, err := put(ctx, tx, kindScrub, node, v)
		return err
	})
}
