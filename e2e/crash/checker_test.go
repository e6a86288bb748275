package crash

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"manifold/e2e/nfsclient"
	"manifold/e2e/peers"
)

func TestContent(t *testing.T) {
	var c content
	c.synced(write{0, []byte("aaaaaaaa")})
	c.unstable(write{2, []byte("bbbb")})
	for _, ok := range []string{"aaaaaaaa", "aabbbbaa", "aaabbaaa"} {
		if bad := c.allows([]byte(ok)); bad != "" {
			t.Errorf("%s: %s", ok, bad)
		}
	}
	for _, bad := range []string{"aaaaaaa", "baaaaaaa", "aacaaaaa", "aaaaaaaaa"} {
		if c.allows([]byte(bad)) == "" {
			t.Errorf("%s is allowed", bad)
		}
	}
	c.synced(write{3, []byte("c")})
	if c.allows([]byte("aabbbbaa")) == "" || c.allows([]byte("aaacaaaa")) != "" || c.allows([]byte("aabcbaaa")) != "" {
		t.Error("an older unstable write undoes a stable one")
	}
	c.unstable(write{8, []byte("dd")})
	if c.allows([]byte("aaacaaaa")) != "" || c.allows([]byte("aaacaaaadd")) != "" || c.allows([]byte("aaacaaaa\x00d")) != "" {
		t.Error("an appended write may be lost in part")
	}
	c.truncated(4)
	if c.allows([]byte("aaac")) != "" || c.allows([]byte("aabc")) != "" || c.allows([]byte("aaacb")) == "" {
		t.Error("truncation")
	}
	c.committed()
	if c.allows([]byte("aabc")) != "" || c.allows([]byte("aaac")) == "" {
		t.Error("a commit makes the last writes durable")
	}
}

// ganesha starts a checker on a server of others, which loses nothing as long
// as it is not killed.
func ganesha(t *testing.T, workers int) (c *Checker, dial Dial) {
	g := peers.StartGanesha(t, t.TempDir())
	ctx := t.Context()
	nc, err := g.Net.Dial(ctx, "tcp", "127.0.0.1:20048")
	if err != nil {
		t.Fatal(err)
	}
	mount := nfsclient.NewConn(nc, nfsclient.Cred{})
	defer mount.Close()
	root, err := mount.Mount(ctx, g.Dir)
	if err != nil {
		t.Fatal(err)
	}
	dial = func(ctx context.Context) (*nfsclient.Conn, error) {
		nc, err := g.Net.Dial(ctx, "tcp", "127.0.0.1:2049")
		if err != nil {
			return nil, err
		}
		return nfsclient.NewConn(nc, nfsclient.Cred{}), nil
	}
	conn, err := dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c = New(root, workers, 1)
	if err := c.Setup(ctx, conn); err != nil {
		t.Fatal(err)
	}
	return c, dial
}

// load runs until so many operations are acknowledged. A server that lives
// would carry out calls of a cut connection later, so none are cut.
func load(t *testing.T, c *Checker, dial Dial, operations int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var acked atomic.Int64
	stop := make(chan struct{})
	for _, f := range c.Load(ctx, dial, stop, func() {
		if acked.Add(1) == operations {
			close(stop)
		}
	}) {
		t.Error(f)
	}
	if n := acked.Load(); n < operations {
		t.Fatalf("%d of %d operations", n, operations)
	}
}

func TestChecker_acceptsGanesha(t *testing.T) {
	c, dial := ganesha(t, 4)
	for round := range 5 {
		load(t, c, dial, 1500)
		found, err := c.Verify(t.Context(), dial)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			t.Error(f)
		}
		t.Logf("round %d: %d names", round, c.Nodes())
	}
}

// Each fault is one that a server which loses something would show.
func TestChecker_catches(t *testing.T) {
	c, dial := ganesha(t, 1)
	load(t, c, dial, 800)
	if found, err := c.Verify(t.Context(), dial); err != nil || len(found) > 0 {
		t.Fatal(found, err)
	}
	var file, old place
	for _, p := range c.workers[0].places(isFile) {
		if p.parent == c.workers[0].own && p.node.nlink == 1 && len(p.node.data.stable) > 10 {
			old, file = file, p
		}
	}
	if old.node == nil {
		t.Fatal("no two files to damage")
	}
	ctx := t.Context()
	conn, err := dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	own, h, was := c.workers[0].own.handle, file.node.handle, file.node.data.stable
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	poke := func(off int, p ...byte) {
		_, err := conn.Write(ctx, h, uint64(off), p, nfsclient.FileSync)
		must(err)
	}
	set := func(s nfsclient.SetAttr) {
		_, err := conn.SetAttr(ctx, h, s)
		must(err)
	}
	rename := func(from, to string) { must(conn.Rename(ctx, own, from, own, to)) }
	size, mode := uint64(3), uint32(0o777)
	for _, fault := range []struct {
		name, want string
		do, undo   func()
	}{
		{"flipped byte", "bytes differ", func() { poke(5, was[5]^1) }, func() { poke(5, was[5]) }},
		{"lost tail", "size", func() { set(nfsclient.SetAttr{Size: &size}) }, func() { poke(0, was...) }},
		{"undone rename", "is lost", func() { rename(file.name, "old") }, func() { rename("old", file.name) }},
		{"resurrected file", "against what was acknowledged", func() {
			_, _, err := conn.Create(ctx, own, "x", nfsclient.SetAttr{}, true)
			must(err)
		}, func() { must(conn.Remove(ctx, own, "x")) }},
		{"mode", "mode", func() { set(nfsclient.SetAttr{Mode: &mode}) }, func() { set(nfsclient.SetAttr{Mode: &file.node.mode}) }},
		{"extra link", "links", func() { must(conn.Link(ctx, h, c.root, "y")) }, func() { must(conn.Remove(ctx, c.root, "y")) }},
		{"swapped files", "file id", func() {
			rename(file.name, "t")
			rename(old.name, file.name)
			rename("t", old.name)
		}, nil},
	} {
		t.Run(strings.ReplaceAll(fault.name, " ", "_"), func(t *testing.T) {
			file.node.mtime = nil // the damage may touch it
			fault.do()
			found, err := c.Verify(t.Context(), dial)
			if err != nil {
				t.Fatal(err)
			}
			if len(found) == 0 || !strings.Contains(strings.Join(found, "\n"), fault.want) {
				t.Errorf("found %q", found)
			}
			if fault.undo != nil {
				fault.undo()
				if found, err := c.Verify(t.Context(), dial); err != nil || len(found) > 0 {
					t.Fatal("after repair", found, err)
				}
			}
		})
	}
}
