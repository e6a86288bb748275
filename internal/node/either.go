package node

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"manifold/internal/wire/accept"
)

// eitherListener accepts connections with TLS, and without where insecure says
// so: the first byte tells.
type eitherListener struct {
	net.Listener
	tls      *tls.Config
	insecure func() bool
	// full says that there are as many connections as there may be.
	full func() bool

	ready   chan net.Conn
	done    chan struct{} // closed when the listener below is
	ended   chan struct{} // closed when no goroutine is left
	waiting sync.WaitGroup
	places  *accept.Places // of the silent
	mu      struct {
		sync.Mutex
		err    error
		silent map[net.Conn]*accept.Place // those that have not sent their first byte
	}
}

const (
	firstByteTimeout = 30 * time.Second
	// Connections that have not sent their first byte, of all and of one client.
	maxSilent          = 1024
	maxSilentPerClient = 128
	recordHandshake    = 22 // RFC 8446 §5.1
)

// newEitherListener takes a listener over; closing the one closes the other.
func newEitherListener(l net.Listener, c *tls.Config, insecure, full func() bool) *eitherListener {
	e := &eitherListener{Listener: l, tls: c, insecure: insecure, full: full,
		places: accept.NewPlaces(accept.Limits{Conns: maxSilent, PerClient: maxSilentPerClient}),
		ready:  make(chan net.Conn), done: make(chan struct{}), ended: make(chan struct{})}
	e.mu.silent = map[net.Conn]*accept.Place{}
	go e.accept()
	return e
}

// wait waits for all goroutines, once the listener was closed.
func (e *eitherListener) wait() { <-e.ended }

// accept ends when the listener below is closed.
func (e *eitherListener) accept() {
	defer close(e.ended)
	defer e.waiting.Wait()
	defer e.hangUp()
	rest := time.Duration(0)
	for {
		c, err := e.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			e.mu.Lock()
			e.mu.err = err
			e.mu.Unlock()
			return
		case err != nil:
			// Out of descriptors, most likely: some will be free again.
			rest = min(max(2*rest, 5*time.Millisecond), time.Second)
			t := time.NewTimer(rest)
			<-t.C
			continue
		}
		rest = 0
		switch {
		case e.full():
			_ = c.Close()
		case !e.insecure():
			e.hand(tls.Server(c, e.tls))
		case e.listen(c):
			e.waiting.Go(func() { e.sniff(c) })
		default:
			_ = c.Close()
		}
	}
}

// hangUp ends what has not been handed over.
func (e *eitherListener) hangUp() {
	close(e.done)
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.mu.silent {
		_ = c.Close()
	}
}

// listen notes a connection that has not said anything, unless there are too many.
func (e *eitherListener) listen(c net.Conn) bool {
	p := e.places.Take(accept.AddrPort(c.RemoteAddr()).Addr())
	if p == nil {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mu.silent[c] = p
	return true
}

// hand gives a connection to Accept, or closes it when there is none any more.
func (e *eitherListener) hand(c net.Conn) {
	select {
	case e.ready <- c:
	case <-e.done:
		_ = c.Close()
	}
}

// sniff reads the first byte.
func (e *eitherListener) sniff(c net.Conn) {
	b := make([]byte, 1)
	_ = c.SetReadDeadline(time.Now().Add(firstByteTimeout))
	n, err := c.Read(b)
	e.mu.Lock()
	e.mu.silent[c].Leave()
	delete(e.mu.silent, c)
	e.mu.Unlock()
	if err != nil || n == 0 {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	p := &prefixed{Conn: c, pre: b}
	if b[0] == recordHandshake {
		e.hand(tls.Server(p, e.tls))
		return
	}
	e.hand(p)
}

// Accept implements net.Listener.
func (e *eitherListener) Accept() (net.Conn, error) {
	select {
	case c := <-e.ready:
		return c, nil
	case <-e.done:
		e.mu.Lock()
		defer e.mu.Unlock()
		return nil, e.mu.err
	}
}

// prefixed is a connection of which something was read already.
type prefixed struct {
	net.Conn
	pre []byte
}

func (c *prefixed) Read(b []byte) (int, error) {
	if len(c.pre) > 0 {
		n := copy(b, c.pre)
		c.pre = c.pre[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}
