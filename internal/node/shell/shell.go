// Package shell is what an SSH session gets: the command line of manifold, as
// an interactive shell or for one command, with the rights of the user who
// logged in.
//
// Invariants: commands reach the server through the REST API only, with a token
// of the user which ends with the session; they see neither the files, the
// network nor the environment of the machine; nothing that is typed is expanded
// or run by anything else.
//
// The package must not know how users are stored or checked.
package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
	"manifold/internal/control/cli"
	"manifold/internal/identity"
	"manifold/internal/wire/ssh"
)

// Options shape a Shell. API, Token and End are needed.
type Options struct {
	API http.Handler
	// Token opens a session of the API for a user, End ends it.
	Token func(ctx context.Context, c *identity.Credential) (string, error)
	End   func(ctx context.Context, token string) error
	// Prompt names the server.
	Prompt string
	Logger *slog.Logger // discards
}

// Shell runs commands. Safe for concurrent use.
type Shell struct {
	o  Options
	mu sync.Mutex
	// history of each user, oldest line first, while the server runs.
	history map[string][]string
}

const (
	maxHistory = 200
	maxUsers   = 1000
)

var _ ssh.Handler = (*Shell)(nil)

// New makes a Shell.
func New(o Options) *Shell {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Shell{o: o, history: map[string][]string{}}
}

// session is a user at work.
type session struct {
	s      *ssh.Session
	client *client.Client
	in     io.Reader
	ask    func(prompt string) (string, error)
}

// open signs the user in; the answer's end signs it out.
func (h *Shell) open(ctx context.Context, s *ssh.Session) (*session, func(), error) {
	token, err := h.o.Token(ctx, s.Account.Cred)
	if err != nil {
		return nil, nil, err
	}
	hc := &http.Client{Transport: transport{api: h.o.API, from: s.Client}}
	c, err := client.New("https://"+h.host(), client.WithHTTPClient(hc), client.WithToken(token))
	if err != nil {
		return nil, nil, err
	}
	end := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := h.o.End(ctx, token); err != nil {
			h.o.Logger.WarnContext(ctx, "a shell's session was not ended; it expires by itself", "error", err)
		}
	}
	return &session{s: s, client: c, in: s.Stdin}, end, nil
}

// host is the name of the server in output of commands.
func (h *Shell) host() string {
	if h.o.Prompt == "" {
		return "localhost"
	}
	return h.o.Prompt
}

func (h *Shell) refused(ctx context.Context, s *ssh.Session, err error) int {
	h.o.Logger.ErrorContext(ctx, "a shell could not be opened", "user", s.Account.User, "error", err)
	fmt.Fprintln(s.Stderr, "manifold: the session could not be opened")
	return 1
}

// Exec implements ssh.Handler.
func (h *Shell) Exec(ctx context.Context, s *ssh.Session, command string) int {
	words, err := split(command)
	if err != nil {
		fmt.Fprintln(s.Stderr, "manifold:", err)
		return 2
	}
	if len(words) > 0 && words[0] == "scp" {
		fmt.Fprintln(s.Stderr, "manifold: the old protocol of scp is not spoken; SFTP is: scp -s")
		return 1
	}
	k, end, err := h.open(ctx, s)
	if err != nil {
		return h.refused(ctx, s, err)
	}
	defer end()
	if s.Terminal != nil {
		k.ask = func(prompt string) (string, error) {
			e := s.Editor("", nil, nil)
			defer e.Close()
			return e.ReadPassword(prompt)
		}
	}
	return s.Interruptible(ctx, func(ctx context.Context) int { return k.run(ctx, words) })
}

// noInput is the standard input of commands in the interactive shell, where it
// is the keyboard's.
type noInput struct{}

func (noInput) Read([]byte) (int, error) {
	return 0, errors.New(`there is no input in the shell; give the command to ssh: ssh USER@HOST "COMMAND" < FILE`)
}

// Shell implements ssh.Handler.
func (h *Shell) Shell(ctx context.Context, s *ssh.Session) int {
	k, end, err := h.open(ctx, s)
	if err != nil {
		return h.refused(ctx, s, err)
	}
	defer end()
	if s.Terminal == nil {
		return h.script(ctx, k)
	}
	k.in = noInput{}
	user := s.Account.User
	fmt.Fprintf(s.Stdout, "The command line of manifold. Tab completes, \"help\" lists the commands, \"exit\" leaves.\n")
	// A command starts from a fresh editor, so that keys typed meanwhile wait.
	e := s.Editor(user+"@"+h.host()+"> ", h.lines(user), nil)
	defer e.Close()
	e.OnTab(func(line string, pos int) (string, int, bool) { return k.complete(ctx, e, line, pos) })
	k.ask = e.ReadPassword
	code := 0
	for ctx.Err() == nil {
		line, err := e.ReadLine()
		if err != nil {
			fmt.Fprintln(s.Stdout)
			return code
		}
		words, err := split(line)
		switch {
		case err != nil:
			fmt.Fprintln(s.Stdout, "manifold:", err)
			code = 2
			continue
		case len(words) == 0:
			continue
		case words[0] == "exit" || words[0] == "quit" || words[0] == "logout":
			return code
		}
		h.remember(user, line)
		code = s.Interruptible(ctx, func(ctx context.Context) int { return k.run(ctx, words) })
	}
	return 1
}

// script runs the lines of a client without a terminal.
func (h *Shell) script(ctx context.Context, k *session) int {
	code := 0
	in := newLines(k.s.Stdin)
	k.in = noInput{}
	for ctx.Err() == nil {
		line, err := in.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(k.s.Stderr, "manifold:", err)
				code = 2
			}
			return code
		}
		words, err := split(line)
		switch {
		case err != nil:
			fmt.Fprintln(k.s.Stderr, "manifold:", err)
			code = 2
			continue
		case len(words) == 0 || strings.HasPrefix(words[0], "#"):
			continue
		case words[0] == "exit" || words[0] == "quit" || words[0] == "logout":
			return code
		}
		code = k.s.Interruptible(ctx, func(ctx context.Context) int { return k.run(ctx, words) })
	}
	return 1
}

// root makes the commands anew: flags keep what they were set to.
func (k *session) root(out, errs io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use: "manifold", Short: "The command line of manifold", SilenceUsage: true, SilenceErrors: true, Args: cobra.NoArgs,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	o := cli.Options{Out: out, Err: errs, In: k.in, Client: k.client, ReadPassword: k.ask}
	if k.ask == nil {
		o.ReadPassword = func(string) (string, error) {
			return "", errors.New("there is no terminal to ask on; use --password-stdin or ssh -t")
		}
	}
	if t := k.s.Terminal; t != nil {
		o.Screen = func() (int, int) {
			w := k.s.Size()
			if w.Columns == 0 || w.Rows == 0 {
				return 80, 24
			}
			return int(w.Columns), int(w.Rows)
		}
	}
	root.AddCommand(cli.New(o)...)
	root.SetIn(k.in)
	root.SetOut(out)
	root.SetErr(errs)
	return root
}

// run carries one command out and answers its exit status.
func (k *session) run(ctx context.Context, words []string) int {
	if len(words) > 0 && words[0] == "manifold" {
		words = words[1:]
	}
	root := k.root(k.s.Stdout, k.s.Stderr)
	root.SetArgs(append([]string{}, words...))
	err := root.ExecuteContext(ctx)
	switch {
	case ctx.Err() != nil:
		return 130
	case err != nil:
		fmt.Fprintln(k.s.Stderr, "manifold:", err)
		return 1
	}
	return 0
}

// lines answers what a user typed before.
func (h *Shell) lines(user string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.history[user]...)
}

func (h *Shell) remember(user, line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.history) >= maxUsers && h.history[user] == nil {
		clear(h.history)
	}
	l := append(h.history[user], line)
	h.history[user] = l[max(0, len(l)-maxHistory):]
}
