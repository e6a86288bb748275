package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) fsAggregates() *cobra.Command {
	var o client.AggregateOptions
	var recursive bool
	c := &cobra.Command{
		Use: "aggregates PATH", Short: "Exact totals of a directory and of its largest entries", Args: cobra.ExactArgs(1),
		RunE: a.file(func(ctx context.Context, c *client.Client, r client.Ref, _ []string) error {
			if recursive {
				all, err := c.TreeAggregates(ctx, r, o)
				if err != nil {
					return err
				}
				if a.asJSON {
					return a.json(all)
				}
				var rows [][]string
				for _, t := range all {
					rows = append(rows, totalsRow(t.Path, &t))
				}
				return a.table(totalsHeading, rows)
			}
			t, err := c.Aggregates(ctx, r, o)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(t)
			}
			rows := [][]string{totalsRow(t.Path, &t)}
			for _, e := range t.Entries {
				sub := client.Aggregates{CapacityBytes: e.CapacityBytes, LogicalBytes: e.LogicalBytes, MetadataBytes: e.MetadataBytes,
					Files: e.Files, Directories: e.Directories, Symlinks: e.Symlinks, Others: e.Others}
				rows = append(rows, totalsRow("  "+e.Name+mark(e.Type), &sub))
			}
			return a.table(totalsHeading, rows)
		}),
	}
	c.Flags().BoolVarP(&recursive, "recursive", "r", false, "the whole tree, without what is under a tenth of its directory")
	c.Flags().Uint64Var(&o.Snapshot, "snapshot", 0, "as of this snapshot")
	c.Flags().IntVar(&o.MaxEntries, "max-entries", 0, "only the largest; 0 is the server's choice")
	c.Flags().IntVar(&o.MaxDepth, "max-depth", 0, "levels of the tree; 0 is the server's choice")
	c.Flags().StringVar(&o.OrderBy, "order-by", "", "rank by total_blocks, total_files, total_directories, ...")
	return c
}

const totalsHeading = "PATH CAPACITY SIZE META FILES DIRECTORIES SYMLINKS OTHER"

func totalsRow(name string, t *client.Aggregates) []string {
	return []string{name, bytesText(t.CapacityBytes), t.LogicalBytes.String(), bytesText(t.MetadataBytes),
		t.Files.String(), t.Directories.String(), t.Symlinks.String(), t.Others.String()}
}

func (a *app) fsTreeDelete() *cobra.Command {
	var wait, yes bool
	c := &cobra.Command{
		Use: "tree-delete PATH", Short: "Delete a directory with all below it", Args: cobra.ExactArgs(1),
		Long: `Delete a directory with all below it. Its path is gone when the command returns;
space is freed in the background. The number printed is that of the job.`,
		RunE: a.file(func(ctx context.Context, c *client.Client, r client.Ref, _ []string) error {
			if !yes {
				t, err := c.Aggregates(ctx, r, client.AggregateOptions{MaxEntries: 1})
				if err != nil {
					return err
				}
				return fmt.Errorf("this would delete %s with %s files and %s directories; add --yes if that is meant", t.Path, t.Files, t.Directories)
			}
			id, err := c.StartTreeDelete(ctx, r)
			if err != nil {
				return err
			}
			if a.asJSON {
				err = a.json(map[string]client.ID{"id": id})
			} else {
				_, err = fmt.Fprintln(a.o.Out, id)
			}
			if err != nil || !wait {
				return err
			}
			return a.waitTreeDelete(ctx, c, id)
		}),
	}
	c.Flags().BoolVar(&wait, "wait", false, "return when space has been freed")
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do it")
	return c
}

// waitTreeDelete returns when the job is no more, or when it cannot go on.
func (a *app) waitTreeDelete(ctx context.Context, c *client.Client, id client.ID) error {
	pause := 50 * time.Millisecond
	var m *meter
	defer func() {
		if m != nil {
			m.end()
		}
	}()
	for {
		job, err := c.TreeDelete(ctx, id)
		switch {
		case client.IsStatus(err, 404):
			return nil
		case err != nil:
			return err
		case job.LastError != nil:
			return fmt.Errorf("tree deletion %s: %s", id, *job.LastError)
		}
		if m == nil {
			m = a.meter("freed", int64(job.InitialCapacity))
		}
		m.set(int64(job.InitialCapacity - min(job.RemainingCapacity, job.InitialCapacity)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, 2*time.Second)
	}
}

func (a *app) fsTreeDeleteStatus() *cobra.Command {
	return &cobra.Command{
		Use: "tree-delete-status [ID]", Short: "Running deletions of trees", Args: cobra.MaximumNArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			var jobs []client.TreeDelete
			var err error
			if len(args) == 1 {
				var id client.ID
				if err = id.UnmarshalText([]byte(args[0])); err == nil {
					jobs = make([]client.TreeDelete, 1)
					jobs[0], err = c.TreeDelete(ctx, id)
				}
			} else {
				jobs, err = c.TreeDeletes(ctx)
			}
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(jobs)
			}
			var rows [][]string
			for _, j := range jobs {
				last := ""
				if j.LastError != nil {
					last = *j.LastError
				}
				rows = append(rows, []string{j.ID.String(), j.InitialPath, j.RemainingFiles.String() + "/" + j.InitialFiles.String(), bytesText(j.RemainingCapacity), last})
			}
			return a.table("ID PATH FILES CAPACITY ERROR", rows)
		}),
	}
}

func (a *app) fsTreeDeleteCancel() *cobra.Command {
	return a.treeDeleteVerb("tree-delete-cancel", "Stop a deletion; what is gone stays gone", (*client.Client).CancelTreeDelete)
}

func (a *app) fsTreeDeleteRestart() *cobra.Command {
	return a.treeDeleteVerb("tree-delete-restart", "Go on with a deletion that met an error", (*client.Client).RestartTreeDelete)
}

func (a *app) treeDeleteVerb(verb, short string, do func(*client.Client, context.Context, client.ID) error) *cobra.Command {
	return a.verb(verb+" ID", short, cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
		var id client.ID
		if err := id.UnmarshalText([]byte(args[0])); err != nil {
			return err
		}
		return do(c, ctx, id)
	})
}

var units = []struct {
	name string
	size uint64
}{
	{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"TIB", 1 << 40}, {"PIB", 1 << 50}, {"EIB", 1 << 60},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"PB", 1e15}, {"EB", 1e18},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"P", 1 << 50}, {"E", 1 << 60}, {"B", 1},
}

// size reads bytes with an optional unit: 100, 10GiB, 5TB; K, M, G and so on are binary.
func size(s string) (client.Number, error) {
	digits, factor := strings.ToUpper(s), uint64(1)
	for _, u := range units {
		if d, ok := strings.CutSuffix(digits, u.name); ok {
			digits, factor = strings.TrimSpace(d), u.size
			break
		}
	}
	var n client.Number
	if err := n.UnmarshalText([]byte(digits)); err != nil || digits == "" || uint64(n) > ^uint64(0)/factor {
		return 0, fmt.Errorf("%q: want a number of bytes with an optional unit, as 500GiB", s)
	}
	return n * client.Number(factor), nil
}

// bytesText renders bytes in the largest binary unit of which there are enough.
func bytesText(n client.Number) string {
	v, i := float64(n), -1
	for v >= 1024 && i < 5 {
		v, i = v/1024, i+1
	}
	if i < 0 {
		return n.String() + "B"
	}
	return fmt.Sprintf("%.1f%ciB", v, "KMGTPE"[i])
}
