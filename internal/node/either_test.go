package node

import (
	"crypto/tls"
	"net"
	"testing"
)

// One client that opens connections and says nothing leaves places to others.
func TestEither_silentClient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	yes, no := func() bool { return true }, func() bool { return false }
	e := newEitherListener(l, &tls.Config{}, yes, no)
	defer func() {
		_ = l.Close()
		e.wait()
	}()
	dial := func(from string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range maxSilentPerClient {
		dial("127.0.0.1")
	}
	if _, err := dial("127.0.0.1").Read(make([]byte, 1)); err == nil {
		t.Error("one client holds more silent connections than its share")
	}
	if _, err := dial("127.0.0.2").Write([]byte("G")); err != nil {
		t.Fatal(err)
	}
	c, err := e.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}
