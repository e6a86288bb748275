package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) snapshotCommand() *cobra.Command {
	return noun("snapshot", "Snapshots of directories",
		a.snapshotCreate(), a.snapshotList(), a.snapshotShow(), a.snapshotModify(), a.snapshotDelete(), a.snapshotCapacity(), a.snapshotDiff(), a.snapshotFileDiff(),
		a.snapshotLock(), a.snapshotUnlock(), a.policyCommand(), a.keyCommand())
}

func snapshotID(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is no snapshot id", s)
	}
	return n, nil
}

func expiry(s *client.Snapshot) string {
	if s.Expiration == nil {
		return "never"
	}
	return s.Expiration.Format(time.RFC3339)
}

func (a *app) showSnapshot(s *client.Snapshot) error {
	if a.asJSON {
		return a.json(s)
	}
	return a.record("Id", strconv.FormatUint(s.ID, 10), "Name", s.Name, "Directory", s.SourcePath, "Directory id", s.Source.String(),
		"Taken", s.Timestamp.Format(time.RFC3339Nano), "Expires", expiry(s), "In deletion", strconv.FormatBool(s.InDelete))
}

func (a *app) snapshotCreate() *cobra.Command {
	var n client.NewSnapshot
	var expires string
	c := &cobra.Command{
		Use: "create PATH", Short: "Take a snapshot of a directory", Args: cobra.ExactArgs(1),
		RunE: a.file(func(ctx context.Context, c *client.Client, r client.Ref, _ []string) error {
			n.Dir = r
			if expires != "" && n.TimeToLive != "" {
				return errors.New("--expires and --ttl: want one of them")
			}
			var err error
			if n.Expires, err = expiryTime(expires); err != nil {
				return err
			}
			s, err := c.TakeSnapshot(ctx, n)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(s)
			}
			_, err = fmt.Fprintln(a.o.Out, s.ID, printable(s.Name))
			return err
		}),
	}
	c.Flags().StringVar(&n.Suffix, "name", "", "what follows the id in the name")
	c.Flags().StringVar(&n.TimeToLive, "ttl", "", "delete it after so long: 15minutes, 12hours, 7days, 4weeks, 6months")
	c.Flags().StringVar(&expires, "expires", "", "delete it at a time as 2030-01-31T00:00:00Z; otherwise never")
	return c
}

// expiryTime reads when something expires; nil is never.
func expiryTime(s string) (*time.Time, error) {
	if s == "" || s == "never" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return nil, fmt.Errorf("--expires %q: want a time as 2030-01-31T00:00:00Z, or never", s)
	}
	return &t, nil
}

func (a *app) snapshotList() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List snapshots", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			ss, err := c.Snapshots(ctx, all)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(ss)
			}
			var rows [][]string
			for _, s := range ss {
				state := ""
				if s.InDelete {
					state = "in deletion"
				}
				rows = append(rows, []string{strconv.FormatUint(s.ID, 10), s.Name, s.SourcePath, s.Timestamp.Local().Format(time.DateTime), expiry(&s), state})
			}
			return a.table("ID NAME DIRECTORY TAKEN EXPIRES STATE", rows)
		}),
	}
	c.Flags().BoolVar(&all, "all", false, "also those in deletion")
	return c
}

// snapshotVerb wraps a command whose first argument is a snapshot.
func (a *app) snapshotVerb(fn func(context.Context, *client.Client, uint64) error) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, c *client.Client, args []string) error {
		id, err := snapshotID(args[0])
		if err != nil {
			return err
		}
		return fn(ctx, c, id)
	})
}

func (a *app) snapshotShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "One snapshot", Args: cobra.ExactArgs(1),
		RunE: a.snapshotVerb(func(ctx context.Context, c *client.Client, id uint64) error {
			s, err := c.Snapshot(ctx, id)
			if err != nil {
				return err
			}
			return a.showSnapshot(&s)
		}),
	}
}

func (a *app) snapshotModify() *cobra.Command {
	var expires string
	c := &cobra.Command{
		Use: "modify ID --expires TIME", Short: "Change when a snapshot expires", Args: cobra.ExactArgs(1),
		RunE: a.snapshotVerb(func(ctx context.Context, c *client.Client, id uint64) error {
			if expires == "" {
				return errors.New("--expires is missing: a time as 2030-01-31T00:00:00Z, or never")
			}
			at, err := expiryTime(expires)
			if err != nil {
				return err
			}
			_, err = c.ExpireSnapshot(ctx, id, at, "")
			return err
		}),
	}
	c.Flags().StringVar(&expires, "expires", "", "a time as 2030-01-31T00:00:00Z, or never")
	return c
}

func (a *app) snapshotCapacity() *cobra.Command {
	return &cobra.Command{
		Use: "capacity [ID...]", Short: "Space that would be free without each snapshot, or without those together", Args: cobra.ArbitraryArgs,
		Long: "Shows for each snapshot the space that would be free without it alone, or what would be free without the given ones\ntogether. What several snapshots keep is free only without all of them. Figures are estimates where snapshots keep much.",
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			if len(args) > 0 {
				var ids []uint64
				for _, s := range strings.Split(strings.Join(args, ","), ",") {
					id, err := snapshotID(s)
					if err != nil {
						return err
					}
					ids = append(ids, id)
				}
				n, err := c.SnapshotsKeep(ctx, ids)
				if err != nil {
					return err
				}
				if a.asJSON {
					return a.json(map[string]client.Number{"bytes": n})
				}
				_, err = fmt.Fprintln(a.o.Out, bytesText(n))
				return err
			}
			all, err := c.SnapshotCapacities(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(all)
			}
			var rows [][]string
			for _, s := range all {
				rows = append(rows, []string{strconv.FormatUint(s.ID, 10), bytesText(s.Bytes)})
			}
			return a.table("ID FREED", rows)
		}),
	}
}

func (a *app) snapshotDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete a snapshot; space is freed in the background", Args: cobra.ExactArgs(1),
		RunE: a.snapshotVerb(func(ctx context.Context, c *client.Client, id uint64) error { return c.DeleteSnapshot(ctx, id) }),
	}
}

func (a *app) snapshotDiff() *cobra.Command {
	return &cobra.Command{
		Use: "diff OLDER NEWER", Short: "What changed between two snapshots of a directory", Args: cobra.ExactArgs(2),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			older, err := snapshotID(args[0])
			if err != nil {
				return err
			}
			newer, err := snapshotID(args[1])
			if err != nil {
				return err
			}
			all := []client.Change{}
			for ch, err := range c.Changes(ctx, newer, older) {
				if err != nil {
					return err
				}
				if a.asJSON {
					all = append(all, ch)
					continue
				}
				if _, err := fmt.Fprintf(a.o.Out, "%-6s  %s\n", ch.Op, printable(ch.Path)); err != nil {
					return err
				}
			}
			if a.asJSON {
				return a.json(all)
			}
			return nil
		}),
	}
}
