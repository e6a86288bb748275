package nfsclient_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"manifold/e2e/nfsclient"
	"manifold/e2e/peers"
)

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// The client is judged by a server of others before it judges ours.
func TestAllProceduresAgainstGanesha(t *testing.T) {
	g := peers.StartGanesha(t, t.TempDir())
	ctx := t.Context()
	connect := func(addr string) *nfsclient.Conn {
		nc, err := g.Net.Dial(ctx, "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c := nfsclient.NewConn(nc, nfsclient.Cred{})
		t.Cleanup(func() { c.Close() })
		return c
	}
	root := must[nfsclient.Handle](t)(connect("127.0.0.1:20048").Mount(ctx, g.Dir))
	c := connect("127.0.0.1:2049")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(err error, st nfsclient.Status) {
		t.Helper()
		if !errors.Is(err, st) {
			t.Fatalf("got %v, want %v", err, st)
		}
	}

	check(c.Null(ctx))
	mode := uint32(0o750)
	d, a, err := c.Mkdir(ctx, root, "d", nfsclient.SetAttr{Mode: &mode})
	check(err)
	if a == nil || a.Type != nfsclient.Dir || a.Mode != mode {
		t.Fatalf("mkdir: %+v", a)
	}
	f, _, err := c.Create(ctx, d, "f", nfsclient.SetAttr{}, true)
	check(err)
	_, _, err = c.Create(ctx, d, "f", nfsclient.SetAttr{}, true)
	want(err, nfsclient.Exist)
	_, _, err = c.CreateExclusive(ctx, d, "x", nfsclient.Verifier{1})
	check(err)
	_, _, err = c.CreateExclusive(ctx, d, "x", nfsclient.Verifier{1}) // a retry
	check(err)

	data := bytes.Repeat([]byte("0123456"), 10007)
	w, err := c.Write(ctx, f, 5, data, nfsclient.Unstable)
	check(err)
	if int(w.Count) != len(data) {
		t.Fatalf("wrote %d of %d", w.Count, len(data))
	}
	v := must[nfsclient.Verifier](t)(c.Commit(ctx, f, 0, 0))
	if v != w.Verifier {
		t.Fatal("the write verifier changed")
	}
	p, eof, err := c.Read(ctx, f, 5, uint32(len(data)))
	check(err)
	if !bytes.Equal(p, data) || !eof {
		t.Fatalf("read %d bytes, eof %v", len(p), eof)
	}
	size := uint64(3)
	_, err = c.SetAttr(ctx, f, nfsclient.SetAttr{Size: &size})
	check(err)
	if a := must[*nfsclient.Attr](t)(c.GetAttr(ctx, f)); a.Size != 3 {
		t.Fatalf("size %d after truncation", a.Size)
	}

	l, _, err := c.Symlink(ctx, d, "l", "f", nfsclient.SetAttr{})
	check(err)
	if s := must[string](t)(c.ReadLink(ctx, l)); s != "f" {
		t.Fatalf("link to %q", s)
	}
	_, _, err = c.Mknod(ctx, d, "p", nfsclient.FIFO, nfsclient.SetAttr{}, 0, 0)
	check(err)
	check(c.Link(ctx, f, root, "hard"))
	if a := must[*nfsclient.Attr](t)(c.GetAttr(ctx, f)); a.Nlink != 2 {
		t.Fatalf("%d links", a.Nlink)
	}
	check(c.Rename(ctx, d, "f", root, "g"))
	_, _, err = c.Lookup(ctx, d, "f")
	want(err, nfsclient.NoEnt)
	want(c.Rmdir(ctx, root, "d"), nfsclient.NotEmpty)
	if got := must[uint32](t)(c.Access(ctx, d, 0x3f)); got == 0 {
		t.Fatal("root may do nothing")
	}

	many, _, err := c.Mkdir(ctx, root, "many", nfsclient.SetAttr{})
	check(err)
	const n = 1500
	for i := range n {
		_, _, err := c.Create(ctx, many, fmt.Sprintf("file%05d", i), nfsclient.SetAttr{}, true)
		check(err)
	}
	seen := map[string]bool{}
	for _, e := range must[[]nfsclient.Entry](t)(c.ReadDirAll(ctx, many)) {
		if seen[e.Name] {
			t.Errorf("%s listed twice", e.Name)
		}
		seen[e.Name] = true
	}
	if len(seen) != n+2 {
		t.Fatalf("%d names listed, want %d with . and ..", len(seen), n+2)
	}
	page, err := c.ReadDir(ctx, many, 0, nfsclient.Verifier{}, 4096)
	check(err)
	if page.EOF || len(page.Entries) == 0 {
		t.Fatalf("first page: %d entries, eof %v", len(page.Entries), page.EOF)
	}

	if s := must[nfsclient.FSStat](t)(c.FSStat(ctx, root)); s.TotalBytes == 0 {
		t.Fatal("no bytes in total")
	}
	if s := must[nfsclient.FSInfo](t)(c.FSInfo(ctx, root)); s.ReadMax == 0 || s.WriteMax == 0 {
		t.Fatalf("fsinfo %+v", s)
	}
	if s := must[nfsclient.PathConf](t)(c.PathConf(ctx, root)); s.NameMax < 255 || !s.NoTrunc {
		t.Fatalf("pathconf %+v", s)
	}
	for _, name := range []string{"l", "p", "x"} {
		check(c.Remove(ctx, d, name))
	}
	check(c.Rmdir(ctx, root, "d"))
	_, err = c.GetAttr(ctx, "not a handle")
	if err == nil {
		t.Fatal("a garbage handle was accepted")
	}
}
