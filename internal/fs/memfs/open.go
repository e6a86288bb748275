package memfs

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/fs/lock"
)

// handle implements fs.Handle.
type handle struct {
	f       *FS
	id      uint64
	node    fs.Node
	stream  fs.StreamID
	granted fs.Rights
	share   fs.Share
	space   fs.LockSpace
	owner   fs.LockOwner
	caller  *fs.Caller

	// Guarded by f.mu.
	name          link // by which it was opened, zero if by node
	deleteOnClose bool
	closed        bool
}

// share takes or changes the share mode of a handle, unless others forbid it.
func (f *FS) share(h *handle, access fs.Rights) bool {
	if !h.node.Live() {
		return true
	}
	_, err := f.shares.Change(lock.Open{
		Handle: h.id, Node: h.node, Stream: h.stream, Access: access, Share: h.share, Space: h.space, Owner: h.owner,
	})
	return err == nil
}

// deletePending tells whether n goes when its last handle closes.
func (f *FS) deletePending(n *inode, id fs.StreamID) bool {
	_, ok := n.pending[id]
	return ok
}

// Open implements fs.Opener.
func (f *FS) Open(_ context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	const op = "open"
	f.mu.Lock()
	defer f.mu.Unlock()
	h := &handle{f: f, id: f.nextOpen, node: o.Dir, share: o.Share, space: o.Space, owner: o.Owner, caller: c, deleteOnClose: o.DeleteOnClose}
	name := o.Name
	if o.FoldCase && name != "" {
		name = f.foldName(o.Dir, name)
	}
	var n *inode
	var err error
	if name == "" {
		n, _, err = f.find(op, o.Dir)
	} else {
		h.name = link{o.Dir.ID, name}
		h.node, n, err = f.child(op, c, o.Dir, name)
	}
	var res fs.OpenResult
	switch {
	case err == nil:
		_, t, _ := f.find(op, h.node)
		res, err = f.openExisting(c, o, h, n, t)
	case fs.KindOf(err) == fs.NotExist && o.Disposition != fs.OpenExisting && o.Disposition != fs.OpenOverwrite:
		res, err = f.openNew(c, o, h, name)
	}
	if err == nil && o.DeleteOnClose && h.granted&fs.RightDelete == 0 {
		err = fs.E(op, o.Dir, o.Name, fs.Access, nil)
	}
	if err != nil {
		f.shares.Release(h.node, h.id)
		return nil, fs.OpenResult{}, err
	}
	f.share(h, h.granted) // no more than what it was let in with
	f.opens[h.id] = h
	f.nextOpen++
	res.Granted, res.Stream = h.granted, h.stream
	if n, _, err = f.find(op, h.node); err == nil {
		res.Attr = f.attr(n, h.node, o.Want)
	}
	return h, res, nil
}

// openNew makes the object and its handle, which has all that was asked for
// whatever mode the object has got.
func (f *FS) openNew(c *fs.Caller, o *fs.OpenSpec, h *handle, name fs.Name) (fs.OpenResult, error) {
	spec := o.Create
	spec.Disposition = fs.CreateNew
	if spec.Type == fs.TypeNone {
		spec.Type = fs.File
		if o.MustBeDir {
			spec.Type = fs.Directory
		}
	}
	fail := func(k fs.Kind) (fs.OpenResult, error) { return fs.OpenResult{}, fs.E("open", o.Dir, name, k, nil) }
	switch {
	case spec.Type != fs.File && spec.Type != fs.Directory:
		return fail(fs.Invalid)
	case o.MustBeDir && spec.Type != fs.Directory:
		return fail(fs.NotDir)
	case o.MustNotBeDir && spec.Type == fs.Directory && o.StreamName == "":
		return fail(fs.IsDir)
	case o.DeleteOnClose && !o.MaximumAllowed && o.Desired&fs.RightDelete == 0:
		return fail(fs.Access)
	case o.StreamName != "" && len(spec.Data) > 0:
		return fail(fs.Invalid)
	}
	if o.StreamName != "" {
		if err := fs.CheckName(o.StreamName); err != nil {
			return fail(fs.KindOf(err))
		}
	}
	made, err := f.create(c, o.Dir, name, &spec)
	if err != nil {
		return fs.OpenResult{}, err
	}
	h.node, h.granted = made.Attr.Node, o.Desired
	if h.node == (fs.Node{}) {
		h.node = fs.Node{ID: f.live[o.Dir.ID].entries[name].id}
	}
	if o.MaximumAllowed {
		h.granted = fs.RightsAll
	}
	if o.StreamName != "" {
		h.stream = f.addStream(f.live[h.node.ID], o.StreamName)
	}
	return fs.OpenResult{Action: fs.OpenCreated, Dir: made.Dir}, nil
}

func (f *FS) openExisting(c *fs.Caller, o *fs.OpenSpec, h *handle, n *inode, t tree) (fs.OpenResult, error) {
	fail := func(k fs.Kind) (fs.OpenResult, error) { return fs.OpenResult{}, fs.E("open", o.Dir, o.Name, k, nil) }
	live := h.node.Live()
	isDir := n.typ == fs.Directory
	replace := o.Disposition == fs.OpenSupersede || o.Disposition == fs.OpenOverwrite || o.Disposition == fs.OpenOverwriteIf
	res := fs.OpenResult{Action: fs.OpenOpened}
	newStream := false
	if o.StreamName == "" {
		if o.Disposition == fs.OpenCreate {
			return fail(fs.Exist)
		}
	} else {
		if err := fs.CheckName(o.StreamName); err != nil {
			return fail(fs.KindOf(err))
		}
		id, s := n.streamNamed(o.StreamName)
		switch {
		case s != nil && o.Disposition == fs.OpenCreate:
			return fail(fs.Exist)
		case s != nil:
			h.stream = id
		case o.Disposition == fs.OpenExisting || o.Disposition == fs.OpenOverwrite:
			return fail(fs.NotExist)
		default:
			newStream = true
		}
	}
	switch {
	case o.MustBeDir && !isDir:
		return fail(fs.NotDir)
	case o.MustNotBeDir && isDir && o.StreamName == "":
		return fail(fs.IsDir)
	case (!live || c.ReadOnly) && o.Desired&^acl.ReadRights != 0:
		return fail(fs.ReadOnly)
	}
	have := f.access(c, h.node, n, t)
	if have&o.Desired != o.Desired {
		return fail(fs.Access)
	}
	h.granted = o.Desired
	if o.MaximumAllowed {
		h.granted |= have
	}
	access := h.granted
	if replace && !newStream {
		access |= fs.RightModify
	}
	switch {
	case !o.DeleteOnClose:
	case h.granted&fs.RightDelete == 0:
		return fail(fs.Access)
	case n.locked(f.now()):
		return fail(fs.WORM)
	}
	if newStream {
		switch {
		case !live || c.ReadOnly:
			return fail(fs.ReadOnly)
		case n.typ != fs.File && !isDir:
			return fail(fs.NotSupported)
		case !f.can(c, n, fs.RightModify):
			return fail(fs.Access)
		case n.locked(f.now()):
			return fail(fs.WORM)
		}
	}
	switch {
	case f.deletePending(n, h.stream) || f.deletePending(n, 0):
		return fail(fs.Sharing)
	case !newStream && !f.share(h, access):
		return fail(fs.Sharing)
	case !replace || newStream:
	case !live || c.ReadOnly:
		return fail(fs.ReadOnly)
	case n.locked(f.now()):
		return fail(fs.WORM)
	case isDir && h.stream == 0:
		return fail(fs.IsDir)
	case n.typ != fs.File && h.stream == 0:
		return fail(fs.NotFile)
	case !f.can(c, n, fs.RightModify):
		return fail(fs.Access)
	}
	if newStream {
		h.stream = f.addStream(n, o.StreamName)
		res.Action = fs.OpenCreated
		if !f.share(h, access) {
			return fail(fs.Sharing)
		}
	} else if replace {
		s := n.stream(h.stream)
		s.truncate(0)
		s.sync()
		n.verifier = nil
		f.touch(n, true)
		n.dropSetID(c)
		f.notify(n, fs.EventSize)
		res.Action = fs.OpenOverwritten
		if o.Disposition == fs.OpenSupersede {
			res.Action = fs.OpenSuperseded
		}
	}
	return res, nil
}

// Opens implements fs.Opener.
func (f *FS) Opens(_ context.Context, n fs.Node, yield func(fs.OpenInfo) bool) error {
	f.mu.Lock()
	var out []fs.OpenInfo
	for h := range maps.Values(f.opens) {
		if n == (fs.Node{}) || h.node == n {
			out = append(out, fs.OpenInfo{
				Handle: h.id, Node: h.node, Stream: h.stream, Granted: h.granted, Share: h.share, Space: h.space, Owner: h.owner, Caller: h.caller,
			})
		}
	}
	f.mu.Unlock()
	slices.SortFunc(out, func(a, b fs.OpenInfo) int { return cmp.Compare(a.Handle, b.Handle) })
	for _, o := range out {
		if !yield(o) {
			break
		}
	}
	return nil
}

func (h *handle) ID() uint64          { return h.id }
func (h *handle) Node() fs.Node       { return h.node }
func (h *handle) Stream() fs.StreamID { return h.stream }
func (h *handle) Granted() fs.Rights  { return h.granted }

// lock locks the file system and checks that the handle is open.
func (h *handle) lock(op string) error {
	h.f.mu.Lock()
	if h.closed || h.f.opens[h.id] != h {
		h.f.mu.Unlock()
		return fs.E(op, h.node, "", fs.Stale, nil)
	}
	return nil
}

func (h *handle) Read(_ context.Context, off uint64, dst []byte) (fs.ReadResult, error) {
	if err := h.lock("read"); err != nil {
		return fs.ReadResult{}, err
	}
	defer h.f.mu.Unlock()
	return h.f.read(h.caller, h.node, &fs.ReadRequest{Stream: h.stream, Offset: off}, dst, h)
}

func (h *handle) Write(_ context.Context, w *fs.WriteRequest) (fs.WriteResult, error) {
	if err := h.lock("write"); err != nil {
		return fs.WriteResult{}, err
	}
	defer h.f.mu.Unlock()
	r := *w
	r.Stream = h.stream
	return h.f.write(h.caller, h.node, &r, h)
}

func (h *handle) Flush(context.Context) error {
	if err := h.lock("flush"); err != nil {
		return err
	}
	defer h.f.mu.Unlock()
	n, _, err := h.f.find("flush", h.node)
	if err != nil {
		return err
	}
	if s := n.stream(h.stream); s != nil {
		s.sync()
	}
	return nil
}

func (h *handle) GetAttr(_ context.Context, want fs.AttrMask) (fs.Attr, error) {
	if err := h.lock("get attributes"); err != nil {
		return fs.Attr{}, err
	}
	defer h.f.mu.Unlock()
	n, _, err := h.f.find("get attributes", h.node)
	if err != nil {
		return fs.Attr{}, err
	}
	return h.f.attr(n, h.node, want), nil
}

func (h *handle) SetAttr(_ context.Context, s *fs.SetAttr) (fs.Changed, error) {
	if err := h.lock("set attributes"); err != nil {
		return fs.Changed{}, err
	}
	defer h.f.mu.Unlock()
	if s.Size != nil && h.granted&fs.RightModify == 0 {
		return fs.Changed{}, fs.E("set attributes", h.node, "", fs.Access, nil)
	}
	return h.f.setAttr(h.caller, h.node, s, h)
}

func (h *handle) SetDeleteOnClose(_ context.Context, on bool) error {
	const op = "set delete on close"
	if err := h.lock(op); err != nil {
		return err
	}
	f := h.f
	defer f.mu.Unlock()
	n, _, err := f.find(op, h.node)
	if err != nil {
		return err
	}
	if !on {
		delete(n.pending, h.stream)
		h.deleteOnClose = false
		return nil
	}
	switch {
	case h.granted&fs.RightDelete == 0:
		return fs.E(op, h.node, "", fs.Access, nil)
	case !h.node.Live() || h.caller.ReadOnly:
		return fs.E(op, h.node, "", fs.ReadOnly, nil)
	case n.id == fs.RootID:
		return fs.E(op, h.node, "", fs.Access, nil)
	case h.stream == 0 && len(n.entries) > 0:
		return fs.E(op, h.node, "", fs.NotEmpty, nil)
	case n.locked(f.now()):
		return fs.E(op, h.node, "", fs.WORM, nil)
	}
	n.markPending(h)
	return nil
}

// markPending notes that the stream, or the whole object by the name that h
// was opened with, goes when its last handle closes.
func (n *inode) markPending(h *handle) {
	if n.pending == nil {
		n.pending = map[fs.StreamID]link{}
	}
	n.pending[h.stream] = h.name
}

func (h *handle) Close(context.Context) error {
	if err := h.lock("close"); err != nil {
		return err
	}
	f := h.f
	defer f.mu.Unlock()
	h.closed = true
	delete(f.opens, h.id)
	f.shares.Release(h.node, h.id)
	f.releaseHandle(h)
	n := f.live[h.node.ID]
	if n == nil || !h.node.Live() {
		return nil
	}
	if s := n.stream(h.stream); s != nil {
		s.sync()
	}
	if h.deleteOnClose {
		n.markPending(h)
	}
	if _, ok := n.pending[h.stream]; ok && h.stream != 0 && !f.isOpen(n, h.stream) {
		delete(n.pending, h.stream)
		if !n.locked(f.now()) {
			delete(n.streams, h.stream)
			f.touch(n, false)
			f.notify(n, fs.EventStream)
		}
	}
	// The whole object goes when nothing of it is open.
	if name, ok := n.pending[0]; ok && !f.held(n) {
		delete(n.pending, 0)
		if !slices.Contains(n.links, name) && len(n.links) > 0 {
			name = n.links[0] // renamed meanwhile
		}
		d := f.live[name.dir]
		if d != nil && !n.locked(f.now()) && d.entries[name.name].id == n.id && len(n.entries) == 0 {
			f.unlink(d, name.name, n)
		}
	}
	f.forget(n)
	return nil
}

// isOpen tells whether a stream has handles.
func (f *FS) isOpen(n *inode, id fs.StreamID) bool {
	for _, h := range f.opens {
		if h.node == (fs.Node{ID: n.id}) && h.stream == id {
			return true
		}
	}
	return false
}
