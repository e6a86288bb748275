package ftp_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
	"manifold/internal/wire/ftp"
)

func TestLogin(t *testing.T) {
	w := newWorld(t, nil)
	p := w.connect()
	p.cmd(530, "PWD")
	p.cmd(503, "PASS x")
	p.cmd(331, "USER ann")
	p.cmd(530, "PASS wrong")
	p.cmd(331, "USER nobody")
	p.cmd(530, "PASS secret")
	p.cmd(331, "USER ann")
	p.cmd(230, "PASS secret")
	p.cmd(530, "USER jailed")
	p.cmd(257, "PWD")
	p.cmd(221, "QUIT")

	p = w.connect()
	for _, code := range []int{530, 530, 421} {
		p.cmd(331, "USER ann")
		p.cmd(code, "PASS wrong")
	}
	if code, _ := p.reply(); code != 0 {
		t.Error("the connection was not ended")
	}

	p = w.connect()
	p.cmd(331, "USER anonymous")
	p.cmd(530, "PASS me@there")
	p.cmd(331, "USER nohome")
	p.cmd(530, "PASS secret")
	w.users.anonymous.Store(true)
	p = w.connect()
	p.cmd(331, "USER ftp")
	p.cmd(230, "PASS me@there")
	if l := p.retr("NLST"); l != "jailed\r\n" {
		t.Errorf("%q", l)
	}
	p.cmd(550, "MKD x")
}

func TestEncryption_required(t *testing.T) {
	w := newWorld(t, func(_ *ftp.Options, s *ftp.Settings) { s.AllowUnencrypted = false })
	p := w.connect()
	p.cmd(530, "USER ann")
	p.cmd(530, "USER anonymous")
	p.upgrade()
	p.cmd(331, "USER ann")
	p.cmd(230, "PASS secret")
	p.cmd(534, "PROT C")
	p.cmd(533, "CCC")
	p.stor("STOR f", "data")
	if got := p.retr("RETR f"); got != "data" {
		t.Errorf("%q", got)
	}

	p = w.connect()
	p.cmd(234, "AUTH TLS")
	p.tls = &tls.Config{RootCAs: w.roots, ServerName: "localhost"}
	c := tls.Client(p.raw, p.tls)
	must(t, c.Handshake())
	p.c, p.r = c, bufio.NewReader(c)
	p.cmd(331, "USER ann")
	p.cmd(230, "PASS secret")
	p.cmd(503, "PROT P")
	p.cmd(229, "EPSV")
	p.cmd(522, "LIST")
}

// What is sent in the clear right behind AUTH must not be obeyed after it.
func TestEncryption_injection(t *testing.T) {
	w := newWorld(t, nil)
	p := w.connect()
	p.send("AUTH TLS\r\nUSER ann\r\nPASS secret")
	p.want(421)
}

func TestEncryption_sessionReuse(t *testing.T) {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		w := newWorld(t, func(o *ftp.Options, s *ftp.Settings) {
			s.RequireSessionReuse = true
			get := o.TLS
			o.TLS = func() *tls.Config { c := get(); c.MaxVersion = v; return c }
		})
		p := w.connect()
		p.upgrade()
		p.cmd(331, "USER ann")
		p.cmd(230, "PASS secret")
		p.stor("STOR f", "data")
		if got := p.retr("RETR f"); got != "data" {
			t.Errorf("%q", got)
		}
		for resumed := 0; resumed < 2; {
			if o := <-w.seen.ops; o.Resumed {
				resumed++
			}
		}
		// Another session, or none, is refused.
		q := w.connect()
		q.upgrade()
		for name, cfg := range map[string]*tls.Config{"none": {RootCAs: w.roots, ServerName: "localhost"}, "another": q.tls} {
			c := p.dial()
			p.cmd(150, "RETR f")
			if b, err := io.ReadAll(tls.Client(c, cfg)); err == nil && len(b) > 0 {
				t.Errorf("%s: got %q", name, b)
			}
			p.want(522)
			_ = c.Close()
		}
	}
}

// A connection that is cut in the middle of an encrypted upload is no success.
func TestEncryption_truncated(t *testing.T) {
	w := newWorld(t, nil)
	p := w.connect()
	p.upgrade()
	p.cmd(331, "USER ann")
	p.cmd(230, "PASS secret")
	c := p.dial()
	p.cmd(150, "STOR f")
	d := p.wrap(c)
	_, err := io.WriteString(d, "half")
	must(t, err)
	must(t, c.Close())
	p.want(426)
	if got := w.get("/f"); got != "half" {
		t.Errorf("%q", got)
	}
}

func TestImplicit(t *testing.T) {
	w := newWorld(t, func(_ *ftp.Options, s *ftp.Settings) { s.AllowUnencrypted = false })
	c, err := tls.Dial("tcp", w.implicit, &tls.Config{RootCAs: w.roots})
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	p := &peer{t: t, w: w, raw: c, c: c, r: bufio.NewReader(c), tls: &tls.Config{RootCAs: w.roots, ServerName: "localhost"}, prot: true}
	p.want(220)
	p.cmd(331, "USER ann")
	p.cmd(230, "PASS secret")
	p.cmd(200, "PROT P")
	if got := p.retr("RETR secret"); got != "secret" {
		t.Errorf("%q", got)
	}
}

func TestTransfers(t *testing.T) {
	w := newWorld(t, nil)
	p := w.login("ann")
	p.cmd(425, "RETR secret")
	p.cmd(229, "EPSV")
	p.cmd(550, "RETR absent")
	p.cmd(550, "RETR home")
	var all strings.Builder // more than a few pieces, none like another
	for i := 0; all.Len() < 7<<19; i++ {
		fmt.Fprintf(&all, "%d,", i)
	}
	big := all.String()
	p.stor("STOR big", big)
	if got := p.retr("RETR big"); got != big {
		t.Errorf("%d bytes", len(got))
	}
	p.cmd(350, "REST 1048570")
	if got := p.retr("RETR big"); got != big[1048570:] {
		t.Errorf("%q", got)
	}
	if got := p.retr("RETR big"); len(got) != len(big) {
		t.Error("REST lived on")
	}
	p.cmd(350, "REST 99999999")
	p.cmd(229, "EPSV")
	p.cmd(554, "RETR big")
	p.cmd(501, "REST -1")
	p.cmd(501, "REST 9223372036854775808")
	p.stor("STOR f", "hello world")
	p.cmd(350, "REST 6")
	p.stor("STOR f", "there")
	p.stor("APPE f", "!\r\n")
	p.cmd(200, "TYPE A")
	if got := p.retr("RETR f"); got != "hello there!\r\n" {
		t.Errorf("%q", got)
	}
	p.stor("STOR f", "")
	if got := w.get("/f"); got != "" {
		t.Errorf("%q", got)
	}
	text := func() string {
		c := p.dial()
		text := p.cmd(150, "STOU")
		_ = c.Close()
		p.want(226)
		return text
	}
	if a, b := text(), text(); a == b || !strings.Contains(a, "FILE: ftp.") {
		t.Errorf("%q %q", a, b)
	}
}

func TestTransfers_active(t *testing.T) {
	w := newWorld(t, nil)
	p := w.login("ann")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, cmd := range []string{fmt.Sprintf("PORT 127,0,0,1,%d,%d", port>>8, port&255), fmt.Sprintf("EPRT |1|127.0.0.1|%d|", port)} {
		p.cmd(200, cmd)
		p.send("RETR secret")
		c, err := l.Accept()
		must(t, err)
		p.want(150)
		b, err := io.ReadAll(c)
		must(t, err)
		_ = c.Close()
		p.want(226)
		if string(b) != "secret" {
			t.Errorf("%q", b)
		}
	}
	for _, bad := range []string{"PORT 127,0,0,2,200,1", "PORT 127,0,0,1,0,25", "EPRT |1|10.0.0.1|2000|", "EPRT |2|::1|2000|"} {
		p.cmd(504, bad)
	}
	for _, bad := range []string{"PORT 1,2,3", "PORT a,b,c,d,e,f", "EPRT", "EPRT |1|x|1|", "EPRT |1|127.0.0.1|99999|"} {
		p.cmd(501, bad)
	}
	p.cmd(522, "EPRT |3|x|1|")
	p.cmd(200, "EPSV ALL")
	p.cmd(501, "PASV")
	p.cmd(501, fmt.Sprintf("EPRT |1|127.0.0.1|%d|", port))
}

func TestAbort(t *testing.T) {
	w := newWorld(t, func(o *ftp.Options, _ *ftp.Settings) {})
	p := w.login("ann")
	w.put("/big", strings.Repeat("x", 16<<20))
	p.cmd(225, "ABOR")
	c := p.dial()
	p.cmd(150, "RETR big")
	one := make([]byte, 1)
	_, err := io.ReadFull(c, one)
	must(t, err)
	if s := p.cmd(211, "STAT"); !strings.Contains(s, "running") {
		t.Errorf("%s", s)
	}
	p.send("\xff\xf4\xff\xf2ABOR")
	p.want(426)
	p.want(226)
	_ = c.Close()

	c = p.dial()
	p.cmd(150, "STOR up")
	_, err = io.WriteString(c, "part")
	must(t, err)
	for w.opened(t, "/up") == 0 {
		// the four bytes are on their way
		p.cmd(211, "STAT")
	}
	p.send("ABOR")
	p.want(426)
	p.want(226)
	if got := w.get("/up"); got != "" && got != "part" {
		t.Errorf("%q", got)
	}
	p.cmd(257, "PWD")
}

// opened counts opens of a file.
func (w *world) opened(t *testing.T, path string) (n int) {
	a, err := w.fs.Resolve(t.Context(), fs.SystemCaller(), path, 0)
	must(t, err)
	_ = w.fs.Opens(t.Context(), a.Node, func(fs.OpenInfo) bool { n++; return true })
	return n
}

// A control connection that goes away takes its transfer with it.
func TestHangup(t *testing.T) {
	w := newWorld(t, nil)
	w.put("/big", strings.Repeat("x", 16<<20))
	p := w.login("ann")
	c := p.dial()
	p.cmd(150, "RETR big")
	must(t, p.raw.Close())
	for n := range w.seen.conns {
		if n == 0 {
			break
		}
	}
	if n, err := io.Copy(io.Discard, c); err == nil && n == 16<<20 {
		t.Error("the transfer went on without its control connection")
	}
}

func TestFiles(t *testing.T) {
	w := newWorld(t, nil)
	p := w.login("ann")
	p.cmd(257, "MKD d")
	p.cmd(550, "MKD d")
	p.cmd(250, "CWD d")
	p.cmd(257, `MKD say "hi"`)
	p.cmd(250, `CWD say "hi"`)
	if s := p.cmd(257, "PWD"); !strings.Contains(s, `"/d/say ""hi"""`) {
		t.Error(s)
	}
	p.cmd(250, "CDUP")
	p.stor("STOR f", "12345")
	if s := p.cmd(213, "SIZE f"); s != "213 5\r\n" {
		t.Error(s)
	}
	p.cmd(213, "MFMT 20010203040506 f")
	if s := p.cmd(213, "MDTM f"); s != "213 20010203040506\r\n" {
		t.Error(s)
	}
	p.cmd(501, "MFMT 2001 f")
	p.cmd(501, "MFMT 20010203040506")
	p.cmd(200, "SITE CHMOD 640 f")
	for _, bad := range []string{"SITE CHMOD", "SITE CHMOD 640", "SITE CHMOD 999 f", "SITE CHMOD x f"} {
		p.cmd(501, bad)
	}
	p.cmd(504, "SITE EXEC x")
	if s := p.cmd(250, "MLST f"); !strings.Contains(s, " type=file;size=5;modify=20010203040506;") || !strings.Contains(s, "UNIX.mode=0640;") || !strings.Contains(s, "; /d/f\r\n") {
		t.Error(s)
	}
	p.cmd(200, "OPTS MLST type;perm;")
	if s := p.cmd(250, "MLST f"); !strings.Contains(s, " type=file;perm=rwadf; /d/f\r\n") {
		t.Error(s)
	}
	if s := p.cmd(213, "HASH f"); s != "213 SHA-256 0-5 5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5 f\r\n" {
		t.Error(s)
	}
	p.cmd(200, "OPTS HASH MD5")
	if s := p.cmd(213, "HASH f"); !strings.Contains(s, "827ccb0eea8a706c4c34a16891f84e7b") {
		t.Error(s)
	}
	if s := p.cmd(250, `XCRC "f"`); s != "250 cbf53a1c\r\n" {
		t.Error(s)
	}
	p.cmd(213, "AVBL")
	p.cmd(350, "RNFR f")
	p.cmd(250, "RNTO g")
	p.cmd(503, "RNTO h")
	p.cmd(550, "RNFR f")
	p.cmd(350, "RNFR g")
	p.cmd(200, "NOOP")
	p.cmd(503, "RNTO h")
	p.cmd(550, "DELE say \"hi\"")
	p.cmd(550, "RMD g")
	p.cmd(250, "DELE g")
	p.cmd(250, `RMD say "hi"`)
	p.cmd(550, "SIZE g")
	p.cmd(211, "FEAT")
	p.cmd(214, "HELP")
	p.cmd(215, "SYST")
	p.cmd(200, "OPTS UTF8 ON")
	p.cmd(500, "FROB")
}

func TestLists(t *testing.T) {
	w := newWorld(t, nil)
	p := w.login("ann")
	p.cmd(257, "MKD d")
	for i := range 1100 {
		w.put(fmt.Sprintf("/d/f%04d.txt", i), "x")
	}
	a, err := w.fs.Resolve(t.Context(), ann, "/d", 0)
	must(t, err)
	w.make(a.Node, "link", fs.Symlink, "f0001.txt")
	w.make(a.Node, "new\nline", fs.File, "")
	lines := func(cmd string) []string {
		return strings.Split(strings.TrimSuffix(p.retr(cmd), "\r\n"), "\r\n")
	}
	for _, c := range []struct {
		cmd, first, last string
		n                int
	}{
		{"NLST d", "d/f0000.txt", "d/new?line", 1102},
		{"NLST d/*7.txt", "d/f0007.txt", "d/f1097.txt", 110},
		{"NLST -a d/f0000.txt", "d/f0000.txt", "d/f0000.txt", 1},
		{"NLST", "d", "secret", 3},
	} {
		if l := lines(c.cmd); len(l) != c.n || l[0] != c.first || l[len(l)-1] != c.last {
			t.Errorf("%s: %d lines from %q to %q", c.cmd, len(l), l[0], l[len(l)-1])
		}
	}
	l := lines("LIST -la d")
	if len(l) != 1102 || !strings.HasPrefix(l[0], "-rwxr-xr-x    1 1000     1000") || !strings.HasSuffix(l[0], " f0000.txt") || !strings.HasSuffix(l[1100], " link -> f0001.txt") {
		t.Errorf("%q %q", l[0], l[1100])
	}
	l = lines("MLSD d")
	if len(l) != 1102 || !strings.HasPrefix(l[1100], "type=OS.unix=slink:f0001.txt;") {
		t.Errorf("%q", l[1100])
	}
	if s := p.cmd(213, "STAT d/f0001.txt"); strings.Count(s, "\n") != 3 {
		t.Error(s)
	}
	if s := p.cmd(213, "STAT d"); strings.Count(s, "\n") != 1002 || !strings.Contains(s, "There is more") {
		t.Errorf("%d lines", strings.Count(s, "\n"))
	}
	p.cmd(229, "EPSV")
	p.cmd(550, "LIST nowhere")
	p.cmd(550, "NLST nowhere/*")
	p.cmd(501, "MLSD secret")
	if got := p.retr("NLST d/none*"); got != "" {
		t.Errorf("%q", got)
	}
}

func TestJail(t *testing.T) {
	w := newWorld(t, nil)
	a, err := w.fs.Resolve(t.Context(), ann, "/home/jailed", 0)
	must(t, err)
	w.make(a.Node, "out", fs.Symlink, "../../secret")
	w.make(a.Node, "abs", fs.Symlink, "/home")
	p := w.login("jailed")
	if s := p.cmd(257, "PWD"); !strings.HasPrefix(s, `257 "/" `) {
		t.Error(s)
	}
	p.cmd(250, "CWD ../../..")
	p.cmd(229, "EPSV")
	for _, c := range []struct {
		code int
		cmd  string
	}{
		{550, "RETR ../../secret"}, {550, "RETR /secret"}, {550, "RETR out"}, {550, "CWD abs"}, {550, "SIZE /home/jailed/out"},
		{550, "MKD .snapshot"}, {550, "STOR .snapshot/x"}, {550, "RMD /"}, {550, "RMD .."}, {550, "RNFR /"},
		{501, "RETR a\x00b"}, {553, "STOR " + strings.Repeat("n", 256)}, {553, "CWD " + strings.Repeat("./", 3000) + strings.Repeat("n", 256)},
		{550, "SITE CHMOD 777 out"},
	} {
		p.cmd(c.code, c.cmd)
	}
	p.stor("STOR ../../stolen", "x")
	if got := w.get("/home/jailed/stolen"); got != "x" {
		t.Errorf("%q", got)
	}
	p.cmd(257, "PWD")
}

func TestHostile(t *testing.T) {
	w := newWorld(t, nil)
	p := w.connect()
	p.send(strings.Repeat("A", 100_000))
	p.want(500)
	p = w.connect()
	for range 50 {
		p.cmd(500, "XXXX")
	}
	p.cmd(421, "XXXX")

	w = newWorld(t, func(o *ftp.Options, _ *ftp.Settings) { o.MaxPerClient = 3 })
	var held []*peer
	for range 3 {
		held = append(held, w.login("ann"))
	}
	c, err := net.Dial("tcp", w.addr)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "421 ") {
		t.Errorf("%q", b)
	}
	_ = held
}

func TestTimeouts(t *testing.T) {
	w := newWorld(t, func(o *ftp.Options, _ *ftp.Settings) { o.LoginTimeout = 50 * time.Millisecond })
	w.connect().want(421)
	w = newWorld(t, func(o *ftp.Options, _ *ftp.Settings) { o.DataTimeout = 50 * time.Millisecond })
	p := w.login("ann")
	p.cmd(229, "EPSV")
	p.cmd(425, "LIST")
}

func TestTimeouts_idle(t *testing.T) {
	w := newWorld(t, func(o *ftp.Options, _ *ftp.Settings) { o.IdleTimeout = 50 * time.Millisecond })
	w.login("ann").want(421)
}

// broken fails flushes.
type broken struct {
	fs.FS
	err error
}

func (b *broken) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	h, r, err := b.FS.Open(ctx, c, o)
	if err != nil {
		return nil, r, err
	}
	return &brokenHandle{h, b}, r, nil
}

type brokenHandle struct {
	fs.Handle
	b *broken
}

func (h *brokenHandle) Flush(ctx context.Context) error {
	return errors.Join(h.b.err, h.Handle.Flush(ctx))
}

// 226 is sent for what is stable only.
func TestStore_isDurable(t *testing.T) {
	b := &broken{err: fs.NoSpace}
	w := newWorld(t, func(o *ftp.Options, _ *ftp.Settings) { b.FS = o.FS; o.FS = b })
	p := w.login("ann")
	c := p.dial()
	p.cmd(150, "STOR f")
	_, err := io.WriteString(c, "x")
	must(t, err)
	must(t, c.Close())
	p.want(552)
}

func TestReadOnly(t *testing.T) {
	w := newWorld(t, nil)
	p := w.login("reader")
	p.cmd(229, "EPSV")
	for _, cmd := range []string{"STOR f", "APPE secret", "DELE secret", "MKD d", "RMD home", "SITE CHMOD 777 secret", "MFMT 20010203040506 secret"} {
		p.cmd(550, cmd)
	}
	if got := p.retr("RETR secret"); got != "secret" {
		t.Errorf("%q", got)
	}
}

func TestDisconnect(t *testing.T) {
	w := newWorld(t, nil)
	p, q := w.login("ann"), w.login("jailed")
	if l := w.server.Clients(); len(l) != 2 || l[0].User == l[1].User || l[0].Since.IsZero() {
		t.Errorf("%+v", l)
	}
	if n := w.server.Disconnect("ann"); n != 1 {
		t.Errorf("%d ended", n)
	}
	if code, text := p.reply(); code != 0 {
		t.Errorf("%s", text)
	}
	q.cmd(257, "PWD")
}

// opening is a file system whose opens of new files wait, or fail.
type opening struct {
	fs.FS
	wait  chan struct{}
	fails error
}

func (f *opening) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	if o.Disposition == fs.OpenOverwriteIf {
		<-f.wait
		if f.fails != nil {
			return nil, fs.OpenResult{}, f.fails
		}
	}
	return f.FS.Open(ctx, c, o)
}

// A new file is made while its data come: the client is not kept waiting for
// the disk twice.
func TestStore_opensMeanwhile(t *testing.T) {
	for name, fails := range map[string]error{"made": nil, "no room": fs.QuotaExceeded} {
		t.Run(name, func(t *testing.T) {
			f := &opening{wait: make(chan struct{}), fails: fails}
			w := newWorld(t, func(o *ftp.Options, _ *ftp.Settings) { f.FS, o.FS = o.FS, f })
			p := w.login("ann")
			c := p.dial()
			p.cmd(150, "STOR new")
			_, err := io.WriteString(c, "data")
			must(t, err)
			must(t, c.Close())
			close(f.wait)
			if fails != nil {
				p.want(552)
				p.cmd(550, "SIZE new")
				return
			}
			p.want(226)
			if got := p.retr("RETR new"); got != "data" {
				t.Errorf("%q", got)
			}
		})
	}
}

// flushes counts the flushes of files.
type flushes struct {
	fs.FS
	n atomic.Int32
}

type flushed struct {
	fs.Handle
	f *flushes
}

func (f *flushes) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	h, r, err := f.FS.Open(ctx, c, o)
	if err != nil {
		return nil, r, err
	}
	return &flushed{h, f}, r, nil
}

func (h *flushed) Flush(ctx context.Context) error {
	h.f.n.Add(1)
	return h.Handle.Flush(ctx)
}

// A long file goes to disk while it comes, so that the reply has little to wait for.
func TestStore_flushesMeanwhile(t *testing.T) {
	f := &flushes{}
	w := newWorld(t, func(o *ftp.Options, _ *ftp.Settings) { f.FS, o.FS = o.FS, f })
	p := w.login("ann")
	p.stor("STOR short", "data")
	if n := f.n.Load(); n != 1 {
		t.Errorf("%d flushes of a short file, want 1", n)
	}
	long := strings.Repeat("0123456789abcdef", 10<<20/16)
	p.stor("STOR long", long)
	if n := f.n.Load(); n != 3 {
		t.Errorf("%d flushes of a long file, want one on the way and one of its end", n-1)
	}
	if p.retr("RETR long") != long {
		t.Error("another file came back")
	}
}

// What may not be made is refused before any data come.
func TestStore_refusedAtOnce(t *testing.T) {
	w := newWorld(t, func(_ *ftp.Options, s *ftp.Settings) { s.ChrootUsers = false })
	mode := fs.Mode(0o555)
	_, err := w.fs.Create(t.Context(), &fs.Caller{Cred: identity.POSIX(1, 1, nil)}, fs.Root, "closed", &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}})
	must(t, err)
	p := w.login("ann")
	_ = p.dial()
	p.cmd(550, "STOR closed/new")
}
