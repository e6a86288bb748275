package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) ftpCommand() *cobra.Command {
	on, off := a.toggle("Switch FTP on", "Switch FTP off; connections end", func(ctx context.Context, c *client.Client, on bool) error {
		return a.changeFTP(ctx, c, func(v *client.FTPSettings) { v.Enabled = on })
	})
	return noun("ftp", "The FTP server", a.ftpShow(), on, off, a.ftpModify())
}

func (a *app) ftpShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Settings of the FTP server and its state on each node", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			v, _, err := c.FTPSettings(ctx)
			if err != nil {
				return err
			}
			return a.printFTP(ctx, c, v)
		}),
	}
}

func (a *app) printFTP(ctx context.Context, c *client.Client, v client.FTPSettings) error {
	nodes, err := c.FTPStatus(ctx)
	if err != nil {
		return err
	}
	if a.asJSON {
		return a.json(struct {
			client.FTPSettings
			Statuses []client.NodeStatus `json:"statuses"`
		}{v, nodes})
	}
	anonymous := "none"
	if v.AnonymousUser != nil {
		anonymous = v.AnonymousUser.Value
	}
	b := strconv.FormatBool
	pairs := []string{"Enabled", b(v.Enabled), "Unencrypted connections", b(v.AllowUnencryptedConnections), "Users confined to their home", b(v.ChrootUsers),
		"Data connections from the same host only", b(v.CheckRemoteHost), "Wildcards", b(v.ExpandWildcards), "Operations logged", b(v.LogOperations),
		"Anonymous user", anonymous, "Greeting", v.Greeting}
	return a.record(append(pairs, nodePairs(nodes)...)...)
}

func nodePairs(nodes []client.NodeStatus) []string {
	var out []string
	for _, n := range nodes {
		text := n.Status
		if n.Error != "" {
			text += ": " + n.Error
		}
		out = append(out, "Node "+strconv.Itoa(n.NodeID), text)
	}
	return out
}

// changeFTP changes what is there, and nothing that somebody else changed.
func (a *app) changeFTP(ctx context.Context, c *client.Client, change func(*client.FTPSettings)) error {
	v, etag, err := c.FTPSettings(ctx)
	if err != nil {
		return err
	}
	change(&v)
	if v, err = c.SetFTPSettings(ctx, v, etag); err != nil {
		return err
	}
	return a.printFTP(ctx, c, v)
}

func (a *app) ftpModify() *cobra.Command {
	var n client.FTPSettings
	var anonymous string
	c := &cobra.Command{Use: "modify", Short: "Change settings of the FTP server", Args: cobra.NoArgs}
	f := c.Flags()
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		return a.changeFTP(ctx, cl, func(v *client.FTPSettings) {
			for name, m := range map[string]struct{ to, from *bool }{
				"allow-unencrypted": {&v.AllowUnencryptedConnections, &n.AllowUnencryptedConnections}, "chroot-users": {&v.ChrootUsers, &n.ChrootUsers},
				"check-remote-host": {&v.CheckRemoteHost, &n.CheckRemoteHost}, "expand-wildcards": {&v.ExpandWildcards, &n.ExpandWildcards},
				"log-operations": {&v.LogOperations, &n.LogOperations}, "enabled": {&v.Enabled, &n.Enabled},
			} {
				if f.Changed(name) {
					*m.to = *m.from
				}
			}
			if f.Changed("greeting") {
				v.Greeting = n.Greeting
			}
			switch {
			case !f.Changed("anonymous-user"):
			case anonymous == "":
				v.AnonymousUser = nil
			default:
				v.AnonymousUser = &client.Identity{Type: "LOCAL_USER", Value: anonymous}
			}
		})
	})
	f.BoolVar(&n.Enabled, "enabled", false, "serve FTP")
	f.BoolVar(&n.AllowUnencryptedConnections, "allow-unencrypted", false, "let users log in without TLS")
	f.BoolVar(&n.ChrootUsers, "chroot-users", false, "confine users to their home directory")
	f.BoolVar(&n.CheckRemoteHost, "check-remote-host", true, "take data connections from the client's own host only; off allows FXP")
	f.BoolVar(&n.ExpandWildcards, "expand-wildcards", false, "take patterns in the last component of LIST and NLST")
	f.BoolVar(&n.LogOperations, "log-operations", false, "log every command that reads or changes files")
	f.StringVar(&anonymous, "anonymous-user", "", "local user that anonymous logins act for; empty for none")
	f.StringVar(&n.Greeting, "greeting", "", "text that clients are greeted with")
	return c
}
