package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) sshCommand() *cobra.Command {
	on, off := a.toggle("Switch SSH on", "Switch SSH off; connections end", func(ctx context.Context, c *client.Client, on bool) error {
		return a.changeSSH(ctx, c, func(v *client.SSHSettings) { v.Enabled = on })
	})
	return noun("ssh", "The SSH server: shell and SFTP", a.sshShow(), on, off, a.sshModify(), a.sshHostKeys(),
		noun("key", "Public keys with which local users log in", a.sshKeyList(), a.sshKeyAdd(), a.sshKeyRemove()))
}

func (a *app) sshShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Settings of the SSH server and its state on each node", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			v, _, err := c.SSHSettings(ctx)
			if err != nil {
				return err
			}
			return a.printSSH(ctx, c, v)
		}),
	}
}

func (a *app) printSSH(ctx context.Context, c *client.Client, v client.SSHSettings) error {
	nodes, err := c.SSHStatus(ctx)
	if err != nil {
		return err
	}
	if a.asJSON {
		return a.json(struct {
			client.SSHSettings
			Statuses []client.NodeStatus `json:"statuses"`
		}{v, nodes})
	}
	b := strconv.FormatBool
	return a.record(append([]string{"Enabled", b(v.Enabled), "SFTP", b(v.SFTPEnabled), "Passwords", b(v.PasswordAuthentication), "Users confined to their home", b(v.ChrootUsers)}, nodePairs(nodes)...)...)
}

func (a *app) changeSSH(ctx context.Context, c *client.Client, change func(*client.SSHSettings)) error {
	v, etag, err := c.SSHSettings(ctx)
	if err != nil {
		return err
	}
	change(&v)
	if v, err = c.SetSSHSettings(ctx, v, etag); err != nil {
		return err
	}
	return a.printSSH(ctx, c, v)
}

func (a *app) sshModify() *cobra.Command {
	var n client.SSHSettings
	c := &cobra.Command{Use: "modify", Short: "Change settings of the SSH server", Args: cobra.NoArgs}
	f := c.Flags()
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		return a.changeSSH(ctx, cl, func(v *client.SSHSettings) {
			for name, m := range map[string]struct{ to, from *bool }{
				"sftp": {&v.SFTPEnabled, &n.SFTPEnabled}, "passwords": {&v.PasswordAuthentication, &n.PasswordAuthentication}, "chroot-users": {&v.ChrootUsers, &n.ChrootUsers},
			} {
				if f.Changed(name) {
					*m.to = *m.from
				}
			}
		})
	})
	f.BoolVar(&n.SFTPEnabled, "sftp", true, "serve files by SFTP")
	f.BoolVar(&n.PasswordAuthentication, "passwords", true, "let users log in with their password; off demands a public key")
	f.BoolVar(&n.ChrootUsers, "chroot-users", false, "confine users of SFTP to their home directory")
	return c
}

func (a *app) sshHostKeys() *cobra.Command {
	return &cobra.Command{
		Use: "host-keys", Short: "Public keys by which clients know this server", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			ks, err := c.SSHHostKeys(ctx)
			if err != nil {
				return err
			}
			return listing(a, ks, "FINGERPRINT TYPE", func(k *client.SSHKey) []string { return []string{k.Fingerprint, k.Type} })
		}),
	}
}

func (a *app) sshKeyList() *cobra.Command {
	return &cobra.Command{
		Use: "list USER", Short: "Public keys of a local user", Args: cobra.ExactArgs(1),
		RunE: a.named(func(ctx context.Context, c *client.Client, u client.LocalUser, _ []string) error {
			ks, err := c.SSHKeys(ctx, u.ID)
			if err != nil {
				return err
			}
			return listing(a, ks, "FINGERPRINT TYPE CREATED COMMENT", func(k *client.SSHKey) []string {
				return []string{k.Fingerprint, k.Type, k.Created, k.Comment}
			})
		}),
	}
}

func (a *app) sshKeyAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add USER [FILE]", Short: "Let a local user log in with the public key in a file or on standard input", Args: cobra.RangeArgs(1, 2),
		RunE: a.named(func(ctx context.Context, c *client.Client, u client.LocalUser, args []string) error {
			b, err := a.read(append(args, "-")[0], 64<<10)
			if err != nil {
				return err
			}
			k, err := c.AddSSHKey(ctx, u.ID, string(b))
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(k)
			}
			_, err = fmt.Fprintln(a.o.Out, k.Fingerprint)
			return err
		}),
	}
}

func (a *app) sshKeyRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm USER FINGERPRINT", Short: "Take a public key away; the user's SSH connections end", Args: cobra.ExactArgs(2),
		RunE: a.named(func(ctx context.Context, c *client.Client, u client.LocalUser, args []string) error {
			return c.RemoveSSHKey(ctx, u.ID, args[0])
		}),
	}
}
