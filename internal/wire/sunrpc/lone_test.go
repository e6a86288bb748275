package sunrpc

import (
	"context"
	"testing"
)

// loneClient calls a server one call at a time, the next only when the server
// is done with the last: a worker may still be at work when its reply has come.
type loneClient struct {
	*Client
	t  *testing.T
	at *conn // the server's side
}

func dialLone(t *testing.T, s *Server, addr string) *loneClient {
	l := &loneClient{Client: dialClient(t, addr), t: t}
	waitFor(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.conns {
			l.at = c
		}
		return l.at != nil
	})
	return l
}

func (l *loneClient) call(proc uint32, args func(*Encoder)) {
	l.t.Helper()
	l.mustCall(proc, args)
	waitFor(l.t, func() bool {
		l.at.mu.Lock()
		defer l.at.mu.Unlock()
		return l.at.calls == 0
	})
}

func (l *loneClient) mustCall(proc uint32, args func(*Encoder)) {
	l.t.Helper()
	if err := l.Call(l.t.Context(), testProg, 2, proc, nil, args, nil); err != nil {
		l.t.Fatal(err)
	}
}

func quickNull(_, proc uint32) bool { return proc == procNull }

// TestServer_loneCallsAreNotHandedOver counts hand-offs to workers: none once a
// client has sent its calls one by one for a while, if the program wants that.
func TestServer_loneCallsAreNotHandedOver(t *testing.T) {
	for name, quick := range map[string]func(_, proc uint32) bool{"quick": quickNull, "not": nil} {
		t.Run(name, func(t *testing.T) {
			svc := &testService{}
			p := svc.program()
			p.Quick = quick
			s, addr := startServer(t, Options{Programs: []*Program{p}})
			const n = 100
			for tries := 1; ; tries++ {
				l := dialLone(t, s, addr)
				before := s.Stats()
				for range n {
					l.call(procOnce, nil)
				}
				after := s.Stats()
				if after.TakenOver != before.TakenOver && tries < 20 {
					_ = l.Close() // a call was long, on a machine that is too busy
					waitFor(t, func() bool { return s.Stats().Conns == 0 })
					continue
				}
				switch handed := after.Handed - before.Handed; {
				case quick == nil && handed != n:
					t.Errorf("%d calls handed over, want all", handed)
				case quick != nil && handed > n/2: // 16, more if a call came in parts
					t.Errorf("%d of %d calls handed over", handed, n)
				}
				if ran := svc.ran.Load(); int(ran) != n*tries {
					t.Errorf("ran %d times in %d tries", ran, tries)
				}
				return
			}
		})
	}
}

// TestServer_longCallDoesNotHoldItsConnection lets a call that the reader runs
// wait for one that comes later on the same connection, three deep.
func TestServer_longCallDoesNotHoldItsConnection(t *testing.T) {
	svc := &testService{entered: make(chan struct{}), release: make(chan struct{})}
	p := svc.program()
	p.Quick = func(uint32, uint32) bool { return true }
	s, addr := startServer(t, Options{Programs: []*Program{p}})
	l := dialLone(t, s, addr)
	answers := make(chan error, 3)
	for range cap(answers) {
		go func() {
			answers <- l.Call(context.Background(), testProg, 2, procWait, nil, nil, nil)
		}()
		<-svc.entered // each is read though the one before still runs
	}
	l.mustCall(procEcho, func(e *Encoder) { e.Opaque([]byte("x")) })
	if n := s.Stats().TakenOver; n == 0 {
		t.Error("no other goroutine took over")
	}
	close(svc.release)
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	l.mustCall(procEcho, func(e *Encoder) { e.Opaque([]byte("x")) })
}

// TestServer_connectionEndsDuringLongCall closes a connection whose first reader
// still runs a call: the server answers it and lets go of everything.
func TestServer_connectionEndsDuringLongCall(t *testing.T) {
	svc := &testService{entered: make(chan struct{}), release: make(chan struct{})}
	p := svc.program()
	p.Quick = func(uint32, uint32) bool { return true }
	s, addr := startServer(t, Options{Programs: []*Program{p}})
	nc := dial(t, addr)
	if _, err := nc.Write(record(1, 2, procWait, nil)); err != nil {
		t.Fatal(err)
	}
	<-svc.entered
	waitFor(t, func() bool { return s.Stats().TakenOver == 1 })
	if err := nc.Close(); err != nil {
		t.Fatal(err)
	}
	close(svc.release)
	waitFor(t, func() bool { return s.Stats().Conns == 0 })
}

// TestServer_overlappingCallsAreHandedOver has a client send its calls one by one and
// then each before the reply to the last: the reader must come to leave them to
// workers, since it makes the next wait for the one that it runs.
func TestServer_overlappingCallsAreHandedOver(t *testing.T) {
	svc := &testService{entered: make(chan struct{}), release: make(chan struct{})}
	p := svc.program()
	p.Quick = quickNull
	s, addr := startServer(t, Options{Programs: []*Program{p}})
	nc := dial(t, addr)
	var xid uint32
	send := func(proc uint32) {
		t.Helper()
		xid++
		if _, err := nc.Write(record(xid, 2, proc, nil)); err != nil {
			t.Fatal(err)
		}
	}
	answer := func() {
		t.Helper()
		if _, err := readRecord(nc, 4096); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 * loneMost {
		send(procNull)
		answer()
	}
	const n, most = 100, loneMost / overlap
	before := s.Stats()
	send(procWait)
	for range n {
		<-svc.entered
		send(procWait) // while the last runs, and to be read when it is answered
		svc.release <- struct{}{}
		answer()
	}
	<-svc.entered
	svc.release <- struct{}{}
	answer()
	if handed := s.Stats().Handed - before.Handed; handed < n-most {
		t.Errorf("%d of %d calls handed over", handed, n+1)
	}
}
