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

// newVersion makes the id of a version that is newer than all in vdir, even
// after the clock was set back. The caller holds the key's lock.
func (q *request) newVersion(vdir fs.Node) (string, error) {
	if q.bucket.Versioning == VersioningSuspended {
		return nullVersion, nil
	}
	at := uint64(math.MaxInt64 - q.s.o.Now().UnixNano())
	_, err := q.s.o.FS.ReadDirByName(q.ctx, q.system(), vdir, "", 0, func(e *fs.Dirent) bool {
		if newest, ok := parseHex(e.Name[:min(16, len(e.Name))]); ok && newest > 0 && newest <= at {
			at = newest - 1
		}
		return false
	})
	return fmt.Sprintf("%016x%s", at, strings.ToLower(newID()[:8])), err
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
		}
		return o, err
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

// makeVersionDir finds or makes it. Users list it, the server keeps it.
func (q *request) makeVersionDir(dir fs.Node, name string) (fs.Node, error) {
	n := dir
	mode := fs.Mode(0o755)
	for _, c := range []string{versionsName, name} {
		a, err := q.s.o.FS.Lookup(q.ctx, q.system(), n, c, fs.AttrType)
		if fs.KindOf(err) == fs.NotExist {
			var r fs.CreateResult
			r, err = q.s.o.FS.Create(q.ctx, q.system(), n, c, &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}})
			if a = r.Attr; fs.KindOf(err) == fs.Exist { // another request was first
				a, err = q.s.o.FS.Lookup(q.ctx, q.system(), n, c, fs.AttrType)
			}
		}
		if err != nil {
			return fs.Node{}, err
		}
		n = a.Node
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

// displace answers what makes room for a new version or marker of a name: what
// the plain name stands for keeps its own name as a version, or gets that of
// the null version, which a new null version replaces.
func (q *request) displace(dir fs.Node, name string, vdir fs.Node, version string) (moves []fs.Move, plain fs.Type, err error) {
	null, err := q.s.o.FS.Lookup(q.ctx, q.system(), vdir, nullVersion, fs.AttrType)
	if err != nil && fs.KindOf(err) != fs.NotExist {
		return nil, 0, err
	}
	nullEntry := fs.Entry{Dir: vdir, Name: nullVersion}
	if err == nil && version == nullVersion {
		moves = append(moves, fs.Move{From: nullEntry, Is: null.Node.ID})
	}
	a, lerr := q.s.o.FS.Lookup(q.ctx, q.system(), dir, name, attrObject)
	switch {
	case fs.KindOf(lerr) == fs.NotExist:
		return moves, 0, nil
	case lerr != nil:
		return nil, 0, lerr
	case a.Type == fs.Directory:
		return moves, a.Type, nil
	}
	m := fs.Move{From: fs.Entry{Dir: dir, Name: name}, Is: a.Node.ID}
	if a.Type == fs.File && version != nullVersion && err != nil {
		rec, err := q.readRecord(&a)
		if err != nil {
			return nil, 0, err
		}
		if rec.Version == "" {
			m.To = nullEntry
		}
	}
	return append(moves, m), a.Type, nil
}

// placeVersion makes a publication that of a new version: the plain name and
// that of the version appear, and what was there makes room, at once.
func (q *request) placeVersion(dir fs.Node, name string, rec *record, cond writeCondition, spec *fs.PublishSpec) error {
	vdir, err := q.makeVersionDir(dir, name)
	if err != nil {
		return err
	}
	if rec.Version, err = q.newVersion(vdir); err != nil {
		return err
	}
	moves, plain, err := q.displace(dir, name, vdir, rec.Version)
	if err != nil {
		return err
	}
	switch {
	case plain == fs.Directory:
		return errDirectoryIsThere
	case plain != 0 && cond.noneMatch == "*":
		return fs.E("publish", dir, name, fs.Exist, nil)
	}
	spec.Moves, spec.Links = moves, []fs.Entry{{Dir: vdir, Name: rec.Version}}
	spec.Within, spec.NoReplace = dir, true
	return nil
}

// removeVersioned deletes in a bucket with versions.
func (q *request) removeVersioned(key string, p objectPath, version string) (deletion, error) {
	if version != "" {
		return q.removeVersion(key, p, version)
	}
	st, err := q.stage("")
	if err != nil {
		return deletion{}, err
	}
	defer q.drop(st)
	rec := &record{Marker: true}
	for range publishTries {
		if err = q.mark(st, p, rec); !overtaken(err) {
			break
		}
	}
	st.done = err == nil
	return deletion{version: rec.Version, marker: true}, q.gone(err)
}

// overtaken tells whether names were changed through another protocol between
// looking at them and changing them.
func overtaken(err error) bool {
	switch fs.KindOf(err) {
	case fs.NotExist, fs.Stale, fs.RevisionMismatch, fs.Exist:
		return err != nil
	}
	return false
}

// mark publishes a delete marker, and with it the plain name goes.
func (q *request) mark(st *staged, p objectPath, rec *record) error {
	dir, err := q.makeDirs(q.root(), p.dirs)
	if err != nil {
		return err
	}
	if err := q.need(&object{attr: fs.Attr{Node: dir}}, fs.RightAddFile|fs.RightTraverse); err != nil {
		return err
	}
	vdir, err := q.makeVersionDir(dir, p.name)
	if err != nil {
		return err
	}
	if rec.Version, err = q.newVersion(vdir); err != nil {
		return err
	}
	moves, _, err := q.displace(dir, p.name, vdir, rec.Version)
	if err != nil {
		return err
	}
	b, err := q.sealed(st, rec)
	if err != nil {
		return err
	}
	mode := modeFile
	_, err = q.s.o.FS.Publish(q.ctx, q.caller, st.node, vdir, rec.Version, &fs.PublishSpec{Set: fs.SetAttr{Mode: &mode}, Moves: moves,
		Meta: []fs.MetaItem{{Space: fs.MetaS3, Key: recordKey, Value: b}}, Within: dir, NoReplace: true})
	return err
}

// removeVersion deletes a version or a marker. In the same transaction the
// plain name comes to stand for the newest that is left, if that was it.
func (q *request) removeVersion(key string, p objectPath, version string) (deletion, error) {
	var d deletion
	var err error
	for range publishTries {
		if d, err = q.tryRemoveVersion(key, p, version); !overtaken(err) {
			break
		}
	}
	return d, q.gone(err)
}

func (q *request) tryRemoveVersion(key string, p objectPath, version string) (deletion, error) {
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
	if err := q.unlock(o); err != nil {
		return d, err
	}
	plainEntry := fs.Entry{Dir: dir, Name: p.name}
	moves := []fs.Move{{From: fs.Entry{Dir: o.dir, Name: o.name}, Is: o.attr.Node.ID}}
	plain, err := q.s.o.FS.Lookup(q.ctx, q.system(), dir, p.name, attrObject)
	shown := err == nil
	switch {
	case moves[0].From == plainEntry: // was never versioned
		shown = false
	case shown && plain.Node == o.attr.Node:
		moves = append(moves, fs.Move{From: plainEntry, Is: plain.Node.ID})
		shown = false
	case err != nil && fs.KindOf(err) != fs.NotExist:
		return d, err
	}
	vdir, verr := q.versionDir(dir, p.name)
	if k := fs.KindOf(verr); verr != nil && k != fs.NotExist {
		return d, verr
	}
	if verr == nil && !shown {
		var next *object
		err := q.eachVersion(vdir, "", func(v *object) bool {
			if v.attr.Node == o.attr.Node {
				return true
			}
			next = v
			return false
		})
		if err != nil {
			return d, err
		}
		if next != nil && !next.rec.Marker {
			moves = append(moves, fs.Move{From: fs.Entry{Dir: vdir, Name: next.name}, Is: next.attr.Node.ID, To: plainEntry, Keep: true})
		}
	}
	if err := q.s.o.FS.Rearrange(q.ctx, q.system(), moves, fs.Node{}); err != nil {
		return d, err
	}
	if verr == nil {
		q.pruneVersions(dir, p.name, vdir)
	}
	q.prune(q.root(), p.dirs)
	return d, nil
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
	addVersions := func(key string, vdir fs.Node, after string, latest bool) error {
		return q.eachVersion(vdir, after, func(o *object) bool {
			l1 := latest
			latest = false
			return one(key, o, l1)
		})
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
			latest := true
			if plain != nil && plain.rec.Version == "" {
				// It may have its place among the versions.
				null, err := q.s.o.FS.Lookup(q.ctx, q.system(), a.Node, nullVersion, fs.AttrType)
				if err != nil || null.Node != plain.attr.Node {
					if !one(key, plain, true) {
						return nil
					}
					latest = false
				}
			}
			return addVersions(key, a.Node, "", latest)
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
					if err := addVersions(keyMarker, vdir, versionMarker, false); err != nil {
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
