package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"manifold/client"
)

// scrubCommand works on a server that runs. The root command adds what works on
// a stopped data directory.
func (a *app) scrubCommand() *cobra.Command {
	return noun("scrub", "Verify every stored byte against its checksum", a.scrubStart(), a.scrubStatus(), a.scrubStop())
}

func (a *app) scrubStart() *cobra.Command {
	var mib uint64
	var wait bool
	c := &cobra.Command{
		Use: "start", Short: "Begin a scrub of a running server; one that runs already goes on", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.StartScrub(ctx, client.Number(mib<<20))
			if err != nil {
				return err
			}
			if wait {
				if s, err = c.WaitScrub(ctx, func(s client.Scrub) {
					fmt.Fprintf(a.o.Err, "%d extents, %d bytes verified, %d findings\n", s.Extents, s.Bytes, s.Findings)
				}); err != nil {
					return err
				}
			}
			return a.showScrub(s, wait)
		}),
	}
	c.Flags().Uint64Var(&mib, "rate", 0, "read at most `MIB` a second; 0 is no limit")
	c.Flags().BoolVar(&wait, "wait", false, "wait for its end, and fail if something is damaged")
	return c
}

func (a *app) scrubStatus() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "The running scrub of a server, else the last", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.Scrub(ctx)
			if err != nil {
				return err
			}
			return a.showScrub(s, false)
		}),
	}
}

func (a *app) scrubStop() *cobra.Command {
	return &cobra.Command{
		Use: "stop", Short: "Stop the running scrub of a server", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.StopScrub(ctx)
			if err != nil {
				return err
			}
			return a.showScrub(s, false)
		}),
	}
}

func (a *app) showScrub(s client.Scrub, failOnDamage bool) error {
	var err error
	if a.asJSON {
		err = a.json(s)
	} else {
		state := "never done"
		switch {
		case s.Running:
			state = "running"
		case s.Complete:
			state = "complete"
		case s.Start != "":
			state = "stopped before its end"
		}
		number := func(n client.Number) string { return strconv.FormatUint(uint64(n), 10) }
		pairs := []string{"State", state, "Started", s.Start, "Ended", s.End, "Extents", number(s.Extents), "Bytes", number(s.Bytes), "Findings", number(s.Findings)}
		for _, d := range s.Damage {
			pairs = append(pairs, "Damage", d)
		}
		err = a.record(pairs...)
	}
	if err == nil && failOnDamage && (s.Findings > 0 || !s.Complete) {
		return fmt.Errorf("the scrub is not clean")
	}
	return err
}
