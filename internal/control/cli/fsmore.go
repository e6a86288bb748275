package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

// fsMore are the less common commands of files.
func (a *app) fsMore() []*cobra.Command {
	return []*cobra.Command{
		a.fsUpload(), a.fsDownload(), a.fsCopy(), a.fsPunch(), a.fsWatch(), a.fsSample(), a.fsPath(), a.fsLock(), a.fsSet(),
		noun("acl", "Permissions of files", a.aclShow(), a.aclSet(), a.aclAdd(), a.aclRemove(), a.aclModify(), a.aclSpecial(), a.aclExplainRights(), a.aclExplainMode(), a.aclExplainChmod()),
		noun("stream", "Named streams of files", a.streamCommands()...),
		noun("metadata", "User metadata of files", a.metadataCommands()...),
		a.fsSettings(),
	}
}

func (a *app) fsUpload() *cobra.Command {
	var force bool
	c := &cobra.Command{Use: "upload FILE PATH", Short: "Copy a local file here, into a directory if PATH is one", Args: cobra.ExactArgs(2)}
	c.Flags().BoolVarP(&force, "force", "f", false, "replace the content of a file that has the name")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		f, err := a.open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		total := int64(-1)
		if o, ok := f.(*os.File); ok {
			if st, err := o.Stat(); err == nil && st.Mode().IsRegular() {
				total = st.Size()
			}
		}
		dir, name, err := target(ctx, cl, args[1], path.Base(args[0]))
		if err != nil {
			return err
		}
		to, err := cl.Create(ctx, dir, name)
		if client.IsClass(err, "fs_entry_exists_error") {
			if !force {
				return fmt.Errorf("%w; replace it with --force", err)
			}
			to, err = cl.Attributes(ctx, client.Ref(path.Join(string(dir), name)), 0)
		}
		if err != nil {
			return err
		}
		m := a.meter("uploaded", total)
		defer m.end()
		return a.made(cl.Write(ctx, client.RefOf(to.ID), m.reader(f), ""))
	})
	return c
}

func (a *app) fsDownload() *cobra.Command {
	var force bool
	var snapshot uint64
	c := &cobra.Command{Use: "download PATH [FILE]", Short: "Copy a file to a local one", Args: cobra.RangeArgs(1, 2)}
	c.Flags().BoolVarP(&force, "force", "f", false, "replace a local file that has the name")
	c.Flags().Uint64Var(&snapshot, "snapshot", 0, "as of this snapshot")
	c.RunE = a.file(func(ctx context.Context, cl *client.Client, r client.Ref, args []string) error {
		if a.o.Client != nil {
			return errors.New("there are no local files here; print it with: fs cat")
		}
		at, err := cl.Attributes(ctx, r, snapshot)
		if err != nil {
			return err
		}
		name := append(args, at.Name)[0]
		if st, err := os.Stat(name); err == nil && st.IsDir() {
			name = path.Join(name, at.Name)
		}
		body, err := cl.Read(ctx, r, client.ReadOptions{Snapshot: snapshot})
		if err != nil {
			return err
		}
		defer body.Close()
		m := a.meter("downloaded", int64(at.Size))
		defer m.end()
		return save(name, m.reader(body), int64(at.Size), force)
	})
	return c
}

// save writes a local file whole or not at all.
func save(name string, from io.Reader, size int64, force bool) error {
	if _, err := os.Lstat(name); err == nil && !force {
		return fmt.Errorf("%s exists; replace it with --force", name)
	}
	f, err := os.CreateTemp(path.Dir(name), ".manifold-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	n, err := io.Copy(f, from)
	if err == nil && n < size {
		err = fmt.Errorf("the content ended after %d of %d bytes", n, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}

func (a *app) fsCopy() *cobra.Command {
	var force bool
	var snapshot uint64
	c := &cobra.Command{Use: "cp FROM TO", Short: "Copy a file within the server, into a directory if TO is one", Args: cobra.ExactArgs(2)}
	c.Flags().BoolVarP(&force, "force", "f", false, "replace the content of a file that has the name")
	c.Flags().Uint64Var(&snapshot, "snapshot", 0, "copy it as of this snapshot")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		from, err := ref(args[0])
		if err != nil {
			return err
		}
		at, err := cl.Attributes(ctx, from, snapshot)
		if err != nil {
			return err
		}
		dir, name, err := target(ctx, cl, args[1], at.Name)
		if err != nil {
			return err
		}
		to, err := cl.Create(ctx, dir, name)
		if client.IsClass(err, "fs_entry_exists_error") {
			if !force {
				return fmt.Errorf("%w; replace it with --force", err)
			}
			zero := client.Number(0)
			to, err = cl.SetAttributes(ctx, client.Ref(path.Join(string(dir), name)), client.AttributesPatch{Size: &zero}, "")
		}
		if err != nil {
			return err
		}
		m := a.meter("copied", int64(at.Size))
		defer m.end()
		err = copyAll(client.Copy{ID: at.ID, Snapshot: client.Number(snapshot), ETag: at.ETag}, m, int64(at.Size), func(x client.Copy) (client.Copy, bool, error) {
			return cl.CopyChunk(ctx, client.RefOf(to.ID), x)
		})
		if err != nil {
			return err
		}
		return a.made(cl.Attributes(ctx, client.RefOf(to.ID), 0))
	})
	return c
}

// copyAll copies piece by piece.
func copyAll(x client.Copy, m *meter, size int64, chunk func(client.Copy) (client.Copy, bool, error)) error {
	for {
		rest, done, err := chunk(x)
		if err != nil || done {
			return err
		}
		x = rest
		m.set(size - int64(x.Length))
	}
}

func (a *app) fsPunch() *cobra.Command {
	return a.verb("punch PATH OFFSET SIZE", "Free a range of a file; it reads as zeros", cobra.ExactArgs(3), func(ctx context.Context, c *client.Client, args []string) error {
		r, err := ref(args[0])
		if err != nil {
			return err
		}
		off, err := size(args[1])
		if err != nil {
			return err
		}
		n, err := size(args[2])
		if err != nil {
			return err
		}
		return a.made(c.PunchHole(ctx, r, off, n))
	})
}

func (a *app) fsWatch() *cobra.Command {
	var o client.NotifyOptions
	c := &cobra.Command{Use: "watch PATH", Short: "Print changes in a directory until interrupted, one a line", Args: cobra.ExactArgs(1)}
	c.Flags().StringSliceVar(&o.Types, "type", nil, "only changes of these types, as child_file_added")
	c.Flags().BoolVarP(&o.Recursive, "recursive", "r", false, "in the whole tree")
	c.RunE = a.file(func(ctx context.Context, cl *client.Client, r client.Ref, _ []string) error {
		for n, err := range cl.Notify(ctx, r, o) {
			if err != nil {
				return err
			}
			if a.asJSON {
				err = a.jsonLine(n)
			} else {
				_, err = fmt.Fprintln(a.o.Out, n.Type, printable(n.Path))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return c
}

func (a *app) fsSample() *cobra.Command {
	var by string
	var n int
	c := &cobra.Command{Use: "sample PATH", Short: "Random files of a tree, likelier the larger ones", Args: cobra.ExactArgs(1)}
	c.Flags().StringVar(&by, "by", "", "what makes a file likelier: capacity, data, file, named_streams")
	c.Flags().IntVarP(&n, "count", "n", 10, "how many")
	c.RunE = a.file(func(ctx context.Context, cl *client.Client, r client.Ref, _ []string) error {
		fs, err := cl.SampleFiles(ctx, r, by, n)
		if err != nil {
			return err
		}
		return listing(a, fs, "ID CAPACITY NAME", func(f *client.SampledFile) []string {
			return []string{f.ID.String(), bytesText(f.CapacityBytes), f.Name}
		})
	})
	return c
}

func (a *app) fsPath() *cobra.Command {
	var snapshot uint64
	c := a.verb("path ID...", "Paths of file ids", cobra.MinimumNArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
		ids := make([]client.ID, len(args))
		for i := range args {
			if err := ids[i].UnmarshalText([]byte(args[i])); err != nil {
				return err
			}
		}
		ps, err := c.ResolveIDs(ctx, snapshot, ids...)
		if err != nil {
			return err
		}
		return listing(a, ps, "ID PATH", func(p *client.PathOfID) []string { return []string{p.ID.String(), p.Path} })
	})
	c.Flags().Uint64Var(&snapshot, "snapshot", 0, "as of this snapshot")
	return c
}

func (a *app) fsLock() *cobra.Command {
	var until, hold string
	c := &cobra.Command{Use: "lock PATH...", Short: "Keep files from change and removal", Args: cobra.MinimumNArgs(1),
		Long:    "Keep files from change and removal, over all protocols: until a time, which can be put off but never brought\nforward, or by a legal hold, which lasts until it is taken off.",
		Example: "  manifold fs lock /records/2026.pdf --until 2036-01-01T00:00:00Z\n  manifold fs lock /records/2026.pdf --legal-hold off"}
	c.Flags().StringVar(&until, "until", "", "time in RFC 3339")
	c.Flags().StringVar(&hold, "legal-hold", "", "on or off")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		var l client.FileLock
		if until != "" {
			t, err := time.Parse(time.RFC3339, until)
			if err != nil {
				return fmt.Errorf("--until %q: want a time as 2036-01-01T00:00:00Z", until)
			}
			l.Retention = &t
		}
		if hold != "" {
			on := hold == "on"
			if l.LegalHold = &on; !on && hold != "off" {
				return fmt.Errorf("--legal-hold %q: want on or off", hold)
			}
		}
		if l == (client.FileLock{}) {
			return errors.New("say --until or --legal-hold")
		}
		return each(args, func(r client.Ref) error { _, err := cl.SetFileLock(ctx, r, l, ""); return err })
	})
	return c
}

// printACL prints entries in their order.
func (a *app) printACL(p *client.ACL) error {
	if a.asJSON {
		return a.json(p)
	}
	if len(p.Control)+len(p.Special) > 0 {
		if err := a.record("Control", list(p.Control), "Special", list(p.Special)); err != nil {
			return err
		}
	}
	return listing(a, p.Entries, "N TYPE TRUSTEE FLAGS RIGHTS", func(e *client.ACE) []string {
		n := 0
		for i := range p.Entries {
			if &p.Entries[i] == e {
				n = i + 1
			}
		}
		return []string{strconv.Itoa(n), e.Type, e.Trustee.String(), dash(e.Flags), dash(e.Rights)}
	})
}

func dash(s []string) string {
	if len(s) == 0 {
		return "-"
	}
	return strings.Join(s, ",")
}

func (a *app) aclShow() *cobra.Command {
	var snapshot uint64
	c := &cobra.Command{Use: "show PATH", Short: "Permissions of a file", Args: cobra.ExactArgs(1)}
	c.Flags().Uint64Var(&snapshot, "snapshot", 0, "as of this snapshot")
	c.RunE = a.file(func(ctx context.Context, cl *client.Client, r client.Ref, _ []string) error {
		p, err := cl.ACL(ctx, r, snapshot)
		if err != nil {
			return err
		}
		return a.printACL(&p)
	})
	return c
}

// maxACLFile bounds a file with an ACL.
const maxACLFile = 4 << 20

func (a *app) aclSet() *cobra.Command {
	c := &cobra.Command{Use: "set PATH [FILE]", Short: "Replace the permissions of a file by JSON as show --json prints it, or by entries", Args: cobra.RangeArgs(1, 2),
		Example: "  manifold fs acl show /a --json | manifold fs acl set /b -\n  manifold fs acl set /a --allow local:jane=READ,EXECUTE --deny world:Everyone=DELETE --inherit"}
	var allow, denied []string
	var inherit bool
	c.Flags().StringArrayVar(&denied, "deny", nil, "WHO=RIGHT,...: an entry that denies; those come first")
	c.Flags().StringArrayVar(&allow, "allow", nil, "WHO=RIGHT,...: an entry that grants")
	c.Flags().BoolVar(&inherit, "inherit", false, "new files and directories below inherit the entries")
	c.RunE = a.file(func(ctx context.Context, cl *client.Client, r client.Ref, args []string) error {
		var p client.ACL
		switch {
		case len(args) == 1 && len(allow)+len(denied) > 0, len(args)+len(allow)+len(denied) == 0:
			return errors.New("give a file with JSON, or --allow and --deny")
		case len(args) == 1:
			b, err := a.read(args[0], maxACLFile)
			if err == nil {
				err = json.Unmarshal(b, &p)
			}
			if err != nil {
				return fmt.Errorf("permissions: %w", err)
			}
		default:
			p.Control, p.Special = []string{"PRESENT"}, []string{}
			for _, x := range []struct {
				kind    string
				entries []string
			}{{"DENIED", denied}, {"ALLOWED", allow}} {
				for _, s := range x.entries {
					who, rights, ok := strings.Cut(s, "=")
					if !ok || rights == "" {
						return fmt.Errorf("%q: want WHO=RIGHT,..., as local:jane=READ,EXECUTE", s)
					}
					e := client.ACE{Type: x.kind, Trustee: client.Named(who), Flags: []string{}, Rights: strings.Split(strings.ToUpper(rights), ",")}
					if inherit {
						e.Flags = []string{"OBJECT_INHERIT", "CONTAINER_INHERIT"}
					}
					p.Entries = append(p.Entries, e)
				}
			}
		}
		out, err := cl.SetACL(ctx, r, p, "")
		if err != nil {
			return err
		}
		return a.printACL(&out)
	})
	return c
}

func (a *app) aclExplainRights() *cobra.Command {
	var snapshot uint64
	var group string
	var others []string
	c := &cobra.Command{Use: "explain PATH WHO", Short: "What somebody may do with a file, entry by entry", Args: cobra.ExactArgs(2)}
	c.Flags().Uint64Var(&snapshot, "snapshot", 0, "as of this snapshot")
	c.Flags().StringVar(&group, "group", "", "primary group, in place of what is known")
	c.Flags().StringSliceVar(&others, "also", nil, "further groups")
	c.RunE = a.file(func(ctx context.Context, cl *client.Client, r client.Ref, args []string) error {
		who := client.Requestor{User: client.Named(args[0])}
		if group != "" {
			g := client.Named(group)
			who.PrimaryGroup = &g
		}
		for _, o := range others {
			who.Others = append(who.Others, client.Named(o))
		}
		x, err := cl.ExplainRights(ctx, r, snapshot, who)
		if err != nil {
			return err
		}
		if a.asJSON {
			return a.json(x)
		}
		var rows [][]string
		for i, s := range x.Steps {
			says := "is somebody else's"
			switch {
			case s.InheritOnly:
				says = "is for children only"
			case s.Matches:
				says = "allows " + dash(s.NewlyAllowed) + ", denies " + dash(s.NewlyDenied)
			}
			rows = append(rows, []string{strconv.Itoa(i + 1), s.ACE.Type, s.ACE.Trustee.String(), says})
		}
		if err := a.table("N TYPE TRUSTEE SAYS", rows); err != nil {
			return err
		}
		return a.record("By entries", dash(x.FromEntries), "As owner", dash(x.ImplicitOwner), "By the directory", dash(x.FromParent),
			"By privileges", dash(append(x.Admin, x.Read...)), "Read-only", onOff(x.ReadOnly), "At most", dash(x.Max), "Effective", dash(x.Effective))
	})
	return c
}

func (a *app) aclExplainMode() *cobra.Command {
	var snapshot uint64
	c := &cobra.Command{Use: "explain-mode PATH", Short: "How the mode of a file follows from its permissions", Args: cobra.ExactArgs(1)}
	c.Flags().Uint64Var(&snapshot, "snapshot", 0, "as of this snapshot")
	c.RunE = a.file(func(ctx context.Context, cl *client.Client, r client.Ref, _ []string) error {
		x, err := cl.ExplainMode(ctx, r, snapshot)
		if err != nil {
			return err
		}
		if a.asJSON {
			return a.json(x)
		}
		var rows [][]string
		for i, s := range x.Steps {
			rows = append(rows, []string{strconv.Itoa(i + 1), s.ACE.Type, s.ACE.Trustee.String(), s.Owner.Match, s.Group.Match, s.Other.Match, s.Bits})
		}
		if err := a.table("N TYPE TRUSTEE OWNER GROUP OTHERS BITS", rows); err != nil {
			return err
		}
		return a.record("Mode", x.Mode)
	})
	return c
}

func (a *app) aclExplainChmod() *cobra.Command {
	c := &cobra.Command{Use: "explain-chmod PATH MODE", Short: "What setting a mode would do to the permissions of a file", Args: cobra.ExactArgs(2)}
	c.RunE = a.file(func(ctx context.Context, cl *client.Client, r client.Ref, args []string) error {
		x, err := cl.ExplainChmod(ctx, r, 0, args[0])
		if err != nil {
			return err
		}
		if a.asJSON {
			return a.json(x)
		}
		var rows [][]string
		for _, s := range x.Steps {
			e := s.Result
			if e == nil {
				e = s.Source
			}
			rows = append(rows, []string{s.Action, e.Type, e.Trustee.String(), dash(s.RightsRemoved), s.Reason})
		}
		return a.table("ACTION TYPE TRUSTEE TAKES BECAUSE", rows)
	})
	return c
}

// onStream wraps a command whose first two arguments are a file and a stream of
// it, by name or id.
func (a *app) onStream(fn func(ctx context.Context, c *client.Client, r client.Ref, s client.Stream, args []string) error) action {
	return func(ctx context.Context, c *client.Client, args []string) error {
		r, err := ref(args[0])
		if err != nil {
			return err
		}
		ss, err := c.Streams(ctx, r, 0)
		if err != nil {
			return err
		}
		for _, s := range ss {
			if strings.EqualFold(s.Name, args[1]) || s.ID.String() == args[1] {
				return fn(ctx, c, r, s, args[2:])
			}
		}
		return fmt.Errorf("%s has no stream %q", args[0], args[1])
	}
}

func (a *app) streamCommands() []*cobra.Command {
	show := func(ss []client.Stream) error {
		return listing(a, ss, "ID SIZE NAME", func(s *client.Stream) []string { return []string{s.ID.String(), s.Size.String(), s.Name} })
	}
	one := func(s client.Stream, err error) error {
		if err != nil {
			return err
		}
		return show([]client.Stream{s})
	}
	var snapshot uint64
	ls := a.verb("list PATH", "Named streams of a file", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
		r, err := ref(args[0])
		if err != nil {
			return err
		}
		ss, err := c.Streams(ctx, r, snapshot)
		if err != nil {
			return err
		}
		return show(ss)
	})
	ls.Flags().Uint64Var(&snapshot, "snapshot", 0, "as of this snapshot")
	var offset int64
	write := a.verb("write PATH STREAM [FILE]", "Replace the content of a stream by that of a local file or of standard input", cobra.RangeArgs(2, 3),
		a.onStream(func(ctx context.Context, c *client.Client, r client.Ref, s client.Stream, args []string) error {
			f, err := a.open(append(args, "-")[0])
			if err != nil {
				return err
			}
			defer f.Close()
			in := struct{ io.Reader }{f}
			if offset >= 0 {
				return one(c.WriteStreamAt(ctx, r, s.ID, uint64(offset), in))
			}
			return one(c.WriteStream(ctx, r, s.ID, in))
		}))
	write.Flags().Int64Var(&offset, "offset", -1, "write from this byte on and keep the rest")
	return []*cobra.Command{
		ls, write,
		a.verb("show PATH STREAM", "One stream", cobra.ExactArgs(2), a.onStream(func(ctx context.Context, c *client.Client, r client.Ref, s client.Stream, _ []string) error {
			return one(c.Stream(ctx, r, s.ID, 0))
		})),
		a.verb("add PATH NAME", "Add an empty stream", cobra.ExactArgs(2), func(ctx context.Context, c *client.Client, args []string) error {
			r, err := ref(args[0])
			if err != nil {
				return err
			}
			return one(c.AddStream(ctx, r, args[1]))
		}),
		a.verb("cat PATH STREAM", "Print the content of a stream", cobra.ExactArgs(2), a.onStream(func(ctx context.Context, c *client.Client, r client.Ref, s client.Stream, _ []string) error {
			body, err := c.ReadStream(ctx, r, s.ID, client.ReadOptions{})
			if err != nil {
				return err
			}
			defer body.Close()
			_, err = io.Copy(a.o.Out, body)
			return err
		})),
		a.verb("truncate PATH STREAM SIZE", "Shorten or extend a stream", cobra.ExactArgs(3), a.onStream(func(ctx context.Context, c *client.Client, r client.Ref, s client.Stream, args []string) error {
			n, err := size(args[0])
			if err != nil {
				return err
			}
			return one(c.ResizeStream(ctx, r, s.ID, n))
		})),
		a.verb("mv PATH STREAM NAME", "Rename a stream", cobra.ExactArgs(3), a.onStream(func(ctx context.Context, c *client.Client, r client.Ref, s client.Stream, args []string) error {
			return one(c.RenameStream(ctx, r, s.ID, args[0]))
		})),
		a.verb("punch PATH STREAM OFFSET SIZE", "Free a range of a stream", cobra.ExactArgs(4), a.onStream(func(ctx context.Context, c *client.Client, r client.Ref, s client.Stream, args []string) error {
			off, err := size(args[0])
			if err != nil {
				return err
			}
			n, err := size(args[1])
			if err != nil {
				return err
			}
			return one(c.PunchStreamHole(ctx, r, s.ID, off, n))
		})),
		a.verb("cp PATH STREAM FROM", "Copy a file into a stream, within the server", cobra.ExactArgs(3), a.onStream(func(ctx context.Context, c *client.Client, r client.Ref, s client.Stream, args []string) error {
			from, err := ref(args[0])
			if err != nil {
				return err
			}
			at, err := c.Attributes(ctx, from, 0)
			if err != nil {
				return err
			}
			m := a.meter("copied", int64(at.Size))
			defer m.end()
			err = copyAll(client.Copy{ID: at.ID, ETag: at.ETag}, m, int64(at.Size), func(x client.Copy) (client.Copy, bool, error) { return c.CopyStreamChunk(ctx, r, s.ID, x) })
			if err != nil {
				return err
			}
			return one(c.Stream(ctx, r, s.ID, 0))
		})),
		a.verb("rm PATH STREAM", "Remove a stream", cobra.ExactArgs(2), a.onStream(func(ctx context.Context, c *client.Client, r client.Ref, s client.Stream, _ []string) error {
			return c.RemoveStream(ctx, r, s.ID)
		})),
	}
}

func (a *app) metadataCommands() []*cobra.Command {
	var space string
	var snapshot uint64
	ls := a.verb("list PATH", "User metadata of a file", cobra.ExactArgs(1), func(ctx context.Context, c *client.Client, args []string) error {
		r, err := ref(args[0])
		if err != nil {
			return err
		}
		ms, err := collect(c.ListUserMetadata(ctx, r, space, snapshot))
		if err != nil {
			return err
		}
		return listing(a, ms, "SPACE KEY VALUE", func(m *client.UserMetadata) []string { return []string{m.Space, m.Key, string(m.Value)} })
	})
	ls.Flags().StringVar(&space, "space", "", "only of one key space: generic or s3")
	ls.Flags().Uint64Var(&snapshot, "snapshot", 0, "as of this snapshot")
	var spaces [3]string
	in := func(i int, c *cobra.Command) *cobra.Command {
		c.Flags().StringVar(&spaces[i], "space", "generic", "key space: generic or s3")
		return c
	}
	var create bool
	set := in(0, a.verb("set PATH KEY VALUE", "Set a key", cobra.ExactArgs(3), func(ctx context.Context, c *client.Client, args []string) error {
		r, err := ref(args[0])
		if err != nil {
			return err
		}
		return c.SetUserMetadata(ctx, r, spaces[0], args[1], []byte(args[2]), create)
	}))
	set.Flags().BoolVar(&create, "new", false, "only if it is not there")
	return []*cobra.Command{
		ls, set,
		in(1, a.verb("get PATH KEY", "Value of a key", cobra.ExactArgs(2), func(ctx context.Context, c *client.Client, args []string) error {
			r, err := ref(args[0])
			if err != nil {
				return err
			}
			v, err := c.UserMetadata(ctx, r, spaces[1], args[1], 0)
			if err != nil {
				return err
			}
			if a.asJSON {
				return a.json(map[string]string{"value": base64.StdEncoding.EncodeToString(v)})
			}
			_, err = a.o.Out.Write(append(v, '\n'))
			return err
		})),
		in(2, a.verb("rm PATH KEY", "Remove a key", cobra.ExactArgs(2), func(ctx context.Context, c *client.Client, args []string) error {
			r, err := ref(args[0])
			if err != nil {
				return err
			}
			return c.RemoveUserMetadata(ctx, r, spaces[2], args[1])
		})),
	}
}
