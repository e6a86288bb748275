package core

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"manifold/internal/fs"
	"manifold/internal/fs/lock"
	"manifold/internal/meta"
)

// openTable knows every open handle.
type openTable struct {
	shares lock.Shares // comes after mu

	mu    sync.Mutex
	next  uint64
	files map[fs.Node]*openFile
}

// openFile are the handles of one node: those of snapshots keep no live object.
type openFile struct {
	handles map[*handle]struct{}
	// doomed are the streams that are deleted when their last handle closes.
	doomed map[fs.StreamID]doomed
}

// doomed is what goes: a named stream, or the name that stands for the object.
type doomed struct {
	dir  fs.FileID
	name string
	sid  fs.StreamID
}

// peek returns the handles of a live inode, nil if it is not open.
func (t *openTable) peek(id fs.FileID) *openFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.files[fs.Node{ID: id}]
}

// admit adds a handle unless share modes forbid it. An open that truncates
// counts as one that writes while it is let in.
func (t *openTable) admit(h *handle, truncates bool) error {
	access := h.granted
	if truncates {
		access |= fs.RightModify
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[h.node]
	if f != nil {
		for _, sid := range []fs.StreamID{0, h.sid} {
			if _, going := f.doomed[sid]; going {
				return fs.Sharing
			}
		}
	}
	h.id = t.next + 1
	open := lock.Open{Handle: h.id, Node: h.node, Stream: h.sid, Access: access, Share: h.share, Space: h.space, Owner: h.owner}
	if h.node.Live() {
		if _, err := t.shares.Acquire(open); err != nil {
			return fs.Sharing
		}
		if access != h.granted {
			open.Access = h.granted
			_, _ = t.shares.Change(open) // less is in nobody's way
		}
	}
	t.next++
	if f == nil {
		f = &openFile{handles: map[*handle]struct{}{}}
		t.files[h.node] = f
	}
	f.handles[h] = struct{}{}
	return nil
}

// doom marks a stream for deletion at its last close, or unmarks it.
func (t *openTable) doom(h *handle, on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[h.node]
	switch {
	case f == nil:
	case !on:
		delete(f.doomed, h.sid)
	default:
		if f.doomed == nil {
			f.doomed = map[fs.StreamID]doomed{}
		}
		f.doomed[h.sid] = doomed{dir: h.dir, name: h.name}
	}
}

// leave takes a handle away. It says whether it was the last of its inode, and
// what is to be deleted because it was the last of its stream, or for the whole
// object the last at all.
func (t *openTable) leave(h *handle) (last bool, gone *doomed) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.files[h.node]
	if f == nil {
		return false, nil
	}
	t.shares.Release(h.node, h.id)
	delete(f.handles, h)
	if d, ok := f.doomed[h.sid]; ok && h.sid != 0 {
		gone = &d
		for o := range f.handles {
			if o.sid == h.sid {
				gone = nil
			}
		}
		if gone != nil {
			gone.sid = h.sid
			delete(f.doomed, h.sid)
		}
	}
	if len(f.handles) > 0 {
		return false, gone
	}
	if d, ok := f.doomed[0]; ok {
		gone = &d
	}
	delete(t.files, h.node)
	return true, gone
}

type handle struct {
	f       *FS
	id      uint64
	caller  *fs.Caller
	node    fs.Node
	sid     fs.StreamID
	granted fs.Rights
	share   fs.Share
	space   fs.LockSpace
	owner   fs.LockOwner
	dir     fs.FileID // where it was opened, for delete-on-close
	name    string
	doom    atomic.Bool
	closed  atomic.Bool
}

// Open implements fs.Opener. The name walk, creation and truncation are
// transactions of their own; the share mode is taken before anything is
// truncated, so a refused open changes nothing that was there.
func (f *FS) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	var res fs.OpenResult
	h, err := f.open(ctx, c, o, &res)
	if err != nil {
		return nil, fs.OpenResult{}, wrap("open", o.Dir, o.Name, err)
	}
	return h, res, nil
}

func (f *FS) open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec, res *fs.OpenResult) (*handle, error) {
	for range 16 {
		h, again, err := f.tryOpen(ctx, c, o, res)
		if !again {
			return h, err
		}
	}
	return nil, fs.Retry
}

func (f *FS) tryOpen(ctx context.Context, c *fs.Caller, o *fs.OpenSpec, res *fs.OpenResult) (h *handle, again bool, err error) {
	*res = fs.OpenResult{}
	var a fs.Attr
	stored := o.Name
	switch {
	case o.Disposition == fs.OpenCreate && o.StreamName == "" && !o.FoldCase && fs.CheckName(o.Name) == nil:
		err = fs.NotExist // making it tells
	case o.Name == "":
		a, err = f.GetAttr(ctx, c, o.Dir, o.Want)
	case o.FoldCase:
		a, stored, err = f.LookupFold(ctx, c, o.Dir, o.Name, o.Want)
	default:
		a, err = f.Lookup(ctx, c, o.Dir, o.Name, o.Want)
	}
	creates := o.Disposition == fs.OpenCreate || o.Disposition == fs.OpenIf || o.Disposition == fs.OpenOverwriteIf || o.Disposition == fs.OpenSupersede
	switch {
	case err == nil:
		if o.Disposition == fs.OpenCreate && o.StreamName == "" {
			return nil, false, fs.Exist
		}
	case fs.KindOf(err) == fs.NotExist && creates:
		spec := o.Create
		spec.Disposition = fs.CreateNew
		if err := mayMake(o, &spec); err != nil {
			return nil, false, err
		}
		stored = o.Name
		cr, err := f.Create(ctx, c, o.Dir, o.Name, &spec)
		if fs.KindOf(err) == fs.Exist && err != nil && o.Disposition != fs.OpenCreate {
			return nil, true, nil // somebody else made it just now
		}
		if err != nil {
			return nil, false, err
		}
		a, res.Action, res.Dir = cr.Attr, fs.OpenCreated, cr.Dir
	default:
		return nil, false, err
	}
	isDir := a.Type == fs.Directory
	switch {
	case o.MustBeDir && !isDir:
		return nil, false, fs.NotDir
	case o.MustNotBeDir && isDir && o.StreamName == "":
		return nil, false, fs.IsDir
	}
	want := o.Desired
	all := want
	if o.MaximumAllowed {
		all = fs.RightsAll
	}
	granted := all
	if res.Action != fs.OpenCreated {
		if granted, err = f.Access(ctx, c, a.Node, all); err != nil {
			return nil, false, err
		}
	} else if c.ReadOnly {
		granted &^= changing
	}
	if granted&want != want {
		if want&changing != 0 && writable(c, a.Node) != nil {
			return nil, false, fs.ReadOnly
		}
		return nil, false, fs.Access
	}
	if o.DeleteOnClose {
		if granted&fs.RightDelete == 0 {
			return nil, false, fs.Access
		}
		// A file that cannot be deleted must not look as if it were going to be.
		if err := f.viewAt(ctx, a.Node, func(_ *meta.Reader, i *meta.Inode) error { return f.checkWORM(i) }); err != nil {
			return nil, false, err
		}
	}
	h = &handle{f: f, caller: c, node: a.Node, granted: granted, share: o.Share, space: o.Space, owner: o.Owner, dir: o.Dir.ID, name: stored}
	if o.StreamName != "" {
		if err := f.openStream(ctx, c, o, h, creates, res); err != nil {
			return nil, false, err
		}
	}
	truncates := res.Action != fs.OpenCreated &&
		(o.Disposition == fs.OpenOverwrite || o.Disposition == fs.OpenOverwriteIf || o.Disposition == fs.OpenSupersede)
	if err := f.opens.admit(h, truncates); err != nil {
		return nil, false, err
	}
	h.doom.Store(o.DeleteOnClose)
	if truncates {
		ch, err := f.resize(ctx, c, a.Node, h.sid, 0)
		if err != nil {
			_, _ = f.opens.leave(h)
			return nil, false, err
		}
		a = ch.After
		res.Action = fs.OpenOverwritten
		if o.Disposition == fs.OpenSupersede {
			res.Action = fs.OpenSuperseded
		}
	} else if res.Action != fs.OpenCreated {
		res.Action = fs.OpenOpened
	}
	// The object may have been removed before the handle held it.
	if _, err := f.GetAttr(ctx, c, a.Node, 0); err != nil {
		_, _ = f.opens.leave(h)
		return nil, fs.KindOf(err) == fs.Stale, err
	}
	res.Attr, res.Granted, res.Stream = a, granted, h.sid
	return h, false, nil
}

// mayMake refuses an open that would fail after it has made its object.
func mayMake(o *fs.OpenSpec, spec *fs.CreateSpec) error {
	if spec.Type == fs.TypeNone {
		spec.Type = fs.File
		if o.MustBeDir {
			spec.Type = fs.Directory
		}
	}
	switch {
	case spec.Type != fs.File && spec.Type != fs.Directory:
		return fs.Invalid
	case o.MustBeDir && spec.Type != fs.Directory:
		return fs.NotDir
	case o.MustNotBeDir && spec.Type == fs.Directory && o.StreamName == "":
		return fs.IsDir
	case o.DeleteOnClose && !o.MaximumAllowed && o.Desired&fs.RightDelete == 0:
		return fs.Access
	case o.StreamName != "" && len(spec.Data) > 0:
		return fs.Invalid
	case o.StreamName != "":
		return fs.CheckName(o.StreamName)
	}
	return nil
}

// openStream finds or makes the named stream of an open.
func (f *FS) openStream(ctx context.Context, c *fs.Caller, o *fs.OpenSpec, h *handle, creates bool, res *fs.OpenResult) error {
	id := fs.StreamID(0)
	err := f.viewAt(ctx, h.node, func(r *meta.Reader, i *meta.Inode) error {
		ss, err := r.Streams(ctx, i.ID)
		if err != nil {
			return err
		}
		for _, s := range ss {
			if sameFold(s.Name, o.StreamName) {
				id = s.ID
				return nil
			}
		}
		return fs.NotExist
	})
	switch {
	case err == nil && o.Disposition == fs.OpenCreate:
		return fs.Exist
	case err != nil && creates && fs.KindOf(err) == fs.NotExist:
		var info fs.StreamInfo
		info, err = f.CreateStream(ctx, c, h.node, o.StreamName, o.Disposition == fs.OpenCreate)
		id = info.ID
		if err == nil {
			res.Action = fs.OpenCreated
		}
	}
	h.sid = id
	return err
}

// Opens implements fs.Opener.
func (f *FS) Opens(ctx context.Context, n fs.Node, yield func(fs.OpenInfo) bool) error {
	f.opens.mu.Lock()
	var out []fs.OpenInfo
	for node, file := range f.opens.files {
		if n != (fs.Node{}) && n != node {
			continue
		}
		for h := range file.handles {
			out = append(out, fs.OpenInfo{Handle: h.id, Node: h.node, Stream: h.sid, Granted: h.granted, Share: h.share, Space: h.space, Owner: h.owner, Caller: h.caller})
		}
	}
	f.opens.mu.Unlock()
	for _, i := range out {
		if !yield(i) {
			break
		}
	}
	return nil
}

func (h *handle) ID() uint64          { return h.id }
func (h *handle) Node() fs.Node       { return h.node }
func (h *handle) Stream() fs.StreamID { return h.sid }
func (h *handle) Granted() fs.Rights  { return h.granted }

// Read implements fs.Handle.
func (h *handle) Read(ctx context.Context, off uint64, dst []byte) (fs.ReadResult, error) {
	if h.granted&(fs.RightRead|fs.RightExecute) == 0 {
		return fs.ReadResult{}, wrap("read", h.node, "", fs.Access)
	}
	if err := h.f.unlocked(h.space, h.node, h.sid, h.id, off, uint64(len(dst)), false); err != nil {
		return fs.ReadResult{}, wrap("read", h.node, "", err)
	}
	if _, err := h.f.breach(ctx, h.caller, h.node, h.sid, fs.BreachRead, allowed); err != nil {
		return fs.ReadResult{}, wrap("read", h.node, "", err)
	}
	r, err := h.f.read(ctx, h.node, h.sid, off, dst, func(*meta.Reader, *meta.Inode) error { return nil })
	return r, wrap("read", h.node, "", err)
}

// Write implements fs.Handle.
func (h *handle) Write(ctx context.Context, w *fs.WriteRequest) (fs.WriteResult, error) {
	if h.granted&(fs.RightModify|fs.RightExtend) == 0 {
		return fs.WriteResult{}, wrap("write", h.node, "", fs.Access)
	}
	q := *w
	q.Stream = h.sid
	q.Append = w.Append || h.granted&fs.RightModify == 0
	if !q.Append {
		if err := h.f.unlocked(h.space, h.node, h.sid, h.id, q.Offset, uint64(len(q.Data)), true); err != nil {
			return fs.WriteResult{}, wrap("write", h.node, "", err)
		}
	}
	r, err := h.f.write(ctx, h.caller, h.node, &q, true)
	return r, wrap("write", h.node, "", err)
}

// Flush implements fs.Handle.
func (h *handle) Flush(ctx context.Context) error {
	return wrap("flush", h.node, "", h.f.io.Flush(ctx, h.node.ID))
}

// GetAttr implements fs.Handle.
func (h *handle) GetAttr(ctx context.Context, want fs.AttrMask) (fs.Attr, error) {
	return h.f.GetAttr(ctx, h.caller, h.node, want)
}

// SetAttr implements fs.Handle.
func (h *handle) SetAttr(ctx context.Context, s *fs.SetAttr) (fs.Changed, error) {
	var ch fs.Changed
	if s.Size != nil && h.granted&fs.RightModify == 0 {
		return ch, wrap("setattr", h.node, "", fs.Access)
	}
	if h.sid != 0 && s.Size != nil {
		size := *s.Size
		rest := *s
		rest.Size = nil
		ch, err := h.f.resize(ctx, h.caller, h.node, h.sid, size)
		if err == nil && rest != (fs.SetAttr{}) {
			ch, err = h.f.SetAttr(ctx, h.caller, h.node, &rest)
		}
		return ch, err
	}
	q := *s
	q.OwnerOverride = false
	// A right granted at open holds whatever has happened to the mode since.
	err := h.f.setattr(ctx, h.caller, h.node, &q, true, &ch)
	if err == nil {
		h.f.hub.object(eventsOf(&q), h.node.ID)
	}
	return ch, wrap("setattr", h.node, "", err)
}

// SetDeleteOnClose implements fs.Handle.
func (h *handle) SetDeleteOnClose(ctx context.Context, on bool) error {
	if on {
		if h.granted&fs.RightDelete == 0 {
			return wrap("delete on close", h.node, "", fs.Access)
		}
		if err := writable(h.caller, h.node); err != nil {
			return wrap("delete on close", h.node, "", err)
		}
		err := h.f.viewAt(ctx, h.node, func(_ *meta.Reader, i *meta.Inode) error {
			if i.Type == fs.Directory && i.Children > 0 {
				return fs.NotEmpty
			}
			return h.f.checkWORM(i)
		})
		if err != nil {
			return wrap("delete on close", h.node, "", err)
		}
	}
	h.doom.Store(false) // the open's own wish is overruled either way
	h.f.opens.doom(h, on)
	return nil
}

// Close implements fs.Handle.
func (h *handle) Close(ctx context.Context) error {
	if h.closed.Swap(true) {
		return nil
	}
	var err error
	if h.node.Live() && h.granted&(fs.RightModify|fs.RightExtend) != 0 && !h.doom.Load() {
		err = h.f.io.Flush(ctx, h.node.ID)
	}
	if h.doom.Load() {
		h.f.opens.doom(h, true)
	}
	h.f.ReleaseHandle(h.node, h.id)
	last, gone := h.f.opens.leave(h)
	if gone != nil && h.node.Live() {
		if gone.sid != 0 {
			if rerr := h.f.removeStream(ctx, fs.SystemCaller(), h.node, gone.sid); rerr != nil && !kindIs(rerr, fs.NoAttr, fs.Stale, fs.WORM) {
				err = errors.Join(err, rerr)
			}
		} else {
			freed, rerr := h.f.removeDoomed(ctx, h.node.ID, *gone)
			last = last && !freed
			err = errors.Join(err, rerr)
		}
	}
	if last && h.node.Live() {
		h.f.closedLast(ctx, h.node.ID)
	}
	return wrap("close", h.node, "", err)
}

// removeDoomed takes away the name that an object was opened by; if it has gone
// or was renamed meanwhile, its primary one. It tells whether the object went
// with it.
func (f *FS) removeDoomed(ctx context.Context, id fs.FileID, d doomed) (freed bool, err error) {
	remove := func() error {
		m := removal{f: f, c: fs.SystemCaller(), dir: fs.Node{ID: d.dir}, name: d.name, mode: fs.RemoveAny, only: &id}
		err := m.remove(ctx)
		freed = err == nil && m.res.Gone && m.held == nil
		return err
	}
	err = remove()
	if err != nil && kindIs(err, fs.NotExist, fs.NameInvalid, fs.Stale) {
		err = f.db.View(ctx, func(r *meta.Reader) error {
			i, err := f.inode(ctx, r, id)
			if err == nil {
				d = doomed{dir: i.Parent, name: i.ParentName}
			}
			return err
		})
		if err == nil && d.dir != 0 {
			err = remove()
		}
	}
	if err != nil && kindIs(err, fs.NotExist, fs.Stale, fs.NotEmpty, fs.WORM) {
		return freed, nil // somebody else was quicker, filled the directory, or locked the file
	}
	return freed, err
}

func kindIs(err error, kinds ...fs.Kind) bool { return slices.Contains(kinds, fs.KindOf(err)) }

// closedLast frees an inode without a name once nobody has it open.
func (f *FS) closedLast(ctx context.Context, id fs.FileID) {
	orphan := false
	err := f.db.View(ctx, func(r *meta.Reader) error {
		i, err := r.Inode(ctx, id)
		orphan = err == nil && i.Parent == 0 && i.Links == 0 && i.Staged == nil
		return nil
	})
	if err == nil && orphan {
		f.io.Forget(id)
		f.reclaim(id)
	}
}
