package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) nodeCommand() *cobra.Command {
	return noun("node", "The server", a.nodeVersion(), a.nodeState(), a.nodeFileSystem(), a.nodePorts())
}

func (a *app) nodeVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Version of the server", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			v, err := c.Version(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(v)
			}
			return a.record("Server", v.BuildID, "Interface", v.RevisionID, "Built", v.BuildDate)
		}),
	}
}

func (a *app) nodeState() *cobra.Command {
	return &cobra.Command{
		Use: "state", Short: "State of the server", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.NodeState(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(s)
			}
			return a.record("Node", strconv.Itoa(s.NodeID), "State", s.State, "Cluster", s.ClusterID)
		}),
	}
}

func (a *app) nodeFileSystem() *cobra.Command {
	return &cobra.Command{
		Use: "df", Short: "Size, free space and space of snapshots", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.FileSystem(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(s)
			}
			return a.record("Size", bytesText(s.TotalBytes), "Free", bytesText(s.FreeBytes), "Snapshots", bytesText(s.SnapshotBytes))
		}),
	}
}

func (a *app) rawCommand() *cobra.Command {
	var ifMatch string
	c := &cobra.Command{
		Use:   "raw METHOD PATH [BODY]",
		Short: "Send one request of the REST API and print the answer",
		Long: `Send one request of the REST API and print the answer. BODY is JSON, or - for
standard input. A file is one segment of the path, URL-encoded:

  manifold raw GET /v1/files/%2Fa%2Fb/info/attributes`,
		Args: cobra.RangeArgs(2, 3),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			if !strings.HasPrefix(args[1], "/") {
				return errors.New("the path begins with /")
			}
			r := client.Request{Method: strings.ToUpper(args[0]), Path: args[1], IfMatch: ifMatch}
			if len(args) == 3 {
				b := []byte(args[2])
				if args[2] == "-" {
					var err error
					if b, err = io.ReadAll(a.o.In); err != nil {
						return err
					}
				}
				if !json.Valid(b) {
					return errors.New("the body is not JSON")
				}
				r.Body = json.RawMessage(b)
			}
			resp, err := c.Send(ctx, r)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			n, err := io.Copy(a.o.Out, resp.Body)
			if err == nil && n > 0 && resp.Header.Get("Content-Type") == "application/json" {
				_, err = io.WriteString(a.o.Out, "\n")
			}
			return err
		}),
	}
	c.Flags().StringVar(&ifMatch, "if-match", "", "entity tag that the object must still have")
	return c
}
