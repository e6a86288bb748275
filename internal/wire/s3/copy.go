package s3

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strings"

	"manifold/internal/fs"
)

// copySource is what x-amz-copy-source names.
type copySource struct{ bucket, key, version string }

func parseCopySource(v string) (copySource, *apiError) {
	bad := errInvalidArgument.with("Copy Source must mention the source bucket and key: sourcebucket/sourcekey").detail("ArgumentName", "x-amz-copy-source")
	raw, version, _ := strings.Cut(v, "?versionId=")
	s, ok := unescapePath(raw)
	if !ok || len(v) > 3*maxKey {
		return copySource{}, bad
	}
	s = strings.TrimPrefix(s, "/")
	bucket, key, ok := strings.Cut(s, "/")
	if !ok || bucket == "" || key == "" {
		return copySource{}, bad
	}
	return copySource{bucket, key, version}, nil
}

// source finds the object that is copied from; the bucket's policy and the
// file's permissions are asked as for a GET.
func (q *request) source() (*object, *copySource, error) {
	cs, aerr := parseCopySource(q.r.Header.Get("X-Amz-Copy-Source"))
	if aerr != nil {
		return nil, nil, aerr
	}
	b, err := q.s.o.Buckets.Bucket(q.ctx, cs.bucket)
	if errors.Is(err, ErrNoBucket) {
		return nil, nil, errNoSuchBucket.detail("BucketName", cs.bucket)
	}
	if err != nil {
		return nil, nil, errInternal.wrap(err)
	}
	action := "GetObject"
	if cs.version != "" {
		action = "GetObjectVersion"
	}
	if err := q.allow(b, action, cs.key); err != nil {
		q.denied = true
		return nil, nil, err
	}
	o, err := q.locate(b, cs.key, cs.version)
	if err != nil {
		return nil, nil, err
	}
	if o.rec.Marker {
		return nil, nil, errNoSuchKey.detail("Key", cs.key)
	}
	if err := q.need(o, fs.RightRead); err != nil {
		return nil, nil, err
	}
	if err := readConditions(q.r.Header, "X-Amz-Copy-Source-", o.rec.ETag, o.attr.Mtime); err != nil {
		return nil, nil, err
	}
	if o.rec.Version != "" {
		setHeader(q.w.Header(), "x-amz-copy-source-version-id", o.rec.Version)
	}
	return o, &cs, nil
}

// copyRange copies from an object into a staged file, by reference where the
// file system can.
func (q *request) copyRange(o *object, r byteRange, st *staged) error {
	stream := fs.StreamID(0)
	if o.attr.Type == fs.Directory {
		stream = o.rec.Stream
	}
	for done := uint64(0); done < r.length; {
		n, err := q.s.o.FS.CopyRange(q.ctx, q.caller, o.attr.Node, stream, r.start+done, st.node, st.stream, st.size, r.length-done)
		if err != nil {
			return err
		}
		if n == 0 {
			return errInternal.with("The source became shorter while it was copied.")
		}
		done += n
		st.size += n
	}
	return nil
}

type copyResultXML struct {
	XMLName      xml.Name
	LastModified string
	ETag         string
	checksumXML
}

func (q *request) copyObject() error {
	p, aerr := parseKey(q.key)
	if aerr != nil {
		return aerr
	}
	cond, aerr := readWriteCondition(q.r.Header)
	if aerr != nil {
		return aerr
	}
	if err := q.noBody(); err != nil {
		return err
	}
	attrs, aerr := q.readAttributes()
	if aerr != nil {
		return aerr
	}
	replace := false
	switch v := q.r.Header.Get("X-Amz-Metadata-Directive"); v {
	case "", "COPY":
	case "REPLACE":
		replace = true
	default:
		return errInvalidArgument.with("Unknown metadata directive.")
	}
	replaceTags := false
	switch v := q.r.Header.Get("X-Amz-Tagging-Directive"); v {
	case "", "COPY":
	case "REPLACE":
		replaceTags = true
	default:
		return errInvalidArgument.with("Unknown tagging directive.")
	}
	o, cs, err := q.source()
	if err != nil {
		return err
	}
	if cs.bucket == q.bucketName && cs.key == q.key && cs.version == "" && !replace && q.bucket.Versioning == "" {
		return errInvalidRequest.with("This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	if o.size() > maxPut {
		return errInvalidRequest.with("The specified copy source is larger than the maximum allowable size for a copy source: 5368709120")
	}
	if !replace {
		attrs.headers = o.rec.Headers
		if attrs.meta, err = q.userMetadata(o.attr.Node); err != nil {
			return err
		}
	}
	if !replaceTags {
		if attrs.tags, err = q.objectTags(o.attr.Node); err != nil {
			return err
		}
	}
	if p.isDir() {
		return q.copyDirectory(p, o, attrs)
	}
	st, err := q.stage("")
	if err != nil {
		return err
	}
	defer q.drop(st)
	if err := q.copyRange(o, byteRange{0, o.size()}, st); err != nil {
		return err
	}
	rec := &record{ETag: o.rec.ETag, Headers: attrs.headers, Sums: o.rec.Sums, SumType: o.rec.SumType, Parts: o.rec.Parts, PartSums: o.rec.PartSums}
	if err := q.publish(st, p, rec, attrs, cond); err != nil {
		return err
	}
	a, err := q.s.o.FS.GetAttr(q.ctx, q.system(), st.node, fs.AttrMtime)
	if err != nil && fs.KindOf(err) != fs.Stale { // replaced by the next writer already
		return err
	}
	newVersionHeader(q.w.Header(), rec)
	q.copied("CopyObjectResult", rec, a.Mtime)
	return nil
}

func (q *request) copied(element string, rec *record, mtime fs.Time) {
	q.writeXML(http.StatusOK, &copyResultXML{XMLName: xml.Name{Space: xmlns, Local: element}, LastModified: isoTime(mtime.Time()),
		ETag: `"` + rec.ETag + `"`, checksumXML: sumsXML(rec.Sums, rec.SumType)})
}

// copyDirectory makes a directory object of another object.
func (q *request) copyDirectory(p objectPath, o *object, attrs *attributes) error {
	rec := &record{ETag: o.rec.ETag, Headers: attrs.headers, Sums: o.rec.Sums, SumType: o.rec.SumType}
	fill := func(st *staged) error { return q.copyRange(o, byteRange{0, o.size()}, st) }
	if err := q.storeDirectory(p, attrs, rec, o.size() != 0, fill); err != nil {
		return err
	}
	q.copied("CopyObjectResult", rec, fs.TimeOf(q.s.o.Now()))
	return nil
}

// noBody checks what was promised about a body that must be empty.
func (q *request) noBody() *apiError {
	_, err := q.body.document(maxConfig)
	return err
}
