package fs

import "manifold/internal/identity"

// Rights is a set of NT-style rights, numbered as in [MS-DTYP] 2.4.3 so that
// security descriptors round-trip.
type Rights uint32

// The 17 rights. On files MODIFY and EXTEND write in place and append; on
// directories the same bits are ADD_FILE and ADD_SUBDIR, READ lists and
// EXECUTE traverses.
const (
	RightRead        Rights = 0x00000001
	RightModify      Rights = 0x00000002 // ADD_FILE
	RightExtend      Rights = 0x00000004 // ADD_SUBDIR
	RightReadEA      Rights = 0x00000008
	RightWriteEA     Rights = 0x00000010
	RightExecute     Rights = 0x00000020
	RightDeleteChild Rights = 0x00000040
	RightReadAttr    Rights = 0x00000080
	RightWriteAttr   Rights = 0x00000100
	RightDelete      Rights = 0x00010000
	RightReadACL     Rights = 0x00020000
	RightWriteACL    Rights = 0x00040000
	RightChangeOwner Rights = 0x00080000
	RightSynchronize Rights = 0x00100000
	RightWriteGroup  Rights = 0x00200000 // ours: not an NT bit, never leaves over SMB
	RightAddFile            = RightModify
	RightAddSubdir          = RightExtend
	RightList               = RightRead
	RightTraverse           = RightExecute
	RightsAll        Rights = 0x003f01ff
	RightsWriteData         = RightModify | RightExtend
)

// ACEType says whether an entry grants or denies; numbered as on the wire.
type ACEType uint8

// ACE types.
const (
	ACEAllow ACEType = 0
	ACEDeny  ACEType = 1
)

// ACEFlags are inheritance flags, numbered as in [MS-DTYP] 2.4.4.1.
type ACEFlags uint8

// ACE flags.
const (
	ACEObjectInherit      ACEFlags = 0x01
	ACEContainerInherit   ACEFlags = 0x02
	ACENoPropagateInherit ACEFlags = 0x04
	ACEInheritOnly        ACEFlags = 0x08
	ACEInherited          ACEFlags = 0x10
)

// ACE is one entry. The trustee stays as it was given.
type ACE struct {
	Type    ACEType
	Flags   ACEFlags
	Trustee identity.AuthID
	Rights  Rights
}

// ACLControl are the control flags of a security descriptor that are kept.
type ACLControl uint16

// Control flags, numbered as in [MS-DTYP] 2.4.6.
const (
	ACLPresent       ACLControl = 0x0004
	ACLDefaulted     ACLControl = 0x0008
	ACLTrusted       ACLControl = 0x0040
	ACLAutoInherited ACLControl = 0x0400
	ACLProtected     ACLControl = 0x1000
)

// ACL is the permission record of one object: owner, group, ordered entries.
// A nil Entries with ModeOnly is "just a mode": the ACL that the mode stands
// for is derived when asked.
type ACL struct {
	Owner, Group identity.AuthID
	Control      ACLControl
	// Mode carries the special bits always, and the permission bits when ModeOnly.
	Mode     Mode
	ModeOnly bool
	Entries  []ACE
}
