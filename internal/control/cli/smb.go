package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"manifold/client"
)

func (a *app) smbCommand() *cobra.Command {
	return noun("smb", "SMB",
		noun("share", "SMB shares", a.shareList(), a.shareShow(), a.shareAdd(), a.shareModify(), a.shareDelete(),
			noun("permission", "Permissions of a share, of which the first that names a right decides; they count from 1", a.permissionAdd(), a.permissionModify(), a.permissionRemove())),
		noun("settings", "Settings of SMB", a.smbSettingsShow(), a.smbSettingsModify()),
		noun("session", "Clients that have signed in over SMB", a.smbSessionList(), a.smbClose("session", (*client.Client).CloseSMBSessions)),
		noun("file", "Files that are open over SMB", a.smbFileList(), a.smbClose("open file", (*client.Client).CloseSMBHandles)),
		noun("lock", "What SMB clients keep others from", a.smbLocks("list", "Byte-range locks of SMB clients", (*client.Client).SMBLocks), a.smbLocks("share-modes", "Share modes of opens of SMB clients", (*client.Client).SMBShareModes)))
}

func (a *app) shareList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List shares", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			ss, err := c.Shares(ctx)
			if err != nil {
				return err
			}
			return listing(a, ss, "ID SHARE DIRECTORY PERMISSIONS HOSTS DESCRIPTION", func(s *client.Share) []string {
				return []string{s.ID, s.ShareName, s.FSPath, sharePermissions(s), shareHosts(s), s.Description}
			})
		}),
	}
}

// sharePermissions renders permissions on one line, in order.
func sharePermissions(s *client.Share) string {
	var out []string
	for _, p := range s.Permissions {
		out = append(out, deny(p.Type)+p.Trustee.String()+":"+strings.Join(p.Rights, ","))
	}
	if out == nil {
		return "nobody"
	}
	return strings.Join(out, "; ")
}

func shareHosts(s *client.Share) string {
	var out []string
	for _, p := range s.Network {
		hosts := strings.Join(p.Addresses, ",")
		if hosts == "" {
			hosts = "everyone"
		}
		out = append(out, deny(p.Type)+hosts+":"+strings.Join(p.Rights, ","))
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, "; ")
}

func deny(kind string) string {
	if kind == "DENIED" {
		return "not "
	}
	return ""
}

func (a *app) showShare(s *client.Share) error {
	if a.asJSON {
		return a.json(s)
	}
	return a.record("Id", s.ID, "Share", s.ShareName, "Directory", s.FSPath, "Description", s.Description, "Permissions", sharePermissions(s), "Hosts", shareHosts(s),
		"Files are made", s.FileMode, "Directories", s.DirMode, "Lists only what may be read", onOff(s.AccessBased), "Requires encryption", onOff(s.RequireEncryption))
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (a *app) shareShow() *cobra.Command {
	return &cobra.Command{
		Use: "show SHARE", Short: "One share, by id or name", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			s, err := c.Share(ctx, args[0])
			if err != nil {
				return err
			}
			return a.showShare(&s)
		}),
	}
}

// shareFlags describe a share on the command line.
type shareFlags struct {
	name, dir, description     string
	full, write, read, denied  []string
	hosts, readHosts, notHosts []string
	fileMode, dirMode          string
	abe, encrypt, mkdir        bool
}

func (f *shareFlags) add(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.description, "description", "", "text for people")
	fl.StringSliceVar(&f.full, "grant", nil, "users and groups that may do everything; these four replace all permissions")
	fl.StringSliceVar(&f.write, "grant-write", nil, "users and groups that may read and write")
	fl.StringSliceVar(&f.read, "grant-read", nil, "users and groups that may read")
	fl.StringSliceVar(&f.denied, "deny", nil, "users and groups that may do nothing, whatever else is said")
	fl.StringSliceVar(&f.hosts, "host", nil, "addresses, ranges or networks with full access, * for all; these three replace all rules")
	fl.StringSliceVar(&f.readHosts, "read-only-host", nil, "addresses from which nothing can be written")
	fl.StringSliceVar(&f.notHosts, "deny-host", nil, "addresses without access, whatever else is said")
	fl.StringVar(&f.fileMode, "file-mode", "0644", "mode of files where nothing is inherited")
	fl.StringVar(&f.dirMode, "directory-mode", "0755", "mode of directories where nothing is inherited")
	fl.BoolVar(&f.abe, "access-based-enumeration", false, "list only what the user may read")
	fl.BoolVar(&f.encrypt, "require-encryption", false, "refuse clients that do not encrypt")
	fl.BoolVar(&f.mkdir, "create-directory", false, "make the directory if it is missing")
}

// apply changes what was given on the command line.
func (f *shareFlags) apply(c *cobra.Command, s *client.Share) {
	given := c.Flags().Changed
	if given("description") {
		s.Description = f.description
	}
	if slices.ContainsFunc([]string{"grant", "grant-write", "grant-read", "deny"}, given) {
		s.Permissions = []client.SharePermission{}
		for _, x := range []struct {
			who    []string
			kind   string
			rights []string
		}{{f.denied, "DENIED", []string{"ALL"}}, {f.full, "ALLOWED", []string{"ALL"}}, {f.write, "ALLOWED", []string{"READ", "WRITE"}}, {f.read, "ALLOWED", []string{"READ"}}} {
			for _, w := range x.who {
				s.Permissions = append(s.Permissions, client.SharePermission{Type: x.kind, Trustee: client.Named(w), Rights: x.rights})
			}
		}
	}
	if slices.ContainsFunc([]string{"host", "read-only-host", "deny-host"}, given) {
		s.Network = []client.NetworkPermission{}
		for _, x := range []struct {
			hosts  []string
			kind   string
			rights string
		}{{f.notHosts, "DENIED", "ALL"}, {f.readHosts, "ALLOWED", "READ"}, {f.hosts, "ALLOWED", "ALL"}} {
			if len(x.hosts) > 0 {
				hosts := x.hosts
				if len(hosts) == 1 && hosts[0] == "*" {
					hosts = []string{}
				}
				s.Network = append(s.Network, client.NetworkPermission{Type: x.kind, Addresses: hosts, Rights: []string{x.rights}})
			}
		}
	}
	if given("file-mode") {
		s.FileMode = f.fileMode
	}
	if given("directory-mode") {
		s.DirMode = f.dirMode
	}
	if given("access-based-enumeration") {
		s.AccessBased = f.abe
	}
	if given("require-encryption") {
		s.RequireEncryption = f.encrypt
	}
}

func (a *app) shareAdd() *cobra.Command {
	var f shareFlags
	c := &cobra.Command{
		Use: "add NAME DIRECTORY", Short: "Share a directory", Args: cobra.ExactArgs(2),
		Long: "Share a directory. Without --grant, --grant-write, --grant-read or --deny everybody who has an account may do everything,\nand without hosts from everywhere. Guests have to be named: --grant-read guest.",
	}
	f.add(c)
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		all := []string{"ALL"}
		s := client.Share{
			ShareName: args[0], FSPath: args[1], FileMode: "0644", DirMode: "0755",
			Permissions: []client.SharePermission{{Type: "ALLOWED", Trustee: client.Named("world:Everyone"), Rights: all}},
			Network:     []client.NetworkPermission{{Type: "ALLOWED", Addresses: []string{}, Rights: all}},
		}
		f.apply(c, &s)
		made, err := cl.AddShare(ctx, s, f.mkdir)
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

func (a *app) shareModify() *cobra.Command {
	var f shareFlags
	c := &cobra.Command{Use: "modify SHARE", Short: "Change parts of a share", Args: cobra.ExactArgs(1)}
	f.add(c)
	c.Flags().StringVar(&f.name, "name", "", "new name")
	c.Flags().StringVar(&f.dir, "fs-path", "", "new directory")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, args []string) error {
		s, err := cl.Share(ctx, args[0])
		if err != nil {
			return err
		}
		f.apply(c, &s)
		if f.name != "" {
			s.ShareName = f.name
		}
		if f.dir != "" {
			s.FSPath = f.dir
		}
		// The tag keeps a change by somebody else from being undone.
		out, err := cl.ReplaceShare(ctx, s.ID, s, f.mkdir, s.ETag)
		if err != nil || !a.asJSON {
			return err
		}
		return a.json(out)
	})
	return c
}

func (a *app) shareDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete SHARE", Short: "Remove a share, by id or name; its clients lose it", Args: cobra.ExactArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error { return c.DeleteShare(ctx, args[0]) }),
	}
}

func (a *app) smbSettingsShow() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Settings of SMB", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			s, err := c.SMBSettings(ctx)
			if err != nil {
				return err
			}
			return a.showSMBSettings(s)
		}),
	}
}

func (a *app) showSMBSettings(s client.SMBSettings) error {
	if a.asJSON {
		return a.json(s)
	}
	dialects := "none: SMB is off"
	if len(s.Dialects) > 0 {
		dialects = strings.ReplaceAll(strings.Join(s.Dialects, ", "), "SMB2_DIALECT_", "")
	}
	return a.record("Dialects", dialects, "Encryption", s.Encryption, "Signing required", onOff(s.SigningRequired), "Snapshot directories", s.SnapshotMode,
		"Shares hidden from users without rights", onOff(s.HideFromUsers), "from hosts without rights", onOff(s.HideFromHosts), "Traverse without rights", onOff(s.BypassTraverse))
}

func (a *app) smbSettingsModify() *cobra.Command {
	var encryption, snapshots string
	var dialects []string
	var signing, hideUsers, hideHosts, traverse bool
	c := &cobra.Command{Use: "modify", Short: "Change settings of SMB", Args: cobra.NoArgs}
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		s, err := cl.SMBSettings(ctx)
		if err != nil {
			return err
		}
		given := c.Flags().Changed
		changed := false
		for name, set := range map[string]func(){
			"encryption":            func() { s.Encryption = strings.ToUpper(encryption) },
			"snapshot-directories":  func() { s.SnapshotMode = strings.ToUpper(snapshots) },
			"signing-required":      func() { s.SigningRequired = signing },
			"hide-from-users":       func() { s.HideFromUsers = hideUsers },
			"hide-from-hosts":       func() { s.HideFromHosts = hideHosts },
			"bypass-traverse-check": func() { s.BypassTraverse = traverse },
			"dialects": func() {
				s.Dialects = []string{}
				for _, d := range dialects {
					if d != "" && d != "none" {
						s.Dialects = append(s.Dialects, "SMB2_DIALECT_"+d)
					}
				}
			},
		} {
			if given(name) {
				set()
				changed = true
			}
		}
		if !changed {
			return errors.New("nothing to change was given")
		}
		// The tag keeps a change by somebody else from being undone.
		if s, err = cl.ReplaceSMBSettings(ctx, s, s.ETag); err != nil {
			return err
		}
		return a.showSMBSettings(s)
	})
	f := c.Flags()
	f.StringSliceVar(&dialects, "dialects", nil, "served dialects, of 2_002, 2_1, 3_0 and 3_11; none switches SMB off")
	f.StringVar(&encryption, "encryption", "", "none, preferred or required")
	f.StringVar(&snapshots, "snapshot-directories", "", "visible, hidden or disabled")
	f.BoolVar(&signing, "signing-required", false, "refuse what is not signed")
	f.BoolVar(&hideUsers, "hide-from-users", false, "do not show shares to users without rights")
	f.BoolVar(&hideHosts, "hide-from-hosts", false, "do not show shares to hosts without rights")
	f.BoolVar(&traverse, "bypass-traverse-check", false, "let everybody pass through directories")
	return c
}

func (a *app) smbSessionList() *cobra.Command {
	var identity string
	c := &cobra.Command{
		Use: "list", Short: "List sessions", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			ss, err := collect(c.SMBSessions(ctx, identity))
			if err != nil {
				return err
			}
			return listing(a, ss, "LOCATION USER CLIENT OPENS IDLE ENCRYPTED SHARES", func(s *client.SMBSession) []string {
				idle := time.Duration(s.TimeIdle.Nanoseconds).Round(time.Second)
				return []string{s.Location, s.User.String(), s.Originator, fmt.Sprint(s.NumOpens), idle.String(), onOff(s.IsEncrypted), strings.Join(s.ShareNames, ",")}
			})
		}),
	}
	c.Flags().StringVar(&identity, "identity", "", "only those of a user")
	return c
}

func (a *app) smbFileList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List open files", Args: cobra.NoArgs,
		RunE: a.run(func(ctx context.Context, c *client.Client, _ []string) error {
			hs, err := collect(c.SMBHandles(ctx))
			if err != nil {
				return err
			}
			return listing(a, hs, "LOCATION FILE OWNER LOCKS PATH", func(h *client.SMBHandle) []string {
				return []string{h.Info.Location, h.FileNumber.String(), h.Info.Owner, fmt.Sprint(h.Info.NumLocks), h.Info.Path}
			})
		}),
	}
}

func (a *app) smbClose(what string, end func(*client.Client, context.Context, ...string) ([]client.SMBClosed, error)) *cobra.Command {
	return &cobra.Command{
		Use: "close LOCATION...", Short: "Close one or more, under their clients' hands", Args: cobra.MinimumNArgs(1),
		RunE: a.run(func(ctx context.Context, c *client.Client, args []string) error {
			out, err := end(c, ctx, args...)
			if err != nil {
				return err
			}
			var errs []error
			for i, r := range out {
				if r.Error != "" && i < len(args) {
					errs = append(errs, fmt.Errorf("%s %s: %s", what, args[i], r.Error))
				}
			}
			return errors.Join(errs...)
		}),
	}
}

func (a *app) smbLocks(use, short string, get func(*client.Client, context.Context, client.LockFilter) iter.Seq2[client.Lock, error]) *cobra.Command {
	var f client.LockFilter
	var file string
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	c.Flags().StringVar(&file, "file", "", "only of this file")
	c.Flags().StringVar(&f.OwnerAddress, "address", "", "only of the client with this address")
	c.RunE = a.run(func(ctx context.Context, cl *client.Client, _ []string) error {
		if file != "" {
			r, err := ref(file)
			if err != nil {
				return err
			}
			f.File = r
		}
		ls, err := collect(get(cl, ctx, f))
		if err != nil {
			return err
		}
		return listing(a, ls, "FILE MODE OFFSET SIZE OWNER ADDRESS", func(l *client.Lock) []string {
			return []string{l.FileID.String(), strings.Join(l.Mode, ","), l.Offset.String(), l.Size.String(), l.OwnerID, l.OwnerAddress}
		})
	})
	return c
}
