package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) fsCommand() *cobra.Command {
	return noun("fs", "Files and directories", append(a.fsMore(),
		a.fsList(), a.fsStat(), a.fsMkdir(), a.fsCreate(), a.fsRemove(), a.fsMove(), a.fsLink(), a.fsChmod(), a.fsChown(),
		a.fsCat(), a.fsWrite(), a.fsTruncate(), a.fsAggregates(), a.fsTreeDelete(), a.fsTreeDeleteStatus(), a.fsTreeDeleteCancel(), a.fsTreeDeleteRestart())...)
}

// files wraps a command that takes one file and a snapshot.
func (a *app) file(fn func(ctx context.Context, c *client.Client, r client.Ref, args []string) error) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, c *client.Client, args []string) error {
		r, err := ref(args[0])
		if err != nil {
			return err
		}
		return fn(ctx, c, r, args[1:])
	})
}

func (a *app) fsList() *cobra.Command {
	var o client.ListOptions
	var long bool
	c := &cobra.Command{
		Use: "ls PATH", Short: "List a directory", Args: cobra.ExactArgs(1),
		RunE: a.file(func(ctx context.Context, c *client.Client, r client.Ref, _ []string) error {
			var all []client.Attributes
			var rows [][]string
			for e, err := range c.List(ctx, r, o) {
				switch {
				case err != nil:
					return err
				case a.asJSON:
					all = append(all, e)
				case long:
					rows = append(rows, []string{mode(&e), strconv.Itoa(e.Links), e.OwnerDetails.Value, e.GroupDetails.Value, e.Size.String(), e.ModificationTime.Local().Format(time.DateTime), e.ID.String(), e.Name})
				default:
					// Line by line, so that a large directory needs no memory.
					if _, err := fmt.Fprintln(a.o.Out, printable(e.Name)+mark(e.Type)); err != nil {
						return err
					}
				}
			}
			if a.asJSON {
				return a.json(append([]client.Attributes{}, all...))
			}
			if long {
				return a.table("MODE LINKS OWNER GROUP SIZE MODIFIED ID NAME", rows)
			}
			return nil
		}),
	}
	c.Flags().BoolVarP(&long, "long", "l", false, "with attributes")
	c.Flags().StringVar(&o.Pattern, "pattern", "", "only names that match; * and ? are wild, case does not count")
	c.Flags().Uint64Var(&o.Snapshot, "snapshot", 0, "as of this snapshot")
	return c
}

// mark tells types apart as "ls -F" does.
func mark(t string) string {
	switch t {
	case client.TypeDirectory:
		return "/"
	case client.TypeSymlink:
		return "@"
	case client.TypePipe:
		return "|"
	case client.TypeSocket:
		return "="
	}
	return ""
}

// mode renders type and mode as "d0755".
func mode(a *client.Attributes) string {
	t := map[string]string{client.TypeFile: "-", client.TypeDirectory: "d", client.TypeSymlink: "l", client.TypePipe: "p",
		client.TypeSocket: "s", client.TypeCharDevice: "c", client.TypeBlockDevice: "b"}[a.Type]
	return t + a.Mode
}

func (a *app) fsStat() *cobra.Command {
	var snapshot uint64
	var lock bool
	c := &cobra.Command{
		Use: "stat PATH", Short: "Attributes of a file", Args: cobra.ExactArgs(1),
		RunE: a.file(func(ctx context.Context, c *client.Client, r client.Ref, _ []string) error {
			get := c.Attributes
			if lock {
				get = c.AttributesAndLock
			}
			at, err := get(ctx, r, snapshot)
			if err != nil {
				return err
			}
			return a.showFile(&at)
		}),
	}
	c.Flags().Uint64Var(&snapshot, "snapshot", 0, "as of this snapshot")
	c.Flags().BoolVar(&lock, "lock", false, "also until when, and whether by a legal hold, it is kept from change")
	return c
}

func (a *app) showFile(f *client.Attributes) error {
	if a.asJSON {
		return a.json(f)
	}
	t := func(t time.Time) string { return t.Format(time.RFC3339Nano) }
	var lock []string
	if l := f.Lock; l != nil {
		until := "none"
		if l.Retention != nil {
			until = t(*l.Retention)
		}
		lock = []string{"Kept until", until, "Legal hold", onOff(l.LegalHold != nil && *l.LegalHold)}
	}
	return a.record(append([]string{"Path", f.Path, "Id", f.ID.String(), "Type", strings.ToLower(strings.TrimPrefix(f.Type, "FS_FILE_TYPE_")), "Mode", f.Mode,
		"Owner", f.OwnerDetails.Type + " " + f.OwnerDetails.Value, "Group", f.GroupDetails.Type + " " + f.GroupDetails.Value,
		"Size", f.Size.String(), "Blocks", f.Blocks.String(), "Links", strconv.Itoa(f.Links), "Entries", strconv.FormatUint(f.Children, 10),
		"Accessed", t(f.AccessTime), "Modified", t(f.ModificationTime), "Changed", t(f.ChangeTime), "Created", t(f.CreationTime), "ETag", f.ETag}, lock...)...)
}

// made prints a new file with --json, nothing without.
func (a *app) made(f client.Attributes, err error) error {
	if err != nil || !a.asJSON {
		return err
	}
	return a.json(f)
}

func (a *app) fsMkdir() *cobra.Command {
	var parents bool
	c := &cobra.Command{
		Use: "mkdir PATH", Short: "Make a directory", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			dir, name, err := place(args[0])
			if err != nil {
				return err
			}
			if !parents {
				return a.made(c.Mkdir(ctx, dir, name))
			}
			var last client.Attributes
			at := client.Ref("/")
			for _, name := range strings.Split(strings.Trim(path.Clean(args[0]), "/"), "/") {
				made, err := c.Mkdir(ctx, at, name)
				at = client.Ref(path.Join(string(at), name))
				if client.IsClass(err, "fs_entry_exists_error") {
					if made, err = c.Attributes(ctx, at, 0); err == nil && made.Type != client.TypeDirectory {
						err = fmt.Errorf("%s is not a directory", at)
					}
				}
				if err != nil {
					return err
				}
				last = made
			}
			return a.made(last, nil)
		}),
	}
	c.Flags().BoolVarP(&parents, "parents", "p", false, "make missing directories above it, and accept one that exists")
	return c
}

func (a *app) fsCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create PATH", Short: "Make an empty file", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			dir, name, err := place(args[0])
			if err != nil {
				return err
			}
			return a.made(c.Create(ctx, dir, name))
		}),
	}
}

func (a *app) fsRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm PATH...", Short: "Remove files, links and empty directories", Args: cobra.MinimumNArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			var errs []error
			for _, p := range args {
				r, err := ref(p)
				if err == nil {
					err = c.Remove(ctx, r)
				}
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", p, err))
				}
			}
			return errors.Join(errs...)
		}),
	}
}

// target is where to put something called name: into an existing directory, or
// under the last name of the path.
func target(ctx context.Context, c *client.Client, to, name string) (client.Ref, string, error) {
	if to == "/" {
		return "/", name, nil
	}
	at, err := c.Attributes(ctx, client.Ref(to), 0)
	if err == nil && at.Type == client.TypeDirectory {
		return client.Ref(to), name, nil
	}
	if err != nil && !client.IsStatus(err, 404) {
		return "", "", err
	}
	return place(to)
}

func (a *app) fsMove() *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use: "mv FROM TO", Short: "Move or rename, into a directory if TO is one", Args: cobra.ExactArgs(2),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			_, name, err := place(args[0])
			if err != nil {
				return err
			}
			dir, name, err := target(ctx, c, args[1], name)
			if err != nil {
				return err
			}
			return a.made(c.Rename(ctx, client.Ref(args[0]), dir, name, force))
		}),
	}
	c.Flags().BoolVarP(&force, "force", "f", false, "replace what has the name")
	return c
}

func (a *app) fsLink() *cobra.Command {
	var symbolic bool
	c := &cobra.Command{
		Use: "ln TARGET NAME", Short: "Give a file one more name, or make a symbolic link", Args: cobra.ExactArgs(2),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			dir, name, err := target(ctx, c, args[1], path.Base(args[0]))
			if err != nil {
				return err
			}
			if symbolic {
				return a.made(c.Symlink(ctx, dir, name, args[0]))
			}
			r, err := ref(args[0])
			if err != nil {
				return err
			}
			return a.made(c.Link(ctx, dir, name, r))
		}),
	}
	c.Flags().BoolVarP(&symbolic, "symbolic", "s", false, "a symbolic link")
	return c
}

func (a *app) fsChmod() *cobra.Command {
	return &cobra.Command{
		Use: "chmod MODE PATH...", Short: "Set the mode, in octal digits", Args: cobra.MinimumNArgs(2),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			return each(args[1:], func(r client.Ref) error {
				_, err := c.SetAttributes(ctx, r, client.AttributesPatch{Mode: &args[0]}, "")
				return err
			})
		}),
	}
}

// each goes through all files, whatever fails.
func each(paths []string, fn func(client.Ref) error) error {
	var errs []error
	for _, p := range paths {
		r, err := ref(p)
		if err == nil {
			err = fn(r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// principal reads a number, which is of NFS, or a local name.
func principal(s, number, name string) *client.Identity {
	if s == "" {
		return nil
	}
	if _, err := strconv.ParseUint(s, 10, 32); err == nil {
		return &client.Identity{Type: number, Value: s}
	}
	return &client.Identity{Type: name, Value: s}
}

func (a *app) fsChown() *cobra.Command {
	return &cobra.Command{
		Use: "chown OWNER[:GROUP] PATH...", Short: "Set owner and group: numbers of NFS or names of local users and groups", Args: cobra.MinimumNArgs(2),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			owner, group, _ := strings.Cut(args[0], ":")
			p := client.AttributesPatch{Owner: principal(owner, "NFS_UID", "LOCAL_USER"), Group: principal(group, "NFS_GID", "LOCAL_GROUP")}
			if p.Owner == nil && p.Group == nil {
				return errors.New("neither an owner nor a group is given")
			}
			return each(args[1:], func(r client.Ref) error {
				_, err := c.SetAttributes(ctx, r, p, "")
				return err
			})
		}),
	}
}

func (a *app) fsCat() *cobra.Command {
	var o client.ReadOptions
	c := &cobra.Command{
		Use: "cat PATH", Short: "Print the content of a file", Args: cobra.ExactArgs(1),
		RunE: a.file(func(ctx context.Context, c *client.Client, r client.Ref, _ []string) error {
			body, err := c.Read(ctx, r, o)
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(a.o.Out, body)
			return err
		}),
	}
	c.Flags().Uint64Var(&o.Offset, "offset", 0, "first byte")
	c.Flags().Uint64Var(&o.Length, "length", 0, "at most so many bytes; 0 is all")
	c.Flags().Uint64Var(&o.Snapshot, "snapshot", 0, "as of this snapshot")
	return c
}

func (a *app) fsWrite() *cobra.Command {
	var create bool
	var offset int64
	c := &cobra.Command{
		Use: "write PATH [FILE]", Short: "Replace the content of a file by that of a local one or of standard input", Args: cobra.RangeArgs(1, 2),
		RunE: a.file(func(ctx context.Context, c *client.Client, r client.Ref, args []string) error {
			f, err := a.open(append(args, "-")[0])
			if err != nil {
				return err
			}
			defer f.Close()
			// The transport closes what it can; standard input is not ours to close.
			in := struct{ io.Reader }{f}
			if create {
				dir, name, err := place(string(r))
				if err != nil {
					return err
				}
				if _, err := c.Create(ctx, dir, name); err != nil && !client.IsClass(err, "fs_entry_exists_error") {
					return err
				}
			}
			if offset >= 0 {
				return a.made(c.WriteAt(ctx, r, uint64(offset), in))
			}
			return a.made(c.Write(ctx, r, in, ""))
		}),
	}
	c.Flags().BoolVar(&create, "create", false, "make the file if it is missing")
	c.Flags().Int64Var(&offset, "offset", -1, "write from this byte on and keep the rest")
	return c
}

func (a *app) fsTruncate() *cobra.Command {
	return &cobra.Command{
		Use: "truncate PATH SIZE", Short: "Shorten or extend a file", Args: cobra.ExactArgs(2),
		RunE: a.file(func(ctx context.Context, c *client.Client, r client.Ref, args []string) error {
			n, err := size(args[0])
			if err != nil {
				return err
			}
			return a.made(c.SetAttributes(ctx, r, client.AttributesPatch{Size: &n}, ""))
		}),
	}
}
