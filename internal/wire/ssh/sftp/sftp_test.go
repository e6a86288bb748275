package sftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// peer is a client that sends one request at a time.
type peer struct {
	t    testing.TB
	c    net.Conn
	id   uint32
	done chan error
}

func connect(t testing.TB, o Options) *peer {
	t.Helper()
	if o.FS == nil {
		o.FS = memfs.New(memfs.Options{RootMode: 0o777})
	}
	if o.Caller == nil {
		o.Caller = &fs.Caller{Cred: identity.POSIX(1000, 1000, nil)}
	}
	if o.Root == (fs.Node{}) {
		o.Root = fs.Root
	}
	a, b := net.Pipe()
	p := &peer{t: t, c: a, done: make(chan error, 1)}
	go func() { p.done <- Serve(context.Background(), b, o); _ = b.Close() }()
	t.Cleanup(func() { _ = a.Close(); <-p.done; p.done <- nil })
	p.send(append(packet{0, 0, 0, 0, typeInit}, 0, 0, 0, 3))
	typ, r := p.recv()
	if typ != typeVersion || r.u32() != version {
		t.Fatalf("no version but %d", typ)
	}
	return p
}

func (p *peer) send(b packet) {
	p.t.Helper()
	_, err := p.c.Write(b.finish())
	must(p.t, err)
}

func (p *peer) recv() (byte, *reader) {
	p.t.Helper()
	b, err := readPacket(p.c, make([]byte, maxPacket))
	must(p.t, err)
	return b[0], &reader{b: b[1:]}
}

// ask sends a request whose body is made by f, and answers the reply after its id.
func (p *peer) ask(typ byte, f func(packet) packet) (byte, *reader) {
	p.t.Helper()
	p.id++
	b := reply(nil, typ, p.id)
	if f != nil {
		b = f(b)
	}
	p.send(b)
	got, r := p.recv()
	if id := r.u32(); id != p.id {
		p.t.Fatalf("the reply to %d is for %d", p.id, id)
	}
	return got, r
}

func (p *peer) status(typ byte, f func(packet) packet) uint32 {
	p.t.Helper()
	got, r := p.ask(typ, f)
	if got != typeStatus {
		p.t.Fatalf("a reply of type %d", got)
	}
	return r.u32()
}

func (p *peer) open(path string, flags uint32) string {
	p.t.Helper()
	typ, r := p.ask(typeOpen, func(b packet) packet { return b.str(path).u32(flags).u32(0) })
	if typ != typeHandle {
		p.t.Fatalf("open %s: status %d", path, r.u32())
	}
	return r.str()
}

func (p *peer) write(h string, off uint64, data string) uint32 {
	p.t.Helper()
	return p.status(typeWrite, func(b packet) packet { return b.str(h).u64(off).str(data) })
}

func (p *peer) read(h string, off uint64, n uint32) string {
	p.t.Helper()
	typ, r := p.ask(typeRead, func(b packet) packet { return b.str(h).u64(off).u32(n) })
	if typ != typeData {
		return ""
	}
	return r.str()
}

func (p *peer) close(h string) uint32 {
	p.t.Helper()
	return p.status(typeClose, func(b packet) packet { return b.str(h) })
}

func TestOpen_flags(t *testing.T) {
	p := connect(t, Options{})
	status := func(path string, flags uint32) uint32 {
		typ, r := p.ask(typeOpen, func(b packet) packet { return b.str(path).u32(flags).u32(0) })
		if typ == typeStatus {
			return r.u32()
		}
		if c := p.close(r.str()); c != 0 {
			t.Fatalf("close: %d", c)
		}
		return 0
	}
	for _, c := range []struct {
		name  string
		path  string
		flags uint32
		want  uint32
	}{
		{"absent", "a", openRead, statusNoSuchFile},
		{"create", "a", openWrite | openCreat, statusOK},
		{"exclusive, there", "a", openWrite | openCreat | openExcl, statusFailure},
		{"exclusive, absent", "b", openWrite | openCreat | openExcl, statusOK},
		{"neither read nor write", "a", 0, statusFailure},
		{"truncate for reading", "a", openRead | openTrunc, statusFailure},
		{"exclusive without create", "a", openWrite | openExcl, statusFailure},
		{"directory", "/", openRead, statusFailure},
		{"below a file", "a/b", openRead, statusNoSuchFile},
		{"snapshot directory", ".snapshot", openWrite | openCreat, statusFailure},
		{"NUL", "a\x00b", openWrite | openCreat, statusFailure},
	} {
		if got := status(c.path, c.flags); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestReadWrite(t *testing.T) {
	p := connect(t, Options{})
	h := p.open("f", openRead|openWrite|openCreat)
	if p.write(h, 0, "hello world") != 0 || p.write(h, 6, "there") != 0 {
		t.Fatal("write")
	}
	if got := p.read(h, 0, 100); got != "hello there" {
		t.Fatalf("%q", got)
	}
	if got := p.status(typeRead, func(b packet) packet { return b.str(h).u64(11).u32(1) }); got != statusEOF {
		t.Fatalf("at the end: %d", got)
	}
	a := p.open("f", openWrite|openAppend)
	if p.write(a, 0, "!") != 0 {
		t.Fatal("append")
	}
	if got := p.read(h, 0, 100); got != "hello there!" {
		t.Fatalf("%q", got)
	}
	if p.close(h) != 0 || p.close(a) != 0 || p.close(a) != statusFailure {
		t.Fatal("close")
	}
	big := strings.Repeat("x", maxData)
	h = p.open("big", openRead|openWrite|openCreat|openTrunc)
	if p.write(h, 0, big) != 0 || p.read(h, 0, 1<<31) != big {
		t.Fatal("the largest write and read")
	}
}

func TestCopyData(t *testing.T) {
	p := connect(t, Options{})
	a, b := p.open("a", openRead|openWrite|openCreat), p.open("b", openRead|openWrite|openCreat)
	p.write(a, 0, "0123456789")
	cp := func(from string, off, n uint64, to string, at uint64) uint32 {
		return p.status(typeExtended, func(q packet) packet {
			return q.str("copy-data").str(from).u64(off).u64(n).str(to).u64(at)
		})
	}
	if cp(a, 2, 3, b, 1) != 0 || p.read(b, 0, 100) != "\x00234" {
		t.Fatalf("%q", p.read(b, 0, 100))
	}
	if cp(a, 0, 0, b, 0) != 0 || p.read(b, 0, 100) != "0123456789" {
		t.Fatalf("%q", p.read(b, 0, 100))
	}
	if cp(a, 0, 0, a, 20) != statusFailure || cp(a, 0, 5, a, 3) != statusFailure {
		t.Fatal("overlapping copies within a file")
	}
	if cp(a, 0, 3, a, 10) != 0 || p.read(a, 0, 100) != "0123456789012" {
		t.Fatalf("%q", p.read(a, 0, 100))
	}
	if cp(a, 1<<63, 3, b, 0) != statusFailure || cp(a, 0, 3, b, 1<<63) != statusFailure || cp(a, 100, 3, b, 0) != 0 {
		t.Fatal("far offsets")
	}
	r := p.open("a", openRead)
	if cp(b, 0, 0, r, 0) != statusPermissionDenied {
		t.Fatal("into a handle for reading")
	}
}

func TestNames(t *testing.T) {
	p := connect(t, Options{})
	str := func(ss ...string) func(packet) packet {
		return func(b packet) packet {
			for _, s := range ss {
				b = b.str(s)
			}
			return b
		}
	}
	ext := func(name string, ss ...string) uint32 {
		return p.status(typeExtended, str(append([]string{name}, ss...)...))
	}
	mkdir := func(name string) uint32 {
		return p.status(typeMkdir, func(b packet) packet { return b.str(name).u32(0) })
	}
	if mkdir("d") != 0 || mkdir("d") != statusFailure || mkdir("x/y") != statusNoSuchFile {
		t.Fatal("mkdir")
	}
	p.close(p.open("f", openWrite|openCreat))
	p.close(p.open("g", openWrite|openCreat))
	if p.status(typeRename, str("f", "g")) != statusFailure || ext("posix-rename@openssh.com", "f", "g") != 0 {
		t.Fatal("rename onto a file")
	}
	if ext("hardlink@openssh.com", "g", "d/h") != 0 || ext("hardlink@openssh.com", "g", "d/h") != statusFailure {
		t.Fatal("hardlink")
	}
	if p.status(typeSymlink, str("d/h", "s")) != 0 || p.status(typeSymlink, str("d/h", "s")) != statusFailure {
		t.Fatal("symlink")
	}
	typ, r := p.ask(typeReadlink, str("s"))
	if typ != typeName || r.u32() != 1 || r.str() != "d/h" {
		t.Fatal("readlink")
	}
	typ, r = p.ask(typeRealpath, str("./d/../s"))
	if typ != typeName || r.u32() != 1 || r.str() != "/d/h" {
		t.Fatal("realpath")
	}
	if p.status(typeRemove, str("d")) != statusFailure || p.status(typeRmdir, str("d")) != statusFailure || p.status(typeRmdir, str("/")) != statusFailure {
		t.Fatal("directories were removed")
	}
	if p.status(typeRemove, str("d/h")) != 0 || p.status(typeRmdir, str("d")) != 0 {
		t.Fatal("remove")
	}
	if ext("no-such@example.com") != statusUnsupported || p.status(99, nil) != statusUnsupported {
		t.Fatal("unknown requests")
	}
	typ, r = p.ask(typeExtended, str("expand-path@openssh.com", "~/x"))
	if typ != typeName || r.u32() != 1 || r.str() != "/x" {
		t.Fatal("expand-path")
	}
}

func TestReaddir_many(t *testing.T) {
	p := connect(t, Options{})
	want := map[string]bool{".": true, "..": true}
	for i := range 1000 {
		name := strings.Repeat("n", 200) + string(rune('a'+i%26)) + strings.Repeat("z", i/26)
		want[name] = true
		p.close(p.open(name, openWrite|openCreat))
	}
	typ, r := p.ask(typeOpendir, func(b packet) packet { return b.str("/") })
	if typ != typeHandle {
		t.Fatal("opendir")
	}
	h := r.str()
	got := map[string]bool{}
	for {
		typ, r := p.ask(typeReaddir, func(b packet) packet { return b.str(h) })
		if typ == typeStatus {
			if c := r.u32(); c != statusEOF {
				t.Fatalf("status %d", c)
			}
			break
		}
		for n := r.u32(); n > 0; n-- {
			name := r.str()
			r.str()
			r.attrs()
			if got[name] {
				t.Errorf("%s is there twice", name)
			}
			got[name] = true
		}
		must(t, r.err)
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}

func TestLimits(t *testing.T) {
	p := connect(t, Options{MaxHandles: 3})
	for range 3 {
		p.open("f", openWrite|openCreat)
	}
	typ, r := p.ask(typeOpen, func(b packet) packet { return b.str("f").u32(openRead).u32(0) })
	if typ != typeStatus || r.u32() != statusFailure {
		t.Error("a fourth handle was given")
	}
}

func TestBadPackets(t *testing.T) {
	for name, b := range map[string][]byte{
		"no greeting": {0, 0, 0, 5, typeOpen, 0, 0, 0, 0},
		"old version": {0, 0, 0, 5, typeInit, 0, 0, 0, 2},
		"empty":       {0, 0, 0, 0},
		"too long":    {0x10, 0, 0, 0, typeInit},
	} {
		err := Serve(t.Context(), struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), io.Discard}, Options{FS: memfs.New(memfs.Options{}), Caller: fs.SystemCaller(), Root: fs.Root})
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	p := connect(t, Options{})
	for name, c := range map[string]struct {
		typ  byte
		body []byte
	}{
		"short string": {typeStat, []byte{0, 0, 0, 9, 'x'}},
		"huge string":  {typeStat, []byte{0xff, 0xff, 0xff, 0xff}},
		"no attrs":     {typeSetstat, []byte{0, 0, 0, 1, '/'}},
		"many extended": {typeSetstat, append([]byte{0, 0, 0, 1, '/'}, binary.BigEndian.AppendUint32(
			binary.BigEndian.AppendUint32(nil, attrExtended), 1<<31)...)},
		"bad handle": {typeClose, []byte{0, 0, 0, 2, 1, 2}},
	} {
		if got := p.status(c.typ, func(b packet) packet { return append(b, c.body...) }); got != statusBadMessage && got != statusFailure {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// flushes fails or counts the flushes of handles.
type flushes struct {
	fs.FS
	err error
	n   int
}

func (f *flushes) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	h, r, err := f.FS.Open(ctx, c, o)
	if err != nil {
		return nil, r, err
	}
	return &flushed{h, f}, r, nil
}

type flushed struct {
	fs.Handle
	f *flushes
}

func (h *flushed) Flush(ctx context.Context) error {
	h.f.n++
	return errors.Join(h.f.err, h.Handle.Flush(ctx))
}

// A close answers success only for what is stable.
func TestClose_isDurable(t *testing.T) {
	f := &flushes{FS: memfs.New(memfs.Options{RootMode: 0o777})}
	p := connect(t, Options{FS: f})
	h := p.open("f", openWrite|openCreat)
	p.write(h, 0, "x")
	if p.close(h) != 0 || f.n != 1 {
		t.Fatalf("%d flushes", f.n)
	}
	f.err = fs.NoSpace
	h = p.open("f", openWrite|openCreat)
	p.write(h, 0, "x")
	if got := p.status(typeExtended, func(b packet) packet { return b.str("fsync@openssh.com").str(h) }); got != statusFailure {
		t.Errorf("fsync: %d", got)
	}
	if got := p.close(h); got != statusFailure {
		t.Errorf("close: %d", got)
	}
	// What a client leaves open is flushed as well.
	f.err = nil
	p.write(p.open("f", openWrite), 0, "y")
	n := f.n
	_ = p.c.Close()
	if err := <-p.done; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
	p.done <- nil
	if f.n != n+1 {
		t.Errorf("%d flushes after hanging up, want %d", f.n, n+1)
	}
}

func TestStatus_everyKind(t *testing.T) {
	for _, k := range fs.Kinds() {
		code, msg := statusOf(fs.E("op", fs.Root, "name", k, errors.New("inner secret")))
		if code == statusOK || code == statusEOF || msg == "" || strings.Contains(msg, "secret") {
			t.Errorf("%v: %d %q", k, code, msg)
		}
	}
}

func TestChown_keepsWhatIsShown(t *testing.T) {
	s := &session{Options: Options{Identities: identity.Numeric{}}}
	now := &fs.Attr{Owner: identity.Admin, Group: identity.GID(7)}
	q := s.set(&attrs{flags: attrUIDGID, uid: 0, gid: 8}, now)
	if q.Owner != nil || q.Group == nil || *q.Group != identity.GID(8) {
		t.Errorf("%+v", q)
	}
}

func FuzzServe(f *testing.F) {
	seed := func(ps ...packet) {
		b := packet{0, 0, 0, 5, typeInit, 0, 0, 0, 3}
		for _, p := range ps {
			b = append(b, p.finish()...)
		}
		f.Add([]byte(b))
	}
	handle := string([]byte{0, 0, 0, 1})
	seed(reply(nil, typeOpen, 1).str("f").u32(openRead|openWrite|openCreat).u32(0),
		reply(nil, typeWrite, 2).str(handle).u64(0).str("data"),
		reply(nil, typeRead, 3).str(handle).u64(0).u32(100),
		reply(nil, typeExtended, 4).str("copy-data").str(handle).u64(0).u64(2).str(handle).u64(8),
		reply(nil, typeFsetstat, 5).str(handle).u32(0xf).u64(1).u32(1).u32(1).u32(0o777).u32(1).u32(1))
	seed(reply(nil, typeOpendir, 1).str("/"), reply(nil, typeReaddir, 2).str(handle), reply(nil, typeReaddir, 3).str(handle))
	for name := range extended {
		seed(reply(nil, typeExtended, 1).str(name).str("a").str("b"))
	}
	for typ := range calls {
		seed(reply(nil, typ, 1).str("a").str("b").u64(0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := memfs.New(memfs.Options{RootMode: 0o777, Capacity: 1 << 20})
		var out bytes.Buffer
		_ = Serve(t.Context(), struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(b), &out}, Options{
			FS: m, Caller: &fs.Caller{Cred: identity.POSIX(1000, 1000, nil)}, Root: fs.Root,
			UserName:  func(context.Context, uint32) string { return "u" },
			GroupName: func(context.Context, uint32) string { return "g" },
		})
		_ = m.Opens(t.Context(), fs.Node{}, func(fs.OpenInfo) bool { t.Fatal("a handle stays open"); return false })
		buf := make([]byte, maxPacket)
		for out.Len() > 0 {
			if _, err := readPacket(&out, buf); err != nil {
				t.Fatalf("a reply is no packet: %v", err)
			}
		}
	})
}

// A long file goes to disk while it comes, so that the close has little to wait for.
func TestWrite_flushesMeanwhile(t *testing.T) {
	f := &flushes{FS: memfs.New(memfs.Options{RootMode: 0o777})}
	p := connect(t, Options{FS: f})
	h := p.open("f", openWrite|openCreat)
	const piece = 128 << 10
	for off := uint64(0); off < flushSize; off += piece {
		p.write(h, off, strings.Repeat("x", piece))
	}
	if p.close(h) != 0 || f.n != 2 {
		t.Fatalf("%d flushes, want one on the way and one of the close", f.n)
	}
}
