package sftp

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
)

const fresh = openWrite | openCreat | openTrunc

// counted counts the opens that make a file with data, and writes beside.
type counted struct {
	fs.FS
	whole, writes atomic.Int32
}

func (f *counted) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	h, res, err := f.FS.Open(ctx, c, o)
	if res.Action == fs.OpenCreated && len(o.Create.Data) > 0 {
		f.whole.Add(1)
	}
	if h != nil {
		h = countedHandle{h, f}
	}
	return h, res, err
}

type countedHandle struct {
	fs.Handle
	f *counted
}

func (h countedHandle) Write(ctx context.Context, w *fs.WriteRequest) (fs.WriteResult, error) {
	h.f.writes.Add(1)
	return h.Handle.Write(ctx, w)
}

func content(t *testing.T, f fs.FS, name string) string {
	t.Helper()
	a, err := f.Lookup(t.Context(), fs.SystemCaller(), fs.Root, name, fs.AttrSize)
	must(t, err)
	b := make([]byte, a.Size)
	r, err := f.Read(t.Context(), fs.SystemCaller(), a.Node, &fs.ReadRequest{}, b)
	must(t, err)
	return string(b[:r.N])
}

func TestMaking(t *testing.T) {
	newFS := func() *counted { return &counted{FS: memfs.New(memfs.Options{RootMode: 0o777})} }
	ok := func(t *testing.T, code uint32) {
		t.Helper()
		if code != statusOK {
			t.Fatalf("status %d", code)
		}
	}
	t.Run("small file is made whole", func(t *testing.T) {
		f := newFS()
		p := connect(t, Options{FS: f})
		h := p.open("f", fresh)
		ok(t, p.write(h, 0, "hello"))
		ok(t, p.close(h))
		if n, w := f.whole.Load(), f.writes.Load(); n != 1 || w != 0 {
			t.Errorf("%d files made whole, %d writes", n, w)
		}
		if got := content(t, f, "f"); got != "hello" {
			t.Errorf("content %q", got)
		}
	})
	t.Run("longer ones go on", func(t *testing.T) {
		f := newFS()
		p := connect(t, Options{FS: f})
		for name, first := range map[string]int{"short": 100, "most": fs.MaxCreateData, "more": fs.MaxCreateData + 1} {
			a, b := strings.Repeat("a", first), strings.Repeat("b", 1000)
			h := p.open(name, fresh)
			ok(t, p.write(h, 0, a))
			ok(t, p.write(h, uint64(first), b))
			ok(t, p.close(h))
			if got := content(t, f, name); got != a+b {
				t.Errorf("%s: %d bytes", name, len(got))
			}
		}
		h := p.open("hole", fresh)
		ok(t, p.write(h, 3, "x"))
		ok(t, p.write(h, 0, "y"))
		ok(t, p.close(h))
		if got := content(t, f, "hole"); got != "y\x00\x00x" {
			t.Errorf("hole: %q", got)
		}
		ok(t, p.close(p.open("empty", fresh)))
		if got := content(t, f, "empty"); got != "" {
			t.Errorf("empty: %q", got)
		}
	})
	t.Run("the session sees it at once", func(t *testing.T) {
		p := connect(t, Options{FS: newFS()})
		h := p.open("f", fresh)
		if typ, _ := p.ask(typeStat, func(b packet) packet { return b.str("f") }); typ != typeAttrs {
			t.Errorf("stat by path: reply %d", typ)
		}
		if typ, _ := p.ask(typeFstat, func(b packet) packet { return b.str(h) }); typ != typeAttrs {
			t.Errorf("fstat: reply %d", typ)
		}
		ok(t, p.write(h, 0, "one"))
		h2 := p.open("f", openRead)
		if got := p.read(h2, 0, 10); got != "one" {
			t.Errorf("read %q", got)
		}
		ok(t, p.close(h))
		// One handle settles the other, and a name that is to be made is taken.
		a, b := p.open("g", fresh), p.open("g", fresh)
		ok(t, p.write(a, 0, "aaa"))
		ok(t, p.write(b, 0, "b"))
		ok(t, p.close(b))
		ok(t, p.close(a))
		if typ, r := p.ask(typeOpen, func(b packet) packet { return b.str("g").u32(openWrite | openCreat | openExcl).u32(0) }); typ != typeStatus {
			t.Errorf("a name that is there was made: %d %v", typ, r)
		}
	})
	t.Run("others see it after a while", func(t *testing.T) {
		f := newFS()
		p := connect(t, Options{FS: f})
		made, err := f.Watch(t.Context(), fs.RootID, false, fs.EventAdded)
		must(t, err)
		h := p.open("f", fresh)
		if e := <-made; e.Name != "f" {
			t.Fatalf("event %+v", e)
		}
		ok(t, p.write(h, 0, "late"))
		ok(t, p.close(h))
		if got := content(t, f, "f"); got != "late" {
			t.Errorf("content %q", got)
		}
	})
	t.Run("somebody else is quicker", func(t *testing.T) {
		f := newFS()
		p, q := connect(t, Options{FS: f}), connect(t, Options{FS: f})
		h := p.open("f", fresh)
		h2 := q.open("f", openWrite|openCreat|openExcl) // makes it at once
		ok(t, q.write(h2, 0, "the other's, longer"))
		ok(t, q.close(h2))
		ok(t, p.write(h, 0, "mine"))
		ok(t, p.close(h))
		if got := content(t, f, "f"); got != "mine" {
			t.Errorf("content %q", got)
		}
	})
	t.Run("what is refused is refused at the open", func(t *testing.T) {
		f := memfs.New(memfs.Options{RootMode: 0o755})
		ro := connect(t, Options{FS: memfs.New(memfs.Options{RootMode: 0o777}), Caller: &fs.Caller{Cred: identity.POSIX(1000, 1000, nil), ReadOnly: true}})
		for name, p := range map[string]*peer{"no permission": connect(t, Options{FS: f}), "read only": ro} {
			if code := p.status(typeOpen, func(b packet) packet { return b.str("f").u32(fresh).u32(0) }); code != statusPermissionDenied {
				t.Errorf("%s: status %d", name, code)
			}
		}
		p := connect(t, Options{})
		if code := p.status(typeOpen, func(b packet) packet { return b.str(strings.Repeat("n", fs.MaxName+1)).u32(fresh).u32(0) }); code == statusOK {
			t.Error("a name too long")
		}
	})
	t.Run("what making tells is told by the close", func(t *testing.T) {
		f := memfs.New(memfs.Options{RootMode: 0o777})
		_, err := f.SetQuota(t.Context(), fs.RootID, 1, true, 0)
		must(t, err)
		p := connect(t, Options{FS: f})
		h := p.open("f", fresh)
		ok(t, p.write(h, 0, "data"))
		if code := p.write(h, 4, "more"); code == statusOK {
			t.Error("the second write succeeds")
		}
		if code := p.close(h); code == statusOK {
			t.Error("the close succeeds")
		}
		if code := p.close(h); code == statusOK {
			t.Error("the handle lives on")
		}
		if code := p.close(p.open("empty", fresh)); code == statusOK {
			t.Error("an empty file fits")
		}
		if typ, _ := p.ask(typeStat, func(b packet) packet { return b.str("f") }); typ != typeStatus {
			t.Error("f is there")
		}
	})
	t.Run("a client that goes leaves what it sent", func(t *testing.T) {
		f := newFS()
		p := connect(t, Options{FS: f})
		ok(t, p.write(p.open("f", fresh), 0, "hello"))
		p.open("g", fresh)
		must(t, p.c.Close())
		err := <-p.done
		p.done <- err
		if got := content(t, f, "f") + content(t, f, "g"); got != "hello" {
			t.Errorf("content %q", got)
		}
	})
}
