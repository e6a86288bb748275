package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"manifold/client"
)

// ruleFlags describe a rule of an export on the command line.
type ruleFlags struct {
	hosts                []string
	readOnly, privileged bool
	squash               string
	uid, gid             string
}

var ruleFlagNames = []string{"host-rule", "read-only", "privileged-port", "squash", "map-user", "map-group"}

// mappings are the words for whom a rule maps to somebody else.
var mappings = map[string]string{"": client.MapNone, "none": client.MapNone, "root": client.MapRoot, "all": client.MapAll}

func (f *ruleFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringSliceVar(&f.hosts, "host-rule", nil, "hosts of the rule: address, range a-b, network, name with one leading *; none or * is every host")
	fl.BoolVar(&f.readOnly, "read-only", false, "the rule's hosts may only read")
	fl.BoolVar(&f.privileged, "privileged-port", false, "the rule's hosts must call from a port below 1024")
	fl.StringVar(&f.squash, "squash", "none", "whom the rule maps to somebody else: none, root or all")
	fl.StringVar(&f.uid, "map-user", "", "user to map to: a number or the name of a local user; nobody without it")
	fl.StringVar(&f.gid, "map-group", "", "group to map to with a numeric user")
}

func (f *ruleFlags) given(c *cobra.Command) bool {
	return slices.ContainsFunc(ruleFlagNames, c.Flags().Changed)
}

// apply changes what was given on the command line.
func (f *ruleFlags) apply(c *cobra.Command, r *client.Restriction) error {
	changed := c.Flags().Changed
	if changed("host-rule") {
		if r.Hosts = given(f.hosts); len(r.Hosts) == 1 && r.Hosts[0] == "*" {
			r.Hosts = []string{}
		}
	}
	if changed("read-only") {
		r.ReadOnly = f.readOnly
	}
	if changed("privileged-port") {
		r.RequirePrivilegedPort = f.privileged
	}
	if changed("squash") {
		if r.UserMapping = mappings[f.squash]; r.UserMapping == "" {
			return fmt.Errorf("--squash %s: want none, root or all", f.squash)
		}
	}
	if changed("map-user") {
		r.MapToUser, r.MapToGroup = principal(f.uid, "NFS_UID", "LOCAL_USER"), nil
	}
	if changed("map-group") {
		r.MapToGroup = principal(f.gid, "NFS_GID", "LOCAL_GROUP")
	}
	if r.UserMapping == client.MapNone {
		r.MapToUser, r.MapToGroup = nil, nil
	}
	return nil
}

// changeRules reads an export, changes its rules, and writes it if it is still
// the same.
func (a *app) changeRules(change func(rules []client.Restriction, args []string) ([]client.Restriction, error)) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		e, err := cl.Export(ctx, args[0])
		if err != nil {
			return err
		}
		if e.Restrictions, err = change(e.Restrictions, args[1:]); err != nil {
			return err
		}
		out, err := cl.ReplaceExport(ctx, e.ID, e, false, e.ETag)
		if err != nil {
			return err
		}
		return a.showExport(&out)
	})
}

func (a *app) ruleAdd() *cobra.Command {
	var f ruleFlags
	var after int
	c := a.verb("add EXPORT", "Add a rule to an export, behind the others", cobra.ExactArgs(1), nil)
	c.Example = "  manifold nfs export rule add /data --host-rule 192.0.2.0/24 --read-only"
	f.add(c)
	c.Flags().IntVar(&after, "after", -1, "put it after this rule, 0 for the first place")
	c.RunE = a.changeRules(func(rules []client.Restriction, _ []string) ([]client.Restriction, error) {
		if after > len(rules) {
			return nil, fmt.Errorf("there is no rule %d", after)
		}
		at := after
		if at < 0 {
			at = len(rules)
		}
		r := client.Restriction{Hosts: []string{}, UserMapping: client.MapNone}
		err := f.apply(c, &r)
		return slices.Insert(rules, at, r), err
	})
	return c
}

func (a *app) ruleModify() *cobra.Command {
	var f ruleFlags
	c := a.verb("modify EXPORT NUMBER", "Change a rule of an export in its place", cobra.ExactArgs(2), nil)
	f.add(c)
	c.RunE = a.changeRules(func(rules []client.Restriction, args []string) ([]client.Restriction, error) {
		if !f.given(c) {
			return nil, errors.New("nothing to change was given")
		}
		i, err := nth(args[0], len(rules), "rule")
		if err != nil {
			return nil, err
		}
		return rules, f.apply(c, &rules[i])
	})
	return c
}

func (a *app) ruleRemove() *cobra.Command {
	c := a.verb("rm EXPORT NUMBER", "Remove a rule from an export; one without any admits everybody", cobra.ExactArgs(2), nil)
	c.RunE = a.changeRules(func(rules []client.Restriction, args []string) ([]client.Restriction, error) {
		i, err := nth(args[0], len(rules), "rule")
		if err != nil {
			return nil, err
		}
		return slices.Delete(rules, i, i+1), nil
	})
	return c
}
