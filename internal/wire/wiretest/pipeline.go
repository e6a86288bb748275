package wiretest

import (
	"io"
	"net"
	"testing"

	"manifold/internal/wire/sunrpc"
)

// Pipeline makes b.N equal calls over one connection, depth of them under way.
// Its own cost per call is a write and two reads.
func Pipeline(b *testing.B, addr string, depth int, call func(*sunrpc.Encoder)) {
	b.Helper()
	e := sunrpc.NewEncoder(512)
	defer e.Release()
	e.U32(0)
	call(&e)
	e.SetU32(0, 1<<31|uint32(e.Len()-4))
	nc := Dial(b, "tcp", addr)
	slots := make(chan struct{}, depth)
	sent := make(chan error, 1)
	go func() {
		var err error
		for range slots {
			if err == nil {
				_, err = nc.Write(e.Bytes())
			}
		}
		sent <- err
	}()
	in := make([]byte, 2<<20)
	reply := func() {
		if err := readReply(nc, in); err != nil {
			b.Fatal(err)
		}
	}
	under := 0
	for b.Loop() {
		slots <- struct{}{}
		if under++; under >= depth {
			reply()
			under--
		}
	}
	close(slots)
	for range under {
		reply()
	}
	if err := <-sent; err != nil {
		b.Fatal(err)
	}
}

func readReply(nc net.Conn, in []byte) error {
	if _, err := io.ReadFull(nc, in[:4]); err != nil {
		return err
	}
	n := int(in[1])<<16 | int(in[2])<<8 | int(in[3])
	_, err := io.ReadFull(nc, in[:n])
	return err
}
