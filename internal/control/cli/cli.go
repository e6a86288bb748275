// Package cli is the command line of an operator: "manifold NOUN VERB", one
// file per noun. It does what any client of the REST API can, no more.
//
// Invariants: results go to Out, everything else to Err; --json prints what the
// API answered; secrets are stored in one file that only its owner can read
// and are never printed.
//
// The package must know the server only through the client.
package cli

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"manifold/client"
)

// Options say what the commands see of the world. The zero value is the
// process's own.
type Options struct {
	Out, Err io.Writer
	In       io.Reader
	// Env looks a variable up: MANIFOLD_HOST, MANIFOLD_PORT, MANIFOLD_TOKEN,
	// MANIFOLD_PASSWORD, MANIFOLD_CREDENTIALS.
	Env func(string) string
	// Home is where .manifold/credentials lies.
	Home string
	// ReadPassword asks on the terminal without echo.
	ReadPassword func(prompt string) (string, error)
	// Client, if set, is the one server that the commands work on, signed in
	// already: they know no other, keep no credentials and see no local files.
	Client *client.Client
	// Screen is the size of a terminal that Out is, asked again and again; nil:
	// it is found out if Out is the process's own.
	Screen func() (width, height int)
}

// app is what all commands share.
type app struct {
	o Options

	host     string
	port     int
	asJSON   bool
	insecure bool
	trustNew bool
}

// New makes the commands that work through the REST API, to be added to the
// root command.
func New(o Options) []*cobra.Command {
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Err == nil {
		o.Err = os.Stderr
	}
	if o.In == nil {
		o.In = os.Stdin
	}
	if o.Client != nil {
		o.Env = func(string) string { return "" }
	}
	if o.Env == nil {
		o.Env = os.Getenv
	}
	if o.Home == "" && o.Client == nil {
		o.Home, _ = os.UserHomeDir()
	}
	a := &app{o: o}
	if o.ReadPassword == nil {
		a.o.ReadPassword = a.readPassword
	}
	var cmds []*cobra.Command
	if o.Client == nil {
		cmds = append(cmds, a.loginCommand(), a.logoutCommand())
	}
	cmds = append(cmds,
		a.whoamiCommand(), a.changePasswordCommand(),
		a.fsCommand(), a.snapshotCommand(), a.quotaCommand(), a.nfsCommand(), a.smbCommand(), a.ftpCommand(), a.s3Command(), a.sshCommand(), a.nodeCommand(), a.topCommand(), a.scrubCommand(),
		a.clusterCommand(), a.networkCommand(), a.timeCommand(), a.dnsCommand(), a.sslCommand(), a.webCommand(), a.analyticsCommand(),
		a.userCommand(), a.groupCommand(), a.roleCommand(), a.accessTokenCommand(), a.identityCommand(), a.auditCommand(), a.rawCommand(),
	)
	cmds = append(cmds, a.aliasCommands(cmds)...)
	for _, c := range cmds {
		a.complete(c)
		if c.DisableFlagParsing {
			continue
		}
		f := c.PersistentFlags()
		f.BoolVar(&a.asJSON, "json", false, "print JSON")
		c.SetOut(o.Out)
		c.SetErr(o.Err)
		if o.Client != nil {
			continue
		}
		f.StringVar(&a.host, "host", "", "server (MANIFOLD_HOST, else the one of the last login, else localhost)")
		f.IntVar(&a.port, "port", 0, "port of the REST API (MANIFOLD_PORT, else 8000)")
		f.BoolVar(&a.insecure, "insecure", false, "trust any certificate")
		f.BoolVar(&a.trustNew, "trust-new-certificate", false, "forget the certificate seen before and trust the present one from now on")
	}
	return cmds
}

// open opens a local file for reading, or standard input for "-".
func (a *app) open(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(a.o.In), nil
	}
	if a.o.Client != nil {
		return nil, fmt.Errorf("%s: there are no local files here; send it on standard input", name)
	}
	return os.Open(name)
}

// read reads a file as open opens it, at most limit bytes of it.
func (a *app) read(name string, limit int64) ([]byte, error) {
	f, err := a.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// readPassword asks on the terminal.
func (a *app) readPassword(prompt string) (string, error) {
	f, ok := a.o.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", errors.New("there is no terminal to ask for the password; use --password-stdin or MANIFOLD_PASSWORD")
	}
	fmt.Fprint(a.o.Err, prompt)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.o.Err)
	return string(b), err
}

// run wraps the body of a command that needs a session.
func (a *app) run(fn func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.o.Client != nil {
			return fn(cmd.Context(), a.o.Client, args)
		}
		s, err := a.connect()
		if err != nil {
			return err
		}
		defer s.client.Close()
		err = advise(fn(cmd.Context(), s.client, args), s.client.Server())
		if perr := s.keepCertificate(); err == nil {
			err = perr
		}
		return err
	}
}

// advise adds to an error what can be done about it.
func advise(err error, server string) error {
	var cert *tls.CertificateVerificationError
	switch {
	case err == nil:
		return nil
	case client.IsStatus(err, 401):
		return fmt.Errorf("%w; sign in with: manifold login", err)
	case client.IsStatus(err, 403):
		return fmt.Errorf("%w; see what you may do with: manifold whoami --json", err)
	case client.IsStatus(err, 412):
		return fmt.Errorf("%w; somebody else has changed it meanwhile: look at it again and repeat the command", err)
	case client.IsStatus(err, 429), client.IsStatus(err, 503):
		return fmt.Errorf("%w; try again in a moment", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w; nobody listens at %s: is the server running? Name another one with --host and --port, or MANIFOLD_HOST and MANIFOLD_PORT", err, server)
	case errors.As(err, &cert):
		return fmt.Errorf("%w; if the certificate is the server's own, sign in with: manifold login --trust-new-certificate", err)
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return fmt.Errorf("%w; check the name of the server: --host, MANIFOLD_HOST", err)
	}
	return err
}

// noun makes a command that only groups others.
func noun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(verbs...)
	return c
}

// toggle makes the commands that switch a server on and off.
func (a *app) toggle(on, off string, set func(ctx context.Context, c *client.Client, on bool) error) (enable, disable *cobra.Command) {
	one := func(verb, short string, on bool) *cobra.Command {
		return &cobra.Command{
			Use: verb, Short: short, Args: cobra.NoArgs,
			RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error { return set(ctx, c, on) }),
		}
	}
	return one("enable", on, true), one("disable", off, false)
}

// json prints v.
func (a *app) json(v any) error {
	e := json.NewEncoder(a.o.Out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// jsonLine prints v on one line.
func (a *app) jsonLine(v any) error {
	e := json.NewEncoder(a.o.Out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// table prints rows under a heading.
func (a *app) table(heading string, rows [][]string) error {
	w := tabwriter.NewWriter(a.o.Out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(strings.Fields(heading), "\t"))
	for _, r := range rows {
		for i := range r {
			r[i] = printable(r[i])
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(r, "\t"), "\t"))
	}
	return w.Flush()
}

// listing prints items as JSON, or as a table with a row for each.
func listing[T any](a *app, items []T, heading string, row func(*T) []string) error {
	if a.asJSON {
		return a.json(items)
	}
	rows := make([][]string, len(items))
	for i := range items {
		rows[i] = row(&items[i])
	}
	return a.table(heading, rows)
}

// collect takes all that a paged listing yields.
func collect[T any](all iter.Seq2[T, error]) ([]T, error) {
	out := []T{}
	for x, err := range all {
		if err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// record prints names and values in turn, one pair a line.
func (a *app) record(pairs ...string) error {
	w := tabwriter.NewWriter(a.o.Out, 0, 4, 2, ' ', 0)
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(w, "%s\t%s\n", pairs[i], printable(pairs[i+1]))
	}
	return w.Flush()
}

// printable keeps what others chose, as file names, from driving the terminal.
func printable(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) < 0 {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// ref takes a path or an id from the command line.
func ref(s string) (client.Ref, error) {
	if strings.HasPrefix(s, "/") || s != "" && strings.Trim(s, "0123456789") == "" {
		return client.Ref(s), nil
	}
	return "", fmt.Errorf("%q: want an absolute path or a file id", s)
}

// place splits an absolute path into its directory and last name.
func place(s string) (dir client.Ref, name string, err error) {
	p := path.Clean(s)
	if !strings.HasPrefix(s, "/") || p == "/" {
		return "", "", fmt.Errorf("%q: want an absolute path below the root", s)
	}
	d, name := path.Split(p)
	return client.Ref(path.Clean(d)), name, nil
}
