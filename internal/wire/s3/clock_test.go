package s3_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"manifold/internal/wire/s3"
)

// TestClockSkew turns the server's clock: a signature is good for a quarter of
// an hour both ways, and one in a URL as long as it says.
func TestClockSkew(t *testing.T) {
	var ahead time.Duration // of the server
	r := newRig(t, func(o *s3.Options) { o.Now = func() time.Time { return time.Now().Add(ahead) } })
	r.want(200, "PUT", "/bucket", "")
	r.want(200, "PUT", "/bucket/k", "x")
	for _, c := range []struct {
		ahead  time.Duration
		status int
	}{{14 * time.Minute, 200}, {-14 * time.Minute, 200}, {16 * time.Minute, 403}, {-16 * time.Minute, 403}, {48 * time.Hour, 403}} {
		ahead = c.ahead
		for method, body := range map[string]string{"GET": "", "PUT": "x"} {
			a := r.do(method, "/bucket/k", body)
			if a.status != c.status || a.status == 403 && a.code() != "RequestTimeTooSkewed" {
				t.Errorf("%s, the server %v ahead: %d %s", method, ahead, a.status, a.body)
			}
			if a.status == 403 && !strings.Contains(a.body, "<ServerTime>"+time.Now().Add(ahead).UTC().Format("2006-01-02T15:")) {
				t.Errorf("the server's time is not told: %s", a.body)
			}
		}
	}
	ahead = 0
	anon, target := r.as(""), r.presign("GET", "/bucket/k", 3600, url.Values{})
	for _, c := range []struct {
		ahead time.Duration
		code  string
	}{{0, ""}, {59 * time.Minute, ""}, {61 * time.Minute, "AccessDenied"}, {-14 * time.Minute, ""}, {-16 * time.Minute, "AccessDenied"}} {
		ahead = c.ahead
		if a := anon.do("GET", target, ""); a.code() != c.code {
			t.Errorf("in a URL, the server %v ahead: %d %s", ahead, a.status, a.body)
		}
	}
}
