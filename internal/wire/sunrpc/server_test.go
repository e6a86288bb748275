package sunrpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testProg = 0x20000001
	procNull = 0
	procEcho = 1
	procWait = 2 // answers when released
	procOnce = 3 // counts how often it ran
	procBig  = 4 // answers as many bytes as asked
)

type testService struct {
	ran     atomic.Int32
	entered chan struct{}
	release chan struct{}
}

func (t *testService) program() *Program {
	return &Program{
		Number: testProg, Versions: []uint32{2, 4}, Packet: true,
		Once: func(_, proc uint32) bool { return proc == procOnce },
		ReplySize: func(c *Call) int {
			d := c.Args
			if n := d.U32(); c.Proc == procBig && d.OK() {
				return int(min(n, 1<<20))
			}
			return 64
		},
		Handle: func(ctx context.Context, c *Call) Accept {
			switch c.Proc {
			case procNull:
				return Success
			case procEcho:
				p := c.Args.Opaque(1 << 20)
				if !c.Args.OK() {
					return GarbageArgs
				}
				c.Reply.Opaque(p)
				return Success
			case procWait, procOnce:
				n := t.ran.Add(1)
				if t.entered != nil {
					t.entered <- struct{}{}
				}
				if t.release != nil {
					select {
					case <-t.release:
					case <-ctx.Done():
						return SystemError
					}
				}
				c.Reply.U32(uint32(n))
				return Success
			case procBig:
				n := c.Args.U32()
				clear(c.Reply.Reserve(int(min(n, 1<<20))))
				return Success
			}
			return ProcedureUnavailable
		},
	}
}

func startServer(t testing.TB, o Options) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, l, o), l.Addr().String()
}

func startOn(t testing.TB, l net.Listener, o Options) *Server {
	s := New(o)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(t.Context(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-ended; err != nil && !errors.Is(err, ErrShutdown) {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

func dialClient(t testing.TB, addr string) *Client {
	c := NewClient(dial(t, addr))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func record(xid, vers, proc uint32, args func(*Encoder)) []byte {
	e := NewEncoder(0)
	e.U32(0)
	EncodeCall(&e, xid, testProg, vers, proc, &SysCred{Machine: "m", UID: 7, GID: 8, GIDs: []uint32{9}})
	if args != nil {
		args(&e)
	}
	e.SetU32(0, lastFragment|uint32(e.Len()-4))
	return bytes.Clone(e.b)
}

func TestServer_pipelinedCallsRunAtOnce(t *testing.T) {
	svc := &testService{entered: make(chan struct{}), release: make(chan struct{})}
	_, addr := startServer(t, Options{Programs: []*Program{svc.program()}})
	c := dialClient(t, addr)
	const n = 20
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := c.Call(t.Context(), testProg, 2, procWait, nil, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range n {
		<-svc.entered // only passes if all are inside at the same time
	}
	if err := c.Call(t.Context(), testProg, 4, procNull, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	close(svc.release)
	wg.Wait()
}

func TestServer_echoOfAllSizes(t *testing.T) {
	_, addr := startServer(t, Options{Programs: []*Program{(&testService{}).program()}})
	c := dialClient(t, addr)
	for _, n := range []int{0, 1, 3, 400, 900, 1000, 1024, 1025, 4096, 70000, 1 << 20} {
		p := bytes.Repeat([]byte{byte(n), 1, 2}, n/3+1)[:n]
		err := c.Call(t.Context(), testProg, 2, procEcho, &SysCred{Machine: "m"}, func(e *Encoder) { e.Opaque(p) }, func(d *Decoder) error {
			if got := d.Opaque(1 << 20); !d.OK() || !bytes.Equal(got, p) {
				t.Errorf("%d bytes came back as %d", n, len(got))
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
}

// Replies in one batch and calls cut at every byte must not change anything.
func TestServer_anySegmentation(t *testing.T) {
	_, addr := startServer(t, Options{Programs: []*Program{(&testService{}).program()}})
	a := record(1, 2, procEcho, func(e *Encoder) { e.String("first") })
	b := record(2, 2, procEcho, func(e *Encoder) { e.Opaque(make([]byte, 1500)) })
	both := append(bytes.Clone(a), b...)
	nc := dial(t, addr)
	for cut := 1; cut < len(both); cut += 13 {
		if _, err := nc.Write(both[:cut]); err != nil {
			t.Fatal(err)
		}
		if _, err := nc.Write(both[cut:]); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := readRecord(nc, 4096); err != nil {
				t.Fatalf("cut at %d: %v", cut, err)
			}
		}
	}
}

func TestServer_fragments(t *testing.T) {
	_, addr := startServer(t, Options{Programs: []*Program{(&testService{}).program()}})
	whole := record(5, 2, procEcho, func(e *Encoder) { e.Opaque(bytes.Repeat([]byte("x"), 3000)) })[4:]
	for _, size := range []int{1, 7, 100, 1024, 2999} {
		if size == 1 {
			whole = record(5, 2, procEcho, func(e *Encoder) { e.String("short") })[4:]
		} else {
			whole = record(5, 2, procEcho, func(e *Encoder) { e.Opaque(bytes.Repeat([]byte("x"), 3000)) })[4:]
		}
		nc := dial(t, addr)
		var out []byte
		for at := 0; at < len(whole); at += size {
			part := whole[at:min(at+size, len(whole))]
			mark := uint32(len(part))
			if at+size >= len(whole) {
				mark |= lastFragment
			}
			out = binary.BigEndian.AppendUint32(out, mark)
			out = append(out, part...)
		}
		if _, err := nc.Write(out); err != nil {
			t.Fatal(err)
		}
		rec, err := readRecord(nc, 4096)
		if err != nil {
			t.Fatalf("fragments of %d: %v", size, err)
		}
		if _, err := DecodeReply(rec); err != nil {
			t.Fatalf("fragments of %d: %v", size, err)
		}
	}
}

func TestServer_refusals(t *testing.T) {
	s, addr := startServer(t, Options{Programs: []*Program{(&testService{}).program()}})
	c := dialClient(t, addr)
	for _, x := range []struct {
		name             string
		prog, vers, proc uint32
		want             Accept
	}{
		{"program", 77, 2, 0, ProgramUnavailable},
		{"version", testProg, 3, 0, ProgramMismatch},
		{"procedure", testProg, 2, 99, ProcedureUnavailable},
		{"arguments", testProg, 2, procEcho, GarbageArgs},
	} {
		var e *Error
		if err := c.Call(t.Context(), x.prog, x.vers, x.proc, nil, nil, nil); !errors.As(err, &e) || e.Denied || e.Accept != x.want {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	if n := s.Stats().Unserved; n != 4 {
		t.Errorf("unserved %d", n)
	}

	raw := func(change func([]byte)) ([]byte, error) {
		nc := dial(t, addr)
		p := record(9, 2, procNull, nil)
		change(p)
		if _, err := nc.Write(p); err != nil {
			t.Fatal(err)
		}
		return readRecord(nc, 100)
	}
	words := func(vs ...uint32) (b []byte) {
		for _, v := range vs {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	for _, x := range []struct {
		name   string
		change func([]byte)
		want   []byte
	}{
		{"rpc version", func(p []byte) { p[4+11] = 3 }, words(9, 1, 1, 0, 2, 2)},
		{"unknown flavour", func(p []byte) { p[4+27] = 6 }, words(9, 1, 1, 1, 2)},
		{"17 groups", func(p []byte) { p[4+4*13+3-0] = 17 }, words(9, 1, 1, 1, 1)},
		{"credential too long", func(p []byte) { p[4+28] = 1 }, words(9, 1, 1, 1, 1)},
	} {
		got, err := raw(x.change)
		if err != nil || !bytes.Equal(got, x.want) {
			t.Errorf("%s: %x, %v; want %x", x.name, got, err, x.want)
		}
	}
	if _, err := raw(func(p []byte) { p[4+7] = 1 }); !errors.Is(err, io.EOF) {
		t.Errorf("a reply as a call: %v, want the connection closed", err)
	}
	if _, err := raw(func(p []byte) { p[0], p[1] = 0xff, 0xff }); err == nil {
		t.Errorf("an endless record is taken")
	}
	if n := s.Stats().BadRecords; n != 2 {
		t.Errorf("bad records %d", n)
	}
}

func TestServer_repeatedCallRunsOnce(t *testing.T) {
	svc := &testService{}
	s, addr := startOnePort(t, Options{Programs: []*Program{svc.program()}})
	p := record(3, 2, procOnce, nil)
	var first []byte
	var nc net.Conn
	for range 3 {
		nc = dial(t, addr)
		if _, err := nc.Write(p); err != nil {
			t.Fatal(err)
		}
		got, err := readRecord(nc, 100)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = got
		} else if !bytes.Equal(got, first) {
			t.Errorf("repeated call answered %x, at first %x", got, first)
		}
		if len(first) == 0 {
			t.Fatal("no answer")
		}
		_ = nc.Close()
	}
	nc = dial(t, addr)
	if _, err := nc.Write(record(3, 2, procOnce, func(e *Encoder) { e.U32(1) })); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(nc, 100); err != nil {
		t.Fatal(err)
	}
	if n := svc.ran.Load(); n != 2 {
		t.Errorf("ran %d times, want 2: a repeat ran, or other arguments did not", n)
	}
	if n := s.Stats().CacheHits; n != 2 {
		t.Errorf("cache hits %d", n)
	}
}

// onePort is a listener whose connections all seem to come from one address and
// port, as those of a client do that lost its connection.
type onePort struct{ net.Listener }

func (l onePort) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return fromOnePort{nc}, nil
}

type fromOnePort struct{ net.Conn }

func (fromOnePort) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 700} }

func startOnePort(t *testing.T, o Options) (*Server, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startOn(t, onePort{l}, o), l.Addr().String()
}

func TestServer_repeatJoinsRunningCall(t *testing.T) {
	svc := &testService{entered: make(chan struct{}, 9), release: make(chan struct{})}
	s, addr := startOnePort(t, Options{Programs: []*Program{svc.program()}})
	p := record(3, 2, procOnce, nil)
	a := dial(t, addr)
	if _, err := a.Write(p); err != nil {
		t.Fatal(err)
	}
	<-svc.entered
	_ = a.Close()
	b := dial(t, addr)
	if _, err := b.Write(p); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return s.Stats().CacheJoined == 1 })
	close(svc.release)
	rec, err := readRecord(b, 100)
	if err != nil {
		t.Fatal(err)
	}
	d, err := DecodeReply(rec)
	if n := d.U32(); err != nil || n != 1 {
		t.Errorf("run %d, %v", n, err)
	}
}

// waitFor polls a counter that has no event of its own.
func waitFor(t testing.TB, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(10 * time.Second)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("waited too long")
		}
	}
}

func TestServer_shutdownAnswersWhatRuns(t *testing.T) {
	svc := &testService{entered: make(chan struct{}, 1), release: make(chan struct{})}
	s, addr := startServer(t, Options{Programs: []*Program{svc.program()}})
	c := dialClient(t, addr)
	idle := dial(t, addr)
	res := make(chan error, 1)
	go func() { res <- c.Call(t.Context(), testProg, 2, procWait, nil, nil, nil) }()
	<-svc.entered
	waitFor(t, func() bool { return s.Stats().Conns == 2 }) // one that is not accepted yet is refused
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("idle connection: %v", err)
	}
	close(svc.release)
	if err := <-res; err != nil {
		t.Errorf("call in flight: %v", err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestServer_stalledPeersAreClosed(t *testing.T) {
	svc := &testService{}
	s, addr := startServer(t, Options{Programs: []*Program{svc.program()}, StallTimeout: 40 * time.Millisecond})
	half := dial(t, addr)
	p := record(1, 2, procEcho, func(e *Encoder) { e.Opaque(make([]byte, 5000)) })
	if _, err := half.Write(p[:3000]); err != nil {
		t.Fatal(err)
	}
	idle := dialClient(t, addr)
	deaf := dial(t, addr)
	big := record(1, 2, procBig, func(e *Encoder) { e.U32(1 << 20) })
	go func() {
		for range 64 { // more than the socket buffers hold; nobody reads
			if _, err := deaf.Write(big); err != nil {
				return
			}
		}
	}()
	if _, err := io.ReadAll(half); err != nil && !errors.Is(err, io.EOF) {
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			t.Error(err)
		}
	}
	waitFor(t, func() bool { return s.Stats().Stalled >= 2 && s.Stats().Conns == 1 })
	if err := idle.Call(t.Context(), testProg, 2, procNull, nil, nil, nil); err != nil {
		t.Errorf("an idle connection was closed too: %v", err)
	}
}

func TestServer_memoryInFlightIsBounded(t *testing.T) {
	svc := &testService{entered: make(chan struct{}, 100), release: make(chan struct{})}
	s, addr := startServer(t, Options{Programs: []*Program{svc.program()}, MaxCallsPerConn: 3})
	c := dialClient(t, addr)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := c.Call(t.Context(), testProg, 2, procWait, nil, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		<-svc.entered
	}
	waitFor(t, func() bool { return s.Stats().Waits > 0 })
	if n := svc.ran.Load(); n != 3 {
		t.Errorf("%d calls run at once, limit 3", n)
	}
	close(svc.release)
	wg.Wait()
	waitFor(t, func() bool { return s.Stats().RequestBytes == 0 })
}

func TestServer_connectionLimits(t *testing.T) {
	s, addr := startServer(t, Options{Programs: []*Program{(&testService{}).program()}, MaxConnsPerAddr: 2})
	a, b := dialClient(t, addr), dialClient(t, addr)
	for _, c := range []*Client{a, b} {
		if err := c.Call(t.Context(), testProg, 2, procNull, nil, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := dial(t, addr).Read(make([]byte, 1)); err == nil {
		t.Error("third connection taken")
	}
	_ = a.Close()
	waitFor(t, func() bool { return s.Stats().Conns == 1 })
	if err := dialClient(t, addr).Call(t.Context(), testProg, 2, procNull, nil, nil, nil); err != nil {
		t.Errorf("after one left: %v", err)
	}
}

func TestServer_packets(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stream := (&testService{}).program()
	stream.Number++
	stream.Packet = false
	s := New(Options{Programs: []*Program{(&testService{}).program(), stream}})
	ended := make(chan error, 1)
	go func() { ended <- s.ServePacket(t.Context(), pc) }()
	nc, err := net.Dial("udp", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ask := func(p []byte) []byte {
		if _, err := nc.Write(p); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 9000)
		_ = nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := nc.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return b[:n]
	}
	if _, err := nc.Write([]byte("rubbish")); err != nil {
		t.Fatal(err)
	}
	d, err := DecodeReply(ask(record(1, 2, procEcho, func(e *Encoder) { e.String("hello") })[4:]))
	if got := d.Opaque(10); err != nil || string(got) != "hello" {
		t.Errorf("%q %v", got, err)
	}
	p := record(1, 2, procNull, nil)[4:]
	p[15]++
	var e *Error
	if _, err := DecodeReply(ask(p)); !errors.As(err, &e) || e.Accept != ProgramUnavailable {
		t.Errorf("a program for streams only: %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s.Stats().PacketsLost != 1 {
		t.Errorf("lost %d", s.Stats().PacketsLost)
	}
}

func TestServer_endOfContextCuts(t *testing.T) {
	svc := &testService{entered: make(chan struct{}, 1), release: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Programs: []*Program{svc.program()}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	c := dialClient(t, l.Addr().String())
	res := make(chan error, 1)
	go func() { res <- c.Call(t.Context(), testProg, 2, procWait, nil, nil, nil) }()
	<-svc.entered
	cancel()
	if err := <-res; err == nil {
		t.Errorf("call: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := s.Serve(t.Context(), l); !errors.Is(err, ErrShutdown) {
		t.Errorf("serve after shutdown: %v", err)
	}
}

func TestServer_versionsOfOneProgram(t *testing.T) {
	strict := &Program{Number: testProg, Versions: []uint32{7}, Handle: func(_ context.Context, c *Call) Accept {
		if c.Cred.Flavor != FlavorSys {
			return TooWeak
		}
		return Success
	}}
	_, addr := startServer(t, Options{Programs: []*Program{(&testService{}).program(), strict}})
	c := dialClient(t, addr)
	for _, vers := range []uint32{2, 4, 7} {
		if err := c.Call(t.Context(), testProg, vers, 0, &SysCred{}, nil, nil); err != nil {
			t.Errorf("version %d: %v", vers, err)
		}
	}
	var e *Error
	if err := c.Call(t.Context(), testProg, 7, 0, nil, nil, nil); !errors.As(err, &e) || !e.Denied || e.Auth != AuthTooWeak {
		t.Errorf("a credential that is too weak: %v", err)
	}
	nc := dial(t, addr)
	if _, err := nc.Write(record(1, 9, 0, nil)); err != nil {
		t.Fatal(err)
	}
	rec, err := readRecord(nc, 100)
	if err != nil || len(rec) != 32 || rec[27] != 2 || rec[31] != 7 {
		t.Errorf("an unknown version: %x %v, want 2 to 7 offered", rec, err)
	}
}
