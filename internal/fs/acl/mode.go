package acl

import (
	"slices"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// FromMode answers the entries that a mode stands for: owner, group, Everyone.
// Where a class has less than a later one, an entry denies it the difference,
// so that they evaluate exactly as POSIX evaluates the mode.
func FromMode(owner, group identity.AuthID, mode fs.Mode, isDir bool) []fs.ACE {
	return entriesOf(owner, group, classesOf(mode, isDir))
}

// classes are the rights of the three POSIX classes.
type classes struct{ owner, group, other fs.Rights }

func classesOf(mode fs.Mode, isDir bool) classes {
	return classes{
		owner: classRights(mode>>6, isDir) | ownership,
		group: classRights(mode>>3, isDir),
		other: classRights(mode, isDir),
	}
}

func entriesOf(owner, group identity.AuthID, c classes) []fs.ACE {
	es := make([]fs.ACE, 0, 5)
	add := func(t fs.ACEType, who identity.AuthID, r fs.Rights) {
		if r != 0 {
			es = append(es, fs.ACE{Type: t, Trustee: who, Rights: r})
		}
	}
	add(fs.ACEDeny, owner, (c.group|c.other)&^c.owner)
	add(fs.ACEAllow, owner, c.owner)
	add(fs.ACEDeny, group, c.other&^c.group)
	add(fs.ACEAllow, group, c.group)
	add(fs.ACEAllow, identity.Everyone, c.other)
	return es
}

// Resolve answers the ACL as it is shown: a ModeOnly one with its entries.
func Resolve(a *fs.ACL, isDir bool) fs.ACL {
	out := *a
	if a.ModeOnly {
		out.Entries = FromMode(a.Owner, a.Group, a.Mode, isDir)
		out.ModeOnly = false
		out.Control |= fs.ACLPresent
	}
	out.Mode = Mode(a, isDir)
	return out
}

// Mode derives the mode to show: what the owner, the owning group and Everyone
// are granted by entries for themselves and for Everyone. Write shows if both
// overwriting and appending (adding files and directories) are granted.
// Entries for others do not show. Special bits are kept apart and always show.
func Mode(a *fs.ACL, isDir bool) fs.Mode {
	if a.ModeOnly {
		return a.Mode & fs.ModeAll
	}
	c := shown(a)
	return a.Mode&(fs.ModeAll&^0o777) | bitsOf(c.owner)<<6 | bitsOf(c.group)<<3 | bitsOf(c.other)
}

// shown are the rights that entries for the POSIX trustees grant each class.
func shown(a *fs.ACL) classes {
	return classes{
		owner: granted(a, func(t identity.AuthID) bool { return isOwnerTrustee(a, t) || t == identity.Everyone }),
		group: granted(a, func(t identity.AuthID) bool { return isGroupTrustee(a, t) || t == identity.Everyone }),
		other: granted(a, func(t identity.AuthID) bool { return t == identity.Everyone }),
	}
}

func bitsOf(r fs.Rights) fs.Mode {
	var m fs.Mode
	if r&fs.RightRead != 0 {
		m |= 4
	}
	if r&fs.RightsWriteData == fs.RightsWriteData {
		m |= 2
	}
	if r&fs.RightExecute != 0 {
		m |= 1
	}
	return m
}

func isOwnerTrustee(a *fs.ACL, t identity.AuthID) bool {
	return t == a.Owner || t == identity.FileOwner || t == identity.OwnerRights
}

func isGroupTrustee(a *fs.ACL, t identity.AuthID) bool {
	return t == a.Group || t == identity.FileGroup
}

// granted evaluates the entries of those trustees that match.
func granted(a *fs.ACL, match func(identity.AuthID) bool) fs.Rights {
	var allowed, decided fs.Rights
	for i := range a.Entries {
		e := &a.Entries[i]
		if e.Flags&fs.ACEInheritOnly != 0 || !match(e.Trustee) {
			continue
		}
		if e.Type == fs.ACEAllow {
			allowed |= e.Rights &^ decided
		}
		decided |= e.Rights
	}
	return allowed
}

// Policy is the permissions mode of the cluster; it decides what a chmod does
// to an ACL. Numbered for storage, append-only.
type Policy uint8

// Policies.
const (
	// CrossProtocol limits the ACL to the new mode and keeps what it can.
	CrossProtocol Policy = 0
	// Native replaces the ACL by the mode.
	Native Policy = 1
)

// Chmod answers the ACL after a chmod to mode, special bits included. Who may
// do so, and with which special bits, says ChmodMode.
//
// CrossProtocol sets the rights of owner, group and Everyone to those of the
// mode. Rights that no mode shows (Delete, ChangeOwner and the like) stay with
// the owner, and with the others as far as their bits say: Delete and WriteAttr
// need w, the rest rwx. Entries for other trustees are limited in the same way
// to the bits of group and other together, so that chmod go= shuts out
// everybody else, administrators' groups included. Entries that are inherited
// by children go on as inherit-only. Native forgets the ACL.
func Chmod(a *fs.ACL, mode fs.Mode, isDir bool, policy Policy) fs.ACL {
	out := *a
	mode &= fs.ModeAll
	if a.ModeOnly || policy == Native {
		return justMode(a, mode)
	}
	es := chmodEntries(a, mode, isDir, func(ChmodStep) {})
	out.Mode = mode &^ 0o777
	out.Entries = es
	out.Control |= fs.ACLPresent
	if slices.Equal(es, FromMode(a.Owner, a.Group, mode, isDir)) {
		return justMode(a, mode)
	}
	return out
}

// chmodEntries answers the entries after a chmod, and reports how each came about.
func chmodEntries(a *fs.ACL, mode fs.Mode, isDir bool, report func(ChmodStep)) []fs.ACE {
	c := classesOf(mode, isDir)
	now := shown(a)
	c.owner |= now.owner & hidden &^ ownership
	c.group |= now.group & hidden & limit(mode>>3)
	c.other |= now.other & hidden & limit(mode)
	posix := entriesOf(a.Owner, a.Group, c)
	// The owner's entries come before those of other trustees, which may deny;
	// the rest after, since Everyone's grants must not overtake such a denial.
	split := 1
	if posix[0].Type == fs.ACEDeny {
		split = 2
	}
	max := limit(mode>>3 | mode)
	var es []fs.ACE
	put := func(s ChmodStep) {
		if s.Source != nil {
			t := s.Source.Trustee
			s.Owner, s.Group, s.Other = isOwnerTrustee(a, t), isGroupTrustee(a, t), t == identity.Everyone
		}
		report(s)
		if s.Result != nil {
			es = append(es, *s.Result)
		}
	}
	insert := func(aces []fs.ACE) {
		for _, e := range aces {
			put(ChmodStep{Action: InsertACE, Result: &e, Reason: "the mode stands for it"})
		}
	}
	insert(posix[:split])
	for _, e := range a.Entries {
		onward := e // what children go on to inherit
		onward.Flags |= fs.ACEInheritOnly
		switch {
		case e.Flags&fs.ACEInheritOnly != 0 || e.Trustee == identity.CreatorOwner || e.Trustee == identity.CreatorGroup:
			put(ChmodStep{Action: CopyACE, Source: &e, Result: &e, Reason: "only children inherit it"})
		case isOwnerTrustee(a, e.Trustee) || isGroupTrustee(a, e.Trustee) || e.Trustee == identity.Everyone:
			if inheritable(e) {
				put(ChmodStep{Action: ModifyACE, Source: &e, Result: &onward, Reason: "the mode takes its place here, children go on to inherit it"})
			} else {
				put(ChmodStep{Action: RemoveACE, Source: &e, Reason: "the mode takes its place"})
			}
		case e.Type == fs.ACEDeny || e.Rights&^max == 0:
			put(ChmodStep{Action: CopyACE, Source: &e, Result: &e, Reason: "it grants no more than the mode"})
		default:
			if inheritable(e) {
				put(ChmodStep{Action: InsertACE, Result: &onward, Reason: "children go on to inherit the entry as it was"})
			}
			less := e
			if less.Rights &= max; less.Rights == 0 {
				put(ChmodStep{Action: RemoveACE, Source: &e, Reason: "the mode allows nothing of it"})
				continue
			}
			less.Flags = 0
			put(ChmodStep{Action: ModifyACE, Source: &e, Result: &less, Reason: "the mode allows others less"})
		}
	}
	insert(posix[split:])
	return es
}

func justMode(a *fs.ACL, mode fs.Mode) fs.ACL {
	return fs.ACL{Owner: a.Owner, Group: a.Group, Control: a.Control & fs.ACLProtected, Mode: mode, ModeOnly: true}
}

// hidden are the rights that no class gets by its bits; the owner has some of
// them by being owner.
const hidden = fs.RightsAll &^ (always | modeRead | modeWriteDir | modeExecute)

// limit are all the rights that a trustee may keep under three permission bits.
func limit(bits fs.Mode) fs.Rights {
	if bits&7 == 7 {
		return fs.RightsAll
	}
	r := classRights(bits, true)
	if bits&2 != 0 {
		r |= fs.RightWriteAttr | fs.RightDelete
	}
	return r
}

func inheritable(e fs.ACE) bool {
	return e.Flags&(fs.ACEObjectInherit|fs.ACEContainerInherit) != 0
}

// Chown answers the ACL after a change of owner, group or both; Unset leaves
// one as it is. Entries of the old owner or group become the new one's, except
// those that only children inherit. Who may do so says MayChown; what happens
// to special bits, DropSetID.
func Chown(a *fs.ACL, owner, group identity.AuthID) fs.ACL {
	out := *a
	if owner != identity.Unset {
		out.Owner = owner
	}
	if group != identity.Unset {
		out.Group = group
	}
	if a.ModeOnly || out.Owner == a.Owner && out.Group == a.Group {
		return out
	}
	out.Entries = slices.Clone(a.Entries)
	for i := range out.Entries {
		e := &out.Entries[i]
		if e.Flags&fs.ACEInheritOnly != 0 {
			continue
		}
		switch e.Trustee {
		case a.Owner:
			e.Trustee = out.Owner
		case a.Group:
			e.Trustee = out.Group
		}
	}
	return out
}
