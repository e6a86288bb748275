package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) accessTokenCommand() *cobra.Command {
	return noun("access-token", "Long-lived tokens of local users", a.accessTokenList(), a.accessTokenShow(), a.accessTokenCreate(),
		a.accessTokenSwitch("enable", "Switch a token on again", true), a.accessTokenSwitch("disable", "Switch a token off", false), a.accessTokenModify(), a.accessTokenRevoke())
}

func (a *app) accessTokenList() *cobra.Command {
	var user string
	c := &cobra.Command{
		Use: "list", Short: "List long-lived tokens", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			ts, err := c.AccessTokens(ctx, user)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(ts)
			}
			var rows [][]string
			for _, t := range ts {
				expires := t.Expires
				if expires == "" {
					expires = "never"
				}
				rows = append(rows, []string{t.ID, t.User.String(), t.Creator.String(), t.Created, expires, strconv.FormatBool(t.Enabled)})
			}
			return a.table("ID USER CREATOR CREATED EXPIRES ENABLED", rows)
		}),
	}
	c.Flags().StringVar(&user, "user", "", "only those of this user")
	return c
}

func (a *app) accessTokenShow() *cobra.Command {
	return a.verb("show ID", "One token, without its secret", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
		t, err := c.AccessToken(ctx, args[0])
		if err != nil {
			return err
		}
		return a.show(t, "Id", t.ID, "User", t.User.String(), "Creator", t.Creator.String(), "Created", t.Created, "Expires", t.Expires, "Enabled", strconv.FormatBool(t.Enabled))
	})
}

func (a *app) accessTokenCreate() *cobra.Command {
	var expires string
	c := &cobra.Command{
		Use: "create USER", Short: "Issue a token of a local user; it is shown only this once", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			at, err := tokenExpiry(expires)
			if err != nil {
				return err
			}
			id, secret, err := c.NewAccessToken(ctx, client.Named(args[0]), at)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(map[string]string{"id": id, "bearer_token": secret})
			}
			_, err = fmt.Fprintln(a.o.Out, secret)
			return err
		}),
	}
	c.Flags().StringVar(&expires, "expires", "", "a time as 2030-01-31T00:00:00Z; otherwise never")
	return c
}

// tokenExpiry takes a time, or nothing and never for the zero time.
func tokenExpiry(s string) (at time.Time, err error) {
	if s != "" && s != "never" {
		if at, err = time.Parse(time.RFC3339, s); err != nil {
			err = fmt.Errorf("--expires %q: want a time as 2030-01-31T00:00:00Z, or never", s)
		}
	}
	return at, err
}

func (a *app) accessTokenModify() *cobra.Command {
	var expires string
	c := a.verb("modify ID --expires TIME", "Change when a token expires", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
		at, err := tokenExpiry(expires)
		if err != nil {
			return err
		}
		return c.ExpireAccessToken(ctx, args[0], at)
	})
	c.Flags().StringVar(&expires, "expires", "", "a time as 2030-01-31T00:00:00Z, or never")
	_ = c.MarkFlagRequired("expires")
	return c
}

func (a *app) accessTokenSwitch(verb, short string, on bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			return c.EnableAccessToken(ctx, args[0], on)
		}),
	}
}

func (a *app) accessTokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "rm ID", Short: "Revoke a token", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			return c.RevokeAccessToken(ctx, args[0])
		}),
	}
}
