package s3

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"strings"

	"manifold/internal/fs"
)

const maxList = 1000

type prefixXML struct{ Prefix string }

type contentXML struct {
	Key               string
	LastModified      string
	ETag              string
	ChecksumAlgorithm []string  `xml:",omitempty"`
	ChecksumType      string    `xml:",omitempty"`
	Size              uint64    //
	Owner             *ownerXML `xml:",omitempty"`
	StorageClass      string
}

// listing collects one page: keys and common prefixes, and where to go on.
type listing struct {
	q         *request
	prefix    string
	delimiter string
	after     string
	most      int

	count     int
	last      string // last key or common prefix of the page
	truncated bool
	seek      string // go on behind all keys with this prefix
	add       func(key string, e *fs.Dirent, vdir fs.Node) error
	common    []prefixXML
	err       error
	encode    func(string) string
	versions  bool
	// full lets add say that the page ended within one key
	full bool
}

// commonPrefix rolls a key up.
func (l *listing) commonPrefix(key string) (string, bool) {
	if l.delimiter == "" {
		return "", false
	}
	rest := key[len(l.prefix):]
	i := strings.Index(rest, l.delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(l.prefix)+i+len(l.delimiter)], true
}

// room tells whether another item fits; if not, the page is truncated.
func (l *listing) room() bool {
	if l.count >= l.most {
		l.truncated = true
		return false
	}
	return true
}

// roll adds a common prefix, unless the page began behind it.
func (l *listing) roll(cp string) bool {
	if cp == l.after || cp == l.last {
		return true
	}
	if !l.room() {
		return false
	}
	l.count++
	l.last = cp
	l.common = append(l.common, prefixXML{l.encode(cp)})
	return true
}

func (l *listing) file(key string, e *fs.Dirent, vdir fs.Node) bool {
	if cp, ok := l.commonPrefix(key); ok {
		if l.roll(cp) {
			l.seek = cp
		}
		return false
	}
	if !l.room() {
		return false
	}
	if l.err = l.add(key, e, vdir); l.err != nil || l.full {
		return false
	}
	return true
}

// enter decides about a directory whose key, with its slash, is key.
func (l *listing) enter(key string, e *fs.Dirent) (descend, more bool) {
	if len(key) < len(l.prefix) {
		return true, true
	}
	cp, ok := l.commonPrefix(key)
	if !ok || cp != key {
		return true, true
	}
	// All below it rolls up into this directory: no need to look, unless it
	// may hold nothing but versions.
	if l.q.bucket.Versioning != "" && !l.versions {
		found, err := l.q.holdsKeys(fs.Node{ID: e.ID})
		if err != nil {
			l.err = err
			return false, false
		}
		if !found {
			return false, true
		}
	}
	return false, l.roll(cp)
}

// self lists a directory as an object: one that was put as such, or is empty.
func (l *listing) self(key string, n fs.Node, a *fs.Attr) bool {
	if len(key) < len(l.prefix) {
		return true
	}
	shown, err := l.q.isDirObject(n, a)
	if err != nil {
		l.err = err
		return false
	}
	if !shown {
		return true
	}
	e := fs.Dirent{ID: n.ID, Type: fs.Directory, Attr: *a}
	return l.file(key, &e, fs.Node{})
}

// isDirObject tells whether a directory is listed as an object.
func (q *request) isDirObject(n fs.Node, a *fs.Attr) (bool, error) {
	_, err := q.s.o.FS.GetMeta(q.ctx, q.system(), n, fs.MetaS3, recordKey)
	switch k := fs.KindOf(err); {
	case err == nil:
		return true, nil
	case k == fs.NoAttr:
		if a == nil || a.Children != 0 {
			return false, nil
		}
		_, err := q.s.o.FS.GetMeta(q.ctx, q.system(), n, fs.MetaS3, impliedKey)
		return fs.KindOf(err) == fs.NoAttr && err != nil, nil
	case k == fs.Stale || k == fs.NotExist:
		return false, nil
	}
	return false, err
}

// run fills the page.
func (l *listing) run() error {
	if l.most == 0 {
		return nil
	}
	w := &walker{q: l.q, prefix: l.prefix, file: l.file, enter: l.enter, self: l.self, withVersions: l.versions}
	after := l.after
	if cp, ok := l.markerPrefix(); ok {
		after = cp + beyond
	}
	for {
		l.seek = ""
		if err := w.run(l.q.root(), after); err != nil {
			return err
		}
		if l.err != nil || l.seek == "" {
			return l.err
		}
		if err := l.q.ctx.Err(); err != nil {
			return err
		}
		after = l.seek + beyond
	}
}

// beyond sorts behind every name that goes on from a common prefix.
var beyond = strings.Repeat("\xff", fs.MaxName)

// markerPrefix tells whether the marker is a common prefix, which the former
// page ended with: all it stands for was told.
func (l *listing) markerPrefix() (string, bool) {
	if l.delimiter == "" || !strings.HasPrefix(l.after, l.prefix) {
		return "", false
	}
	cp, ok := l.commonPrefix(l.after)
	return cp, ok && cp == l.after
}

func (q *request) encoder() (func(string) string, string, *apiError) {
	switch v, ok := q.query.find("encoding-type"); {
	case !ok || v == "":
		return func(s string) string { return s }, "", nil
	case v == "url":
		return func(s string) string { return uriEncode(s, false) }, "url", nil
	}
	return nil, "", errInvalidArgument.with("Invalid Encoding Method specified in Request").detail("ArgumentName", "encoding-type")
}

func (q *request) maxKeys(name string) (int, *apiError) {
	v, ok := q.query.find(name)
	if !ok || v == "" {
		return maxList, nil
	}
	n, ok := parseUint(v, 1<<31-1)
	if !ok {
		return 0, errInvalidArgument.with("Provided "+name+" not an integer or within integer range").detail("ArgumentName", name)
	}
	return int(min(n, maxList)), nil
}

// sealToken makes a position opaque; openToken reads it back.
func sealToken(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("1" + s)) }

func openToken(t string) (string, bool) {
	if len(t) > 4*maxKey {
		return "", false
	}
	b, err := base64.RawURLEncoding.DecodeString(t)
	if err != nil || len(b) < 2 || b[0] != '1' {
		return "", false
	}
	return string(b[1:]), true
}

type listV1XML struct {
	XMLName        xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name           string
	Prefix         string
	Marker         string
	NextMarker     string `xml:",omitempty"`
	MaxKeys        int
	Delimiter      string `xml:",omitempty"`
	IsTruncated    bool
	EncodingType   string       `xml:",omitempty"`
	Contents       []contentXML `xml:",omitempty"`
	CommonPrefixes []prefixXML  `xml:",omitempty"`
}

type listV2XML struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                string
	StartAfter            string  `xml:",omitempty"`
	ContinuationToken     *string `xml:",omitempty"`
	NextContinuationToken string  `xml:",omitempty"`
	KeyCount              int
	MaxKeys               int
	Delimiter             string `xml:",omitempty"`
	IsTruncated           bool
	EncodingType          string       `xml:",omitempty"`
	Contents              []contentXML `xml:",omitempty"`
	CommonPrefixes        []prefixXML  `xml:",omitempty"`
}

func (q *request) listObjects() error {
	v2 := false
	switch v, ok := q.query.find("list-type"); {
	case ok && v == "2":
		v2 = true
	case ok && v != "1":
		return errInvalidArgument.detail("ArgumentName", "list-type")
	}
	encode, encoding, aerr := q.encoder()
	if aerr != nil {
		return aerr
	}
	most, aerr := q.maxKeys("max-keys")
	if aerr != nil {
		return aerr
	}
	l := &listing{q: q, prefix: q.query.get("prefix"), delimiter: q.query.get("delimiter"), most: most, encode: encode}
	owners := true
	token, hasToken := q.query.find("continuation-token")
	if v2 {
		l.after = q.query.get("start-after")
		owners = q.query.get("fetch-owner") == "true"
		if token != "" {
			var ok bool
			if l.after, ok = openToken(token); !ok {
				return errInvalidArgument.with("The continuation token provided is incorrect").detail("ArgumentName", "continuation-token")
			}
		}
	} else {
		l.after = q.query.get("marker")
	}
	var contents []contentXML
	l.add = func(key string, e *fs.Dirent, _ fs.Node) error {
		if e.Attr.Mask == 0 {
			return nil // it vanished meanwhile
		}
		c, err := q.content(key, &e.Attr, encode, owners)
		if err != nil {
			return err
		}
		l.count++
		l.last = key
		contents = append(contents, c)
		return nil
	}
	if err := l.run(); err != nil {
		return err
	}
	if !v2 {
		// Clients decode the prefix in answers of version 2 only.
		out := listV1XML{Name: q.bucketName, Prefix: l.prefix, Marker: encode(l.after), MaxKeys: most, Delimiter: encode(l.delimiter),
			IsTruncated: l.truncated, EncodingType: encoding, Contents: contents, CommonPrefixes: l.common}
		if l.truncated && l.delimiter != "" {
			out.NextMarker = encode(l.last)
		}
		q.writeXML(http.StatusOK, &out)
		return nil
	}
	out := listV2XML{Name: q.bucketName, Prefix: encode(l.prefix), StartAfter: encode(q.query.get("start-after")),
		KeyCount: l.count, MaxKeys: most, Delimiter: encode(l.delimiter), IsTruncated: l.truncated, EncodingType: encoding,
		Contents: contents, CommonPrefixes: l.common}
	if hasToken {
		out.ContinuationToken = &token
	}
	if l.truncated {
		out.NextContinuationToken = sealToken(l.last)
	}
	q.writeXML(http.StatusOK, &out)
	return nil
}

func (q *request) content(key string, a *fs.Attr, encode func(string) string, owners bool) (contentXML, error) {
	rec, err := q.readRecord(a)
	if err != nil {
		if k := fs.KindOf(err); k != fs.Stale && k != fs.NotExist {
			return contentXML{}, err
		}
		rec = &record{ETag: opaqueTag(a)}
	}
	c := contentXML{Key: encode(key), LastModified: isoTime(a.Mtime.Time()), ETag: `"` + rec.ETag + `"`, Size: a.Size, StorageClass: "STANDARD"}
	if a.Type == fs.Directory {
		c.Size = rec.Data
	}
	for _, alg := range algorithms {
		if _, ok := rec.Sums[alg.name]; ok {
			c.ChecksumAlgorithm = append(c.ChecksumAlgorithm, alg.name)
			c.ChecksumType = rec.SumType
		}
	}
	if owners {
		c.Owner = q.owner(a.Owner)
	}
	return c, nil
}
