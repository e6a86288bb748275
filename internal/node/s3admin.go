package node

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/wire/s3"
)

// s3Protocol is the S3 server as administrators see it.
type s3Protocol struct {
	srv *s3.Server
	c   *config.Store
}

var _ control.S3Protocol = s3Protocol{}

func s3Error(err error) error {
	switch {
	case errors.Is(err, s3.ErrNoBucket), errors.Is(err, s3.ErrNoUpload):
		return config.ErrNotFound
	case errors.Is(err, s3.ErrUploads):
		return control.ErrS3Uploads
	case errors.Is(err, s3.ErrPolicy):
		return errors.Join(control.ErrS3Policy, err)
	case errors.Is(err, s3.ErrLockDefault):
		return control.ErrS3Retention
	}
	return err
}

// The methods below implement control.S3Protocol.

func (p s3Protocol) ValidBucketName(name string) bool { return s3.ValidBucketName(name) }

func (p s3Protocol) RemoveBucket(ctx context.Context, c *fs.Caller, name string, directory bool) error {
	return s3Error(p.srv.RemoveBucket(ctx, c, name, directory))
}

func (p s3Protocol) CheckPolicy(bucket string, doc []byte) error {
	return s3Error(s3.CheckPolicy(doc, bucket))
}

func (p s3Protocol) ExplainPolicy(ctx context.Context, bucket string, doc []byte, who identity.AuthID) (control.S3Access, error) {
	var cred *identity.Credential
	if who != identity.Unset {
		var err error
		if cred, err = credentialOf(ctx, p.c, who); err != nil {
			return control.S3Access{}, err
		}
	}
	x, err := p.srv.Explain(ctx, bucket, doc, cred)
	out := control.S3Access{Allowed: x.Allowed}
	for _, st := range x.Statements {
		out.Statements = append(out.Statements, control.S3StatementAccess(st))
	}
	return out, s3Error(err)
}

func (p s3Protocol) Retention(doc []byte) *control.S3Retention {
	return (*control.S3Retention)(s3.ReadLockDefault(doc))
}

func (p s3Protocol) RetentionDocument(r *control.S3Retention) ([]byte, error) {
	b, err := s3.LockDefault((*s3.Retention)(r))
	return b, s3Error(err)
}

func (p s3Protocol) Uploads(ctx context.Context, bucket, after string, limit int) ([]control.S3Upload, string, error) {
	list, next, err := p.srv.Uploads(ctx, bucket, after, limit)
	var out []control.S3Upload
	for _, u := range list {
		out = append(out, control.S3Upload(u))
	}
	return out, next, s3Error(err)
}

func (p s3Protocol) AbortUpload(ctx context.Context, bucket, id string) error {
	return s3Error(p.srv.AbortUpload(ctx, bucket, id))
}

// operatorOf tells what roles let the owner of a key do with buckets.
func operatorOf(c *config.Store, svc *service.Service, a identity.AuthID) func(context.Context) (s3.Operator, error) {
	if a.Kind() != identity.KindLocal {
		return nil
	}
	return func(ctx context.Context) (s3.Operator, error) {
		u, err := c.User(ctx, uint64(a))
		if err != nil {
			return s3.Operator{}, err
		}
		held, err := svc.PrivilegesOf(ctx, u)
		return s3.Operator{
			ReadBuckets: held[control.S3BucketsRead], WriteBuckets: held[control.S3BucketsWrite],
			ReadUploads: held[control.S3UploadsRead], WriteUploads: held[control.S3UploadsWrite],
		}, err
	}
}

// Principal implements s3.Names.
func (n s3Names) Principal(ctx context.Context, text string) (identity.AuthID, bool) {
	kind, value, ok := strings.Cut(text, ":")
	if !ok {
		kind, value = "local", text
	}
	number, err := strconv.ParseUint(value, 10, 64)
	switch {
	case kind == "world" && strings.EqualFold(value, "Everyone"):
		return identity.Everyone, true
	case kind == "auth_id" && err == nil && number != 0:
		return identity.AuthID(number), true
	case kind == "uid" && err == nil && number < 1<<32-1:
		return identity.UID(uint32(number)), true
	case kind == "gid" && err == nil && number < 1<<32-1:
		return identity.GID(uint32(number)), true
	case kind == "local" || kind == "name":
		if u, err := n.c.UserByName(ctx, value); err == nil {
			return identity.AuthID(u.ID), true
		}
		if g, err := n.c.GroupByName(ctx, value); err == nil {
			return identity.AuthID(g.ID), true
		}
	}
	return 0, false
}
