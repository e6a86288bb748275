package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// What an administrator does with buckets beyond the protocol. Whoever calls
// these has checked that the administrator may.

// Sentinels of administration.
var (
	// ErrNoUpload says that no multipart upload of the bucket has the id.
	ErrNoUpload = errors.New("s3: no such upload")
	// ErrUploads says that uploads into the bucket are open.
	ErrUploads = errors.New("s3: uploads are in progress")
	// ErrPolicy is a policy that is not valid.
	ErrPolicy = errors.New("s3: malformed policy")
	// ErrLockDefault is a default retention that is not valid.
	ErrLockDefault = errors.New("s3: malformed default retention")
)

// ValidBucketName tells whether a bucket may have the name.
func ValidBucketName(name string) bool { return validBucketName(name) }

// admin is a request that nobody sent.
func (s *Server) admin(ctx context.Context, name string, c *fs.Caller) (*request, error) {
	b, err := s.o.Buckets.Bucket(ctx, name)
	if err != nil {
		return nil, err
	}
	return &request{s: s, ctx: ctx, r: &http.Request{}, op: &op{name: "ListMultipartUploads"}, bucket: b, bucketName: name, caller: c}, nil
}

// RemoveBucket takes a bucket away, and its directory if it is to go too and
// is empty: the error is of kind fs.NotEmpty otherwise. ErrNoBucket, ErrUploads.
func (s *Server) RemoveBucket(ctx context.Context, c *fs.Caller, name string, directory bool) error {
	q, err := s.admin(ctx, name, c)
	if err != nil {
		return err
	}
	open := false
	if err := s.eachUpload(ctx, q.bucket.Root, "", func(string, fs.Node) bool { open = true; return false }); err != nil {
		return err
	}
	if open {
		return ErrUploads
	}
	path, err := s.o.FS.PathOf(ctx, q.root())
	gone := fs.KindOf(err) == fs.Stale || fs.KindOf(err) == fs.NotExist
	if err != nil && !gone {
		return err
	}
	if directory && !gone {
		a, err := s.o.FS.GetAttr(ctx, systemCaller, q.root(), fs.AttrParent)
		if err != nil {
			return err
		}
		if q.bucket.Root == fs.RootID {
			return fs.E("remove", q.root(), "", fs.Perm, nil)
		}
		if _, err := s.o.FS.Remove(ctx, c, fs.Node{ID: a.Parent}, path[lastSlash(path)+1:], fs.RemoveDir); err != nil {
			return err
		}
	}
	return s.o.Buckets.DeleteBucket(ctx, name)
}

// Upload describes a multipart upload.
type Upload struct {
	ID, Key             string
	Owner               identity.AuthID
	Initiated, Modified time.Time
	// DataBytes and MetaBytes are the space that it takes.
	DataBytes, MetaBytes uint64
}

// Uploads lists multipart uploads of a bucket by id, those greater than after,
// and tells where the next page begins, "" if there is none. ErrNoBucket.
func (s *Server) Uploads(ctx context.Context, bucket, after string, limit int) (list []Upload, next string, err error) {
	q, err := s.admin(ctx, bucket, systemCaller)
	if err != nil {
		return nil, "", err
	}
	seen, last := 0, ""
	var inner error
	err = s.eachUpload(ctx, q.bucket.Root, after, func(id string, n fs.Node) bool {
		if seen == limit {
			next = last
			return false
		}
		seen, last = seen+1, id
		var u *Upload
		if u, inner = q.describeUpload(id, n); inner == nil && u != nil {
			list = append(list, *u)
		}
		return inner == nil
	})
	return list, next, errors.Join(inner, err)
}

// describeUpload answers nil for an upload that was just completed or aborted.
func (q *request) describeUpload(id string, n fs.Node) (*Upload, error) {
	rec, err := q.readUpload(n, id)
	if err != nil || rec == nil {
		return nil, err
	}
	u := &Upload{ID: id, Key: rec.Key, Owner: rec.Owner, Initiated: rec.Initiated, Modified: rec.Initiated, MetaBytes: fs.BlockSize}
	err = q.eachPart(q.ownerOf(id)+"/", nil, func(p *part) error {
		u.DataBytes += (p.attr.Size + fs.BlockSize - 1) / fs.BlockSize * fs.BlockSize
		u.MetaBytes += fs.BlockSize
		if t := p.attr.Mtime.Time(); t.After(u.Modified) {
			u.Modified = t
		}
		return nil
	})
	return u, err
}

// AbortUpload gives up a multipart upload: ErrNoBucket, ErrNoUpload.
func (s *Server) AbortUpload(ctx context.Context, bucket, id string) error {
	q, err := s.admin(ctx, bucket, systemCaller)
	if err != nil {
		return err
	}
	u, err := q.findUpload(id)
	if errors.Is(err, errNoSuchUpload) {
		return ErrNoUpload
	}
	if err != nil {
		return err
	}
	return q.dropUpload(u)
}

// CheckPolicy answers an ErrPolicy that says what is wrong with a policy.
func CheckPolicy(doc []byte, bucket string) error {
	if _, err := parsePolicy(doc, bucket); err != nil {
		return errors.Join(ErrPolicy, err)
	}
	return nil
}

// Access is what a policy lets somebody do.
type Access struct {
	Allowed []string // "s3:GetObject"
	// Statements that speak of the identity, in their order.
	Statements []StatementAccess
}

// StatementAccess is what one statement says to somebody.
type StatementAccess struct {
	Allow   bool
	Actions []string
}

// Actions are all that policies know, sorted.
func (s *Server) Actions() []string {
	var out []string
	for _, o := range s.ops {
		if o.action != "" {
			out = append(out, "s3:"+o.action)
		}
	}
	for _, a := range []string{"AbortMultipartUpload", "BypassGovernanceRetention", "DeleteObjectVersion", "DeleteObjectVersionTagging", "GetObjectVersion",
		"GetObjectVersionAcl", "GetObjectVersionTagging", "PutObjectVersionTagging"} {
		out = append(out, "s3:"+a)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Explain tells what a policy lets somebody do with the bucket as a whole; nil
// is who did not sign. What resources and conditions narrow counts as not allowed
// where they do not hold for such a request. An empty policy is that of a
// bucket without one.
func (s *Server) Explain(ctx context.Context, bucket string, doc []byte, cred *identity.Credential) (Access, error) {
	q, err := s.admin(ctx, bucket, nil)
	if err != nil {
		return Access{}, err
	}
	q.access = &Key{Cred: cred}
	if cred == nil {
		q.access = nil
		if s.o.Guest != nil {
			cred = s.o.Guest()
		}
	}
	if cred == nil {
		cred = identity.New(identity.Guest, identity.Guests, nil, nil)
	}
	q.caller = &fs.Caller{Cred: cred, Protocol: fs.ProtoS3}
	b := *q.bucket
	b.Policy = doc
	var out Access
	for _, a := range s.Actions() {
		if q.allow(&b, strings.TrimPrefix(a, "s3:"), "") == nil {
			out.Allowed = append(out.Allowed, a)
		}
	}
	if len(doc) == 0 {
		return out, nil
	}
	p, aerr := parsePolicy(doc, bucket)
	if aerr != nil {
		return out, errors.Join(ErrPolicy, aerr)
	}
	for i := range p.Statement {
		st := &p.Statement[i]
		if st.Principal != nil && !q.isPrincipal(st.Principal) || st.NotPrincipal != nil && q.isPrincipal(st.NotPrincipal) {
			continue
		}
		x := StatementAccess{Allow: st.Effect == "Allow"}
		for _, a := range s.Actions() {
			name := strings.TrimPrefix(a, "s3:")
			if len(st.Action) != 0 && matchAction(st.Action, name) || len(st.NotAction) != 0 && !matchAction(st.NotAction, name) {
				x.Actions = append(x.Actions, a)
			}
		}
		out.Statements = append(out.Statements, x)
	}
	return out, nil
}

// Retention is a default retention of a bucket: days or years, not both.
type Retention struct{ Days, Years int64 }

// ReadLockDefault reads a stored document; nil is none.
func ReadLockDefault(doc []byte) *Retention {
	if len(doc) == 0 {
		return nil
	}
	c, err := parseLockConfig(doc)
	if err != nil || c.Rule == nil {
		return nil
	}
	r := &Retention{}
	if d := c.Rule.DefaultRetention; d.Days != nil {
		r.Days = *d.Days
	} else if d.Years != nil {
		r.Years = *d.Years
	}
	return r
}

// LockDefault makes a document of a default retention, in mode COMPLIANCE;
// nil makes one that has none. ErrLockDefault.
func LockDefault(r *Retention) ([]byte, error) {
	c := lockConfigXML{ObjectLockEnabled: "Enabled"}
	if r != nil {
		c.Rule = &lockRule{DefaultRetention: &defaultRetention{Mode: lockCompliance}}
		if d := c.Rule.DefaultRetention; r.Days != 0 {
			d.Days = &r.Days
		} else {
			d.Years = &r.Years
		}
	}
	c.XMLName = xml.Name{Space: xmlns, Local: "ObjectLockConfiguration"}
	b, err := xml.Marshal(&c)
	if err != nil {
		return nil, err
	}
	if _, aerr := parseLockConfig(b); aerr != nil || r != nil && r.Days != 0 && r.Years != 0 {
		return nil, ErrLockDefault
	}
	return b, nil
}
