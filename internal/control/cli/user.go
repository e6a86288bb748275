package cli

import (
	"context"
	"errors"
	"strconv"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) userCommand() *cobra.Command {
	return noun("user", "Local users", a.userList(), a.userShow(), a.userAdd(), a.userModify(), a.userSetPassword(), a.userRemove())
}

func (a *app) printUsers(us []client.LocalUser) error {
	return listing(a, us, "ID NAME GROUP UID HOME", func(u *client.LocalUser) []string {
		return []string{u.ID.String(), u.Name, u.PrimaryGroup.String(), u.UID, deref(u.Home)}
	})
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (a *app) userList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List local users", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			us, err := c.Users(ctx)
			if err != nil {
				return err
			}
			return a.printUsers(us)
		}),
	}
}

// named wraps a command whose first argument is a user, by name or id.
func (a *app) named(fn func(context.Context, *client.Client, client.LocalUser, []string) error) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, c *client.Client, args []string) error {
		u, err := c.UserNamed(ctx, args[0])
		if err != nil {
			return err
		}
		return fn(ctx, c, u, args[1:])
	})
}

func (a *app) userShow() *cobra.Command {
	return &cobra.Command{
		Use: "show USER", Short: "A local user and its groups", Args: cobra.ExactArgs(1),
		RunE: a.named(func(ctx context.Context, c *client.Client, u client.LocalUser, _ []string) error {
			gs, err := c.GroupsOf(ctx, u.ID)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(struct {
					client.LocalUser
					Groups []client.Group `json:"groups"`
				}{u, gs})
			}
			pairs := []string{"Id", u.ID.String(), "Name", u.Name, "SID", u.SID, "UID", u.UID, "Home", deref(u.Home),
				"Password", strconv.FormatBool(u.CanChangePassword)}
			for _, g := range gs {
				pairs = append(pairs, "Group", g.Name)
			}
			return a.record(pairs...)
		}),
	}
}

// passwordFlags say where a new password comes from.
type passwordFlags struct {
	given string
	stdin bool
}

func (f *passwordFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.given, "password", "", "password; others on this machine may see it, so better leave it out")
	c.Flags().BoolVar(&f.stdin, "password-stdin", false, "read the password from the first line of standard input")
}

// newPassword asks for a password twice, unless it is given or on standard input.
func (a *app) newPassword(f passwordFlags) (string, error) {
	switch {
	case f.given != "":
		return f.given, nil
	case f.stdin:
		return line(a.o.In)
	}
	p, err := a.o.ReadPassword("New password: ")
	if err != nil {
		return "", err
	}
	again, err := a.o.ReadPassword("New password again: ")
	if err == nil && p != again {
		err = errors.New("the new passwords differ")
	}
	return p, err
}

func (a *app) userAdd() *cobra.Command {
	var n client.NewUser
	var group string
	var none bool
	var password passwordFlags
	c := &cobra.Command{
		Use: "add NAME", Short: "Add a local user", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			g, err := c.GroupNamed(ctx, group)
			if err != nil {
				return err
			}
			n.Name, n.PrimaryGroup = args[0], g.ID
			if !none {
				if n.Password, err = a.newPassword(password); err != nil {
					return err
				}
			}
			u, err := c.AddUser(ctx, n)
			if err != nil {
				return err
			}
			return a.printUsers([]client.LocalUser{u})
		}),
	}
	c.Flags().StringVar(&group, "primary-group", "Users", "name or id of the primary group")
	c.Flags().StringVar(&n.UID, "uid", "", "POSIX user that it is one with")
	c.Flags().StringVar(&n.Home, "home", "", "home directory")
	password.add(c)
	c.Flags().BoolVar(&none, "no-password", false, "nobody can sign in as this user")
	return c
}

func (a *app) userModify() *cobra.Command {
	var name, group, uid, home string
	c := &cobra.Command{Use: "modify USER", Short: "Change name, primary group, uid or home of a local user", Args: cobra.ExactArgs(1)}
	c.RunE = a.named(func(ctx context.Context, cl *client.Client, u client.LocalUser, _ []string) error {
		u, etag, err := cl.LocalUser(ctx, u.ID)
		if err != nil {
			return err
		}
		n := client.NewUser{Name: u.Name, PrimaryGroup: u.PrimaryGroup, UID: u.UID, Home: deref(u.Home)}
		f := c.Flags()
		if f.Changed("name") {
			n.Name = name
		}
		if f.Changed("primary-group") {
			g, err := cl.GroupNamed(ctx, group)
			if err != nil {
				return err
			}
			n.PrimaryGroup = g.ID
		}
		if f.Changed("uid") {
			n.UID = uid
		}
		if f.Changed("home") {
			n.Home = home
		}
		u, err = cl.ReplaceUser(ctx, u.ID, n, etag)
		if err != nil {
			return err
		}
		return a.printUsers([]client.LocalUser{u})
	})
	c.Flags().StringVar(&name, "name", "", "new name")
	c.Flags().StringVar(&group, "primary-group", "", "name or id of the primary group")
	c.Flags().StringVar(&uid, "uid", "", "POSIX user that it is one with; empty for none")
	c.Flags().StringVar(&home, "home", "", "home directory; empty for none")
	return c
}

func (a *app) userSetPassword() *cobra.Command {
	var password passwordFlags
	c := &cobra.Command{
		Use: "set-password USER", Short: "Set a user's password; its sessions end", Args: cobra.ExactArgs(1),
		RunE: a.named(func(ctx context.Context, c *client.Client, u client.LocalUser, _ []string) error {
			p, err := a.newPassword(password)
			if err != nil {
				return err
			}
			return c.SetPassword(ctx, u.ID, p)
		}),
	}
	password.add(c)
	return c
}

func (a *app) userRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm USER", Short: "Remove a local user; files and permissions keep its id", Args: cobra.ExactArgs(1),
		RunE: a.named(func(ctx context.Context, c *client.Client, u client.LocalUser, _ []string) error {
			return c.RemoveUser(ctx, u.ID)
		}),
	}
}
