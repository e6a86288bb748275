package ftp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
)

// lister writes entries in one of the formats.
type lister struct {
	c   *conn
	now time.Time
	// line renders one entry, "" for none.
	line func(ctx context.Context, l *lister, name string, a *fs.Attr) string
}

// listing is what a LIST, NLST or MLSD is about: a directory, or the entries
// of it that match, or one object.
type listing struct {
	dir     fs.Node
	pattern string // "" for all
	one     *walk.Place
	prefix  string // put before names
}

// find looks for what an argument names.
func (c *conn) find(ctx context.Context, arg string) (listing, error) {
	p, err := c.there(ctx, arg, true, fs.AttrBasic)
	switch {
	case err == nil && p.Attr.Type == fs.Directory:
		l := listing{dir: p.Attr.Node}
		if arg != "" && arg != "." {
			l.prefix = strings.TrimSuffix(arg, "/") + "/"
		}
		return l, nil
	case err == nil:
		// A link to a file is shown as the link that it is.
		if p, err = c.there(ctx, arg, false, fs.AttrBasic); err != nil {
			return listing{}, err
		}
		return listing{one: &p, prefix: dirPrefix(arg)}, nil
	}
	pattern := path.Base(arg)
	if !c.set.ExpandWildcards || fs.KindOf(err) != fs.NotExist || !strings.ContainsAny(pattern, "*?[") || strings.HasSuffix(arg, "/") {
		// A dangling link exists, though what it points to does not.
		if q, lerr := c.there(ctx, arg, false, fs.AttrBasic); lerr == nil {
			return listing{one: &q, prefix: dirPrefix(arg)}, nil
		}
		return listing{}, err
	}
	if _, err := path.Match(pattern, ""); err != nil {
		return listing{}, fs.NameInvalid
	}
	prefix := dirPrefix(arg)
	if p, err = c.there(ctx, prefix, true, 0); err != nil {
		return listing{}, err
	}
	if p.Attr.Type != fs.Directory {
		return listing{}, fs.NotDir
	}
	return listing{dir: p.Attr.Node, pattern: pattern, prefix: prefix}, nil
}

// dirPrefix is all of a path up to its last slash.
func dirPrefix(p string) string { return p[:strings.LastIndexByte(p, '/')+1] }

// mayList fails early, before a data connection is made for nothing.
func (c *conn) mayList(ctx context.Context, l *listing) error {
	if l.one != nil {
		return nil
	}
	got, err := c.s.o.FS.Access(ctx, c.caller, l.dir, fs.RightList)
	if err == nil && got&fs.RightList == 0 {
		err = fs.Access
	}
	return err
}

// page is how many entries are held at a time.
const page = 512

// write renders a listing, entry by entry, in the order of names.
func (f *lister) write(ctx context.Context, l *listing, out io.Writer, o *Op) error {
	w := bufio.NewWriterSize(out, 32<<10)
	put := func(name string, a *fs.Attr) error {
		s := f.line(ctx, f, l.prefix+name, a)
		if s == "" {
			return nil
		}
		o.Out += uint64(len(s) + 2)
		_, err := w.WriteString(s + "\r\n")
		return err
	}
	if l.one != nil {
		name := l.one.Name
		if err := put(name, &l.one.Attr); err != nil {
			return err
		}
		return w.Flush()
	}
	type entry struct {
		name string
		attr fs.Attr
	}
	entries := make([]entry, 0, page)
	for after, eof := "", false; !eof; {
		entries = entries[:0]
		seen := 0
		var err error
		eof, err = f.c.s.o.FS.ReadDirByName(ctx, f.c.caller, l.dir, after, fs.AttrBasic, func(d *fs.Dirent) bool {
			after = d.Name
			seen++
			if d.Attr.Mask != 0 {
				if ok, _ := path.Match(l.pattern, d.Name); ok || l.pattern == "" {
					entries = append(entries, entry{d.Name, d.Attr})
				}
			}
			return seen < page
		})
		if err != nil {
			return errStored{err}
		}
		for i := range entries {
			if err := put(entries[i].name, &entries[i].attr); err != nil {
				return err
			}
		}
	}
	return w.Flush()
}

func (c *conn) sendList(ctx context.Context, verb, arg string, line func(context.Context, *lister, string, *fs.Attr) string) {
	if !c.ready() {
		return
	}
	l, err := c.find(ctx, arg)
	if err == nil {
		err = c.mayList(ctx, &l)
	}
	if err == nil && verb == "MLSD" && l.one != nil {
		c.reply(501, "Not a directory.")
		return
	}
	if err != nil {
		c.fail(ctx, err)
		return
	}
	if verb != "NLST" {
		l.prefix = ""
	}
	f := &lister{c: c, now: time.Now(), line: line}
	c.run(ctx, verb, arg, "Here comes the listing.",
		func(ctx context.Context, d *dataConn, o *Op) error { return f.write(ctx, &l, d, o) }, nil)
}

func (c *conn) list(ctx context.Context, arg string) {
	c.sendList(ctx, "LIST", splitOptions(arg), longLine)
}

func (c *conn) nlst(ctx context.Context, arg string) {
	c.sendList(ctx, "NLST", splitOptions(arg), func(_ context.Context, _ *lister, name string, _ *fs.Attr) string { return printable(name) })
}

// mlsd and mlst are RFC 3659 7.
func (c *conn) mlsd(ctx context.Context, arg string) {
	c.sendList(ctx, "MLSD", arg, factLine)
}

func (c *conn) mlst(ctx context.Context, arg string) {
	p, err := c.there(ctx, arg, false, fs.AttrBasic)
	if err != nil {
		c.fail(ctx, err)
		return
	}
	f := &lister{c: c, now: time.Now()}
	c.block(250, "Listing:", []string{factLine(ctx, f, p.Path, &p.Attr)}, "End.")
}

// maxStat bounds the lines of a STAT, which go over the control connection.
const maxStat = 1000

// stat is RFC 959 4.1.3: about the server, or a listing.
func (c *conn) stat(ctx context.Context, arg string) {
	if arg == "" {
		c.mu.Lock()
		busy := c.transfer != nil
		c.mu.Unlock()
		state := "No transfer."
		if busy {
			state = "A transfer is running."
		}
		tls := "The control connection is in the clear."
		if c.secure {
			tls = "The control connection is encrypted."
		}
		c.block(211, "Status:", []string{"Logged in as " + c.account.User, tls, state}, "End of status.")
		return
	}
	c.await()
	l, err := c.find(ctx, splitOptions(arg))
	if err == nil {
		err = c.mayList(ctx, &l)
	}
	var b strings.Builder
	if err == nil {
		l.prefix = ""
		f := &lister{c: c, now: time.Now(), line: longLine}
		err = f.write(ctx, &l, &limitedLines{b: &b, left: maxStat}, &Op{})
	}
	if err != nil && err != errEnough {
		c.fail(ctx, err)
		return
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\r\n"), "\r\n")
	last := "End of status."
	if err == errEnough {
		lines, last = lines[:min(len(lines), maxStat)], "There is more; use LIST."
	}
	c.block(213, "Status:", lines, last)
}

var errEnough = fmt.Errorf("ftp: listing is too long for the control connection")

type limitedLines struct {
	b    *strings.Builder
	left int
}

func (l *limitedLines) Write(p []byte) (int, error) {
	l.b.Write(p)
	if l.left -= strings.Count(string(p), "\n"); l.left <= 0 {
		return len(p), errEnough
	}
	return len(p), nil
}

var typeLetters = map[fs.Type]byte{
	fs.File: '-', fs.Directory: 'd', fs.Symlink: 'l', fs.FIFO: 'p', fs.Socket: 's', fs.CharDevice: 'c', fs.BlockDevice: 'b',
}

// longLine renders as "ls -l" does, in UTC.
func longLine(ctx context.Context, l *lister, name string, a *fs.Attr) string {
	m := []byte("-rwxrwxrwx")
	m[0] = typeLetters[a.Type]
	for i := range 9 {
		if a.Mode&(1<<(8-i)) == 0 {
			m[1+i] = '-'
		}
	}
	for _, s := range []struct {
		bit        fs.Mode
		at         int
		set, unset byte
	}{{fs.ModeSetuid, 3, 's', 'S'}, {fs.ModeSetgid, 6, 's', 'S'}, {fs.ModeSticky, 9, 't', 'T'}} {
		if a.Mode&s.bit != 0 {
			if m[s.at] == '-' {
				m[s.at] = s.unset
			} else {
				m[s.at] = s.set
			}
		}
	}
	t := a.Mtime.Time()
	when := t.Format("Jan 02 15:04")
	if age := l.now.Sub(t); age > 182*24*time.Hour || age < -24*time.Hour {
		when = t.Format("Jan 02  2006")
	}
	name = printable(name)
	if a.Type == fs.Symlink {
		if target, err := l.c.s.o.FS.Readlink(ctx, l.c.caller, a.Node); err == nil {
			name += " -> " + printable(string(target))
		}
	}
	ids := l.c.s.o.Identities
	return fmt.Sprintf("%s %4d %-8d %-8d %12d %s %s", m, a.Links, ids.UIDOf(a.Owner), ids.GIDOf(a.Group), a.Size, when, name)
}
