package s3_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
	"manifold/internal/wire/s3"
)

// TestKeepAlive_staysInStep sends a body that is chunked twice, with a
// trailer, and looks whether the connection answers the next request.
func TestKeepAlive_staysInStep(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	u, _ := url.Parse(r.url)
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	br := bufio.NewReader(c)
	for i, sum := range []string{"NhCmhg==", "AAAAAA==", "NhCmhg=="} {
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", r.url+"/bucket/k", nil)
		req.Header.Set("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
		req.Header.Set("X-Amz-Decoded-Content-Length", "5")
		req.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		req.Header.Set("Content-Encoding", "aws-chunked")
		r.sign(req, nil)
		inner := "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + sum + "\r\n\r\n"
		var b bytes.Buffer
		fmt.Fprintf(&b, "PUT /bucket/k HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n", u.Host)
		_ = req.Header.Write(&b)
		fmt.Fprintf(&b, "\r\n%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 7, inner[:7], len(inner)-7, inner[7:])
		if _, err := c.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(br, req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if want := []int{200, 400, 200}[i]; res.StatusCode != want {
			t.Fatalf("request %d: %d, want %d: %s", i, res.StatusCode, want, body)
		}
	}
	if a := r.want(200, "GET", "/bucket/k", ""); a.body != "hello" || a.header.Get("Content-Encoding") != "" {
		t.Errorf("%q %v", a.body, a.header)
	}
}

// TestExpect_emptyBody wants the interim answer that clients wait for.
func TestExpect_emptyBody(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", r.url+"/bucket/k", nil)
	r.sign(req, nil)
	u, _ := url.Parse(r.url)
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	var b bytes.Buffer
	fmt.Fprintf(&b, "PUT /bucket/k HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\nExpect: 100-continue\r\n", u.Host)
	_ = req.Header.Write(&b)
	b.WriteString("\r\n")
	if _, err := c.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(c)
	for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n", "HTTP/1.1 200 OK\r\n"} {
		if got, err := br.ReadString('\n'); got != want || err != nil {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
}

// TestSlowClient sends half a body and no more.
func TestSlowClient(t *testing.T) {
	done := make(chan s3.Event, 8)
	r := newRig(t, func(o *s3.Options) {
		o.IdleTimeout = 50 * time.Millisecond
		o.Done = func(e s3.Event) { done <- e }
	})
	r.want(200, "PUT", "/bucket", "")
	<-done
	u, _ := url.Parse(r.url)
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", r.url+"/bucket/k", nil)
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	r.sign(req, nil)
	var b bytes.Buffer
	fmt.Fprintf(&b, "PUT /bucket/k HTTP/1.1\r\nHost: %s\r\nContent-Length: 100\r\n", u.Host)
	_ = req.Header.Write(&b)
	b.WriteString("\r\nhalf")
	if _, err := c.Write(b.Bytes()); err != nil {
		t.Fatal(err)
	}
	if e := <-done; e.Code != "IncompleteBody" || e.Status != 400 {
		t.Errorf("%+v", e)
	}
	r.want(404, "GET", "/bucket/k", "")
}

// TestHostile sends what no client should, and wants clean answers.
func TestHostile(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/keep", "")
	for _, target := range []string{"/bucket/../../etc/passwd", "/bucket/%2e%2e/%2e%2e/etc", "/bucket/a%2f..%2f..%2fb", "/bucket/.snapshot/", "/bucket/%00",
		"/bucket/" + strings.Repeat("a/", 4000), "/bucket?list-type=9", "/bucket?list-type=2&max-keys=-1", "/bucket?list-type=2&continuation-token=%00",
		"/bucket?versions&version-id-marker=zz&key-marker=a", "/bucket/k?versionId=../../x", "/bucket/k?uploadId=../x&partNumber=1", "/bucket?" + strings.Repeat("a&", 500)} {
		for _, method := range []string{"GET", "PUT", "DELETE", "HEAD", "POST"} {
			req, err := http.NewRequestWithContext(t.Context(), method, r.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(r.url + target)
			if err != nil {
				t.Fatal(err)
			}
			req.URL = u
			r.sign(req, nil)
			if a := r.send(req); a.status >= 500 && a.status != 501 {
				t.Errorf("%s %.60s: %d %s", method, target, a.status, a.body)
			}
		}
	}
	n := 0
	_, err := r.fs.ReadDirByName(t.Context(), fs.SystemCaller(), fs.Root, "", 0, func(*fs.Dirent) bool { n++; return true })
	if err != nil || n != 1 {
		t.Errorf("%d entries in the root, %v", n, err)
	}
}

func (r *rig) presign(method, target string, expires int, extra url.Values) string {
	now := time.Now().UTC()
	date, stamp := now.Format("20060102"), now.Format("20060102T150405Z")
	u, _ := url.Parse(r.url + target)
	q := url.Values{"X-Amz-Algorithm": {"AWS4-HMAC-SHA256"}, "X-Amz-Credential": {r.key + "/" + date + "/here/s3/aws4_request"},
		"X-Amz-Date": {stamp}, "X-Amz-Expires": {fmt.Sprint(expires)}, "X-Amz-SignedHeaders": {"host"}}
	for k, v := range extra {
		q[k] = v
	}
	raw := strings.ReplaceAll(q.Encode(), "+", "%20")
	canonical := method + "\n" + u.EscapedPath() + "\n" + raw + "\nhost:" + u.Host + "\n\nhost\nUNSIGNED-PAYLOAD"
	k := mac(mac(mac(mac([]byte("AWS4secret of "+r.key), date), "here"), "s3"), "aws4_request")
	sig := hex.EncodeToString(mac(k, "AWS4-HMAC-SHA256\n"+stamp+"\n"+date+"/here/s3/aws4_request\n"+hash([]byte(canonical))))
	return target + "?" + raw + "&X-Amz-Signature=" + sig
}

func TestPresigned(t *testing.T) {
	r := newRig(t, nil)
	anon := r.as("")
	r.want(200, "PUT", "/bucket", "")
	anon.want(200, "PUT", r.presign("PUT", "/bucket/a%20b", 60, nil), "data")
	target := r.presign("GET", "/bucket/a%20b", 60, url.Values{"response-content-type": {"text/x y"}})
	if a := anon.want(200, "GET", target, ""); a.body != "data" || a.header.Get("Content-Type") != "text/x y" {
		t.Errorf("%+v", a)
	}
	anon.want(403, "GET", strings.Replace(target, "text", "zzzz", 1), "")
	anon.want(403, "DELETE", target, "")
	anon.want(400, "GET", r.presign("GET", "/bucket/a%20b", 8*24*3600, nil), "")
	anon.want(403, "GET", r.presign("GET", "/bucket/a%20b", 0, nil)+"&x=y", "")
	anon.want(403, "PUT", r.presign("PUT", "/bucket/c", 60, nil), "", "X-Amz-Copy-Source", "/bucket/a%20b")
}

func TestPostForm(t *testing.T) {
	r := newRig(t, nil)
	anon := r.as("")
	r.want(200, "PUT", "/bucket", "")
	post := func(conditions string, fields map[string]string, file string) answer {
		now := time.Now().UTC()
		date := now.Format("20060102")
		policy := base64.StdEncoding.EncodeToString([]byte(`{"expiration":"` + now.Add(time.Minute).Format(time.RFC3339) + `","conditions":[` + conditions + `]}`))
		k := mac(mac(mac(mac([]byte("AWS4secret of one"), date), "here"), "s3"), "aws4_request")
		all := map[string]string{"policy": policy, "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-credential": "one/" + date + "/here/s3/aws4_request",
			"x-amz-date": now.Format("20060102T150405Z"), "x-amz-signature": hex.EncodeToString(mac(k, policy))}
		for n, v := range fields {
			all[n] = v
		}
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for n, v := range all {
			_ = w.WriteField(n, v)
		}
		p, _ := w.CreateFormFile("file", "name.txt")
		_, _ = io.WriteString(p, file)
		_ = w.Close()
		return anon.do("POST", "/bucket", b.String(), "Content-Type", w.FormDataContentType())
	}
	const auth = `["starts-with","$x-amz-algorithm",""],["starts-with","$x-amz-credential",""],["starts-with","$x-amz-date",""],{"bucket":"bucket"},`
	if a := post(auth+`["starts-with","$key","up/"],["content-length-range",1,10],{"success_action_status":"201"}`,
		map[string]string{"key": "up/${filename}", "success_action_status": "201"}, "data"); a.status != 201 {
		t.Fatalf("%+v", a)
	}
	if a := r.want(200, "GET", "/bucket/up/name.txt", ""); a.body != "data" {
		t.Errorf("%q", a.body)
	}
	for name, c := range map[string]struct {
		conditions string
		fields     map[string]string
		file       string
		status     int
	}{
		"too long":     {auth + `["eq","$key","k"],["content-length-range",1,3]`, map[string]string{"key": "k"}, "data", 400},
		"too short":    {auth + `["eq","$key","k"],["content-length-range",9,30]`, map[string]string{"key": "k"}, "data", 400},
		"other key":    {auth + `["eq","$key","k"]`, map[string]string{"key": "l"}, "data", 403},
		"extra field":  {auth + `["eq","$key","k"]`, map[string]string{"key": "k", "content-type": "x"}, "data", 403},
		"bad policy":   {`["eq"`, map[string]string{"key": "k"}, "data", 400},
		"forged":       {auth + `["eq","$key","k"]`, map[string]string{"key": "k", "x-amz-signature": strings.Repeat("a", 64)}, "data", 403},
		"unknown who":  {auth + `["eq","$key","k"]`, map[string]string{"key": "k", "x-amz-credential": "x/20200101/here/s3/aws4_request"}, "data", 400},
		"hidden place": {auth + `["starts-with","$key",""]`, map[string]string{"key": ".s3-versioning~/x"}, "data", 400},
	} {
		if a := post(c.conditions, c.fields, c.file); a.status != c.status {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if l := r.list("/bucket?list-type=2"); len(l.Contents) != 1 {
		t.Errorf("%+v", l.Contents)
	}
}

func TestCORS(t *testing.T) {
	r := newRig(t, nil)
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/k", "x")
	r.want(404, "GET", "/bucket?cors", "")
	r.want(400, "PUT", "/bucket?cors", "<CORSConfiguration><CORSRule><AllowedMethod>PATCH</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>")
	r.want(200, "PUT", "/bucket?cors", "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>http://*.example</AllowedOrigin><AllowedHeader>x-*</AllowedHeader></CORSRule></CORSConfiguration>")
	if a := r.want(200, "GET", "/bucket/k", "", "Origin", "http://a.example"); a.header.Get("Access-Control-Allow-Origin") != "http://a.example" {
		t.Errorf("%v", a.header)
	}
	if a := r.want(200, "GET", "/bucket/k", "", "Origin", "http://other"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%v", a.header)
	}
	anon := r.as("")
	pre := []string{"Origin", "http://a.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "X-Foo"}
	anon.want(200, "OPTIONS", "/bucket/k", "", pre...)
	pre[5] = "Other"
	anon.want(403, "OPTIONS", "/bucket/k", "", pre...)
}

func TestObjectLock(t *testing.T) {
	now := time.Now()
	clock := &now
	r := newRig(t, func(o *s3.Options) { o.Now = func() time.Time { return *clock } })
	r.want(200, "PUT", "/bucket", "", "X-Amz-Bucket-Object-Lock-Enabled", "true")
	until := now.Add(time.Hour).UTC().Format(time.RFC3339)
	id := r.want(200, "PUT", "/bucket/k", "one", "X-Amz-Object-Lock-Mode", "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date", until).header.Get("X-Amz-Version-Id")
	if a := r.want(200, "GET", "/bucket/k", ""); a.header.Get("X-Amz-Object-Lock-Mode") != "COMPLIANCE" {
		t.Errorf("%v", a.header)
	}
	r.want(403, "DELETE", "/bucket/k?versionId="+id, "")
	r.want(200, "PUT", "/bucket/k", "two") // a new version is no loss
	r.want(204, "DELETE", "/bucket/k", "") // nor a marker
	if a := r.want(200, "GET", "/bucket/k?versionId="+id, ""); a.body != "one" {
		t.Errorf("%q", a.body)
	}
	earlier := now.Add(time.Minute).UTC().Format(time.RFC3339)
	r.want(403, "PUT", "/bucket/k?retention&versionId="+id, "<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>"+earlier+"</RetainUntilDate></Retention>")
	r.want(409, "PUT", "/bucket?versioning", "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>")
}

func TestExpire(t *testing.T) {
	f := memfs.New(memfs.Options{RootMode: 0o1777})
	now := time.Now()
	s := s3.New(s3.Options{FS: f, Buckets: &memBuckets{base: fs.Root}, Now: func() time.Time { return now },
		Keys: memKeys{"one": {ID: "one", Secret: "secret of one", Cred: identity.POSIX(1001, 1001, nil)}}})
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	r := &rig{t: t, url: srv.URL, fs: f, key: "one", http: srv.Client()}
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "POST", "/bucket/k?uploads", "")
	if n, err := s.Expire(t.Context(), time.Hour); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	now = now.Add(2 * time.Hour)
	if n, err := s.Expire(t.Context(), time.Hour); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
