package nfs3

import (
	"context"
	"sync/atomic"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/fs/memfs"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/sunrpc"
	"manifold/internal/wire/wiretest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is a set of exports that tests change as administrators do.
type table struct {
	p atomic.Pointer[[]*export.Export]
}

func (t *table) set(x ...*export.Export) { t.p.Store(&x) }

func (t *table) ByID(id uint32) (*export.Export, bool) {
	for _, x := range *t.p.Load() {
		if x.ID == id {
			return x, true
		}
	}
	return nil, false
}

func (t *table) ByPath(path string) (*export.Export, bool) {
	for _, x := range *t.p.Load() {
		if x.Path == path {
			return x, true
		}
	}
	return nil, false
}

func (t *table) All() []*export.Export { return *t.p.Load() }

// bench is a server over memfs with a client.
type bench struct {
	t       testing.TB
	fs      fs.FS
	exports *table
	srv     *Server
	addr    string
	udp     string
	c       *sunrpc.Client
	cred    *sunrpc.SysCred
	root    []byte
}

type opt func(*Options)

func start(t testing.TB, opts ...opt) *bench {
	t.Helper()
	b := &bench{t: t, exports: &table{}, cred: &sunrpc.SysCred{Machine: "client"}}
	b.exports.set(&export.Export{ID: 1, Path: "/", FSPath: "/"})
	o := Options{Exports: b.exports, HandleKey: []byte("0123456789abcdef"), FSID: [16]byte{1, 2, 3}}
	for _, f := range opts {
		f(&o)
	}
	if o.FS == nil {
		o.FS = memfs.New(memfs.Options{})
	}
	b.fs = o.FS
	var err error
	if b.srv, err = New(o); err != nil {
		t.Fatal(err)
	}
	b.addr, b.udp = wiretest.Serve(t, b.srv)
	b.c = wiretest.Client(t, b.addr)
	b.root = b.mount("/")
	return b
}

func (b *bench) as(uid, gid uint32, gids ...uint32) *bench {
	c := *b
	c.cred = &sunrpc.SysCred{Machine: "client", UID: uid, GID: gid, GIDs: gids}
	return &c
}

func (b *bench) mount(path string) []byte {
	b.t.Helper()
	h, st := b.tryMount(path)
	if st != mount.OK {
		b.t.Fatalf("mount %s: %d", path, st)
	}
	return h
}

func (b *bench) tryMount(path string) (h []byte, st mount.Status) {
	b.t.Helper()
	err := b.c.Call(b.t.Context(), mount.Program, 3, 1, b.cred, func(e *sunrpc.Encoder) { e.String(path) }, func(d *sunrpc.Decoder) error {
		if st = mount.Status(d.U32()); st == mount.OK {
			h = append([]byte(nil), d.Opaque(64)...)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return h, st
}

// call makes a call whose results the decoder must be read to the end by.
func (b *bench) call(proc uint32, args func(*sunrpc.Encoder), results func(Status, *sunrpc.Decoder)) Status {
	b.t.Helper()
	st := Status(0)
	err := b.c.Call(b.t.Context(), Program, 3, proc, b.cred, args, func(d *sunrpc.Decoder) error {
		st = Status(d.U32())
		if results != nil {
			results(st, d)
			if !d.OK() || d.Left() != 0 {
				b.t.Errorf("%s %v: results do not decode, %d bytes left", procNames[proc], st, d.Left())
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatalf("%s: %v", procNames[proc], err)
	}
	return st
}

// wattr is a decoded fattr3.
type wattr struct {
	typ, mode, nlink, uid, gid uint32
	size, used                 uint64
	major, minor               uint32
	fsid, fileid               uint64
	atime, mtime, ctime        fs.Time
}

func readAttr(d *sunrpc.Decoder) *wattr {
	return &wattr{d.U32(), d.U32(), d.U32(), d.U32(), d.U32(), d.U64(), d.U64(), d.U32(), d.U32(), d.U64(), d.U64(),
		decodeTime(d), decodeTime(d), decodeTime(d)}
}

func readPost(d *sunrpc.Decoder) *wattr {
	if d.Bool() {
		return readAttr(d)
	}
	return nil
}

type wwcc struct {
	size         uint64
	mtime, ctime fs.Time
	pre          bool
	post         *wattr
}

func readWcc(d *sunrpc.Decoder) (w wwcc) {
	if w.pre = d.Bool(); w.pre {
		w.size, w.mtime, w.ctime = d.U64(), decodeTime(d), decodeTime(d)
	}
	w.post = readPost(d)
	return w
}

// wset are settable attributes; nil stays.
type wset struct {
	mode, uid, gid *uint32
	size           *uint64
	atime, mtime   *fs.Time
	touch          bool
}

func ptr[T any](v T) *T { return &v }

func (s wset) encode(e *sunrpc.Encoder) {
	for _, p := range []*uint32{s.mode, s.uid, s.gid} {
		e.Bool(p != nil)
		if p != nil {
			e.U32(*p)
		}
	}
	e.Bool(s.size != nil)
	if s.size != nil {
		e.U64(*s.size)
	}
	for _, p := range []*fs.Time{s.atime, s.mtime} {
		switch {
		case p != nil:
			e.U32(2)
			e.U32(uint32(p.Sec))
			e.U32(p.Nsec)
		case s.touch:
			e.U32(1)
		default:
			e.U32(0)
		}
	}
}

func (b *bench) getAttr(h []byte) (*wattr, Status) {
	b.t.Helper()
	var a *wattr
	st := b.call(procGetAttr, func(e *sunrpc.Encoder) { e.Opaque(h) }, func(st Status, d *sunrpc.Decoder) {
		if st == OK {
			a = readAttr(d)
		}
	})
	return a, st
}

func (b *bench) setAttr(h []byte, s wset, guard *fs.Time) (w wwcc, st Status) {
	b.t.Helper()
	st = b.call(procSetAttr, func(e *sunrpc.Encoder) {
		e.Opaque(h)
		s.encode(e)
		e.Bool(guard != nil)
		if guard != nil {
			e.U32(uint32(guard.Sec))
			e.U32(guard.Nsec)
		}
	}, func(_ Status, d *sunrpc.Decoder) { w = readWcc(d) })
	return w, st
}

func (b *bench) lookup(dir []byte, name string) (h []byte, a *wattr, st Status) {
	b.t.Helper()
	st = b.call(procLookup, func(e *sunrpc.Encoder) { e.Opaque(dir); e.String(name) }, func(st Status, d *sunrpc.Decoder) {
		if st == OK {
			h = append([]byte(nil), d.Opaque(64)...)
			a = readPost(d)
		}
		readPost(d)
	})
	return h, a, st
}

func (b *bench) access(h []byte, bits uint32) (got uint32, st Status) {
	b.t.Helper()
	st = b.call(procAccess, func(e *sunrpc.Encoder) { e.Opaque(h); e.U32(bits) }, func(st Status, d *sunrpc.Decoder) {
		readPost(d)
		if st == OK {
			got = d.U32()
		}
	})
	return got, st
}

// made reads what CREATE, MKDIR, SYMLINK and MKNOD answer.
func made(st Status, d *sunrpc.Decoder) (h []byte, a *wattr, dir wwcc) {
	if st == OK {
		if d.Bool() {
			h = append([]byte(nil), d.Opaque(64)...)
		}
		a = readPost(d)
	}
	return h, a, readWcc(d)
}

func (b *bench) create(dir []byte, name string, how uint32, s wset, verf uint64) (h []byte, a *wattr, w wwcc, st Status) {
	b.t.Helper()
	st = b.call(procCreate, func(e *sunrpc.Encoder) {
		e.Opaque(dir)
		e.String(name)
		e.U32(how)
		if how == createExclusive {
			e.U64(verf)
		} else {
			s.encode(e)
		}
	}, func(st Status, d *sunrpc.Decoder) { h, a, w = made(st, d) })
	return h, a, w, st
}

func (b *bench) mustCreate(dir []byte, name string) []byte {
	b.t.Helper()
	h, _, _, st := b.create(dir, name, createGuarded, wset{mode: ptr(uint32(0o644))}, 0)
	if st != OK {
		b.t.Fatalf("create %s: %v", name, st)
	}
	return h
}

func (b *bench) mkdir(dir []byte, name string) (h []byte, st Status) {
	b.t.Helper()
	st = b.call(procMkdir, func(e *sunrpc.Encoder) {
		e.Opaque(dir)
		e.String(name)
		wset{mode: ptr(uint32(0o755))}.encode(e)
	}, func(st Status, d *sunrpc.Decoder) { h, _, _ = made(st, d) })
	return h, st
}

func (b *bench) symlink(dir []byte, name, target string) (h []byte, st Status) {
	b.t.Helper()
	st = b.call(procSymlink, func(e *sunrpc.Encoder) {
		e.Opaque(dir)
		e.String(name)
		wset{}.encode(e)
		e.String(target)
	}, func(st Status, d *sunrpc.Decoder) { h, _, _ = made(st, d) })
	return h, st
}

func (b *bench) readlink(h []byte) (target string, st Status) {
	b.t.Helper()
	st = b.call(procReadlink, func(e *sunrpc.Encoder) { e.Opaque(h) }, func(st Status, d *sunrpc.Decoder) {
		readPost(d)
		if st == OK {
			target = string(d.Opaque(4096))
		}
	})
	return target, st
}

func (b *bench) mknod(dir []byte, name string, typ, major, minor uint32) (a *wattr, st Status) {
	b.t.Helper()
	st = b.call(procMknod, func(e *sunrpc.Encoder) {
		e.Opaque(dir)
		e.String(name)
		e.U32(typ)
		if typ >= typeBlock && typ != typeSymlink {
			wset{}.encode(e)
		}
		if typ == typeBlock || typ == typeChar {
			e.U32(major)
			e.U32(minor)
		}
	}, func(st Status, d *sunrpc.Decoder) { _, a, _ = made(st, d) })
	return a, st
}

func (b *bench) remove(proc uint32, dir []byte, name string) (w wwcc, st Status) {
	b.t.Helper()
	st = b.call(proc, func(e *sunrpc.Encoder) { e.Opaque(dir); e.String(name) }, func(_ Status, d *sunrpc.Decoder) { w = readWcc(d) })
	return w, st
}

func (b *bench) rename(from []byte, fromName string, to []byte, toName string) Status {
	b.t.Helper()
	return b.call(procRename, func(e *sunrpc.Encoder) {
		e.Opaque(from)
		e.String(fromName)
		e.Opaque(to)
		e.String(toName)
	}, func(_ Status, d *sunrpc.Decoder) { readWcc(d); readWcc(d) })
}

func (b *bench) link(h, dir []byte, name string) (a *wattr, st Status) {
	b.t.Helper()
	st = b.call(procLink, func(e *sunrpc.Encoder) {
		e.Opaque(h)
		e.Opaque(dir)
		e.String(name)
	}, func(_ Status, d *sunrpc.Decoder) { a = readPost(d); readWcc(d) })
	return a, st
}

func (b *bench) write(h []byte, off uint64, p []byte, stable uint32) (n, committed uint32, verf uint64, w wwcc, st Status) {
	b.t.Helper()
	st = b.call(procWrite, func(e *sunrpc.Encoder) {
		e.Opaque(h)
		e.U64(off)
		e.U32(uint32(len(p)))
		e.U32(stable)
		e.Opaque(p)
	}, func(st Status, d *sunrpc.Decoder) {
		w = readWcc(d)
		if st == OK {
			n, committed, verf = d.U32(), d.U32(), d.U64()
		}
	})
	return
}

func (b *bench) read(h []byte, off uint64, count uint32) (p []byte, eof bool, st Status) {
	b.t.Helper()
	st = b.call(procRead, func(e *sunrpc.Encoder) {
		e.Opaque(h)
		e.U64(off)
		e.U32(count)
	}, func(st Status, d *sunrpc.Decoder) {
		readPost(d)
		if st == OK {
			n := d.U32()
			eof = d.Bool()
			p = append([]byte(nil), d.Opaque(maxIO)...)
			if int(n) != len(p) {
				b.t.Errorf("count %d, %d bytes", n, len(p))
			}
		}
	})
	return p, eof, st
}

func (b *bench) commit(h []byte, off uint64, n uint32) (verf uint64, st Status) {
	b.t.Helper()
	st = b.call(procCommit, func(e *sunrpc.Encoder) { e.Opaque(h); e.U64(off); e.U32(n) }, func(st Status, d *sunrpc.Decoder) {
		readWcc(d)
		if st == OK {
			verf = d.U64()
		}
	})
	return verf, st
}

type wentry struct {
	fileid uint64
	name   string
	cookie uint64
	attr   *wattr
	handle []byte
}

// list makes one READDIR or READDIRPLUS call. It also answers the length of the results.
func (b *bench) list(plus bool, dir []byte, cookie uint64, dirCount, maxCount uint32) (es []wentry, eof bool, size int, st Status) {
	b.t.Helper()
	proc := uint32(procReadDir)
	if plus {
		proc = procReadDirPlus
	}
	st = b.call(proc, func(e *sunrpc.Encoder) {
		e.Opaque(dir)
		e.U64(cookie)
		e.U64(0)
		if plus {
			e.U32(dirCount)
		}
		e.U32(maxCount)
	}, func(st Status, d *sunrpc.Decoder) {
		size = d.Left()
		readPost(d)
		if st != OK {
			return
		}
		d.U64()
		for d.Bool() {
			x := wentry{fileid: d.U64(), name: string(d.Opaque(255)), cookie: d.U64()}
			if plus {
				x.attr = readPost(d)
				if d.Bool() {
					x.handle = append([]byte(nil), d.Opaque(64)...)
				}
			}
			es = append(es, x)
		}
		eof = d.Bool()
	})
	return es, eof, size, st
}

// listAll lists a directory to its end.
func (b *bench) listAll(plus bool, dir []byte, dirCount, maxCount uint32) (all []wentry) {
	b.t.Helper()
	for cookie := uint64(0); ; {
		es, eof, size, st := b.list(plus, dir, cookie, dirCount, maxCount)
		if st != OK {
			b.t.Fatalf("list from %d: %v", cookie, st)
		}
		if size > int(maxCount) {
			b.t.Errorf("results of %d bytes, at most %d were asked for", size, maxCount)
		}
		all = append(all, es...)
		if eof {
			return all
		}
		if len(es) == 0 {
			b.t.Fatal("neither entries nor the end")
		}
		cookie = es[len(es)-1].cookie
	}
}

func want(t testing.TB, what string, got, want Status) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// admin is a caller for preparing the file system behind the server's back.
func admin() (context.Context, *fs.Caller) { return context.Background(), fs.SystemCaller() }
