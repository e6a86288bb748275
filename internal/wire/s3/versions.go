package s3

import (
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"

	"manifold/internal/fs"
)

// Versions of a key are files <dir>/.s3-versioning~/<name>/<version id>; the
// plain name is a hard link to the newest, or absent under a delete marker. A
// version id starts with the complement of its time, so that names sort from
// the newest to the oldest; "null" stands for what was written without
// versioning and sorts by its file's time.

const nullVersion = "null"

func (q *request) newVersion() string {
	if q.bucket.Versioning == VersioningSuspended {
		return nullVersion
	}
	return fmt.Sprintf("%016x%s", uint64(math.MaxInt64-q.s.o.Now().UnixNano()), strings.ToLower(newID()[:8]))
}

func validVersion(id string) bool {
	if id == nullVersion {
		return true
	}
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 12
}

func (q *request) versionHeader(o *object) {
	if o.rec.Version != "" {
		setHeader(q.w.Header(), "x-amz-version-id", o.rec.Version)
	} else if q.query.get("versionId") == nullVersion && q.bucket.Versioning != "" {
		setHeader(q.w.Header(), "x-amz-version-id", nullVersion)
	}
}

// target is the object or version that the request is about.
func (q *request) target() (*object, error) {
	version, told := q.query.find("versionId")
	if told && version == "" {
		return nil, errInvalidArgument.with("Version id cannot be the empty string")
	}
	o, err := q.locate(q.bucket, q.key, version)
	if err != nil {
		return nil, err
	}
	if o.rec.Marker {
		h := q.w.Header()
		setHeader(h, "x-amz-delete-marker", "true")
		setHeader(h, "x-amz-version-id", o.rec.Version)
		if version == "" {
			return nil, errNoSuchKey.detail("Key", q.key)
		}
		return nil, errMethodNotAllowed.withHeader("Allow", "DELETE")
	}
	return o, nil
}

// locate finds a version of a key, the present one if version is "". The
// answer may be a delete marker.
func (q *request) locate(b *Bucket, key, version string) (*object, error) {
	root := fs.Node{ID: b.Root}
	if version != "" && !validVersion(version) {
		return nil, errInvalidArgument.with("Invalid version id specified").detail("ArgumentName", "versionId")
	}
	p, aerr := parseKey(key)
	if aerr != nil || p.isDir() || b.Versioning == "" && (version == "" || version == nullVersion) {
		return q.find(root, key)
	}
	if version == "" {
		o, err := q.find(root, key)
		switch {
		case errors.Is(err, errNoSuchKey):
			if m, merr := q.newest(root, p); merr == nil && m != nil && m.rec.Marker {
				return m, nil
			}
			return nil, err
		case err != nil || !b.Lock || o.rec.Version == "":
			return o, err
		}
		version = o.rec.Version // the locked file itself, not its clone
	}
	dir, err := q.walk(root, p.dirs)
	if err == nil {
		var vdir fs.Node
		if vdir, err = q.versionDir(dir, p.name); err == nil {
			var o *object
			if o, err = q.versionAt(vdir, version); err == nil {
				return o, nil
			}
		}
	}
	if k := fs.KindOf(err); k != fs.NotExist && k != fs.Stale && k != fs.NotDir && !errors.Is(err, errNoSuchKey) {
		return nil, err
	}
	if version == nullVersion {
		if o, err := q.find(root, key); err == nil && o.rec.Version == "" {
			return o, nil
		}
	}
	return nil, errNoSuchVersion.detail("Key", key).detail("VersionId", version)
}

// versionDir finds the directory of a name's versions.
func (q *request) versionDir(dir fs.Node, name string) (fs.Node, error) {
	a, err := q.s.o.FS.Lookup(q.ctx, q.system(), dir, versionsName, fs.AttrType)
	if err == nil {
		a, err = q.s.o.FS.Lookup(q.ctx, q.system(), a.Node, name, fs.AttrType)
	}
	return a.Node, err
}

// makeVersionDir finds or makes it.
func (q *request) makeVersionDir(dir fs.Node, name string) (fs.Node, error) {
	n := dir
	for _, c := range []string{versionsName, name} {
		mode := fs.Mode(0o755)
		r, err := q.s.o.FS.Create(q.ctx, q.system(), n, c, &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}})
		if fs.KindOf(err) == fs.Exist {
			var a fs.Attr
			a, err = q.s.o.FS.Lookup(q.ctx, q.system(), n, c, fs.AttrType)
			r.Attr = a
		}
		if err != nil {
			return fs.Node{}, err
		}
		n = r.Attr.Node
	}
	return n, nil
}

func (q *request) versionAt(vdir fs.Node, version string) (*object, error) {
	a, err := q.s.o.FS.Lookup(q.ctx, q.system(), vdir, version, attrObject)
	if err != nil {
		return nil, err
	}
	o := &object{dir: vdir, name: version, attr: a}
	if o.rec, err = q.readRecord(&a); err != nil {
		return nil, err
	}
	o.rec.Version = version
	return o, nil
}

// newest finds the newest version of a name, nil if it has none.
func (q *request) newest(root fs.Node, p objectPath) (*object, error) {
	dir, err := q.walk(root, p.dirs)
	if err != nil {
		return nil, err
	}
	vdir, err := q.versionDir(dir, p.name)
	if err != nil {
		return nil, err
	}
	var first *object
	err = q.eachVersion(vdir, "", func(o *object) bool { first = o; return false })
	return first, err
}

// versionTime is the complement that an id starts with, for "null" made from
// the time of its file.
func versionTime(o *object) string {
	if o.name != nullVersion {
		return o.name
	}
	return fmt.Sprintf("%016x", uint64(math.MaxInt64-o.attr.Mtime.Time().UnixNano()))
}

// eachVersion yields versions from the newest on, those behind the version
// after. Memory does not grow with their number.
func (q *request) eachVersion(vdir fs.Node, after string, yield func(*object) bool) error {
	null, err := q.versionAt(vdir, nullVersion)
	if k := fs.KindOf(err); err != nil && k != fs.NotExist {
		if k == fs.Stale {
			return nil
		}
		return err
	}
	if after == nullVersion {
		if null == nil {
			return nil
		}
		after, null = versionTime(null), nil
	} else if null != nil && after != "" && versionTime(null) <= after {
		null = nil // was before the marker
	}
	var inner error
	stopped := false
	_, err = q.s.o.FS.ReadDirByName(q.ctx, q.system(), vdir, after, attrObject, func(e *fs.Dirent) bool {
		if e.Name == nullVersion || e.Attr.Mask == 0 {
			return true
		}
		if null != nil && versionTime(null) <= e.Name {
			n := null
			null = nil
			if !yield(n) {
				stopped = true
				return false
			}
		}
		o := &object{dir: vdir, name: e.Name, attr: e.Attr}
		if o.rec, inner = q.readRecord(&e.Attr); inner != nil {
			if k := fs.KindOf(inner); k == fs.Stale || k == fs.NotExist {
				inner = nil
				return true
			}
			return false
		}
		o.rec.Version = e.Name
		stopped = !yield(o)
		return !stopped
	})
	if inner != nil {
		err = inner
	}
	if err == nil && null != nil && !stopped {
		yield(null)
	}
	if fs.KindOf(err) == fs.Stale {
		return nil
	}
	return err
}

// keepNull gives what was written before versioning its place among the versions.
func (q *request) keepNull(dir fs.Node, name string, vdir fs.Node) error {
	a, err := q.s.o.FS.Lookup(q.ctx, q.system(), dir, name, attrObject)
	if fs.KindOf(err) == fs.NotExist {
		return nil
	}
	if err != nil {
		return err
	}
	if a.Type != fs.File {
		return nil
	}
	rec, err := q.readRecord(&a)
	if err != nil || rec.Version != "" {
		return err
	}
	_, err = q.s.o.FS.Link(q.ctx, q.system(), a.Node, vdir, nullVersion)
	if fs.KindOf(err) == fs.Exist {
		return nil
	}
	return err
}

// dropNull removes the null version, which the next one replaces.
func (q *request) dropNull(vdir fs.Node) error {
	_, err := q.s.o.FS.Remove(q.ctx, q.system(), vdir, nullVersion, fs.RemoveFile)
	if fs.KindOf(err) == fs.NotExist {
		return nil
	}
	return err
}

// takeVersion is take in a bucket with versions: first the version is there,
// then the plain name shows it.
func (q *request) takeVersion(st *staged, dir fs.Node, name string, rec *record) error {
	if err := q.need(&object{attr: fs.Attr{Node: dir}}, fs.RightAddFile|fs.RightTraverse); err != nil {
		return err
	}
	vdir, err := q.makeVersionDir(dir, name)
	if err != nil {
		return err
	}
	if err := q.keepNull(dir, name, vdir); err != nil {
		return err
	}
	if rec.Version == nullVersion {
		if err := q.dropNull(vdir); err != nil {
			return err
		}
	}
	f := q.s.o.FS
	if _, err := f.Link(q.ctx, q.system(), st.node, vdir, rec.Version); err != nil {
		return err
	}
	show := st
	if q.bucket.Lock {
		// A locked file keeps all its names, so the plain one is a clone.
		if show, err = q.clone(st.node, rec); err != nil {
			return err
		}
		defer q.drop(show)
	}
	if _, err := f.Rename(q.ctx, q.caller, show.dir, show.name, dir, name, fs.RenameOptions{}); err != nil {
		_, _ = f.Remove(detach(q.ctx), q.system(), vdir, rec.Version, fs.RemoveFile)
		return err
	}
	show.done = true
	if show != st {
		q.drop(st) // the staging name; the version stays
	}
	return nil
}

// clone stages a copy by reference, with all metadata.
func (q *request) clone(n fs.Node, rec *record) (*staged, error) {
	dir, err := q.staging()
	if err != nil {
		return nil, err
	}
	a, err := q.s.o.FS.GetAttr(q.ctx, q.system(), n, attrObject)
	if err != nil {
		return nil, err
	}
	meta, err := q.userMetadata(n)
	if err != nil {
		return nil, err
	}
	tags, err := q.objectTags(n)
	if err != nil {
		return nil, err
	}
	st, err := q.stage(dir, "put-")
	if err != nil {
		return nil, err
	}
	err = q.copyRange(&object{attr: a}, byteRange{0, a.Size}, st)
	if err == nil {
		err = q.writeAttributes(st.node, &attributes{meta: meta, tags: tags})
	}
	if err == nil {
		r := *rec
		err = q.seal(st, &r)
	}
	if err != nil {
		q.drop(st)
		return nil, err
	}
	return st, nil
}

// removeVersioned deletes in a bucket with versions.
func (q *request) removeVersioned(key string, p objectPath, version string) (deletion, error) {
	if version != "" {
		return q.removeVersion(key, p, version)
	}
	d := deletion{version: q.newVersion(), marker: true}
	dir, err := q.makeDirs(q.root(), p.dirs)
	if err != nil {
		return d, q.gone(err)
	}
	f := q.s.o.FS
	if err := q.need(&object{attr: fs.Attr{Node: dir}}, fs.RightAddFile|fs.RightTraverse); err != nil {
		return d, err
	}
	vdir, err := q.makeVersionDir(dir, p.name)
	if err != nil {
		return d, err
	}
	if err := q.keepNull(dir, p.name, vdir); err != nil {
		return d, err
	}
	if d.version == nullVersion {
		if err := q.dropNull(vdir); err != nil {
			return d, err
		}
	}
	sdir, err := q.staging()
	if err != nil {
		return d, err
	}
	st, err := q.stage(sdir, "put-")
	if err != nil {
		return d, err
	}
	defer q.drop(st)
	if err := q.seal(st, &record{Version: d.version, Marker: true}); err != nil {
		return d, err
	}
	if _, err := f.Rename(q.ctx, q.system(), st.dir, st.name, vdir, d.version, fs.RenameOptions{}); err != nil {
		return d, err
	}
	st.done = true
	if _, err := f.Remove(q.ctx, q.caller, dir, p.name, fs.RemoveFile); err != nil {
		if k := fs.KindOf(err); k != fs.NotExist && k != fs.IsDir && k != fs.NotFile {
			_, _ = f.Remove(detach(q.ctx), q.system(), vdir, d.version, fs.RemoveFile)
			return d, err
		}
	}
	return d, nil
}

func (q *request) removeVersion(key string, p objectPath, version string) (deletion, error) {
	o, err := q.locate(q.bucket, key, version)
	switch {
	case errors.Is(err, errNoSuchVersion), errors.Is(err, errNoSuchKey):
		return deletion{version: version}, nil
	case err != nil:
		return deletion{}, err
	}
	d := deletion{version: version, marker: o.rec.Marker}
	dir, err := q.walk(q.root(), p.dirs)
	if err != nil {
		return d, err
	}
	if err := q.need(&object{attr: fs.Attr{Node: dir}}, fs.RightAddFile|fs.RightTraverse); err != nil {
		return d, err
	}
	f := q.s.o.FS
	if err := q.unlock(o); err != nil {
		return d, err
	}
	if _, err := f.Remove(q.ctx, q.system(), o.dir, o.name, fs.RemoveFile); err != nil && fs.KindOf(err) != fs.NotExist {
		return d, err
	}
	vdir, verr := q.versionDir(dir, p.name)
	if plain, err := f.Lookup(q.ctx, q.system(), dir, p.name, attrObject); err == nil && plain.Type == fs.File {
		rec, err := q.readRecord(&plain)
		if err != nil {
			return d, err
		}
		if plain.Node == o.attr.Node || rec.Version == version {
			if _, err := f.Remove(q.ctx, q.system(), dir, p.name, fs.RemoveFile); err != nil && fs.KindOf(err) != fs.NotExist {
				return d, err
			}
		}
	}
	if verr == nil {
		if err := q.showNewest(dir, p.name, vdir); err != nil {
			return d, err
		}
		q.pruneVersions(dir, p.name, vdir)
	}
	q.prune(q.root(), p.dirs)
	return d, nil
}

// showNewest makes the plain name what the newest version says, if it is absent.
func (q *request) showNewest(dir fs.Node, name string, vdir fs.Node) error {
	f := q.s.o.FS
	if _, err := f.Lookup(q.ctx, q.system(), dir, name, fs.AttrType); err == nil {
		return nil
	}
	var first *object
	if err := q.eachVersion(vdir, "", func(o *object) bool { first = o; return false }); err != nil {
		return err
	}
	if first == nil || first.rec.Marker {
		return nil
	}
	if q.bucket.Lock {
		st, err := q.clone(first.attr.Node, first.rec)
		if err != nil {
			return err
		}
		defer q.drop(st)
		if _, err = f.Rename(q.ctx, q.system(), st.dir, st.name, dir, name, fs.RenameOptions{}); err == nil {
			st.done = true
		}
		return err
	}
	_, err := f.Link(q.ctx, q.system(), first.attr.Node, dir, name)
	if fs.KindOf(err) == fs.Exist {
		return nil
	}
	return err
}

// pruneVersions removes directories of versions that became empty.
func (q *request) pruneVersions(dir fs.Node, name string, vdir fs.Node) {
	f := q.s.o.FS
	a, err := f.GetAttr(q.ctx, q.system(), vdir, fs.AttrChildren)
	if err != nil || a.Children != 0 {
		return
	}
	up, err := f.Lookup(q.ctx, q.system(), dir, versionsName, fs.AttrType)
	if err != nil {
		return
	}
	if _, err := f.Remove(q.ctx, q.system(), up.Node, name, fs.RemoveDir); err != nil {
		return
	}
	// Refused while other names have versions.
	_, _ = f.Remove(q.ctx, q.system(), dir, versionsName, fs.RemoveDir)
}

// holdsKeys tells whether any file that is not a mere version lies below n.
func (q *request) holdsKeys(n fs.Node) (bool, error) {
	found := false
	w := &walker{q: q,
		file:  func(string, *fs.Dirent, fs.Node) bool { found = true; return false },
		enter: func(string, *fs.Dirent) (bool, bool) { return true, true },
	}
	var serr error
	w.self = func(_ string, n fs.Node, a *fs.Attr) bool {
		found, serr = q.isDirObject(n, a)
		return !found && serr == nil
	}
	a, err := q.s.o.FS.GetAttr(q.ctx, q.system(), n, attrObject)
	if err != nil {
		return false, nil // gone meanwhile
	}
	err = w.dir(n, "", "", true, "", &a)
	return found, errors.Join(err, serr)
}

type versionXML struct {
	XMLName           xml.Name
	Key               string
	VersionID         string `xml:"VersionId"`
	IsLatest          bool
	LastModified      string
	ETag              string    `xml:",omitempty"`
	ChecksumAlgorithm []string  `xml:",omitempty"`
	ChecksumType      string    `xml:",omitempty"`
	Size              *uint64   `xml:",omitempty"`
	StorageClass      string    `xml:",omitempty"`
	Owner             *ownerXML `xml:",omitempty"`
}

type listVersionsXML struct {
	XMLName             xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListVersionsResult"`
	Name                string
	Prefix              string
	KeyMarker           string
	VersionIDMarker     string `xml:"VersionIdMarker"`
	NextKeyMarker       string `xml:",omitempty"`
	NextVersionIDMarker string `xml:"NextVersionIdMarker,omitempty"`
	MaxKeys             int
	Delimiter           string `xml:",omitempty"`
	IsTruncated         bool
	EncodingType        string `xml:",omitempty"`
	Entries             []versionXML
	CommonPrefixes      []prefixXML `xml:",omitempty"`
}

func (q *request) listVersions() error {
	encode, encoding, aerr := q.encoder()
	if aerr != nil {
		return aerr
	}
	most, aerr := q.maxKeys("max-keys")
	if aerr != nil {
		return aerr
	}
	keyMarker, versionMarker := q.query.get("key-marker"), q.query.get("version-id-marker")
	if versionMarker != "" && (keyMarker == "" || !validVersion(versionMarker)) {
		return errInvalidArgument.with("A version-id marker cannot be specified without a key marker.")
	}
	l := &listing{q: q, prefix: q.query.get("prefix"), delimiter: q.query.get("delimiter"), after: keyMarker, most: most, encode: encode, versions: true}
	var entries []versionXML
	lastVersion := ""
	one := func(key string, o *object, latest bool) bool {
		if !l.room() {
			l.full = true
			return false
		}
		x := versionXML{XMLName: xml.Name{Local: "Version"}, Key: encode(key), VersionID: o.rec.Version, IsLatest: latest,
			LastModified: isoTime(o.attr.Mtime.Time()), Owner: q.owner(o.attr.Owner)}
		if x.VersionID == "" {
			x.VersionID = nullVersion
		}
		if o.rec.Marker {
			x.XMLName.Local = "DeleteMarker"
		} else {
			size := o.size()
			x.ETag, x.Size, x.StorageClass = `"`+o.rec.ETag+`"`, &size, "STANDARD"
			for _, alg := range algorithms {
				if _, ok := o.rec.Sums[alg.name]; ok {
					x.ChecksumAlgorithm, x.ChecksumType = append(x.ChecksumAlgorithm, alg.name), o.rec.SumType
				}
			}
		}
		entries = append(entries, x)
		l.count++
		l.last, lastVersion = key, x.VersionID
		return true
	}
	addVersions := func(key string, vdir fs.Node, after string) (bool, error) {
		any := false
		latest := after == ""
		err := q.eachVersion(vdir, after, func(o *object) bool {
			any = true
			l1 := latest
			latest = false
			return one(key, o, l1)
		})
		return any, err
	}
	l.add = func(key string, e *fs.Dirent, vdir fs.Node) error {
		// What was never versioned is the null version, beside later ones or not.
		var plain *object
		if e != nil && e.Attr.Mask != 0 && (e.Type == fs.File || e.Type == fs.Directory && strings.HasSuffix(key, "/")) {
			rec, err := q.readRecord(&e.Attr)
			if err != nil {
				return err
			}
			plain = &object{attr: e.Attr, rec: rec}
		}
		if vdir != (fs.Node{}) {
			name := key[strings.LastIndexByte(key, '/')+1:]
			a, err := q.s.o.FS.Lookup(q.ctx, q.system(), vdir, name, fs.AttrType)
			if err != nil {
				return nil // went away meanwhile
			}
			if plain != nil && plain.rec.Version == "" {
				if !one(key, plain, true) {
					return nil
				}
			}
			_, err = addVersions(key, a.Node, "")
			return err
		}
		if plain != nil {
			one(key, plain, true)
		}
		return nil
	}
	if versionMarker != "" && most > 0 && strings.HasPrefix(keyMarker, l.prefix) {
		if p, err := parseKey(keyMarker); err == nil && !p.isDir() {
			if dir, err := q.walk(q.root(), p.dirs); err == nil {
				if vdir, err := q.versionDir(dir, p.name); err == nil {
					if _, err := addVersions(keyMarker, vdir, versionMarker); err != nil {
						return err
					}
				}
			}
		}
	}
	if !l.full {
		if err := l.run(); err != nil {
			return err
		}
	}
	out := listVersionsXML{Name: q.bucketName, Prefix: encode(l.prefix), KeyMarker: encode(keyMarker), VersionIDMarker: versionMarker,
		MaxKeys: most, Delimiter: encode(l.delimiter), IsTruncated: l.truncated, EncodingType: encoding, Entries: entries, CommonPrefixes: l.common}
	if l.truncated {
		out.NextKeyMarker = encode(l.last)
		if l.count > 0 && len(l.common) > 0 && out.NextKeyMarker == l.common[len(l.common)-1].Prefix {
			lastVersion = ""
		}
		out.NextVersionIDMarker = lastVersion
	}
	q.writeXML(http.StatusOK, &out)
	return nil
}
