package ftp

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
	"manifold/internal/wire/accept"
)

// Limits of one control connection.
const (
	maxLine      = 8 << 10 // a command with a path
	maxBad       = 50      // unknown commands before it is cut
	replyTimeout = time.Minute
)

// conn is a control connection. Its fields are of the goroutine that reads
// commands, except those under mu and wmu.
type conn struct {
	s           *Server
	nc          *accept.Conn
	c           net.Conn // nc, or TLS over it
	r           *bufio.Reader
	from, local netip.AddrPort
	set         Settings
	implicit    bool
	tlsConfig   *tls.Config // of this connection and its data connections

	secure, private bool // TLS on the control connection; PROT P
	pbsz            bool
	user            string // of USER
	anonymous       bool
	tries, bad      int
	quit            bool

	account *Account // nil until logged in
	caller  *fs.Caller
	tree    walk.Tree
	cwd     string

	renameFrom string
	rest       uint64
	ascii      bool // TYPE A, which changes nothing but an answer
	hash       string
	facts      factSet
	data       dataPlan
	epsvAll    bool

	wmu  sync.Mutex // orders replies
	code int        // of the last reply, guarded by wmu

	mu       sync.Mutex
	transfer *transfer // running, nil if none

	drains chan struct{} // slots of data connections that end
	wg     sync.WaitGroup
}

func newConn(s *Server, nc *accept.Conn, implicit bool) *conn {
	return &conn{
		s: s, nc: nc, c: nc, r: bufio.NewReaderSize(nc, 4096), implicit: implicit, set: s.o.Settings(),
		from: nc.From, local: nc.Local, hash: defaultHash, facts: defaultFacts, ascii: true,
		drains: make(chan struct{}, maxDrains),
	}
}

func (c *conn) serve(ctx context.Context) {
	defer c.nc.Cancel()
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() })
	defer stop()
	defer func() {
		c.abort()
		c.wg.Wait()
		c.data.close()
		_ = c.c.Close()
	}()
	defer c.recovered(ctx)
	_ = c.nc.SetDeadline(time.Now().Add(c.s.o.LoginTimeout))
	if c.implicit {
		if !c.startTLS(ctx) {
			return
		}
		c.private = true
	}
	greeting := c.set.Greeting
	if greeting == "" {
		greeting = "manifold FTP server ready."
	}
	c.reply(220, strings.Split(greeting, "\n")...)
	for !c.quit {
		line, err := c.readLine()
		if err != nil {
			var n net.Error
			if errors.As(err, &n) && n.Timeout() && ctx.Err() == nil {
				c.reply(421, "Timeout.")
			}
			return
		}
		c.command(ctx, line)
	}
}

func (c *conn) recovered(ctx context.Context) {
	if p := recover(); p != nil {
		c.s.o.Logger.ErrorContext(ctx, "ftp: connection ended by a bug", "client", c.from, "panic", p, "stack", string(debug.Stack()))
	}
}

// readLine reads one command. While a transfer runs the connection may be silent.
func (c *conn) readLine() (string, error) {
	if c.account != nil {
		c.mu.Lock()
		if c.transfer != nil {
			_ = c.nc.SetReadDeadline(time.Time{})
		} else {
			_ = c.nc.SetReadDeadline(time.Now().Add(c.s.o.IdleTimeout))
		}
		c.mu.Unlock()
	}
	var line []byte
	for {
		b, err := c.r.ReadSlice('\n')
		line = append(line, b...)
		switch {
		case len(line) > maxLine:
			c.reply(500, "Line too long.")
			return "", errSyntax
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return "", err
		default:
			line = untelnet(line[:len(line)-1])
			return strings.TrimSuffix(string(line), "\r"), nil
		}
	}
}

// reply sends a reply of one or more lines.
func (c *conn) reply(code int, lines ...string) {
	var b strings.Builder
	for i, l := range lines {
		sep := '-'
		if i == len(lines)-1 {
			sep = ' '
		}
		fmt.Fprintf(&b, "%d%c%s\r\n", code, sep, printable(l))
	}
	c.raw(code, b.String())
}

// block sends a reply whose inner lines start with a space and no code.
func (c *conn) block(code int, first string, inner []string, last string) {
	var b strings.Builder
	fmt.Fprintf(&b, "%d-%s\r\n", code, printable(first))
	for _, l := range inner {
		fmt.Fprintf(&b, " %s\r\n", printable(l))
	}
	fmt.Fprintf(&b, "%d %s\r\n", code, printable(last))
	c.raw(code, b.String())
}

func (c *conn) raw(code int, text string) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.code = code
	_ = c.nc.SetWriteDeadline(time.Now().Add(replyTimeout))
	if _, err := c.c.Write([]byte(text)); err != nil {
		c.nc.Cancel()
	}
}

// fail answers a failed file command.
func (c *conn) fail(ctx context.Context, err error) {
	if fs.KindOf(err) == fs.Other && ctx.Err() == nil {
		c.s.o.Logger.ErrorContext(ctx, "ftp: command failed", "user", c.user, "client", c.from, "err", err)
	}
	c.reply(codeOf(err), textOf(err))
}

// command is one entry of the table.
type command struct {
	do func(c *conn, ctx context.Context, arg string)
	// open commands need no login.
	open bool
	// during commands are answered while a transfer runs.
	during bool
	// needArg commands fail with 501 without an argument.
	needArg bool
}

var commands = map[string]command{
	"USER": {do: (*conn).user_, open: true, needArg: true}, "PASS": {do: (*conn).pass, open: true}, "AUTH": {do: (*conn).auth, open: true, needArg: true},
	"PBSZ": {do: (*conn).pbszCmd, open: true}, "PROT": {do: (*conn).prot, open: true, needArg: true}, "CCC": {do: says(533, "The control connection stays encrypted."), open: true},
	"ACCT": {do: says(202, "Superfluous."), open: true}, "REIN": {do: says(502, "Not implemented."), open: true},
	"QUIT": {do: (*conn).quitCmd, open: true}, "NOOP": {do: says(200, "OK."), open: true}, "SYST": {do: says(215, "UNIX Type: L8"), open: true},
	"FEAT": {do: (*conn).feat, open: true}, "OPTS": {do: (*conn).opts, open: true, needArg: true}, "HELP": {do: (*conn).help, open: true},
	"CLNT": {do: says(200, "Noted."), open: true},

	"TYPE": {do: (*conn).typeCmd, needArg: true}, "MODE": {do: (*conn).mode, needArg: true}, "STRU": {do: (*conn).stru, needArg: true},
	"PASV": {do: (*conn).pasv}, "EPSV": {do: (*conn).epsv}, "PORT": {do: (*conn).port, needArg: true}, "EPRT": {do: (*conn).eprt, needArg: true},
	"RETR": {do: (*conn).retr, needArg: true}, "STOR": {do: (*conn).stor, needArg: true}, "APPE": {do: (*conn).appe, needArg: true}, "STOU": {do: (*conn).stou},
	"REST": {do: (*conn).restCmd, needArg: true}, "ABOR": {do: (*conn).abor, during: true}, "ALLO": {do: says(202, "No storage allocation is needed.")},
	"LIST": {do: (*conn).list}, "NLST": {do: (*conn).nlst}, "MLSD": {do: (*conn).mlsd}, "MLST": {do: (*conn).mlst}, "STAT": {do: (*conn).stat, during: true},

	"CWD": {do: (*conn).cwdCmd}, "XCWD": {do: (*conn).cwdCmd}, "CDUP": {do: (*conn).cdup}, "XCUP": {do: (*conn).cdup}, "PWD": {do: (*conn).pwd}, "XPWD": {do: (*conn).pwd},
	"MKD": {do: (*conn).mkd, needArg: true}, "XMKD": {do: (*conn).mkd, needArg: true}, "RMD": {do: (*conn).rmd, needArg: true}, "XRMD": {do: (*conn).rmd, needArg: true},
	"DELE": {do: (*conn).dele, needArg: true}, "RNFR": {do: (*conn).rnfr, needArg: true}, "RNTO": {do: (*conn).rnto, needArg: true},
	"SIZE": {do: (*conn).size, needArg: true}, "MDTM": {do: (*conn).mdtm, needArg: true}, "MFMT": {do: (*conn).mfmt, needArg: true},
	"SITE": {do: (*conn).site, needArg: true}, "AVBL": {do: (*conn).avbl},
	"HASH": {do: (*conn).hashCmd, needArg: true}, "XCRC": {do: digest("CRC32"), needArg: true}, "XMD5": {do: digest("MD5"), needArg: true},
	"XSHA1": {do: digest("SHA-1"), needArg: true}, "XSHA": {do: digest("SHA-1"), needArg: true}, "XSHA256": {do: digest("SHA-256"), needArg: true}, "XSHA512": {do: digest("SHA-512"), needArg: true},
}

// Commands are the verbs of all that are answered, sorted.
func Commands() []string { return slices.Sorted(maps.Keys(commands)) }

func says(code int, text string) func(*conn, context.Context, string) {
	return func(c *conn, _ context.Context, _ string) { c.reply(code, text) }
}

// command carries out one line.
func (c *conn) command(ctx context.Context, line string) {
	verb, arg := parseCommand(line)
	cmd, known := commands[verb]
	if !cmd.during {
		c.await()
	}
	switch {
	case !known:
		if c.bad++; c.bad > maxBad {
			c.reply(421, "Too many unknown commands.")
			c.quit = true
			return
		}
		c.reply(500, "Unknown command.")
		return
	case !cmd.open && c.account == nil:
		c.reply(530, "Please log in with USER and PASS.")
		return
	case cmd.needArg && arg == "":
		c.reply(501, "An argument is needed.")
		return
	case strings.IndexByte(arg, 0) >= 0:
		c.reply(501, "The argument has a NUL byte.")
		return
	}
	began := time.Now()
	if verb != "RNTO" {
		c.renameFrom = ""
	}
	cmd.do(c, ctx, arg)
	if verb != "REST" && !cmd.open && verb != "PASV" && verb != "EPSV" && verb != "PORT" && verb != "EPRT" && verb != "TYPE" {
		c.rest = 0
	}
	c.mu.Lock()
	running := c.transfer != nil
	c.mu.Unlock()
	if !running && !cmd.open {
		c.tell(ctx, Op{Command: verb, Duration: time.Since(began)}, arg)
	}
}

// tell reports an answered command.
func (c *conn) tell(ctx context.Context, o Op, arg string) {
	c.wmu.Lock()
	o.Code = c.code
	c.wmu.Unlock()
	o.Client = c.from
	if c.account != nil {
		o.User = c.account.User
	}
	if c.s.o.Observer != nil {
		c.s.o.Observer.Observe(o)
	}
	if c.set.LogOperations {
		c.s.o.Logger.InfoContext(ctx, "ftp", "command", o.Command, "arg", arg, "code", o.Code, "user", o.User,
			"client", o.Client, "in", o.In, "out", o.Out, "duration", o.Duration)
	}
}

func (c *conn) quitCmd(context.Context, string) {
	c.reply(221, "Goodbye.")
	c.quit = true
}

func (c *conn) help(context.Context, string) {
	c.block(214, "These commands are recognised:", []string{
		"USER PASS AUTH PBSZ PROT QUIT NOOP SYST FEAT OPTS HELP CLNT TYPE MODE STRU",
		"PASV EPSV PORT EPRT RETR STOR APPE STOU REST ABOR ALLO LIST NLST MLSD MLST",
		"STAT CWD CDUP PWD MKD RMD DELE RNFR RNTO SIZE MDTM MFMT SITE AVBL HASH",
	}, "End of help.")
}

func (c *conn) feat(context.Context, string) {
	lines := []string{"UTF8", "EPRT", "EPSV", "REST STREAM", "SIZE", "MDTM", "MFMT", "TVFS", "CLNT", "AVBL",
		"MLST " + c.facts.feature(), hashFeature(c.hash), "SITE CHMOD", "SITE SYMLINK"}
	if c.s.o.TLS != nil {
		lines = append(lines, "AUTH TLS", "PBSZ", "PROT")
	}
	c.block(211, "Features:", lines, "End.")
}

// opts is RFC 2389 4 with the options of RFC 3659 7.9 and of HASH.
func (c *conn) opts(_ context.Context, arg string) {
	what, value, _ := strings.Cut(arg, " ")
	switch strings.ToUpper(what) {
	case "UTF8", "UTF-8":
		if v := strings.ToUpper(value); v == "" || v == "ON" {
			c.reply(200, "Names are bytes, UTF-8 included.")
			return
		}
		c.reply(504, "UTF8 is always on.")
	case "MLST":
		c.facts = parseFacts(value)
		c.reply(200, "MLST OPTS "+c.facts.String())
	case "HASH":
		if value == "" {
			c.reply(200, c.hash)
			return
		}
		if _, ok := hashes[strings.ToUpper(value)]; !ok {
			c.reply(504, "Unknown algorithm.")
			return
		}
		c.hash = strings.ToUpper(value)
		c.reply(200, c.hash)
	default:
		c.reply(501, "Unknown option.")
	}
}

// startTLS turns the control connection into an encrypted one.
func (c *conn) startTLS(ctx context.Context) bool {
	if c.s.o.TLS == nil {
		return false
	}
	base := c.s.o.TLS()
	if base == nil {
		return false
	}
	// Tickets under a key of this connection alone bind data connections that
	// resume a session to it: whoever resumes holds the control connection.
	c.tlsConfig = base.Clone()
	c.tlsConfig.NextProtos = nil // those of HTTP would refuse clients that ask for "ftp"
	c.tlsConfig.MinVersion = max(c.tlsConfig.MinVersion, tls.VersionTLS12)
	var key [32]byte
	_, _ = rand.Read(key[:])
	c.tlsConfig.SetSessionTicketKeys([][32]byte{key})
	t := tls.Server(c.nc, c.tlsConfig)
	if err := t.HandshakeContext(ctx); err != nil {
		c.s.o.Logger.DebugContext(ctx, "ftp: TLS handshake", "client", c.from, "err", err)
		return false
	}
	c.c, c.secure = t, true
	c.r = bufio.NewReaderSize(t, 4096)
	return true
}
