package cli

import (
	"context"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) groupCommand() *cobra.Command {
	return noun("group", "Local groups", a.groupList(), a.groupShow(), a.groupAdd(), a.groupModify(), a.groupRemove(), a.groupAddMember(), a.groupRemoveMember())
}

func (a *app) printGroups(gs []client.Group) error {
	return listing(a, gs, "ID NAME GID", func(g *client.Group) []string { return []string{g.ID.String(), g.Name, g.GID} })
}

func (a *app) groupList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List local groups", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			gs, err := c.Groups(ctx)
			if err != nil {
				return err
			}
			return a.printGroups(gs)
		}),
	}
}

// group wraps a command whose first argument is a group, by name or id.
func (a *app) group(fn func(context.Context, *client.Client, client.Group, []string) error) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, c *client.Client, args []string) error {
		g, err := c.GroupNamed(ctx, args[0])
		if err != nil {
			return err
		}
		return fn(ctx, c, g, args[1:])
	})
}

func (a *app) groupShow() *cobra.Command {
	return &cobra.Command{
		Use: "show GROUP", Short: "A local group and its members", Args: cobra.ExactArgs(1),
		RunE: a.group(func(ctx context.Context, c *client.Client, g client.Group, _ []string) error {
			us, err := c.Members(ctx, g.ID)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(struct {
					client.Group
					Members []client.LocalUser `json:"members"`
				}{g, us})
			}
			pairs := []string{"Id", g.ID.String(), "Name", g.Name, "SID", g.SID, "GID", g.GID}
			for _, u := range us {
				pairs = append(pairs, "Member", u.Name)
			}
			return a.record(pairs...)
		}),
	}
}

func (a *app) groupAdd() *cobra.Command {
	var gid string
	c := &cobra.Command{
		Use: "add NAME", Short: "Add a local group", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			g, err := c.AddGroup(ctx, args[0], gid)
			if err != nil {
				return err
			}
			return a.printGroups([]client.Group{g})
		}),
	}
	c.Flags().StringVar(&gid, "gid", "", "POSIX group that it is one with")
	return c
}

func (a *app) groupModify() *cobra.Command {
	var name, gid string
	c := &cobra.Command{Use: "modify GROUP", Short: "Change name or gid of a local group", Args: cobra.ExactArgs(1)}
	c.RunE = a.group(func(ctx context.Context, cl *client.Client, g client.Group, _ []string) error {
		if c.Flags().Changed("name") {
			g.Name = name
		}
		if c.Flags().Changed("gid") {
			g.GID = gid
		}
		g, err := cl.ReplaceGroup(ctx, g.ID, g.Name, g.GID)
		if err != nil {
			return err
		}
		return a.printGroups([]client.Group{g})
	})
	c.Flags().StringVar(&name, "name", "", "new name")
	c.Flags().StringVar(&gid, "gid", "", "POSIX group that it is one with; empty for none")
	return c
}

func (a *app) groupRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm GROUP", Short: "Remove a local group that is nobody's primary one", Args: cobra.ExactArgs(1),
		RunE: a.group(func(ctx context.Context, c *client.Client, g client.Group, _ []string) error {
			return c.RemoveGroup(ctx, g.ID)
		}),
	}
}

// membership wraps a command with a group and a user.
func (a *app) membership(fn func(context.Context, *client.Client, client.ID, client.ID) error) func(*cobra.Command, []string) error {
	return a.group(func(ctx context.Context, c *client.Client, g client.Group, args []string) error {
		u, err := c.UserNamed(ctx, args[0])
		if err != nil {
			return err
		}
		return fn(ctx, c, g.ID, u.ID)
	})
}

func (a *app) groupAddMember() *cobra.Command {
	return &cobra.Command{
		Use: "add-member GROUP USER", Short: "Put a user into a group", Args: cobra.ExactArgs(2),
		RunE: a.membership(func(ctx context.Context, c *client.Client, g, u client.ID) error { return c.AddMember(ctx, g, u) }),
	}
}

func (a *app) groupRemoveMember() *cobra.Command {
	return &cobra.Command{
		Use: "rm-member GROUP USER", Short: "Take a user out of a group", Args: cobra.ExactArgs(2),
		RunE: a.membership(func(ctx context.Context, c *client.Client, g, u client.ID) error { return c.RemoveMember(ctx, g, u) }),
	}
}
