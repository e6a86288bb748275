package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

// dosFlags are the attributes of DOS by their flags.
var dosFlags = map[string]string{
	"read-only": "read_only", "hidden": "hidden", "system": "system", "archive": "archive", "temporary": "temporary",
	"compressed": "compressed", "not-content-indexed": "not_content_indexed", "offline": "offline",
}

func (a *app) fsSet() *cobra.Command {
	var mode, owner, group, length string
	times := map[string]*string{}
	dos := map[string]*bool{}
	c := &cobra.Command{Use: "set PATH...", Short: "Set attributes of files, several at once", Args: cobra.MinimumNArgs(1),
		Example: "  manifold fs set /a --modification-time 2026-01-31T00:00:00Z --hidden"}
	f := c.Flags()
	f.StringVar(&mode, "mode", "", "mode in octal digits")
	f.StringVar(&length, "size", "", "shorten or extend a file to so many bytes")
	f.StringVar(&owner, "owner", "", "owner: a number of NFS or the name of a local user")
	f.StringVar(&group, "group", "", "group: a number of NFS or the name of a local group")
	for _, name := range []string{"access", "modification", "change", "creation"} {
		times[name] = f.String(name+"-time", "", "time in RFC 3339")
	}
	for name := range dosFlags {
		dos[name] = f.Bool(name, false, "attribute of DOS")
	}
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		p := client.AttributesPatch{Owner: principal(owner, "NFS_UID", "LOCAL_USER"), Group: principal(group, "NFS_GID", "LOCAL_GROUP")}
		changed := p.Owner != nil || p.Group != nil
		if mode != "" {
			p.Mode, changed = &mode, true
		}
		if length != "" {
			n, err := size(length)
			if err != nil {
				return err
			}
			p.Size, changed = &n, true
		}
		for name, to := range map[string]**time.Time{"access": &p.AccessTime, "modification": &p.ModificationTime, "change": &p.ChangeTime, "creation": &p.CreationTime} {
			if *times[name] == "" {
				continue
			}
			t, err := time.Parse(time.RFC3339, *times[name])
			if err != nil {
				return fmt.Errorf("--%s-time %q: want a time as 2026-01-31T00:00:00Z", name, *times[name])
			}
			*to, changed = &t, true
		}
		for name, on := range dos {
			if f.Changed(name) {
				if p.Extended == nil {
					p.Extended = map[string]bool{}
				}
				p.Extended[dosFlags[name]], changed = *on, true
			}
		}
		if !changed {
			return errors.New("nothing to change was given")
		}
		return each(args, func(r client.Ref) error { _, err := cl.SetAttributes(ctx, r, p, ""); return err })
	})
	return c
}
