package s3_test

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/wire/s3"
)

func TestObject_roundTrip(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	a := r.want(200, "PUT", "/bucket/a/b%20c/%C3%BC", "hello", "X-Amz-Meta-Colour", "red", "Content-Type", "text/plain", "X-Amz-Tagging", "k=v")
	sum := md5.Sum([]byte("hello"))
	if got := a.header.Get("Etag"); got != `"`+hex.EncodeToString(sum[:])+`"` {
		t.Errorf("ETag %s", got)
	}
	a = r.want(200, "GET", "/bucket/a/b%20c/%C3%BC", "")
	if a.body != "hello" || a.header.Get("X-Amz-Meta-Colour") != "red" || a.header.Get("Content-Type") != "text/plain" || a.header.Get("X-Amz-Tagging-Count") != "1" {
		t.Errorf("%+v", a)
	}
	a = r.want(206, "GET", "/bucket/a/b%20c/%C3%BC", "", "Range", "bytes=1-3")
	if a.body != "ell" || a.header.Get("Content-Range") != "bytes 1-3/5" {
		t.Errorf("%+v", a)
	}
	r.want(416, "GET", "/bucket/a/b%20c/%C3%BC", "", "Range", "bytes=9-")
	r.want(304, "GET", "/bucket/a/b%20c/%C3%BC", "", "If-None-Match", a.header.Get("Etag"))
	r.want(412, "GET", "/bucket/a/b%20c/%C3%BC", "", "If-Match", `"no"`)
	// The object is a file of the one namespace, and a file an object.
	ctx := t.Context()
	n, err := r.fs.Resolve(ctx, fs.SystemCaller(), "/bucket/a/b c/ü", fs.AttrSize|fs.AttrOwner)
	if err != nil || n.Size != 5 || n.Owner != identity.UID(1001) {
		t.Fatalf("%+v %v", n, err)
	}
	if _, err := r.fs.Write(ctx, fs.SystemCaller(), n.Node, &fs.WriteRequest{Data: []byte("HELLO")}); err != nil {
		t.Fatal(err)
	}
	b := r.want(200, "GET", "/bucket/a/b%20c/%C3%BC", "")
	if b.body != "HELLO" || b.header.Get("Etag") == a.header.Get("Etag") || len(strings.Trim(b.header.Get("Etag"), `"`)) == 32 {
		t.Errorf("after a write by another protocol: %q, ETag %s", b.body, b.header.Get("Etag"))
	}
	// Directories that the key implied go with it.
	r.want(409, "DELETE", "/bucket", "")
	r.want(204, "DELETE", "/bucket/a/b%20c/%C3%BC", "")
	r.want(204, "DELETE", "/bucket/a/b%20c/%C3%BC", "")
	r.want(204, "DELETE", "/bucket", "")
	r.want(404, "HEAD", "/bucket", "")
	if _, err := r.fs.Resolve(ctx, fs.SystemCaller(), "/bucket", 0); fs.KindOf(err) != fs.NotExist {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestPut_refusesBrokenBodies(t *testing.T) {
	counter := &stageCounter{}
	r := newRig(t, func(o *s3.Options) { counter.FS = o.FS; o.FS = counter })
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/k", "old")
	sum := md5.Sum([]byte("other"))
	for name, c := range map[string]struct {
		code    string
		headers []string
	}{
		"md5":      {"BadDigest", []string{"Content-Md5", base64.StdEncoding.EncodeToString(sum[:])}},
		"bad md5":  {"InvalidDigest", []string{"Content-Md5", "xyz"}},
		"sha256":   {"XAmzContentSHA256Mismatch", []string{"X-Amz-Content-Sha256", strings.Repeat("ab", 32)}},
		"crc32":    {"BadDigest", []string{"X-Amz-Checksum-Crc32", "AAAAAA=="}},
		"crc64":    {"BadDigest", []string{"X-Amz-Checksum-Crc64nvme", "AAAAAAAAAAA="}},
		"two sums": {"InvalidRequest", []string{"X-Amz-Checksum-Crc32", "AAAAAA==", "X-Amz-Checksum-Crc32c", "AAAAAA=="}},
		"sse":      {"NotImplemented", []string{"X-Amz-Server-Side-Encryption", "aws:kms"}},
		"grant":    {"NotImplemented", []string{"X-Amz-Grant-Read", "id=x"}},
		"acl":      {"AccessControlListNotSupported", []string{"X-Amz-Acl", "public-read"}},
		"taken":    {"PreconditionFailed", []string{"If-None-Match", "*"}},
		"other":    {"PreconditionFailed", []string{"If-Match", `"x"`}},
		"big meta": {"MetadataTooLarge", []string{"X-Amz-Meta-A", strings.Repeat("x", 3000)}},
	} {
		if a := r.do("PUT", "/bucket/k", "new", c.headers...); a.code() != c.code {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := r.want(200, "GET", "/bucket/k", ""); a.body != "old" {
		t.Errorf("a refused upload changed the object: %q", a.body)
	}
	for _, key := range []string{"a//b", "../x", "a/../b", ".snapshot/x", "a%00b", strings.Repeat("x", 300)} {
		if a := r.do("PUT", "/bucket/"+key, "x"); a.status != 400 {
			t.Errorf("%q: %d %s", key, a.status, a.body)
		}
	}
	if a := r.do("PUT", "/bucket/k/below", "x"); a.code() != "ObjectParentIsFile" {
		t.Errorf("below a file: %d %s", a.status, a.body)
	}
	// Nothing is left of what was refused.
	if n := counter.open.Load(); n != 0 {
		t.Errorf("%d staged files are left", n)
	}
}

// stageCounter counts the staged files that are neither published nor freed.
type stageCounter struct {
	fs.FS
	open atomic.Int64
}

func (c *stageCounter) Stage(ctx context.Context, caller *fs.Caller, s *fs.StageSpec) (fs.Node, error) {
	n, err := c.FS.Stage(ctx, caller, s)
	if err == nil {
		c.open.Add(1)
	}
	return n, err
}

func (c *stageCounter) Publish(ctx context.Context, caller *fs.Caller, staged, dir fs.Node, name fs.Name, p *fs.PublishSpec) (fs.PublishResult, error) {
	r, err := c.FS.Publish(ctx, caller, staged, dir, name, p)
	if err == nil {
		c.open.Add(-1)
	}
	return r, err
}

func (c *stageCounter) Unstage(ctx context.Context, caller *fs.Caller, n fs.Node) error {
	err := c.FS.Unstage(ctx, caller, n)
	if err == nil {
		c.open.Add(-1)
	}
	return err
}

func TestAuthentication(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/k", "x")
	for who, code := range map[string]string{"": "AccessDenied", "two": "AccessDenied", "three": "InvalidAccessKeyId"} {
		if a := r.as(who).do("GET", "/bucket/k", ""); a.status != 403 || a.code() != code {
			t.Errorf("%q: %d %s", who, a.status, a.code())
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", r.url+"/bucket/k", nil)
	r.sign(req, nil)
	req.URL.RawQuery = "versionId=null" // not what was signed
	if a := r.send(req); a.code() != "SignatureDoesNotMatch" {
		t.Errorf("changed query: %s", a.body)
	}
	req, _ = http.NewRequestWithContext(t.Context(), "PUT", r.url+"/bucket/k", nil)
	r.sign(req, nil)
	req.Header.Set("X-Amz-Copy-Source", "/bucket/k") // not signed
	if a := r.send(req); a.status != 403 {
		t.Errorf("unsigned header: %d", a.status)
	}
}

func TestPolicy_filters(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/k", "x")
	r.want(404, "GET", "/bucket?policy", "")
	r.want(400, "PUT", "/bucket?policy", "{")
	for _, who := range []string{`"Statement":[{"Principal":`, `"statements":{"principal":`, `"STATEMENT":[{"notprincipal":`} {
		end := `{"Manifold":"nobody"},"Effect":"Deny","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}`
		if strings.Contains(who, "[") {
			end += "]"
		}
		if a := r.want(400, "PUT", "/bucket?policy", "{"+who+end+"}"); !strings.Contains(string(a.body), "Invalid principal in policy: nobody") {
			t.Errorf("%s: %s", who, a.body)
		}
	}
	r.want(204, "PUT", "/bucket?policy", `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}]}`)
	r.want(403, "GET", "/bucket/k", "")
	r.want(200, "GET", "/bucket", "")
	r.as("two").want(403, "DELETE", "/bucket?policy", "")
	r.want(204, "DELETE", "/bucket?policy", "")
	r.want(200, "GET", "/bucket/k", "")
}

func TestMultipart(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	begin := func() string {
		a := r.want(200, "POST", "/bucket/dir/big?uploads", "", "X-Amz-Meta-A", "b")
		var d struct {
			UploadID string `xml:"UploadId"`
		}
		if err := xml.Unmarshal([]byte(a.body), &d); err != nil {
			t.Fatal(err)
		}
		return d.UploadID
	}
	id := begin()
	first := strings.Repeat("0123456789abcdef", 5<<16) // 5 MiB
	e1 := r.want(200, "PUT", "/bucket/dir/big?partNumber=1&uploadId="+id, first).header.Get("Etag")
	e2 := r.want(200, "PUT", "/bucket/dir/big?partNumber=2&uploadId="+id, "tail").header.Get("Etag")
	doc := func(parts ...string) string {
		s := "<CompleteMultipartUpload>"
		for i, e := range parts {
			s += fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, e)
		}
		return s + "</CompleteMultipartUpload>"
	}
	if l := r.list("/bucket?list-type=2"); len(l.Contents) != 0 {
		t.Errorf("an upload shows: %+v", l)
	}
	for body, code := range map[string]string{doc(e2): "InvalidPart", doc(e1, e1): "InvalidPart", doc(): "MalformedXML", doc(e1, e2, e1): "EntityTooSmall"} {
		if a := r.do("POST", "/bucket/dir/big?uploadId="+id, body); a.code() != code {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	r.want(200, "POST", "/bucket/dir/big?uploadId="+id, doc(e1, e2))
	r.want(200, "POST", "/bucket/dir/big?uploadId="+id, doc(e1, e2)) // again
	a := r.want(200, "GET", "/bucket/dir/big", "")
	if a.body != first+"tail" || a.header.Get("X-Amz-Meta-A") != "b" || !strings.HasSuffix(a.header.Get("Etag"), `-2"`) {
		t.Errorf("%d bytes, %v", len(a.body), a.header)
	}
	if a := r.want(206, "GET", "/bucket/dir/big?partNumber=2", ""); a.body != "tail" {
		t.Errorf("part 2 is %q", a.body)
	}
	id = begin()
	r.want(204, "DELETE", "/bucket/dir/big?uploadId="+id, "")
	r.want(404, "PUT", "/bucket/dir/big?partNumber=1&uploadId="+id, "x")
	r.want(404, "DELETE", "/bucket/dir/big?uploadId="+id, "")
	begin() // left open: goes with the bucket
	r.want(204, "DELETE", "/bucket/dir/big", "")
	r.want(204, "DELETE", "/bucket", "")
}

// TestList_model compares listings with sorted strings, for random trees,
// prefixes, delimiters and pages.
func TestList_model(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	rnd := rand.New(rand.NewPCG(1, 2))
	const letters = "ab-/.0"
	dirs := map[string]bool{}
	keys := map[string]bool{}
	for len(keys) < 80 {
		var b strings.Builder
		for range 1 + rnd.IntN(7) {
			b.WriteByte(letters[rnd.IntN(len(letters))])
		}
		k := b.String()
		if a := r.do("PUT", "/bucket/"+escape(k), ""); a.status == 200 {
			keys[k] = true
			for i := range k {
				if k[i] == '/' {
					dirs[k[:i+1]] = true
				}
			}
		}
	}
	var sorted []string
	for k := range keys {
		sorted = append(sorted, k)
	}
	slices.Sort(sorted)
	pick := func() string {
		k := sorted[rnd.IntN(len(sorted))]
		return k[:rnd.IntN(len(k)+1)]
	}
	for range 60 {
		prefix, delimiter, after, most := "", "", "", 1+rnd.IntN(30)
		if rnd.IntN(2) == 0 {
			prefix = pick()
		}
		if rnd.IntN(3) > 0 {
			delimiter = []string{"/", "a", "-", "b/", "."}[rnd.IntN(5)]
		}
		if rnd.IntN(3) == 0 {
			after = pick()
		}
		var want []string
		for _, k := range sorted {
			if !strings.HasPrefix(k, prefix) || k <= after {
				continue
			}
			if i := strings.Index(k[len(prefix):], delimiter); delimiter != "" && i >= 0 {
				k = k[:len(prefix)+i+len(delimiter)]
				if k == after {
					continue
				}
			}
			if len(want) == 0 || want[len(want)-1] != k {
				want = append(want, k)
			}
		}
		for _, form := range []string{"list-type=2", "versions"} {
			var got []string
			more := ""
			for range 200 {
				v := url.Values{"prefix": {prefix}, "delimiter": {delimiter}, "max-keys": {fmt.Sprint(most)}}
				if form == "versions" {
					v.Set("key-marker", after)
				} else {
					v.Set("start-after", after)
				}
				l := r.list("/bucket?" + form + "&" + strings.ReplaceAll(v.Encode(), "+", "%20") + more)
				n := len(got)
				for _, c := range l.Contents {
					got = append(got, c.Key)
				}
				for _, c := range l.Version {
					got = append(got, c.Key)
				}
				for _, c := range l.CommonPrefixes {
					got = append(got, c.Prefix)
				}
				slices.Sort(got[n:])
				if !l.IsTruncated {
					break
				}
				if len(got)-n != most {
					t.Fatalf("a truncated page of %d, not %d", len(got)-n, most)
				}
				more = "&continuation-token=" + url.QueryEscape(l.NextContinuationToken)
				if form == "versions" {
					more = ""
					after = l.NextKeyMarker
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s prefix %q delimiter %q max %d:\n got %q\nwant %q", form, prefix, delimiter, most, got, want)
			}
		}
	}
}

func TestVersions(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/d/k", "null")
	r.want(200, "PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
	v1 := r.want(200, "PUT", "/bucket/d/k", "one").header.Get("X-Amz-Version-Id")
	v2 := r.want(200, "PUT", "/bucket/d/k", "two").header.Get("X-Amz-Version-Id")
	for id, want := range map[string]string{"null": "null", v1: "one", v2: "two"} {
		if a := r.want(200, "GET", "/bucket/d/k?versionId="+id, ""); a.body != want {
			t.Errorf("version %s is %q", id, a.body)
		}
	}
	a := r.want(204, "DELETE", "/bucket/d/k", "")
	marker := a.header.Get("X-Amz-Version-Id")
	if a.header.Get("X-Amz-Delete-Marker") != "true" {
		t.Errorf("no marker: %v", a.header)
	}
	if a := r.want(404, "GET", "/bucket/d/k", ""); a.header.Get("X-Amz-Delete-Marker") != "true" {
		t.Errorf("%v", a.header)
	}
	r.want(405, "GET", "/bucket/d/k?versionId="+marker, "")
	if l := r.list("/bucket?list-type=2&delimiter=/"); len(l.Contents)+len(l.CommonPrefixes) != 0 {
		t.Errorf("%+v", l)
	}
	l := r.list("/bucket?versions")
	if len(l.Version) != 3 || len(l.DeleteMarker) != 1 || !l.DeleteMarker[0].IsLatest ||
		l.Version[0].VersionID != v2 || l.Version[1].VersionID != v1 || l.Version[2].VersionID != "null" {
		t.Errorf("%+v", l)
	}
	var ids []string
	more := ""
	for range 10 {
		l := r.list("/bucket?versions&max-keys=1" + more)
		for _, v := range slices.Concat(l.DeleteMarker, l.Version) {
			ids = append(ids, v.VersionID)
		}
		if !l.IsTruncated {
			break
		}
		more = "&key-marker=" + url.QueryEscape(l.NextKeyMarker) + "&version-id-marker=" + l.NextVersionIDMarker
	}
	if !slices.Equal(ids, []string{marker, v2, v1, "null"}) {
		t.Errorf("pages of one: %q", ids)
	}
	r.want(204, "DELETE", "/bucket/d/k?versionId="+marker, "")
	if a := r.want(200, "GET", "/bucket/d/k", ""); a.body != "two" {
		t.Errorf("after the marker went: %q", a.body)
	}
	r.want(204, "DELETE", "/bucket/d/k?versionId="+v2, "")
	if a := r.want(200, "GET", "/bucket/d/k", ""); a.body != "one" {
		t.Errorf("after the newest went: %q", a.body)
	}
	r.want(204, "DELETE", "/bucket/d/k?versionId="+v1, "")
	r.want(409, "DELETE", "/bucket", "")
	r.want(204, "DELETE", "/bucket/d/k?versionId=null", "")
	r.want(204, "DELETE", "/bucket", "")
}

func TestCopy(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/other", "")
	r.want(200, "PUT", "/bucket/a%20b", "data", "X-Amz-Meta-A", "1", "X-Amz-Tagging", "t=1")
	r.want(200, "PUT", "/other/x/y", "", "X-Amz-Copy-Source", "/bucket/a%20b")
	if a := r.want(200, "GET", "/other/x/y", ""); a.body != "data" || a.header.Get("X-Amz-Meta-A") != "1" || a.header.Get("X-Amz-Tagging-Count") != "1" {
		t.Errorf("%+v", a)
	}
	r.want(400, "PUT", "/bucket/a%20b", "", "X-Amz-Copy-Source", "bucket/a%20b")
	r.want(200, "PUT", "/bucket/a%20b", "", "X-Amz-Copy-Source", "bucket/a%20b", "X-Amz-Metadata-Directive", "REPLACE", "X-Amz-Meta-B", "2")
	if a := r.want(200, "GET", "/bucket/a%20b", ""); a.body != "data" || a.header.Get("X-Amz-Meta-A") != "" || a.header.Get("X-Amz-Meta-B") != "2" {
		t.Errorf("%+v", a)
	}
	r.want(404, "PUT", "/bucket/c", "", "X-Amz-Copy-Source", "bucket/none")
	r.want(404, "PUT", "/bucket/c", "", "X-Amz-Copy-Source", "none/none")
	r.want(412, "PUT", "/bucket/c", "", "X-Amz-Copy-Source", "bucket/a%20b", "X-Amz-Copy-Source-If-Match", `"x"`)
	r.as("two").want(403, "PUT", "/bucket/c", "", "X-Amz-Copy-Source", "bucket/a%20b")
}

func TestDirectoryObject(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/d/", "first")
	r.want(200, "PUT", "/bucket/d/", "data of a directory")
	r.want(200, "PUT", "/bucket/d/k", "x")
	if a := r.want(200, "GET", "/bucket/d/", ""); a.body != "data of a directory" {
		t.Errorf("%q", a.body)
	}
	r.want(200, "PUT", "/bucket/copy", "", "X-Amz-Copy-Source", "bucket/d/")
	if a := r.want(200, "GET", "/bucket/copy", ""); a.body != "data of a directory" {
		t.Errorf("copy: %q", a.body)
	}
	if l := r.list("/bucket?list-type=2&prefix=d/"); len(l.Contents) != 2 || l.Contents[0].Key != "d/" || l.Contents[1].Key != "d/k" {
		t.Errorf("%+v", l.Contents)
	}
	n, err := r.fs.Resolve(t.Context(), fs.SystemCaller(), "/bucket/d", fs.AttrType)
	if err != nil {
		t.Fatal(err)
	}
	streams := func(want int) {
		if s, err := r.fs.Streams(t.Context(), fs.SystemCaller(), n.Node); err != nil || len(s) != want {
			t.Errorf("%d streams, %v; want %d", len(s), err, want)
		}
	}
	streams(1)
	r.want(204, "DELETE", "/bucket/d/", "")
	streams(0)
	if l := r.list("/bucket?list-type=2&prefix=d/"); len(l.Contents) != 1 {
		t.Errorf("%+v", l.Contents)
	}
	r.want(200, "PUT", "/bucket/e/", "")
	r.want(204, "DELETE", "/bucket/e/", "")
	r.want(204, "DELETE", "/bucket/d/k", "")
	r.want(204, "DELETE", "/bucket/copy", "")
	r.want(204, "DELETE", "/bucket", "")
}
