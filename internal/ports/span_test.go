package ports

import (
	"net"
	"net/netip"
	"testing"
)

func TestListenIn(t *testing.T) {
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	row := l.rows[FTPPassive]
	row.State = On
	l.rows[FTPPassive] = row
	local := netip.MustParseAddr("127.0.0.1")
	a, err := l.ListenIn(t.Context(), FTPPassive, local, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	n := uint16(a.Addr().(*net.TCPAddr).Port)
	if n < row.Low || n > row.High {
		t.Errorf("port %d", n)
	}
	// What is taken is passed over, and a full range is an error.
	if b, err := l.ListenIn(t.Context(), FTPPassive, local, n, n); err == nil {
		_ = b.Close()
		t.Error("a taken port was bound")
	}
	if b, err := l.ListenIn(t.Context(), FTPPassive, local, n, n+100); err != nil {
		t.Error(err)
	} else {
		_ = b.Close()
	}
	for name, f := range map[string]func() (net.Listener, error){
		"one port":  func() (net.Listener, error) { return l.ListenIn(t.Context(), FTP, local, 0, 0) },
		"unknown":   func() (net.Listener, error) { return l.ListenIn(t.Context(), "x", local, 0, 0) },
		"backwards": func() (net.Listener, error) { return l.ListenIn(t.Context(), FTPPassive, local, 2000, 1000) },
		"foreign": func() (net.Listener, error) {
			return l.ListenIn(t.Context(), FTPPassive, netip.MustParseAddr("192.0.2.1"), 0, 0)
		},
	} {
		if b, err := f(); err == nil {
			_ = b.Close()
			t.Errorf("%s: bound", name)
		}
	}
}
