package cli

import (
	"context"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) quotaCommand() *cobra.Command {
	return noun("quota", "Limits on the capacity of directories", a.quotaList(), a.quotaShow(), a.quotaSet(), a.quotaRemove())
}

func (a *app) quotaList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List quotas with usage", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			qs, err := collect(c.Quotas(ctx))
			if err != nil {
				return err
			}
			return listing(a, qs, "ID PATH LIMIT USAGE", func(q *client.Quota) []string {
				return []string{q.ID.String(), q.Path, bytesText(q.Limit), bytesText(q.Usage)}
			})
		}),
	}
}

// directory wraps a command whose first argument is a directory, given to fn by its id.
func (a *app) directory(fn func(ctx context.Context, c *client.Client, id client.ID, args []string) error) func(*cobra.Command, []string) error {
	return a.file(func(ctx context.Context, c *client.Client, r client.Ref, args []string) error {
		at, err := c.Attributes(ctx, r, 0)
		if err != nil {
			return err
		}
		return fn(ctx, c, at.ID, args)
	})
}

func (a *app) quotaShow() *cobra.Command {
	return &cobra.Command{
		Use: "show PATH", Short: "The quota of a directory", Args: cobra.ExactArgs(1),
		RunE: a.directory(func(ctx context.Context, c *client.Client, id client.ID, _ []string) error {
			q, err := c.Quota(ctx, id)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(q)
			}
			return a.record("Path", q.Path, "Id", q.ID.String(), "Limit", q.Limit.String(), "Usage", q.Usage.String())
		}),
	}
}

func (a *app) quotaSet() *cobra.Command {
	return &cobra.Command{
		Use: "set PATH LIMIT", Short: "Set or change the quota of a directory, as 500GiB", Args: cobra.ExactArgs(2),
		RunE: a.directory(func(ctx context.Context, c *client.Client, id client.ID, args []string) error {
			limit, err := size(args[0])
			if err != nil {
				return err
			}
			err = c.CreateQuota(ctx, id, limit)
			if client.IsClass(err, "api_quotas_quota_limit_already_set_error") {
				err = c.ChangeQuota(ctx, id, limit, "")
			}
			return err
		}),
	}
}

func (a *app) quotaRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm PATH", Short: "Remove the quota of a directory", Args: cobra.ExactArgs(1),
		RunE: a.directory(func(ctx context.Context, c *client.Client, id client.ID, _ []string) error {
			return c.RemoveQuota(ctx, id)
		}),
	}
}
