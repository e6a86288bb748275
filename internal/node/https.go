package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/config"
	"manifold/internal/telemetry"
)

// httpsPart serves handler over TLS on all listeners. A certificate that is
// replaced counts for the next connection.
func httpsPart(name string, listeners []net.Listener, handler http.Handler, certs *certificates, count *httpCounter, log *slog.Logger) part {
	srv := &http.Server{
		Handler:   count.requests(handler),
		ConnState: count.connection,
		TLSConfig: certs.server("h2", "http/1.1"),
		// Bodies may be files of any size, so only what comes before them and
		// what comes between requests is limited in time.
		ReadHeaderTimeout: 15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    256 << 10, // a path of 32,760 bytes, percent-encoded, and room for the rest
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return part{
		name: name,
		serve: func(ctx context.Context) error {
			// Requests see a context that ends when there is no more time for them.
			srv.BaseContext = func(net.Listener) context.Context { return ctx }
			return serveAll(listeners, func(l net.Listener) error {
				err := srv.ServeTLS(l, "", "")
				if errors.Is(err, http.ErrServerClosed) {
					return nil
				}
				return err
			})
		},
		shutdown: func(ctx context.Context) error {
			err := srv.Shutdown(ctx)
			if err != nil {
				err = errors.Join(err, srv.Close())
			}
			return err
		},
	}
}

// httpCounter counts connections and requests of an HTTP protocol in the metrics.
type httpCounter struct {
	opened, ended atomic.Uint64
	ops           map[string]*telemetry.Op // by method
	other         *telemetry.Op
	slow          func(r *http.Request, status, bytes int, took time.Duration)
}

// slowLog logs requests that took at least limit. Those that move much data
// take as long as the network does and are left out.
func slowLog(limit time.Duration, log *slog.Logger) func(*http.Request, int, int, time.Duration) {
	return func(r *http.Request, status, bytes int, took time.Duration) {
		const much = 1 << 20
		if took >= limit && bytes < much && r.ContentLength < much {
			log.WarnContext(r.Context(), "slow request", "method", r.Method, "path", r.URL.Path, "duration", took, "status", status, "client", r.RemoteAddr)
		}
	}
}

// newHTTPCounter makes a counter; slow, which may be nil, hears of every request.
func newHTTPCounter(m *telemetry.Registry, protocol string, slow func(*http.Request, int, int, time.Duration)) *httpCounter {
	c := &httpCounter{slow: slow, ops: map[string]*telemetry.Op{}, other: m.Op(protocol, "OTHER", telemetry.Metadata, telemetry.Composite)}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		c.ops[method] = m.Op(protocol, method, telemetry.Metadata, telemetry.Read)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		c.ops[method] = m.Op(protocol, method, telemetry.Metadata, telemetry.Write)
	}
	m.Connections(protocol, c.opened.Load, c.ended.Load)
	return c
}

func (c *httpCounter) connection(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		c.opened.Add(1)
	case http.StateClosed, http.StateHijacked:
		c.ended.Add(1)
	}
}

func (c *httpCounter) requests(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		op, ok := c.ops[r.Method]
		if !ok {
			op = c.other
		}
		a := &answer{ResponseWriter: w}
		start := time.Now()
		// A handler that panics to break the connection has failed.
		done := false
		defer func() {
			took := time.Since(start)
			if strings.HasPrefix(a.Header().Get("Content-Type"), "text/event-") {
				return // lasts as long as its client likes
			}
			op.Done(took, a.bytes, !done || a.status >= 400)
			if c.slow != nil {
				c.slow(r, a.status, a.bytes, took)
			}
		}()
		h.ServeHTTP(a, r)
		done = true
	})
}

// answer notes the status and length of an answer.
type answer struct {
	http.ResponseWriter
	status, bytes int
}

func (a *answer) WriteHeader(status int) {
	if status >= 200 { // not 100 Continue and the like
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(b []byte) (int, error) {
	n, err := a.ResponseWriter.Write(b)
	a.bytes += n
	return n, err
}

// Unwrap lets http.ResponseController reach what is below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// serveAll runs serve on each listener and answers the first failure; serve
// must end when its listener is closed.
func serveAll(listeners []net.Listener, serve func(net.Listener) error) error {
	errs := make(chan error, len(listeners))
	var running sync.WaitGroup
	for _, l := range listeners {
		running.Go(func() { errs <- serve(l) })
	}
	var first error
	for range listeners {
		if err := <-errs; err != nil && first == nil {
			first = err
			for _, l := range listeners {
				_ = l.Close()
			}
		}
	}
	running.Wait()
	return first
}

// certificates answers the certificate in force, parsed once for each revision,
// and what else TLS is to be served with.
type certificates struct {
	config *config.Store
	mu     struct {
		sync.Mutex
		revision uint64
		cert     *tls.Certificate
	}
}

// settings are those of now, for one connection.
func (c *certificates) settings(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: protocols,
		CipherSuites: c.config.GeneralInForce().TLS.Suites(),
	}
}

// server serves TLS as the settings are when a client connects.
func (c *certificates) server(protocols ...string) *tls.Config {
	type made struct {
		suites []uint16
		conf   *tls.Config // has the keys of session tickets, so it is kept
	}
	var last atomic.Pointer[made]
	conf := func() *tls.Config {
		suites := c.config.GeneralInForce().TLS.Suites()
		m := last.Load()
		if m == nil || !slices.Equal(m.suites, suites) {
			m = &made{suites, c.settings(protocols...)}
			last.Store(m)
		}
		return m.conf
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols, GetCertificate: c.get,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return conf(), nil },
	}
}

func (c *certificates) get(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	rec, err := c.config.Certificate(h.Context())
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.cert == nil || c.mu.revision != rec.Revision {
		cert, err := rec.Value.TLS()
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		c.mu.cert, c.mu.revision = &cert, rec.Revision
	}
	return c.mu.cert, nil
}
