package sunrpc

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Clients that send, stop reading, reset and come back, on a server with hardly
// any memory and workers: nothing may be left counted, nothing may lock up, and
// every answer must belong to its call.
func TestServer_soakWithLittleMemory(t *testing.T) {
	svc := &testService{}
	s, addr := startServer(t, Options{Programs: []*Program{svc.program()}, MaxRecord: 64 << 10, MaxRequestBytes: 1, // raised to one record
		MaxReplyBytes: 300 << 10, MaxWorkers: 3, MaxCallsPerConn: 5, MaxBytesPerConn: 100 << 10,
		CacheEntries: 10, CachePerAddr: 5, StallTimeout: 20 * time.Second})
	var wg sync.WaitGroup
	for i := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(i, 7))
			for range 12 {
				if nc, err := net.Dial("tcp", addr); err != nil {
					t.Error(err)
				} else {
					soakConn(t, nc, r)
				}
			}
		})
	}
	wg.Wait()
	waitFor(t, func() bool { return s.Stats().RequestBytes == 0 && s.Stats().Conns == 0 })
	if !s.requests.TryAcquire(s.o.MaxRequestBytes) || !s.replies.TryAcquire(s.o.MaxReplyBytes) {
		t.Error("memory is still held")
	}
	s.requests.Release(s.o.MaxRequestBytes)
	s.replies.Release(s.o.MaxReplyBytes)
}

func soakConn(t *testing.T, nc net.Conn, r *rand.Rand) {
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	calls := 1 + r.IntN(20)
	answers := map[uint32]int{} // by xid: length of the results
	var out [][]byte
	for range calls {
		xid := r.Uint32()
		n := r.IntN(1 << (1 + r.IntN(15)))
		switch r.IntN(3) {
		case 0:
			answers[xid] = 4 + (n+3)&^3
			out = append(out, record(xid, 2, procEcho, func(e *Encoder) { e.Opaque(make([]byte, n)) }))
		case 1:
			n *= 8
			answers[xid] = n
			out = append(out, record(xid, 2, procBig, func(e *Encoder) { e.U32(uint32(n)) }))
		case 2:
			answers[xid] = 4
			out = append(out, record(xid, 2, procOnce, nil))
		}
	}
	end, half := r.IntN(4), 1+r.IntN(3000)
	sent := make(chan struct{})
	defer func() {
		_ = nc.Close()
		<-sent
	}()
	go func() { // a client that does not read until all is sent may wait for a server that waits for it
		defer close(sent)
		for _, p := range out {
			_, _ = nc.Write(p)
		}
		switch end {
		case 1: // half a call at the end
			_, _ = nc.Write(record(1, 2, procEcho, func(e *Encoder) { e.Opaque(make([]byte, 3000)) })[:half])
		case 2: // no more calls will come, but the answers are wanted
			_ = nc.(*net.TCPConn).CloseWrite()
		}
	}()
	if end == 0 {
		_ = nc.(*net.TCPConn).SetLinger(0)
		return
	}
	for range calls {
		rec, err := readRecord(nc, 1<<20)
		if err != nil {
			t.Errorf("answers are missing: %v", err)
			return
		}
		xid := binary.BigEndian.Uint32(rec)
		n, ok := answers[xid]
		if !ok || len(rec) != 24+n {
			t.Errorf("answer to %d: %d bytes, want %d", xid, len(rec), 24+n)
		}
		delete(answers, xid)
	}
}
