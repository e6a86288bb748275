package nlm

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/wire/nfs3/rpcbind"
	"manifold/internal/wire/sunrpc"
	"manifold/internal/wire/wiretest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Store whose contents outlive a service.
type memory struct {
	mu    sync.Mutex
	state uint32
	hosts map[hostKey]Host
	fail  error
}

func (m *memory) Load(context.Context) (uint32, []Host, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state, slices.Collect(maps.Values(m.hosts)), m.fail
}

func (m *memory) SetState(_ context.Context, s uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state = s
	return m.fail
}

func (m *memory) Put(_ context.Context, h Host) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail == nil {
		m.hosts[h.key()] = h
	}
	return m.fail
}

func (m *memory) Remove(_ context.Context, h Host) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.hosts, h.key())
	return m.fail
}

func (m *memory) len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.hosts)
}

// peer is the lock manager and status monitor of all clients.
type peer struct {
	rpcbind, programs string // addresses
	mu                sync.Mutex
	answer            Status
	down              bool
	granted           chan lockCall
	notices           chan string
	dialed            chan netip.Addr
}

type lockCall struct {
	cookie    string
	exclusive bool
	svid      uint32
	off, n    uint64
}

func startPeer(t *testing.T) *peer {
	p := &peer{granted: make(chan lockCall, 100), notices: make(chan string, 100), dialed: make(chan netip.Addr, 1000)}
	programs := sunrpc.New(sunrpc.Options{Programs: []*sunrpc.Program{
		{Number: Program, Versions: []uint32{4}, Handle: func(_ context.Context, c *sunrpc.Call) sunrpc.Accept {
			var a args
			switch c.Proc {
			case procGranted:
				a.cookie = c.Args.Opaque(maxObject)
				a.exclusive = c.Args.Bool()
				a.lock.decode(&c.Args)
				p.granted <- lockCall{string(a.cookie), a.exclusive, a.svid, a.off, a.length}
				c.Reply.Opaque(a.cookie)
				p.mu.Lock()
				c.Reply.U32(uint32(p.answer))
				p.mu.Unlock()
			case procTestRes + 1: // the answer to an asynchronous LOCK
				p.granted <- lockCall{cookie: string(c.Args.Opaque(maxObject)), svid: c.Args.U32()}
			default:
				return sunrpc.ProcedureUnavailable
			}
			if !c.Args.OK() {
				t.Error("a callback does not decode")
			}
			return sunrpc.Success
		}},
		{Number: MonitorProgram, Versions: []uint32{1}, Handle: func(_ context.Context, c *sunrpc.Call) sunrpc.Accept {
			p.notices <- string(c.Args.Opaque(maxCaller))
			return sunrpc.Success
		}},
	}})
	binder := rpcbind.New(rpcbind.Options{Entries: []rpcbind.Entry{{Prog: Program, Vers: 4, Net: "tcp", Port: 40000}, {Prog: MonitorProgram, Vers: 1, Net: "tcp", Port: 40000}}})
	p.programs, _ = wiretest.Serve(t, programs)
	p.rpcbind, _ = wiretest.Serve(t, binder)
	return p
}

func (p *peer) dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	p.mu.Lock()
	down := p.down
	p.mu.Unlock()
	p.dialed <- from
	if down {
		return nil, errors.New("no route")
	}
	addr := p.programs
	if to.Port() == rpcbindPort {
		addr = p.rpcbind
	} else if to.Port() != 40000 {
		return nil, errors.New("wrong port")
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func (p *peer) set(answer Status, down bool) {
	p.mu.Lock()
	p.answer, p.down = answer, down
	p.mu.Unlock()
}

type bench struct {
	t     *testing.T
	s     *Service
	fs    fs.FS
	store *memory
	peer  *peer
	file  fs.Node
}

func start(t *testing.T, m *memory, opts ...func(*Options)) *bench {
	t.Helper()
	b := &bench{t: t, fs: memfs.New(memfs.Options{RootMode: 0o777}), store: m, peer: startPeer(t)}
	if m == nil {
		b.store = &memory{hosts: map[hostKey]Host{}}
	}
	r, err := b.fs.Create(t.Context(), fs.SystemCaller(), fs.Root, "f", &fs.CreateSpec{Type: fs.File, Want: fs.AttrBasic})
	if err != nil {
		t.Fatal(err)
	}
	b.file = r.Attr.Node
	o := Options{FS: b.fs, Store: b.store, Dial: b.peer.dial, Name: "server", Retry: time.Millisecond,
		Resolve: func(_ context.Context, _ *sunrpc.Call, fh []byte) (fs.Node, *fs.Caller, error) {
			if len(fh) != 8 {
				return fs.Node{}, nil, fs.Stale
			}
			return fs.Node{ID: fs.FileID(binary.BigEndian.Uint64(fh))}, fs.SystemCaller(), nil
		}}
	for _, f := range opts {
		f(&o)
	}
	if b.s, err = New(context.Background(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b
}

func started(t *testing.T, opts ...func(*Options)) *bench {
	t.Helper()
	b := start(t, nil, opts...)
	if err := b.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// who is a process on a client.
type who struct {
	addr, name string
	svid       uint32
}

var (
	alice = who{"192.0.2.1", "alice.example.com", 1}
	bob   = who{"192.0.2.2", "bob", 2}
)

type wire struct {
	off, n                    uint64
	block, exclusive, reclaim bool
	cookie                    string
}

func (b *bench) handle(h func(context.Context, *sunrpc.Call) sunrpc.Accept, prog, proc uint32, w who, enc func(*sunrpc.Encoder)) sunrpc.Decoder {
	b.t.Helper()
	e := sunrpc.NewEncoder(200)
	enc(&e)
	c := &sunrpc.Call{Prog: prog, Proc: proc, Peer: netip.AddrPortFrom(netip.MustParseAddr(w.addr), 700),
		Local: netip.MustParseAddrPort("198.51.100.1:2049"), Args: sunrpc.NewDecoder(e.Bytes()), Reply: sunrpc.NewEncoder(100)}
	if a := h(b.t.Context(), c); a != sunrpc.Success {
		b.t.Fatalf("procedure %d: accept state %d", proc, a)
	}
	return sunrpc.NewDecoder(c.Reply.Bytes())
}

func (b *bench) call(proc uint32, w who, x wire) (Status, sunrpc.Decoder) {
	b.t.Helper()
	base := proc
	if proc >= procTestMsg && proc < procGrantedMsg {
		base -= procTestMsg - procTest
	}
	d := b.handle(b.s.handle, Program, proc, w, func(e *sunrpc.Encoder) {
		e.String(x.cookie)
		if base == procLock || base == procCancel || base == procNMLock {
			e.Bool(x.block)
		}
		if base != procUnlock {
			e.Bool(x.exclusive)
		}
		e.String(w.name)
		e.U32(8)
		e.U64(uint64(b.file.ID))
		e.String("oh of " + w.name)
		e.U32(w.svid)
		e.U64(x.off)
		e.U64(x.n)
		if base == procLock || base == procNMLock {
			e.Bool(x.reclaim)
			e.U32(1)
		}
	})
	if proc != base {
		return Granted, d
	}
	if got := string(d.Opaque(99)); got != x.cookie {
		b.t.Errorf("cookie %q", got)
	}
	return Status(d.U32()), d
}

func (b *bench) want(what string, proc uint32, w who, x wire, want Status) {
	b.t.Helper()
	if st, _ := b.call(proc, w, x); st != want {
		b.t.Errorf("%s: %d, want %d", what, st, want)
	}
}

func (b *bench) locks() (held, waiting int) {
	b.t.Helper()
	if err := b.fs.LockList(b.t.Context(), fs.Node{}, func(i *fs.LockInfo) bool {
		if i.Waiting {
			waiting++
		} else {
			held++
		}
		return true
	}); err != nil {
		b.t.Fatal(err)
	}
	return held, waiting
}

var ex = wire{off: 10, n: 5, exclusive: true, cookie: "c"}
var exBlock = wire{off: 10, n: 5, exclusive: true, block: true, cookie: "blocked"}

func TestLocks_conflictTestUnlock(t *testing.T) {
	b := started(t)
	b.want("lock", procLock, alice, ex, Granted)
	b.want("the same again", procLock, alice, ex, Granted)
	b.want("conflict", procLock, bob, ex, Denied)
	b.want("shared conflict", procLock, bob, wire{off: 0, n: 0}, Denied)
	b.want("beside it", procLock, bob, wire{off: 15, n: 0, exclusive: true}, Granted)
	st, d := b.call(procTest, bob, ex)
	if excl, svid, oh, off, n := d.Bool(), d.U32(), string(d.Opaque(99)), d.U64(), d.U64(); st != Denied || !excl || svid != 1 || oh != "oh of "+alice.name || off != 10 || n != 5 || d.Left() != 0 {
		t.Errorf("test: %d %t %d %q %d %d", st, excl, svid, oh, off, n)
	}
	other := alice
	other.svid = 9
	b.want("another process of the same client", procLock, other, ex, Denied)
	b.want("unlock", procUnlock, alice, ex, Granted)
	b.want("unlock of nothing", procUnlock, alice, ex, Granted)
	b.want("test when free", procTest, bob, ex, Granted)
	b.want("not monitored", procNMLock, bob, ex, Granted)
	b.want("offset beyond the largest", procLock, alice, wire{off: 1 << 63, n: 1}, TooBig)
	b.want("reclaim out of time", procLock, alice, wire{reclaim: true}, DeniedGrace)
	b.want("length beyond the largest", procTest, alice, wire{off: 1<<63 - 1, n: 1 << 63, exclusive: true}, Denied)
	if n := b.store.len(); n != 2 {
		t.Errorf("%d hosts", n)
	}
	b.handle(b.s.handle, Program, procFreeAll, bob, func(e *sunrpc.Encoder) { e.String(bob.name); e.U32(3) })
	if held, _ := b.locks(); held != 0 {
		t.Errorf("%d locks after FREE_ALL", held)
	}
	b.s.o.Resolve = func(context.Context, *sunrpc.Call, []byte) (fs.Node, *fs.Caller, error) {
		return fs.Node{}, nil, fs.Stale
	}
	b.want("stale handle", procLock, alice, ex, StaleHandle)
}

func TestLocks_nothingBeforeStartNorWithoutStore(t *testing.T) {
	b := start(t, nil)
	b.want("before the start", procLock, alice, ex, DeniedGrace)
	b.store.fail = errors.New("disk full")
	if err := b.s.Start(t.Context()); err == nil {
		t.Error("started without a store")
	}
	b.store.fail = nil
	if err := b.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.store.fail = errors.New("disk full")
	b.want("host that cannot be remembered", procLock, alice, ex, DeniedNoLocks)
	if held, _ := b.locks(); held != 0 {
		t.Errorf("%d locks", held)
	}
}

func TestBlocked_grantedByCallback(t *testing.T) {
	b := started(t)
	b.want("lock", procLock, alice, ex, Granted)
	b.want("blocked", procLock, bob, exBlock, Blocked)
	b.want("asked again", procLock, bob, exBlock, Blocked)
	if _, waiting := b.locks(); waiting != 1 {
		t.Errorf("%d wait", waiting)
	}
	b.want("unlock", procUnlock, alice, ex, Granted)
	if got, want := <-b.peer.granted, (lockCall{"blocked", true, 2, 10, 5}); got != want {
		t.Errorf("callback %+v, want %+v", got, want)
	}
	if from := <-b.peer.dialed; from.String() != "198.51.100.1" {
		t.Errorf("callback from %v", from)
	}
	b.settled()
	b.want("held now", procLock, alice, ex, Denied)
	b.want("unlock", procUnlock, bob, ex, Granted)
	b.want("free", procLock, alice, ex, Granted)
}

// settled waits until no request waits or is being called back.
func (b *bench) settled() {
	b.t.Helper()
	wiretest.Eventually(b.t, "callbacks", func() bool {
		b.s.mu.Lock()
		defer b.s.mu.Unlock()
		return len(b.s.blocked) == 0
	})
}

func TestBlocked_grantedByAskingAgain(t *testing.T) {
	b := started(t)
	b.peer.set(Granted, true)
	b.want("lock", procLock, alice, ex, Granted)
	b.want("blocked", procLock, bob, exBlock, Blocked)
	b.want("unlock", procUnlock, alice, ex, Granted)
	<-b.peer.dialed // the callback is being tried, in vain
	b.want("asked again", procLock, bob, exBlock, Granted)
	b.peer.set(Denied, false) // a late callback that the client does not know
	b.settled()
	if held, _ := b.locks(); held != 1 {
		t.Errorf("%d locks held", held)
	}
}

func TestBlocked_unwantedGrantIsFreed(t *testing.T) {
	b := started(t)
	b.peer.set(Denied, false)
	b.want("lock", procLock, alice, ex, Granted)
	b.want("blocked", procLock, bob, exBlock, Blocked)
	b.want("unlock", procUnlock, alice, ex, Granted)
	<-b.peer.granted
	wiretest.Eventually(t, "freeing", func() bool { held, _ := b.locks(); return held == 0 })
}

func TestBlocked_unreachableClientLosesTheLock(t *testing.T) {
	b := started(t, func(o *Options) { o.CallbackPatience = 10 * time.Millisecond })
	b.peer.set(Granted, true)
	b.want("lock", procLock, alice, ex, Granted)
	b.want("blocked", procLock, bob, exBlock, Blocked)
	b.want("unlock", procUnlock, alice, ex, Granted)
	wiretest.Eventually(t, "freeing", func() bool { held, waiting := b.locks(); return held+waiting == 0 })
}

func TestBlocked_cancelAndRelease(t *testing.T) {
	b := started(t)
	b.want("lock", procLock, alice, ex, Granted)
	b.want("blocked", procLock, bob, exBlock, Blocked)
	b.want("cancel", procCancel, bob, exBlock, Granted)
	b.want("cancel again", procCancel, bob, exBlock, Denied)
	b.settled()
	b.want("blocked", procLock, bob, exBlock, Blocked)
	// An administrator releases the client.
	if n, err := b.fs.ReleaseClient(t.Context(), Host{Name: bob.name, Addr: netip.MustParseAddr(bob.addr)}.client()); n != 1 || err != nil {
		t.Errorf("released %d %v", n, err)
	}
	b.settled()
	b.want("blocked", procLock, bob, exBlock, Blocked)
	b.handle(b.s.handle, Program, procFreeAll, bob, func(e *sunrpc.Encoder) { e.String(bob.name); e.U32(3) })
	b.settled()
	b.want("unlock", procUnlock, alice, ex, Granted)
	if held, waiting := b.locks(); held+waiting != 0 {
		t.Errorf("%d held, %d wait", held, waiting)
	}
}

func TestBlocked_deadlock(t *testing.T) {
	b := started(t)
	second := exBlock
	second.off = 100
	b.want("first", procLock, alice, ex, Granted)
	b.want("second", procLock, bob, second, Granted)
	b.want("blocked", procLock, alice, second, Blocked)
	b.want("deadlock", procLock, bob, exBlock, Deadlock)
}

func TestAsynchronousLock(t *testing.T) {
	b := started(t)
	b.call(procLock+5, bob, exBlock)
	if got := <-b.peer.granted; got.cookie != "blocked" || got.svid != uint32(Granted) {
		t.Errorf("%+v", got)
	}
	if held, _ := b.locks(); held != 1 {
		t.Errorf("%d locks", held)
	}
}

func TestRestart_reclaimsFirst(t *testing.T) {
	b := started(t)
	b.want("lock", procLock, alice, ex, Granted)
	b.want("lock", procLock, bob, wire{off: 100, n: 1}, Granted)

	b = start(t, b.store, func(o *Options) { o.Grace = time.Hour })
	if err := b.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.store.state != 3 {
		t.Errorf("state %d", b.store.state)
	}
	got := map[string]int{}
	for range 4 {
		got[<-b.peer.notices]++
	}
	if got["198.51.100.1"] != 2 || got["server"] != 2 {
		t.Errorf("notices %v", got)
	}
	b.want("a third party", procLock, who{"192.0.2.3", "carol", 3}, ex, DeniedGrace)
	b.want("a new lock", procLock, alice, ex, DeniedGrace)
	reclaim := ex
	reclaim.reclaim = true
	b.want("reclaim", procLock, alice, reclaim, Granted)
	b.s.EndGrace()
	b.want("after the grace period", procLock, bob, ex, Denied)
	b.want("reclaim too late", procLock, bob, wire{off: 100, n: 1, reclaim: true}, DeniedGrace)
}

func TestRestart_hostsThatReclaimNothingAreForgotten(t *testing.T) {
	b := started(t)
	b.want("lock", procLock, alice, ex, Granted)
	b.want("lock", procLock, bob, wire{off: 100, n: 1}, Granted)
	b = start(t, b.store, func(o *Options) { o.Grace = time.Hour })
	if err := b.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	reclaim := ex
	reclaim.reclaim = true
	b.want("reclaim", procLock, alice, reclaim, Granted)
	for range 4 {
		<-b.peer.notices
	}
	b.s.EndGrace()
	b.s.EndGrace()
	wiretest.Eventually(t, "forgetting", func() bool { return b.store.len() == 1 })
	b.want("lock after the grace period", procLock, bob, wire{off: 100, n: 1}, Granted)
	if b.store.len() != 2 {
		t.Errorf("%d hosts", b.store.len())
	}
}

func TestRestart_graceEndsByItself(t *testing.T) {
	b := started(t)
	b.want("lock", procLock, alice, ex, Granted)
	b = start(t, b.store, func(o *Options) { o.Grace = time.Millisecond })
	if err := b.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	wiretest.Eventually(t, "end of grace", func() bool { st, _ := b.call(procLock, bob, ex); return st == Granted })
}

func TestNotice_believedFromTheHostOnlyAndOnce(t *testing.T) {
	b := started(t)
	notify := func(w who, name string, state uint32) {
		b.handle(b.s.monitor, MonitorProgram, monNotify, w, func(e *sunrpc.Encoder) { e.String(name); e.U32(state) })
	}
	b.want("lock", procLock, alice, ex, Granted)
	notify(bob, alice.name, 5)
	notify(alice, "other", 5)
	if held, _ := b.locks(); held != 1 {
		t.Error("a stranger's word freed a lock")
	}
	notify(alice, "alice", 5) // its short name
	if held, _ := b.locks(); held != 0 {
		t.Error("the host's word did not")
	}
	b.want("lock after the restart", procLock, alice, ex, Granted)
	notify(alice, "alice", 5)
	if held, _ := b.locks(); held != 1 {
		t.Error("a notice that came twice freed a lock")
	}
	notify(alice, "alice", 7)
	if held, _ := b.locks(); held != 0 {
		t.Error("the next restart did not")
	}
	for _, proc := range []uint32{monNull, monStat, monMon, monUnmon, monUnmonAll, monSimulate} {
		b.handle(b.s.monitor, MonitorProgram, proc, bob, func(*sunrpc.Encoder) {})
	}
}

func TestShares(t *testing.T) {
	b := started(t)
	share := func(proc uint32, w who, deny, access uint32) Status {
		t.Helper()
		d := b.handle(b.s.handle, Program, proc, w, func(e *sunrpc.Encoder) {
			e.String("c")
			e.String(w.name)
			e.U32(8)
			e.U64(uint64(b.file.ID))
			e.String("oh of " + w.name)
			e.U32(deny)
			e.U32(access)
			e.Bool(false)
		})
		d.Opaque(9)
		return Status(d.U32())
	}
	for _, c := range []struct {
		what         string
		proc         uint32
		w            who
		deny, access uint32
		want         Status
	}{
		{"read, nobody writes", procShare, alice, shareWrite, shareRead, Granted},
		{"write", procShare, bob, 0, shareWrite, Denied},
		{"read", procShare, bob, 0, shareRead, Granted},
		{"changed mind", procShare, alice, 0, shareRead, Granted},
		{"write now", procShare, bob, 0, shareWrite | shareRead, Granted},
		{"unshare", procUnshare, bob, 0, 0, Granted},
		{"unshare of nothing", procUnshare, bob, 0, 0, Granted},
		{"nobody else", procShare, alice, 3, 3, Granted},
		{"read", procShare, bob, 0, shareRead, Denied},
	} {
		if st := share(c.proc, c.w, c.deny, c.access); st != c.want {
			t.Errorf("%s: %d, want %d", c.what, st, c.want)
		}
	}
	b.handle(b.s.handle, Program, procFreeAll, alice, func(e *sunrpc.Encoder) { e.String(alice.name); e.U32(3) })
	if st := share(procShare, bob, 3, 3); st != Granted {
		t.Errorf("after FREE_ALL: %d", st)
	}
}

// Many processes lock, wait, cancel and unlock; nobody may be left behind, and
// no two hold the lock at once.
func TestStorm(t *testing.T) {
	b := started(t)
	go func() { // the clients accept every grant
		for {
			select {
			case <-b.peer.granted:
			case <-b.peer.dialed:
			case <-t.Context().Done():
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range uint32(8) {
		w := who{"192.0.2.9", "storm", i}
		wg.Go(func() {
			for j := range 25 {
				if st, _ := b.call(procLock, w, exBlock); st == Blocked && j%3 == 0 {
					b.call(procCancel, w, exBlock)
				} else {
					for st == Blocked {
						st, _ = b.call(procLock, w, exBlock)
					}
				}
				b.call(procUnlock, w, ex)
			}
			b.call(procCancel, w, exBlock)
			b.call(procUnlock, w, ex)
		})
	}
	wg.Wait()
	b.settled()
	wiretest.Eventually(t, "all free", func() bool { held, waiting := b.locks(); return held+waiting == 0 })
}

func FuzzCalls(f *testing.F) {
	f.Add(uint32(procLock), []byte("\x00\x00\x00\x01c\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01"))
	f.Add(uint32(procShare), []byte{0, 0, 0, 0})
	m := &memory{hosts: map[hostKey]Host{}}
	s, err := New(context.Background(), Options{FS: memfs.New(memfs.Options{}), Store: m,
		Dial: func(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) { return nil, errors.New("offline") },
		Resolve: func(context.Context, *sunrpc.Call, []byte) (fs.Node, *fs.Caller, error) {
			return fs.Root, fs.SystemCaller(), nil
		}})
	if err != nil {
		f.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Shutdown(context.Background()) })
	f.Fuzz(func(t *testing.T, proc uint32, p []byte) {
		c := &sunrpc.Call{Proc: proc % 26, Peer: netip.MustParseAddrPort("192.0.2.1:7"), Args: sunrpc.NewDecoder(p), Reply: sunrpc.NewEncoder(100)}
		defer c.Reply.Release()
		if proc&(1<<31) != 0 {
			c.Proc %= 8
			s.monitor(context.Background(), c)
		} else {
			s.handle(context.Background(), c)
		}
		if c.Reply.Len()%4 != 0 {
			t.Errorf("results of %d bytes", c.Reply.Len())
		}
	})
}
