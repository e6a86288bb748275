package audit

import (
	"context"
	"strings"
	"sync"

	"manifold/internal/fs"
)

// FS records what is done to a file system.
type FS struct {
	fs.FS
	log *Log

	mu    sync.Mutex
	paths map[fs.Node]string // until a rename
	// staged are files that this process knows to have no name yet: what is
	// done to them is recorded when they get one.
	staged map[fs.FileID]struct{}
}

// Wrap decorates a file system.
func Wrap(f fs.FS, l *Log) *FS { return &FS{FS: f, log: l} }

var _ fs.FS = (*FS)(nil)

var protocols = map[fs.Protocol]string{
	fs.ProtoInternal: "internal", fs.ProtoNFS3: "nfsv3", fs.ProtoNFS4: "nfsv4.1", fs.ProtoSMB: "smb", fs.ProtoS3: "s3",
	fs.ProtoFTP: "ftp", fs.ProtoSFTP: "sftp", fs.ProtoREST: "api", fs.ProtoReplication: "replication",
}

var statuses = map[fs.Kind]string{
	fs.NotExist: "fs_no_such_entry", fs.Stale: "fs_no_such_inode", fs.Exist: "fs_entry_exists", fs.NotDir: "fs_not_a_directory", fs.IsDir: "fs_directory",
	fs.NotEmpty: "fs_directory_not_empty", fs.NotFile: "fs_not_a_file", fs.NotSymlink: "fs_not_a_symlink", fs.Access: "fs_access_denied",
	fs.Perm: "fs_access_perm_not_owner", fs.ReadOnly: "fs_read_only", fs.Invalid: "fs_invalid_attrs", fs.NameInvalid: "fs_invalid_name",
	fs.NameTooLong: "fs_name_size", fs.TooBig: "fs_file_size", fs.NoSpace: "fs_no_space", fs.QuotaExceeded: "fs_quota_no_space",
	fs.TooManyLinks: "fs_file_too_many_links", fs.Loop: "fs_directory_cycle", fs.Sharing: "fs_sharing_violation", fs.WORM: "fs_already_read_only",
	fs.RevisionMismatch: "fs_revision_mismatch", fs.NoAttr: "fs_user_metadata_key_not_found",
}

func status(err error) string {
	if err == nil {
		return "ok"
	}
	if s, ok := statuses[fs.KindOf(err)]; ok {
		return s
	}
	return "fs_error"
}

// path is that of a node; it is remembered until something moves.
func (f *FS) path(ctx context.Context, n fs.Node) string {
	f.mu.Lock()
	p, ok := f.paths[n]
	f.mu.Unlock()
	if ok {
		return p
	}
	// The call is over: its end must not cost the record its path.
	ctx = context.WithoutCancel(ctx)
	p, err := f.FS.PathOf(ctx, n)
	if err != nil {
		return ""
	}
	if n.Snap != 0 && n.Snap != fs.SnapshotDir {
		if s, err := f.FS.Snapshot(ctx, n.Snap); err == nil {
			p = "/.snapshot/" + s.Name + p
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.paths == nil || len(f.paths) >= 4096 {
		f.paths = map[fs.Node]string{}
	}
	f.paths[n] = p
	return p
}

// moved forgets paths.
func (f *FS) moved() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paths = nil
}

func (f *FS) entry(ctx context.Context, dir fs.Node, name string) string {
	return strings.TrimSuffix(f.path(ctx, dir), "/") + "/" + name
}

func (f *FS) add(c *fs.Caller, r Record, err error) {
	r.User, r.Client, r.Protocol, r.Status = c.Cred.User, c.Client.Addr(), protocols[c.Protocol], status(err)
	f.log.Add(r)
}

// onName records what was done to a name in a directory.
func (f *FS) onName(ctx context.Context, c *fs.Caller, op string, dir fs.Node, name string, id fs.FileID, err error) {
	if !f.log.Enabled() {
		return
	}
	f.add(c, Record{Operation: op, FileID: uint64(id), Path: f.entry(ctx, dir, name)}, err)
}

// onNode records what was done to an object.
func (f *FS) onNode(ctx context.Context, c *fs.Caller, op string, n fs.Node, err error) {
	if !f.log.Enabled() || f.isStaged(n) {
		return
	}
	f.add(c, Record{Operation: op, FileID: uint64(n.ID), Path: f.path(ctx, n)}, err)
}

// reading records the first of repeated reads. file is the size, nil if unknown.
func (f *FS) reading(ctx context.Context, c *fs.Caller, op string, n fs.Node, off, size *uint64, err error) {
	if !f.log.Enabled() || f.isStaged(n) || !f.log.fold.first(foldKey{c.Cred.User, n, op, err == nil}, f.log.o.Now()) {
		return
	}
	f.add(c, Record{Operation: op, FileID: uint64(n.ID), Path: f.path(ctx, n), Offset: off, Size: size}, err)
}

// The methods below implement fs.FS.

func (f *FS) ReadDir(ctx context.Context, c *fs.Caller, dir fs.Node, after uint64, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	eof, err := f.FS.ReadDir(ctx, c, dir, after, want, yield)
	f.reading(ctx, c, "fs_list_directory", dir, nil, nil, err)
	return eof, err
}

func (f *FS) ReadDirByName(ctx context.Context, c *fs.Caller, dir fs.Node, after fs.Name, want fs.AttrMask, yield func(*fs.Dirent) bool) (bool, error) {
	eof, err := f.FS.ReadDirByName(ctx, c, dir, after, want, yield)
	f.reading(ctx, c, "fs_list_directory", dir, nil, nil, err)
	return eof, err
}

func (f *FS) Create(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, spec *fs.CreateSpec) (fs.CreateResult, error) {
	res, err := f.FS.Create(ctx, c, dir, name, spec)
	op := "fs_create"
	switch spec.Type {
	case fs.File:
		op = "fs_create_file"
	case fs.Directory:
		op = "fs_create_directory"
	case fs.Symlink:
		op = "fs_create_symlink"
	}
	if f.log.Enabled() {
		f.add(c, Record{Operation: op, FileID: uint64(res.Attr.Node.ID), Path: f.entry(ctx, dir, name), Target: string(spec.Target)}, err)
	}
	return res, err
}

func (f *FS) Link(ctx context.Context, c *fs.Caller, target, dir fs.Node, name fs.Name) (fs.LinkResult, error) {
	res, err := f.FS.Link(ctx, c, target, dir, name)
	if f.log.Enabled() {
		f.add(c, Record{Operation: "fs_create_hard_link", FileID: uint64(target.ID), Path: f.entry(ctx, dir, name), Target: f.path(ctx, target)}, err)
	}
	return res, err
}

func (f *FS) Remove(ctx context.Context, c *fs.Caller, dir fs.Node, name fs.Name, mode fs.RemoveMode) (fs.RemoveResult, error) {
	res, err := f.FS.Remove(ctx, c, dir, name, mode)
	if err == nil {
		f.moved()
	}
	f.onName(ctx, c, "fs_delete", dir, name, res.Node.ID, err)
	return res, err
}

func (f *FS) Rename(ctx context.Context, c *fs.Caller, from fs.Node, fromName fs.Name, to fs.Node, toName fs.Name, o fs.RenameOptions) (fs.RenameResult, error) {
	res, err := f.FS.Rename(ctx, c, from, fromName, to, toName, o)
	if err == nil {
		f.moved()
	}
	if f.log.Enabled() {
		f.add(c, Record{Operation: "fs_rename", FileID: uint64(res.Node.ID), Path: f.entry(ctx, from, fromName), Target: f.entry(ctx, to, toName)}, err)
	}
	return res, err
}

func (f *FS) Readlink(ctx context.Context, c *fs.Caller, n fs.Node) ([]byte, error) {
	b, err := f.FS.Readlink(ctx, c, n)
	f.reading(ctx, c, "fs_read_link", n, nil, nil, err)
	return b, err
}

func (f *FS) GetAttr(ctx context.Context, c *fs.Caller, n fs.Node, want fs.AttrMask) (fs.Attr, error) {
	a, err := f.FS.GetAttr(ctx, c, n, want)
	f.reading(ctx, c, "fs_read_metadata", n, nil, nil, err)
	return a, err
}

func (f *FS) SetAttr(ctx context.Context, c *fs.Caller, n fs.Node, s *fs.SetAttr) (fs.Changed, error) {
	ch, err := f.FS.SetAttr(ctx, c, n, s)
	op := "fs_write_metadata"
	if s.Retention != nil || s.LegalHold != nil {
		op = "fs_write_file_lock"
	}
	f.onNode(ctx, c, op, n, err)
	return ch, err
}

func (f *FS) Read(ctx context.Context, c *fs.Caller, n fs.Node, r *fs.ReadRequest, dst []byte) (fs.ReadResult, error) {
	res, err := f.FS.Read(ctx, c, n, r, dst)
	if f.log.Enabled() {
		off, size := r.Offset, uint64(res.N)
		f.reading(ctx, c, "fs_read_data", n, &off, &size, err)
	}
	return res, err
}

func (f *FS) Write(ctx context.Context, c *fs.Caller, n fs.Node, w *fs.WriteRequest) (fs.WriteResult, error) {
	size := uint64(len(w.Data)) // the request may be reused once it was made
	off := w.Offset
	res, err := f.FS.Write(ctx, c, n, w)
	if f.log.Enabled() && !f.isStaged(n) {
		if w.Append {
			off = res.Offset
		}
		f.add(c, Record{Operation: "fs_write_data", FileID: uint64(n.ID), Path: f.path(ctx, n), Offset: &off, Size: &size}, err)
	}
	return res, err
}

func (f *FS) Zero(ctx context.Context, c *fs.Caller, n fs.Node, stream fs.StreamID, off, length uint64) (fs.Changed, error) {
	ch, err := f.FS.Zero(ctx, c, n, stream, off, length)
	if f.log.Enabled() && !f.isStaged(n) {
		f.add(c, Record{Operation: "fs_write_data", FileID: uint64(n.ID), Path: f.path(ctx, n), Offset: &off, Size: &length}, err)
	}
	return ch, err
}

func (f *FS) CopyRange(ctx context.Context, c *fs.Caller, src fs.Node, srcStream fs.StreamID, srcOff uint64, dst fs.Node, dstStream fs.StreamID, dstOff, length uint64) (uint64, error) {
	n, err := f.FS.CopyRange(ctx, c, src, srcStream, srcOff, dst, dstStream, dstOff, length)
	if f.log.Enabled() {
		f.add(c, Record{Operation: "fs_copy_chunk", FileID: uint64(dst.ID), Path: f.path(ctx, src), Target: f.path(ctx, dst), Offset: &dstOff, Size: &n}, err)
	}
	return n, err
}

func (f *FS) GetACL(ctx context.Context, c *fs.Caller, n fs.Node) (fs.ACL, error) {
	a, err := f.FS.GetACL(ctx, c, n)
	f.reading(ctx, c, "fs_read_metadata", n, nil, nil, err)
	return a, err
}

func (f *FS) SetACL(ctx context.Context, c *fs.Caller, n fs.Node, a *fs.ACL) (fs.Changed, error) {
	ch, err := f.FS.SetACL(ctx, c, n, a)
	f.onNode(ctx, c, "fs_write_metadata", n, err)
	return ch, err
}

func (f *FS) GetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string) ([]byte, error) {
	b, err := f.FS.GetMeta(ctx, c, n, s, key)
	f.reading(ctx, c, "fs_read_user_metadata", n, nil, nil, err)
	return b, err
}

func (f *FS) SetMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string, value []byte, m fs.MetaMode) (fs.Changed, error) {
	ch, err := f.FS.SetMeta(ctx, c, n, s, key, value, m)
	f.onNode(ctx, c, "fs_write_user_metadata", n, err)
	return ch, err
}

func (f *FS) RemoveMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, key string) (fs.Changed, error) {
	ch, err := f.FS.RemoveMeta(ctx, c, n, s, key)
	f.onNode(ctx, c, "fs_write_user_metadata", n, err)
	return ch, err
}

func (f *FS) ListMeta(ctx context.Context, c *fs.Caller, n fs.Node, s fs.MetaSpace, after string, yield func(string, int) bool) error {
	err := f.FS.ListMeta(ctx, c, n, s, after, yield)
	f.reading(ctx, c, "fs_read_user_metadata", n, nil, nil, err)
	return err
}

func (f *FS) CreateStream(ctx context.Context, c *fs.Caller, n fs.Node, name string, exclusive bool) (fs.StreamInfo, error) {
	s, err := f.FS.CreateStream(ctx, c, n, name, exclusive)
	f.onNode(ctx, c, "fs_create_stream", n, err)
	return s, err
}

func (f *FS) SetStreamSize(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, size uint64) (fs.Changed, error) {
	ch, err := f.FS.SetStreamSize(ctx, c, n, id, size)
	f.onNode(ctx, c, "fs_write_metadata", n, err)
	return ch, err
}

func (f *FS) RenameStream(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID, name string) error {
	err := f.FS.RenameStream(ctx, c, n, id, name)
	f.onNode(ctx, c, "fs_rename", n, err)
	return err
}

func (f *FS) RemoveStream(ctx context.Context, c *fs.Caller, n fs.Node, id fs.StreamID) error {
	err := f.FS.RemoveStream(ctx, c, n, id)
	f.onNode(ctx, c, "fs_delete", n, err)
	return err
}

func (f *FS) StartTreeDelete(ctx context.Context, c *fs.Caller, dir fs.FileID) (fs.TreeDelete, error) {
	path := ""
	if f.log.Enabled() {
		path = f.path(ctx, fs.Node{ID: dir})
	}
	d, err := f.FS.StartTreeDelete(ctx, c, dir)
	if err == nil {
		f.moved()
	}
	if f.log.Enabled() {
		f.add(c, Record{Operation: "fs_tree_delete", FileID: uint64(dir), Path: path}, err)
	}
	return d, err
}

// Open implements fs.Opener; what is done through the handle is recorded, too.
func (f *FS) Open(ctx context.Context, c *fs.Caller, o *fs.OpenSpec) (fs.Handle, fs.OpenResult, error) {
	h, res, err := f.FS.Open(ctx, c, o)
	if h == nil {
		return h, res, err
	}
	n := h.Node()
	f.reading(ctx, c, "fs_open", n, nil, nil, err)
	return &handle{Handle: h, f: f, c: c, n: n}, res, err
}

type handle struct {
	fs.Handle
	f *FS
	c *fs.Caller
	n fs.Node
}

func (h *handle) Read(ctx context.Context, off uint64, dst []byte) (fs.ReadResult, error) {
	res, err := h.Handle.Read(ctx, off, dst)
	size := uint64(res.N)
	h.f.reading(ctx, h.c, "fs_read_data", h.n, &off, &size, err)
	return res, err
}

func (h *handle) Write(ctx context.Context, w *fs.WriteRequest) (fs.WriteResult, error) {
	size, off := uint64(len(w.Data)), w.Offset
	res, err := h.Handle.Write(ctx, w)
	if h.f.log.Enabled() {
		h.f.add(h.c, Record{Operation: "fs_write_data", FileID: uint64(h.n.ID), Path: h.f.path(ctx, h.n), Offset: &off, Size: &size}, err)
	}
	return res, err
}

func (h *handle) SetAttr(ctx context.Context, s *fs.SetAttr) (fs.Changed, error) {
	ch, err := h.Handle.SetAttr(ctx, s)
	h.f.onNode(ctx, h.c, "fs_write_metadata", h.n, err)
	return ch, err
}
