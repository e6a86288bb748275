package s3

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
)

// raw sends bytes and answers the status of each answer until the connection ends.
func (w *world) raw(text string) (statuses []int) {
	w.Helper()
	c, err := w.s.Net.Dial(w.Context(), "tcp", address)
	if err != nil {
		w.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.WriteString(c, text) }()
	r := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses
		}
		statuses = append(statuses, resp.StatusCode)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Close {
			return statuses
		}
	}
}

// Whatever arrives, the answer is an error and the server goes on.
func TestHostile(t *testing.T) {
	w := newWorld(t)
	c := w.minio(w.id, w.secret, false)
	ctx := t.Context()
	if err := c.MakeBucket(ctx, "things", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	const host = "Host: x\r\n"
	for name, x := range map[string]struct {
		text string
		want int
	}{
		"unsigned":        {"GET /things/k HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 403},
		"not_http":        {"hello there\r\n\r\n", 400},
		"huge_header":     {"GET / HTTP/1.1\r\n" + host + "X: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 431},
		"dot_dot":         {"GET /things/../etc HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 403},
		"bad_escape":      {"GET /things/%zz HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 400},
		"bad_signature":   {"PUT /things/k HTTP/1.1\r\n" + host + "Authorization: AWS4-HMAC-SHA256 x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", 400},
		"two_lengths":     {"PUT /things/k HTTP/1.1\r\n" + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
		"version_2":       {"GET /things/k?AWSAccessKeyId=a&Signature=b&Expires=1 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 400},
		"malformed_query": {"GET /things/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", 400},
	} {
		got := w.raw(x.text)
		if len(got) != 1 || got[0] != x.want {
			t.Errorf("%s: %v, want %d", name, got, x.want)
		}
	}
	// Names that cannot be paths, and those that are ours.
	for _, key := range []string{"a//b", "a/./b", "a/../../b", "../b", "/x", ".snapshot/x", "a/.snapshot/x", "nul\x00", strings.Repeat("n", 256), ".s3-versioning~/x", strings.Repeat("a/", 3000) + "b"} {
		_, err := c.PutObject(ctx, "things", key, strings.NewReader("x"), 1, minio.PutObjectOptions{})
		if code := minio.ToErrorResponse(err).StatusCode; err == nil || code >= 500 {
			t.Errorf("%.40q: %v", key, err)
		}
	}
	// A key is no way past permissions: objects are private, though ann is in
	// the group Users as everybody is.
	r := w.s.Login(t)
	r.Must(t, "POST", "/v1/users/", map[string]any{"name": "ann", "primary_group": "513", "uid": "1001", "password": "Ann-has-1-too"}, nil)
	if _, err := c.PutObject(ctx, "things", "secret", strings.NewReader("x"), 1, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	ann := w.minio(func() (string, string, bool) { id, secret := w.key("ann"); return id, secret, true }())
	_, err := ann.StatObject(ctx, "things", "secret", minio.StatObjectOptions{})
	if minio.ToErrorResponse(err).StatusCode != 403 {
		t.Errorf("ann reads what is not hers: %v", err)
	}
	if _, err := ann.PutObject(ctx, "things", "hers", strings.NewReader("x"), 1, minio.PutObjectOptions{}); minio.ToErrorResponse(err).StatusCode != 403 {
		t.Errorf("ann writes where she may not: %v", err)
	}
	// Slow ones do not keep others out.
	for i := range 200 {
		s, err := w.s.Net.Dial(ctx, "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if i%2 == 0 {
			_, _ = fmt.Fprintf(s, "PUT /things/slow-%d HTTP/1.1\r\nHost: x\r\n", i)
		}
	}
	if _, err := c.StatObject(ctx, "things", "secret", minio.StatObjectOptions{}); err != nil {
		t.Error(err)
	}
	if !w.s.Running() {
		t.Fatal("the server ended")
	}
	w.s.Stop(t)
	w.s.Fsck(t)
}
