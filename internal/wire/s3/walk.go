package s3

import (
	"strings"

	"manifold/internal/fs"
)

// walker visits the keys below a directory in byte order of the keys, in
// memory that grows with the depth of the tree only. Directories sort as
// "name/", so one that is met stays pending while entries that sort before its
// slash pass by; pending ones are prefixes of each other, hence a stack.
type walker struct {
	q      *request
	prefix string
	// file is told of each file, and of versions only if withVersions; enter
	// of each directory, whether to go in. Both return false to stop all.
	file  func(key string, e *fs.Dirent, vdir fs.Node) bool
	enter func(key string, e *fs.Dirent) (descend, more bool)
	// self is told of a directory as an object, before what is in it.
	self         func(key string, n fs.Node, a *fs.Attr) bool
	withVersions bool

	stopped bool
}

// pending is a directory whose turn has not come.
type pending struct {
	name string
	ent  fs.Dirent
	rel  string // what was listed below it already
	self bool   // it is itself to be listed
}

// run visits what is greater than after.
func (w *walker) run(root fs.Node, after string) error {
	w.stopped = false
	return w.dir(root, "", after, false, w.prefix, nil)
}

// dir visits the directory n, whose keys start with path: those greater than
// path+rel that start with path+pre.
func (w *walker) dir(n fs.Node, path, rel string, self bool, pre string, attr *fs.Attr) error {
	q := w.q
	if len(path) > maxKey {
		return nil // no key reaches it
	}
	if self && pre == "" {
		if !w.self(path, n, attr) {
			w.stopped = true
			return nil
		}
	}
	if comp, rest, ok := strings.Cut(pre, "/"); ok {
		return w.down(n, path, rel, comp, rest)
	}
	d := dirWalk{w: w, n: n, path: path, pre: pre}
	if w.withVersions {
		if err := d.openVersions(); err != nil {
			return err
		}
	}
	after, err := d.start(rel)
	if err != nil || w.stopped {
		return err
	}
	var inner error
	_, err = q.s.o.FS.ReadDirByName(q.ctx, q.caller, n, after, attrObject, func(e *fs.Dirent) bool {
		if !strings.HasPrefix(e.Name, pre) {
			return e.Name < pre
		}
		inner = d.entry(e)
		return inner == nil && !w.stopped
	})
	if k := fs.KindOf(err); err != nil && (k == fs.Stale || k == fs.NotExist || path != "" && k == fs.Access) {
		err = nil // went away meanwhile, or is not the caller's to see
	}
	if inner != nil {
		err = inner
	}
	if err != nil || w.stopped {
		return err
	}
	return d.finish()
}

// down follows one component of the prefix.
func (w *walker) down(n fs.Node, path, rel, comp, rest string) error {
	if fs.CheckName(comp) != nil || hidden(comp) {
		return nil
	}
	a, err := w.q.s.o.FS.Lookup(w.q.ctx, w.q.caller, n, comp, attrObject)
	switch k := fs.KindOf(err); {
	case err != nil && (k == fs.NotExist || k == fs.Stale || k == fs.NotDir):
		return nil
	case err != nil:
		return err
	case a.Type != fs.Directory:
		return nil
	}
	base := comp + "/"
	self := true
	switch {
	case strings.HasPrefix(rel, base):
		rel, self = rel[len(base):], false
	case rel > base:
		return nil
	default:
		rel = ""
	}
	return w.dir(a.Node, path+base, rel, self, rest, &a)
}

// dirWalk is the visit of one directory.
type dirWalk struct {
	w    *walker
	n    fs.Node
	path string
	pre  string
	wait []pending

	vdir  fs.Node // versions of this directory, zero if none
	vnext string  // next name that has versions, "" at the end
}

// start prepares what lies around the marker and answers the name to go on after.
func (d *dirWalk) start(rel string) (string, error) {
	after := ""
	if rel != "" {
		comp, rest, below := strings.Cut(rel, "/")
		for i := 1; i <= len(comp); i++ {
			whole := i == len(comp)
			if !whole && comp[i] >= '/' || !strings.HasPrefix(comp[:i], d.pre) {
				continue
			}
			a, ok, err := d.lookup(comp[:i])
			if err != nil {
				return "", err
			}
			if !ok || a.Type != fs.Directory {
				continue
			}
			p := pending{name: comp[:i], ent: fs.Dirent{Name: comp[:i], ID: a.Node.ID, Type: a.Type, Attr: a}, self: true}
			if whole && below {
				p.rel, p.self = rest, false
			}
			d.wait = append(d.wait, p)
		}
		after = comp
		if below {
			// Names between "comp" and "comp/" sort before what lies below it.
			after += "/"
		}
	}
	if d.pre > after {
		// The entry that is the prefix itself comes first.
		after = d.pre
		if d.vdir != (fs.Node{}) && d.vnext != "" {
			if err := d.seekVersions(d.pre, true); err != nil {
				return "", err
			}
		}
		a, ok, err := d.lookup(d.pre)
		if err != nil {
			return "", err
		}
		if ok {
			return after, d.entry(&fs.Dirent{Name: d.pre, ID: a.Node.ID, Type: a.Type, Attr: a})
		}
		return after, nil
	}
	if d.vdir != (fs.Node{}) {
		return after, d.seekVersions(after, false)
	}
	return after, nil
}

func (d *dirWalk) lookup(name string) (fs.Attr, bool, error) {
	if fs.CheckName(name) != nil || hidden(name) {
		return fs.Attr{}, false, nil
	}
	q := d.w.q
	a, err := q.s.o.FS.Lookup(q.ctx, q.caller, d.n, name, attrObject)
	if k := fs.KindOf(err); err != nil && (k == fs.NotExist || k == fs.Stale) {
		return a, false, nil
	}
	return a, err == nil, err
}

// entry visits one name.
func (d *dirWalk) entry(e *fs.Dirent) error {
	if hidden(e.Name) {
		return nil
	}
	if err := d.versionsBefore(e.Name); err != nil || d.w.stopped {
		return err
	}
	if err := d.flush(e.Name); err != nil || d.w.stopped {
		return err
	}
	isVersioned := d.vnext == e.Name && e.Name != ""
	switch {
	case e.Type == fs.File || isVersioned:
		vdir := fs.Node{}
		if isVersioned {
			vdir = d.vdir
		}
		if e.Type == fs.File || vdir != (fs.Node{}) {
			if !d.w.file(d.path+e.Name, e, vdir) {
				d.w.stopped = true
				return nil
			}
		}
		if isVersioned {
			if err := d.seekVersions(e.Name, false); err != nil {
				return err
			}
		}
	}
	if e.Type == fs.Directory {
		d.wait = append(d.wait, pending{name: e.Name, ent: *e, self: true})
	}
	return nil
}

// flush visits the pending directories that sort before a name.
func (d *dirWalk) flush(name string) error {
	for len(d.wait) > 0 && !d.w.stopped {
		p := d.wait[len(d.wait)-1]
		if name != "" && p.name+"/" > name {
			return nil
		}
		d.wait = d.wait[:len(d.wait)-1]
		key := d.path + p.name + "/"
		descend, more := d.w.enter(key, &p.ent)
		if !more {
			d.w.stopped = true
			return nil
		}
		if !descend {
			continue
		}
		node := fs.Node{ID: p.ent.ID, Snap: d.n.Snap}
		if err := d.w.dir(node, key, p.rel, p.self, "", &p.ent.Attr); err != nil {
			return err
		}
	}
	return nil
}

func (d *dirWalk) finish() error {
	if err := d.versionsBefore(""); err != nil || d.w.stopped {
		return err
	}
	return d.flush("")
}

// openVersions looks for the versions of this directory.
func (d *dirWalk) openVersions() error {
	q := d.w.q
	a, err := q.s.o.FS.Lookup(q.ctx, q.system(), d.n, versionsName, fs.AttrType)
	if err != nil {
		if k := fs.KindOf(err); k == fs.NotExist || k == fs.Stale {
			return nil
		}
		return err
	}
	d.vdir = a.Node
	return d.seekVersions("", false)
}

// seekVersions finds the next name with versions: greater than after, or equal
// too if inclusive.
func (d *dirWalk) seekVersions(after string, inclusive bool) error {
	q := d.w.q
	d.vnext = ""
	if inclusive && after != "" {
		if _, err := q.s.o.FS.Lookup(q.ctx, q.system(), d.vdir, after, fs.AttrType); err == nil {
			d.vnext = after
			return nil
		}
	}
	_, err := q.s.o.FS.ReadDirByName(q.ctx, q.system(), d.vdir, after, 0, func(e *fs.Dirent) bool {
		if strings.HasPrefix(e.Name, d.pre) || e.Name > d.pre {
			if strings.HasPrefix(e.Name, d.pre) {
				d.vnext = e.Name
			}
			return false
		}
		return true
	})
	if k := fs.KindOf(err); k == fs.Stale || k == fs.NotExist {
		return nil
	}
	return err
}

// versionsBefore visits names that have versions only, up to name ("": all).
func (d *dirWalk) versionsBefore(name string) error {
	for d.vnext != "" && (name == "" || d.vnext < name) && !d.w.stopped {
		v := d.vnext
		if err := d.flush(v); err != nil || d.w.stopped {
			return err
		}
		if !d.w.file(d.path+v, nil, d.vdir) {
			d.w.stopped = true
			return nil
		}
		if err := d.seekVersions(v, false); err != nil {
			return err
		}
	}
	return nil
}
