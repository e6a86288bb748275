package s3

import (
	"net/http"
	"slices"
	"strings"

	"manifold/internal/fs"
)

const (
	metaPrefix  = "X-Amz-Meta-" // canonical form of Go
	maxUserMeta = 2 << 10
	// defaultType is the content type of what nobody named one for.
	defaultType = "binary/octet-stream"
)

// keptHeaders are headers of an upload that its downloads repeat.
var keptHeaders = []string{"Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires"}

// attributes of an object that come with an upload.
type attributes struct {
	headers map[string]string
	meta    map[string]string // user metadata, names in lower case
	tags    []tag
	lock    *lockRequest
}

// readAttributes takes headers, user metadata, tags and locks from a request.
func (q *request) readAttributes() (*attributes, *apiError) {
	h := q.r.Header
	a := &attributes{headers: map[string]string{}, meta: map[string]string{}}
	for _, n := range keptHeaders {
		v := h.Get(n)
		if n == "Content-Encoding" {
			v = dropChunked(v)
		}
		if v != "" {
			a.headers[n] = v
		}
	}
	size := 0
	for n, v := range h {
		name, ok := strings.CutPrefix(n, metaPrefix)
		if !ok {
			continue
		}
		value := strings.Join(v, ",")
		size += len(name) + len(value)
		if name == "" || size > maxUserMeta {
			return nil, errMetadataTooLarge
		}
		a.meta[strings.ToLower(name)] = value
	}
	var err *apiError
	if v := h.Get("X-Amz-Tagging"); v != "" {
		if a.tags, err = parseTagQuery(v); err != nil {
			return nil, err
		}
	}
	a.lock, err = q.readLockHeaders()
	return a, err
}

// dropChunked takes the transport's own coding out of Content-Encoding.
func dropChunked(v string) string {
	if !strings.Contains(v, "aws-chunked") {
		return v
	}
	parts := strings.Split(v, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "aws-chunked" || s == "" })
	return strings.Join(parts, ", ")
}

// writeAttributes stores metadata and tags with a file that has no name yet.
func (q *request) writeAttributes(n fs.Node, a *attributes) error {
	for k, v := range a.meta {
		if _, err := q.s.o.FS.SetMeta(q.ctx, q.system(), n, fs.MetaS3, k, []byte(v), fs.MetaUpsert); err != nil {
			return err
		}
	}
	for _, t := range a.tags {
		if _, err := q.s.o.FS.SetMeta(q.ctx, q.system(), n, fs.MetaGeneric, t.Key, []byte(t.Value), fs.MetaUpsert); err != nil {
			return err
		}
	}
	return nil
}

// maxMetaEntries bounds what is read of a file's metadata; other protocols may
// have put more there than any S3 answer holds.
const maxMetaEntries = 1024

// userMetadata reads what the S3 space has beside our own records.
func (q *request) userMetadata(n fs.Node) (map[string]string, error) {
	var names []string
	err := q.s.o.FS.ListMeta(q.ctx, q.system(), n, fs.MetaS3, "", func(key string, size int) bool {
		if !strings.HasPrefix(key, ":") && size <= maxUserMeta {
			names = append(names, key)
		}
		return len(names) < maxMetaEntries
	})
	if err != nil {
		return nil, err
	}
	m := make(map[string]string, len(names))
	for _, k := range names {
		v, err := q.s.o.FS.GetMeta(q.ctx, q.system(), n, fs.MetaS3, k)
		if fs.KindOf(err) == fs.NoAttr {
			continue
		}
		if err != nil && fs.KindOf(err) != fs.NoAttr {
			return nil, err
		}
		m[k] = string(v)
	}
	return m, nil
}

// metaHeaders puts user metadata on an answer, names in lower case as they
// were stored. What cannot be a header is left out and counted.
func metaHeaders(h http.Header, m map[string]string) {
	missing, size := 0, 0
	for k, v := range m {
		size += len(k) + len(v)
		if !isToken(k) || strings.ContainsAny(v, "\r\n\x00") || size > 4*maxUserMeta {
			missing++
			continue
		}
		setHeader(h, "x-amz-meta-"+k, v)
	}
	if missing > 0 {
		setHeader(h, "x-amz-missing-meta", formatInt(int64(missing)))
	}
}

func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
