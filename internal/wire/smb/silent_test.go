package smb

import (
	"io"
	"testing"
	"time"

	"manifold/internal/wire/accept"
)

// One client's connections without a session are bounded, and do not last.
func TestSilentConnections(t *testing.T) {
	s := newTestServer(t)
	s.places = accept.NewPlaces(accept.Limits{LoginsPerClient: 2})
	s.o.LoginTimeout = time.Hour
	refused := func(c *client) bool {
		_ = c.c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err := c.c.Read(make([]byte, 1))
		return err == io.EOF
	}
	a := dial(t, s)
	dial(t, s)
	if !refused(dial(t, s)) {
		t.Error("a third connection without a session is taken")
	}
	a.login()
	s.o.LoginTimeout = time.Millisecond // of those to come
	if !refused(dial(t, s)) {
		t.Error("who never logs in stays")
	}
	a.call(cmdEcho, []byte{4, 0, 0, 0}, stOK)
}
