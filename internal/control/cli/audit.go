package cli

import (
	"context"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) auditCommand() *cobra.Command {
	return noun("audit", "The audit log", a.auditShow(), a.auditSend(), a.auditLocal(), a.auditOff())
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
			return a.record("Enabled", strconv.FormatBool(v.Enabled), "Server", net.JoinHostPort(v.Server, strconv.Itoa(int(v.Port))), "TLS", strconv.FormatBool(v.TLS), "Format", v.Format,
				"Kept here", strconv.FormatBool(v.Local), "Connection", s.Status, "Error", s.Message, "Details", s.Details)
		}),
	}
}

// setAudit changes a part of where audit records go.
func (a *app) setAudit(change func(v *client.AuditConfig, args []string)) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, c *client.Client, args []string) error {
		v, err := c.AuditConfig(ctx)
		if err != nil {
			return err
		}
		change(&v, args)
		_, err = c.SetAuditConfig(ctx, v)
		return err
	})
}

func (a *app) auditSend() *cobra.Command {
	var in client.AuditConfig
	c := &cobra.Command{
		Use: "send SERVER", Short: "Send audit records to a syslog server, over TCP or TLS", Args: cobra.ExactArgs(1),
		RunE: a.setAudit(func(v *client.AuditConfig, args []string) {
			v.Enabled, v.Server, v.Port, v.TLS, v.Format = true, args[0], in.Port, in.TLS, in.Format
		}),
	}
	c.Flags().Uint16Var(&in.Port, "server-port", 514, "TCP port of the syslog server")
	c.Flags().BoolVar(&in.TLS, "tls", false, "encrypt; the server must prove its name to the system's authorities or those of the cluster")
	c.Flags().StringVar(&in.Format, "format", "csv", "csv or json")
	return c
}

func (a *app) auditLocal() *cobra.Command {
	off := false
	c := &cobra.Command{
		Use: "local", Short: "Keep audit records on the node, too, in audit/audit.log of its data directory", Args: cobra.NoArgs,
		RunE: a.setAudit(func(v *client.AuditConfig, _ []string) { v.Local = !off }),
	}
	c.Flags().BoolVar(&off, "off", false, "keep none any more")
	return c
}

func (a *app) auditOff() *cobra.Command {
	return &cobra.Command{
		Use: "off", Short: "Send records nowhere any more", Args: cobra.NoArgs,
		RunE: a.setAudit(func(v *client.AuditConfig, _ []string) { v.Enabled = false }),
	}
}
