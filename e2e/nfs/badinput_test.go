package nfs

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
	"manifold/e2e/nfsclient"
)

const (
	nfsPort     = netns.Server + ":2049"
	rpcbindPort = netns.Server + ":111"
)

// frame builds a record of one RPC call.
type frame struct{ b []byte }

func (f *frame) u32(vs ...uint32) *frame {
	for _, v := range vs {
		f.b = binary.BigEndian.AppendUint32(f.b, v)
	}
	return f
}

func (f *frame) record() []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(f.b))|1<<31), f.b...)
}

// call is the header with AUTH_NONE, then words.
func call(xid, rpcvers, prog, vers, proc uint32, args ...uint32) []byte {
	f := &frame{}
	return f.u32(xid, 0, rpcvers, prog, vers, proc, 0, 0, 0, 0).u32(args...).record()
}

// reply reads one record as words; nil if the server closed the connection.
func reply(t *testing.T, c net.Conn) []uint32 {
	t.Helper()
	var h [4]byte
	if _, err := io.ReadFull(c, h[:]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("neither a reply nor a closed connection")
		}
		return nil
	}
	b := make([]byte, binary.BigEndian.Uint32(h[:])&^(1<<31))
	if len(b) > 1<<20 {
		t.Fatalf("a reply of %d bytes", len(b))
	}
	if _, err := io.ReadFull(c, b); err != nil {
		return nil
	}
	var words []uint32
	for ; len(b) >= 4; b = b[4:] {
		words = append(words, binary.BigEndian.Uint32(b))
	}
	return words
}

func TestBadInput(t *testing.T) {
	s := harness.StartServer(t)
	pid := s.Pid()
	dial := func(t *testing.T, addr string) net.Conn {
		t.Helper()
		c, err := s.Net.Dial(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	send := func(t *testing.T, c net.Conn, p []byte) {
		t.Helper()
		if _, err := c.Write(p); err != nil && !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
			t.Fatal(err)
		}
	}
	healthy := func(t *testing.T) {
		t.Helper()
		if !s.Running() || s.Pid() != pid {
			t.Fatal("the server ended")
		}
		at := time.Now()
		if err := s.NFS(t, nfsclient.Cred{}).Null(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(at); d > 5*time.Second {
			t.Errorf("a well-behaved client waits %v", d)
		}
	}
	before, err := harness.UsageOf(pid)
	if err != nil {
		t.Fatal(err)
	}

	// The error replies of RFC 5531 §9: word 0 xid, 1 REPLY, 2 accepted or
	// denied; accepted: 3-4 verifier, 5 accept_stat; denied: 3 reject_stat.
	for _, c := range []struct {
		name string
		call []byte
		at   int
		want []uint32
	}{
		{"rpc version", call(7, 3, 100003, 3, 0), 2, []uint32{1, 0, 2, 2}},
		{"unknown program", call(7, 2, 99, 3, 0), 2, []uint32{0, 0, 0, 1}},
		{"nfs version", call(7, 2, 100003, 9, 0), 2, []uint32{0, 0, 0, 2}},
		{"unknown procedure", call(7, 2, 100003, 3, 99), 2, []uint32{0, 0, 0, 3}},
		{"unknown mount procedure", call(7, 2, 100005, 3, 99), 2, []uint32{0, 0, 0, 3}},
		{"auth flavor", (&frame{}).u32(7, 0, 2, 100003, 3, 1, 77, 0, 0, 0).record(), 2, []uint32{1, 1}},
		{"handle too long", call(7, 2, 100003, 3, 1, 65), 2, []uint32{0, 0, 0, 4}},
		{"no arguments", call(7, 2, 100003, 3, 1), 2, []uint32{0, 0, 0, 4}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			conn := dial(t, nfsPort)
			send(t, conn, c.call)
			got := reply(t, conn)
			if len(got) < c.at+len(c.want) || got[0] != 7 {
				t.Fatalf("reply %v", got)
			}
			for i, w := range c.want {
				if got[c.at+i] != w {
					t.Fatalf("reply %v, want %v from word %d", got, c.want, c.at)
				}
			}
			send(t, conn, call(8, 2, 100003, 3, 0))
			if got := reply(t, conn); got == nil || got[0] != 8 {
				t.Errorf("the connection is not usable afterwards: %v", got)
			}
		})
	}

	t.Run("arguments_cut_short", func(t *testing.T) {
		for proc := range uint32(22) {
			for words := range 12 {
				args := make([]uint32, words)
				if words > 0 {
					args[0] = 32
				}
				conn := dial(t, nfsPort)
				send(t, conn, call(7, 2, 100003, 3, proc, args...))
				if got := reply(t, conn); got != nil && got[0] != 7 {
					t.Errorf("procedure %d with %d words: %v", proc, words, got)
				}
				conn.Close()
			}
		}
		healthy(t)
	})

	t.Run("oversized_record", func(t *testing.T) {
		for range 50 {
			conn := dial(t, nfsPort)
			send(t, conn, []byte{0xff, 0xff, 0xff, 0xff})
			if got := reply(t, conn); got != nil {
				t.Errorf("reply %v", got)
			}
		}
		healthy(t)
	})

	t.Run("endless_fragments", func(t *testing.T) {
		conn := dial(t, nfsPort)
		frag := make([]byte, 4+4096)
		binary.BigEndian.PutUint32(frag, 4096) // never the last
		for range 4096 {
			if _, err := conn.Write(frag); err != nil {
				healthy(t)
				return
			}
		}
		t.Error("16 MiB of one record were taken")
	})

	t.Run("truncated_record", func(t *testing.T) {
		whole := call(7, 2, 100003, 3, 1, 32, 1, 2, 3, 4, 5, 6, 7, 8)
		for n := 1; n < len(whole); n++ {
			conn := dial(t, nfsPort)
			send(t, conn, whole[:n])
			conn.Close()
		}
		healthy(t)
	})

	t.Run("garbage", func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, addr := range []string{nfsPort, rpcbindPort, netns.Server + ":8000"} {
			for range 100 {
				conn := dial(t, addr)
				p := make([]byte, r.IntN(3000))
				for i := range p {
					p[i] = byte(r.Uint32())
				}
				send(t, conn, p)
				conn.Close()
			}
		}
		for range 300 {
			conn, err := s.Net.Dial(t.Context(), "udp", rpcbindPort)
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, r.IntN(1500))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			_, _ = conn.Write(p) // refused is as good as dropped
			conn.Close()
		}
		healthy(t)
	})

	t.Run("damaged_calls", func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for i := range 1500 {
			args := make([]uint32, r.IntN(30))
			for j := range args {
				args[j] = []uint32{0, 1, 4, 32, 64, 255, 1 << 20, 1 << 31, r.Uint32()}[r.IntN(9)]
			}
			prog := []uint32{100003, 100005, 100000}[r.IntN(3)]
			b := call(uint32(i), 2, prog, uint32(r.IntN(5)), uint32(r.IntN(23)), args...)
			b[4+r.IntN(len(b)-4)] ^= 1 << r.IntN(8)
			conn := dial(t, map[bool]string{true: rpcbindPort, false: nfsPort}[prog == 100000])
			send(t, conn, b)
			if i%3 == 0 { // those that the server takes for a call get an answer
				if err := conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				_, _ = conn.Read(make([]byte, 4096))
			}
			conn.Close()
		}
		healthy(t)
	})

	t.Run("slow_peers", func(t *testing.T) {
		whole := call(7, 2, 100003, 3, 0)
		var conns []net.Conn
		for i := range 300 {
			conn := dial(t, nfsPort)
			send(t, conn, whole[:1+i%(len(whole)-1)])
			conns = append(conns, conn)
		}
		healthy(t)
		for i, conn := range conns {
			send(t, conn, whole[1+i%(len(whole)-1):])
			if got := reply(t, conn); got == nil || got[0] != 7 {
				t.Fatalf("a slow but correct peer gets %v", got)
			}
		}
	})

	after, err := harness.UsageOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("resident: %d MiB before, %d MiB after", before.ResidentBytes>>20, after.ResidentBytes>>20)
	if after.ResidentBytes > before.ResidentBytes+100<<20 {
		t.Error("bad peers made the server grow by more than 100 MiB")
	}
}
