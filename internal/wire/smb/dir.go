package smb

import (
	"sync"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
)

// dirCursor is where the enumeration of a directory stands.
type dirCursor struct {
	mu      sync.Mutex
	pattern string
	dots    int // how many of ".", ".." and the directory of snapshots were looked at
	after   uint64
	ended   bool
	found   bool
	started bool
}

const (
	dirRestart = 0x01
	dirSingle  = 0x02
	dirReopen  = 0x10
)

// entrySizes are the fixed parts of an entry by class.
var entrySizes = map[byte]int{
	fiDirectory: 64, fiFullDirectory: 68, fiBothDirectory: 94, fiNames: 12, fiIDBothDirectory: 104, fiIDFullDirectory: 80, fiIDExtd: 88, fiIDExtdBoth: 114,
}

func (r *request) queryDirectory() status {
	p := r.payload()
	class, flags := p[2], p[3]
	pat, ok := r.bytes(uint64(le.Uint16(p[24:])), uint64(le.Uint16(p[26:])))
	limit := int(le.Uint32(p[28:]))
	if !ok || len(pat)%2 != 0 || limit < 0 || limit > r.c.s.o.MaxTransact || !r.needs(limit) {
		return stInvalidParameter
	}
	o, st := r.file(p[8:24])
	if st != stOK {
		return st
	}
	if !o.isDir || o.handle == nil {
		return stInvalidParameter
	}
	if o.granted&fs.RightList == 0 {
		return stAccessDenied
	}
	fixed, known := entrySizes[class]
	if !known {
		return stInvalidInfoClass
	}
	if limit < fixed {
		return stInfoLengthMismatch
	}
	r.c.s.mu.Lock()
	pending := o.file != nil && o.file.pending
	r.c.s.mu.Unlock()
	if pending {
		return stDeletePending
	}
	pattern := decodeUTF16(pat)
	o.mu.Lock()
	if o.dirState == nil {
		o.dirState = &dirCursor{}
	}
	d := o.dirState
	o.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case flags&dirReopen != 0 || !d.started:
		if pattern == "" {
			if !d.started {
				return stObjectNameInvalid
			}
			pattern = d.pattern
		}
		d.pattern, d.started = pattern, true
		d.dots, d.after, d.ended, d.found = 0, 0, false, false
	case flags&dirRestart != 0:
		if pattern != "" {
			d.pattern = pattern
		}
		d.dots, d.after, d.ended, d.found = 0, 0, false, false
	}
	out, st := r.enumerate(o, d, class, flags&dirSingle != 0, limit)
	if st != stOK {
		return st
	}
	b := make([]byte, 8, 8+len(out))
	b[0], b[2] = 9, headerSize+8
	le.PutUint32(b[4:], uint32(len(out)))
	r.body = append(b, out...)
	return stOK
}

// wantListed are the attributes that entries of listings are made of.
const wantListed = wantAttrs | fs.AttrMetas

// snapshotEntry is the directory of snapshots where it is listed: in the root
// of the share, where a pattern stands for several names.
func (r *request) snapshotEntry(o *open, pattern string) (fs.Attr, bool) {
	srv := r.c.s
	if srv.policy.Load().Snapshots != SnapshotsVisible || o.node != r.tree.shared().Root || !o.node.Live() || !isWild(pattern) || !matchName(pattern, fs.SnapshotDirName) {
		return fs.Attr{}, false
	}
	a, err := srv.o.FS.Lookup(r.ctx, r.caller, o.node, fs.SnapshotDirName, wantListed)
	return a, err == nil
}

func (r *request) enumerate(o *open, d *dirCursor, class byte, single bool, limit int) ([]byte, status) {
	w := dirWriter{class: class, limit: limit, s: r.c.s}
	srv := r.c.s
	full := false
	share := r.tree.shared()
	put := func(name string, a *fs.Attr, t fs.Type, id fs.FileID) bool {
		if name != "." && name != ".." {
			share.hide(a, name)
		}
		eas := uint32(0)
		if a.Metas > 0 && hasEASize(class) {
			eas = r.eaSize(a.Node)
		}
		if !w.put(name, a, t, id, eas) {
			full = true
			return false
		}
		d.found = true
		return !single
	}
	if d.ended {
		if d.found {
			return nil, stNoMoreFiles
		}
		return nil, stNoSuchFile
	}
	for ; d.dots < 3 && !full; d.dots++ {
		if d.dots == 2 {
			a, ok := r.snapshotEntry(o, d.pattern)
			if ok && !put(fs.SnapshotDirName, &a, a.Type, a.Node.ID) && !full {
				d.dots++
				return w.b, stOK
			}
			if full {
				break
			}
			continue
		}
		name := ".."[:d.dots+1]
		if !matchName(d.pattern, name) {
			continue
		}
		n := o.node
		if d.dots == 1 && n != r.tree.shared().Root {
			if a, err := srv.o.FS.Lookup(r.ctx, r.caller, n, "..", 0); err == nil {
				n = a.Node
			}
		}
		a, err := srv.o.FS.GetAttr(r.ctx, r.caller, n, wantListed)
		if err != nil {
			return nil, statusOf(err)
		}
		more := put(name, &a, fs.Directory, n.ID)
		if full {
			break
		}
		if !more {
			d.dots++
			return w.b, stOK
		}
	}
	if !isWild(d.pattern) && d.dots == 3 && !d.ended && !full {
		// One name: a lookup, not a listing.
		d.ended = true
		a, stored, err := srv.o.FS.LookupFold(r.ctx, r.caller, o.node, d.pattern, wantListed)
		if err == nil && d.pattern != "." && d.pattern != ".." && r.visible(a.Node, a.Type) {
			if !put(stored, &a, a.Type, a.Node.ID) && full {
				d.ended = false
			}
		}
	}
	if !d.ended && !full {
		stopped := false
		eof, err := srv.o.FS.ReadDir(r.ctx, r.caller, o.node, d.after, wantListed, func(e *fs.Dirent) bool {
			if e.Attr.Mask == 0 || !matchName(d.pattern, e.Name) || !r.visible(e.Attr.Node, e.Type) {
				d.after = e.Cookie
				return true
			}
			more := put(e.Name, &e.Attr, e.Type, e.ID)
			if full {
				stopped = true
				return false
			}
			d.after = e.Cookie
			stopped = !more
			return more
		})
		if err != nil {
			return nil, statusOf(err)
		}
		d.ended = eof && !stopped
	}
	switch {
	case len(w.b) > 0:
		return w.b, stOK
	case full:
		return nil, stInfoLengthMismatch
	case d.found:
		return nil, stNoMoreFiles
	}
	return nil, stNoSuchFile
}

// visible tells whether access-based enumeration shows an object: whether its
// own ACL lets the caller read, whatever the directory adds.
func (r *request) visible(n fs.Node, t fs.Type) bool {
	if !r.tree.shared().AccessBasedEnumeration {
		return true
	}
	const need = fs.RightRead | fs.RightReadEA | fs.RightReadAttr | fs.RightReadACL
	a, err := r.c.s.o.FS.GetACL(r.ctx, fs.SystemCaller(), n)
	return err == nil && acl.Check(r.caller, &a, t == fs.Directory, need) == need
}

// dirWriter appends entries to a bounded buffer.
type dirWriter struct {
	b     []byte
	last  int
	class byte
	limit int
	s     *Server
}

// hasEASize tells whether entries of a class say how large the extended attributes are.
func hasEASize(class byte) bool { return class != fiNames && class != fiDirectory }

func (w *dirWriter) put(name string, a *fs.Attr, t fs.Type, id fs.FileID, eas uint32) bool {
	fixed := entrySizes[w.class]
	n := encodeUTF16(name)
	at := len(w.b)
	if at > 0 {
		at = (at + 7) &^ 7
	}
	if at+fixed+len(n) > w.limit {
		return false
	}
	if at > 0 {
		w.b = alignTo(w.b, 0, 8)
		le.PutUint32(w.b[w.last:], uint32(at-w.last))
	}
	w.last = at
	w.b = appendZero(w.b, fixed)
	e := w.b[at:]
	if w.class == fiNames {
		le.PutUint32(e[8:], uint32(len(n)))
		w.b = append(w.b, n...)
		return true
	}
	a.Type = t
	le.PutUint64(e[8:], filetime(a.Btime))
	le.PutUint64(e[16:], filetime(a.Atime))
	le.PutUint64(e[24:], filetime(a.Mtime))
	le.PutUint64(e[32:], filetime(a.Ctime))
	size, alloc := sizes(a, nil)
	if a.Type != fs.Directory {
		w.s.mu.Lock()
		if f := w.s.files[fileKey{node: a.Node}]; f != nil {
			alloc = max(alloc, f.alloc)
		}
		w.s.mu.Unlock()
	}
	le.PutUint64(e[40:], size)
	le.PutUint64(e[48:], alloc)
	le.PutUint32(e[56:], dosAttr(a))
	le.PutUint32(e[60:], uint32(len(n)))
	if hasEASize(w.class) {
		if tag := reparseTag(t); tag != 0 {
			eas = tag
		}
		le.PutUint32(e[64:], eas)
	}
	switch w.class {
	case fiIDBothDirectory:
		le.PutUint64(e[96:], uint64(id))
	case fiIDFullDirectory:
		le.PutUint64(e[72:], uint64(id))
	case fiIDExtd:
		if t == fs.Symlink {
			le.PutUint32(e[64:], 0)
		}
		le.PutUint32(e[68:], reparseTag(t))
		le.PutUint64(e[72:], uint64(id))
	case fiIDExtdBoth:
		if t == fs.Symlink {
			le.PutUint32(e[64:], 0)
		}
		le.PutUint32(e[68:], reparseTag(t))
		le.PutUint64(e[72:], uint64(id))
	}
	if w.s.o.ShortNames && name != "." && name != ".." {
		at := map[byte]int{fiBothDirectory: 68, fiIDBothDirectory: 68, fiIDExtdBoth: 88}[w.class]
		if short := encodeUTF16(shortName(name)); at != 0 && shortName(name) != name {
			e[at] = byte(len(short))
			copy(e[at+2:], short)
		}
	}
	w.b = append(w.b, n...)
	return true
}
