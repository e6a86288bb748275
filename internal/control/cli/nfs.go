package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) nfsCommand() *cobra.Command {
	return noun("nfs", "NFS",
		noun("export", "NFS exports", a.exportList(), a.exportShow(), a.exportAdd(), a.exportModify(), a.exportDelete(),
			noun("rule", "Rules of an export, which are tried in their order and count from 1", a.ruleAdd(), a.ruleModify(), a.ruleRemove())),
		noun("lock", "Byte-range locks of NFSv3 clients", a.lockCommands()...),
		noun("settings", "Settings of NFS", a.nfsSettingsShow(), a.nfsSettingsModify()))
}

func (a *app) exportList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List exports", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			es, err := c.Exports(ctx)
			if err != nil {
				return err
			}
			return listing(a, es, "ID EXPORT DIRECTORY RULES DESCRIPTION", func(e *client.Export) []string {
				return []string{e.ID, e.ExportPath, e.FSPath, rules(e), e.Description}
			})
		}),
	}
}

// rules renders restrictions on one line, in the order in which they are tried.
func rules(e *client.Export) string {
	if len(e.Restrictions) == 0 {
		return "everyone:rw"
	}
	var out []string
	for _, r := range e.Restrictions {
		out = append(out, rule(&r))
	}
	return strings.Join(out, "; ")
}

func rule(r *client.Restriction) string {
	hosts := strings.Join(r.Hosts, ",")
	if hosts == "" {
		hosts = "everyone"
	}
	access := "rw"
	if r.ReadOnly {
		access = "ro"
	}
	switch r.UserMapping {
	case client.MapRoot:
		access += ",root_squash"
	case client.MapAll:
		access += ",all_squash"
	}
	if r.RequirePrivilegedPort {
		access += ",secure"
	}
	return hosts + ":" + access
}

func (a *app) exportShow() *cobra.Command {
	return &cobra.Command{
		Use: "show EXPORT", Short: "One export, by id or path", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			e, err := c.Export(ctx, args[0])
			if err != nil {
				return err
			}
			return a.showExport(&e)
		}),
	}
}

func (a *app) showExport(e *client.Export) error {
	if a.asJSON {
		return a.json(e)
	}
	pairs := []string{"Id", e.ID, "Export", e.ExportPath, "Directory", e.FSPath, "Description", e.Description}
	for i := range e.Restrictions {
		pairs = append(pairs, fmt.Sprintf("Rule %d", i+1), rule(&e.Restrictions[i]))
	}
	return a.record(append(pairs, "32 bits", strings.Join(e.Present32, ","))...)
}

// exportFlags describe an export on the command line.
type exportFlags struct {
	path, dir, description string
	rule                   ruleFlags
	restrictions           string
	present32              []string
	mkdir                  bool
}

func (f *exportFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.description, "description", "", "text for people")
	f.rule.add(c)
	fl.StringVar(&f.restrictions, "restrictions", "", "file with all rules as JSON, - for standard input")
	fl.StringSliceVar(&f.present32, "show-32-bit", nil, "show FILE_IDS, FILE_SIZES, FS_SIZE or ALL with 32 bits; empty for none")
	fl.BoolVar(&f.mkdir, "create-directory", false, "make the directory if it is missing")
}

// apply changes what was given on the command line.
func (f *exportFlags) apply(a *app, c *cobra.Command, e *client.Export) error {
	changed := c.Flags().Changed
	if changed("description") {
		e.Description = f.description
	}
	if changed("show-32-bit") {
		e.Present32 = given(f.present32)
	}
	oneRule := f.rule.given(c)
	switch {
	case oneRule && changed("restrictions"):
		return errors.New("--restrictions and the flags of a single rule exclude each other")
	case changed("restrictions"):
		var err error
		e.Restrictions, err = a.readRestrictions(f.restrictions)
		return err
	case oneRule:
		r := client.Restriction{Hosts: []string{}, UserMapping: client.MapNone}
		e.Restrictions = []client.Restriction{r}
		return f.rule.apply(c, &e.Restrictions[0])
	}
	return nil
}

// readRestrictions reads rules: a list, or an object that has it as
// "restrictions", as the reference command line wants it.
func (a *app) readRestrictions(name string) (out []client.Restriction, err error) {
	b, err := a.read(name, 4<<20)
	if err == nil && strings.HasPrefix(strings.TrimSpace(string(b)), "{") {
		var in struct{ Restrictions []client.Restriction }
		err = json.Unmarshal(b, &in)
		out = in.Restrictions
	} else if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("restrictions: %w", err)
	}
	for i := range out {
		if m := mappings[strings.ToLower(out[i].UserMapping)]; m != "" {
			out[i].UserMapping = m
		}
	}
	return out, nil
}

func (a *app) exportAdd() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{Use: "add EXPORT DIRECTORY", Short: "Export a directory", Args: cobra.ExactArgs(2)}
	f.add(c)
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		e := client.Export{ExportPath: args[0], FSPath: args[1], Restrictions: []client.Restriction{}, Present32: []string{}}
		if err := f.apply(a, c, &e); err != nil {
			return err
		}
		made, err := cl.AddExport(ctx, e, f.mkdir)
		if err != nil {
			return err
		}
		if a.asJSON {
			return a.json(made)
		}
		_, err = fmt.Fprintln(a.o.Out, made.ID)
		return err
	})
	return c
}

func (a *app) exportModify() *cobra.Command {
	var f exportFlags
	c := &cobra.Command{Use: "modify EXPORT", Short: "Change parts of an export; flags of a rule replace all its rules by that one", Args: cobra.ExactArgs(1)}
	f.add(c)
	c.Flags().StringVar(&f.path, "export-path", "", "new name to mount")
	c.Flags().StringVar(&f.dir, "fs-path", "", "new directory")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		e, err := cl.Export(ctx, args[0])
		if err != nil {
			return err
		}
		if err := f.apply(a, c, &e); err != nil {
			return err
		}
		if f.path != "" {
			e.ExportPath = f.path
		}
		if f.dir != "" {
			e.FSPath = f.dir
		}
		// The tag keeps a change by somebody else from being undone.
		out, err := cl.ReplaceExport(ctx, e.ID, e, f.mkdir, e.ETag)
		if err != nil || !a.asJSON {
			return err
		}
		return a.json(out)
	})
	return c
}

func (a *app) exportDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete EXPORT", Short: "Remove an export, by id or path", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error { return c.DeleteExport(ctx, args[0]) }),
	}
}
