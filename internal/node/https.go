package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"manifold/internal/config"
)

// httpsPart serves handler over TLS on all listeners. A certificate that is
// replaced counts for the next connection.
func httpsPart(name string, listeners []net.Listener, handler http.Handler, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), log *slog.Logger) part {
	srv := &http.Server{
		Handler: handler,
		TLSConfig: &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: certificate,
		},
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

// certificates answers the certificate in force, parsed once for each revision.
type certificates struct {
	config *config.Store
	mu     struct {
		sync.Mutex
		revision uint64
		cert     *tls.Certificate
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
