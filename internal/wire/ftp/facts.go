package ftp

import (
	"context"
	"fmt"
	"strings"

	"manifold/internal/fs"
)

// factSet is the selection of facts in MLSD and MLST (RFC 3659 7.5), by their
// place in factNames.
type factSet uint16

var factNames = [...]string{"type", "size", "modify", "create", "perm", "unique", "UNIX.mode", "UNIX.owner", "UNIX.group"}

const (
	factType = factSet(1) << iota
	factSize
	factModify
	factCreate
	factPerm
	factUnique
	factMode
	factOwner
	factGroup

	// perm costs a question for every entry, so it is told when asked for.
	defaultFacts = factType | factSize | factModify | factUnique | factMode | factOwner | factGroup
)

// feature is the parameter of MLST in FEAT.
func (s factSet) feature() string {
	var b strings.Builder
	for i, n := range factNames {
		b.WriteString(n)
		if s&(1<<i) != 0 {
			b.WriteByte('*')
		}
		b.WriteByte(';')
	}
	return b.String()
}

// String lists what is chosen.
func (s factSet) String() string {
	var b strings.Builder
	for i, n := range factNames {
		if s&(1<<i) != 0 {
			b.WriteString(n + ";")
		}
	}
	return b.String()
}

// parseFacts is the argument of OPTS MLST; unknown facts are left out.
func parseFacts(arg string) factSet {
	var s factSet
	for f := range strings.SplitSeq(arg, ";") {
		for i, n := range factNames {
			if strings.EqualFold(f, n) {
				s |= 1 << i
			}
		}
	}
	return s
}

// factLine renders one entry.
func factLine(ctx context.Context, l *lister, name string, a *fs.Attr) string {
	var b strings.Builder
	s := l.c.facts
	if s&factType != 0 {
		switch a.Type {
		case fs.File:
			b.WriteString("type=file;")
		case fs.Directory:
			b.WriteString("type=dir;")
		case fs.Symlink:
			target, err := l.c.s.o.FS.Readlink(ctx, l.c.caller, a.Node)
			if err != nil || strings.ContainsAny(string(target), "; ") {
				b.WriteString("type=OS.unix=symlink;")
			} else {
				b.WriteString("type=OS.unix=slink:" + printable(string(target)) + ";")
			}
		default:
			b.WriteString("type=OS.unix=special;")
		}
	}
	if s&factSize != 0 && a.Type == fs.File {
		fmt.Fprintf(&b, "size=%d;", a.Size)
	}
	if s&factModify != 0 {
		fmt.Fprintf(&b, "modify=%s;", a.Mtime.Time().Format(timeFormat))
	}
	if s&factCreate != 0 {
		if full, err := l.c.s.o.FS.GetAttr(ctx, l.c.caller, a.Node, fs.AttrBtime); err == nil {
			fmt.Fprintf(&b, "create=%s;", full.Btime.Time().Format(timeFormat))
		}
	}
	if s&factPerm != 0 {
		fmt.Fprintf(&b, "perm=%s;", l.perm(ctx, a))
	}
	if s&factUnique != 0 {
		fmt.Fprintf(&b, "unique=%xg%x;", uint64(a.Node.ID), uint64(a.Node.Snap))
	}
	if s&factMode != 0 {
		fmt.Fprintf(&b, "UNIX.mode=%04o;", a.Mode)
	}
	if s&factOwner != 0 {
		fmt.Fprintf(&b, "UNIX.owner=%d;", l.c.s.o.Identities.UIDOf(a.Owner))
	}
	if s&factGroup != 0 {
		fmt.Fprintf(&b, "UNIX.group=%d;", l.c.s.o.Identities.GIDOf(a.Group))
	}
	return b.String() + " " + printable(name)
}

// perm is the fact of RFC 3659 7.5.5.
func (l *lister) perm(ctx context.Context, a *fs.Attr) string {
	got, err := l.c.s.o.FS.Access(ctx, l.c.caller, a.Node, fs.RightsAll)
	if err != nil {
		return ""
	}
	var b strings.Builder
	put := func(letters string, want fs.Rights) {
		if got&want == want {
			b.WriteString(letters)
		}
	}
	if a.Type == fs.Directory {
		put("el", fs.RightTraverse|fs.RightList)
		put("c", fs.RightAddFile)
		put("m", fs.RightAddSubdir)
		put("p", fs.RightDeleteChild)
	} else {
		put("r", fs.RightRead)
		put("w", fs.RightModify)
		put("a", fs.RightExtend)
	}
	put("df", fs.RightDelete)
	return b.String()
}
