// Package wiretest helps to test protocol servers: it runs one on loopback for
// the time of a test, connects to it, and reads frames written as commented hex.
//
// Invariants: everything it starts ends with the test, which fails if it does
// not. The package must not know any program over RPC.
package wiretest

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"manifold/internal/wire/sunrpc"
)

// Patience bounds everything that should happen at once.
const Patience = 20 * time.Second

// Server is what is served on listeners.
type Server interface {
	Serve(ctx context.Context, l net.Listener) error
	ServePacket(ctx context.Context, pc net.PacketConn) error
	Shutdown(ctx context.Context) error
}

// Serve runs s on a TCP and a UDP port of loopback until the test ends.
func Serve(t testing.TB, s Server) (tcp, udp string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 2)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- s.Serve(ctx, l) }()
	go func() { ended <- s.ServePacket(ctx, pc) }()
	t.Cleanup(func() {
		defer cancel()
		limit, done := context.WithTimeout(context.Background(), Patience)
		defer done()
		if err := s.Shutdown(limit); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		for range 2 {
			// A short test may be over before its server has begun.
			if err := <-ended; err != nil && !errors.Is(err, sunrpc.ErrShutdown) {
				t.Errorf("serve: %v", err)
			}
		}
	})
	return l.Addr().String(), pc.LocalAddr().String()
}

// Dial connects until the test ends.
func Dial(t testing.TB, network, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(3 * Patience))
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

// Client connects an RPC client until the test ends.
func Client(t testing.TB, addr string) *sunrpc.Client {
	t.Helper()
	c := sunrpc.NewClient(Dial(t, "tcp", addr))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Frame reads hex bytes; blanks, line ends and what follows # on a line do not count.
func Frame(t testing.TB, text string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.SplitSeq(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("frame: %v", err)
	}
	return b
}

// Exchange sends one record over nc and answers the next that comes back, both
// without their marks.
func Exchange(t testing.TB, nc net.Conn, record []byte) []byte {
	t.Helper()
	out := append([]byte{0x80 | byte(len(record)>>24), byte(len(record) >> 16), byte(len(record) >> 8), byte(len(record))}, record...)
	if _, err := nc.Write(out); err != nil {
		t.Fatal(err)
	}
	var mark [4]byte
	if _, err := io.ReadFull(nc, mark[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, int(mark[0]&0x7f)<<24|int(mark[1])<<16|int(mark[2])<<8|int(mark[3]))
	if _, err := io.ReadFull(nc, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// Eventually waits until cond holds.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(Patience)
	for !cond() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: waited too long", what)
		}
	}
}
