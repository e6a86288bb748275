package config

import (
	"context"
	"slices"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/kv"
)

// MaxBuckets of a cluster.
const MaxBuckets = 16000

// Bucket is one S3 bucket. Its documents are kept as the protocol gave them
// after finding them valid.
type Bucket struct {
	Name    string          `json:"name"` // never changes
	Root    fs.FileID       `json:"root"`
	Owner   identity.AuthID `json:"owner"`
	Created time.Time       `json:"created"`

	Versioning string `json:"versioning,omitempty"` // "", Enabled, Suspended
	// Anonymous lets requests that nobody signed read where no policy says else.
	Anonymous   bool   `json:"anonymous,omitempty"`
	Policy      []byte `json:"policy,omitempty"`
	CORS        []byte `json:"cors,omitempty"`
	Tags        []byte `json:"tags,omitempty"`
	Lock        bool   `json:"lock,omitempty"`
	LockDefault []byte `json:"lock_default,omitempty"`
}

// Bucket answers the bucket of that name. It costs no I/O.
func (s *Store) Bucket(name string) (Record[Bucket], error) {
	s.s3.mu.RLock()
	defer s.s3.mu.RUnlock()
	if b, ok := s.s3.mu.buckets[name]; ok {
		return *b, nil
	}
	return Record[Bucket]{}, ErrNotFound
}

// BucketAfter answers the bucket with the smallest name greater than after.
func (s *Store) BucketAfter(after string) (Record[Bucket], bool) {
	m := &s.s3.mu
	m.RLock()
	defer m.RUnlock()
	i, found := slices.BinarySearch(m.names, after)
	if found {
		i++
	}
	if i >= len(m.names) {
		return Record[Bucket]{}, false
	}
	return *m.buckets[m.names[i]], true
}

// AddBucket creates a bucket: ErrExists, ErrLimit. What may be a name is the
// protocol's to say.
func (s *Store) AddBucket(ctx context.Context, b Bucket) (Record[Bucket], error) {
	var rec Record[Bucket]
	if b.Name == "" || len(b.Name) > 63 {
		return rec, invalid("name", "%q: want 3 to 63 characters", b.Name)
	}
	s.s3.mu.RLock()
	full := len(s.s3.mu.names) >= MaxBuckets
	s.s3.mu.RUnlock()
	err := s.update(ctx, func(tx kv.Txn) error {
		id, err := next(ctx, tx, counterBucket, 1)
		if err != nil {
			return err
		}
		if err := claim(ctx, tx, spaceBucket, b.Name, id); err != nil {
			return err
		}
		if full {
			return ErrLimit // a name that is taken is worth more to know
		}
		rec, err = put(ctx, tx, kindBucket, id, b)
		return err
	})
	if err != nil {
		return rec, err
	}
	return rec, s.refreshS3(context.WithoutCancel(ctx), kindBucket, rec.ID)
}

// ChangeBucket changes a bucket atomically. change may be called again after a
// conflict; its error is answered and nothing has changed.
func (s *Store) ChangeBucket(ctx context.Context, name string, change func(*Bucket) error) (Record[Bucket], error) {
	var rec Record[Bucket]
	err := s.update(ctx, func(tx kv.Txn) error {
		id, err := owner(ctx, tx, spaceBucket, name)
		if err != nil {
			return err
		}
		old, err := get[Bucket](ctx, tx, kindBucket, id)
		if err != nil {
			return err
		}
		if err := change(&old.Value); err != nil {
			return err
		}
		old.Value.Name = name
		rec, err = put(ctx, tx, kindBucket, id, old.Value)
		return err
	})
	if err != nil {
		return rec, err
	}
	return rec, s.refreshS3(context.WithoutCancel(ctx), kindBucket, rec.ID)
}

// DeleteBucket removes the record of a bucket, not its directory.
func (s *Store) DeleteBucket(ctx context.Context, name string) error {
	var id uint64
	err := s.update(ctx, func(tx kv.Txn) (err error) {
		if id, err = owner(ctx, tx, spaceBucket, name); err != nil {
			return err
		}
		tx.Delete(recordKey(kindBucket, id))
		tx.Delete(nameKey(spaceBucket, name))
		return nil
	})
	if err != nil {
		return err
	}
	return s.refreshS3(context.WithoutCancel(ctx), kindBucket, id)
}
