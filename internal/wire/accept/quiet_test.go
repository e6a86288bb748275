package accept

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestQuiet sends more than buffers hold, in pieces below and above what is
// read and written quietly, to a reader that begins late.
func TestQuiet(t *testing.T) {
	_, dial, conns := serve(t, Options{})
	client := dial()
	c := <-conns
	if _, ok := c.Conn.(*quiet); !ok {
		t.Fatalf("a connection is a %T", c.Conn)
	}
	var sent bytes.Buffer
	for n := 1; sent.Len() < 24<<20; n = n*3%(5*rawMost) + 1 {
		sent.Write(bytes.Repeat([]byte{byte(n)}, n))
	}
	pieces := func(w io.Writer) error {
		b := sent.Bytes()
		for n := 1; len(b) > 0; n = n*3%(5*rawMost) + 1 {
			n := min(n, len(b))
			if m, err := w.Write(b[:n]); err != nil || m != n {
				return errors.Join(err, io.ErrShortWrite)
			}
			b = b[n:]
		}
		return nil
	}
	for name, ends := range map[string][2]net.Conn{"out": {c, client}, "in": {client, c}} {
		done := make(chan error, 1)
		go func() { done <- pieces(ends[0]) }()
		got := make([]byte, sent.Len())
		for n := 0; n < len(got); {
			m, err := ends[1].Read(got[n:min(len(got), n+1+n%(2*rawMost))])
			if err != nil {
				t.Fatal(name, err)
			}
			n += m
		}
		if err := <-done; err != nil || !bytes.Equal(got, sent.Bytes()) {
			t.Fatalf("%s: %v", name, err)
		}
	}

	// Deadlines, the end of the other side, and Close are those of a net.Conn.
	if err := c.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read after its deadline: %v", err)
	}
	_ = c.SetReadDeadline(time.Time{})
	_ = client.(*net.TCPConn).CloseWrite()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	_ = c.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read of what is closed: %v", err)
	}

	client = dial()
	c = <-conns
	_ = client.(*net.TCPConn).SetLinger(0)
	_ = client.Close()
	// The reading waits for the reset, which only one call is told of.
	for _, call := range []struct {
		name string
		do   func([]byte) (int, error)
	}{{"read", c.Read}, {"write", c.Write}} {
		var op *net.OpError
		if _, err := call.do([]byte("x")); !errors.As(err, &op) {
			t.Errorf("a %s after a reset: %T %v", call.name, err, err)
		}
	}
}
