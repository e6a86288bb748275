package ftpssh

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"manifold/e2e/harness"
	"manifold/e2e/netns"
)

// control is a control connection of FTP.
type control struct {
	*world
	nc net.Conn
	c  *textproto.Conn
}

func (w *world) control(port string) *control {
	w.Helper()
	nc, err := w.s.Net.Dial(w.Context(), "tcp", netns.Server+":"+port)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
	if port == "990" {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // self-signed
	}
	c := &control{w, nc, textproto.NewConn(nc)}
	c.want(220, "")
	return c
}

// want sends a line, unless it is "", and wants a reply.
func (c *control) want(code int, line string) string {
	c.Helper()
	if line != "" {
		if err := c.c.PrintfLine("%s", line); err != nil {
			c.Fatal(err)
		}
	}
	got, msg, err := c.c.ReadResponse(code)
	if err != nil {
		c.Errorf("%.60q: %d %s, want %d", line, got, msg, code)
	}
	return msg
}

func (c *control) login(user, password string) {
	c.Helper()
	c.want(331, "USER "+user)
	c.want(230, "PASS "+password)
}

func TestHostileFTP(t *testing.T) {
	w := newWorld(t)
	w.s.MustCLI(t, "ftp", "modify", "--chroot-users")
	w.s.MustCLI(t, "fs", "create", "/secret")
	w.s.MustCLI(t, "fs", "ln", "-s", "/secret", annHome+"/absolute")
	w.s.MustCLI(t, "fs", "ln", "-s", "../../secret", annHome+"/relative")
	w.s.MustCLI(t, "fs", "ln", "-s", "../..", annHome+"/up")

	c := w.control("990")
	c.login("ann", annPassword)
	for _, path := range []string{"/secret", "../../secret", "absolute", "relative", "up/secret", "../up/../secret", "//secret", "/./../secret"} {
		c.want(550, "SIZE "+path)
		c.want(550, "DELE /home/"+path)
	}
	c.want(550, "MKD .snapshot")
	c.want(550, "RMD /")
	c.want(553, "MKD "+strings.Repeat("n", 256))
	c.want(501, "SIZE a\x00b")
	c.want(250, "CWD up") // which is the root of what ann sees
	if dir := c.want(257, "PWD"); !strings.HasPrefix(dir, `"/`) {
		t.Error(dir)
	}
	// No bounce: neither another host nor a port of the system.
	c.want(200, "PBSZ 0")
	c.want(200, "PROT P")
	c.want(504, "PORT 127,0,0,1,200,10")
	c.want(504, "EPRT |1|"+netns.Server+"|25|")
	c.want(501, "PORT 1,2,3")
	c.want(425, "RETR absolute")

	// A user without a home cannot be confined, and so does not get in.
	d := w.control("990")
	d.want(331, "USER admin")
	d.want(530, "PASS "+harness.Password)

	// Passwords are not asked for in the clear, whatever comes first.
	p := w.control("21")
	p.want(530, "USER ann")
	p.want(530, "LIST")
	for range 60 {
		_ = p.c.PrintfLine("NONSENSE")
	}
	closed(t, p.nc)
	// A line without an end, and what follows AUTH in the clear.
	q := w.control("21")
	_, _ = q.nc.Write([]byte(strings.Repeat("x", 1<<20)))
	closed(t, q.nc)
	v := w.control("21")
	_, _ = v.nc.Write([]byte("AUTH TLS\r\nUSER ann\r\n"))
	closed(t, v.nc)

	// Guessing locks out, here and in the API, whose guesses count as well.
	var guessing [5]*control // at once: each waits after a failure
	for i := range guessing {
		guessing[i] = w.control("990")
	}
	for i := range 3 {
		for _, g := range guessing {
			_ = g.c.PrintfLine("USER ann\r\nPASS wrong%d", i)
		}
		for _, g := range guessing {
			_, _, _ = g.c.ReadResponse(331)
			_, _, _ = g.c.ReadResponse(530)
		}
	}
	l := w.control("990")
	l.want(331, "USER ann")
	l.want(530, "PASS "+annPassword)
	if _, err := w.s.Anonymous(t).Try(t.Context(), "POST", "/v1/session/login", map[string]string{"username": "ann", "password": annPassword}, nil); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("the API: %v", err)
	}
	// Whoever is in already goes on.
	c.want(200, "NOOP")
}

// closed wants the server to hang up.
func closed(t *testing.T, nc net.Conn) {
	t.Helper()
	r := bufio.NewReader(nc)
	for {
		if _, err := r.ReadByte(); err != nil {
			if n, ok := err.(net.Error); ok && n.Timeout() {
				t.Error("the server does not hang up")
			}
			return
		}
	}
}

func TestHostileSSH(t *testing.T) {
	w := newWorld(t)
	w.s.MustCLI(t, "ssh", "modify", "--chroot-users")
	w.s.MustCLI(t, "fs", "create", "/secret")
	w.s.MustCLI(t, "fs", "ln", "-s", "/secret", annHome+"/absolute")
	w.s.MustCLI(t, "fs", "ln", "-s", "../../secret", annHome+"/relative")
	w.write("local", 10, 1)
	sftp := w.sshArgs("ann", "-b", "-", netns.Server)
	for batch, want := range map[string]string{
		"get ../../secret":                        "not found",
		"get absolute":                            "No such file",
		"get relative":                            "No such file",
		"rename absolute /../../x/y":              "rename",
		"put local .snapshot/x":                   "Permission denied",
		"mkdir .snapshot":                         "mkdir",
		"rmdir /":                                 "rmdir",
		"put local " + long:                       "dest open",
		"ln ../../../secret mine":                 "link",
		"symlink x /nowhere/y":                    "symlink",
		"chown 0 local\nput local\nchown 0 local": "",
	} {
		w.fails(want, batch+"\n", "sftp", sftp...)
	}
	w.sftp("ann", "put local ../../../stolen\nls /stolen\n")
	if _, _, err := w.s.CLI(t.Context(), "fs", "stat", "/stolen"); err == nil {
		t.Error("a file got out of the home")
	}
	if _, _, err := w.s.CLI(t.Context(), "fs", "stat", annHome+"/stolen"); err != nil {
		t.Error(err)
	}
	// Whoever says nothing, or nonsense, harms nobody.
	for _, hello := range []string{"", "GET / HTTP/1.1\r\n\r\n", "SSH-2.0-x\r\n" + strings.Repeat("\xff", 4096), "SSH-1.5-x\r\n"} {
		nc, err := w.s.Net.Dial(t.Context(), "tcp", netns.Server+":22")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(nc, hello)
		if len(hello) > 100 {
			closed(t, nc)
		}
	}
	w.sftp("ann", "ls\n")
}

var long = strings.Repeat("n", 256)
