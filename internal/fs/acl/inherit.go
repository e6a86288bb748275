package acl

import (
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Default modes of creation without one.
const (
	defaultDir  fs.Mode = 0o777
	defaultFile fs.Mode = 0o666
)

// Inherit answers the ACL of a new object in the directory that parent belongs
// to, as [MS-DTYP] 2.5.3.4 computes it. If the parent has entries for this kind
// of child, they are the child's and the permission bits of mode do not apply;
// else the child has just its mode (nil: 0777 or 0666). Special bits of mode
// apply always (see CreateMode). A directory that only passes entries on to
// files gets those of its mode besides, unless the mode yields. Entries are
// marked as inherited where the parent takes part in automatic inheritance.
func Inherit(parent *fs.ACL, isDir bool, owner, group identity.AuthID, mode *fs.Mode, yields bool) fs.ACL {
	m := defaultFile
	if isDir {
		m = defaultDir
	}
	if mode != nil {
		m = *mode & fs.ModeAll
	}
	child := fs.ACL{Owner: owner, Group: group, Mode: m, ModeOnly: true}
	if parent.ModeOnly {
		return child
	}
	mark := fs.ACEFlags(0)
	if parent.Control&fs.ACLAutoInherited != 0 {
		mark = fs.ACEInherited
	}
	var es []fs.ACE
	effective := false
	for _, e := range parent.Entries {
		n := len(es)
		es = appendInherited(es, e, mark, isDir, owner, group)
		for _, got := range es[n:] {
			effective = effective || got.Flags&fs.ACEInheritOnly == 0
		}
	}
	if len(es) == 0 {
		return child
	}
	if !effective && !yields {
		es = append(FromMode(owner, group, m, isDir), es...)
	}
	child.ModeOnly = false
	child.Mode = m &^ 0o777
	child.Entries = es
	child.Control = fs.ACLPresent | parent.Control&fs.ACLAutoInherited
	return child
}

// appendInherited adds what a child has of one entry of its parent: nothing,
// an entry, or, for a directory and a creator, one for itself and one to pass on.
func appendInherited(es []fs.ACE, e fs.ACE, mark fs.ACEFlags, isDir bool, owner, group identity.AuthID) []fs.ACE {
	const inherit = fs.ACEObjectInherit | fs.ACEContainerInherit
	now := e.Flags&fs.ACEObjectInherit != 0
	var onward fs.ACEFlags
	if isDir {
		now = e.Flags&fs.ACEContainerInherit != 0
		if e.Flags&fs.ACENoPropagateInherit == 0 {
			onward = e.Flags & inherit
		}
	}
	who := e.Trustee
	switch who {
	case identity.CreatorOwner:
		who = owner
	case identity.CreatorGroup:
		who = group
	}
	substituted := who != e.Trustee
	if now {
		flags := mark
		if !substituted {
			flags |= onward
		}
		es = append(es, fs.ACE{Type: e.Type, Flags: flags, Trustee: who, Rights: e.Rights})
	}
	if onward != 0 && (!now || substituted) {
		es = append(es, fs.ACE{Type: e.Type, Flags: onward | fs.ACEInheritOnly | mark, Trustee: e.Trustee, Rights: e.Rights})
	}
	return es
}
