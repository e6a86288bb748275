package cli

import (
	"context"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) auditCommand() *cobra.Command {
	return noun("audit", "The audit log", a.auditShow(), a.auditSend(), a.auditOff())
}

func (a *app) auditShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Where audit records go, and how the connection is", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			v, err := c.AuditConfig(ctx)
			if err != nil {
				return err
			}
			s, err := c.AuditStatus(ctx)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(struct {
					client.AuditConfig
					client.AuditStatus
				}{v, s})
			}
			return a.record("Enabled", strconv.FormatBool(v.Enabled), "Server", net.JoinHostPort(v.Server, strconv.Itoa(int(v.Port))), "Format", v.Format,
				"Connection", s.Status, "Error", s.Message, "Details", s.Details)
		}),
	}
}

func (a *app) auditSend() *cobra.Command {
	v := client.AuditConfig{Enabled: true}
	c := &cobra.Command{
		Use: "send SERVER", Short: "Send audit records to a syslog server, over TCP", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			v.Server = args[0]
			_, err := c.SetAuditConfig(ctx, v)
			return err
		}),
	}
	c.Flags().Uint16Var(&v.Port, "server-port", 514, "TCP port of the syslog server")
	c.Flags().StringVar(&v.Format, "format", "csv", "csv or json")
	return c
}

func (a *app) auditOff() *cobra.Command {
	return &cobra.Command{
		Use: "off", Short: "Record nothing any more", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			v, err := c.AuditConfig(ctx)
			if err != nil {
				return err
			}
			v.Enabled = false
			_, err = c.SetAuditConfig(ctx, v)
			return err
		}),
	}
}
