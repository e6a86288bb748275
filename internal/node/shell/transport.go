package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// transport calls a handler in this process as if over the network: what the
// shell may do is what the handler lets the user's token do.
type transport struct {
	api http.Handler
	// from is the address of whoever sits at the shell, for the audit log.
	from string
}

// errAborted: the handler broke the answer off.
var errAborted = errors.New("the answer was broken off")

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	r := req.Clone(ctx)
	r.RemoteAddr, r.RequestURI, r.Host = t.from, req.URL.RequestURI(), req.URL.Host
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if r.Body == nil {
		r.Body = http.NoBody
	}
	pr, pw := io.Pipe()
	a := &answer{header: http.Header{}, started: make(chan struct{}), out: pw}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			var err error
			if p := recover(); p != nil {
				err = errAborted
				if p != http.ErrAbortHandler {
					err = fmt.Errorf("%w: %v", errAborted, p)
				}
			}
			_ = r.Body.Close()
			a.WriteHeader(http.StatusOK)
			_ = pw.CloseWithError(err)
		}()
		t.api.ServeHTTP(a, r)
	}()
	body := &body{PipeReader: pr, cancel: cancel, done: done}
	select {
	case <-a.started:
	case <-ctx.Done():
		_ = body.Close()
		return nil, ctx.Err()
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)), StatusCode: a.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: a.sent, Body: body, ContentLength: -1, Request: req,
	}, nil
}

// body is that of an answer. Closing it ends the handler.
type body struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

// Close waits for the handler.
func (b *body) Close() error {
	b.cancel()
	err := b.PipeReader.Close()
	<-b.done
	return err
}

// answer is what a handler writes to.
type answer struct {
	header  http.Header
	out     *io.PipeWriter
	once    sync.Once
	started chan struct{}
	// Set before started is closed.
	status int
	sent   http.Header
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status < 200 {
		return
	}
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.started)
	})
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.out.Write(b)
}

// Flush implements http.Flusher: nothing is held back.
func (a *answer) Flush() { a.WriteHeader(http.StatusOK) }
