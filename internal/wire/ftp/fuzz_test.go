package ftp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/memfs"
	"manifold/internal/identity"
	"manifold/internal/wire/accept"
)

type anybody struct{}

func (anybody) Password(context.Context, string, string, netip.AddrPort) (Account, error) {
	return Account{User: "u", Cred: identity.POSIX(1000, 1000, nil), Home: "/home"}, nil
}

func (a anybody) Anonymous(ctx context.Context, p netip.AddrPort) (Account, error) {
	return a.Password(ctx, "", "", p)
}

// pipes connect data connections to nowhere: reads end, writes vanish.
type pipes struct{}

type nowhere struct{ net.Conn }

func (nowhere) Read([]byte) (int, error)         { return 0, io.EOF }
func (nowhere) Write(b []byte) (int, error)      { return len(b), nil }
func (nowhere) Close() error                     { return nil }
func (nowhere) SetDeadline(time.Time) error      { return nil }
func (nowhere) SetReadDeadline(time.Time) error  { return nil }
func (nowhere) SetWriteDeadline(time.Time) error { return nil }
func (nowhere) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (nowhere) LocalAddr() net.Addr              { return &net.TCPAddr{} }

type nowhereListener struct{}

func (nowhereListener) Accept() (net.Conn, error) { return nowhere{}, nil }
func (nowhereListener) Close() error              { return nil }
func (nowhereListener) Addr() net.Addr            { return &net.TCPAddr{Port: 40000} }

func (pipes) ListenData(context.Context, netip.Addr) (net.Listener, error) {
	return nowhereListener{}, nil
}

func (pipes) DialData(context.Context, netip.Addr, netip.AddrPort) (net.Conn, error) {
	return nil, errors.New("no route")
}

// script is a control connection on which a client sends lines and leaves.
type script struct {
	nowhere
	in  io.Reader
	out *strings.Builder
}

func (s *script) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error) { return s.out.Write(b) }

func FuzzSession(f *testing.F) {
	for verb := range commands {
		f.Add(verb + " a\r\n")
		f.Add("EPSV\r\n" + verb + " a/../b c\r\nNOOP\r\n")
	}
	f.Add("MKD a\r\nCWD a\r\nPASV\r\nSTOR x\r\nRNFR x\r\nRNTO ../y\r\nMLSD\r\nEPSV\r\nLIST *\r\nSITE CHMOD 777 y\r\nHASH y\r\n")
	f.Add("EPSV\r\nSTOR a\r\nABOR\r\nSTAT a\r\nREST 5\r\nEPSV\r\nRETR a\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		m := memfs.New(memfs.Options{RootMode: 0o777, Capacity: 1 << 20})
		c := &fs.Caller{Cred: identity.POSIX(1000, 1000, nil)}
		mk := func(dir fs.Node, name string, typ fs.Type) fs.Node {
			r, err := m.Create(t.Context(), c, dir, name, &fs.CreateSpec{Type: typ, Target: []byte("..")})
			if err != nil {
				t.Fatal(err)
			}
			return r.Attr.Node
		}
		home := mk(fs.Root, "home", fs.Directory)
		mk(home, "l", fs.Symlink)
		mk(fs.Root, "outside", fs.Directory)
		var logs bytes.Buffer
		s, err := New(Options{Logger: slog.New(slog.NewTextHandler(&logs, nil)), FS: m, Auth: anybody{}, Ports: pipes{}, FailDelay: -1, Settings: func() Settings {
			return Settings{AllowUnencrypted: true, ChrootUsers: true, ExpandWildcards: true, AnyRemoteHost: true}
		}})
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		done := make(chan struct{})
		s.Add(t.Context(), &script{in: strings.NewReader("USER u\r\nPASS p\r\n" + in), out: &out}, accept.Handler{Serve: func(ctx context.Context, c *accept.Conn) {
			newConn(s, c, false).serve(ctx)
			close(done)
		}})
		<-done
		for line := range strings.Lines(out.String()) {
			if !strings.HasSuffix(line, "\r\n") || strings.ContainsAny(line[:len(line)-2], "\r\n") {
				t.Fatalf("the line %q", line)
			}
		}
		if _, err := m.ReadDir(t.Context(), fs.SystemCaller(), fs.Root, 0, 0, func(d *fs.Dirent) bool {
			if d.Name != "home" && d.Name != "outside" {
				t.Fatalf("%q was made outside of the root", d.Name)
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		_ = m.Opens(t.Context(), fs.Node{}, func(fs.OpenInfo) bool { t.Fatal("a handle stays open"); return false })
		if strings.Contains(out.String(), "Server error") || strings.Contains(logs.String(), "bug") {
			t.Fatalf("%s%s", out.String(), logs.String())
		}
	})
}
