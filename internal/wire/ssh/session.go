package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
	"manifold/internal/wire/ssh/sftp"

	"golang.org/x/crypto/ssh"
)

// A Handler runs commands of administrators. Both calls return the exit status
// and end when ctx does; Stdin fails then.
type Handler interface {
	// Exec runs one command line, unparsed.
	Exec(ctx context.Context, s *Session, command string) int
	// Shell is an interactive shell, with a terminal if s.Terminal says so.
	Shell(ctx context.Context, s *Session) int
}

// Window is the size of a terminal in characters.
type Window struct{ Columns, Rows uint32 }

// Terminal is what the client told of its terminal.
type Terminal struct {
	Name   string // TERM
	Window Window
	// Resized delivers changes of size, the latest only.
	Resized <-chan Window
}

// A Session is one run of the Handler.
type Session struct {
	Account *Account
	Client  string // address and port
	// Terminal is nil where the client has none: input and output are bytes as
	// they are. With one, nothing is echoed but by an Editor, newlines written
	// get their carriage return, and Stderr is Stdout.
	Terminal *Terminal
	// Env are variables that the client sent: LANG and LC_*, nothing else.
	Env    map[string]string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Signals delivers "INT", "TERM" and the like.
	Signals <-chan string

	typed  *typed // Stdin, with a terminal
	window *atomic.Pointer[Window]
}

// Size is that of the terminal now, zero without one.
func (s *Session) Size() Window {
	if w := s.window.Load(); w != nil {
		return *w
	}
	return Window{}
}

// Limits of what a client may tell about a session.
const (
	maxEnv      = 32
	maxEnvBytes = 1024
	maxCommand  = 64 << 10
)

// session is the server's side of one session channel.
type session struct {
	c       *conn
	ch      ssh.Channel
	account *Account
	env     map[string]string
	term    *Terminal
	window  atomic.Pointer[Window]
	resized chan Window
	signals chan string
	running bool
	oneShot bool // a single command: who stops the server waits for it
}

// session serves one channel until it is closed.
func (c *conn) session(ctx context.Context, a *Account, ch ssh.Channel, reqs <-chan *ssh.Request) {
	ctx, cancel := context.WithCancel(ctx)
	s := &session{c: c, ch: ch, account: a, env: map[string]string{}, resized: make(chan Window, 1), signals: make(chan string, 4)}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	defer ch.Close()
	// A client that opens a channel and never says what for holds a slot only
	// as long as a login may take.
	idle := time.AfterFunc(c.s.o.LoginTimeout, func() { _ = ch.Close() })
	defer idle.Stop()
	for r := range reqs {
		run, ok := s.request(r)
		if run != nil {
			ok = !s.running
		}
		if r.WantReply {
			_ = r.Reply(ok, nil)
		}
		if run == nil || !ok {
			continue
		}
		s.running = true
		idle.Stop()
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer c.recovered(ctx)
			if s.oneShot {
				c.nc.Begin()
				defer c.nc.End()
			}
			defer ch.Close()
			s.exit(run(ctx))
		}()
	}
}

// exit is RFC 4254 6.10.
func (s *session) exit(code int) {
	_ = s.ch.CloseWrite()
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
}

// request is RFC 4254 6.2 to 6.9. It answers what is to be run, if anything,
// and whether the request was granted.
func (s *session) request(r *ssh.Request) (run func(context.Context) int, ok bool) {
	switch r.Type {
	case "pty-req":
		var p struct {
			Term                         string
			Columns, Rows, Width, Height uint32
			Modes                        string
		}
		if ssh.Unmarshal(r.Payload, &p) != nil || len(p.Term) > maxEnvBytes || s.term != nil || s.running {
			return nil, false
		}
		s.term = &Terminal{Name: p.Term, Window: bounded(p.Columns, p.Rows), Resized: s.resized}
		s.window.Store(&s.term.Window)
		return nil, true
	case "window-change":
		var p struct{ Columns, Rows, Width, Height uint32 }
		if ssh.Unmarshal(r.Payload, &p) != nil || s.term == nil {
			return nil, false
		}
		w := bounded(p.Columns, p.Rows)
		s.window.Store(&w)
		select { // the latest replaces one that was not taken yet
		case <-s.resized:
		default:
		}
		s.resized <- w
		return nil, true
	case "env":
		var p struct{ Name, Value string }
		if ssh.Unmarshal(r.Payload, &p) != nil || s.running || len(s.env) >= maxEnv || len(p.Name)+len(p.Value) > maxEnvBytes ||
			p.Name != "LANG" && !strings.HasPrefix(p.Name, "LC_") {
			return nil, false
		}
		s.env[p.Name] = p.Value
		return nil, true
	case "signal":
		var p struct{ Name string }
		if ssh.Unmarshal(r.Payload, &p) != nil || !s.running {
			return nil, false
		}
		select {
		case s.signals <- p.Name:
		default:
		}
		return nil, true
	case "shell":
		if s.c.s.o.Shell == nil || s.account.NoShell {
			return nil, false
		}
		return func(ctx context.Context) int { return s.handled(ctx, s.c.s.o.Shell.Shell) }, true
	case "exec":
		var p struct{ Command string }
		if s.c.s.o.Shell == nil || s.account.NoShell || ssh.Unmarshal(r.Payload, &p) != nil || len(p.Command) > maxCommand {
			return nil, false
		}
		s.oneShot = !s.running
		return func(ctx context.Context) int {
			return s.handled(ctx, func(ctx context.Context, h *Session) int { return s.c.s.o.Shell.Exec(ctx, h, p.Command) })
		}, true
	case "subsystem":
		var p struct{ Name string }
		if ssh.Unmarshal(r.Payload, &p) != nil || p.Name != "sftp" || s.c.s.o.FS == nil || s.account.NoSFTP {
			return nil, false
		}
		return s.sftp, true
	}
	return nil, false // x11-req, auth-agent-req@openssh.com and all others
}

func bounded(columns, rows uint32) Window {
	return Window{Columns: min(columns, 10_000), Rows: min(rows, 10_000)}
}

// handled runs the shell or a command of the Handler.
func (s *session) handled(ctx context.Context, run func(context.Context, *Session) int) int {
	h := &Session{
		Account: s.account, Client: s.c.from.String(), Terminal: s.term, Env: s.env,
		Stdin: s.ch, Stdout: s.ch, Stderr: s.ch.Stderr(), Signals: s.signals, window: &s.window,
	}
	if s.term == nil {
		return run(ctx, h)
	}
	// With a terminal both outputs are one, as with a real one.
	out := &crlf{w: s.ch}
	in := newTyped()
	h.Stdin, h.Stdout, h.Stderr, h.typed = in, out, out, in
	var wg sync.WaitGroup
	wg.Add(1)
	go func() { defer wg.Done(); in.pump(s.ch) }()
	code := run(ctx, h)
	s.exit(code)
	in.end()
	_ = s.ch.Close() // ends the pump
	wg.Wait()
	return code
}

// sftp serves the subsystem and answers the exit status.
func (s *session) sftp(ctx context.Context) int {
	o := &s.c.s.o
	caller := &fs.Caller{Cred: s.account.Cred, Protocol: fs.ProtoSFTP, Client: s.c.from, ReadOnly: s.account.ReadOnly}
	tree, home, err := walk.Home(ctx, o.FS, caller, s.account.Home, s.account.Chroot)
	if err != nil {
		fmt.Fprintf(s.ch.Stderr(), "The home directory cannot be used: %v.\n", fs.KindOf(err))
		return 1
	}
	so := sftp.Options{
		FS: o.FS, Caller: caller, Root: tree.Root, Home: home, Identities: o.Identities,
		UserName: o.UserName, GroupName: o.GroupName, Owner: "sftp:" + s.c.from.String(), Logger: o.Logger,
		Busy: func(busy bool) {
			if busy {
				s.c.nc.Begin()
			} else {
				s.c.nc.End()
			}
		},
	}
	if o.Observer != nil {
		so.Observe = func(op sftp.Op) { o.Observer.SFTP(s.account, op) }
	}
	if err := sftp.Serve(ctx, s.ch, so); err != nil && ctx.Err() == nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		o.Logger.InfoContext(ctx, "ssh: SFTP session ended early", "user", s.account.User, "client", s.c.from, "err", err)
		return 1
	}
	return 0
}
