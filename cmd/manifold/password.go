package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"manifold/internal/node"
	"manifold/internal/settings"
)

func newAdminPassword() *cobra.Command {
	var (
		lf  logFlags
		dir string
	)
	c := &cobra.Command{
		Use:   "reset-admin-password --data DIR",
		Short: "Set the password of the user admin while the server is stopped",
		Long: "For whoever has lost it: sets the password of the user admin to MANIFOLD_ADMIN_PASSWORD or, without\n" +
			"that variable, to a new one that it prints. The server must be stopped.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := lf.logger()
			if err != nil {
				return err
			}
			given := settings.Secret(os.Getenv("MANIFOLD_ADMIN_PASSWORD"))
			p, err := node.ResetAdminPassword(c.Context(), dir, given, log)
			if err != nil {
				return err
			}
			if given != "" {
				p = "as in MANIFOLD_ADMIN_PASSWORD"
			}
			if term.IsTerminal(int(os.Stdout.Fd())) {
				p = "The password of the user admin is now: " + p
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), p)
			return err
		},
	}
	c.Flags().StringVar(&dir, "data", "", "data directory `DIR` (required)")
	lf.register(c)
	_ = c.MarkFlagRequired("data")
	return c
}
