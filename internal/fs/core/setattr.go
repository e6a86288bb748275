package core

import (
	"context"

	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
	"manifold/internal/meta"
)

// SetAttr implements fs.Files.
func (f *FS) SetAttr(ctx context.Context, c *fs.Caller, n fs.Node, s *fs.SetAttr) (fs.Changed, error) {
	var ch fs.Changed
	var err error
	if s.Size != nil {
		err = f.free(c, n, 0, 0, 0, true)
	}
	if err == nil {
		err = f.setattr(ctx, c, n, s, s.OwnerOverride, &ch)
	}
	if err == nil {
		f.hub.object(eventsOf(s), n.ID)
	}
	return ch, wrap("setattr", n, "", err)
}

func eventsOf(s *fs.SetAttr) fs.EventType {
	var e fs.EventType
	if s.Size != nil {
		e |= fs.EventSize
	}
	if s.Owner != nil || s.Group != nil {
		e |= fs.EventOwner
	}
	if s.Mode != nil {
		e |= fs.EventACL
	}
	if s.Atime != nil || s.Mtime != nil || s.Ctime != nil || s.Btime != nil {
		e |= fs.EventTimes
	}
	return e | fs.EventAttr
}

// setattr changes attributes; writer grants the size change that an open for
// writing, or the owner of a file in a stateless protocol, may make.
func (f *FS) setattr(ctx context.Context, c *fs.Caller, n fs.Node, s *fs.SetAttr, writer bool, ch *fs.Changed) error {
	if err := writable(c, n); err != nil {
		return err
	}
	if s.Size != nil && *s.Size > fs.MaxFileSize {
		return fs.TooBig
	}
	masked := false
	run := func(tx *meta.Txn) error {
		i, err := f.inode(ctx, tx, n.ID)
		if err != nil {
			return err
		}
		masked, err = f.apply(ctx, tx, c, i, s, writer, ch)
		return err
	}
	if s.Size != nil {
		end, err := f.breach(ctx, c, n, 0, fs.BreachWrite, func() error {
			if s.GuardChange != nil || s.GuardCtime != nil {
				if err := f.io.Flush(ctx, n.ID); err != nil { // the guard counts what is buffered
					return err
				}
			}
			return f.would(ctx, run)
		})
		if err != nil {
			return err
		}
		defer end()
	}
	update := func() error { return f.db.Update(ctx, run) }
	var err error
	if s.Size != nil || f.io.Active(n.ID) {
		// Buffered writes would overrule what is set now: they go first.
		err = f.io.Exclusive(ctx, n.ID, update)
	} else {
		err = update()
	}
	if err == nil && masked {
		f.kickMask(n.ID, 0)
	}
	return err
}

func (f *FS) apply(ctx context.Context, tx *meta.Txn, c *fs.Caller, i *meta.Inode, s *fs.SetAttr, writer bool, ch *fs.Changed) (masked bool, err error) {
	isDir := i.Type == fs.Directory
	if s.GuardCtime != nil && *s.GuardCtime != i.Ctime || s.GuardChange != nil && *s.GuardChange != i.Change {
		return false, fs.RevisionMismatch
	}
	a, err := f.aclOf(ctx, tx.View(), i)
	if err != nil {
		return false, err
	}
	b := before(i)
	if s.Mode != nil || s.Owner != nil || s.Group != nil || s.Size != nil || s.Atime != nil || s.Mtime != nil || s.Ctime != nil || s.Btime != nil || s.DOS != nil {
		if err := f.checkWORM(i); err != nil {
			return false, err
		}
	}

	// Owner and group first: what chmod may do depends on the new group.
	if s.Owner != nil || s.Group != nil {
		owner, group := identity.Unset, identity.Unset
		if s.Owner != nil {
			owner = *s.Owner
		}
		if s.Group != nil {
			group = *s.Group
		}
		if !acl.MayChown(c, &a, isDir, owner, group) {
			return false, fs.Perm
		}
		if owner == identity.Unset {
			owner = i.Owner
		}
		if group == identity.Unset {
			group = i.Group
		}
		na := acl.Chown(&a, owner, group)
		na.Owner, na.Group = owner, group
		na.Mode = acl.DropSetID(i.Mode, isDir)
		if !na.ModeOnly {
			na.Mode &^= 0o777
		}
		if err := f.putACL(ctx, tx, i, &na); err != nil {
			return false, err
		}
		a = na
		a.Mode = i.Mode
	}
	if s.Mode != nil {
		mode, ok := acl.ChmodMode(c, &a, isDir, *s.Mode)
		if !ok {
			return false, fs.Perm
		}
		na := acl.Chmod(&a, mode, isDir, f.o.Permissions())
		na.Owner, na.Group = i.Owner, i.Group
		na.Mode = mode
		if err := f.putACL(ctx, tx, i, &na); err != nil {
			return false, err
		}
	}
	if err := f.applyTimes(c, i, &a, isDir, s); err != nil {
		return false, err
	}
	if s.DOS != nil {
		if acl.Check(c, &a, isDir, fs.RightWriteAttr) == 0 {
			return false, fs.Access
		}
		i.DOS = *s.DOS
	}
	if s.Retention != nil || s.LegalHold != nil {
		if err := f.applyLock(ctx, tx, c, i, s); err != nil {
			return false, err
		}
	}
	now := f.now()
	if s.Size != nil {
		switch {
		case isDir:
			return false, fs.IsDir
		case i.Type != fs.File:
			return false, fs.NotFile
		}
		if !(writer && (c.Cred.IsUser(a.Owner) || !s.OwnerOverride)) && acl.Check(c, &a, isDir, fs.RightModify) == 0 {
			return false, fs.Access
		}
		if masked, err = f.io.SetSize(ctx, tx, i, 0, *s.Size); err != nil {
			return false, err
		}
		if !acl.IsSuper(c) && s.Mode == nil {
			i.Mode = acl.DropSetID(i.Mode, isDir)
		}
		touchAttr(i, now)
		if s.Mtime == nil {
			i.Mtime = i.Ctime
		}
	} else {
		touchAttr(i, now)
	}
	if s.Ctime != nil && !s.Ctime.Now {
		i.Ctime = s.Ctime.Time
	}
	i.HasVerifier, i.Verifier = false, 0
	*ch = changed(b, i)
	return masked, tx.PutInode(ctx, i)
}

// applyTimes sets times: explicit ones are the owner's right, the present
// moment anybody's who may write.
func (f *FS) applyTimes(c *fs.Caller, i *meta.Inode, a *fs.ACL, isDir bool, s *fs.SetAttr) error {
	explicit, present := false, false
	for _, t := range []*fs.TimeSet{s.Atime, s.Mtime, s.Ctime, s.Btime} {
		if t != nil {
			explicit = explicit || !t.Now
			present = present || t.Now
		}
	}
	if !explicit && !present {
		return nil
	}
	if acl.Check(c, a, isDir, fs.RightWriteAttr) == 0 {
		if explicit {
			return fs.Perm
		}
		if acl.Check(c, a, isDir, fs.RightModify) == 0 {
			return fs.Access
		}
	}
	now := f.now()
	set := func(to *fs.Time, t *fs.TimeSet) {
		switch {
		case t == nil:
		case t.Now:
			*to = now
		default:
			*to = t.Time
		}
	}
	set(&i.Atime, s.Atime)
	set(&i.Mtime, s.Mtime)
	set(&i.Btime, s.Btime)
	return nil
}
