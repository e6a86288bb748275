package s3_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sort"
	"strings"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
	"manifold/internal/wire/s3"
)

// rig is a server on the fake file system, and signed requests to it.
type rig struct {
	t       *testing.T
	url     string
	fs      *memfs.FS
	buckets *memBuckets
	key     string
	http    *http.Client
}

func newRig(t *testing.T, change func(*s3.Options)) *rig {
	t.Helper()
	f := memfs.New(memfs.Options{RootMode: 0o1777})
	o := s3.Options{FS: f, Buckets: &memBuckets{base: fs.Root}, Keys: memKeys{
		"one": {ID: "one", Secret: "secret of one", Cred: identity.POSIX(1001, 1001, nil)},
		"two": {ID: "two", Secret: "secret of two", Cred: identity.POSIX(1002, 1002, nil)},
	}, Guest: func() *identity.Credential { return identity.New(identity.Guest, identity.Guests, nil, nil) }}
	if change != nil {
		change(&o)
	}
	srv := httptest.NewServer(s3.New(o))
	t.Cleanup(srv.Close)
	return &rig{t: t, url: srv.URL, fs: f, buckets: o.Buckets.(*memBuckets), key: "one", http: srv.Client()}
}

// as answers a rig that signs with another key; "" signs nothing.
func (r *rig) as(key string) *rig { c := *r; c.key = key; return &c }

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

func hash(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }

// sign adds SigV4 to a request, written from the specification.
func (r *rig) sign(req *http.Request, body []byte) {
	now := time.Now().UTC()
	date, stamp := now.Format("20060102"), now.Format("20060102T150405Z")
	if req.Header.Get("X-Amz-Content-Sha256") == "" {
		req.Header.Set("X-Amz-Content-Sha256", hash(body))
	}
	req.Header.Set("X-Amz-Date", stamp)
	names := []string{"host"}
	for n := range req.Header {
		if l := strings.ToLower(n); strings.HasPrefix(l, "x-amz-") || l == "content-md5" {
			names = append(names, l)
		}
	}
	sort.Strings(names)
	var c strings.Builder
	fmt.Fprintf(&c, "%s\n%s\n%s\n", req.Method, req.URL.EscapedPath(), strings.ReplaceAll(req.URL.Query().Encode(), "+", "%20"))
	for _, n := range names {
		v := req.Header.Get(n)
		if n == "host" {
			v = req.URL.Host
		}
		fmt.Fprintf(&c, "%s:%s\n", n, strings.TrimSpace(v))
	}
	fmt.Fprintf(&c, "\n%s\n%s", strings.Join(names, ";"), req.Header.Get("X-Amz-Content-Sha256"))
	scope := date + "/here/s3/aws4_request"
	k := mac(mac(mac(mac([]byte("AWS4secret of "+r.key), date), "here"), "s3"), "aws4_request")
	sig := hex.EncodeToString(mac(k, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hash([]byte(c.String()))))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+r.key+"/"+scope+", SignedHeaders="+strings.Join(names, ";")+", Signature="+sig)
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends one request; headers are pairs.
func (r *rig) do(method, target, body string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+target, bytes.NewReader([]byte(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	if r.key != "" {
		r.sign(req, []byte(body))
	}
	return r.send(req)
}

func (r *rig) send(req *http.Request) answer {
	r.t.Helper()
	res, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// want fails unless the status is as said.
func (r *rig) want(status int, method, target, body string, headers ...string) answer {
	r.t.Helper()
	a := r.do(method, target, body, headers...)
	if a.status != status {
		r.t.Fatalf("%s %s: %d, want %d: %s", method, target, a.status, status, a.body)
	}
	return a
}

// code is the Code of an error document.
func (a answer) code() string {
	var e struct{ Code string }
	_ = xml.Unmarshal([]byte(a.body), &e)
	return e.Code
}

func escape(key string) string {
	parts := strings.Split(key, "/")
	for i := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(parts[i]), "+", "%20")
	}
	return strings.Join(parts, "/")
}

type listResult struct {
	IsTruncated           bool
	NextContinuationToken string
	NextKeyMarker         string
	NextVersionIDMarker   string `xml:"NextVersionIdMarker"`
	Contents              []struct{ Key, ETag string }
	Version               []versionResult
	DeleteMarker          []versionResult
	CommonPrefixes        []struct{ Prefix string }
}

type versionResult struct {
	Key       string
	VersionID string `xml:"VersionId"`
	IsLatest  bool
}

func (r *rig) list(target string) listResult {
	r.t.Helper()
	a := r.want(http.StatusOK, http.MethodGet, target, "")
	var l listResult
	if err := xml.Unmarshal([]byte(a.body), &l); err != nil {
		r.t.Fatal(err)
	}
	return l
}
