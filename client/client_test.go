package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func newClient(t *testing.T, h http.HandlerFunc, opts ...Option) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := New(srv.URL, append([]Option{WithHTTPClient(srv.Client())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBaseURL(t *testing.T) {
	for s, want := range map[string]string{
		"host": "https://host:8000", "host:9": "https://host:9", "::1": "https://[::1]:8000", "[::1]": "https://[::1]:8000", "[::1]:9": "https://[::1]:9",
		"https://host:9/": "https://host:9", "http://h": "http://h", "192.0.2.1": "https://192.0.2.1:8000",
	} {
		if got, err := baseURL(s); err != nil || got != want {
			t.Errorf("%q: %q %v", s, got, err)
		}
	}
	for _, s := range []string{"", "ftp://h", "https://h/path", "https://", "h h"} {
		if got, err := baseURL(s); err == nil {
			t.Errorf("%q: %q", s, got)
		}
	}
}

func TestNumber(t *testing.T) {
	var v struct{ A, B Number }
	if err := json.Unmarshal([]byte(`{"A":"18446744073709551615","B":""}`), &v); err != nil || v.A != 1<<64-1 || v.B != 0 {
		t.Errorf("%+v %v", v, err)
	}
	if b, err := json.Marshal(v); err != nil || string(b) != `{"A":"18446744073709551615","B":"0"}` {
		t.Errorf("%s %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"A":"-1"}`), &v); err == nil {
		t.Error("a negative number")
	}
}

// A path is one segment, whatever is in it.
func TestRef_escaped(t *testing.T) {
	var seen []string
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.RequestURI)
		fmt.Fprint(w, `{}`)
	})
	for _, r := range []Ref{"/a b/c", "/ä+%?#", "7", "/"} {
		if _, err := c.Attributes(t.Context(), r, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Attributes(t.Context(), "/x", 5); err != nil {
		t.Fatal(err)
	}
	want := []string{"/v1/files/%2Fa%20b%2Fc/", "/v1/files/%2F%C3%A4+%25%3F%23/", "/v1/files/7/", "/v1/files/%2F/", "/v1/files/%2Fx/"}
	for i, w := range want {
		w = "GET " + w + "info/attributes"
		if i == 4 {
			w += "?snapshot=5"
		}
		if seen[i] != w {
			t.Errorf("%s, want %s", seen[i], w)
		}
	}
}

func TestErrors(t *testing.T) {
	status, body := 404, `{"error_class":"fs_no_such_entry_error","description":"No such path: '/x'"}`
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	_, err := c.Attributes(t.Context(), "/x", 0)
	var e *Error
	if !errors.As(err, &e) || !IsClass(err, "fs_no_such_entry_error") || !IsStatus(err, 404) || IsStatus(err, 403) || !strings.Contains(err.Error(), "/x") {
		t.Errorf("%v", err)
	}
	for _, b := range []string{"", "<html>", `{"error_class":"only_class"}`} {
		status, body = 500, b
		if err := c.Remove(t.Context(), "/x"); !IsStatus(err, 500) || err.Error() == "" {
			t.Errorf("%q: %v", b, err)
		}
	}
	status, body = 200, "<html>"
	if _, err := c.Version(t.Context()); err == nil || IsStatus(err, 200) {
		t.Errorf("%v", err)
	}
	status, body = 307, ""
	if err := c.Remove(t.Context(), "/x"); !IsStatus(err, 307) {
		t.Errorf("a redirect: %v", err)
	}
}

func TestList_pages(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("after") {
		case "":
			fmt.Fprint(w, `{"files":[{"name":"a"},{"name":"b"}],"paging":{"next":"/v1/files/2/entries/?after=b"}}`)
		case "b":
			fmt.Fprint(w, `{"files":[{"name":"c"}],"paging":{"next":"/v1/files/2/entries/?after=c"}}`)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	})
	var names []string
	var last error
	for a, err := range c.List(t.Context(), "/", ListOptions{Page: 2}) {
		if err != nil {
			last = err
			break
		}
		names = append(names, a.Name)
	}
	if strings.Join(names, "") != "abc" || !IsStatus(last, 403) {
		t.Errorf("%q %v", names, last)
	}
	for range c.List(t.Context(), "/", ListOptions{}) {
		break // must not go on
	}
}

func TestTrust(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, `{"build_id":"b"}`) }))
	t.Cleanup(srv.Close)
	try := func(opts ...Option) error {
		c, err := New(srv.URL, opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Version(t.Context())
		return err
	}
	if err := try(); err == nil {
		t.Error("a certificate of nobody was trusted")
	}
	var seen Peer
	if err := try(WithTrust(func(p Peer) error { seen = p; return nil })); err != nil || seen.Verified == nil || len(seen.Fingerprint) != 64 {
		t.Errorf("%+v %v", seen, err)
	}
	if err := try(WithTrust(Pinned(strings.ToUpper(seen.Fingerprint)))); err != nil {
		t.Error(err)
	}
	if err := try(WithTrust(Pinned(strings.Repeat("0", 64)))); err == nil {
		t.Error("another certificate passed for the pinned one")
	}
	if err := try(WithTrust(Insecure)); err != nil {
		t.Error(err)
	}
}

func TestLogin(t *testing.T) {
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/session/login" {
			fmt.Fprint(w, `{"bearer_token":"1:x"}`)
			return
		}
		fmt.Fprintf(w, `{"name":%q}`, r.Header.Get("Authorization"))
	})
	if u, err := c.WhoAmI(t.Context()); err != nil || u.Name != "" {
		t.Errorf("%+v %v", u, err)
	}
	if err := c.Login(t.Context(), "admin", "p"); err != nil {
		t.Fatal(err)
	}
	if u, err := c.WhoAmI(t.Context()); err != nil || u.Name != "Bearer 1:x" || c.Token() != "1:x" {
		t.Errorf("%+v %v", u, err)
	}
}
