package nfs

import (
	"net"
	"testing"
	"time"

	"manifold/e2e/harness"
)

// Thousands of clients are connected, most of them idle.
func TestManyConnections(t *testing.T) {
	const n = 4000
	s := harness.StartServer(t)
	before, err := harness.UsageOf(s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	conns := make([]net.Conn, 0, n)
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
	})
	err = s.Net.Do(func() error {
		for range n {
			c, err := net.DialTimeout("tcp", nfsPort, 10*time.Second)
			if err != nil {
				return err
			}
			conns = append(conns, c)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("after %d connections: %v", len(conns), err)
	}
	ping := func() {
		t.Helper()
		for i, c := range conns {
			if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write(call(uint32(i), 2, 100003, 3, 0)); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range conns {
			if got := reply(t, c); got == nil || got[0] != uint32(i) {
				t.Fatalf("connection %d: %v", i, got)
			}
		}
	}
	ping()
	ping() // connections that have been idle serve again
	after, err := harness.UsageOf(s.Pid())
	if err != nil {
		t.Fatal(err)
	}
	per := (int64(after.ResidentBytes) - int64(before.ResidentBytes)) / n
	t.Logf("resident: %d MiB before, %d MiB with %d connections, %d bytes each", before.ResidentBytes>>20, after.ResidentBytes>>20, n, per)
	if per > 64<<10 {
		t.Error("more than 64 KiB for each connection")
	}
}
