package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
)

// S3Settings say whether and how S3 is served.
type S3Settings struct {
	Enabled bool `json:"enabled"`
	// BasePath is the directory in which buckets are created.
	BasePath string `json:"base_path"`
	// UploadExpiry is a number and minutes, hours, days or weeks, as "1days", or "never".
	UploadExpiry string `json:"multipart_upload_expiry_interval"`
	// Secure: only with TLS.
	Secure bool `json:"secure"`
	// Domains under which "bucket.domain" names a bucket.
	Domains []string `json:"domains"`
	// OpaqueETags gives entity tags that are no MD5.
	OpaqueETags bool `json:"opaque_etags"`
}

// S3SettingsChange are the settings to change; nil ones stay.
type S3SettingsChange struct {
	Enabled      *bool     `json:"enabled,omitempty"`
	BasePath     *string   `json:"base_path,omitempty"`
	UploadExpiry *string   `json:"multipart_upload_expiry_interval,omitempty"`
	Secure       *bool     `json:"secure,omitempty"`
	Domains      *[]string `json:"domains,omitempty"`
	OpaqueETags  *bool     `json:"opaque_etags,omitempty"`
}

const (
	s3SettingsPath = "/v1/s3/settings"
	s3KeysPath     = "/v1/s3/access-keys/"
	s3BucketsPath  = "/v1/s3/buckets/"
)

// S3Settings answers the settings of S3.
func (c *Client) S3Settings(ctx context.Context) (s S3Settings, err error) {
	return s, c.do(ctx, "GET", s3SettingsPath, nil, &s)
}

// ChangeS3Settings changes some; the port opens or closes at once.
func (c *Client) ChangeS3Settings(ctx context.Context, v S3SettingsChange) (s S3Settings, err error) {
	return s, c.do(ctx, "PATCH", s3SettingsPath, v, &s)
}

// S3Key is an access key. Its secret is known only when it was just made.
type S3Key struct {
	ID      string    `json:"access_key_id"`
	Owner   Principal `json:"owner"`
	Secret  string    `json:"secret_access_key,omitempty"`
	Created string    `json:"creation_time"`
}

// S3Keys lists access keys, of all or of one user, as "local:jane" or "uid:1000".
func (c *Client) S3Keys(ctx context.Context, user string) iter.Seq2[S3Key, error] {
	return pages[S3Key](ctx, c, s3KeysPath+query("user", user), "entries")
}

// NewS3Key makes an access key of a user; at most two each.
func (c *Client) NewS3Key(ctx context.Context, user Principal) (k S3Key, err error) {
	return k, c.do(ctx, "POST", s3KeysPath, map[string]any{"user": user}, &k)
}

// RevokeS3Key makes an access key worthless at once.
func (c *Client) RevokeS3Key(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", s3KeysPath+url.PathEscape(id), nil, nil)
}

// Bucket is an S3 bucket.
type Bucket struct {
	Name       string `json:"name"`
	Created    string `json:"creation_time"`
	Path       string `json:"path"`
	Anonymous  bool   `json:"anonymous_access_enabled"`
	Versioning string `json:"versioning"`
	Lock       struct {
		Enabled   bool             `json:"enabled"`
		Retention *BucketRetention `json:"default_retention"`
	} `json:"lock_config"`
}

// BucketRetention is how long new objects of a bucket are kept from removal.
type BucketRetention struct {
	Units string `json:"units"` // days or years
	Value int64  `json:"value"`
}

// Buckets lists all buckets.
func (c *Client) Buckets(ctx context.Context) ([]Bucket, error) {
	var out struct{ Buckets []Bucket }
	err := c.do(ctx, "GET", s3BucketsPath, nil, &out)
	return out.Buckets, err
}

// NewBucket is what a bucket is made of. Without a path its directory is made
// below the base path.
type NewBucket struct {
	Name       string `json:"name"`
	Path       string `json:"path,omitempty"`
	CreatePath bool   `json:"create_fs_path,omitempty"`
	ObjectLock bool   `json:"object_lock_enabled,omitempty"`
}

// AddBucket adds a bucket.
func (c *Client) AddBucket(ctx context.Context, n NewBucket) (b Bucket, err error) {
	return b, c.do(ctx, "POST", s3BucketsPath, n, &b)
}

// BucketChange is what to change of a bucket; nil fields stay.
type BucketChange struct {
	Versioning *string `json:"versioning,omitempty"` // Enabled or Suspended
	Anonymous  *bool   `json:"anonymous_access_enabled,omitempty"`
	// Lock changes object lock.
	Lock *BucketLockChange `json:"lock_config,omitempty"`
}

// BucketLockChange is what to change of a bucket's object lock; nil fields stay.
type BucketLockChange struct {
	Enabled *bool `json:"enabled,omitempty"`
	// Retention points to the default retention, or to nil for none.
	Retention **BucketRetention `json:"default_retention,omitempty"`
}

// ChangeBucket changes a bucket.
func (c *Client) ChangeBucket(ctx context.Context, name string, v BucketChange) (b Bucket, err error) {
	return b, c.do(ctx, "PATCH", s3BucketsPath+url.PathEscape(name), v, &b)
}

// DeleteBucket removes a bucket, with its directory if that is empty and is to go too.
func (c *Client) DeleteBucket(ctx context.Context, name string, directory bool) error {
	arg := ""
	if directory {
		arg = "true"
	}
	return c.do(ctx, "DELETE", s3BucketsPath+url.PathEscape(name)+query("delete-root-dir", arg), nil, nil)
}

// BucketPolicy answers a bucket's policy, "{}" if it has none, and its tag.
func (c *Client) BucketPolicy(ctx context.Context, name string) (doc json.RawMessage, etag string, err error) {
	etag, err = c.Do(ctx, Request{Method: "GET", Path: s3BucketsPath + url.PathEscape(name) + "/policy"}, &doc)
	return doc, etag, err
}

// SetBucketPolicy replaces a bucket's policy; "{}" removes it. removeSelf accepts
// one under which the caller could not change it again.
func (c *Client) SetBucketPolicy(ctx context.Context, name string, doc json.RawMessage, removeSelf bool, ifMatch string) error {
	arg := ""
	if removeSelf {
		arg = "true"
	}
	_, err := c.Do(ctx, Request{Method: "PUT", Path: s3BucketsPath + url.PathEscape(name) + "/policy" + query("allow-remove-self", arg), Body: doc, IfMatch: ifMatch}, nil)
	return err
}

// Upload is a multipart upload that is neither complete nor given up.
type Upload struct {
	ID        string    `json:"id"`
	Key       string    `json:"key"`
	Initiator Principal `json:"initiator"`
	Initiated string    `json:"initiated"`
	Modified  string    `json:"last_modified"`
	Blocks    Number    `json:"total_blocks"` // of 4 KiB
}

// Uploads lists multipart uploads of a bucket.
func (c *Client) Uploads(ctx context.Context, bucket string) iter.Seq2[Upload, error] {
	return pages[Upload](ctx, c, s3BucketsPath+url.PathEscape(bucket)+"/uploads/", "uploads")
}

// AbortUpload gives up a multipart upload.
func (c *Client) AbortUpload(ctx context.Context, bucket, id string) error {
	return c.do(ctx, "DELETE", s3BucketsPath+url.PathEscape(bucket)+"/uploads/"+url.PathEscape(id), nil, nil)
}
