package sftp

import (
	"context"
	"time"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
)

func (s *session) attrReply(id uint32, a *fs.Attr) packet {
	w := s.wire(a)
	return reply(s.buf, typeAttrs, id).attrs(&w)
}

func (s *session) statPath(ctx context.Context, id uint32, r *reader, follow bool) (packet, error) {
	path := r.str()
	if r.err != nil {
		return nil, r.err
	}
	p, err := s.there(ctx, path, follow, fs.AttrBasic)
	if err != nil {
		return nil, err
	}
	return s.attrReply(id, &p.Attr), nil
}

// stat, lstat and fstat are section 6.8.
func (s *session) stat(ctx context.Context, id uint32, r *reader) (packet, error) {
	return s.statPath(ctx, id, r, true)
}

func (s *session) lstat(ctx context.Context, id uint32, r *reader) (packet, error) {
	return s.statPath(ctx, id, r, false)
}

func (s *session) fstat(ctx context.Context, id uint32, r *reader) (packet, error) {
	h, _, err := s.handle(r)
	if err != nil {
		return nil, err
	}
	a, err := h.attr(ctx, s)
	if err != nil {
		return nil, err
	}
	return s.attrReply(id, &a), nil
}

func (h *handle) attr(ctx context.Context, s *session) (fs.Attr, error) {
	if h.file != nil {
		return h.file.GetAttr(ctx, fs.AttrBasic)
	}
	return s.FS.GetAttr(ctx, s.Caller, h.dir, fs.AttrBasic)
}

func (s *session) setPath(ctx context.Context, r *reader, follow bool) (packet, error) {
	path, a := r.str(), r.attrs()
	if r.err != nil {
		return nil, r.err
	}
	p, err := s.there(ctx, path, follow, fs.AttrBasic)
	if err != nil {
		return nil, err
	}
	return nil, walk.Retry(ctx, func() error {
		_, err := s.FS.SetAttr(ctx, s.Caller, p.Attr.Node, s.set(&a, &p.Attr))
		return err
	})
}

// setstat and fsetstat are section 6.9.
func (s *session) setstat(ctx context.Context, _ uint32, r *reader) (packet, error) {
	return s.setPath(ctx, r, true)
}

func (s *session) fsetstat(ctx context.Context, _ uint32, r *reader) (packet, error) {
	h, _, err := s.handle(r)
	a := r.attrs()
	switch {
	case err != nil:
		return nil, err
	case r.err != nil:
		return nil, r.err
	}
	now, err := h.attr(ctx, s)
	if err != nil {
		return nil, err
	}
	q := s.set(&a, &now)
	n := h.dir
	if h.file != nil {
		n = h.file.Node()
		if q.Size != nil {
			// Truncation needs the right that the handle was opened with; all
			// else is judged by who asks, as of a descriptor in POSIX.
			size := &fs.SetAttr{Size: q.Size}
			q.Size = nil
			if err := walk.Retry(ctx, func() error { _, err := h.file.SetAttr(ctx, size); return err }); err != nil {
				return nil, err
			}
		}
	}
	return nil, walk.Retry(ctx, func() error {
		_, err := s.FS.SetAttr(ctx, s.Caller, n, q)
		return err
	})
}

// opendir is section 6.7.
func (s *session) opendir(ctx context.Context, id uint32, r *reader) (packet, error) {
	path := r.str()
	if r.err != nil {
		return nil, r.err
	}
	if err := s.room(); err != nil {
		return nil, err
	}
	p, err := s.there(ctx, path, true, 0)
	if err != nil {
		return nil, err
	}
	if p.Attr.Type != fs.Directory {
		return nil, fs.NotDir
	}
	got, err := s.FS.Access(ctx, s.Caller, p.Attr.Node, fs.RightList)
	if err != nil {
		return nil, err
	}
	if got&fs.RightList == 0 {
		return nil, fs.Access
	}
	return s.handleReply(id, s.add(&handle{dir: p.Attr.Node})), nil
}

// Entries of one reply are bounded by number and bytes.
const (
	maxEntries    = 256
	maxEntryBytes = 128 << 10
)

// readdir is section 6.7, in the order of names.
func (s *session) readdir(ctx context.Context, id uint32, r *reader) (packet, error) {
	h, _, err := s.handle(r)
	if err != nil {
		return nil, err
	}
	if h.file != nil {
		return nil, fs.NotDir
	}
	p := reply(s.buf, typeName, id).u32(0)
	const count = 4 + 1 + 4
	n := uint32(0)
	now := time.Now()
	put := func(name string, a *fs.Attr) {
		w := s.wire(a)
		p = p.str(name).str(s.long(name, a, now)).attrs(&w)
		n++
	}
	if !h.begun {
		h.begun = true
		for _, name := range []string{".", ".."} {
			// ".." of the root is the root; whether it can be looked up says nothing here.
			a, err := s.FS.GetAttr(ctx, s.Caller, h.dir, fs.AttrBasic)
			if err != nil {
				return nil, err
			}
			put(name, &a)
		}
	}
	if !h.eof {
		h.eof, err = s.FS.ReadDirByName(ctx, s.Caller, h.dir, h.after, fs.AttrBasic, func(d *fs.Dirent) bool {
			h.after = d.Name
			if d.Attr.Mask != 0 {
				put(d.Name, &d.Attr)
			}
			return n < maxEntries && len(p) < maxEntryBytes
		})
		if err != nil {
			return nil, err
		}
	}
	if n == 0 {
		return nil, errEOF
	}
	copy(p[count:], packet(nil).u32(n))
	return p, nil
}

func (s *session) removeAs(ctx context.Context, r *reader, mode fs.RemoveMode) (packet, error) {
	path := r.str()
	if r.err != nil {
		return nil, r.err
	}
	p, err := s.there(ctx, path, false, 0)
	if err != nil {
		return nil, err
	}
	if p.Name == "" {
		return nil, fs.Invalid
	}
	return nil, walk.Retry(ctx, func() error {
		_, err := s.FS.Remove(ctx, s.Caller, p.Dir, p.Name, mode)
		return err
	})
}

// remove and rmdir are sections 6.5 and 6.6.
func (s *session) remove(ctx context.Context, _ uint32, r *reader) (packet, error) {
	return s.removeAs(ctx, r, fs.RemoveFile)
}

func (s *session) rmdir(ctx context.Context, _ uint32, r *reader) (packet, error) {
	return s.removeAs(ctx, r, fs.RemoveDir)
}

// mkdir is section 6.6.
func (s *session) mkdir(ctx context.Context, _ uint32, r *reader) (packet, error) {
	path, a := r.str(), r.attrs()
	if r.err != nil {
		return nil, r.err
	}
	p, err := s.at(ctx, path, false, 0)
	if err != nil {
		return nil, err
	}
	if p.Exists {
		return nil, fs.Exist
	}
	mode := 0o777 &^ s.umask
	if a.flags&attrMode != 0 {
		mode = fs.Mode(a.mode) & fs.ModeAll &^ s.umask
	}
	return nil, s.create(ctx, p.Dir, p.Name, &fs.CreateSpec{Type: fs.Directory, Set: fs.SetAttr{Mode: &mode}})
}

func (s *session) create(ctx context.Context, dir fs.Node, name fs.Name, spec *fs.CreateSpec) error {
	return walk.Retry(ctx, func() error {
		_, err := s.FS.Create(ctx, s.Caller, dir, name, spec)
		return err
	})
}

func (s *session) nameReply(id uint32, name string) packet {
	return reply(s.buf, typeName, id).u32(1).str(name).str(name).u32(0)
}

// realpath is section 6.11. As with OpenSSH the last component may be missing.
func (s *session) realpath(ctx context.Context, id uint32, r *reader) (packet, error) {
	path := r.str()
	if r.err != nil {
		return nil, r.err
	}
	p, err := s.at(ctx, path, true, 0)
	if err != nil {
		return nil, err
	}
	return s.nameReply(id, p.Path), nil
}

func (s *session) renameAs(ctx context.Context, r *reader, o fs.RenameOptions) (packet, error) {
	from, to := r.str(), r.str()
	if r.err != nil {
		return nil, r.err
	}
	f, err := s.there(ctx, from, false, 0)
	if err != nil {
		return nil, err
	}
	t, err := s.at(ctx, to, false, 0)
	if err != nil {
		return nil, err
	}
	if f.Name == "" || t.Name == "" {
		return nil, fs.Invalid
	}
	return nil, walk.Retry(ctx, func() error {
		_, err := s.FS.Rename(ctx, s.Caller, f.Dir, f.Name, t.Dir, t.Name, o)
		return err
	})
}

// rename is section 6.5: it replaces nothing.
func (s *session) rename(ctx context.Context, _ uint32, r *reader) (packet, error) {
	return s.renameAs(ctx, r, fs.RenameOptions{NoReplace: true})
}

// readlink is section 6.10.
func (s *session) readlink(ctx context.Context, id uint32, r *reader) (packet, error) {
	path := r.str()
	if r.err != nil {
		return nil, r.err
	}
	p, err := s.there(ctx, path, false, 0)
	if err != nil {
		return nil, err
	}
	b, err := s.FS.Readlink(ctx, s.Caller, p.Attr.Node)
	if err != nil {
		return nil, err
	}
	return s.nameReply(id, string(b)), nil
}

// symlink is section 6.10 with the arguments in the order in which OpenSSH has
// always sent them: what the link says first, then where it lies.
func (s *session) symlink(ctx context.Context, _ uint32, r *reader) (packet, error) {
	target, path := r.str(), r.str()
	if r.err != nil {
		return nil, r.err
	}
	p, err := s.at(ctx, path, false, 0)
	if err != nil {
		return nil, err
	}
	if p.Exists {
		return nil, fs.Exist
	}
	return nil, s.create(ctx, p.Dir, p.Name, &fs.CreateSpec{Type: fs.Symlink, Target: []byte(target)})
}
