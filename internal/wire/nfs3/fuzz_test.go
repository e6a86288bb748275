package nfs3

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/export"
	"manifold/internal/fs/memfs"
	"manifold/internal/wire/nfs3/mount"
	"manifold/internal/wire/sunrpc"
)

// offline is a server that is called without a network.
func offline(t testing.TB) (*Server, []byte) {
	x := &table{}
	x.set(&export.Export{ID: 1, Path: "/", FSPath: "/"})
	s, err := New(Options{FS: memfs.New(memfs.Options{}), Exports: x, HandleKey: []byte("0123456789abcdef"),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var h [handleSize]byte
	s.handles.put(&h, handle{node: fs.Root, root: fs.RootID, export: 1})
	return s, h[:]
}

// direct calls a handler with raw arguments and answers what it would reply.
func direct(s *Server, proc uint32, args []byte) (sunrpc.Accept, []byte) {
	rec := sunrpc.NewBuf(len(args))
	copy(rec.Bytes(), args)
	c := &sunrpc.Call{Prog: Program, Vers: 3, Proc: proc, Record: rec, Args: sunrpc.NewDecoder(rec.Bytes()),
		Reply: sunrpc.NewEncoder(512), Session: &sunrpc.Session{}, Cred: sunrpc.Cred{Flavor: sunrpc.FlavorSys}}
	replySize(c)
	a := s.handle(context.Background(), c)
	out := append([]byte(nil), c.Reply.Bytes()...)
	c.Reply.Release()
	rec.Release()
	return a, out
}

// arguments are valid arguments of every procedure on the handle h.
func arguments(h []byte) map[uint32][]byte {
	build := func(f func(e *sunrpc.Encoder)) []byte {
		e := sunrpc.NewEncoder(100)
		defer e.Release()
		e.Opaque(h)
		f(&e)
		return append([]byte(nil), e.Bytes()...)
	}
	named := func(f func(e *sunrpc.Encoder)) []byte {
		return build(func(e *sunrpc.Encoder) { e.String("name"); f(e) })
	}
	none := func(*sunrpc.Encoder) {}
	all := wset{mode: ptr(uint32(0o7777)), uid: ptr(uint32(1)), gid: ptr(uint32(2)), size: ptr(uint64(3)), atime: &fs.Time{Sec: 4}, touch: true}
	return map[uint32][]byte{
		procNull:        nil,
		procGetAttr:     build(none),
		procSetAttr:     build(func(e *sunrpc.Encoder) { all.encode(e); e.Bool(true); e.U64(1) }),
		procLookup:      named(none),
		procAccess:      build(func(e *sunrpc.Encoder) { e.U32(0x3f) }),
		procReadlink:    build(none),
		procRead:        build(func(e *sunrpc.Encoder) { e.U64(1); e.U32(100) }),
		procWrite:       build(func(e *sunrpc.Encoder) { e.U64(1); e.U32(5); e.U32(1); e.String("12345") }),
		procCreate:      named(func(e *sunrpc.Encoder) { e.U32(1); all.encode(e) }),
		procMkdir:       named(all.encode),
		procSymlink:     named(func(e *sunrpc.Encoder) { all.encode(e); e.String("target") }),
		procMknod:       named(func(e *sunrpc.Encoder) { e.U32(typeBlock); all.encode(e); e.U64(1) }),
		procRemove:      named(none),
		procRmdir:       named(none),
		procRename:      named(func(e *sunrpc.Encoder) { e.Opaque(h); e.String("new") }),
		procLink:        build(func(e *sunrpc.Encoder) { e.Opaque(h); e.String("new") }),
		procReadDir:     build(func(e *sunrpc.Encoder) { e.U64(0); e.U64(0); e.U32(4096) }),
		procReadDirPlus: build(func(e *sunrpc.Encoder) { e.U64(0); e.U64(0); e.U32(4096); e.U32(4096) }),
		procFSStat:      build(none),
		procFSInfo:      build(none),
		procPathConf:    build(none),
		procCommit:      build(func(e *sunrpc.Encoder) { e.U64(0); e.U32(0) }),
	}
}

func TestArguments_truncatedAreGarbage(t *testing.T) {
	s, h := offline(t)
	args := arguments(h)
	if len(args) != procCount {
		t.Fatalf("%d procedures", len(args))
	}
	for proc, p := range args {
		for n := range len(p) {
			if a, out := direct(s, proc, p[:n]); a != sunrpc.GarbageArgs || len(out) != 0 {
				t.Errorf("%s cut at %d of %d: %d, %d bytes", procNames[proc], n, len(p), a, len(out))
			}
		}
		if a, _ := direct(s, proc, p); a != sunrpc.Success {
			t.Errorf("%s: %d", procNames[proc], a)
		}
	}
}

// Every failure must still have the shape of its procedure's failure.
func TestFailures_haveTheirShape(t *testing.T) {
	s, good := offline(t)
	bad := append([]byte(nil), good...)
	bad[47]++
	// Words after the status for a handle that is refused.
	words := map[uint32]int{
		procGetAttr: 0, procSetAttr: 2, procLookup: 1, procAccess: 1, procReadlink: 1, procRead: 1, procWrite: 2,
		procCreate: 2, procMkdir: 2, procSymlink: 2, procMknod: 2, procRemove: 2, procRmdir: 2, procRename: 4, procLink: 3,
		procReadDir: 1, procReadDirPlus: 1, procFSStat: 1, procFSInfo: 1, procPathConf: 1, procCommit: 2,
	}
	for proc, p := range arguments(bad) {
		if proc == procNull {
			continue
		}
		a, out := direct(s, proc, p)
		d := sunrpc.NewDecoder(out)
		if st := Status(d.U32()); a != sunrpc.Success || st != ErrBadHandle || d.Left() != 4*words[proc] {
			t.Errorf("%s: %d %v and %d bytes", procNames[proc], a, st, d.Left())
		}
	}
}

func FuzzArguments(f *testing.F) {
	s, h := offline(f)
	for proc, p := range arguments(h) {
		f.Add(proc, p)
	}
	f.Fuzz(func(t *testing.T, proc uint32, p []byte) {
		if len(p) > 1<<16 {
			return
		}
		a, out := direct(s, proc%(procCount+1), p)
		if a == sunrpc.Success && proc%(procCount+1) != procNull && len(out) < 4 {
			t.Errorf("success without a status: %x", out)
		}
		if len(out)%4 != 0 {
			t.Errorf("results of %d bytes", len(out))
		}
	})
}

func FuzzHandle(f *testing.F) {
	s, h := offline(f)
	f.Add(h)
	f.Fuzz(func(t *testing.T, p []byte) {
		got, st := s.handles.get(p)
		if st != OK {
			return
		}
		var b [handleSize]byte
		if s.handles.put(&b, got); string(b[:]) != string(p) {
			t.Errorf("%x read as %+v, written as %x", p, got, b)
		}
	})
}

func FuzzMount(f *testing.F) {
	s, _ := offline(f)
	prog := mount.New(mount.Options{Backend: mountBackend{s}})
	f.Add(uint32(3), uint32(1), []byte("\x00\x00\x00\x01/\x00\x00\x00"))
	f.Add(uint32(1), uint32(5), []byte(nil))
	f.Fuzz(func(t *testing.T, vers, proc uint32, p []byte) {
		rec := sunrpc.NewBuf(len(p))
		defer rec.Release()
		copy(rec.Bytes(), p)
		c := &sunrpc.Call{Prog: mount.Program, Vers: 1 + vers%2*2, Proc: proc % 8, Record: rec,
			Args: sunrpc.NewDecoder(rec.Bytes()), Reply: sunrpc.NewEncoder(512), Packet: vers%3 == 0}
		defer c.Reply.Release()
		prog.Handle(context.Background(), c)
		if c.Reply.Len()%4 != 0 {
			t.Errorf("results of %d bytes", c.Reply.Len())
		}
	})
}
