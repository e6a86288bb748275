package s3

import (
	"context"
	"errors"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Sentinels of the interfaces that others satisfy.
var (
	// ErrNoBucket says that no bucket has the name.
	ErrNoBucket = errors.New("s3: no such bucket")
	// ErrBucketExists says that the name is taken.
	ErrBucketExists = errors.New("s3: bucket exists")
	// ErrNoKey says that no access key has the id, or that it is disabled.
	ErrNoKey = errors.New("s3: no such access key")
	// ErrTooManyBuckets says that the cluster has as many buckets as it may.
	ErrTooManyBuckets = errors.New("s3: too many buckets")
)

// Versioning is the state of a bucket.
type Versioning string

// Versioning states; the zero value is a bucket that never had versions.
const (
	VersioningEnabled   Versioning = "Enabled"
	VersioningSuspended Versioning = "Suspended"
)

// Bucket is the record of one bucket. Documents are kept as they were given,
// after they were found valid.
type Bucket struct {
	Name    string
	Root    fs.FileID
	Owner   identity.AuthID
	Created time.Time

	Versioning Versioning
	// Anonymous lets requests that nobody signed read where there is no policy.
	Anonymous bool
	Policy    []byte // JSON
	CORS      []byte // XML
	Tags      []byte // XML
	// Lock is set at creation or later and never cleared; LockDefault is the
	// default retention document (XML) or empty.
	Lock        bool
	LockDefault []byte
}

// Buckets keeps the records of buckets. Implementations answer copies.
type Buckets interface {
	// Bucket answers the record, or ErrNoBucket.
	Bucket(ctx context.Context, name string) (*Bucket, error)
	// ListBuckets yields records greater than after in order of their names.
	ListBuckets(ctx context.Context, after string, yield func(*Bucket) bool) error
	// CreateBucket adds a record: ErrBucketExists, ErrTooManyBuckets.
	CreateBucket(ctx context.Context, b *Bucket) error
	// UpdateBucket changes a record atomically; an error of change is returned
	// and nothing changed.
	UpdateBucket(ctx context.Context, name string, change func(*Bucket) error) error
	// DeleteBucket removes the record, not the directory.
	DeleteBucket(ctx context.Context, name string) error
	// BasePath is the directory under which CreateBucket makes directories.
	BasePath(ctx context.Context) (fs.Node, error)
}

// Key is an access key with the identity it stands for.
type Key struct {
	ID     string
	Secret string
	Cred   *identity.Credential
	// Operator tells, when a policy says no, what roles let the identity do all
	// the same; nil is nothing.
	Operator func(ctx context.Context) (Operator, error)
}

// Operator are the rights of an administrator over buckets.
type Operator struct{ ReadBuckets, WriteBuckets, ReadUploads, WriteUploads bool }

// may tells whether the rights cover an action.
func (o Operator) may(action string) bool {
	switch action {
	case "GetBucketPolicy", "GetBucketVersioning":
		return o.ReadBuckets
	case "DeleteBucket", "PutBucketPolicy", "DeleteBucketPolicy", "PutBucketVersioning":
		return o.WriteBuckets
	case "ListBucketMultipartUploads", "ListMultipartUploadParts":
		return o.ReadUploads
	case "AbortMultipartUpload":
		return o.WriteUploads
	}
	return false
}

// AccessKeys finds access keys.
type AccessKeys interface {
	// AccessKey answers the key, or ErrNoKey.
	AccessKey(ctx context.Context, id string) (*Key, error)
}

// Names shows principals to clients and reads them in policies.
type Names interface {
	// OwnerID and DisplayName are what an Owner element says.
	OwnerID(ctx context.Context, a identity.AuthID) (id, displayName string)
	// Principal finds whom a text form names, as "local:jane" or "uid:1000".
	Principal(ctx context.Context, text string) (identity.AuthID, bool)
}
