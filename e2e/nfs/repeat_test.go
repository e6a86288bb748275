package nfs

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/nfsclient"
)

// tap keeps the last record that was sent.
type tap struct {
	net.Conn
	last []byte
}

func (c *tap) Write(p []byte) (int, error) {
	c.last = bytes.Clone(p)
	return c.Conn.Write(p)
}

// dialFrom connects from a port, which a client keeps over a reconnect.
func dialFrom(t *testing.T, s *harness.Server, port int) (nc net.Conn) {
	t.Helper()
	err := s.Net.Do(func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{Port: port}, Timeout: 10 * time.Second,
			Control: func(_, _ string, c syscall.RawConn) error {
				return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) })
			}}
		nc, err = d.DialContext(t.Context(), "tcp", nfsPort)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := nc.(*net.TCPConn).SetLinger(0); err != nil { // the port is free at once
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// repeat sends a record again and answers the status of the reply.
func repeat(t *testing.T, nc net.Conn, record []byte) uint32 {
	t.Helper()
	if _, err := nc.Write(record); err != nil {
		t.Fatal(err)
	}
	var h [4]byte
	if _, err := io.ReadFull(nc, h[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(h[:])&^(1<<31))
	if _, err := io.ReadFull(nc, b); err != nil {
		t.Fatal(err)
	}
	// xid, REPLY, accepted, verifier of no length, success, status
	if len(b) < 28 || !bytes.Equal(b[:4], record[4:8]) || binary.BigEndian.Uint32(b[20:]) != 0 {
		t.Fatalf("reply % x", b)
	}
	return binary.BigEndian.Uint32(b[24:])
}

// TestRetransmission: calls that must not run twice come again, over the same
// connection and over the next one, and get the answer of the first time.
func TestRetransmission(t *testing.T) {
	s := harness.StartServer(t)
	ctx := t.Context()
	setup := s.NFS(t, nfsclient.Cred{})
	root, err := setup.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	must := func(h nfsclient.Handle, _ *nfsclient.Attr, err error) nfsclient.Handle {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	dir := must(setup.Mkdir(ctx, root, "d", nfsclient.SetAttr{}))
	file := must(setup.Create(ctx, dir, "file", nfsclient.SetAttr{}, true))
	must(setup.Create(ctx, dir, "old", nfsclient.SetAttr{}, true))
	must(setup.Create(ctx, dir, "gone", nfsclient.SetAttr{}, true))
	must(setup.Mkdir(ctx, dir, "gonedir", nfsclient.SetAttr{}))

	for i, op := range []struct {
		name string
		do   func(ctx context.Context, c *nfsclient.Conn) error
		// again is what a second run would answer.
		again nfsclient.Status
	}{
		{"REMOVE", func(ctx context.Context, c *nfsclient.Conn) error { return c.Remove(ctx, dir, "gone") }, nfsclient.NoEnt},
		{"RMDIR", func(ctx context.Context, c *nfsclient.Conn) error { return c.Rmdir(ctx, dir, "gonedir") }, nfsclient.NoEnt},
		{"RENAME", func(ctx context.Context, c *nfsclient.Conn) error { return c.Rename(ctx, dir, "old", dir, "new") }, nfsclient.NoEnt},
		{"LINK", func(ctx context.Context, c *nfsclient.Conn) error { return c.Link(ctx, file, dir, "link") }, nfsclient.Exist},
		{"CREATE", func(ctx context.Context, c *nfsclient.Conn) error {
			_, _, err := c.Create(ctx, dir, "made", nfsclient.SetAttr{}, true)
			return err
		}, nfsclient.Exist},
		{"MKDIR", func(ctx context.Context, c *nfsclient.Conn) error {
			_, _, err := c.Mkdir(ctx, dir, "madedir", nfsclient.SetAttr{})
			return err
		}, nfsclient.Exist},
		{"SYMLINK", func(ctx context.Context, c *nfsclient.Conn) error {
			_, _, err := c.Symlink(ctx, dir, "symlink", "x", nfsclient.SetAttr{})
			return err
		}, nfsclient.Exist},
	} {
		t.Run(op.name, func(t *testing.T) {
			port := 900 + i
			w := &tap{Conn: dialFrom(t, s, port)}
			c := nfsclient.NewConn(w, nfsclient.Cred{})
			if err := op.do(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			record := w.last
			c.Close()
			nc := dialFrom(t, s, port)
			for _, how := range []string{"the next connection", "the same connection"} {
				if got := repeat(t, nc, record); got != 0 {
					t.Errorf("repeated over %s: status %d", how, got)
				}
			}
			// A call of its own does run.
			if err := op.do(t.Context(), setup); !errors.Is(err, op.again) {
				t.Errorf("done anew: %v, want %v", err, op.again)
			}
		})
	}
}

// TestExclusiveCreate: the verifier tells a repeat from another client, after
// a crash of the server too.
func TestExclusiveCreate(t *testing.T) {
	s := harness.StartServer(t)
	c := s.NFS(t, nfsclient.Cred{})
	ctx := t.Context()
	root, err := c.Mount(ctx, "/")
	if err != nil {
		t.Fatal(err)
	}
	mine := nfsclient.Verifier{1, 2, 3, 4, 5, 6, 7, 8}
	first, _, err := c.CreateExclusive(ctx, root, "x", mine)
	if err != nil {
		t.Fatal(err)
	}
	check := func(c *nfsclient.Conn) {
		t.Helper()
		if again, _, err := c.CreateExclusive(ctx, root, "x", mine); err != nil || again != first {
			t.Errorf("the same verifier again: %v, another file is %t", err, again != first)
		}
		if _, _, err := c.CreateExclusive(ctx, root, "x", nfsclient.Verifier{9}); !errors.Is(err, nfsclient.Exist) {
			t.Errorf("another verifier: %v", err)
		}
	}
	check(c)
	s.Kill9()
	s.Start(t)
	c = s.NFS(t, nfsclient.Cred{})
	check(c)

	// A rename over a file makes its handle stale; the other goes on.
	if _, err := c.Write(ctx, first, 0, []byte("kept"), 2); err != nil {
		t.Fatal(err)
	}
	victim, _, err := c.Create(ctx, root, "y", nfsclient.SetAttr{}, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Rename(ctx, root, "x", root, "y"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetAttr(ctx, victim); !errors.Is(err, nfsclient.Stale) {
		t.Errorf("a file that was renamed over: %v", err)
	}
	if b, _, err := c.Read(ctx, first, 0, 10); err != nil || string(b) != "kept" {
		t.Errorf("%q %v", b, err)
	}
	s.Stop(t)
	s.Fsck(t)
}
