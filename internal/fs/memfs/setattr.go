package memfs

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
)

// GetAttr implements fs.Files.
func (f *FS) GetAttr(_ context.Context, _ *fs.Caller, node fs.Node, want fs.AttrMask) (fs.Attr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, _, err := f.find("get attributes", node)
	if err != nil {
		return fs.Attr{}, err
	}
	return f.attr(n, node, want), nil
}

// SetAttr implements fs.Files.
func (f *FS) SetAttr(_ context.Context, c *fs.Caller, node fs.Node, s *fs.SetAttr) (fs.Changed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.setAttr(c, node, s, nil)
}

// setTimes applies the times of s that it names.
func (n *inode) setTimes(s *fs.SetAttr, now fs.Time) {
	for _, t := range []struct {
		set *fs.TimeSet
		dst *fs.Time
	}{{s.Atime, &n.atime}, {s.Mtime, &n.mtime}, {s.Ctime, &n.ctime}, {s.Btime, &n.btime}} {
		switch {
		case t.set == nil:
		case t.set.Now:
			*t.dst = now
		default:
			*t.dst = t.set.Time
		}
	}
}

// setAttr is SetAttr; through an open, with the rights that were granted then.
func (f *FS) setAttr(c *fs.Caller, node fs.Node, s *fs.SetAttr, h *handle) (fs.Changed, error) {
	const op = "set attributes"
	if s.Size != nil {
		if err := f.free(c, op, node, 0, 0, 0, true, h); err != nil {
			return fs.Changed{}, err
		}
	}
	n, err := f.findLive(op, c, node)
	if err != nil {
		return fs.Changed{}, err
	}
	if err := f.maySetAttr(c, n, s, h); err != nil {
		return fs.Changed{}, err
	}
	b := before(n)
	var events fs.EventType
	isDir := n.typ == fs.Directory
	if s.Size != nil {
		n.data.truncate(*s.Size)
		n.data.sync()
		f.touch(n, true)
		n.dropSetID(c)
		events |= fs.EventSize
	}
	if s.Owner != nil || s.Group != nil {
		var owner, group identity.AuthID
		if s.Owner != nil {
			owner = *s.Owner
		}
		if s.Group != nil {
			group = *s.Group
		}
		mode := acl.DropSetID(n.mode(), isDir)
		n.acl = acl.Chown(&n.acl, owner, group)
		n.acl.Mode = mode&^0o777 | n.acl.Mode&0o777
		events |= fs.EventOwner
	}
	if s.Mode != nil {
		mode, _ := acl.ChmodMode(c, &n.acl, isDir, *s.Mode)
		if h != nil {
			mode = *s.Mode & fs.ModeAll
		}
		n.acl = acl.Chmod(&n.acl, mode, isDir, acl.CrossProtocol)
		events |= fs.EventACL
	}
	if s.DOS != nil {
		n.dos = *s.DOS
		events |= fs.EventAttr
	}
	if s.Retention != nil {
		n.retention = *s.Retention
		events |= fs.EventAttr
	}
	if s.LegalHold != nil {
		n.hold = *s.LegalHold
		events |= fs.EventAttr
	}
	if s.Atime != nil || s.Mtime != nil || s.Ctime != nil || s.Btime != nil {
		events |= fs.EventTimes
	}
	if events == 0 {
		return f.changed(n, b), nil
	}
	if s.Size == nil {
		f.touch(n, false)
	}
	n.setTimes(s, n.ctime)
	n.verifier = nil
	f.notify(n, events)
	return f.changed(n, b), nil
}

// maySetAttr checks all that a SetAttr needs before any of it is applied.
func (f *FS) maySetAttr(c *fs.Caller, n *inode, s *fs.SetAttr, h *handle) error {
	fail := func(k fs.Kind) error { return fs.E("set attributes", fs.Node{ID: n.id}, "", k, nil) }
	isDir := n.typ == fs.Directory
	has := func(r fs.Rights) bool {
		if h != nil {
			return h.granted&r == r
		}
		return f.can(c, n, r)
	}
	if s.GuardCtime != nil && *s.GuardCtime != n.ctime || s.GuardChange != nil && *s.GuardChange != n.change {
		return fail(fs.RevisionMismatch)
	}
	if s.Retention != nil || s.LegalHold != nil {
		switch {
		case !mayLockFiles(c):
			return fail(fs.Perm)
		case n.typ != fs.File:
			return fail(fs.NotFile)
		case s.Retention != nil && s.Retention.Compare(n.retention) < 0:
			return fail(fs.WORM)
		}
	}
	others := s.Mode != nil || s.Owner != nil || s.Group != nil || s.Size != nil || s.Atime != nil || s.Mtime != nil ||
		s.Ctime != nil || s.Btime != nil || s.DOS != nil
	if others && n.locked(f.now()) {
		return fail(fs.WORM)
	}
	if s.Mode != nil && !has(fs.RightWriteACL) {
		return fail(fs.Perm)
	}
	if s.Owner != nil || s.Group != nil {
		var owner, group identity.AuthID
		if s.Owner != nil {
			owner = *s.Owner
		}
		if s.Group != nil {
			group = *s.Group
		}
		if !acl.MayChown(c, &n.acl, isDir, owner, group) {
			return fail(fs.Perm)
		}
	}
	if s.Size != nil {
		need := fs.RightModify
		if *s.Size > n.data.size {
			need = fs.RightExtend
		}
		switch {
		case isDir:
			return fail(fs.IsDir)
		case n.typ != fs.File:
			return fail(fs.NotFile)
		case *s.Size > fs.MaxFileSize:
			return fail(fs.TooBig)
		case !has(need) && !(s.OwnerOverride && acl.IsOwner(c, &n.acl)):
			return fail(fs.Access)
		}
	}
	explicit, now := false, false
	for _, t := range []*fs.TimeSet{s.Atime, s.Mtime, s.Ctime, s.Btime} {
		if t != nil {
			explicit = explicit || !t.Now
			now = now || t.Now
		}
	}
	switch {
	case (explicit || s.DOS != nil) && !has(fs.RightWriteAttr):
		return fail(fs.Perm)
	case now && !has(fs.RightWriteAttr) && !has(fs.RightModify):
		return fail(fs.Access)
	}
	return nil
}
