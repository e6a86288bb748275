package smb

import (
	"context"
	"path"
	"strings"

	"manifold/internal/fs"
)

func (r *request) setInfo() status {
	p := r.payload()
	kind, class := p[2], p[3]
	n := int(le.Uint32(p[4:]))
	in, ok := r.bytes(uint64(le.Uint16(p[8:])), uint64(n))
	if !ok || n > r.c.s.o.MaxTransact || !r.needs(n) {
		return stInvalidParameter
	}
	extra := le.Uint32(p[12:])
	o, st := r.file(p[16:32])
	if st != stOK {
		return st
	}
	if st := o.checkSequence(r); st != stOK {
		return st
	}
	st = stInvalidParameter
	switch kind {
	case 1:
		st = r.setFile(o, class, in)
	case 2:
		st = stNotSupported
	case 3:
		st = r.setSecurity(o, extra, in)
	case 4:
		st = stNotSupported
	}
	if st == stOK {
		r.body = []byte{2, 0}
	}
	return st
}

func (r *request) setFile(o *open, class byte, in []byte) status {
	if o.handle == nil {
		return stInvalidDeviceRequest
	}
	short := func(n int) bool { return len(in) < n }
	ctx := context.WithoutCancel(r.ctx)
	switch class {
	case fiBasic:
		if short(36) {
			return stInfoLengthMismatch
		}
		if o.granted&fs.RightWriteAttr == 0 {
			return stAccessDenied
		}
		return r.setBasic(ctx, o, in)
	case fiRename:
		if short(20) {
			return stInfoLengthMismatch
		}
		return r.rename(ctx, o, in)
	case fiLink:
		if short(20) {
			return stInfoLengthMismatch
		}
		return r.link(ctx, o, in)
	case fiDisposition:
		if short(1) {
			return stInfoLengthMismatch
		}
		return r.setDisposition(ctx, o, in[0] != 0)
	case fiDispositionEx:
		if short(4) {
			return stInfoLengthMismatch
		}
		return r.setDisposition(ctx, o, le.Uint32(in)&1 != 0)
	case fiPosition:
		if short(8) {
			return stInfoLengthMismatch
		}
		o.mu.Lock()
		o.pos = le.Uint64(in)
		o.mu.Unlock()
		return stOK
	case fiMode:
		if short(4) {
			return stInfoLengthMismatch
		}
		m := le.Uint32(in)
		if m&^0x3e != 0 {
			return stInvalidParameter
		}
		o.mu.Lock()
		o.mode = m
		o.mu.Unlock()
		return stOK
	case fiAllocation, fiEndOfFile, fiValidDataLength:
		if short(8) {
			return stInfoLengthMismatch
		}
		if o.isDir {
			return stInvalidParameter
		}
		if o.granted&fs.RightModify == 0 {
			return stAccessDenied
		}
		return r.setSize(ctx, o, class, le.Uint64(in))
	case fiFullEA:
		if o.granted&fs.RightWriteEA == 0 {
			return stAccessDenied
		}
		return r.setEAs(ctx, o.node, in)
	case fiAll, fiInternal, fiStandard, fiNetworkOpen, fiStream, fiName, fiAccess, fiEA, fiAlignment, fiAttributeTag, fiNormalizedName:
		return stInvalidInfoClass
	case fiPipe:
		return stInvalidParameter
	}
	return stInvalidInfoClass
}

func (r *request) setBasic(ctx context.Context, o *open, in []byte) status {
	var s fs.SetAttr
	set := func(v uint64) (*fs.TimeSet, bool) {
		switch {
		case v == 0, int64(v) == -1, int64(v) == -2:
			return nil, true
		case int64(v) < 0:
			return nil, false
		}
		return &fs.TimeSet{Time: fromFiletime(v)}, true
	}
	var ok [4]bool
	s.Btime, ok[0] = set(le.Uint64(in))
	s.Atime, ok[1] = set(le.Uint64(in[8:]))
	s.Mtime, ok[2] = set(le.Uint64(in[16:]))
	s.Ctime, ok[3] = set(le.Uint64(in[24:]))
	if ok != [4]bool{true, true, true, true} {
		return stInvalidParameter
	}
	if a := le.Uint32(in[32:]); a != 0 {
		if a&attrDirectory != 0 && !o.isDir {
			return stInvalidParameter
		}
		if o.isDir && a&uint32(fs.DOSTemporary) != 0 {
			return stInvalidParameter
		}
		cur, err := o.handle.GetAttr(ctx, fs.AttrDOS)
		if err != nil {
			return statusOf(err)
		}
		const settable = fs.DOSReadOnly | fs.DOSHidden | fs.DOSSystem | fs.DOSArchive | fs.DOSTemporary | fs.DOSOffline | fs.DOSNotContentIndexed
		v := fs.DOSAttr(a)&settable | cur.DOS&^settable
		s.DOS = &v
	}
	if s == (fs.SetAttr{}) {
		return stOK
	}
	if r.caller.ReadOnly {
		return stAccessDenied
	}
	_, err := o.handle.SetAttr(ctx, &s)
	if k := fs.KindOf(err); err != nil && (k == fs.Access || k == fs.Perm) {
		// The open was granted to write attributes.
		_, err = r.c.s.o.FS.SetAttr(ctx, r.system(), o.node, &s)
	}
	return statusOf(err)
}

func (r *request) setSize(ctx context.Context, o *open, class byte, v uint64) status {
	if v > fs.MaxFileSize {
		return stInvalidParameter
	}
	r.c.s.contendRead(o)
	a, err := r.attr(o)
	if err != nil {
		return statusOf(err)
	}
	switch class {
	case fiValidDataLength:
		return stOK
	case fiAllocation:
		r.c.s.mu.Lock()
		o.file.alloc = (v + fs.BlockSize - 1) &^ (fs.BlockSize - 1)
		r.c.s.mu.Unlock()
		if v >= a.Size {
			return stOK
		}
	case fiEndOfFile:
		r.c.s.mu.Lock()
		if o.file.alloc < v || v < a.Size {
			o.file.alloc = 0
		}
		r.c.s.mu.Unlock()
	}
	_, err = o.handle.SetAttr(ctx, &fs.SetAttr{Size: &v})
	return statusOf(err)
}

func (r *request) setDisposition(ctx context.Context, o *open, on bool) status {
	s := r.c.s
	if o.granted&fs.RightDelete == 0 {
		return stAccessDenied
	}
	if on {
		a, err := o.handle.GetAttr(ctx, fs.AttrDOS|fs.AttrType)
		if err != nil {
			return statusOf(err)
		}
		if a.DOS&fs.DOSReadOnly != 0 {
			return stCannotDelete
		}
		if o.node == r.tree.shared().Root {
			return stAccessDenied
		}
		if st := r.await(s.contendHandle(o)); st != stOK {
			return st
		}
	}
	if err := o.handle.SetDeleteOnClose(ctx, on); err != nil {
		if fs.KindOf(err) == fs.ReadOnly {
			return stAccessDenied
		}
		return statusOf(err)
	}
	s.mu.Lock()
	var watchers []*open
	if o.file != nil {
		o.file.pending = on
		if on && o.isDir {
			watchers = append(watchers, o.file.opens...)
		}
	}
	o.doom = false
	s.mu.Unlock()
	for _, x := range watchers {
		x.mu.Lock()
		w := x.notify
		x.mu.Unlock()
		if w != nil {
			w.end(stDeletePending)
		}
	}
	return stOK
}

// newName reads the argument of rename and link.
func (r *request) newName(in []byte) (replace bool, name string, st status) {
	n := uint64(le.Uint32(in[16:]))
	b, ok := window(in, 20, n)
	if !ok || n%2 != 0 || n == 0 {
		return false, "", stInvalidParameter
	}
	if le.Uint64(in[8:]) != 0 {
		return false, "", stInvalidParameter
	}
	return in[0] != 0, decodeUTF16(b), stOK
}

func (r *request) rename(ctx context.Context, o *open, in []byte) status {
	s := r.c.s
	replace, name, st := r.newName(in)
	if st != stOK {
		return st
	}
	if o.granted&fs.RightDelete == 0 {
		return stAccessDenied
	}
	if name[0] == ':' || o.stream != 0 {
		return r.renameStream(ctx, o, name, replace)
	}
	if name[0] == '\\' {
		if name = name[1:]; name == "" {
			return stInvalidParameter
		}
	}
	oldPath, oldDir, oldName := o.place()
	if oldName == "" {
		return stAccessDenied
	}
	t, st := r.walk(name)
	if st != stOK {
		return st
	}
	if t.hasStream && t.stream != "" {
		return stInvalidParameter
	}
	if o.isDir && s.openBelow(r.tree, o, oldPath) {
		return stAccessDenied
	}
	if st := r.await(s.contendHandle(o)); st != stOK {
		return st
	}
	if st := s.shareDelete(o); st != stOK {
		return st
	}
	if s.parentBusy(t.dir) {
		return stSharingViolation
	}
	a, stored, found, st := r.lookup(ctx, &t)
	if st != stOK {
		return st
	}
	target := t.name
	if found && a.Node != o.node {
		if !replace {
			return stObjectNameCollision
		}
		if a.Type == fs.Directory || o.isDir {
			return stAccessDenied
		}
		if a.DOS&fs.DOSReadOnly != 0 {
			return stAccessDenied
		}
		for range 2 {
			wait, busy := s.breakHandles(a.Node)
			if len(wait) > 0 {
				if st := r.await(wait); st != stOK {
					return st
				}
				continue
			}
			if busy {
				return stAccessDenied
			}
			break
		}
		if stored != t.name {
			target = stored
		}
	}
	oldPath, oldDir, oldName = o.place() // meanwhile another open of it may have renamed it
	opt := fs.RenameOptions{NoReplace: !found || a.Node == o.node && !replace && target != oldName, Only: o.node}
	_, err := s.o.FS.Rename(ctx, r.caller, oldDir, oldName, t.dir, target, opt)
	if fs.KindOf(err) == fs.NotExist {
		// Another protocol has renamed it.
		if dir, now, nerr := r.presentName(ctx, o.node); nerr == nil {
			_, err = s.o.FS.Rename(ctx, r.caller, dir, now, t.dir, target, opt)
		}
	}
	if err != nil {
		switch fs.KindOf(err) {
		case fs.NotDir, fs.IsDir, fs.NotEmpty:
			return stAccessDenied
		case fs.Loop:
			return stSharingViolation
		}
		return statusOf(err)
	}
	s.mu.Lock()
	for _, x := range s.opens {
		if x.node == o.node && x.dir == oldDir && x.name == oldName {
			x.dir, x.name = t.dir, target
			x.path = t.base + target
			if x.sname != "" {
				x.path += ":" + x.sname
			}
		} else if x.tree == r.tree && strings.HasPrefix(x.path, oldPath+"\\") {
			x.path = t.base + target + x.path[len(oldPath):]
		}
	}
	s.mu.Unlock()
	return stOK
}

// place is where an open was opened or has been moved to.
func (o *open) place() (path string, dir fs.Node, name string) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	return o.path, o.dir, o.name
}

// presentName finds the name that an object has by now.
func (r *request) presentName(ctx context.Context, n fs.Node) (dir fs.Node, name string, err error) {
	f := r.c.s.o.FS
	p, err := f.PathOf(ctx, n)
	if err != nil {
		return fs.Node{}, "", err
	}
	a, err := f.Resolve(ctx, r.system(), path.Dir(p), 0)
	return a.Node, path.Base(p), err
}

// openBelow tells whether something below a directory is open. Needs no lock.
func (s *Server) openBelow(t *tree, o *open, dir string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.opens {
		if x == o || x.handle == nil {
			continue
		}
		if x.tree != nil && x.tree.shared() != nil && x.tree.shared().Root == t.shared().Root && len(x.path) > len(dir)+1 &&
			x.path[len(dir)] == '\\' && equalFold(x.path[:len(dir)], dir) {
			return true
		}
	}
	return false
}

// shareDelete checks that no other open forbids to take the name away.
func (s *Server) shareDelete(o *open) status {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range o.file.opens {
		if x != o && x.granted&dataAccess != 0 && x.share&fs.ShareDelete == 0 {
			return stSharingViolation
		}
	}
	return stOK
}

// parentBusy tells whether an open of a directory forbids to put a name there:
// who holds it with the right to delete, or does not share writing.
func (s *Server) parentBusy(dir fs.Node) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[fileKey{node: dir}]; f != nil {
		for _, x := range f.opens {
			if shareConflict(fs.RightAddFile, fs.ShareRead|fs.ShareWrite, x) {
				return true
			}
		}
	}
	return false
}

// breakHandles breaks the handle caches of a file that is to be replaced. busy
// tells whether it is open without one.
func (s *Server) breakHandles(n fs.Node) (wait []chan struct{}, busy bool) {
	var ns []notice
	s.mu.Lock()
	if f := s.files[fileKey{node: n}]; f != nil {
		busy = len(f.opens) > 0
		seen := map[*cache]bool{}
		for _, x := range f.opens {
			c := x.cache
			if c == nil || seen[c] || c.state&leaseH == 0 {
				continue
			}
			seen[c] = true
			to := c.state &^ leaseH
			if c.lease == nil {
				to = leaseR
			}
			if s.breakTo(c, to, &ns) {
				wait = append(wait, c.done)
			}
		}
	}
	s.mu.Unlock()
	sendAll(ns)
	return wait, busy
}

// renameStream gives a named stream another name.
func (r *request) renameStream(ctx context.Context, o *open, name string, replace bool) status {
	if o.stream == 0 || name[0] != ':' {
		return stInvalidParameter
	}
	_, stream, _, _, st := splitStream("x" + name)
	if st != stOK {
		return st
	}
	if stream == "" {
		return stInvalidParameter
	}
	f := r.c.s.o.FS
	ss, err := f.Streams(ctx, r.system(), o.node)
	if err != nil {
		return statusOf(err)
	}
	for _, x := range ss {
		if x.ID == o.stream || !equalFold(x.Name, stream) {
			continue
		}
		if !replace {
			return stObjectNameCollision
		}
		if _, busy := r.c.s.fileOf(fileKey{o.node, x.ID}); busy {
			return stSharingViolation
		}
		if err := f.RemoveStream(ctx, r.caller, o.node, x.ID); err != nil {
			return statusOf(err)
		}
	}
	if err := f.RenameStream(ctx, r.caller, o.node, o.stream, stream); err != nil {
		return statusOf(err)
	}
	s := r.c.s
	s.mu.Lock()
	for _, x := range o.file.opens {
		base, _, _ := strings.Cut(x.path, ":")
		x.path, x.sname = base+":"+stream, stream
	}
	s.mu.Unlock()
	return stOK
}

func (s *Server) fileOf(k fileKey) (*file, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[k]
	return f, f != nil && len(f.opens) > 0
}

func (r *request) link(ctx context.Context, o *open, in []byte) status {
	replace, name, st := r.newName(in)
	if st != stOK {
		return st
	}
	name = strings.TrimPrefix(name, "\\")
	t, st := r.walk(name)
	if st != stOK {
		return st
	}
	if t.hasStream || t.name == "" {
		return stObjectNameInvalid
	}
	if o.isDir {
		return stFileIsDirectory
	}
	f := r.c.s.o.FS
	a, stored, found, st := r.lookup(ctx, &t)
	if st != stOK {
		return st
	}
	if found {
		if !replace {
			return stObjectNameCollision
		}
		if a.Node == o.node {
			return stOK
		}
		if _, busy := r.c.s.fileOf(fileKey{node: a.Node}); busy || a.Type == fs.Directory {
			return stAccessDenied
		}
		if _, err := f.Remove(ctx, r.caller, t.dir, stored, fs.RemoveFile); err != nil {
			return statusOf(err)
		}
	}
	_, err := f.Link(ctx, r.caller, o.node, t.dir, t.name)
	return statusOf(err)
}
