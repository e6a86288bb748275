package crash

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"manifold/e2e/nfsclient"
)

// found is one inode as the server shows it.
type found struct {
	attr   nfsclient.Attr
	handle nfsclient.Handle
	target string
	data   []byte
	names  map[string]*found
}

// verify compares, and settles what was unknown.
func (w *worker) verify(ctx context.Context, conn *nfsclient.Conn) ([]string, error) {
	w.verifier = nil
	seen := map[uint64]*found{}
	own, err := dump(ctx, conn, w.own.handle, "", seen)
	if err != nil {
		return nil, fmt.Errorf("crash: own directory: %w", err)
	}
	shared, err := dump(ctx, conn, w.shared.handle, w.shared.prefix, seen)
	if err != nil {
		return nil, fmt.Errorf("crash: shared directory: %w", err)
	}
	findings := append(compare(w.own, own, w.name), compare(w.shared, shared, "shared")...)
	u := w.unknown
	w.unknown = nil
	if u != nil && u.apply != nil && len(findings) > 0 {
		// Not as if it had never been done; then it must be all done.
		copies := map[*node]*node{}
		own2, shared2 := w.own.clone(copies), w.shared.clone(copies)
		u.apply(own2, shared2, func(n *node) *node { return copies[n] })
		findings2 := append(compare(own2, own, w.name), compare(shared2, shared, "shared")...)
		if len(findings2) == 0 {
			w.own, w.shared, findings = own2, shared2, nil
		} else {
			for i := range findings {
				findings[i] += " (" + u.what + " was under way)"
			}
		}
		u.apply = nil
	}
	if len(findings) > 0 {
		return findings, nil
	}
	settle(w.own, own)
	settle(w.shared, shared)
	findings = w.handles(ctx, conn)
	if u != nil && u.again != nil {
		// Done or not, its repetition has to succeed, with the same result.
		if err := u.again(ctx, conn); err != nil {
			findings = append(findings, u.what+" again: "+err.Error())
		} else if u.apply != nil {
			u.apply(w.own, w.shared, func(n *node) *node { return n })
		}
	}
	return findings, nil
}

// dump reads a tree, or the names of a directory that have a prefix.
func dump(ctx context.Context, conn *nfsclient.Conn, dir nfsclient.Handle, prefix string, seen map[uint64]*found) (*found, error) {
	attr, err := conn.GetAttr(ctx, dir)
	if err != nil {
		return nil, err
	}
	f := &found{attr: *attr, handle: dir, names: map[string]*found{}}
	entries, err := conn.ReadDirAll(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Name == "." || e.Name == ".." || !strings.HasPrefix(e.Name, prefix) {
			continue
		}
		if f.names[e.Name] != nil {
			return nil, fmt.Errorf("%s is listed twice", e.Name)
		}
		h, a, err := conn.Lookup(ctx, dir, e.Name)
		if err != nil {
			return nil, fmt.Errorf("lookup of the listed name %s: %w", e.Name, err)
		}
		if a == nil || a.FileID != e.FileID {
			return nil, fmt.Errorf("%s is listed with file id %d, lookup says %+v", e.Name, e.FileID, a)
		}
		child := seen[a.FileID]
		if child == nil {
			child = &found{attr: *a, handle: h}
			seen[a.FileID] = child
			switch a.Type {
			case nfsclient.Dir:
				child, err = dump(ctx, conn, h, "", seen)
				seen[a.FileID] = child
			case nfsclient.Reg:
				child.data, err = readAll(ctx, conn, h)
			case nfsclient.Symlink:
				child.target, err = conn.ReadLink(ctx, h)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", e.Name, err)
			}
		}
		f.names[e.Name] = child
	}
	return f, nil
}

func compare(n *node, f *found, path string) (findings []string) {
	add := func(format string, args ...any) { findings = append(findings, path+": "+fmt.Sprintf(format, args...)) }
	if n.typ != f.attr.Type {
		add("type %d, want %d", f.attr.Type, n.typ)
		return findings
	}
	if n.fileid != 0 && n.fileid != f.attr.FileID {
		add("file id %d, want %d", f.attr.FileID, n.fileid)
	}
	if n.mode != 0 && n.mode != f.attr.Mode {
		add("mode %o, want %o", f.attr.Mode, n.mode)
	}
	if n.mode != 0 && n.uid != f.attr.UID {
		add("owner %d, want %d", f.attr.UID, n.uid)
	}
	switch n.typ {
	case nfsclient.Dir:
		for name, child := range n.names {
			if got := f.names[name]; got != nil {
				findings = append(findings, compare(child, got, path+"/"+name)...)
			} else {
				add("%s is lost", name)
			}
		}
		for name := range f.names {
			if n.names[name] == nil {
				add("%s is here, against what was acknowledged", name)
			}
		}
		return findings
	case nfsclient.Reg:
		if uint64(len(f.data)) != f.attr.Size {
			add("size %d, but %d bytes were read", f.attr.Size, len(f.data))
		}
		if bad := n.data.allows(f.data); bad != "" {
			add("%s", bad)
		}
		if n.mtime != nil && !n.mtime.Equal(f.attr.Mtime) {
			add("mtime %v, want %v", f.attr.Mtime, *n.mtime)
		}
	case nfsclient.Symlink:
		if n.target != f.target {
			add("points to %q, want %q", f.target, n.target)
		}
	}
	if int(f.attr.Nlink) != n.nlink {
		add("%d links, want %d", f.attr.Nlink, n.nlink)
	}
	return findings
}

// settle takes over what a crash left open.
func settle(n *node, f *found) {
	if n.handle == "" {
		n.handle = f.handle
	}
	n.fileid = f.attr.FileID
	if n.mode == 0 && n.prefix == "" {
		n.mode, n.uid = f.attr.Mode, f.attr.UID
	}
	if n.typ == nfsclient.Reg {
		n.data.settle(f.data)
	}
	for name, child := range n.names {
		settle(child, f.names[name])
	}
}

// handles wants every handle from before the crash to reach the same file.
func (w *worker) handles(ctx context.Context, conn *nfsclient.Conn) (findings []string) {
	for _, p := range w.places(anyNode) {
		a, err := conn.GetAttr(ctx, p.node.handle)
		if err != nil {
			if status := nfsclient.Status(0); errors.As(err, &status) {
				findings = append(findings, fmt.Sprintf("%s: its handle of before the crash: %v", p.name, status))
				continue
			}
			return append(findings, err.Error())
		}
		if a.FileID != p.node.fileid {
			findings = append(findings, fmt.Sprintf("%s: its handle leads to %d, not %d", p.name, a.FileID, p.node.fileid))
		}
	}
	return findings
}
