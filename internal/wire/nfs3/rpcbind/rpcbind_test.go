package rpcbind

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"manifold/internal/wire/sunrpc"
	"manifold/internal/wire/wiretest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testEntries = []Entry{
	{100003, 3, "tcp", 2049}, {100003, 3, "tcp6", 2049},
	{100005, 1, "udp", 2050}, {100005, 3, "udp", 2049}, {100005, 3, "tcp", 2049},
}

func testServer() *Server {
	return New(Options{Entries: testEntries, IPv6: true, Now: func() time.Time { return time.Unix(1234, 0) }})
}

// ask calls the handler as from peer.
func ask(t testing.TB, s *Server, peer string, packet bool, vers, proc uint32, args func(*sunrpc.Encoder)) (sunrpc.Accept, sunrpc.Decoder) {
	t.Helper()
	e := sunrpc.NewEncoder(100)
	if args != nil {
		args(&e)
	}
	c := &sunrpc.Call{Prog: Program, Vers: vers, Proc: proc, Packet: packet, Peer: netip.MustParseAddrPort(peer),
		Local: netip.MustParseAddrPort("192.0.2.1:111"), Args: sunrpc.NewDecoder(e.Bytes()), Reply: sunrpc.NewEncoder(100)}
	if c.Peer.Addr().Is6() {
		c.Local = netip.MustParseAddrPort("[2001:db8::1]:111")
	}
	a := s.handle(t.Context(), c)
	return a, sunrpc.NewDecoder(c.Reply.Bytes())
}

const (
	remote = "192.0.2.7:700"
	local  = "127.0.0.1:700"
	guest  = "127.0.0.1:7000"
)

func mapArgs(m mapping) func(*sunrpc.Encoder) {
	return func(e *sunrpc.Encoder) {
		e.U32(m.prog)
		e.U32(m.vers)
		e.String(m.netid)
		e.String(m.addr)
		e.String("me")
	}
}

func pmap(v ...uint32) func(*sunrpc.Encoder) {
	return func(e *sunrpc.Encoder) {
		for _, x := range v {
			e.U32(x)
		}
	}
}

func TestPortmap_getPort(t *testing.T) {
	s := testServer()
	for _, c := range []struct{ prog, vers, proto, port uint32 }{
		{100003, 3, 6, 2049}, {100003, 3, 17, 0}, {100003, 4, 6, 2049}, {100005, 1, 17, 2050}, {100000, 2, 17, 111}, {1, 1, 6, 0}, {100003, 3, 99, 0},
	} {
		a, d := ask(t, s, remote, true, 2, procGetAddr, pmap(c.prog, c.vers, c.proto, 0))
		if got := d.U32(); a != sunrpc.Success || got != c.port {
			t.Errorf("%v: %d, %d", c, got, a)
		}
	}
	a, d := ask(t, s, remote, false, 2, procDump, nil)
	n := 0
	for d.Bool() {
		d.U64()
		d.U64()
		n++
	}
	if a != sunrpc.Success || !d.OK() || d.Left() != 0 || n != 10 {
		t.Errorf("%d entries listed", n)
	}
}

func TestRPCBind_addresses(t *testing.T) {
	s := testServer()
	for _, c := range []struct {
		peer string
		proc uint32
		m    mapping
		want string
	}{
		{remote, procGetAddr, mapping{prog: 100003, vers: 3, netid: "tcp"}, "192.0.2.1.8.1"},
		{remote, procGetAddr, mapping{prog: 100003, vers: 9, netid: "tcp"}, "192.0.2.1.8.1"},
		{remote, procGetVersAddr, mapping{prog: 100003, vers: 9, netid: "tcp"}, ""},
		{remote, procGetAddr, mapping{prog: 100003, vers: 3, netid: "udp"}, ""},
		{remote, procGetAddr, mapping{prog: 100003, vers: 3, netid: "tcp6"}, "::.8.1"},
		{"[2001:db8::7]:700", procGetAddr, mapping{prog: 100003, vers: 3}, "2001:db8::1.8.1"},
		{remote, procGetAddr, mapping{prog: 100003, vers: 3, netid: "bogus"}, "192.0.2.1.8.1"},
	} {
		a, d := ask(t, s, c.peer, false, 4, c.proc, mapArgs(c.m))
		if got := string(d.Opaque(200)); a != sunrpc.Success || got != c.want {
			t.Errorf("%+v: %q, want %q", c.m, got, c.want)
		}
	}
	_, d := ask(t, s, remote, false, 4, procGetAddrList, mapArgs(mapping{prog: 100005, vers: 3}))
	var got []string
	for d.Bool() {
		addr, netid := string(d.Opaque(99)), string(d.Opaque(99))
		sem, family, proto := d.U32(), string(d.Opaque(99)), string(d.Opaque(99))
		if family != "inet" || proto != netid || sem != map[string]uint32{"tcp": 3, "udp": 1}[netid] {
			t.Errorf("%s %d %s %s", netid, sem, family, proto)
		}
		got = append(got, netid+" "+addr)
	}
	if !d.OK() || d.Left() != 0 || len(got) != 2 || got[0] != "udp 192.0.2.1.8.1" {
		t.Errorf("%v", got)
	}
	if _, d := ask(t, s, remote, false, 3, procGetTime, nil); d.U32() != 1234 {
		t.Error("time")
	}
	for _, text := range []string{"192.0.2.9.8.1", "2001:db8::9.255.254"} {
		_, d := ask(t, s, remote, false, 3, procUaddrToTaddr, func(e *sunrpc.Encoder) { e.String(text) })
		n := d.U32()
		b := d.Opaque(100)
		_, d = ask(t, s, remote, false, 4, procTaddrToUaddr, func(e *sunrpc.Encoder) { e.U32(n); e.Opaque(b) })
		if got := string(d.Opaque(100)); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	_, d = ask(t, s, remote, false, 4, procGetStat, nil)
	if d.Left() != 3*(procCount+4)*4 {
		t.Errorf("statistics of %d bytes", d.Left())
	}
}

func TestRPCBind_changesOnlyFromThisMachine(t *testing.T) {
	s := testServer()
	status := mapping{prog: 100024, vers: 1, netid: "udp", addr: "0.0.0.0.3.1"}
	set := func(peer string, m mapping) bool {
		_, d := ask(t, s, peer, false, 4, procSet, mapArgs(m))
		return d.Bool()
	}
	unset := func(peer string, m mapping) bool {
		_, d := ask(t, s, peer, false, 4, procUnset, mapArgs(m))
		return d.Bool()
	}
	nfs := mapping{prog: 100003, vers: 3, netid: "tcp", addr: "0.0.0.0.3.1"}
	if set(remote, status) || set(guest, status) {
		t.Error("a stranger registered a program")
	}
	if !set(local, status) || !set(local, status) {
		t.Error("this machine could not")
	}
	if unset(remote, status) || unset(guest, status) {
		t.Error("a stranger removed a program")
	}
	if set(local, nfs) || unset(local, nfs) || unset(local, mapping{prog: 100003, vers: 3}) {
		t.Error("our own entry was changed")
	}
	if _, ok := s.find(100024, 1, "udp", true); !ok {
		t.Error("not registered")
	}
	if !unset(local, mapping{prog: 100024, vers: 1}) || unset(local, status) {
		t.Error("removal")
	}
	for i := range uint32(2 * maxAdded) {
		set(local, mapping{prog: i, vers: 1, netid: "tcp", addr: "0.0.0.0.3.1"})
	}
	if n := len(s.entries) - s.fixed; n != maxAdded {
		t.Errorf("%d entries added", n)
	}
	_, d := ask(t, s, local, false, 2, procUnset, pmap(5, 1, 6, 0))
	if !d.Bool() {
		t.Error("removal by version 2")
	}
	_, d = ask(t, s, local, false, 2, procSet, pmap(5, 1, 6, 99))
	if !d.Bool() {
		t.Error("registration by version 2")
	}
}

func TestRPCBind_callsNobodyForOthers(t *testing.T) {
	s := testServer()
	for vers := uint32(2); vers <= 4; vers++ {
		if a, _ := ask(t, s, remote, true, vers, procCallIt, nil); a != sunrpc.NoReply {
			t.Errorf("version %d datagram: %d", vers, a)
		}
		if a, _ := ask(t, s, remote, false, vers, procCallIt, nil); a != sunrpc.ProcedureUnavailable {
			t.Errorf("version %d: %d", vers, a)
		}
	}
	if a, _ := ask(t, s, remote, false, 4, procIndirect, nil); a != sunrpc.ProcedureUnavailable {
		t.Errorf("INDIRECT: %d", a)
	}
	for vers, first := range map[uint32]uint32{2: procGetTime, 3: procGetVersAddr, 4: procCount} {
		if a, _ := ask(t, s, remote, false, vers, first, nil); a != sunrpc.ProcedureUnavailable {
			t.Errorf("version %d has procedure %d", vers, first)
		}
	}
}

func TestServer_overTheNetwork(t *testing.T) {
	s := testServer()
	tcp, udp := wiretest.Serve(t, s)
	c := wiretest.Client(t, tcp)
	err := c.Call(t.Context(), Program, 4, procGetAddr, nil, mapArgs(mapping{prog: 100005, vers: 3, netid: "udp"}), func(d *sunrpc.Decoder) error {
		if got := string(d.Opaque(99)); got != "127.0.0.1.8.1" {
			t.Errorf("%q", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var e *sunrpc.Error
	if err := c.Call(t.Context(), Program, 5, 0, nil, nil, nil); !errors.As(err, &e) || e.Accept != sunrpc.ProgramMismatch {
		t.Errorf("version 5: %v", err)
	}
	nc := wiretest.Dial(t, "udp", udp)
	w := sunrpc.NewEncoder(100)
	sunrpc.EncodeCall(&w, 1, Program, 2, procGetAddr, nil)
	pmap(100005, 3, 17, 0)(&w)
	if _, err := nc.Write(w.Bytes()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1000)
	n, err := nc.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	d, err := sunrpc.DecodeReply(b[:n])
	if got := d.U32(); err != nil || got != 2049 {
		t.Errorf("%d %v", got, err)
	}
}

// machine is an rpcbind of this machine, reached as from a privileged port.
func machine(t *testing.T, s *Server) Dial {
	return func(_ context.Context, network, _ string) (net.Conn, error) {
		if network == "unix" {
			return nil, errors.New("no socket")
		}
		here, there := net.Pipe()
		go func() { // ends with the registration's connection
			defer there.Close()
			_ = s.rpc.Serve(t.Context(), &single{conn: privileged{there}, done: make(chan struct{})})
		}()
		return here, nil
	}
}

type privileged struct{ net.Conn }

func (privileged) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))
}

// single is a listener for one connection.
type single struct {
	conn net.Conn
	done chan struct{}
}

func (l *single) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *single) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *single) Addr() net.Addr { return &net.TCPAddr{} }

func TestRegister_withTheMachines(t *testing.T) {
	s := New(Options{})
	dial := machine(t, s)
	mine := []Entry{{100003, 3, "tcp", 2049}, {100005, 3, "udp6", 2049}}
	if !registered(t, s, dial, Entry{100003, 3, "tcp", 9}) {
		t.Fatal("could not prepare an entry of a crashed predecessor")
	}
	r, err := Register(t.Context(), dial, mine)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range mine {
		if got, ok := s.find(e.Prog, e.Vers, e.Net, true); !ok || got != e {
			t.Errorf("%+v: %+v", e, got)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.entries) != s.fixed {
		t.Errorf("left over: %+v", s.entries[s.fixed:])
	}
	_, err = Register(t.Context(), dial, []Entry{{100003, 3, "tcp", 2049}, {Program, 2, "tcp", 2049}})
	if !errors.Is(err, ErrRefused) {
		t.Errorf("taking over rpcbind itself: %v", err)
	}
	if len(s.entries) != s.fixed {
		t.Errorf("left over after a refusal: %+v", s.entries[s.fixed:])
	}
	if _, err := Register(t.Context(), func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("nobody there") }, mine); err == nil {
		t.Error("registered with nobody")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func registered(t *testing.T, s *Server, dial Dial, e Entry) bool {
	if _, err := Register(t.Context(), dial, []Entry{e}); err != nil {
		t.Fatal(err)
	}
	_, ok := s.find(e.Prog, e.Vers, e.Net, true)
	return ok
}

func FuzzCalls(f *testing.F) {
	e := sunrpc.NewEncoder(100)
	mapArgs(mapping{prog: 100003, vers: 3, netid: "tcp", addr: "0.0.0.0.8.1"})(&e)
	for proc := range uint32(procCount) {
		f.Add(uint32(4), proc, e.Bytes())
	}
	f.Add(uint32(4), uint32(procTaddrToUaddr), []byte("\x00\x00\x00\x10\x00\x00\x00\x10\x02\x00\x08\x01\x01\x02\x03\x04\x00\x00\x00\x00\x00\x00\x00\x00"))
	s := testServer()
	f.Fuzz(func(t *testing.T, vers, proc uint32, p []byte) {
		c := &sunrpc.Call{Prog: Program, Vers: 2 + vers%3, Proc: proc % 15, Peer: netip.MustParseAddrPort(local),
			Args: sunrpc.NewDecoder(p), Reply: sunrpc.NewEncoder(100), Packet: vers%2 == 0}
		defer c.Reply.Release()
		s.handle(context.Background(), c)
		if c.Reply.Len()%4 != 0 || len(s.entries) > s.fixed+maxAdded {
			t.Errorf("%d bytes, %d entries", c.Reply.Len(), len(s.entries))
		}
	})
}
