package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"manifold/internal/node"
	"manifold/internal/settings"
)

func newServe() *cobra.Command {
	var (
		pf portFlags
		lf logFlags
		o  node.Options
	)
	c := &cobra.Command{
		Use:   "serve --data DIR",
		Short: "Run the server",
		Long: "Serves the file system in DIR, which the first start makes. Stops on SIGTERM or SIGINT\n" +
			"after finishing what is under way; a second signal ends it at once.\n\n" +
			"The first start takes the password of the user admin from MANIFOLD_ADMIN_PASSWORD. Without it one\n" +
			"is made, and shown on the terminal or, where there is none, left in DIR/initial-admin-password.",
		Example: "  manifold serve --data /srv/manifold\n  manifold serve --data ./data --port-offset 20000\n  manifold serve --data ./data --listen 127.0.0.1 --port rest=18000 --disable rpcbind",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var err error
			if o.Ports, err = pf.options(); err != nil {
				return err
			}
			if o.Logger, err = lf.logger(); err != nil {
				return err
			}
			o.AdminPassword = settings.Secret(os.Getenv("MANIFOLD_ADMIN_PASSWORD"))
			o.Out = c.OutOrStdout()
			o.Terminal = term.IsTerminal(int(os.Stdout.Fd()))
			return node.Serve(c.Context(), o)
		},
	}
	fl := c.Flags()
	fl.StringVar(&o.DataDir, "data", "", "data directory `DIR` (required)")
	pf.registerListen(c)
	pf.register(c)
	fl.DurationVar(&o.Drain, "drain", 20*time.Second, "how long stopping waits for what is under way")
	fl.DurationVar(&o.SlowOp, "slow-operation", 5*time.Second, "log calls and requests that take at least this long")
	fl.BoolVar(&o.StrictLocking, "strict-locking", false, "make locks and share modes of SMB bind NFS and other protocols, and locks of NFS bind SMB")
	lf.register(c)
	_ = c.MarkFlagRequired("data")
	return c
}
