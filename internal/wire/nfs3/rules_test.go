package nfs3

import (
	"bytes"
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/identity"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/sunrpc"
	"manifold/internal/wire/wiretest"
)

func hosts(t *testing.T, s ...string) []export.Host {
	t.Helper()
	h, err := export.ParseHosts(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestRules_changeOnLiveMounts(t *testing.T) {
	b := start(t)
	root := &export.Export{ID: 1, Path: "/", FSPath: "/"}
	with := func(r ...export.Rule) *export.Export {
		x := *root
		x.Rules = r
		return &x
	}
	f := b.mustCreate(b.root, "f")

	b.exports.set(with(export.Rule{ReadOnly: true}))
	_, _, _, _, st := b.write(f, 0, []byte("x"), 0)
	want(t, "write when read-only", st, ErrROFS)
	_, _, _, st = b.create(b.root, "g", createUnchecked, wset{}, 0)
	want(t, "create when read-only", st, ErrROFS)
	if got, _ := b.access(f, 0x3f); got != accessRead {
		t.Errorf("access when read-only: %b", got)
	}
	_, _, st = b.read(f, 0, 1)
	want(t, "read when read-only", st, OK)

	b.exports.set(with(export.Rule{Hosts: hosts(t, "192.0.2.0/24")}))
	_, st = b.getAttr(f)
	want(t, "host that no rule names", st, ErrAcces)
	if got, st := b.access(f, 0x3f); st != ErrAcces || got != 0 {
		t.Errorf("access without access: %b %v", got, st)
	}
	want(t, "rename without access", b.rename(b.root, "f", b.root, "g"), ErrAcces)
	if _, st := b.tryMount("/"); st != mount.ErrAcces {
		t.Errorf("mount from that host: %d", st)
	}

	b.exports.set(with(export.Rule{RequirePrivilegedPort: true}))
	_, st = b.getAttr(f)
	want(t, "port that anyone may use", st, ErrAcces)

	b.exports.set(root)
	_, _, _, _, st = b.write(f, 0, []byte("x"), 0)
	want(t, "write when all is allowed again", st, OK)
}

func TestRules_squash(t *testing.T) {
	b := start(t)
	b.setAttr(b.root, wset{mode: ptr(uint32(0o777))}, nil)
	owner := func(b *bench, name string) uint32 {
		t.Helper()
		_, a, _, st := b.create(b.root, name, createGuarded, wset{}, 0)
		if want(t, "create "+name, st, OK); st != OK {
			return 0
		}
		return a.uid
	}
	user := b.as(1000, 100, 5, 6)
	if r, u := owner(b, "a"), owner(user, "b"); r != 0 || u != 1000 {
		t.Errorf("unmapped: %d %d", r, u)
	}
	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/", Rules: []export.Rule{{Mapping: export.MapRoot}}})
	if r, u := owner(b, "c"), owner(user, "d"); r != identity.NobodyUID || u != 1000 {
		t.Errorf("root mapped: %d %d", r, u)
	}
	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/", Rules: []export.Rule{{Mapping: export.MapAll, MapTo: identity.POSIX(42, 43, nil)}}})
	if r, u := owner(b, "e"), owner(user, "f"); r != 42 || u != 42 {
		t.Errorf("all mapped: %d %d", r, u)
	}
	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/"})
	anonymous := *b
	anonymous.cred = nil
	if u := owner(&anonymous, "g"); u != identity.NobodyUID {
		t.Errorf("anonymous: %d", u)
	}
}

func TestRules_shownWith32Bits(t *testing.T) {
	b := start(t)
	f := b.mustCreate(b.root, "f")
	b.setAttr(f, wset{size: ptr(uint64(5 << 32))}, nil)
	ctx, _ := admin()
	if _, err := b.fs.TakeSnapshot(ctx, fs.SnapshotSpec{Root: fs.RootID}); err != nil {
		t.Fatal(err)
	}
	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/", FileIDs32: true, FileSizes32: true, FSSize32: true})
	if a, _ := b.getAttr(f); a.size != 1<<32-1 {
		t.Errorf("size %d", a.size)
	}
	if _, a, _ := b.lookup(b.root, ".snapshot"); a.fileid > 1<<32-1 {
		t.Errorf("file id %d", a.fileid)
	}
	b.call(procFSStat, func(e *sunrpc.Encoder) { e.Opaque(b.root) }, func(_ Status, d *sunrpc.Decoder) {
		readPost(d)
		if n := d.U64(); n > 1<<32-1 {
			t.Errorf("total %d", n)
		}
		d.Fixed(44)
	})
}

func TestRules_namesOfHosts(t *testing.T) {
	var asked atomic.Int32
	b := start(t, func(o *Options) {
		o.Names = func(_ context.Context, a netip.Addr) []string {
			asked.Add(1)
			if a.IsLoopback() {
				return []string{"client.example.com"}
			}
			return nil
		}
	})
	if asked.Load() != 0 {
		t.Error("a name was looked up for no rule")
	}
	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/", Rules: []export.Rule{{Hosts: hosts(t, "*.example.com")}}})
	for range 5 {
		_, st := b.getAttr(b.root)
		want(t, "by name", st, OK)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("looked up %d times", n)
	}
}

// groups is a resolver that counts and whose answers change.
type groups struct {
	identity.Numeric
	asked   atomic.Int32
	extra   atomic.Uint32
	version atomic.Uint64
}

func (g *groups) Expand(ctx context.Context, uid, gid uint32, gids []uint32) (*identity.Credential, error) {
	g.asked.Add(1)
	if x := g.extra.Load(); x != 0 {
		gids = append(gids, x)
	}
	return g.Numeric.Expand(ctx, uid, gid, gids)
}

func (g *groups) Version() uint64 { return g.version.Load() }

func TestCallers_rememberedUntilTheyChange(t *testing.T) {
	g := &groups{}
	b := start(t, func(o *Options) { o.Identities = g })
	f := b.mustCreate(b.root, "f")
	b.setAttr(f, wset{mode: ptr(uint32(0o640)), gid: ptr(uint32(77))}, nil)
	user := b.as(1000, 1000, 1, 2, 3)
	before := g.asked.Load()
	for range 10 {
		_, _, st := user.read(f, 0, 1)
		want(t, "read outside the group", st, ErrAcces)
	}
	if n := g.asked.Load() - before; n != 1 {
		t.Errorf("expanded %d times", n)
	}
	g.extra.Store(77)
	g.version.Add(1)
	_, _, st := user.read(f, 0, 1)
	want(t, "read inside the group", st, OK)
	for uid := range uint32(2 * maxKnown) { // more users than are remembered
		b.as(uid+2000, 1).getAttr(f)
	}
	_, _, st = user.read(f, 0, 1)
	want(t, "read after being forgotten", st, OK)
}

func TestMount_lists(t *testing.T) {
	b := start(t)
	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/"},
		&export.Export{ID: 2, Path: "/x", FSPath: "/gone", Rules: []export.Rule{{Hosts: hosts(t, "10.0.0.0/8", "a.example.com")}}},
		&export.Export{ID: 3, Path: "/y", FSPath: "/gone"})
	type line struct{ path, hosts string }
	list := func(vers uint32) (out []line) {
		err := b.c.Call(t.Context(), mount.Program, vers, 5, nil, nil, func(d *sunrpc.Decoder) error {
			for d.Bool() {
				l := line{path: string(d.Opaque(1024))}
				for d.Bool() {
					l.hosts += string(d.Opaque(255)) + ";"
				}
				out = append(out, l)
			}
			if !d.OK() || d.Left() != 0 {
				t.Error("EXPORT does not decode")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, vers := range []uint32{1, 3} {
		got := list(vers)
		if len(got) != 3 || got[1] != (line{"/x", "10.0.0.0/8;a.example.com;"}) || got[2] != (line{"/y", ""}) {
			t.Errorf("version %d: %v", vers, got)
		}
	}
	dump := func() (n int) {
		err := b.c.Call(t.Context(), mount.Program, 3, 2, nil, nil, func(d *sunrpc.Decoder) error {
			for d.Bool() {
				if h := string(d.Opaque(255)); h != "127.0.0.1" {
					t.Errorf("host %q", h)
				}
				d.Opaque(1024)
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, st := b.tryMount("/y"); st != mount.ErrNoEnt {
		t.Errorf("mount of a directory that is gone: %d", st)
	}
	b.mount("/")
	if n := dump(); n != 1 {
		t.Errorf("%d mounts listed", n)
	}
	call := func(proc uint32, args func(*sunrpc.Encoder)) {
		t.Helper()
		if err := b.c.Call(t.Context(), mount.Program, 3, proc, nil, args, nil); err != nil {
			t.Fatal(err)
		}
	}
	call(3, func(e *sunrpc.Encoder) { e.String("/other") })
	if n := dump(); n != 1 {
		t.Errorf("unmount of another path left %d", n)
	}
	call(3, func(e *sunrpc.Encoder) { e.String("/") })
	b.mount("/")
	call(4, nil)
	if n := dump(); n != 0 {
		t.Errorf("%d mounts after UMNTALL", n)
	}
}

func TestMount_overDatagrams(t *testing.T) {
	b := start(t)
	nc := wiretest.Dial(t, "udp", b.udp)
	ask := func(prog, vers, proc uint32, args func(*sunrpc.Encoder)) (sunrpc.Decoder, error) {
		e := sunrpc.NewEncoder(100)
		sunrpc.EncodeCall(&e, 7, prog, vers, proc, nil)
		if args != nil {
			args(&e)
		}
		if _, err := nc.Write(e.Bytes()); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 9000)
		n, err := nc.Read(p)
		if err != nil {
			t.Fatal(err)
		}
		return sunrpc.DecodeReply(p[:n])
	}
	d, err := ask(mount.Program, 3, 1, func(e *sunrpc.Encoder) { e.String("/") })
	if st := d.U32(); err != nil || st != 0 {
		t.Fatalf("%d %v", st, err)
	}
	if string(d.Opaque(64)) != string(b.root) {
		t.Error("another handle")
	}
	if _, err := ask(Program, 3, 0, nil); err == nil {
		t.Error("NFS itself is served over datagrams")
	}
}

func TestServer_refusesToStartWithout(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no file system")
	}
	x := &table{}
	if _, err := New(Options{FS: start(t).fs, Exports: x, HandleKey: []byte("short")}); err == nil {
		t.Error("a short key")
	}
}

// seen collects what an Observer is told.
type seen struct{ ops chan Op }

func (s seen) Observe(o Op) { s.ops <- o }

func TestObserver_isToldOfEveryCall(t *testing.T) {
	s := seen{make(chan Op, 100)}
	b := start(t, func(o *Options) { o.Observer = s })
	if o := <-s.ops; o.Program != "mount" || o.Name != "MNT" || !o.Client.IsLoopback() {
		t.Errorf("%+v", o)
	}
	f := b.mustCreate(b.root, "f")
	<-s.ops
	b.write(f, 0, []byte("12345"), 0)
	if o := <-s.ops; o.Program != "nfs3" || o.Name != "WRITE" || o.Status != OK || o.In != 5 || o.Duration <= 0 || o.Duration > time.Minute {
		t.Errorf("%+v", o)
	}
	b.read(f, 0, 3)
	if o := <-s.ops; o.Out != 3 {
		t.Errorf("%+v", o)
	}
	b.lookup(f, "x")
	if o := <-s.ops; o.Name != "LOOKUP" || o.Status != ErrNotDir || o.Refused {
		t.Errorf("%+v", o)
	}
	// What does not reach the file system is told apart.
	forged := bytes.Clone(f)
	forged[len(forged)-1] ^= 1
	b.getAttr(forged)
	if o := <-s.ops; o.Name != "GETATTR" || o.Status == OK || !o.Refused {
		t.Errorf("%+v", o)
	}
}

func TestRepeatedCall_isAnsweredFromTheCache(t *testing.T) {
	b := start(t)
	b.mustCreate(b.root, "f")
	nc := wiretest.Dial(t, "tcp", b.addr)
	for xid := uint32(1); xid < 3; xid++ {
		e := sunrpc.NewEncoder(100)
		sunrpc.EncodeCall(&e, xid, Program, 3, procRemove, b.cred)
		e.Opaque(b.root)
		e.String("f")
		for range 3 {
			d, err := sunrpc.DecodeReply(wiretest.Exchange(t, nc, e.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			// The second xid is another call: the name is gone.
			want(t, "repeated REMOVE", Status(d.U32()), map[uint32]Status{1: OK, 2: ErrNoEnt}[xid])
		}
	}
	if n := b.srv.Stats().CacheHits; n != 4 {
		t.Errorf("cache hits %d", n)
	}
}

func TestRules_withoutAuthSysNobodyIsServed(t *testing.T) {
	var off atomic.Bool
	b := start(t, func(o *Options) { o.AuthSys = func() bool { return !off.Load() } })
	off.Store(true)
	err := b.c.Call(t.Context(), Program, 3, procGetAttr, b.cred, func(e *sunrpc.Encoder) { e.Opaque(b.root) }, nil)
	if e, ok := err.(*sunrpc.Error); !ok || !e.Denied || e.Auth != sunrpc.AuthTooWeak {
		t.Errorf("GETATTR: %v", err)
	}
	if _, st := b.tryMount("/"); st != mount.ErrAcces {
		t.Errorf("MNT: %d", st)
	}
	off.Store(false)
	_, st := b.getAttr(b.root)
	want(t, "GETATTR when on again", st, OK)
}
