package cli

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) roleCommand() *cobra.Command {
	return noun("role", "Roles and their privileges", a.roleList(), a.roleShow(), a.rolePrivileges(), a.roleAdd(), a.roleModify(), a.roleRemove(),
		a.roleAssign(), a.roleUnassign())
}

func (a *app) roleList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List roles", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			rs, err := c.Roles(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(rs)
			}
			var rows [][]string
			for _, name := range slices.Sorted(maps.Keys(rs)) {
				rows = append(rows, []string{name, strconv.Itoa(len(rs[name].Privileges)), rs[name].Description})
			}
			return a.table("NAME PRIVILEGES DESCRIPTION", rows)
		}),
	}
}

func (a *app) roleShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ROLE", Short: "A role with its privileges and members", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			r, _, err := c.Role(ctx, args[0])
			if err != nil {
				return err
			}
			ms, err := c.RoleMembers(ctx, args[0])
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(struct {
					client.Role
					Members []client.Principal `json:"members"`
				}{r, ms})
			}
			pairs := []string{"Name", r.Name, "Description", r.Description}
			for _, m := range ms {
				pairs = append(pairs, "Member", m.String())
			}
			for _, p := range r.Privileges {
				pairs = append(pairs, "Privilege", strings.TrimPrefix(p, "PRIVILEGE_"))
			}
			return a.record(pairs...)
		}),
	}
}

func (a *app) rolePrivileges() *cobra.Command {
	return &cobra.Command{
		Use: "privileges", Short: "List all privileges and what they allow", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			ps, err := c.Privileges(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(ps)
			}
			var rows [][]string
			for _, p := range slices.Sorted(maps.Keys(ps)) {
				rows = append(rows, []string{strings.TrimPrefix(p, "PRIVILEGE_"), ps[p]})
			}
			return a.table("PRIVILEGE ALLOWS", rows)
		}),
	}
}

// privileges completes names that were given without their prefix.
func privileges(names []string) []string {
	out := []string{}
	for _, n := range names {
		out = append(out, "PRIVILEGE_"+strings.TrimPrefix(strings.ToUpper(n), "PRIVILEGE_"))
	}
	return out
}

func (a *app) roleAdd() *cobra.Command {
	var r client.Role
	c := &cobra.Command{
		Use: "add NAME", Short: "Add a role", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			r.Name, r.Privileges = args[0], privileges(r.Privileges)
			_, err := c.AddRole(ctx, r)
			return err
		}),
	}
	c.Flags().StringVar(&r.Description, "description", "", "what it is for")
	c.Flags().StringSliceVar(&r.Privileges, "privilege", nil, "a privilege, as QUOTA_READ; may be repeated")
	return c
}

func (a *app) roleModify() *cobra.Command {
	var description string
	var grant, revoke []string
	c := &cobra.Command{Use: "modify ROLE", Short: "Change a role; it counts from the next sign-in on", Args: cobra.ExactArgs(1)}
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		r, etag, err := cl.Role(ctx, args[0])
		if err != nil {
			return err
		}
		if c.Flags().Changed("description") {
			r.Description = description
		}
		for _, p := range privileges(grant) {
			if !slices.Contains(r.Privileges, p) {
				r.Privileges = append(r.Privileges, p)
			}
		}
		gone := privileges(revoke)
		r.Privileges = slices.DeleteFunc(r.Privileges, func(p string) bool { return slices.Contains(gone, p) })
		_, err = cl.ReplaceRole(ctx, r, etag)
		return err
	})
	c.Flags().StringVar(&description, "description", "", "what it is for")
	c.Flags().StringSliceVar(&grant, "grant", nil, "add a privilege; may be repeated")
	c.Flags().StringSliceVar(&revoke, "revoke", nil, "take a privilege away; may be repeated")
	return c
}

func (a *app) roleRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm ROLE", Short: "Remove a role that is not built in", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error { return c.RemoveRole(ctx, args[0]) }),
	}
}

func (a *app) roleAssign() *cobra.Command {
	return &cobra.Command{
		Use: "assign ROLE WHO", Short: "Give a role to local:NAME, uid:N, gid:N or sid:S", Args: cobra.ExactArgs(2),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			_, err := c.AddRoleMember(ctx, args[0], client.Named(args[1]))
			return err
		}),
	}
}

func (a *app) roleUnassign() *cobra.Command {
	return &cobra.Command{
		Use: "unassign ROLE WHO", Short: "Take a role from somebody", Args: cobra.ExactArgs(2),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			i, err := c.FindIdentity(ctx, client.Named(args[1]))
			if err != nil {
				return err
			}
			return c.RemoveRoleMember(ctx, args[0], deref(i.AuthID))
		}),
	}
}
