package s3

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"manifold/internal/fs"
)

const (
	maxTags       = 10
	maxBucketTags = 50
	maxTagKey     = 128
	maxTagValue   = 256
)

type tag struct {
	Key   string
	Value string
}

type taggingXML struct {
	XMLName xml.Name
	Tags    []tag `xml:"TagSet>Tag"`
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

func checkTags(tags []tag, most int) *apiError {
	if len(tags) > most {
		if most == maxTags {
			return errInvalidTag.with("Object tags cannot be greater than 10")
		}
		return newError(400, "BadRequest", "Bucket tag count cannot be greater than 50")
	}
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		switch {
		case t.Key == "" || !utf8.ValidString(t.Key) || strings.IndexByte(t.Key, 0) >= 0 || utf16Len(t.Key) > maxTagKey:
			return errInvalidTag.with("The TagKey you have provided is invalid")
		case !utf8.ValidString(t.Value) || utf16Len(t.Value) > maxTagValue:
			return errInvalidTag.with("The TagValue you have provided is invalid")
		case seen[t.Key]:
			return errInvalidTag.with("Cannot provide multiple Tags with the same key")
		}
		seen[t.Key] = true
	}
	return nil
}

// parseTagQuery reads the x-amz-tagging header.
func parseTagQuery(v string) ([]tag, *apiError) {
	if len(v) > 16<<10 {
		return nil, errInvalidTag
	}
	var tags []tag
	for part := range strings.SplitSeq(v, "&") {
		if part == "" {
			continue
		}
		k, val, _ := strings.Cut(part, "=")
		key, err := url.QueryUnescape(k)
		value, err2 := url.QueryUnescape(val)
		if err != nil || err2 != nil {
			return nil, errInvalidArgument.with("The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.")
		}
		tags = append(tags, tag{key, value})
	}
	return tags, checkTags(tags, maxTags)
}

func parseTagging(b []byte, most int) ([]tag, *apiError) {
	var doc struct {
		XMLName xml.Name `xml:"Tagging"`
		TagSet  *struct {
			Tag []tag
		}
	}
	if err := decodeXML(b, &doc); err != nil {
		return nil, err
	}
	if doc.TagSet == nil {
		return nil, errMalformedXML
	}
	return doc.TagSet.Tag, checkTags(doc.TagSet.Tag, most)
}

// objectTags reads the tags of a file: entries of the generic space whose
// value is text.
func (q *request) objectTags(n fs.Node) ([]tag, error) {
	var tags []tag
	err := q.s.o.FS.ListMeta(q.ctx, q.system(), n, fs.MetaGeneric, "", func(key string, size int) bool {
		if size <= 4*maxTagValue {
			tags = append(tags, tag{Key: key})
		}
		return len(tags) < maxMetaEntries
	})
	if err != nil {
		return nil, err
	}
	out := tags[:0]
	for _, t := range tags {
		v, err := q.s.o.FS.GetMeta(q.ctx, q.system(), n, fs.MetaGeneric, t.Key)
		if fs.KindOf(err) == fs.NoAttr {
			continue
		}
		if err != nil && fs.KindOf(err) != fs.NoAttr {
			return nil, err
		}
		if utf8.Valid(v) {
			out = append(out, tag{t.Key, string(v)})
		}
	}
	return out, nil
}

func (q *request) writeTags(tags []tag) {
	doc := taggingXML{XMLName: xml.Name{Space: xmlns, Local: "Tagging"}, Tags: tags}
	if len(tags) == 0 {
		q.writeRaw(http.StatusOK, "application/xml", []byte(xmlHeader+`<Tagging xmlns="`+xmlns+`"><TagSet></TagSet></Tagging>`))
		return
	}
	q.writeXML(http.StatusOK, &doc)
}

func (q *request) getTags() error {
	o, err := q.target()
	if err != nil {
		return err
	}
	if err := q.need(o, fs.RightReadEA); err != nil {
		return err
	}
	tags, err := q.objectTags(o.attr.Node)
	if err != nil {
		return err
	}
	q.versionHeader(o)
	q.writeTags(tags)
	return nil
}

// need asks the file system for a right on an object.
func (q *request) need(o *object, want fs.Rights) error {
	got, err := q.s.o.FS.Access(q.ctx, q.caller, o.attr.Node, want)
	if err != nil {
		return err
	}
	if got&want != want {
		return errAccessDenied
	}
	return nil
}

func (q *request) putTags() error {
	b, aerr := q.body.document(maxConfig)
	if aerr != nil {
		return aerr
	}
	tags, aerr := parseTagging(b, maxTags)
	if aerr != nil {
		return aerr
	}
	o, err := q.replaceTags(tags)
	if err != nil {
		return err
	}
	q.versionHeader(o)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (q *request) deleteTags() error {
	o, err := q.replaceTags(nil)
	if err != nil {
		return err
	}
	q.versionHeader(o)
	return q.noContent()
}

// replaceTags makes tags the only ones of the object.
func (q *request) replaceTags(tags []tag) (*object, error) {
	defer q.s.locks.lock(q.bucketName, q.key)()
	o, err := q.target()
	if err != nil {
		return nil, err
	}
	if err := q.need(o, fs.RightWriteEA); err != nil {
		return nil, err
	}
	old, err := q.objectTags(o.attr.Node)
	if err != nil {
		return nil, err
	}
	f, n := q.s.o.FS, o.attr.Node
	keep := make(map[string]bool, len(tags))
	for _, t := range tags {
		keep[t.Key] = true
		if _, err := f.SetMeta(q.ctx, q.caller, n, fs.MetaGeneric, t.Key, []byte(t.Value), fs.MetaUpsert); err != nil {
			return nil, err
		}
	}
	for _, t := range old {
		if keep[t.Key] {
			continue
		}
		if _, err := f.RemoveMeta(q.ctx, q.caller, n, fs.MetaGeneric, t.Key); err != nil && fs.KindOf(err) != fs.NoAttr {
			return nil, err
		}
	}
	return o, nil
}

func (q *request) getBucketTags() error {
	if len(q.bucket.Tags) == 0 {
		return errNoSuchTagSet
	}
	tags, err := parseTagging(q.bucket.Tags, maxBucketTags)
	if err != nil {
		return err
	}
	q.writeTags(tags)
	return nil
}

func (q *request) putBucketTags() error {
	if err := q.needOwner(); err != nil {
		return err
	}
	b, err := q.body.document(maxConfig)
	if err != nil {
		return err
	}
	if _, err := parseTagging(b, maxBucketTags); err != nil {
		return err
	}
	if err := q.update(func(r *Bucket) error { r.Tags = b; return nil }); err != nil {
		return err
	}
	return q.noContent()
}

func (q *request) deleteBucketTags() error {
	if err := q.needOwner(); err != nil {
		return err
	}
	if err := q.update(func(r *Bucket) error { r.Tags = nil; return nil }); err != nil {
		return err
	}
	return q.noContent()
}
