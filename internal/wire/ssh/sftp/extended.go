package sftp

import (
	"context"
	"encoding/binary"
	"strings"

	"manifold/internal/fs"
	"manifold/internal/fs/walk"
)

// extended are the requests beyond version 3 (OpenSSH's PROTOCOL file section
// 4; copy-data and home-directory are draft-ietf-secsh-filexfer-extensions-00).
var extended = map[string]call{
	"posix-rename@openssh.com": {do: func(s *session, ctx context.Context, _ uint32, r *reader) (packet, error) {
		return s.renameAs(ctx, r, fs.RenameOptions{})
	}},
	"hardlink@openssh.com": {do: (*session).hardlink},
	"statvfs@openssh.com":  {do: (*session).statvfs},
	"fstatvfs@openssh.com": {do: (*session).fstatvfs},
	"fsync@openssh.com":    {do: (*session).fsync},
	"lsetstat@openssh.com": {do: func(s *session, ctx context.Context, _ uint32, r *reader) (packet, error) {
		return s.setPath(ctx, r, false)
	}},
	"limits@openssh.com":             {do: (*session).limits},
	"expand-path@openssh.com":        {do: (*session).expandPath},
	"copy-data":                      {do: (*session).copyData},
	"home-directory":                 {do: (*session).homeDirectory},
	"users-groups-by-id@openssh.com": {do: (*session).usersGroups},
}

// extensions are what the greeting offers.
func (s *session) extensions() [][2]string {
	e := [][2]string{
		{"posix-rename@openssh.com", "1"}, {"statvfs@openssh.com", "2"}, {"fstatvfs@openssh.com", "2"},
		{"hardlink@openssh.com", "1"}, {"fsync@openssh.com", "1"}, {"lsetstat@openssh.com", "1"},
		{"limits@openssh.com", "1"}, {"expand-path@openssh.com", "1"}, {"copy-data", "1"}, {"home-directory", "1"},
	}
	if s.UserName != nil && s.GroupName != nil {
		e = append(e, [2]string{"users-groups-by-id@openssh.com", "1"})
	}
	return e
}

func (s *session) hardlink(ctx context.Context, _ uint32, r *reader) (packet, error) {
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
	if t.Exists {
		return nil, fs.Exist
	}
	return nil, walk.Retry(ctx, func() error {
		_, err := s.FS.Link(ctx, s.Caller, f.Attr.Node, t.Dir, t.Name)
		return err
	})
}

func (s *session) statvfs(ctx context.Context, id uint32, r *reader) (packet, error) {
	path := r.str()
	if r.err != nil {
		return nil, r.err
	}
	p, err := s.there(ctx, path, true, 0)
	if err != nil {
		return nil, err
	}
	return s.statvfsOf(ctx, id, p.Attr.Node)
}

func (s *session) fstatvfs(ctx context.Context, id uint32, r *reader) (packet, error) {
	h, _, err := s.handle(r)
	if err != nil {
		return nil, err
	}
	n := h.dir
	if h.file != nil {
		n = h.file.Node()
	}
	return s.statvfsOf(ctx, id, n)
}

func (s *session) statvfsOf(ctx context.Context, id uint32, n fs.Node) (packet, error) {
	f, err := s.FS.StatFS(ctx, s.Caller, n)
	if err != nil {
		return nil, err
	}
	const readOnly, noSUID = 1, 2
	flags := uint64(noSUID)
	if s.Caller.ReadOnly || !n.Live() {
		flags |= readOnly
	}
	return reply(s.buf, typeReply, id).
		u64(fs.BlockSize).u64(fs.BlockSize).
		u64(f.TotalBytes / fs.BlockSize).u64(f.FreeBytes / fs.BlockSize).u64(f.AvailBytes / fs.BlockSize).
		u64(f.TotalFiles).u64(f.FreeFiles).u64(f.FreeFiles).
		u64(binary.BigEndian.Uint64(f.FSID[:])).u64(flags).u64(fs.MaxName), nil
}

func (s *session) fsync(ctx context.Context, _ uint32, r *reader) (packet, error) {
	h, err := s.file(r)
	if err != nil {
		return nil, err
	}
	return nil, h.file.Flush(ctx)
}

func (s *session) limits(_ context.Context, id uint32, _ *reader) (packet, error) {
	return reply(s.buf, typeReply, id).u64(maxPacket).u64(maxData).u64(maxData).u64(uint64(s.MaxHandles)), nil
}

// expandPath knows the home directory of the user, and nobody else's.
func (s *session) expandPath(ctx context.Context, id uint32, r *reader) (packet, error) {
	path := r.str()
	if r.err != nil {
		return nil, r.err
	}
	if rest, ok := strings.CutPrefix(path, "~"); ok {
		if rest != "" && rest[0] != '/' {
			return nil, fs.NotExist
		}
		path = s.Home + rest
	}
	p, err := s.at(ctx, path, true, 0)
	if err != nil {
		return nil, err
	}
	return s.nameReply(id, p.Path), nil
}

func (s *session) homeDirectory(_ context.Context, id uint32, r *reader) (packet, error) {
	if r.str(); r.err != nil {
		return nil, r.err
	}
	return s.nameReply(id, s.Home), nil
}

// copyData copies between two open files. A length of 0 means to the end of
// the source, which must then be another file.
func (s *session) copyData(ctx context.Context, _ uint32, r *reader) (packet, error) {
	src, err := s.file(r)
	if err != nil {
		return nil, err
	}
	off, length := r.u64(), r.u64()
	dst, err := s.file(r)
	if err != nil {
		return nil, err
	}
	to := r.u64()
	if r.err != nil {
		return nil, r.err
	}
	switch {
	case src.file.Granted()&fs.RightRead == 0, dst.file.Granted()&fs.RightModify == 0:
		return nil, fs.Access
	case off > fs.MaxFileSize, to > fs.MaxFileSize:
		return nil, fs.TooBig
	}
	a, err := src.file.GetAttr(ctx, fs.AttrSize)
	if err != nil {
		return nil, err
	}
	left := a.Size - min(off, a.Size)
	if length > 0 {
		left = min(left, length)
	}
	if src.file.Node() == dst.file.Node() && (length == 0 || off < to+left && to < off+left) {
		return nil, fs.Invalid
	}
	if left > fs.MaxFileSize-to {
		return nil, fs.TooBig
	}
	dst.written = true
	for left > 0 {
		n, err := s.FS.CopyRange(ctx, s.Caller, src.file.Node(), src.file.Stream(), off, dst.file.Node(), dst.file.Stream(), to, left)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			break // the source became shorter
		}
		off, to, left = off+n, to+n, left-min(n, left)
	}
	return nil, nil
}

// maxIDs bounds the lookups of one request.
const maxIDs = 4096

func (s *session) usersGroups(ctx context.Context, id uint32, r *reader) (packet, error) {
	if s.UserName == nil || s.GroupName == nil {
		return nil, errUnsupported
	}
	p := reply(nil, typeReply, id)
	for _, lookup := range []func(context.Context, uint32) string{s.UserName, s.GroupName} {
		ids := &reader{b: r.bytes()}
		if r.err != nil || len(ids.b)/4 > maxIDs {
			return nil, errShort
		}
		var names packet
		for len(ids.b) > 0 && ids.err == nil {
			name := lookup(ctx, ids.u32())
			if len(names)+len(name)+4 > maxPacket/2-64 {
				name = ""
			}
			names = names.str(name)
		}
		if ids.err != nil {
			return nil, ids.err
		}
		p = p.str(string(names))
	}
	return p, nil
}
