// Command manifold is the file server and its command line.
//
// It parses, wires up and exits; everything else is in internal/node and
// internal/control/cli. It must hold no logic of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"manifold/internal/control/cli"
)

func main() { os.Exit(run()) }

func run() int {
	// The first signal asks to stop, the second kills: stop() gives the
	// default action back as soon as the context has ended.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	err := newRoot().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var code exitError
	if errors.As(err, &code) {
		if code.err != nil {
			fmt.Fprintln(os.Stderr, "manifold:", code.err)
		}
		return code.status
	}
	fmt.Fprintln(os.Stderr, "manifold:", err)
	return 1
}

// exitError ends the process with a status of its own.
type exitError struct {
	status int
	err    error
}

func (e exitError) Error() string { return fmt.Sprint(e.err) }

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "manifold",
		Short:         "One file system, many protocols",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.AddGroup(&cobra.Group{ID: "here", Title: "On this machine:"}, &cobra.Group{ID: "api", Title: "Through the REST API of a server:"})
	addGroup(root, "here", newServe(), newFsck(), newBench(), newPorts(), newAdminPassword(), newVersion(), newMan())
	remote := cli.New(cli.Options{})
	addGroup(root, "api", remote...)
	for _, c := range remote {
		if c.Name() == "scrub" {
			addOfflineScrub(c)
		}
	}
	return root
}

func addGroup(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		root.AddCommand(c)
	}
}
