package acl

import (
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// ChmodMode answers the mode that a chmod by the caller may set, and whether it
// may at all. A caller who is no superuser and not in the group of the file
// does not get to set setgid (POSIX chmod).
func ChmodMode(c *fs.Caller, a *fs.ACL, isDir bool, mode fs.Mode) (fs.Mode, bool) {
	mode &= fs.ModeAll
	if Check(c, a, isDir, fs.RightWriteACL) == 0 {
		return 0, false
	}
	if mode&fs.ModeSetgid != 0 && !IsSuper(c) && !c.Cred.InGroup(a.Group) {
		mode &^= fs.ModeSetgid
	}
	return mode, true
}

// DropSetID answers the mode after a change of owner or group, or a write or
// truncation by somebody who is not superuser: an executable must not carry its
// privilege on to new contents or a new owner. Directories keep theirs; so does
// setgid without group execute, which is no privilege.
func DropSetID(mode fs.Mode, isDir bool) fs.Mode {
	if isDir {
		return mode
	}
	mode &^= fs.ModeSetuid
	if mode&0o010 != 0 {
		mode &^= fs.ModeSetgid
	}
	return mode
}

// MayChown tells whether the caller may make owner and group (Unset: not asked)
// those of the object. Setting what is already so counts as a change of
// nothing, which the owner may do. Others than superusers and holders of the
// ChangeOwner privilege may only take ownership themselves, and only with
// ChangeOwner granted; the group may become one of the caller's own.
func MayChown(c *fs.Caller, a *fs.ACL, isDir bool, owner, group identity.AuthID) bool {
	if c.ReadOnly {
		return false
	}
	if IsSuper(c) || c.Cred.Privileges.Has(identity.ChangeOwner) {
		return true
	}
	granted := Check(c, a, isDir, fs.RightChangeOwner|fs.RightWriteGroup)
	if owner != identity.Unset {
		switch {
		case owner == a.Owner && granted != 0:
		case granted&fs.RightChangeOwner != 0 && c.Cred.IsUser(owner):
		default:
			return false
		}
	}
	if group != identity.Unset {
		switch {
		case granted == 0:
			return false
		case group != a.Group && !c.Cred.InGroup(group):
			return false
		}
	}
	return true
}

// MayDelete tells whether the caller may take the name of target out of dir:
// nil, fs.Access, fs.ReadOnly, or fs.Perm if the sticky bit is in the way. That dir may
// be traversed is the caller's to check.
//
// DeleteChild on the directory or Delete on the target is enough. In a sticky
// directory only the owner of the target, the owner of the directory and
// superusers delete, whatever the ACLs say.
func MayDelete(c *fs.Caller, dir, target *fs.ACL, targetIsDir bool) error {
	if c.ReadOnly {
		return fs.ReadOnly
	}
	if IsSuper(c) {
		return nil
	}
	if Check(c, dir, true, fs.RightDeleteChild) == 0 && Check(c, target, targetIsDir, fs.RightDelete) == 0 {
		return fs.Access
	}
	if dir.Mode&fs.ModeSticky != 0 && !c.Cred.IsUser(target.Owner) && !c.Cred.IsUser(dir.Owner) {
		return fs.Perm
	}
	return nil
}

// NewGroup is the group of what the caller creates in a directory: the
// directory's if it is setgid, else the caller's.
func NewGroup(c *fs.Caller, dir *fs.ACL) identity.AuthID {
	if dir.Mode&fs.ModeSetgid != 0 {
		return dir.Group
	}
	return c.Cred.Group
}

// CreateMode is the mode of a new object in dir: a directory in a setgid
// directory is setgid, and setgid on a file is only for members of its group.
func CreateMode(c *fs.Caller, dir *fs.ACL, isDir bool, group identity.AuthID, mode fs.Mode) fs.Mode {
	mode &= fs.ModeAll
	if mode&fs.ModeSetgid != 0 && !IsSuper(c) && !c.Cred.InGroup(group) {
		mode &^= fs.ModeSetgid
	}
	if isDir && dir.Mode&fs.ModeSetgid != 0 {
		mode |= fs.ModeSetgid
	}
	return mode
}
