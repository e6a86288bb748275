package nfs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/nfsclient"
)

// TestDiskFull fills a real, small file system below the server. Writes fail
// with the right error, what was acknowledged stays, removing works, survives
// kill -9 on the full disk, and gives the space back.
func TestDiskFull(t *testing.T) {
	s := harness.NewServer(t)
	if err := os.Mkdir(s.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	// A reserve of 1 GiB is kept; tmpfs gives memory only to what is written.
	if err := syscall.Mount("tmpfs", s.Data, "tmpfs", 0, "size=1248m,mode=700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(s.Data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s.Start(t)
	ctx := t.Context()
	c := s.NFS(t, nfsclient.Cred{})
	root, err := c.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	const size = 4 << 20
	content := func(i int) []byte {
		rnd := rand.New(rand.NewPCG(uint64(i), 1))
		b := make([]byte, size)
		for j := 0; j < size; j += 64 {
			b[j] = byte(rnd.Uint32())
		}
		return b
	}
	write := func(i int) error {
		h, _, err := c.Create(ctx, root, fmt.Sprintf("f%d", i), nfsclient.SetAttr{}, false)
		if err != nil {
			return err
		}
		b := content(i)
		for off := 0; off < size; off += 1 << 20 {
			if _, err := c.Write(ctx, h, uint64(off), b[off:off+1<<20], 0); err != nil {
				return err
			}
		}
		_, err = c.Commit(ctx, h, 0, 0)
		return err
	}
	verify := func(i int) {
		t.Helper()
		h, _, err := c.Lookup(ctx, root, fmt.Sprintf("f%d", i))
		if err != nil {
			t.Fatal(err)
		}
		want := content(i)
		for off := 0; off < size; off += 1 << 20 {
			b, _, err := c.Read(ctx, h, uint64(off), 1<<20)
			if err != nil || !bytes.Equal(b, want[off:off+1<<20]) {
				t.Fatalf("f%d at %d: %d bytes, %v", i, off, len(b), err)
			}
		}
	}
	n := 0
	for ; ; n++ {
		if err = write(n); err != nil {
			break
		}
		if n > 300 {
			t.Fatal("the disk is never full")
		}
	}
	if !errors.Is(err, nfsclient.NoSpc) || n < 20 {
		t.Fatalf("after %d files: %v", n, err)
	}
	t.Logf("full after %d files of 4 MiB", n)
	if err := c.Remove(ctx, root, fmt.Sprintf("f%d", n)); err != nil && !errors.Is(err, nfsclient.NoEnt) {
		t.Fatal(err)
	}
	for i := range n {
		verify(i)
	}
	s.Kill9()
	s.Start(t)
	c = s.NFS(t, nfsclient.Cred{})
	for i := range n {
		verify(i)
	}
	for i := range n - 3 {
		if err := c.Remove(ctx, root, fmt.Sprintf("f%d", i)); err != nil {
			t.Fatalf("remove on a full disk: %v", err)
		}
	}
	freed := time.Now()
	room := func() bool { err = write(1000); return err == nil || !errors.Is(err, nfsclient.NoSpc) }
	if !harness.Within(90*time.Second, room) || err != nil {
		t.Fatalf("%v after removing: %v", time.Since(freed), err)
	}
	t.Logf("room again after %v", time.Since(freed).Round(time.Second))
	for _, i := range []int{n - 3, n - 2, n - 1, 1000} {
		verify(i)
	}
	s.Stop(t)
	s.Fsck(t)
}
