package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) lockCommands() []*cobra.Command { return []*cobra.Command{a.lockList(), a.lockRelease()} }

func (a *app) lockList() *cobra.Command {
	var f client.LockFilter
	var file string
	c := &cobra.Command{
		Use: "list", Short: "List byte-range locks of NFSv3 clients, and requests that wait", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) (err error) {
			if file != "" {
				if f.OwnerName != "" || f.OwnerAddress != "" {
					return errors.New("--file excludes --client and --address")
				}
				if f.File, err = ref(file); err != nil {
					return err
				}
			}
			var out struct {
				Grants  []client.Lock `json:"grants"`
				Waiters []client.Lock `json:"waiters"`
			}
			var rows [][]string
			row := func(l *client.Lock, state string) {
				mode, size := "shared", l.Size.String()
				if l.Exclusive() {
					mode = "exclusive"
				}
				if l.Size == 0 {
					size = "end"
				}
				rows = append(rows, []string{l.FileID.String(), state, mode, l.Offset.String(), size, l.OwnerName, l.OwnerAddress, l.OwnerID})
			}
			if out.Grants, err = collect(c.Locks(ctx, f)); err != nil {
				return err
			}
			if out.Waiters, err = collect(c.LockWaiters(ctx, f)); err != nil {
				return err
			}
			if a.asJSON {
				return a.json(out)
			}
			for i := range out.Grants {
				row(&out.Grants[i], "held")
			}
			for i := range out.Waiters {
				row(&out.Waiters[i], "waiting")
			}
			return a.table("FILE STATE MODE OFFSET SIZE CLIENT ADDRESS OWNER", rows)
		}),
	}
	c.Flags().StringVar(&file, "file", "", "only those of a file")
	c.Flags().StringVar(&f.OwnerName, "client", "", "only those of the client of that name")
	c.Flags().StringVar(&f.OwnerAddress, "address", "", "only those of the client at that address")
	return c
}

func (a *app) lockRelease() *cobra.Command {
	var file, owner, name, address string
	var offset, length uint64
	c := &cobra.Command{
		Use: "release", Short: "Free the locks of a client that is gone, or an owner's locks in a file",
		Long: `Free the locks of a client that is gone, by --client and --address as listed, or an
owner's locks in a file, by --file and --owner. Whoever still uses a lock is not
told that it is lost: two clients may then write where only one should.`,
		Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			byFile, byClient := file != "" || owner != "", name != "" || address != ""
			switch {
			case byFile == byClient || byFile && (file == "" || owner == ""):
				return errors.New("want --client or --address or both, or --file with --owner")
			case byClient:
				return c.ReleaseClientLocks(ctx, name, address)
			}
			r, err := ref(file)
			if err != nil {
				return err
			}
			return c.ReleaseLock(ctx, r, 0, owner, client.Number(offset), client.Number(length))
		}),
	}
	f := c.Flags()
	f.StringVar(&name, "client", "", "name of the client")
	f.StringVar(&address, "address", "", "address of the client")
	f.StringVar(&file, "file", "", "file of the lock")
	f.StringVar(&owner, "owner", "", "owner of the lock, as listed")
	f.Uint64Var(&offset, "offset", 0, "first byte to free")
	f.Uint64Var(&length, "size", 0, "bytes to free; 0 is up to the end")
	return c
}

func (a *app) nfsSettingsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Which ways into NFS are open", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.NFSSettings(ctx)
			if err != nil {
				return err
			}
			return a.showNFSSettings(s)
		}),
	}
}

func (a *app) showNFSSettings(s client.NFSSettings) error {
	if a.asJSON {
		return a.json(s)
	}
	return a.record("NFSv4.1", onOff(s.V4Enabled), "AUTH_SYS", onOff(s.AuthSysEnabled), "Kerberos", onOff(s.Krb5Enabled),
		"Kerberos, integrity", onOff(s.Krb5iEnabled), "Kerberos, privacy", onOff(s.Krb5pEnabled))
}

func (a *app) nfsSettingsModify() *cobra.Command {
	var v4, sys, krb5, krb5i, krb5p bool
	c := &cobra.Command{Use: "modify", Short: "Open or close ways into NFS; mounted clients notice at once", Args: cobra.NoArgs}
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		s, err := cl.NFSSettings(ctx)
		if err != nil {
			return err
		}
		changed := false
		for name, f := range map[string]struct{ from, to *bool }{
			"v4": {&v4, &s.V4Enabled}, "auth-sys": {&sys, &s.AuthSysEnabled}, "krb5": {&krb5, &s.Krb5Enabled},
			"krb5i": {&krb5i, &s.Krb5iEnabled}, "krb5p": {&krb5p, &s.Krb5pEnabled},
		} {
			if c.Flags().Changed(name) {
				*f.to, changed = *f.from, true
			}
		}
		if !changed {
			return errors.New("nothing to change was given")
		}
		// The tag keeps a change by somebody else from being undone.
		if s, err = cl.ReplaceNFSSettings(ctx, s, s.ETag); err != nil {
			return err
		}
		return a.showNFSSettings(s)
	})
	f := c.Flags()
	f.BoolVar(&v4, "v4", false, "serve NFSv4.1")
	f.BoolVar(&sys, "auth-sys", true, "serve callers that nobody vouches for")
	f.BoolVar(&krb5, "krb5", true, "serve callers with Kerberos")
	f.BoolVar(&krb5i, "krb5i", true, "serve callers with Kerberos and integrity")
	f.BoolVar(&krb5p, "krb5p", true, "serve callers with Kerberos and privacy")
	return c
}
