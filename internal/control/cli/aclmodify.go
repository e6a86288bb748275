package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"manifold/client"
)

// entryFlags say what an entry is to be, or which entries are meant.
type entryFlags struct {
	who, kind     string
	rights, flags []string
	noFlags       bool // entries have none
}

func (e *entryFlags) add(c *cobra.Command, prefix, of string) {
	f := c.Flags()
	f.StringVar(&e.who, prefix+"who", "", "trustee "+of+", as local:jane, uid:1000 or Everyone")
	f.StringVar(&e.kind, prefix+"type", "", "type "+of+": allowed or denied")
	f.StringSliceVar(&e.rights, prefix+"rights", nil, "rights "+of+", as READ,EXECUTE")
	if e.noFlags {
		return
	}
	f.StringSliceVar(&e.flags, prefix+"flags", nil, "flags "+of+", as OBJECT_INHERIT,CONTAINER_INHERIT")
}

func upper(l []string) []string {
	out := make([]string, len(l))
	for i, s := range l {
		out[i] = strings.ToUpper(s)
	}
	return out
}

// apply changes what was given.
func (e *entryFlags) apply(to *client.ACE) error {
	if e.who != "" {
		to.Trustee = client.Named(e.who)
	}
	switch kind := strings.ToUpper(e.kind); kind {
	case "":
	case "ALLOWED", "DENIED":
		to.Type = kind
	default:
		return fmt.Errorf("type %q: want allowed or denied", e.kind)
	}
	if e.rights != nil {
		to.Rights = upper(e.rights)
	}
	if e.flags != nil {
		to.Flags = upper(e.flags)
	}
	return nil
}

// which finds the entries that are meant, from the last on: the one at a place,
// or those that have all that was given, of which there must be one unless all
// are meant.
func (e *entryFlags) which(ctx context.Context, cl *client.Client, p *client.ACL, position int, all bool) ([]int, error) {
	if position != 0 {
		if position < 1 || position > len(p.Entries) {
			return nil, fmt.Errorf("there is no entry %d", position)
		}
		return []int{position - 1}, nil
	}
	if e.who == "" && e.kind == "" && e.rights == nil && e.flags == nil {
		return nil, errors.New("say which entry: by its position or by what it is")
	}
	var who client.Principal
	if e.who != "" {
		var err error
		if who, err = cl.FindIdentity(ctx, client.Named(e.who)); err != nil {
			return nil, err
		}
	}
	same := func(a, b []string) bool {
		a, b = upper(a), upper(b)
		slices.Sort(a)
		slices.Sort(b)
		return slices.Equal(a, b)
	}
	var out []int
	for i, x := range slices.Backward(p.Entries) {
		if (e.who == "" || x.Trustee.AuthID != nil && who.AuthID != nil && *x.Trustee.AuthID == *who.AuthID) && (e.kind == "" || strings.EqualFold(e.kind, x.Type)) &&
			(e.rights == nil || same(e.rights, x.Rights)) && (e.flags == nil || same(e.flags, x.Flags)) {
			out = append(out, i)
		}
	}
	switch {
	case len(out) == 0:
		return nil, errors.New("there is no such entry")
	case len(out) > 1 && !all:
		return nil, fmt.Errorf("%d entries are such; say --all or the position of one", len(out))
	}
	return out, nil
}

// changeACL reads permissions, changes them, and writes them if they are still
// the same.
func (a *app) changeACL(change func(ctx context.Context, cl *client.Client, p *client.ACL) error, dry *bool) func(*cobra.Command, []string) error {
	return a.file(func(ctx context.Context, cl *client.Client, r client.Ref, _ []string) error {
		p, err := cl.ACL(ctx, r, 0)
		if err != nil {
			return err
		}
		if err := change(ctx, cl, &p); err != nil {
			return err
		}
		if *dry {
			return a.printACL(&p)
		}
		out, err := cl.SetACL(ctx, r, p, p.ETag)
		if err != nil {
			return err
		}
		return a.printACL(&out)
	})
}

// entryPlace is where an entry belongs: denials before grants, both before what is
// inherited.
func entryPlace(entries []client.ACE, e *client.ACE) int {
	rank := func(e *client.ACE) int {
		switch {
		case slices.Contains(e.Flags, "INHERITED"):
			return 2
		case e.Type == "ALLOWED":
			return 1
		}
		return 0
	}
	for i := range entries {
		if rank(&entries[i]) > rank(e) {
			return i
		}
	}
	return len(entries)
}

const dryRun = "only show what it would be"

func (a *app) aclAdd() *cobra.Command {
	var e entryFlags
	var after int
	var dry bool
	c := &cobra.Command{Use: "add PATH", Short: "Add an entry to the permissions of a file", Args: cobra.ExactArgs(1),
		Example: "  manifold fs acl add /a --who local:jane --rights READ,EXECUTE"}
	e.add(c, "", "of the entry")
	c.Flags().IntVar(&after, "after", -1, "put it after this entry, 0 for the first place; else where it belongs")
	c.Flags().BoolVar(&dry, "dry-run", false, dryRun)
	c.RunE = a.changeACL(func(_ context.Context, _ *client.Client, p *client.ACL) error {
		if e.who == "" || len(e.rights) == 0 {
			return errors.New("give --who and --rights")
		}
		x := client.ACE{Type: "ALLOWED", Flags: []string{}}
		if err := e.apply(&x); err != nil {
			return err
		}
		at := after
		if at < 0 {
			at = entryPlace(p.Entries, &x)
		}
		if at > len(p.Entries) {
			return fmt.Errorf("there is no entry %d", at)
		}
		p.Entries = slices.Insert(p.Entries, at, x)
		return nil
	}, &dry)
	return c
}

func (a *app) aclRemove() *cobra.Command {
	var e entryFlags
	var position int
	var all, dry bool
	c := &cobra.Command{Use: "rm PATH", Short: "Remove an entry from the permissions of a file", Args: cobra.ExactArgs(1)}
	e.add(c, "", "of the entry")
	c.Flags().IntVar(&position, "position", 0, "number of the entry")
	c.Flags().BoolVar(&all, "all", false, "all entries that are so")
	c.Flags().BoolVar(&dry, "dry-run", false, dryRun)
	c.RunE = a.changeACL(func(ctx context.Context, cl *client.Client, p *client.ACL) error {
		at, err := e.which(ctx, cl, p, position, all)
		for _, i := range at {
			p.Entries = slices.Delete(p.Entries, i, i+1)
		}
		return err
	}, &dry)
	return c
}

func (a *app) aclModify() *cobra.Command {
	var old, e entryFlags
	var position int
	var all, dry bool
	c := &cobra.Command{Use: "modify PATH", Short: "Change an entry of the permissions of a file in its place", Args: cobra.ExactArgs(1)}
	e.add(c, "", "it is to have")
	old.add(c, "old-", "it has")
	c.Flags().IntVar(&position, "position", 0, "number of the entry")
	c.Flags().BoolVar(&all, "all", false, "all entries that are so")
	c.Flags().BoolVar(&dry, "dry-run", false, dryRun)
	c.RunE = a.changeACL(func(ctx context.Context, cl *client.Client, p *client.ACL) error {
		at, err := old.which(ctx, cl, p, position, all)
		for _, i := range at {
			err = errors.Join(err, e.apply(&p.Entries[i]))
		}
		return err
	}, &dry)
	return c
}

func (a *app) aclSpecial() *cobra.Command {
	var dry bool
	var bits []string
	c := &cobra.Command{Use: "special PATH", Short: "Set which of STICKY_BIT, SET_GID and SET_UID a file has", Args: cobra.ExactArgs(1)}
	c.Flags().StringSliceVar(&bits, "bits", nil, "those it has; without it none")
	c.Flags().BoolVar(&dry, "dry-run", false, dryRun)
	c.RunE = a.changeACL(func(_ context.Context, _ *client.Client, p *client.ACL) error {
		p.Special = upper(bits)
		return nil
	}, &dry)
	return c
}
