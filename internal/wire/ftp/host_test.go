package ftp_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"manifold/internal/wire/ftp"
)

func TestGreeting(t *testing.T) {
	for _, c := range []struct{ set, want string }{
		{"", "220 manifold FTP server ready.\r\n"},
		{"Hello", "220 Hello\r\n"},
		{"Hello\n220 there\nand here", "220-Hello\r\n220-220 there\r\n220 and here\r\n"},
	} {
		w := newWorld(t, func(_ *ftp.Options, s *ftp.Settings) { s.Greeting = c.set })
		nc, err := net.Dial("tcp", w.addr)
		must(t, err)
		b := make([]byte, len(c.want))
		_, err = io.ReadFull(nc, b)
		must(t, err)
		must(t, nc.Close())
		if string(b) != c.want {
			t.Errorf("%q, want %q", b, c.want)
		}
		w.login("ann").cmd(221, "QUIT")
	}
}

// TestRemoteHost has another host ask for the data of a session, and the
// session ask for data to go there: neither, unless it is so set.
func TestRemoteHost(t *testing.T) {
	const other = "127.0.0.2"
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(other)}}
	passive := func(p *peer) string {
		text := p.cmd(229, "EPSV")
		var port int
		_, err := fmt.Sscanf(text[strings.IndexByte(text, '|'):], "|||%d|", &port)
		must(t, err)
		return fmt.Sprintf("127.0.0.1:%d", port)
	}
	for _, any := range []bool{false, true} {
		w := newWorld(t, func(_ *ftp.Options, s *ftp.Settings) { s.AnyRemoteHost = any })
		p := w.login("ann")
		at := passive(p)
		foreign, err := from.DialContext(context.Background(), "tcp", at)
		must(t, err)
		p.send("RETR secret")
		if !any {
			// The stranger is put off, and the session's own host gets the file.
			if b, _ := io.ReadAll(foreign); len(b) > 0 {
				t.Errorf("a stranger got %q", b)
			}
			own, err := net.Dial("tcp", at)
			must(t, err)
			p.want(150)
			b, err := io.ReadAll(own)
			must(t, err)
			_ = own.Close()
			if string(b) != "secret" {
				t.Errorf("the own host got %q", b)
			}
		} else {
			p.want(150)
			b, err := io.ReadAll(foreign)
			must(t, err)
			if string(b) != "secret" {
				t.Errorf("the other host got %q", b)
			}
		}
		p.want(226)
		_ = foreign.Close()

		l, err := net.Listen("tcp", other+":0")
		must(t, err)
		port := l.Addr().(*net.TCPAddr).Port
		code := map[bool]int{false: 504, true: 200}[any]
		for _, cmd := range []string{fmt.Sprintf("PORT 127,0,0,2,%d,%d", port>>8, port&255), fmt.Sprintf("EPRT |1|%s|%d|", other, port)} {
			p.cmd(code, cmd)
		}
		if any {
			p.send("RETR secret")
			c, err := l.Accept()
			must(t, err)
			p.want(150)
			b, err := io.ReadAll(c)
			must(t, err)
			_ = c.Close()
			p.want(226)
			if string(b) != "secret" {
				t.Errorf("another host was sent %q", b)
			}
		}
		_ = l.Close()
	}
}
