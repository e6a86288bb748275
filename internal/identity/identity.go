// Package identity is the contract for who is calling: principals, their
// numbers, and expanded credentials. Sources of identities (local users, Active
// Directory, LDAP) live in the folders below.
//
// Invariants: a principal has exactly one [AuthID] for ever; what an AuthID was
// made from (uid, gid, SID, local account) can always be told from it or from
// the id map, so an identity stored in an ACE stays as it was given.
//
// The package must not know files, protocols or storage.
package identity

import (
	"context"
	"slices"
)

// AuthID is the one 64-bit number of a principal. The ranges are those that
// clients of the REST API rely on.
type AuthID uint64

// Well-known principals.
const (
	// Unset is no principal.
	Unset AuthID = 0
	// System and SystemGroup own what jobs create and appear in audit records.
	System      AuthID = 1
	SystemGroup AuthID = 2
	// Local principals have the RID of their SID as AuthID.
	Admin          AuthID = 500
	Guest          AuthID = 501
	Administrators AuthID = 512
	Users          AuthID = 513
	Guests         AuthID = 514
	// Everyone is the WORLD principal.
	Everyone AuthID = 0x200000000
	// CreatorOwner and CreatorGroup are substituted at inheritance; OwnerRights
	// replaces the implicit rights of the owner.
	CreatorOwner AuthID = 0xffffffff00000000
	CreatorGroup AuthID = 0xffffffff00000001
	OwnerRights  AuthID = 0xffffffff00000004
	// AuthenticatedUsers is everybody who has said who he is, as NT's group of
	// that name.
	AuthenticatedUsers AuthID = 0xffffffff0000000b
	// The groups that every machine has, to NT: they are the local groups of the
	// same names, under another identity.
	BuiltinAdministrators AuthID = 0xffffffff00000220
	BuiltinUsers          AuthID = 0xffffffff00000221
	BuiltinGuests         AuthID = 0xffffffff00000222
	// FileOwner and FileGroup are OWNER@ and GROUP@ of NFSv4.
	FileOwner AuthID = 0xfffffffe00000001
	FileGroup AuthID = 0xfffffffe00000002

	uidBase AuthID = 3 << 32
	gidBase AuthID = 4 << 32
	// MappedBase is the first AuthID handed out by the id map (directory SIDs).
	MappedBase AuthID = 1 << 40
)

// NobodyUID and NobodyGID are the squash target when nothing else is said.
const (
	NobodyUID uint32 = 65534
	NobodyGID uint32 = 65534
)

// UID returns the AuthID of a POSIX user.
func UID(uid uint32) AuthID { return uidBase + AuthID(uid) }

// GID returns the AuthID of a POSIX group.
func GID(gid uint32) AuthID { return gidBase + AuthID(gid) }

// Kind tells where an AuthID comes from.
type Kind uint8

// Kinds of principals.
const (
	KindUnset    Kind = iota
	KindInternal      // System, SystemGroup
	KindLocal         // local user or group
	KindWorld         // Everyone
	KindUID           // POSIX user
	KindGID           // POSIX group
	KindSpecial       // creator owner, owner rights, OWNER@ and the like
	KindMapped        // handed out by the id map, for a directory's SID
)

// Kind tells where a comes from.
func (a AuthID) Kind() Kind {
	switch {
	case a == Unset:
		return KindUnset
	case a <= SystemGroup:
		return KindInternal
	case a == Everyone:
		return KindWorld
	case a>>32 == 3:
		return KindUID
	case a>>32 == 4:
		return KindGID
	case a>>32 >= 0xfffffffe:
		return KindSpecial
	case a >= MappedBase:
		return KindMapped
	case a < 1<<32:
		return KindLocal
	}
	return KindUnset
}

// POSIX returns the uid or gid that a stands for by itself, and whether it does.
func (a AuthID) POSIX() (uint32, bool) {
	switch a.Kind() {
	case KindUID, KindGID:
		return uint32(a), true
	}
	return 0, false
}

// Privileges is a set of administrator's rights that bypass file permissions.
type Privileges uint32

// Privileges that the file system itself knows. The many privileges of the
// REST API are the operator's room.
const (
	// FileFullAccess passes every permission check.
	FileFullAccess Privileges = 1 << iota
	// FileReadAccess passes every check for reading and traversing.
	FileReadAccess
	// ChangeOwner allows giving files away.
	ChangeOwner
	// FileLockWrite allows retention and legal hold.
	FileLockWrite
)

// Has tells whether all of q are held.
func (p Privileges) Has(q Privileges) bool { return p&q == q }

// Credential is a caller expanded once: every principal it is, sorted. It is
// immutable after New and shared between calls.
type Credential struct {
	// User becomes the owner of what the caller creates.
	User AuthID
	// Group becomes the group of what the caller creates.
	Group AuthID
	// Superuser is root of POSIX protocols: permission checks pass as for uid 0.
	Superuser bool
	// Privileges bypass file permissions.
	Privileges Privileges

	users  []AuthID // equivalents of User, sorted
	groups []AuthID // all groups with their equivalents, sorted
}

// New builds a Credential. user and group are included in their sets; the
// slices are copied.
func New(user, group AuthID, userEquivalents, groups []AuthID) *Credential {
	c := &Credential{User: user, Group: group}
	c.users = sortedSet(append(slices.Clone(userEquivalents), user))
	c.groups = sortedSet(append(slices.Clone(groups), group))
	return c
}

func sortedSet(s []AuthID) []AuthID {
	slices.Sort(s)
	s = slices.Compact(s)
	return slices.DeleteFunc(s, func(a AuthID) bool { return a == Unset })
}

// POSIX builds the credential of an AUTH_SYS caller with nothing but numbers.
// uid 0 is the superuser.
func POSIX(uid, gid uint32, gids []uint32) *Credential {
	gs := make([]AuthID, 0, len(gids)+1)
	for _, g := range gids {
		gs = append(gs, GID(g))
	}
	c := New(UID(uid), GID(gid), nil, gs)
	c.Superuser = uid == 0
	return c
}

// SystemCredential acts for background jobs: every check passes.
func SystemCredential() *Credential {
	c := New(System, SystemGroup, nil, nil)
	c.Superuser = true
	c.Privileges = FileFullAccess | FileReadAccess | ChangeOwner | FileLockWrite
	return c
}

// IsUser tells whether a is the caller itself under any of its names.
func (c *Credential) IsUser(a AuthID) bool {
	if a == c.User {
		return true
	}
	_, ok := slices.BinarySearch(c.users, a)
	return ok
}

// InGroup tells whether the caller is a member of group a.
func (c *Credential) InGroup(a AuthID) bool {
	if a == c.Group {
		return true
	}
	_, ok := slices.BinarySearch(c.groups, a)
	return ok
}

// authenticated tells whether the caller is neither guest nor squashed.
func (c *Credential) authenticated() bool {
	return c.User != Guest && c.User != UID(NobodyUID) && c.User != Unset
}

// Is tells whether an ACE for a speaks of the caller: itself, one of its groups, or Everyone.
func (c *Credential) Is(a AuthID) bool {
	return a == Everyone || c.IsUser(a) || c.InGroup(a) || a > FileGroup && c.isWellKnown(a)
}

func (c *Credential) isWellKnown(a AuthID) bool {
	switch a {
	case AuthenticatedUsers:
		return c.authenticated()
	case BuiltinAdministrators:
		return c.InGroup(Administrators)
	case BuiltinUsers:
		return c.InGroup(Users)
	case BuiltinGuests:
		return c.InGroup(Guests)
	}
	return false
}

// UserIDs and GroupIDs return the sorted sets; callers must not change them.
func (c *Credential) UserIDs() []AuthID  { return c.users }
func (c *Credential) GroupIDs() []AuthID { return c.groups }

// Resolver translates between principals and the numbers protocols show.
type Resolver interface {
	// Expand builds the credential of a POSIX caller: equivalents of the uid,
	// and groups known for it beyond the given ones.
	Expand(ctx context.Context, uid, gid uint32, gids []uint32) (*Credential, error)
	// UIDOf returns the uid to show for an owner, GIDOf the gid for a group.
	// What has none shows as nobody (65534).
	UIDOf(a AuthID) uint32
	GIDOf(a AuthID) uint32
}

// Numeric is the Resolver that knows nothing but numbers.
type Numeric struct{}

// Expand implements Resolver.
func (Numeric) Expand(_ context.Context, uid, gid uint32, gids []uint32) (*Credential, error) {
	return POSIX(uid, gid, gids), nil
}

// UIDOf implements Resolver.
func (Numeric) UIDOf(a AuthID) uint32 {
	if a.Kind() == KindUID {
		return uint32(a)
	}
	if a == System || a == Admin {
		return 0
	}
	return NobodyUID
}

// GIDOf implements Resolver.
func (Numeric) GIDOf(a AuthID) uint32 {
	if a.Kind() == KindGID {
		return uint32(a)
	}
	if a == SystemGroup || a == Administrators {
		return 0
	}
	return NobodyGID
}
