package harness

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"manifold/api/apitest"
	"manifold/e2e/netns"
)

// REST is a session with the REST API.
type REST struct {
	// Base is scheme, host and port.
	Base  string
	Token string
	hc    *http.Client
	shape func(context.Context) (*apitest.Checker, error) // what answers have to be like
}

// StatusError is an answer outside 200-299.
type StatusError struct {
	Status int
	Class  string // error_class of the body
	Body   string
}

func (e *StatusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Status, e.Body) }

func (s *Server) anonymous() *REST {
	r := &REST{Base: "https://" + netns.Server + ":8000", hc: &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return s.Net.Dial(ctx, network, addr)
			},
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // a fresh server signs its own certificate
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	r.shape = func(ctx context.Context) (*apitest.Checker, error) { return s.description(ctx, r) }
	return r
}

// description is that of the server itself, fetched once.
func (s *Server) description(ctx context.Context, r *REST) (*apitest.Checker, error) {
	s.described.mu.Lock()
	defer s.described.mu.Unlock()
	if s.described.checker != nil {
		return s.described.checker, nil
	}
	plain := *r
	plain.shape = nil
	var doc []byte
	if _, err := plain.Try(ctx, http.MethodGet, "/openapi.json", nil, &doc); err != nil {
		return nil, err
	}
	c, err := apitest.New(doc)
	s.described.checker = c
	return c, err
}

// Anonymous talks to the REST API without a session.
func (s *Server) Anonymous(tb testing.TB) *REST {
	r := s.anonymous()
	tb.Cleanup(r.Close)
	return r
}

// Login opens a session of the administrator.
func (s *Server) Login(tb testing.TB) *REST {
	tb.Helper()
	r := s.Anonymous(tb)
	var out struct {
		Token string `json:"bearer_token"`
	}
	r.Must(tb, "POST", "/v1/session/login", map[string]string{"username": "admin", "password": Password}, &out)
	if out.Token == "" {
		tb.Fatal("login gave no token")
	}
	r.Token = out.Token
	return r
}

// Close drops idle connections.
func (r *REST) Close() { r.hc.CloseIdleConnections() }

// Try sends one request. In is sent as JSON, or as it is if it is []byte; the
// answer is decoded into out, or copied if out is *[]byte. An answer outside
// 200-299 is a *[StatusError]; one that is not as the server describes its API
// is an error in any case.
func (r *REST) Try(ctx context.Context, method, path string, in, out any) (status int, err error) {
	var body io.Reader
	contentType := "application/json"
	switch v := in.(type) {
	case nil:
	case []byte:
		body, contentType = bytes.NewReader(v), "application/octet-stream"
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return 0, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.Base+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", contentType)
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	resp, err := r.hc.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return resp.StatusCode, err
	}
	if r.shape != nil {
		c, err := r.shape(ctx)
		if err != nil {
			return resp.StatusCode, err
		}
		if err := c.Check(method, req.URL.EscapedPath(), resp.StatusCode, resp.Header, b); err != nil {
			return resp.StatusCode, err
		}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e := &StatusError{Status: resp.StatusCode, Body: string(b)}
		var doc struct {
			Class string `json:"error_class"`
		}
		if json.Unmarshal(b, &doc) == nil {
			e.Class = doc.Class
		}
		return resp.StatusCode, e
	}
	switch v := out.(type) {
	case nil:
	case *[]byte:
		*v = b
	default:
		if err := json.Unmarshal(b, out); err != nil {
			return resp.StatusCode, fmt.Errorf("%w in %s", err, b)
		}
	}
	return resp.StatusCode, nil
}

// Must is Try for requests that have to succeed.
func (r *REST) Must(tb testing.TB, method, path string, in, out any) int {
	tb.Helper()
	status, err := r.Try(tb.Context(), method, path, in, out)
	if err != nil {
		tb.Fatalf("%s %s: %v", method, path, err)
	}
	return status
}
