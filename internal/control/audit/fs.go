package audit

import (
	"context"

	"manifold/internal/fs"
)

// FS records what is done to a file system.
type FS struct {
	fs.FS
	log    *Log
	paths  paths
	staged stagedSet
}

// Wrap decorates a file system.
func Wrap(f fs.FS, l *Log) *FS { return &FS{FS: f, log: l} }

var _ fs.FS = (*FS)(nil)

var protocols = [...]string{
	fs.ProtoInternal: "internal", fs.ProtoNFS3: "nfsv3", fs.ProtoNFS4: "nfsv4.1", fs.ProtoSMB: "smb", fs.ProtoS3: "s3",
	fs.ProtoFTP: "ftp", fs.ProtoSFTP: "sftp", fs.ProtoREST: "api", fs.ProtoReplication: "replication",
}

func protocolName(p fs.Protocol) string {
	if int(p) < len(protocols) {
		return protocols[p]
	}
	return p.String()
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

// add records what a caller did.
func (f *FS) add(c *fs.Caller, r *Record, err error) {
	r.User, r.Client, r.Protocol, r.Status = c.User(), c.Client.Addr(), protocolName(c.Protocol), status(err)
	f.log.Add(r)
}

// onNode records what was done to an object.
func (f *FS) onNode(ctx context.Context, c *fs.Caller, op string, n fs.Node, target string, err error) {
	if f.log.Enabled() && !f.staged.has(n) {
		f.add(c, &Record{Operation: op, FileID: uint64(n.ID), Path: f.path(ctx, n), Target: target}, err)
	}
}

// first tells whether what a caller did is to be recorded: it is no repetition,
// nor something that a server looks up for itself.
func (f *FS) first(c *fs.Caller, op repeated, n fs.Node, err error) bool {
	return f.log.Enabled() && c.Protocol != fs.ProtoInternal && !f.staged.has(n) && f.fresh(c, op, n, err)
}

// fresh tells whether a caller did something for the first time of late.
func (f *FS) fresh(c *fs.Caller, op repeated, n fs.Node, err error) bool {
	return f.log.fold.first(foldKey{c.User(), n, op, err == nil}, f.log.clock.coarse())
}

// Watched records that a caller watches a directory, which the file system is
// not told. Repetitions are one record.
func (f *FS) Watched(ctx context.Context, c *fs.Caller, n fs.Node) {
	f.looked(ctx, c, notifyRequest, n, nil, nil)
}

// looked records the first of repeated reads of what is not data. a are what
// attributes the call has answered, if any.
func (f *FS) looked(ctx context.Context, c *fs.Caller, op repeated, n fs.Node, a *fs.Attr, err error) {
	if f.first(c, op, n, err) {
		r := Record{Operation: op.String(), FileID: uint64(n.ID)}
		r.Path, r.Name = f.where(ctx, n, a)
		f.add(c, &r, err)
	}
}

// read records the first of repeated reads of data.
func (f *FS) read(ctx context.Context, c *fs.Caller, n fs.Node, off uint64, res *fs.ReadResult, err error) {
	if !f.first(c, readData, n, err) {
		return
	}
	r := Record{Operation: "fs_read_data", FileID: uint64(n.ID), Offset: number(off), Size: number(uint64(res.N))}
	r.Path, r.Name = f.where(ctx, n, &res.Attr)
	if res.Attr.Mask&fs.AttrSize != 0 {
		r.FileSize = number(res.Attr.Size)
	}
	f.add(c, &r, err)
}

// wrote records a write of data.
func (f *FS) wrote(ctx context.Context, c *fs.Caller, n fs.Node, off, size uint64, after *fs.Attr, err error) {
	if f.staged.has(n) {
		return
	}
	r := Record{Operation: "fs_write_data", FileID: uint64(n.ID), Offset: number(off), Size: number(size)}
	r.Path, r.Name = f.where(ctx, n, after)
	if after.Mask&fs.AttrSize != 0 {
		r.FileSize = number(after.Size)
	}
	f.add(c, &r, err)
}

// changed records a change of attributes. Repeated ones are one record where
// it would not show what was changed.
func (f *FS) changed(ctx context.Context, c *fs.Caller, op string, n fs.Node, ch *fs.Changed, err error) {
	if !f.log.Enabled() || f.staged.has(n) {
		return
	}
	if op == writeMetadata.String() && f.log.format() == CSV {
		if !f.fresh(c, writeMetadata, n, err) {
			return
		}
	}
	r := Record{Operation: op, FileID: uint64(n.ID)}
	r.Path, r.Name = f.where(ctx, n, &ch.After)
	var before, after Attributes
	if err == nil {
		before, after = attributesBefore(&ch.Before), attributesOf(&ch.After)
		r.Before, r.After = &before, &after
	}
	f.add(c, &r, err)
}

// attrOp is what setting attributes is called.
func attrOp(s *fs.SetAttr) string {
	if s.Retention != nil || s.LegalHold != nil {
		return "fs_write_file_lock"
	}
	return "fs_write_metadata"
}

func createOp(t fs.Type) string {
	switch t {
	case fs.File:
		return "fs_create_file"
	case fs.Directory:
		return "fs_create_directory"
	case fs.Symlink:
		return "fs_create_symlink"
	}
	return "fs_create"
}
