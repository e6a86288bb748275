package s3

import (
	"errors"
	"net/http"
	"strings"

	"manifold/internal/fs"
)

// writeCondition is what a write demands of the present object.
type writeCondition struct {
	match     string // entity tag, or "*": it must be there
	noneMatch string // "*": it must not be there
}

func readWriteCondition(h http.Header) (writeCondition, *apiError) {
	c := writeCondition{match: trimTag(h.Get("If-Match")), noneMatch: trimTag(h.Get("If-None-Match"))}
	if c.match != "" && c.noneMatch != "" {
		return c, errNotImplemented
	}
	return c, nil
}

func trimTag(v string) string {
	v = strings.TrimSpace(v)
	v = strings.TrimPrefix(v, "W/")
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	return v
}

func (c *writeCondition) empty() bool { return c.match == "" && c.noneMatch == "" }

// check compares with the present object, nil if there is none.
func (c *writeCondition) check(o *object) error {
	switch {
	case c.match != "" && o == nil:
		return errNoSuchKey
	case c.match != "" && c.match != "*" && c.match != o.rec.ETag:
		return errPrecondition.detail("Condition", "If-Match")
	case c.noneMatch == "*" && o != nil, c.noneMatch != "" && o != nil && c.noneMatch == o.rec.ETag:
		return errPrecondition.detail("Condition", "If-None-Match")
	}
	return nil
}

// present answers the object of a key, or nil.
func (q *request) present(key string) (*object, error) {
	o, err := q.find(q.root(), key)
	if errors.Is(err, errNoSuchKey) {
		return nil, nil
	}
	return o, err
}

func (q *request) putObject() error {
	p, aerr := parseKey(q.key)
	if aerr != nil {
		return aerr
	}
	cond, aerr := readWriteCondition(q.r.Header)
	if aerr != nil {
		return aerr
	}
	attrs, aerr := q.readAttributes()
	if aerr != nil {
		return aerr
	}
	if q.body.size > maxPut {
		return errEntityTooLarge
	}
	if !cond.empty() { // known in vain before the body comes
		o, err := q.present(q.key)
		if err == nil {
			err = cond.check(o)
		}
		if err != nil {
			return err
		}
	}
	if p.isDir() {
		return q.putDirectory(p, attrs)
	}
	rec, err := q.putBody(p, attrs, cond)
	if err != nil {
		return err
	}
	q.written(rec)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// putBody makes the body the object of the key.
func (q *request) putBody(p objectPath, attrs *attributes, cond writeCondition) (*record, error) {
	st, err := q.stage("")
	if err != nil {
		return nil, err
	}
	defer q.drop(st)
	q.body.start(!q.set.OpaqueETags)
	if err := q.receive(st, maxPut); err != nil {
		return nil, q.gone(err)
	}
	rec := &record{ETag: q.etag(), Headers: attrs.headers, Sums: q.sums()}
	if rec.Sums != nil {
		rec.SumType = checksumFull
	}
	if err := q.publish(st, p, rec, attrs, cond); err != nil {
		return nil, err
	}
	return rec, nil
}

// written puts what a client wants to know of a new object on the answer.
func (q *request) written(rec *record) {
	h := q.w.Header()
	setHeader(h, "ETag", `"`+rec.ETag+`"`)
	sumHeaders(h, rec)
	newVersionHeader(h, rec)
}

// newVersionHeader tells the version that a write made; the null version of a
// suspended bucket goes without saying.
func newVersionHeader(h http.Header, rec *record) {
	if rec.Version != "" && rec.Version != nullVersion {
		setHeader(h, "x-amz-version-id", rec.Version)
	}
}

func sumHeaders(h http.Header, rec *record) {
	for _, a := range algorithms {
		if v, ok := rec.Sums[a.name]; ok {
			setHeader(h, a.header, v)
			setHeader(h, "x-amz-checksum-type", rec.SumType)
		}
	}
}

// putDirectory makes the directory that a key ending in a slash stands for.
func (q *request) putDirectory(p objectPath, attrs *attributes) error {
	q.body.start(!q.set.OpaqueETags)
	rec := &record{Headers: attrs.headers}
	fill := func(st *staged) error {
		err := q.receive(st, maxPut)
		if err == nil {
			err = q.settle(st)
		}
		if err == nil {
			rec.ETag, rec.Sums, rec.SumType = q.etag(), q.sums(), checksumFull
		}
		return err
	}
	if err := q.storeDirectory(p, attrs, rec, q.body.size != 0, fill); err != nil {
		return err
	}
	q.written(rec)
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// storeDirectory makes a directory object. Data, which are rare, lie in a
// named stream that the record names: putting the record is the moment at
// which they appear.
func (q *request) storeDirectory(p objectPath, attrs *attributes, rec *record, data bool, fill func(*staged) error) error {
	f := q.s.o.FS
	st := &staged{}
	if !data {
		if err := fill(st); err != nil { // nothing comes, but what was promised is checked
			return err
		}
	}
	dir, err := q.makeDirs(q.root(), p.dirs)
	if err != nil {
		return q.gone(err)
	}
	st.node = dir
	if err := q.need(&object{attr: fs.Attr{Node: dir}}, fs.RightModify|fs.RightWriteEA); err != nil {
		return err
	}
	if data {
		si, err := f.CreateStream(q.ctx, q.caller, dir, streamPrefix+strings.ToLower(newID()), true)
		if err != nil {
			return q.gone(err)
		}
		st.stream = si.ID
		if err := fill(st); err != nil {
			_ = f.RemoveStream(detach(q.ctx), q.system(), dir, si.ID)
			return q.gone(err)
		}
		rec.Stream, rec.Data = si.ID, st.size
	}
	defer q.s.locks.lock(q.bucketName, q.key)()
	old, err := q.readRecord(&fs.Attr{Node: dir, Type: fs.Directory})
	if err != nil {
		return q.gone(err)
	}
	if _, err := f.RemoveMeta(q.ctx, q.system(), dir, fs.MetaS3, impliedKey); err != nil && fs.KindOf(err) != fs.NoAttr {
		return q.gone(err)
	}
	if err := q.writeAttributes(dir, attrs); err != nil {
		return q.gone(err)
	}
	if err := q.seal(st, rec); err != nil {
		return q.gone(err)
	}
	if old.Stream != 0 {
		_ = f.RemoveStream(detach(q.ctx), q.system(), dir, old.Stream) // costs space at worst
	}
	return nil
}

// streamPrefix starts the names of streams with the data of directory objects.
const streamPrefix = "s3-object-"

// publishTries bounds how often a directory may vanish under a publication.
const publishTries = 8

// publish gives a staged file its name, under the key's lock: conditions, then
// one transaction.
func (q *request) publish(st *staged, p objectPath, rec *record, attrs *attributes, cond writeCondition) error {
	spec := &fs.PublishSpec{NoReplace: cond.noneMatch == "*"}
	if err := q.describe(st, attrs, spec); err != nil {
		return q.gone(err)
	}
	defer q.s.locks.lock(q.bucketName, q.key)()
	if !cond.empty() {
		o, err := q.present(q.key)
		if err != nil {
			return err
		}
		if err := cond.check(o); err != nil {
			return err
		}
	}
	// A bucket that was deleted meanwhile stays deleted.
	if _, err := q.s.o.Buckets.Bucket(q.ctx, q.bucketName); errors.Is(err, ErrNoBucket) {
		return errNoSuchBucket.detail("BucketName", q.bucketName)
	}
	err := q.take(st, p, rec, cond, spec)
	if fs.KindOf(err) == fs.Exist && cond.noneMatch == "*" {
		return errPrecondition.detail("Condition", "If-None-Match")
	}
	return q.gone(err)
}

// take is the moment at which the object appears. What other protocols change
// in between makes it try anew.
func (q *request) take(st *staged, p objectPath, rec *record, cond writeCondition, spec *fs.PublishSpec) (err error) {
	caller := q.locking(spec)
	for range publishTries {
		err = q.tryTake(caller, st, p, rec, cond, spec)
		switch k := fs.KindOf(err); {
		case err == nil:
			st.done = true
			return nil
		case !overtaken(err) || k == fs.Exist && cond.noneMatch == "*":
			return err
		}
		if _, gerr := q.s.o.FS.GetAttr(q.ctx, q.system(), st.node, 0); gerr != nil {
			return err // the staged file itself is gone
		}
	}
	return err
}

func (q *request) tryTake(caller *fs.Caller, st *staged, p objectPath, rec *record, cond writeCondition, spec *fs.PublishSpec) error {
	dir, err := q.makeDirs(q.root(), p.dirs)
	if err != nil {
		return err
	}
	if q.bucket.Versioning != "" {
		if err := q.placeVersion(dir, p.name, rec, cond, spec); err != nil {
			return err
		}
	}
	if spec.Meta[0].Value, err = q.sealed(st, rec); err != nil {
		return err
	}
	_, err = q.s.o.FS.Publish(q.ctx, caller, st.node, dir, p.name, spec)
	return err
}

// describe says what a staged file is going to be, but for its record, the
// first of its metadata.
func (q *request) describe(st *staged, attrs *attributes, spec *fs.PublishSpec) error {
	mode := modeFile
	spec.Set.Mode = &mode
	spec.Meta = []fs.MetaItem{{Space: fs.MetaS3, Key: recordKey}}
	if err := q.describeLock(attrs.lock, spec); err != nil {
		return err
	}
	if len(spec.Meta)+len(attrs.meta)+len(attrs.tags) > fs.MaxPublishMetaItems {
		return q.writeAttributes(st.node, attrs)
	}
	for k, v := range attrs.meta {
		spec.Meta = append(spec.Meta, fs.MetaItem{Space: fs.MetaS3, Key: k, Value: []byte(v)})
	}
	for _, t := range attrs.tags {
		spec.Meta = append(spec.Meta, fs.MetaItem{Space: fs.MetaGeneric, Key: t.Key, Value: []byte(t.Value)})
	}
	return nil
}
