package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"manifold/client"
)

// changePermissions reads the permissions of a share as entries without flags,
// changes them, and writes them if the share is still the same.
func (a *app) changePermissions(change func(ctx context.Context, cl *client.Client, p *client.ACL) error, dry *bool) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		s, err := cl.Share(ctx, args[0])
		if err != nil {
			return err
		}
		var p client.ACL
		for _, x := range s.Permissions {
			p.Entries = append(p.Entries, client.ACE{Type: x.Type, Trustee: x.Trustee, Rights: x.Rights})
		}
		if err := change(ctx, cl, &p); err != nil {
			return err
		}
		s.Permissions = []client.SharePermission{}
		for _, x := range p.Entries {
			s.Permissions = append(s.Permissions, client.SharePermission{Type: x.Type, Trustee: x.Trustee, Rights: x.Rights})
		}
		if !*dry {
			if s, err = cl.ReplaceShare(ctx, s.ID, s, false, s.ETag); err != nil {
				return err
			}
		}
		return a.showShare(&s)
	})
}

// shareWords spells ALL as the server does.
func shareWords(rights []string) []string {
	if slices.ContainsFunc(rights, func(r string) bool { return strings.EqualFold(r, "ALL") }) {
		return []string{"READ", "WRITE", "CHANGE_PERMISSIONS"}
	}
	return rights
}

func permissionFlags(c *cobra.Command, e *entryFlags, prefix, of string, dry *bool) {
	e.noFlags = true
	e.add(c, prefix, of)
	c.Flag(prefix + "rights").Usage = "rights " + of + ": READ, WRITE, CHANGE_PERMISSIONS, ALL or single ones"
	if dry != nil {
		c.Flags().BoolVar(dry, "dry-run", false, dryRun)
	}
}

func (a *app) permissionAdd() *cobra.Command {
	var e entryFlags
	var dry bool
	c := a.verb("add SHARE", "Add an entry to the permissions of a share, denials before grants", cobra.ExactArgs(1), nil)
	c.Example = "  manifold smb share permission add projects --who local:jane --rights READ,WRITE"
	permissionFlags(c, &e, "", "of the entry", &dry)
	c.RunE = a.changePermissions(func(_ context.Context, _ *client.Client, p *client.ACL) error {
		if e.who == "" || len(e.rights) == 0 {
			return errors.New("give --who and --rights")
		}
		x := client.ACE{Type: "ALLOWED"}
		if err := e.apply(&x); err != nil {
			return err
		}
		p.Entries = slices.Insert(p.Entries, entryPlace(p.Entries, &x), x)
		return nil
	}, &dry)
	return c
}

func (a *app) permissionRemove() *cobra.Command {
	var e entryFlags
	var position int
	var all, dry bool
	c := a.verb("rm SHARE", "Remove an entry from the permissions of a share", cobra.ExactArgs(1), nil)
	permissionFlags(c, &e, "", "of the entry", &dry)
	c.Flags().IntVar(&position, "position", 0, "number of the entry")
	c.Flags().BoolVar(&all, "all", false, "all entries that are so")
	c.RunE = a.changePermissions(func(ctx context.Context, cl *client.Client, p *client.ACL) error {
		e.rights = shareWords(e.rights)
		at, err := e.which(ctx, cl, p, position, all)
		for _, i := range at {
			p.Entries = slices.Delete(p.Entries, i, i+1)
		}
		return err
	}, &dry)
	return c
}

func (a *app) permissionModify() *cobra.Command {
	var old, e entryFlags
	var position int
	var all, dry bool
	c := a.verb("modify SHARE", "Change an entry of the permissions of a share in its place", cobra.ExactArgs(1), nil)
	permissionFlags(c, &e, "", "it is to have", &dry)
	permissionFlags(c, &old, "old-", "it has", nil)
	c.Flags().IntVar(&position, "position", 0, "number of the entry")
	c.Flags().BoolVar(&all, "all", false, "all entries that are so")
	c.RunE = a.changePermissions(func(ctx context.Context, cl *client.Client, p *client.ACL) error {
		old.rights, e.rights = shareWords(old.rights), shareWords(e.rights)
		at, err := old.which(ctx, cl, p, position, all)
		for _, i := range at {
			err = errors.Join(err, e.apply(&p.Entries[i]))
		}
		return err
	}, &dry)
	return c
}
