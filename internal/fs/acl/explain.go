package acl

import (
	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Step is what one entry adds to an evaluation.
type Step struct {
	NewlyAllowed, Allowed fs.Rights // by this entry; up to and with it
	NewlyDenied, Denied   fs.Rights
}

// take evaluates an entry after the rights that are decided already.
func (s Step) take(e *fs.ACE) Step {
	fresh := e.Rights &^ (s.Allowed | s.Denied)
	n := Step{Allowed: s.Allowed, Denied: s.Denied}
	if e.Type == fs.ACEAllow {
		n.NewlyAllowed = fresh
		n.Allowed |= fresh
	} else {
		n.NewlyDenied = fresh
		n.Denied |= fresh
	}
	return n
}

// skip is the step of an entry that says nothing.
func (s Step) skip() Step { return Step{Allowed: s.Allowed, Denied: s.Denied} }

// RightsStep explains one entry in the evaluation of a caller's rights.
type RightsStep struct {
	ACE         fs.ACE
	Matches     bool // speaks of the caller
	InheritOnly bool // skipped
	Step
}

// RightsExplanation tells what a caller may do, entry by entry.
type RightsExplanation struct {
	// Privileged are rights that being superuser or FileFullAccess gives; ReadPrivileged
	// those of other privileges.
	Privileged, ReadPrivileged fs.Rights
	Steps                      []RightsStep
	FromEntries                fs.Rights
	// OwnerSuppressed: an entry for OwnerRights is in place of the implicit rights.
	OwnerSuppressed bool
	ImplicitOwner   fs.Rights
	FromParent      fs.Rights
	// Max is what the caller's way in and a sticky directory leave at most.
	Max       fs.Rights
	Effective fs.Rights
}

// ExplainRights explains Check together with FromParent; parent is nil if there
// is no directory.
func ExplainRights(c *fs.Caller, a *fs.ACL, isDir bool, parent *fs.ACL) RightsExplanation {
	x := RightsExplanation{Max: fs.RightsAll}
	var less fs.Rights
	if parent != nil {
		x.FromParent, less = FromParent(c, parent, a, isDir)
	}
	if c.ReadOnly {
		x.Max = ReadRights
	}
	x.Max &^= less
	if IsSuper(c) {
		x.Privileged = Check(&fs.Caller{Cred: c.Cred}, a, isDir, fs.RightsAll)
	}
	x.ReadPrivileged = ofPrivileges(c.Cred.Privileges, isDir)
	list := Resolve(a, isDir)
	var s Step
	for i := range list.Entries {
		e := &list.Entries[i]
		r := RightsStep{ACE: *e, InheritOnly: e.Flags&fs.ACEInheritOnly != 0}
		r.Matches = matches(c.Cred, a, e.Trustee)
		if s = s.skip(); r.Matches && !r.InheritOnly {
			s = s.take(e)
		}
		r.Step = s
		x.Steps = append(x.Steps, r)
		x.OwnerSuppressed = x.OwnerSuppressed || e.Trustee == identity.OwnerRights && !r.InheritOnly
	}
	x.FromEntries = s.Allowed
	if !x.OwnerSuppressed && c.Cred.IsUser(a.Owner) {
		x.ImplicitOwner = implicitOwner
	}
	x.Effective = x.Max & (x.Privileged | x.ReadPrivileged | x.FromEntries | x.ImplicitOwner | x.FromParent)
	return x
}

// Match says how an entry concerns a class of the POSIX mode.
type Match uint8

// Matches.
const (
	MatchNone       Match = iota // it does not
	MatchEquivalent              // it is the class's own
	MatchEveryone                // it is for Everyone
	MatchPotential               // a group or other trustee that may have members of the class; does not show
)

// ClassStep explains one entry in the derivation of a class's bits.
type ClassStep struct {
	Match Match
	Step
}

// ModeStep explains one entry in the derivation of the mode.
type ModeStep struct {
	ACE                 fs.ACE
	InheritOnly         bool
	Owner, Group, Other ClassStep
	// Bits of the mode that are set after this entry and were not before.
	Bits fs.Mode
}

// ExplainMode explains Mode, entry by entry.
func ExplainMode(a *fs.ACL, isDir bool) (fs.Mode, []ModeStep) {
	list := Resolve(a, isDir)
	var steps []ModeStep
	var owner, group, other Step
	before := fs.Mode(0)
	for i := range list.Entries {
		e := &list.Entries[i]
		m := ModeStep{ACE: *e, InheritOnly: e.Flags&fs.ACEInheritOnly != 0}
		advance := func(s *Step, match Match) ClassStep {
			if *s = s.skip(); !m.InheritOnly && (match == MatchEquivalent || match == MatchEveryone) {
				*s = s.take(e)
			}
			return ClassStep{match, *s}
		}
		m.Owner = advance(&owner, matchOf(e.Trustee, isOwnerTrustee(a, e.Trustee)))
		m.Group = advance(&group, matchOf(e.Trustee, isGroupTrustee(a, e.Trustee)))
		m.Other = advance(&other, matchOf(e.Trustee, false))
		now := bitsOf(owner.Allowed)<<6 | bitsOf(group.Allowed)<<3 | bitsOf(other.Allowed)
		m.Bits = now &^ before
		before = now
		steps = append(steps, m)
	}
	return Mode(a, isDir), steps
}

func matchOf(t identity.AuthID, own bool) Match {
	switch {
	case own:
		return MatchEquivalent
	case t == identity.Everyone:
		return MatchEveryone
	case t == identity.CreatorOwner || t == identity.CreatorGroup:
		return MatchNone
	}
	return MatchPotential
}

// ChmodAction is what a chmod does to an entry.
type ChmodAction uint8

// Actions.
const (
	CopyACE ChmodAction = iota
	ModifyACE
	InsertACE
	RemoveACE
)

// ChmodStep explains what a chmod does to one entry, in the order of the result.
type ChmodStep struct {
	Action ChmodAction
	// Source is the entry there was, nil for InsertACE; Result the one there
	// will be, nil for RemoveACE.
	Source, Result *fs.ACE
	// The classes of the mode that Source is of; none of them is another trustee.
	Owner, Group, Other bool
	Reason              string
}

// RightsRemoved are those that Source had and Result has not.
func (s *ChmodStep) RightsRemoved() fs.Rights {
	switch {
	case s.Source == nil:
		return 0
	case s.Result == nil:
		return s.Source.Rights
	}
	return s.Source.Rights &^ s.Result.Rights
}

// FlagsChanged are the flags that Result lost and gained.
func (s *ChmodStep) FlagsChanged() (removed, added fs.ACEFlags) {
	if s.Source == nil || s.Result == nil {
		return 0, 0
	}
	return s.Source.Flags &^ s.Result.Flags, s.Result.Flags &^ s.Source.Flags
}

// ChmodExplanation explains a chmod in CrossProtocol.
type ChmodExplanation struct {
	// What the bits of the classes stand for.
	Owner, Group, Other fs.Rights
	// MaxExtra is the most that entries for other trustees may allow.
	MaxExtra fs.Rights
	// Hidden are the rights that no mode gives and none shows.
	Hidden fs.Rights
	Steps  []ChmodStep
	Result fs.ACL
}

// ExplainChmod explains Chmod with CrossProtocol.
func ExplainChmod(a *fs.ACL, mode fs.Mode, isDir bool) ChmodExplanation {
	mode &= fs.ModeAll
	c := classesOf(mode, isDir)
	x := ChmodExplanation{Owner: c.owner, Group: c.group, Other: c.other, MaxExtra: limit(mode>>3 | mode), Hidden: hidden}
	list := Resolve(a, isDir)
	chmodEntries(&list, mode, isDir, func(s ChmodStep) { x.Steps = append(x.Steps, s) })
	result := Chmod(a, mode, isDir, CrossProtocol)
	x.Result = Resolve(&result, isDir)
	return x
}
