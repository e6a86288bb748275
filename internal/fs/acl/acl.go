// Package acl decides who may do what: it evaluates permission records, shows
// them as POSIX modes, and computes the records that chmod, chown and creation
// lead to.
//
// There is one form of permissions for all protocols, [fs.ACL]. An object that
// was never given an ACL has "just a mode" (ModeOnly) and is judged exactly as
// POSIX does: owner class, else group class, else other, and nothing else.
// An object with entries is judged as NT does: entries in order, the first that
// mentions a right decides it.
//
// Invariants:
//   - Functions are pure: they change no argument, and results share no memory
//     with arguments that the caller may still change, except unchanged Entries,
//     which are never written to after they were made.
//   - FromMode(o, g, m) evaluates like the mode m itself, and Mode(Chmod(a, m))
//     shows m.
//   - Chmod never changes what children will inherit.
//
// The package must not know protocols, or how a record is stored besides its
// encoding.
package acl

import (
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Sets of rights.
const (
	// ReadRights are those that change nothing: all that a read-only way in leaves.
	ReadRights = fs.RightRead | fs.RightReadEA | fs.RightExecute | fs.RightReadAttr | fs.RightReadACL | fs.RightSynchronize

	// always is granted by any mode, even 0: stat needs no permission on the object.
	always = fs.RightReadAttr | fs.RightReadACL | fs.RightSynchronize
	// ownership is what POSIX lets the owner do whatever the mode: chmod,
	// explicit times, chgrp to a group of its own.
	ownership = fs.RightWriteAttr | fs.RightWriteACL | fs.RightWriteGroup

	modeRead      = fs.RightRead | fs.RightReadEA
	modeWriteFile = fs.RightModify | fs.RightExtend | fs.RightWriteEA
	modeWriteDir  = modeWriteFile | fs.RightDeleteChild
	modeExecute   = fs.RightExecute

	// implicitOwner is what an owner has unless an entry for OwnerRights speaks:
	// nobody locks himself out. WriteGroup is there because no NT ACL has it.
	implicitOwner = fs.RightReadACL | fs.RightWriteACL | fs.RightWriteGroup
)

// classRights are the rights that three permission bits stand for.
func classRights(bits fs.Mode, isDir bool) fs.Rights {
	r := always
	if bits&4 != 0 {
		r |= modeRead
	}
	if bits&2 != 0 {
		if isDir {
			r |= modeWriteDir
		} else {
			r |= modeWriteFile
		}
	}
	if bits&1 != 0 {
		r |= modeExecute
	}
	return r
}

// Check answers which of the wanted rights the caller has on an object by the
// object's own ACL, the caller's privileges and its way in. What the parent
// directory adds (see FromParent) and sticky bits (see MayDelete) come on top.
//
// A superuser has all rights, except Execute on a file that nobody may execute.
// It does not allocate.
func Check(c *fs.Caller, a *fs.ACL, isDir bool, want fs.Rights) fs.Rights {
	if c.ReadOnly {
		want &= ReadRights
	}
	cred := c.Cred
	if cred.Privileges.Has(identity.FileFullAccess) {
		return want
	}
	if cred.Superuser {
		if !isDir && want&fs.RightExecute != 0 && !executable(a) {
			want &^= fs.RightExecute
		}
		return want
	}
	granted := ofObject(cred, a, isDir, want)
	if granted != want {
		granted |= want & ofPrivileges(cred.Privileges, isDir)
	}
	return granted
}

func ofPrivileges(p identity.Privileges, isDir bool) fs.Rights {
	var r fs.Rights
	if p.Has(identity.FileReadAccess) {
		r |= ReadRights
		if !isDir {
			r &^= fs.RightExecute
		}
	}
	if p.Has(identity.ChangeOwner) {
		r |= fs.RightChangeOwner
	}
	return r
}

// ofObject evaluates the ACL alone.
func ofObject(cred *identity.Credential, a *fs.ACL, isDir bool, want fs.Rights) fs.Rights {
	if a.ModeOnly {
		switch {
		case cred.IsUser(a.Owner):
			return want & (classRights(a.Mode>>6, isDir) | ownership)
		case cred.InGroup(a.Group):
			return want & classRights(a.Mode>>3, isDir)
		}
		return want & classRights(a.Mode, isDir)
	}
	var granted fs.Rights
	open := want // not yet decided
	suppressed := false
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Flags&fs.ACEInheritOnly != 0 {
			continue
		}
		if e.Trustee == identity.OwnerRights {
			suppressed = true
		}
		if open&e.Rights == 0 || !matches(cred, a, e.Trustee) {
			continue
		}
		if e.Type == fs.ACEAllow {
			granted |= open & e.Rights
		}
		open &^= e.Rights
	}
	if !suppressed && want&implicitOwner&^granted != 0 && cred.IsUser(a.Owner) {
		granted |= want & implicitOwner
	}
	return granted
}

// matches tells whether an entry for trustee speaks of the caller.
func matches(cred *identity.Credential, a *fs.ACL, trustee identity.AuthID) bool {
	switch trustee {
	case identity.FileOwner, identity.OwnerRights:
		return cred.IsUser(a.Owner)
	case identity.FileGroup:
		return cred.InGroup(a.Group)
	case identity.CreatorOwner, identity.CreatorGroup:
		return false // of use to children only
	}
	return cred.Is(trustee)
}

// executable tells whether anybody at all may execute a file.
func executable(a *fs.ACL) bool {
	if a.ModeOnly {
		return a.Mode&0o111 != 0
	}
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Type == fs.ACEAllow && e.Flags&fs.ACEInheritOnly == 0 && e.Rights&fs.RightExecute != 0 {
			return true
		}
	}
	return false
}

// FromParent answers the rights on an object that its directory adds for the
// caller, and those that it takes away: who may list the directory sees
// attributes, who may traverse it and delete children may delete, and in a
// sticky one only some do (see MayDelete).
func FromParent(c *fs.Caller, dir, target *fs.ACL, targetIsDir bool) (more, less fs.Rights) {
	const remove = fs.RightDeleteChild | fs.RightTraverse
	has := Check(c, dir, true, fs.RightList|remove)
	if has&fs.RightList != 0 {
		more |= fs.RightReadAttr
	}
	if has&remove == remove {
		more |= fs.RightDelete
	}
	if MayDelete(c, dir, target, targetIsDir) == fs.Perm {
		less = fs.RightDelete
	}
	return more, less
}

// IsOwner tells whether the caller may act as the owner of the object: it is
// the owner, superuser, or passes every check.
func IsOwner(c *fs.Caller, a *fs.ACL) bool {
	return IsSuper(c) || c.Cred.IsUser(a.Owner)
}

// IsSuper tells whether permissions do not bind the caller.
func IsSuper(c *fs.Caller) bool {
	return c.Cred.Superuser || c.Cred.Privileges.Has(identity.FileFullAccess)
}
