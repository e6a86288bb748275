package s3

import (
	"encoding/xml"
	"errors"
	"net/http"

	"manifold/internal/fs"
)

type bucketXML struct {
	Name         string
	CreationDate string
	BucketRegion string `xml:",omitempty"`
}

type listBucketsXML struct {
	XMLName           xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
	Owner             *ownerXML
	Buckets           []bucketXML `xml:"Buckets>Bucket"`
	ContinuationToken string      `xml:",omitempty"`
	Prefix            string      `xml:",omitempty"`
}

func (s *Server) region() string {
	if s.o.Region != "" {
		return s.o.Region
	}
	return "us-east-1"
}

func (q *request) listBuckets() error {
	most := uint64(16000)
	if v, ok := q.query.find("max-buckets"); ok {
		if most, ok = parseUint(v, 16000); !ok || most == 0 {
			return errInvalidArgument.with("max-buckets must be between 1 and 16000")
		}
	}
	prefix, after := q.query.get("prefix"), ""
	if t := q.query.get("continuation-token"); t != "" {
		var ok bool
		if after, ok = openToken(t); !ok {
			return errInvalidArgument.with("The continuation token provided is incorrect")
		}
	}
	out := listBucketsXML{Owner: q.owner(q.caller.Cred.User), Prefix: prefix}
	err := q.s.o.Buckets.ListBuckets(q.ctx, after, func(b *Bucket) bool {
		if len(b.Name) < len(prefix) || b.Name[:len(prefix)] != prefix || !q.visible(b) {
			return b.Name <= prefix || len(b.Name) >= len(prefix) && b.Name[:len(prefix)] == prefix
		}
		if uint64(len(out.Buckets)) == most {
			out.ContinuationToken = sealToken(out.Buckets[most-1].Name)
			return false
		}
		out.Buckets = append(out.Buckets, bucketXML{Name: b.Name, CreationDate: isoTime(b.Created), BucketRegion: q.s.o.Region})
		return true
	})
	if err != nil {
		return errInternal.wrap(err)
	}
	q.writeXML(http.StatusOK, &out)
	return nil
}

// visible tells whether a bucket is the caller's, or can be listed by it.
func (q *request) visible(b *Bucket) bool {
	if q.isOwner(b) {
		return true
	}
	if q.allow(b, "ListBucket", "") != nil {
		return false
	}
	got, err := q.s.o.FS.Access(q.ctx, q.caller, fs.Node{ID: b.Root}, fs.RightList)
	return err == nil && got&fs.RightList != 0
}

func (q *request) isOwner(b *Bucket) bool {
	return q.access != nil && q.caller.Cred.IsUser(b.Owner)
}

func (q *request) createBucket() error {
	if q.access == nil {
		return errAccessDenied
	}
	if !validBucketName(q.bucketName) {
		return errInvalidBucketName.detail("BucketName", q.bucketName)
	}
	b, aerr := q.body.document(maxConfig)
	if aerr != nil {
		return aerr
	}
	if len(b) > 0 {
		var c struct {
			XMLName            xml.Name `xml:"CreateBucketConfiguration"`
			LocationConstraint string
		}
		if err := decodeXML(b, &c); err != nil {
			return err
		}
		switch c.LocationConstraint {
		case "", "local", "us-east-1", q.s.o.Region:
		default:
			return newError(400, "InvalidLocationConstraint", "The specified location-constraint is not valid")
		}
	}
	lock := false
	switch q.r.Header.Get("X-Amz-Bucket-Object-Lock-Enabled") {
	case "", "false", "False":
	default:
		lock = true
	}
	buckets := q.s.o.Buckets
	taken := func(b *Bucket) error {
		if !q.isOwner(b) {
			return errBucketExists
		}
		if q.s.o.Region == "" || q.s.o.Region == "us-east-1" {
			// As in that region: creating what is one's own already succeeds
			// and changes nothing.
			setHeader(q.w.Header(), "Location", "/"+q.bucketName)
			q.w.WriteHeader(http.StatusOK)
			return nil
		}
		return errBucketOwned
	}
	if b, err := buckets.Bucket(q.ctx, q.bucketName); err == nil {
		return taken(b)
	} else if !errors.Is(err, ErrNoBucket) {
		return errInternal.wrap(err)
	}
	base, err := buckets.BasePath(q.ctx)
	if err != nil {
		return errInternal.wrap(err)
	}
	mode := modeDir
	r, err := q.s.o.FS.Create(q.ctx, q.caller, base, q.bucketName, &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}})
	if fs.KindOf(err) == fs.Exist {
		return errBucketExists.with("A file or directory of that name is in the way.")
	}
	if err != nil {
		return err
	}
	rec := &Bucket{Name: q.bucketName, Root: r.Attr.Node.ID, Owner: q.caller.Cred.User, Created: q.s.o.Now().UTC(), Lock: lock}
	if lock {
		rec.Versioning = VersioningEnabled
	}
	if err := buckets.CreateBucket(q.ctx, rec); err != nil {
		_, rerr := q.s.o.FS.Remove(q.ctx, q.system(), base, q.bucketName, fs.RemoveDir)
		switch {
		case errors.Is(err, ErrBucketExists):
			if b, err := buckets.Bucket(q.ctx, q.bucketName); err == nil {
				return taken(b)
			}
			return errBucketExists
		case errors.Is(err, ErrTooManyBuckets):
			return errTooManyBuckets
		}
		return errInternal.wrap(errors.Join(err, rerr))
	}
	setHeader(q.w.Header(), "Location", "/"+q.bucketName)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) headBucket() error {
	// HEAD tells of a bucket only to those who may list it.
	got, err := q.s.o.FS.Access(q.ctx, q.caller, q.root(), fs.RightList)
	if err != nil {
		return err
	}
	if got&fs.RightList == 0 {
		return errAccessDenied
	}
	setHeader(q.w.Header(), "x-amz-bucket-region", q.s.region())
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) getLocation() error {
	var out struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
		Region  string   `xml:",chardata"`
	}
	if r := q.s.region(); r != "us-east-1" {
		out.Region = r
	}
	q.writeXML(http.StatusOK, &out)
	return nil
}

// deleteBucket removes the record and the directory, which must be empty.
// Uploads into it end.
func (q *request) deleteBucket() error {
	if !q.isOwner(q.bucket) && !q.operator(q.op.action) {
		got, err := q.s.o.FS.Access(q.ctx, q.caller, q.root(), fs.RightDelete)
		if err != nil || got&fs.RightDelete == 0 {
			return errAccessDenied
		}
	}
	f := q.s.o.FS
	empty := true
	_, err := f.ReadDirByName(q.ctx, q.system(), q.root(), "", 0, func(*fs.Dirent) bool { empty = false; return false })
	switch {
	case fs.KindOf(err) == fs.Stale: // the directory went another way
	case err != nil:
		return err
	case !empty:
		return errBucketNotEmpty
	}
	if err := q.clearUploads(); err != nil {
		return err
	}
	if a, err := f.GetAttr(q.ctx, q.system(), q.root(), fs.AttrParent); err == nil {
		path, err := f.PathOf(q.ctx, q.root())
		if err != nil {
			return err
		}
		if q.bucket.Root != fs.RootID {
			name := path[lastSlash(path)+1:]
			if _, err := f.Remove(q.ctx, q.system(), fs.Node{ID: a.Parent}, name, fs.RemoveDir); err != nil {
				if fs.KindOf(err) == fs.NotEmpty {
					return errBucketNotEmpty
				}
				return err
			}
		}
	}
	if err := q.s.o.Buckets.DeleteBucket(q.ctx, q.bucketName); err != nil && !errors.Is(err, ErrNoBucket) {
		return errInternal.wrap(err)
	}
	return q.noContent()
}

func lastSlash(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '/' {
			return i
		}
	}
	return -1
}

// update changes the bucket's record.
func (q *request) update(change func(*Bucket) error) error {
	err := q.s.o.Buckets.UpdateBucket(q.ctx, q.bucketName, change)
	var a *apiError
	switch {
	case err == nil || errors.As(err, &a):
		return err
	case errors.Is(err, ErrNoBucket):
		return errNoSuchBucket
	}
	return errInternal.wrap(err)
}

// administers tells whether the bucket's owner or an administrator asks.
func (q *request) administers() bool {
	return q.isOwner(q.bucket) || q.caller.Cred.Superuser || q.operator(q.op.action)
}

// needOwner lets the bucket's owner and administrators change its configuration.
func (q *request) needOwner() error {
	if q.administers() {
		return nil
	}
	got, err := q.s.o.FS.Access(q.ctx, q.caller, q.root(), fs.RightWriteACL)
	if err != nil || got&fs.RightWriteACL == 0 {
		return errAccessDenied
	}
	return nil
}

type versioningXML struct {
	XMLName   xml.Name   `xml:"http://s3.amazonaws.com/doc/2006-03-01/ VersioningConfiguration"`
	Status    Versioning `xml:",omitempty"`
	MFADelete string     `xml:"MfaDelete,omitempty"`
}

func (q *request) getVersioning() error {
	q.writeXML(http.StatusOK, &versioningXML{Status: q.bucket.Versioning})
	return nil
}

func (q *request) putVersioning() error {
	var c struct {
		XMLName   xml.Name `xml:"VersioningConfiguration"`
		Status    Versioning
		MFADelete string `xml:"MfaDelete"`
	}
	if err := q.readXML(maxConfig, &c); err != nil {
		return err
	}
	if err := q.needOwner(); err != nil {
		return err
	}
	if c.MFADelete == "Enabled" {
		return errNotImplemented
	}
	if c.Status != VersioningEnabled && c.Status != VersioningSuspended {
		return newError(400, "IllegalVersioningConfigurationException", "The versioning configuration specified in the request is invalid.")
	}
	err := q.update(func(b *Bucket) error {
		if b.Lock && c.Status != VersioningEnabled {
			return errInvalidBucketState.with("An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.")
		}
		b.Versioning = c.Status
		return nil
	})
	if err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusOK)
	return nil
}
