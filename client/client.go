// Package client speaks the REST API of a manifold server.
//
// A [Client] is made by [New] and signed in by [Client.Login] or [WithToken].
// Calls take a context, return typed records, and fail with an [*Error] whose
// Class is part of the API's contract. Files are named by a [Ref]: an absolute
// path or an id.
//
// Invariants: a Client is safe for concurrent use; it follows no redirects,
// because the API has none; it never repeats a request by itself, so that
// nothing is done twice.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
)

// DefaultPort of the REST API.
const DefaultPort = 8000

// Client is a connection to one server.
type Client struct {
	base  string // scheme, host and port
	hc    *http.Client
	token atomic.Pointer[string]
}

// Option varies a Client.
type Option func(*settings)

type settings struct {
	hc    *http.Client
	token string
	trust func(Peer) error
}

// WithToken signs in with a session or access token that is known already.
func WithToken(token string) Option { return func(s *settings) { s.token = token } }

// WithHTTPClient uses the transport and timeout of hc. It excludes [WithTrust].
func WithHTTPClient(hc *http.Client) Option { return func(s *settings) { s.hc = hc } }

// WithTrust lets decide decide on the server's certificate. Without it the
// certificate must be good by the system's authorities.
func WithTrust(decide func(Peer) error) Option { return func(s *settings) { s.trust = decide } }

// New makes a Client for a server: "host", "host:port" or "https://host:port".
func New(server string, opts ...Option) (*Client, error) {
	base, err := baseURL(server)
	if err != nil {
		return nil, err
	}
	var s settings
	for _, o := range opts {
		o(&s)
	}
	if s.hc == nil {
		s.hc = &http.Client{Transport: transport(s.trust)}
	}
	hc := *s.hc
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c := &Client{base: base, hc: &hc}
	c.SetToken(s.token)
	return c, nil
}

func baseURL(server string) (string, error) {
	if !strings.Contains(server, "://") {
		host, port, err := net.SplitHostPort(server)
		if err != nil {
			host, port = strings.Trim(server, "[]"), strconv.Itoa(DefaultPort)
		}
		server = "https://" + net.JoinHostPort(host, port)
	}
	u, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("server address: %w", err)
	}
	if u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" {
		return "", fmt.Errorf("server address %q: want a host, host:port or https://host:port", server)
	}
	return u.Scheme + "://" + u.Host, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.hc.CloseIdleConnections() }

// Server is the address that the client talks to.
func (c *Client) Server() string { return c.base }

// Token is the bearer token in use, "" if not signed in.
func (c *Client) Token() string { return *c.token.Load() }

// SetToken replaces the bearer token.
func (c *Client) SetToken(token string) { c.token.Store(&token) }

// Error is an answer that says that something failed.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Class names the error for programs, as "fs_no_such_entry_error".
	Class string
	// Description is for people.
	Description string
}

// Error renders status, class and description.
func (e *Error) Error() string {
	switch {
	case e.Class == "":
		return fmt.Sprintf("HTTP %d %s", e.Status, http.StatusText(e.Status))
	case e.Description == "":
		return fmt.Sprintf("%s (HTTP %d)", e.Class, e.Status)
	}
	return fmt.Sprintf("%s: %s (HTTP %d)", e.Class, e.Description, e.Status)
}

// IsClass tells whether err is an answer with that class.
func IsClass(err error, class string) bool {
	var e *Error
	return errors.As(err, &e) && e.Class == class
}

// IsStatus tells whether err is an answer with that HTTP status.
func IsStatus(err error, status int) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}

// maxAnswer bounds what is read of an answer that is not file content.
const maxAnswer = 256 << 20

// Request is one call of the API, for what has no method of its own.
type Request struct {
	Method string
	// Path with query, escaped: "/v1/files/%2Fa/entries/?limit=5".
	Path string
	// Body is sent as JSON, unless it is an io.Reader: then as file content. nil: none.
	Body any
	// IfMatch makes the call conditional on an entity tag; "" does not.
	IfMatch string
}

// Send sends a request and hands out the answer, whose body the caller closes.
// An answer outside 200-299 is an [*Error].
func (c *Client) Send(ctx context.Context, r Request) (*http.Response, error) {
	var body io.Reader
	ct := "application/json"
	switch v := r.Body.(type) {
	case nil:
	case io.Reader:
		body, ct = v, "application/octet-stream"
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.base+r.Path, body)
	if err != nil {
		return nil, err
	}
	if r.Body != nil {
		req.Header.Set("Content-Type", ct)
	}
	if t := c.Token(); t != "" {
		req.Header.Set("Authorization", "Bearer "+t)
	}
	if r.IfMatch != "" {
		req.Header.Set("If-Match", r.IfMatch)
	}
	resp, err := c.hc.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 200 && resp.StatusCode <= 299 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode}
	var doc struct {
		Class       string `json:"error_class"`
		Description string `json:"description"`
	}
	if b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)); err == nil && json.Unmarshal(b, &doc) == nil {
		e.Class, e.Description = doc.Class, doc.Description
	}
	return nil, e
}

// Do sends a request and decodes the JSON answer into out, unless out is nil.
// It answers the entity tag, "" if there is none.
func (c *Client) Do(ctx context.Context, r Request, out any) (etag string, err error) {
	resp, err := c.Send(ctx, r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return "", fmt.Errorf("%s %s: read the answer: %w", r.Method, r.Path, err)
	}
	if out == nil {
		return resp.Header.Get("ETag"), nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return "", fmt.Errorf("%s %s: decode the answer: %w", r.Method, r.Path, err)
	}
	return resp.Header.Get("ETag"), nil
}

// do is Do without the tag.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	_, err := c.Do(ctx, Request{Method: method, Path: path, Body: in}, out)
	return err
}

// query renders name and value pairs, leaving out those without a value.
func query(pairs ...string) string {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

// positive renders n, "" for 0 or less.
func positive(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}
