package accept

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a Set on a port of the system's choice; every connection goes to conns.
func serve(t *testing.T, o Options) (s *Set, dial func() net.Conn, conns chan *Conn) {
	t.Helper()
	s, conns = New(o), make(chan *Conn)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() {
		served <- s.Serve(context.Background(), l, Handler{
			Serve: func(ctx context.Context, c *Conn) {
				conns <- c
				<-ctx.Done()
			},
			Refuse: func(nc net.Conn) { _, _ = io.WriteString(nc, "full") },
		})
	}()
	t.Cleanup(func() {
		_ = s.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := s.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	return s, func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}, conns
}

func said(t *testing.T, c net.Conn) string {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBounds(t *testing.T) {
	for name, o := range map[string]Options{
		"all": {Limits: Limits{Conns: 2}}, "client": {Limits: Limits{PerClient: 2}},
		"logins": {Limits: Limits{Logins: 2}}, "logins of a client": {Limits: Limits{LoginsPerClient: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			s, dial, conns := serve(t, o)
			dial()
			first := <-conns
			second := dial()
			<-conns
			if got := said(t, dial()); got != "full" {
				t.Errorf("%q", got)
			}
			first.LoggedIn("ann")
			if strings.HasPrefix(name, "logins") {
				dial()
				<-conns
				return
			}
			if n := s.Disconnect("ann"); n != 1 {
				t.Errorf("%d connections of ann", n)
			}
			if s.Disconnect("") != 0 {
				t.Error("those who have not logged in are nobody")
			}
			_ = second
			if st := s.Stats(); st.Accepted != 2 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestShutdown_waitsForWork(t *testing.T) {
	s, dial, conns := serve(t, Options{})
	idle := dial()
	<-conns
	busy := dial()
	c := <-conns
	c.Begin()
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	if got := said(t, idle); got != "" { // ends at once
		t.Errorf("%q", got)
	}
	select {
	case <-done:
		t.Fatal("Shutdown did not wait")
	default:
	}
	c.End()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := said(t, busy); got != "" {
		t.Errorf("%q", got)
	}
}

func TestShutdown_cutsOff(t *testing.T) {
	s, dial, conns := serve(t, Options{})
	dial()
	(<-conns).Begin()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
