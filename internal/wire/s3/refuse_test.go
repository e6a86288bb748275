package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/errfs"
	"manifold/internal/wire/s3"
)

// Encryption under keys that a client names is refused wherever it is asked
// for: what is ignored would lie there in the clear.
func TestEncryption_refused(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/k", "data")
	for _, h := range []string{"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "X-Amz-Server-Side-Encryption-Context",
		"X-Amz-Server-Side-Encryption-Bucket-Key-Enabled", "X-Amz-Server-Side-Encryption-Customer-Algorithm", "X-Amz-Server-Side-Encryption-Customer-Key",
		"X-Amz-Server-Side-Encryption-Customer-Key-Md5", "X-Amz-Copy-Source-Server-Side-Encryption-Customer-Algorithm",
		"X-Amz-Copy-Source-Server-Side-Encryption-Customer-Key"} {
		for _, target := range []string{"PUT /bucket/new", "GET /bucket/k", "HEAD /bucket/k", "POST /bucket/new?uploads", "PUT /bucket/new?partNumber=1&uploadId=x", "POST /bucket/new?uploadId=x"} {
			method, path, _ := strings.Cut(target, " ")
			if a := r.do(method, path, "", h, "AES256"); a.status != 501 {
				t.Errorf("%s with %s: %d %s", target, h, a.status, a.body)
			}
		}
		if a := r.do("PUT", "/bucket/new", "", "X-Amz-Copy-Source", "/bucket/k", h, "AES256"); a.status != 501 {
			t.Errorf("a copy with %s: %d %s", h, a.status, a.body)
		}
	}
	if a := r.do("PUT", "/bucket?encryption", "<ServerSideEncryptionConfiguration/>"); a.status != 501 {
		t.Errorf("%d %s", a.status, a.body)
	}
	r.want(404, "GET", "/bucket/new", "")
}

// A symlink is no object, nothing lies behind it, and a write to its name
// replaces it and not what it points at.
func TestSymlinks(t *testing.T) {
	r := newRig(t, nil)
	ctx, c := t.Context(), fs.SystemCaller()
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/d/k", "inside")
	root, err := r.fs.Resolve(ctx, c, "/bucket", 0)
	if err != nil {
		t.Fatal(err)
	}
	create := func(dir fs.Node, name string, spec fs.CreateSpec) fs.Node {
		a, err := r.fs.Create(ctx, c, dir, name, &spec)
		if err != nil {
			t.Fatal(err)
		}
		return a.Attr.Node
	}
	mode := fs.Mode(0o777)
	outside := create(fs.Root, "outside", fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}})
	create(outside, "secret", fs.CreateSpec{Type: fs.File})
	for name, target := range map[string]string{"up": "..", "out": "/outside", "file": "/outside/secret", "dots": "../outside/secret", "in": "d/k", "loop": "loop"} {
		create(root.Node, name, fs.CreateSpec{Type: fs.Symlink, Target: []byte(target)})
		for _, key := range []string{name, name + "/", name + "/secret", name + "/k"} {
			if a := r.do("GET", "/bucket/"+key, ""); a.status != 404 {
				t.Errorf("GET %s: %d %s", key, a.status, a.body)
			}
		}
		if a := r.do("PUT", "/bucket/"+name+"/new", "x"); a.status < 400 || a.status >= 500 {
			t.Errorf("PUT below %s: %d %s", name, a.status, a.body)
		}
		if a := r.do("PUT", "/bucket/copy", "", "X-Amz-Copy-Source", "/bucket/"+name); a.status != 404 {
			t.Errorf("copy of %s: %d %s", name, a.status, a.body)
		}
	}
	if l := r.list("/bucket?list-type=2"); len(l.Contents) != 1 || l.Contents[0].Key != "d/k" {
		t.Errorf("%+v", l.Contents)
	}
	r.as("two").want(403, "PUT", "/bucket/file", "x")
	n := 0
	if _, err := r.fs.ReadDirByName(ctx, c, outside, "", fs.AttrSize, func(e *fs.Dirent) bool { n++; return e.Attr.Size == 0 }); err != nil || n != 1 {
		t.Errorf("%d entries outside, %v", n, err)
	}
}

// Chunks that lie about themselves store nothing, and what follows them on the
// connection is no request.
func TestChunks_bad(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	zeros := strings.Repeat("0", 64)
	for name, body := range map[string]string{
		"not hex":          "zz\r\nhello\r\n0\r\n\r\n",
		"longer than told": "6\r\nhello!\r\n0\r\n\r\n",
		"shorter":          "4\r\nhell\r\n0\r\n\r\n",
		"huge":             "ffffffffffffffff\r\nhello\r\n",
		"no line":          strings.Repeat("5", 9000),
		"no end":           "5\r\nhello\r\n",
		"behind the end":   "5\r\nhello\r\n0\r\n\r\nGET /bucket HTTP/1.1\r\n\r\n",
		"bad trailer":      "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
		"long trailer":     "5\r\nhello\r\n0\r\n" + strings.Repeat("x-amz-checksum-crc32:", 4000) + "\r\n\r\n",
		"negative":         "-5\r\nhello\r\n0\r\n\r\n",
	} {
		a := r.do("PUT", "/bucket/k", body, "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "5",
			"X-Amz-Trailer", "x-amz-checksum-crc32", "Content-Encoding", "aws-chunked")
		if a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for name, body := range map[string]string{
		"signature": "5;chunk-signature=" + zeros + "\r\nhello\r\n0;chunk-signature=" + zeros + "\r\n\r\n",
		"none":      "5\r\nhello\r\n0\r\n\r\n",
	} {
		a := r.do("PUT", "/bucket/k", body, "X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length", "5")
		if a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	r.want(404, "GET", "/bucket/k", "")
}

// Everything that a client may send much of has an end.
func TestLimits(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	many := func(n int, s string) string { return strings.Repeat(s, n) }
	tags := func(n int) string {
		s := ""
		for i := range n {
			s += fmt.Sprintf("<Tag><Key>k%d</Key><Value>v</Value></Tag>", i)
		}
		return "<Tagging><TagSet>" + s + "</TagSet></Tagging>"
	}
	r.want(200, "PUT", "/bucket/k", "")
	for name, c := range map[string]struct {
		method, target, body string
		headers              []string
	}{
		"key":               {"PUT", "/bucket/" + many(2048, "a/") + "b", "", nil},
		"name":              {"PUT", "/bucket/" + many(256, "a"), "", nil},
		"metadata":          {"PUT", "/bucket/x", "", []string{"X-Amz-Meta-A", many(2049, "a")}},
		"tags in a header":  {"PUT", "/bucket/x", "", []string{"X-Amz-Tagging", many(10, "a=1&") + "b=2"}},
		"tags":              {"PUT", "/bucket/k?tagging", tags(11), nil},
		"tag's key":         {"PUT", "/bucket/k?tagging", "<Tagging><TagSet><Tag><Key>" + many(129, "k") + "</Key><Value/></Tag></TagSet></Tagging>", nil},
		"deletions":         {"POST", "/bucket?delete", "<Delete>" + many(1001, "<Object><Key>k</Key></Object>") + "</Delete>", nil},
		"policy":            {"PUT", "/bucket?policy", `{"Statement":[` + many(1<<20, " ") + "]}", nil},
		"parts":             {"PUT", "/bucket/k?partNumber=10001&uploadId=" + many(32, "a"), "", nil},
		"part of number 0":  {"PUT", "/bucket/k?partNumber=0&uploadId=" + many(32, "a"), "", nil},
		"size that is told": {"PUT", "/bucket/x", "", []string{"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "5368709121"}},
		"deep document":     {"PUT", "/bucket/k?tagging", many(100000, "<a>"), nil},
		"query":             {"GET", "/bucket?" + many(500, "a=b&"), "", nil},
	} {
		if a := r.do(c.method, c.target, c.body, c.headers...); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %.200s", name, a.status, a.body)
		}
	}
	if l := r.list("/bucket?list-type=2&max-keys=1000000"); len(l.Contents) != 1 {
		t.Errorf("%+v", l)
	}
	r.want(404, "GET", "/bucket/x", "")
	req, err := http.NewRequestWithContext(t.Context(), "PUT", r.url+"/bucket/k?tagging", io.LimitReader(neverEnding('<'), 11<<20))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	r.sign(req, nil)
	if a := r.send(req); a.status < 400 || a.status >= 500 {
		t.Errorf("a document without end: %d %s", a.status, a.body)
	}
}

type neverEnding byte

func (b neverEnding) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte{byte(b)}, len(p))), nil
}

// More requests than the server works on are told to come later, at once.
func TestLimits_requests(t *testing.T) {
	gate := errfs.NewGate("Stage")
	r := newRig(t, func(o *s3.Options) {
		o.MaxRequests = 2
		o.FS = errfs.New(o.FS, errfs.Options{Before: func(ctx context.Context, c errfs.Call) error { return gate.Before(ctx, c) }})
	})
	r.want(200, "PUT", "/bucket", "")
	done := make(chan answer)
	for i := range 2 {
		go func() { done <- r.do("PUT", fmt.Sprint("/bucket/", i), "x") }()
	}
	for range 2 {
		<-gate.Arrived()
	}
	if a := r.do("GET", "/bucket/k", ""); a.status != 503 || a.code() != "SlowDown" {
		t.Errorf("%d %s", a.status, a.body)
	}
	gate.Open()
	for range 2 {
		if a := <-done; a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	r.want(200, "PUT", "/bucket/k", "later")
}
