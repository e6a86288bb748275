package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) loginCommand() *cobra.Command {
	var user, password string
	var stdin bool
	c := &cobra.Command{
		Use:   "login [USER]",
		Short: "Sign in to a server; the session lasts ten hours",
		Long: `Sign in to a server. The password is asked for on the terminal, or read from
standard input with --password-stdin, or taken from MANIFOLD_PASSWORD.

The session is kept in ~/.manifold/credentials, which only you can read, and the
server becomes the one that other commands talk to. A certificate that no known
authority has signed is trusted the first time and must be the same later.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				user = args[0]
			}
			s, err := a.connect()
			if err != nil {
				return err
			}
			defer s.client.Close()
			switch {
			case stdin:
				password, err = line(a.o.In)
			case password == "":
				if password = a.o.Env("MANIFOLD_PASSWORD"); password == "" {
					password, err = a.o.ReadPassword("Password of " + user + ": ")
				}
			}
			if err != nil {
				return err
			}
			if err := s.client.Login(cmd.Context(), user, password); err != nil {
				return err
			}
			s.mine.User, s.mine.Token = user, s.client.Token()
			if s.seen != "" {
				s.mine.Fingerprint = s.seen
			}
			s.all.Current = s.client.Server()
			if err := a.saveCredentials(s.all); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.o.Err, "Signed in to %s as %s\n", s.client.Server(), user)
			return err
		},
	}
	c.Flags().StringVarP(&user, "username", "u", "admin", "user to sign in as")
	c.Flags().StringVarP(&password, "password", "p", "", "password; others on this machine may see it, so better leave it out")
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the password from the first line of standard input")
	return c
}

// line reads one line without its end.
func line(r io.Reader) (string, error) {
	s, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadString('\n')
	if err == io.EOF && s != "" {
		err = nil
	}
	return strings.TrimRight(s, "\r\n"), err
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget the session", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			s.mine.Token, s.mine.User = "", ""
			return a.saveCredentials(s.all)
		},
	}
}

func (a *app) whoamiCommand() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Who is signed in", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			u, err := c.WhoAmI(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(u)
			}
			return a.record("Name", u.Name, "Id", u.ID.String(), "SID", u.SID, "Primary group", u.PrimaryGroup.String(), "Privileges", strconv.Itoa(len(u.Privileges)))
		}),
	}
}

func (a *app) changePasswordCommand() *cobra.Command {
	var stdin bool
	c := &cobra.Command{
		Use: "change-password", Short: "Change one's own password", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			if stdin {
				r := bufio.NewReader(a.o.In)
				old, err := r.ReadString('\n')
				if err != nil {
					return errors.New("standard input must hold the present and the new password, one a line")
				}
				next, err := line(r)
				if err != nil {
					return err
				}
				return c.ChangePassword(ctx, strings.TrimRight(old, "\r\n"), next)
			}
			old, err := a.o.ReadPassword("Present password: ")
			if err != nil {
				return err
			}
			next, err := a.o.ReadPassword("New password: ")
			if err != nil {
				return err
			}
			again, err := a.o.ReadPassword("New password again: ")
			if err != nil {
				return err
			}
			if next != again {
				return errors.New("the new passwords differ")
			}
			return c.ChangePassword(ctx, old, next)
		}),
	}
	c.Flags().BoolVar(&stdin, "password-stdin", false, "read the present and the new password from standard input, one a line")
	return c
}
