package config

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/kv"
)

// S3 are the settings of the S3 protocol.
type S3 struct {
	Enabled bool `json:"enabled"`
	// Insecure also serves requests without TLS.
	Insecure bool `json:"insecure,omitempty"`
	// BasePath is the directory in which buckets are created.
	BasePath string `json:"base_path"`
	// UploadExpiry is how long a multipart upload may go without data, as it
	// was given; see [ParseUploadExpiry].
	UploadExpiry string `json:"upload_expiry"`
	// Domains are those under which "bucket.domain" names a bucket.
	Domains []string `json:"domains,omitempty"`
	// OpaqueETags gives entity tags that are no MD5, and computes none.
	OpaqueETags bool `json:"opaque_etags,omitempty"`
}

// DefaultS3 are the settings of a fresh system.
var DefaultS3 = S3{BasePath: "/", UploadExpiry: "1days"}

// ParseUploadExpiry reads a number and minutes, hours, days or weeks, as
// "1days"; "never" is 0.
func ParseUploadExpiry(s string) (time.Duration, error) {
	text := strings.ToLower(strings.ReplaceAll(s, " ", ""))
	if text == "never" {
		return 0, nil
	}
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	units := map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour, "week": 7 * 24 * time.Hour}
	unit, ok := units[strings.TrimSuffix(text[digits:], "s")]
	n, err := strconv.ParseUint(text[:digits], 10, 16)
	if !ok || err != nil || n == 0 {
		return 0, invalid("multipart_upload_expiry_interval", `%q: want never or a number of minutes, hours, days or weeks, as "1days"`, s)
	}
	return time.Duration(n) * unit, nil
}

const maxDomains = 16

func checkS3(v *S3) error {
	if _, err := ParseUploadExpiry(v.UploadExpiry); err != nil {
		return err
	}
	switch {
	case !strings.HasPrefix(v.BasePath, "/"):
		return invalid("base_path", "%q is not an absolute path", v.BasePath)
	case len(v.BasePath) > fs.MaxPath || strings.ContainsRune(v.BasePath, 0):
		return invalid("base_path", "is no path")
	case len(v.Domains) > maxDomains:
		return invalid("domains", "are more than %d", maxDomains)
	}
	for _, d := range v.Domains {
		bad := len(d) > 253 || strings.ToLower(d) != d
		for _, label := range strings.Split(d, ".") {
			bad = bad || label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(label, "-") != label
		}
		if _, err := netip.ParseAddr(d); bad || err == nil {
			return invalid("domains", "%q is no domain name in lower case", d)
		}
	}
	return nil
}

// S3 answers the settings.
func (s *Store) S3(ctx context.Context) (Record[S3], error) {
	return readOr(ctx, s, kindS3, theOne, DefaultS3)
}

// SetS3 replaces the settings whose revision is as given (0: any). They are in
// force when the call returns.
func (s *Store) SetS3(ctx context.Context, revision uint64, v S3) (Record[S3], error) {
	if err := checkS3(&v); err != nil {
		return Record[S3]{}, err
	}
	rec, err := updated(ctx, s, func(tx kv.Txn) (Record[S3], error) { return replace(ctx, tx, kindS3, theOne, revision, v) })
	if err != nil {
		return rec, err
	}
	// The change is durable: loading it must not depend on the caller's patience.
	return rec, s.refreshS3(context.WithoutCancel(ctx), kindS3, theOne)
}

// s3Tables are what every S3 request asks for, in memory.
type s3Tables struct {
	// order keeps one refresh at a time, so that an older one never wins.
	order sync.Mutex

	mu struct {
		sync.RWMutex
		settings S3
		changed  chan struct{} // closed when the settings change
		buckets  map[string]*Record[Bucket]
		bucketID map[uint64]string
		names    []string // of buckets, sorted
		keys     map[string]*Record[S3Key]
		keyID    map[uint64]string
	}
}

// S3InForce answers the settings, and a channel that is closed when others are.
func (s *Store) S3InForce() (S3, <-chan struct{}) {
	s.s3.mu.RLock()
	defer s.s3.mu.RUnlock()
	return s.s3.mu.settings, s.s3.mu.changed
}

func (t *s3Tables) setSettings(v S3) {
	t.mu.settings = v
	if t.mu.changed != nil {
		close(t.mu.changed)
	}
	t.mu.changed = make(chan struct{})
}

// loadS3 makes what is stored what is in force.
func (s *Store) loadS3(ctx context.Context) error {
	s.s3.order.Lock()
	defer s.s3.order.Unlock()
	settings := DefaultS3
	buckets, bucketID := map[string]*Record[Bucket]{}, map[uint64]string{}
	keys, keyID := map[string]*Record[S3Key]{}, map[uint64]string{}
	err := s.view(ctx, func(r kv.Reader) error {
		rec, err := get[S3](ctx, r, kindS3, theOne)
		if err == nil {
			settings = rec.Value
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		for b, err := range all[Bucket](ctx, r, kindBucket, 0, 0) {
			if err != nil {
				return err
			}
			buckets[b.Value.Name], bucketID[b.ID] = &b, b.Value.Name
		}
		for k, err := range all[S3Key](ctx, r, kindS3Key, 0, 0) {
			if err != nil {
				return err
			}
			keys[k.Value.AccessKey], keyID[k.ID] = &k, k.Value.AccessKey
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("config: load S3: %w", err)
	}
	m := &s.s3.mu
	m.Lock()
	defer m.Unlock()
	if m.changed == nil || !m.settings.equal(&settings) {
		s.s3.setSettings(settings)
	}
	m.buckets, m.bucketID, m.keys, m.keyID = buckets, bucketID, keys, keyID
	m.names = slices.Sorted(maps.Keys(buckets))
	return nil
}

func (v *S3) equal(w *S3) bool {
	return v.Enabled == w.Enabled && v.Insecure == w.Insecure && v.BasePath == w.BasePath && v.UploadExpiry == w.UploadExpiry && v.OpaqueETags == w.OpaqueETags && slices.Equal(v.Domains, w.Domains)
}

// refreshS3 brings one record into force as it is stored now.
func (s *Store) refreshS3(ctx context.Context, k kind, id uint64) error {
	s.s3.order.Lock()
	defer s.s3.order.Unlock()
	m := &s.s3.mu
	switch k {
	case kindS3:
		rec, err := s.S3(ctx)
		if err != nil {
			return err
		}
		m.Lock()
		defer m.Unlock()
		if !m.settings.equal(&rec.Value) {
			s.s3.setSettings(rec.Value)
		}
	case kindBucket:
		rec, err := read[Bucket](ctx, s, k, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		m.Lock()
		defer m.Unlock()
		name, had := m.bucketID[id]
		if err != nil {
			delete(m.bucketID, id)
			// The name may be another bucket's already, made on another node.
			if b := m.buckets[name]; !had || b == nil || b.ID != id {
				return nil
			}
			delete(m.buckets, name)
			if i, ok := slices.BinarySearch(m.names, name); ok {
				m.names = slices.Delete(m.names, i, i+1)
			}
			return nil
		}
		m.buckets[rec.Value.Name] = &rec
		m.bucketID[id] = rec.Value.Name
		if i, there := slices.BinarySearch(m.names, rec.Value.Name); !there {
			m.names = slices.Insert(m.names, i, rec.Value.Name)
		}
	case kindS3Key:
		rec, err := read[S3Key](ctx, s, k, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		m.Lock()
		defer m.Unlock()
		if err != nil {
			delete(m.keys, m.keyID[id])
			delete(m.keyID, id)
			return nil
		}
		m.keys[rec.Value.AccessKey], m.keyID[id] = &rec, rec.Value.AccessKey
	}
	return nil
}

func s3Record(k []byte) bool { return ofKind(k, kindS3, kindBucket, kindS3Key) }

// followS3 brings into force what has changed.
func (s *Store) followS3(ctx context.Context, b kv.Batch) error {
	if b.Resync {
		return s.loadS3(ctx)
	}
	var errs []error
	for _, k := range b.Keys {
		if s3Record(k) {
			errs = append(errs, s.refreshS3(ctx, kind(lastNumber(k[:9])), lastNumber(k)))
		}
	}
	return errors.Join(errs...)
}
