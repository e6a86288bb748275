package sunrpc

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"
)

func FuzzCall(f *testing.F) {
	f.Add(record(1, 2, procEcho, func(e *Encoder) { e.String("x") })[4:])
	f.Add(record(1, 2, procNull, nil)[4:])
	f.Fuzz(func(t *testing.T, p []byte) {
		c := &Call{Record: &Buf{b: p}}
		c.Args = NewDecoder(p)
		deny, ok := parseCall(c)
		if !ok {
			return
		}
		if len(c.Cred.GIDs()) > maxGIDs || len(c.Cred.Machine) > maxMachineName {
			t.Errorf("%d groups, machine of %d bytes", len(c.Cred.GIDs()), len(c.Cred.Machine))
		}
		if deny == (denial{}) && (len(p) < minCall || c.Args.Left() > len(p)-minCall) {
			t.Errorf("accepted %x", p)
		}
	})
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(_ *testing.T, p []byte) { _, _ = DecodeReply(p) })
}

// FuzzXDR reads a script of items from data and, if it is good, writes them
// again: nothing but padding may differ.
func FuzzXDR(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4}, []byte("\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x03abc\x00efgh"))
	f.Fuzz(func(t *testing.T, script, data []byte) {
		d := NewDecoder(data)
		e := NewEncoder(0)
		defer e.Release()
		padding := false
		for _, op := range script[:min(len(script), 64)] {
			before := d.Left()
			switch op % 5 {
			case 0:
				e.U32(d.U32())
			case 1:
				e.U64(d.U64())
			case 2:
				e.Bool(d.Bool())
			case 3:
				p := d.Opaque(int(op))
				padding = padding || len(p)%4 != 0
				e.Opaque(p)
			case 4:
				p := d.Fixed(int(op))
				padding = padding || len(p)%4 != 0
				e.Fixed(p)
			}
			if d.Left() > before || d.Left() < 0 {
				t.Fatalf("left %d after %d", d.Left(), before)
			}
		}
		if d.OK() && !padding && !bytes.Equal(e.Bytes(), data[:len(data)-d.Left()]) {
			t.Errorf("%x came back as %x", data, e.Bytes())
		}
	})
}

// FuzzStream sends arbitrary bytes over a connection: the server must answer
// or close it, and be in order afterwards.
func FuzzStream(f *testing.F) {
	whole := record(1, 2, procEcho, func(e *Encoder) { e.String("x") })
	f.Add(whole)
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add([]byte{0, 0, 0, 1, 'x', 0, 0, 0, 0, 0x80, 0, 0, 0})
	s := New(Options{Programs: []*Program{(&testService{}).program()}, MaxRecord: 8 << 10})
	f.Fuzz(func(t *testing.T, p []byte) {
		here, there := net.Pipe()
		c := newConn(s, there)
		done := make(chan struct{})
		go func() {
			c.serve(context.Background())
			close(done)
		}()
		go func() {
			var b [512]byte
			for {
				if _, err := here.Read(b[:]); err != nil {
					return
				}
			}
		}()
		_ = here.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, _ = here.Write(p)
		_ = here.Close()
		<-done
		if n := s.n.requestBytes.Load(); n != 0 {
			t.Errorf("%d bytes still counted", n)
		}
		if c.calls != 0 || c.bytes != 0 {
			t.Errorf("%d calls, %d bytes still counted on the connection", c.calls, c.bytes)
		}
	})
	if err := s.Shutdown(context.Background()); err != nil {
		f.Error(err)
	}
}
