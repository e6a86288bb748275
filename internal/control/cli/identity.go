package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) identityCommand() *cobra.Command {
	return noun("identity", "Who is who across protocols", a.identityFind(), a.identityExpand(),
		a.verb("home WHO [DIRECTORY]", "Home directory of an identity of any domain; an empty one removes it", cobra.RangeArgs(1, 2), a.identityHome),
		a.verb("clear-cache", "Forget which passwords were found right", cobra.NoArgs, func(ctx context.Context, c *client.Client, _ []string) error { return c.ClearAuthCache(ctx) }))
}

func number32(n *uint32) string {
	if n == nil {
		return ""
	}
	return strconv.FormatUint(uint64(*n), 10)
}

func (a *app) identityFind() *cobra.Command {
	return &cobra.Command{
		Use: "find WHO", Short: "All names of local:NAME, uid:N, gid:N, sid:S or auth_id:N", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			i, err := c.FindIdentity(ctx, client.Named(args[0]))
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(i)
			}
			return a.record("Domain", i.Domain, "Name", deref(i.Name), "Auth id", deref(i.AuthID), "UID", number32(i.UID), "GID", number32(i.GID), "SID", deref(i.SID))
		}),
	}
}

func (a *app) identityExpand() *cobra.Command {
	return &cobra.Command{
		Use: "expand WHO", Short: "Who an identity also is, and its groups", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			x, err := c.ExpandIdentity(ctx, client.Named(args[0]))
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(x)
			}
			pairs := []string{"Identity", x.ID.String(), "Type", x.Type, "Over SMB", x.SMB.String(), "Over NFS", x.NFS.String()}
			for _, i := range x.Equivalents {
				pairs = append(pairs, "Same as", i.String())
			}
			for _, i := range x.Groups {
				pairs = append(pairs, "Member of", i.String())
			}
			return a.record(pairs...)
		}),
	}
}

func (a *app) identityHome(ctx context.Context, c *client.Client, args []string) error {
	i, err := c.FindIdentity(ctx, client.Named(args[0]))
	if err != nil {
		return err
	}
	id := deref(i.AuthID)
	var at client.IdentityAttributes
	switch {
	case len(args) == 1:
		at, err = c.IdentityAttributes(ctx, id)
	case args[1] == "":
		return c.RemoveIdentityAttributes(ctx, id)
	default:
		at, err = c.SetIdentityAttributes(ctx, id, client.IdentityAttributes{Home: &args[1]})
	}
	if err != nil {
		return err
	}
	return a.show(at, "Home", deref(at.Home))
}
