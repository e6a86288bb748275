package rest

import (
	"errors"
	"net/http"
	"path"
	"strings"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/identity"
)

type s3Bucket struct {
	Name         string       `json:"name"`
	CreationTime string       `json:"creation_time"`
	Path         string       `json:"path"`
	Anonymous    bool         `json:"anonymous_access_enabled"`
	Versioning   string       `json:"versioning"`
	LockConfig   s3LockConfig `json:"lock_config"`
}

type s3LockConfig struct {
	Enabled   bool         `json:"enabled"`
	Retention *s3Retention `json:"default_retention"`
}

type s3Retention struct {
	Units string `json:"units"`
	Value int64  `json:"value"`
}

type s3BucketList struct {
	Buckets []s3Bucket `json:"buckets"`
}

type s3NewBucket struct {
	Name       string `json:"name"`
	Path       string `json:"path,omitempty"`
	CreatePath bool   `json:"create_fs_path,omitempty"`
	Lock       bool   `json:"object_lock_enabled,omitempty"`
}

type s3LockPatch struct {
	Enabled   *bool                  `json:"enabled,omitempty"`
	Retention optional[*s3Retention] `json:"default_retention,omitzero"`
}

type s3BucketPatch struct {
	Versioning *string      `json:"versioning,omitempty"`
	LockConfig *s3LockPatch `json:"lock_config,omitempty"`
	Anonymous  *bool        `json:"anonymous_access_enabled,omitempty"`
}

type s3Upload struct {
	ID              string         `json:"id"`
	Key             string         `json:"key"`
	Bucket          string         `json:"bucket"`
	Initiator       identityRecord `json:"initiator"`
	Initiated       string         `json:"initiated"`
	LastModified    string         `json:"last_modified"`
	TotalBlocks     u64            `json:"total_blocks"`
	DataBlocks      u64            `json:"datablocks"`
	MetaBlocks      u64            `json:"metablocks"`
	Completing      bool           `json:"completing"`
	SystemInitiated bool           `json:"system_initiated"`
}

type s3UploadList struct {
	Uploads []s3Upload `json:"uploads"`
	Paging  nullPaging `json:"paging"`
}

func s3BucketRoutes() []route {
	const (
		read, write = control.S3BucketsRead, control.S3BucketsWrite
		all, one    = "/v1/s3/buckets/", "/v1/s3/buckets/{name}"
		policy      = one + "/policy"
		uploads     = one + "/uploads/"
	)
	return []route{
		{Method: "GET", Path: all, Privilege: read, Summary: "All buckets.", Out: s3BucketList{}, handle: listBuckets},
		{Method: "POST", Path: all, Privilege: write, Summary: "Add a bucket over a new or an existing directory.", In: s3NewBucket{}, Out: s3Bucket{}, handle: addBucket},
		{Method: "PATCH", Path: one, Privilege: write, Summary: "Change versioning, lock and anonymous access of a bucket.", In: s3BucketPatch{}, Out: s3Bucket{}, handle: patchBucket},
		{Method: "DELETE", Path: one, Privilege: write, Summary: "Remove a bucket; its directory stays unless delete-root-dir says otherwise.",
			Query: []query{{"delete-root-dir", "boolean", "Also remove the directory, which must be empty."}}, handle: deleteBucket},
		{Method: "GET", Path: policy, Privilege: read, Summary: "The bucket's policy; {} if it has none.", Out: map[string]any{}, handle: getBucketPolicy},
		{Method: "PUT", Path: policy, Privilege: write, Summary: "Replace the bucket's policy; {} removes it.", In: map[string]any{}, Out: map[string]any{}, MayBeEmpty: true, Conditional: true,
			Query: []query{{"allow-remove-self", "boolean", "Accept a policy under which the caller could not change it again."}}, handle: putBucketPolicy},
		{Method: "POST", Path: policy + "/explain-access", Privilege: read, Summary: "What an identity may do with the bucket and why; null is somebody who does not sign.", In: explainBucket{}, Out: bucketAccess{}, handle: explainBucketAccess},
		{Method: "GET", Path: uploads, Privilege: control.S3UploadsRead, Summary: "Multipart uploads that are neither complete nor given up.", Out: s3UploadList{}, Query: []query{queryAfter, queryLimit}, handle: listUploads},
		{Method: "DELETE", Path: uploads + "{id}", Privilege: control.S3UploadsWrite, Summary: "Give up a multipart upload.", handle: abortUpload},
	}
}

func (q *request) bucketError(name string, err error) error {
	switch {
	case errors.Is(err, config.ErrNotFound):
		return &apiError{Status: http.StatusNotFound, Class: "s3_bucket_not_found_error", Text: "there is no bucket " + name, cause: err}
	case errors.Is(err, config.ErrExists):
		return conflict("s3_bucket_already_exists_error", "there is a bucket %q", name)
	case errors.Is(err, config.ErrLimit):
		return conflict("s3_bucket_limit_reached_error", "there are %d buckets already", config.MaxBuckets)
	case errors.Is(err, control.ErrS3Uploads):
		return conflict("s3_uploads_in_progress_error", "multipart uploads into %q are open", name)
	case errors.Is(err, control.ErrS3Policy):
		return badRequest("s3_bucket_policy_invalid_error", "%v", err)
	case errors.Is(err, control.ErrS3Retention):
		return badRequest("http_bad_request_error", "default_retention: want 1 to 36500 days or 1 to 100 years")
	}
	return err
}

func (q *request) bucket() (config.Record[config.Bucket], error) {
	b, err := q.s.o.S3Buckets.Bucket(q.params[0])
	return b, q.bucketError(q.params[0], err)
}

func (q *request) renderBucket(b *config.Bucket) (s3Bucket, error) {
	out := s3Bucket{Name: b.Name, CreationTime: timestamp(b.Created), Anonymous: b.Anonymous, Versioning: b.Versioning, LockConfig: s3LockConfig{Enabled: b.Lock}}
	if out.Versioning == "" {
		out.Versioning = "Unversioned"
	}
	if r := q.s.o.S3.Retention(b.LockDefault); r != nil {
		out.LockConfig.Retention = &s3Retention{"days", r.Days}
		if r.Years != 0 {
			out.LockConfig.Retention = &s3Retention{"years", r.Years}
		}
	}
	p, err := q.s.o.FS.PathOf(q.Context(), fs.Node{ID: b.Root})
	if k := fs.KindOf(err); err != nil && (k == fs.Stale || k == fs.NotExist) {
		return out, nil // the directory was removed; the bucket shows it by an empty path
	}
	out.Path = p
	return out, err
}

func listBuckets(q *request) (reply, error) {
	out := s3BucketList{Buckets: []s3Bucket{}}
	after := ""
	for {
		rec, ok := q.s.o.S3Buckets.BucketAfter(after)
		if !ok {
			return reply{body: out}, nil
		}
		after = rec.Value.Name
		b, err := q.renderBucket(&rec.Value)
		if err != nil {
			return reply{}, err
		}
		out.Buckets = append(out.Buckets, b)
	}
}

func addBucket(q *request) (reply, error) {
	in, err := body[s3NewBucket](q)
	if err != nil {
		return reply{}, err
	}
	if !q.s.o.S3.ValidBucketName(in.Name) {
		return reply{}, badRequest("s3_bucket_name_invalid_error", "%q: want 3 to 63 of a-z, 0-9 and hyphen", in.Name)
	}
	if _, err := q.s.o.S3Buckets.Bucket(in.Name); err == nil {
		return reply{}, q.bucketError(in.Name, config.ErrExists)
	}
	dir, create := in.Path, in.CreatePath
	if dir == "" {
		rec, err := q.s.o.S3Settings.S3(q.Context())
		if err != nil {
			return reply{}, err
		}
		dir, create = path.Join(rec.Value.BasePath, in.Name), true
	}
	if !strings.HasPrefix(dir, "/") {
		return reply{}, badRequest("http_bad_request_error", "path is %q, want an absolute path", dir)
	}
	a, err := q.directory(path.Clean(dir), create)
	if err != nil {
		return reply{}, err
	}
	b := config.Bucket{Name: in.Name, Root: a.Node.ID, Owner: identity.AuthID(q.ses.User.ID), Created: q.s.now().UTC(), Lock: in.Lock}
	if in.Lock {
		b.Versioning = "Enabled"
	}
	rec, err := q.s.o.S3Buckets.AddBucket(q.Context(), b)
	if err != nil {
		return reply{}, q.bucketError(in.Name, err)
	}
	out, err := q.renderBucket(&rec.Value)
	return reply{body: out}, err
}

func patchBucket(q *request) (reply, error) {
	in, err := body[s3BucketPatch](q)
	if err != nil {
		return reply{}, err
	}
	rec, err := q.s.o.S3Buckets.ChangeBucket(q.Context(), q.params[0], func(b *config.Bucket) error { return q.applyBucket(b, &in) })
	if err != nil {
		return reply{}, q.bucketError(q.params[0], err)
	}
	out, err := q.renderBucket(&rec.Value)
	return reply{body: out}, err
}

func (q *request) applyBucket(b *config.Bucket, in *s3BucketPatch) error {
	if in.Anonymous != nil {
		b.Anonymous = *in.Anonymous
	}
	if in.Versioning != nil {
		switch v := *in.Versioning; {
		case v == "Unversioned" && b.Versioning != "", v != "Unversioned" && v != "Enabled" && v != "Suspended":
			return badRequest("http_bad_request_error", "versioning cannot become %q; want Enabled or Suspended", v)
		case v != "Unversioned":
			b.Versioning = v
		}
	}
	if l := in.LockConfig; l != nil {
		if l.Enabled != nil && !*l.Enabled && b.Lock {
			return conflict("s3_bucket_lock_error", "a bucket's lock cannot be switched off")
		}
		b.Lock = b.Lock || l.Enabled != nil && *l.Enabled
		if l.Retention.Given {
			if !b.Lock {
				return badRequest("http_bad_request_error", "a default retention needs the lock to be enabled")
			}
			var r *control.S3Retention
			if v := l.Retention.Value; v != nil {
				switch strings.ToLower(v.Units) {
				case "days":
					r = &control.S3Retention{Days: v.Value}
				case "years":
					r = &control.S3Retention{Years: v.Value}
				default:
					return control.ErrS3Retention
				}
			}
			var err error
			if b.LockDefault, err = q.s.o.S3.RetentionDocument(r); err != nil {
				return err
			}
		}
	}
	if b.Lock && b.Versioning != "Enabled" {
		return conflict("s3_bucket_lock_error", "a bucket with a lock needs versioning to be Enabled")
	}
	return nil
}

func deleteBucket(q *request) (reply, error) {
	dir, err := q.argBool("delete-root-dir")
	if err != nil {
		return reply{}, err
	}
	return reply{}, q.bucketError(q.params[0], q.s.o.S3.RemoveBucket(q.Context(), q.caller(), q.params[0], dir))
}

func listUploads(q *request) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	list, after, err := q.s.o.S3.Uploads(q.Context(), q.params[0], p.after, p.limit)
	if err != nil {
		return reply{}, q.bucketError(q.params[0], err)
	}
	out := s3UploadList{Uploads: []s3Upload{}}
	for _, u := range list {
		who, err := q.identityOf(u.Owner)
		if err != nil {
			return reply{}, err
		}
		out.Uploads = append(out.Uploads, s3Upload{ID: u.ID, Key: u.Key, Bucket: q.params[0], Initiator: who, Initiated: timestamp(u.Initiated), LastModified: timestamp(u.Modified),
			TotalBlocks: num((u.DataBytes + u.MetaBytes) / fs.BlockSize), DataBlocks: num(u.DataBytes / fs.BlockSize), MetaBlocks: num(u.MetaBytes / fs.BlockSize)})
	}
	if after != "" {
		next := q.next(p, after)
		out.Paging.Next = &next
	}
	return reply{body: out}, nil
}

func abortUpload(q *request) (reply, error) {
	if _, err := q.bucket(); err != nil {
		return reply{}, err
	}
	err := q.s.o.S3.AbortUpload(q.Context(), q.params[0], q.params[1])
	if errors.Is(err, config.ErrNotFound) {
		return reply{}, &apiError{Status: http.StatusNotFound, Class: "s3_upload_not_found_error", Text: "there is no upload " + q.params[1], cause: err}
	}
	return reply{}, err
}
