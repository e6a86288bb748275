package smb

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"manifold/internal/fs"
)

// equalFold compares names as this protocol does.
func equalFold(a, b string) bool { return strings.EqualFold(a, b) }

// target is where a path leads: a name in a directory, or with no name the
// directory itself (the root of the share).
type target struct {
	dir    fs.Node
	name   string
	stream string
	// hasStream says that a stream was named, be it the default one.
	hasStream bool
	dirType   bool   // ::$INDEX_ALLOCATION
	path      string // as it was asked for
	base      string // of the directory, as its names are stored, with a backslash
}

// stored is the path with the names as they are stored, given the last.
func (t *target) stored(name string) string {
	p := t.base + name
	if t.stream != "" {
		p += ":" + t.stream
	}
	return p
}

const badNameChars = "\"*/:<>?|"

// splitStream cuts a last component into name, stream and type.
func splitStream(s string) (name, stream string, has, dirType bool, st status) {
	name, rest, ok := strings.Cut(s, ":")
	if !ok {
		return s, "", false, false, stOK
	}
	stream, typ, hasType := strings.Cut(rest, ":")
	switch {
	case strings.ContainsAny(stream, "\\/") || strings.Contains(typ, ":") || len(stream) > fs.MaxName:
		return "", "", false, false, stObjectNameInvalid
	case hasType && equalFold(typ, "$INDEX_ALLOCATION") && (stream == "" || equalFold(stream, "$I30")):
		return name, "", true, true, stOK
	case hasType && !equalFold(typ, "$DATA"):
		return "", "", false, false, stObjectNameInvalid
	case stream == "" && !hasType:
		return "", "", false, false, stObjectNameInvalid
	}
	return name, stream, true, false, stOK
}

func checkName(s string) status {
	if len(s) > fs.MaxName || s == "" || s == "." || s == ".." || strings.ContainsAny(s, badNameChars) {
		return stObjectNameInvalid
	}
	for i := range len(s) {
		if s[i] < 0x20 {
			return stObjectNameInvalid
		}
	}
	return stOK
}

// walk finds the directory of a path in a share.
func (r *request) walk(path string) (t target, st status) {
	t.dir = r.tree.shared().Root
	t.path = path
	if path == "" {
		return t, stOK
	}
	path = strings.ReplaceAll(path, "/", "\\")
	if path[0] == '\\' {
		return t, stInvalidParameter
	}
	parts, ok := cleanPath(strings.Split(path, "\\"))
	if !ok {
		return t, stObjectPathSyntaxBad
	}
	if len(parts) == 0 {
		return t, stOK
	}
	if n := len(parts); n > 1 && parts[n-1] == "" {
		parts = parts[:n-1]
		t.path = strings.TrimSuffix(path, "\\")
	}
	last := parts[len(parts)-1]
	name, stream, has, dirType, st := splitStream(last)
	if st != stOK {
		return t, st
	}
	if has && r.tree.shared().NoStreams {
		return t, stObjectNameInvalid
	}
	t.stream, t.hasStream, t.dirType = stream, has, dirType
	t.base = ""
	for i, p := range parts[:len(parts)-1] {
		if p == "." {
			return t, stObjectNameInvalid
		}
		if p == "" || len(p) > fs.MaxName {
			return t, stObjectNameInvalid
		}
		if strings.ContainsRune(p, ':') {
			return t, stObjectNameInvalid
		}
		n, stored, st := r.step(t.dir, p)
		if st == stStoppedOnSymlink {
			st = r.symlinkError(n, len(encodeUTF16("\\"+strings.Join(parts[i+1:], "\\"))))
		}
		if st != stOK {
			return t, st
		}
		t.dir = n
		t.base += stored + "\\"
	}
	if name == "" && has && len(parts) == 1 {
		return t, stOK // a stream of the root
	}
	if name == ".." {
		return t, stObjectPathSyntaxBad
	}
	if st := checkName(name); st != stOK {
		return t, st
	}
	t.name = name
	return t, stOK
}

// cleanPath takes "name\\.." out, as clients do that build paths; it must not
// leave the share.
func cleanPath(parts []string) ([]string, bool) {
	out := parts[:0]
	for _, p := range parts {
		if p != ".." {
			out = append(out, p)
			continue
		}
		if len(out) == 0 {
			return nil, false
		}
		out = out[:len(out)-1]
	}
	return out, true
}

// hides tells whether a name is not to be reached.
func (p *Policy) hides(name string) bool {
	return p.Snapshots == SnapshotsDisabled && equalFold(name, fs.SnapshotDirName)
}

// step goes down one directory. With stStoppedOnSymlink it answers the symlink.
func (r *request) step(dir fs.Node, name string) (fs.Node, string, status) {
	policy := r.c.s.policy.Load()
	if policy.hides(name) {
		return fs.Node{}, "", stObjectPathNotFound
	}
	a, stored, err := r.c.s.o.FS.LookupFold(r.ctx, r.caller, dir, name, fs.AttrType)
	switch k := fs.KindOf(err); {
	case err == nil:
	case k == fs.NotExist, k == fs.NotDir, k == fs.NameInvalid:
		return fs.Node{}, "", stObjectPathNotFound
	default:
		return fs.Node{}, "", statusOf(err)
	}
	if a.Type == fs.Symlink {
		return a.Node, "", stStoppedOnSymlink
	}
	if a.Type != fs.Directory {
		return fs.Node{}, "", stObjectPathNotFound
	}
	return a.Node, stored, stOK
}

// lookup finds a name; found is false if there is none.
func (r *request) lookup(ctx context.Context, t *target) (a fs.Attr, stored string, found bool, st status) {
	if r.c.s.policy.Load().hides(t.name) {
		return a, t.name, false, stOK
	}
	var err error
	if t.name == "" {
		a, err = r.c.s.o.FS.GetAttr(ctx, r.caller, t.dir, wantAttrs)
	} else {
		a, stored, err = r.c.s.o.FS.LookupFold(ctx, r.caller, t.dir, t.name, wantAttrs)
		if err != nil && fs.KindOf(err) == fs.NotExist {
			if long, ok := r.longName(t.dir, t.name); ok {
				a, stored, err = r.c.s.o.FS.LookupFold(ctx, r.caller, t.dir, long, wantAttrs)
			}
		}
	}
	switch fs.KindOf(err) {
	case fs.NotExist:
		if err != nil {
			return a, t.name, false, stOK
		}
	case fs.NotDir, fs.Stale:
		if err != nil {
			return a, "", false, stObjectPathNotFound
		}
	}
	if err != nil {
		return a, "", false, statusOf(err)
	}
	return a, stored, true, stOK
}

// matchName tells whether a name matches a pattern of FindFirst, [MS-FSA] 2.1.4.4.
func matchName(pattern, name string) bool {
	if pattern == "*" || pattern == "*.*" {
		return true
	}
	return match(pattern, name, 0)
}

func match(p, n string, depth int) bool {
	if depth > 64 {
		return false
	}
	for p != "" {
		c, k := utf8.DecodeRuneInString(p)
		p = p[k:]
		switch c {
		case '*':
			for p != "" && p[0] == '*' {
				p = p[1:]
			}
			if p == "" {
				return true
			}
			for i := 0; i <= len(n); i++ {
				if match(p, n[i:], depth+1) {
					return true
				}
			}
			return false
		case '<': // up to the last dot
			for i := 0; i <= len(n); i++ {
				if i < len(n) && n[i] == '.' && strings.Contains(n[i+1:], ".") {
					continue
				}
				if match(p, n[i:], depth+1) {
					return true
				}
				if i < len(n) && n[i] == '.' && !strings.Contains(n[i+1:], ".") && match(p, n[i+1:], depth+1) {
					return true
				}
			}
			return false
		case '>': // one character, or none before a dot or the end
			if n == "" || n[0] == '.' {
				if match(p, n, depth+1) {
					return true
				}
				if n == "" {
					return false
				}
			}
			_, k := utf8.DecodeRuneInString(n)
			n = n[k:]
		case '"': // a dot, or the end
			if n == "" {
				continue
			}
			if n[0] != '.' {
				return false
			}
			n = n[1:]
		case '?':
			if n == "" {
				return false
			}
			_, k := utf8.DecodeRuneInString(n)
			n = n[k:]
		default:
			if n == "" {
				return false
			}
			d, k := utf8.DecodeRuneInString(n)
			if c != d && unicode.ToUpper(c) != unicode.ToUpper(d) {
				return false
			}
			n = n[k:]
		}
	}
	return n == ""
}

func isWild(p string) bool { return strings.ContainsAny(p, "*?<>\"") }
