package ftp

import (
	"context"
	"crypto/md5"  //nolint:gosec // a checksum that clients ask for by name
	"crypto/sha1" //nolint:gosec // likewise
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"slices"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
)

// at resolves a path of the client.
func (c *conn) at(ctx context.Context, path string, follow bool, want fs.AttrMask) (walk.Place, error) {
	return c.tree.Walk(ctx, c.caller, c.cwd, path, follow, want)
}

// there resolves a path to something that must exist.
func (c *conn) there(ctx context.Context, path string, follow bool, want fs.AttrMask) (walk.Place, error) {
	p, err := c.at(ctx, path, follow, want)
	if err == nil && !p.Exists {
		err = fs.E("walk", p.Dir, p.Name, fs.NotExist, nil)
	}
	return p, err
}

func (c *conn) cwdCmd(ctx context.Context, arg string) {
	if arg == "" {
		arg = "/"
	}
	p, err := c.there(ctx, arg, true, 0)
	if err == nil && p.Attr.Type != fs.Directory {
		err = fs.NotDir
	}
	if err == nil {
		var got fs.Rights
		if got, err = c.s.o.FS.Access(ctx, c.caller, p.Attr.Node, fs.RightTraverse); err == nil && got&fs.RightTraverse == 0 {
			err = fs.Access
		}
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	c.cwd = p.Path
	c.reply(250, "Directory changed.")
}

func (c *conn) cdup(ctx context.Context, _ string) { c.cwdCmd(ctx, "..") }

func (c *conn) pwd(context.Context, string) {
	c.reply(257, quoted(c.cwd)+" is the current directory.")
}

func (c *conn) mkd(ctx context.Context, arg string) {
	p, err := c.at(ctx, arg, false, 0)
	if err == nil && p.Exists {
		err = fs.Exist
	}
	if err == nil {
		mode := 0o777 &^ c.s.umask
		err = walk.Retry(ctx, func() error {
			_, err := c.s.o.FS.Create(ctx, c.caller, p.Dir, p.Name, &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}})
			return err
		})
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	c.reply(257, quoted(p.Path)+" was created.")
}

func (c *conn) remove(ctx context.Context, arg string, mode fs.RemoveMode) {
	p, err := c.there(ctx, arg, false, 0)
	if err == nil && p.Name == "" {
		err = fs.Invalid
	}
	if err == nil {
		err = walk.Retry(ctx, func() error {
			_, err := c.s.o.FS.Remove(ctx, c.caller, p.Dir, p.Name, mode)
			return err
		})
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	c.reply(250, "Removed.")
}

func (c *conn) dele(ctx context.Context, arg string) { c.remove(ctx, arg, fs.RemoveFile) }
func (c *conn) rmd(ctx context.Context, arg string)  { c.remove(ctx, arg, fs.RemoveDir) }

func (c *conn) rnfr(ctx context.Context, arg string) {
	p, err := c.there(ctx, arg, false, 0)
	if err == nil && p.Name == "" {
		err = fs.Invalid
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	c.renameFrom = p.Path
	c.reply(350, "RNTO comes next.")
}

func (c *conn) rnto(ctx context.Context, arg string) {
	from := c.renameFrom
	c.renameFrom = ""
	if from == "" {
		c.reply(503, "RNFR comes first.")
		return
	}
	f, err := c.there(ctx, from, false, 0)
	var t walk.Place
	if err == nil {
		t, err = c.at(ctx, arg, false, 0)
	}
	if err == nil && t.Name == "" {
		err = fs.Invalid
	}
	if err == nil {
		err = walk.Retry(ctx, func() error {
			_, err := c.s.o.FS.Rename(ctx, c.caller, f.Dir, f.Name, t.Dir, t.Name, fs.RenameOptions{})
			return err
		})
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	c.reply(250, "Renamed.")
}

// file answers the attributes of a regular file.
func (c *conn) file(ctx context.Context, arg string) (walk.Place, bool) {
	p, err := c.there(ctx, arg, true, fs.AttrBasic)
	if err == nil && p.Attr.Type != fs.File {
		err = fs.NotFile
		if p.Attr.Type == fs.Directory {
			err = fs.IsDir
		}
	}
	if err != nil {
		c.fail(ctx, err)
	}
	return p, err == nil
}

func (c *conn) size(ctx context.Context, arg string) {
	if p, ok := c.file(ctx, arg); ok {
		c.reply(213, fmt.Sprint(p.Attr.Size))
	}
}

func (c *conn) mdtm(ctx context.Context, arg string) {
	if p, ok := c.file(ctx, arg); ok {
		c.reply(213, p.Attr.Mtime.Time().Format(timeFormat))
	}
}

// mfmt is draft-somers-ftp-mfxx 3.
func (c *conn) mfmt(ctx context.Context, arg string) {
	when, path, _ := strings.Cut(arg, " ")
	t, err := parseTime(when)
	if err != nil || path == "" {
		c.reply(501, "MFMT wants YYYYMMDDHHMMSS and a path.")
		return
	}
	if c.setAttr(ctx, path, &fs.SetAttr{Mtime: &fs.TimeSet{Time: t}}) {
		c.reply(213, "Modify="+when+"; "+path)
	}
}

func (c *conn) setAttr(ctx context.Context, path string, s *fs.SetAttr) bool {
	p, err := c.there(ctx, path, true, 0)
	if err == nil {
		err = walk.Retry(ctx, func() error {
			_, err := c.s.o.FS.SetAttr(ctx, c.caller, p.Attr.Node, s)
			return err
		})
	}
	if err != nil {
		c.fail(ctx, err)
	}
	return err == nil
}

func (c *conn) site(ctx context.Context, arg string) {
	what, rest, _ := strings.Cut(arg, " ")
	switch strings.ToUpper(what) {
	case "CHMOD":
		octal, path, _ := strings.Cut(rest, " ")
		mode, err := parseMode(octal)
		if err != nil || path == "" {
			c.reply(501, "SITE CHMOD wants an octal mode and a path.")
			return
		}
		if c.setAttr(ctx, path, &fs.SetAttr{Mode: &mode}) {
			c.reply(200, "Mode changed.")
		}
	case "SYMLINK":
		c.symlink(ctx, rest)
	case "HELP":
		c.block(214, "SITE commands:", []string{"CHMOD mode path", "SYMLINK target path", "HELP"}, "End of help.")
	default:
		c.reply(504, "Unknown SITE command.")
	}
}

// symlink is what lftp sends; it does not say how spaces would be told apart.
func (c *conn) symlink(ctx context.Context, arg string) {
	target, path, _ := strings.Cut(arg, " ")
	if target == "" || path == "" || strings.Contains(path, " ") {
		c.reply(501, "SITE SYMLINK wants a target and a path, without spaces.")
		return
	}
	p, err := c.at(ctx, path, false, 0)
	if err == nil && p.Exists {
		err = fs.Exist
	}
	if err == nil {
		err = walk.Retry(ctx, func() error {
			_, err := c.s.o.FS.Create(ctx, c.caller, p.Dir, p.Name, &fs.CreateSpec{Type: fs.Symlink, Target: []byte(target)})
			return err
		})
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	c.reply(200, "Linked.")
}

// avbl is draft-peterson-streamlined-ftp-command-extensions 4.
func (c *conn) avbl(ctx context.Context, arg string) {
	p, err := c.there(ctx, arg, true, 0)
	var s fs.StatFS
	if err == nil {
		s, err = c.s.o.FS.StatFS(ctx, c.caller, p.Attr.Node)
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	c.reply(213, fmt.Sprint(s.AvailBytes))
}

// Algorithms of HASH (draft-bryan-ftpext-hash).
var hashes = map[string]func() hash.Hash{
	"CRC32": func() hash.Hash { return crc32.NewIEEE() }, "MD5": md5.New, "SHA-1": sha1.New, "SHA-256": sha256.New, "SHA-512": sha512.New,
}

const defaultHash = "SHA-256"

func hashFeature(now string) string {
	var names []string
	for name := range hashes {
		if name == now {
			name += "*"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return "HASH " + strings.Join(names, ";")
}

// sum answers the digest of a file.
func (c *conn) sum(ctx context.Context, arg, algorithm string) (sum string, size uint64, err error) {
	p, err := c.there(ctx, arg, true, 0)
	if err != nil {
		return "", 0, err
	}
	h, _, err := c.openFile(ctx, &p, fs.RightRead, fs.OpenExisting)
	if err != nil {
		return "", 0, err
	}
	defer h.Close(context.WithoutCancel(ctx))
	d := hashes[algorithm]()
	var o Op
	if err := send(ctx, h, 0, d, &o); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(d.Sum(nil)), o.Out, nil
}

func (c *conn) hashCmd(ctx context.Context, arg string) {
	sum, size, err := c.sum(ctx, arg, c.hash)
	if err != nil {
		c.fail(ctx, err)
		return
	}
	c.reply(213, fmt.Sprintf("%s 0-%d %s %s", c.hash, size, sum, arg))
}

// digest answers the older commands that name their algorithm.
func digest(algorithm string) func(*conn, context.Context, string) {
	return func(c *conn, ctx context.Context, arg string) {
		if len(arg) > 1 && arg[0] == '"' && arg[len(arg)-1] == '"' {
			arg = arg[1 : len(arg)-1]
		}
		sum, _, err := c.sum(ctx, arg, algorithm)
		if err != nil {
			c.fail(ctx, err)
			return
		}
		c.reply(250, sum)
	}
}
