package s3

import (
	"encoding/xml"
	"errors"
	"net/http"

	"manifold/internal/fs"
)

// deletion is what one delete did.
type deletion struct {
	version string // deleted, or of the marker that was made
	marker  bool
}

func (q *request) deleteObject() error {
	d, err := q.remove(q.key, q.query.get("versionId"), trimTag(q.r.Header.Get("If-Match")))
	if err != nil {
		return err
	}
	h := q.w.Header()
	if d.version != "" {
		setHeader(h, "x-amz-version-id", d.version)
	}
	if d.marker {
		setHeader(h, "x-amz-delete-marker", "true")
	}
	return q.noContent()
}

// remove deletes a key or one of its versions. What is not there is deleted
// already.
func (q *request) remove(key, version, match string) (deletion, error) {
	p, aerr := parseKey(key)
	if aerr != nil {
		if errors.Is(aerr, errInvalidKey) {
			return deletion{}, nil // no such key can be
		}
		return deletion{}, aerr
	}
	defer q.s.locks.lock(q.bucketName, key)()
	if match != "" {
		o, err := q.locate(q.bucket, key, version)
		switch {
		case errors.Is(err, errNoSuchKey), errors.Is(err, errNoSuchVersion):
			return deletion{}, errNoSuchKey.detail("Key", key)
		case err != nil:
			return deletion{}, err
		case match != "*" && match != o.rec.ETag:
			return deletion{}, errPrecondition.detail("Condition", "If-Match")
		}
	}
	if (q.bucket.Versioning != "" || version != "") && !p.isDir() {
		return q.removeVersioned(key, p, version)
	}
	dirs, name, mode := p.dirs, p.name, fs.RemoveFile
	if p.isDir() {
		dirs, name, mode = p.dirs[:len(p.dirs)-1], p.dirs[len(p.dirs)-1], fs.RemoveDir
	}
	dir, err := q.walk(q.root(), dirs)
	if err == nil {
		_, err = q.s.o.FS.Remove(q.ctx, q.caller, dir, name, mode)
	}
	switch k := fs.KindOf(err); {
	case err == nil:
		q.prune(q.root(), dirs)
	case k == fs.NotExist || k == fs.Stale || errors.Is(err, errNoSuchKey):
	case mode == fs.RemoveFile && (k == fs.IsDir || k == fs.NotFile):
		// The key without slash is not there; the directory is another key.
	case mode == fs.RemoveDir && k == fs.NotEmpty:
		// The object "dir/" goes, the directory stays for what is in it.
		return deletion{}, q.forgetDirectory(dir, name)
	case mode == fs.RemoveDir && k == fs.NotDir:
	default:
		return deletion{}, err
	}
	return deletion{}, nil
}

// forgetDirectory makes a directory object an implied one.
func (q *request) forgetDirectory(dir fs.Node, name string) error {
	f := q.s.o.FS
	a, err := f.Lookup(q.ctx, q.caller, dir, name, fs.AttrType)
	if err != nil {
		return nil // gone meanwhile
	}
	if err := q.need(&object{attr: a}, fs.RightWriteEA); err != nil {
		return err
	}
	if _, err := f.GetMeta(q.ctx, q.system(), a.Node, fs.MetaS3, recordKey); err != nil {
		return nil // never was an object
	}
	rec, err := q.readRecord(&a)
	if err != nil {
		return err
	}
	if _, err := f.SetMeta(q.ctx, q.system(), a.Node, fs.MetaS3, impliedKey, []byte{'1'}, fs.MetaUpsert); err != nil {
		return err
	}
	_, err = f.RemoveMeta(q.ctx, q.system(), a.Node, fs.MetaS3, recordKey)
	if err == nil && rec.Stream != 0 {
		err = f.RemoveStream(q.ctx, q.system(), a.Node, rec.Stream)
	}
	if fs.KindOf(err) == fs.NoAttr {
		return nil
	}
	return err
}

type deleteEntry struct {
	Key       string
	VersionID string `xml:"VersionId"`
	ETag      string
	// conditions of directory buckets, which these are not
	LastModifiedTime string
	Size             *int64
}

type deletedXML struct {
	Key                   string
	VersionID             string `xml:"VersionId,omitempty"`
	DeleteMarker          bool   `xml:",omitempty"`
	DeleteMarkerVersionID string `xml:"DeleteMarkerVersionId,omitempty"`
}

type deleteErrorXML struct {
	Key       string
	VersionID string `xml:"VersionId,omitempty"`
	Code      string
	Message   string
}

func parseDelete(b []byte) ([]deleteEntry, bool, *apiError) {
	var doc struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Object  []deleteEntry
	}
	if err := decodeXML(b, &doc); err != nil {
		return nil, false, err
	}
	if len(doc.Object) == 0 || len(doc.Object) > maxList {
		return nil, false, errMalformedXML
	}
	return doc.Object, doc.Quiet, nil
}

func (q *request) deleteObjects() error {
	h := q.r.Header
	if q.body.md5 == nil && q.body.claim == nil && h.Get("X-Amz-Content-Sha256") == unsigned {
		return errInvalidRequest.with("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
	}
	b, aerr := q.body.document(maxDocument)
	if aerr != nil {
		return aerr
	}
	objects, quiet, aerr := parseDelete(b)
	if aerr != nil {
		return aerr
	}
	var out struct {
		XMLName xml.Name         `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
		Deleted []deletedXML     `xml:",omitempty"`
		Error   []deleteErrorXML `xml:",omitempty"`
	}
	for i := range objects {
		e := &objects[i]
		action := "DeleteObject"
		if e.VersionID != "" {
			action = "DeleteObjectVersion"
		}
		err := q.allow(q.bucket, action, e.Key)
		q.denied = q.denied || err != nil
		var d deletion
		switch {
		case err != nil:
		case e.Key == "":
			err = errInvalidArgument
		case e.LastModifiedTime != "" || e.Size != nil:
			err = errNotImplemented
		default:
			d, err = q.remove(e.Key, e.VersionID, trimTag(e.ETag))
		}
		if cerr := q.ctx.Err(); cerr != nil {
			return cerr
		}
		if err != nil {
			a := fromFS(err)
			out.Error = append(out.Error, deleteErrorXML{e.Key, e.VersionID, a.Code, a.Message})
			continue
		}
		if quiet {
			continue
		}
		x := deletedXML{Key: e.Key, VersionID: e.VersionID, DeleteMarker: d.marker}
		if d.marker {
			x.DeleteMarkerVersionID = d.version
		}
		out.Deleted = append(out.Deleted, x)
	}
	q.writeXML(http.StatusOK, &out)
	return nil
}
