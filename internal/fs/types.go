package fs

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"manifold/internal/identity"
)

// FileID is the inode number: 64-bit, never reused, the same in every protocol.
type FileID uint64

// RootID is the root directory; objects that users make count up from 3.
const RootID FileID = 2

// SnapshotID numbers snapshots from 1. 0 is the live tree.
type SnapshotID uint64

// SnapshotDir in Node.Snap denotes the virtual, read-only ".snapshot" directory
// of the live directory Node.ID.
const SnapshotDir SnapshotID = math.MaxUint64

// SnapshotDirName is the reserved name under which every directory offers its snapshots.
const SnapshotDirName = ".snapshot"

// Node names an object: an inode in the live tree or as of a snapshot.
type Node struct {
	ID   FileID
	Snap SnapshotID
}

// Root is the live root directory.
var Root = Node{ID: RootID}

// Live tells whether n is in the live tree (and so may be changed).
func (n Node) Live() bool { return n.Snap == 0 }

// String renders "7" or "7@3".
func (n Node) String() string {
	switch n.Snap {
	case 0:
		return fmt.Sprintf("%d", uint64(n.ID))
	case SnapshotDir:
		return fmt.Sprintf("%d/%s", uint64(n.ID), SnapshotDirName)
	}
	return fmt.Sprintf("%d@%d", uint64(n.ID), uint64(n.Snap))
}

// StreamID names a byte sequence of an inode: 0 is the default data stream,
// others are named streams.
type StreamID uint64

// Limits of names and counts, those of the reference product.
const (
	MaxName       = 255
	MaxPath       = 32760
	MaxLinks      = 1024
	MaxACEs       = 200
	MaxFileSize   = math.MaxInt64
	MaxXattrBytes = 400 << 10 // key and value of one user-metadata entry together
	BlockSize     = 4096
	// FirstCookie: directory cookies of entries are at least this; 0, 1 and 2 are
	// the start, "." and "..".
	FirstCookie = 3
)

// Type of an inode.
type Type uint8

// Types; stored, append-only.
const (
	TypeNone Type = iota
	File
	Directory
	Symlink
	FIFO
	Socket
	CharDevice
	BlockDevice
)

// Mode holds permission bits and setuid 04000, setgid 02000, sticky 01000.
type Mode uint32

// Mode bits.
const (
	ModeSetuid Mode = 0o4000
	ModeSetgid Mode = 0o2000
	ModeSticky Mode = 0o1000
	ModeAll    Mode = 0o7777
)

// Time is a moment with the range and resolution that are stored.
type Time struct {
	Sec  int64
	Nsec uint32
}

// TimeOf converts.
func TimeOf(t time.Time) Time { return Time{t.Unix(), uint32(t.Nanosecond())} }

// Time converts to UTC.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// Compare orders moments: -1, 0, 1.
func (t Time) Compare(u Time) int {
	switch {
	case t.Sec < u.Sec || t.Sec == u.Sec && t.Nsec < u.Nsec:
		return -1
	case t == u:
		return 0
	}
	return 1
}

// Next returns the moment 1 ns later.
func (t Time) Next() Time {
	if t.Nsec == 999_999_999 {
		return Time{t.Sec + 1, 0}
	}
	return Time{t.Sec, t.Nsec + 1}
}

// DOSAttr are the DOS attribute bits, numbered as in [MS-FSCC] 2.6.
type DOSAttr uint32

// DOS attributes that are stored.
const (
	DOSReadOnly          DOSAttr = 0x1
	DOSHidden            DOSAttr = 0x2
	DOSSystem            DOSAttr = 0x4
	DOSArchive           DOSAttr = 0x20
	DOSTemporary         DOSAttr = 0x100
	DOSSparse            DOSAttr = 0x200
	DOSCompressed        DOSAttr = 0x800
	DOSOffline           DOSAttr = 0x1000
	DOSNotContentIndexed DOSAttr = 0x2000
)

// SymlinkHint remembers what a symlink was made for; Windows needs to know.
type SymlinkHint uint8

// Symlink hints; stored.
const (
	SymlinkUnknown SymlinkHint = iota
	SymlinkToFile
	SymlinkToDirectory
)

// AttrMask selects attributes: what is wanted, and what is set.
type AttrMask uint32

// Attribute groups.
const (
	AttrType     AttrMask = 1 << iota // Type, Rdev, SymlinkHint
	AttrMode                          // Mode
	AttrLinks                         // Links
	AttrOwner                         // Owner
	AttrGroup                         // Group
	AttrSize                          // Size, DataRevision
	AttrSpace                         // DataBytes, MetaBytes
	AttrAtime                         // Atime
	AttrMtime                         // Mtime
	AttrCtime                         // Ctime
	AttrBtime                         // Btime
	AttrChange                        // Change
	AttrDOS                           // DOS
	AttrChildren                      // Children (directories)
	AttrParent                        // Parent, ParentName
	AttrStreams                       // NamedStreams
	AttrLock                          // Retention, LegalHold
	AttrMetas                         // Metas
)

// AttrBasic is what a stat of POSIX protocols needs.
const AttrBasic = AttrType | AttrMode | AttrLinks | AttrOwner | AttrGroup | AttrSize | AttrSpace |
	AttrAtime | AttrMtime | AttrCtime | AttrChange

// AttrEverything is all of it.
const AttrEverything = AttrMask(1<<18 - 1)

// Attr are the attributes of an object; Mask says which fields are set.
type Attr struct {
	Mask AttrMask

	Node         Node
	Type         Type
	Mode         Mode // derived from the ACL where there is one
	Links        uint32
	Owner, Group identity.AuthID
	Size         uint64 // bytes; a directory: 512 per entry
	DataRevision uint64 // counts changes of the default stream's data
	DataBytes    uint64 // bytes of data blocks, a multiple of BlockSize
	MetaBytes    uint64 // bytes of metadata blocks, a multiple of BlockSize
	Atime        Time
	Mtime        Time
	Ctime        Time
	Btime        Time   // creation
	Change       uint64 // grows with every change of data or attributes
	DOS          DOSAttr
	Children     uint64 // entries of a directory
	Parent       FileID // a directory: its parent; else the primary parent
	ParentName   Name   // what it is called there
	NamedStreams uint32
	Metas        uint32 // pairs of metadata, of all spaces
	RdevMajor    uint32
	RdevMinor    uint32
	SymlinkHint  SymlinkHint
	Retention    Time // zero: none
	LegalHold    bool
}

// Blocks is the number of 4 KiB blocks of data and metadata.
func (a *Attr) Blocks() uint64 { return (a.DataBytes + a.MetaBytes) / BlockSize }

// TimeSet says how to set a time.
type TimeSet struct {
	Time Time
	// Now uses the server's clock; Time is then ignored. Setting times to now
	// needs only write permission, explicit times need ownership.
	Now bool
}

// SetAttr are changes of attributes; nil fields stay.
type SetAttr struct {
	Mode      *Mode
	Owner     *identity.AuthID
	Group     *identity.AuthID
	Size      *uint64
	Atime     *TimeSet
	Mtime     *TimeSet
	Ctime     *TimeSet // SMB and REST only
	Btime     *TimeSet // SMB and REST only
	DOS       *DOSAttr
	Retention *Time
	LegalHold *bool

	// GuardCtime, if set, must equal the present ctime, else RevisionMismatch.
	GuardCtime *Time
	// GuardChange, if set, must equal the present Change, else RevisionMismatch.
	GuardChange *uint64
	// OwnerOverride lets the owner set Size whatever the mode says, as a
	// descriptor that was opened before a chmod does (stateless protocols).
	OwnerOverride bool
}

// Before are the attributes that a weak cache-consistency reply needs, taken
// in the transaction of the change.
type Before struct {
	Set   bool
	Size  uint64
	Mtime Time
	Ctime Time
	// Change with After.Change tells whether anything else happened in between.
	Change uint64

	// What an audit record shows besides.
	Mode         Mode
	Owner, Group identity.AuthID
}

// Changed tells what a mutation did to one object. Atomic says that nothing
// else happened to it in between.
type Changed struct {
	Before Before
	After  Attr
	Atomic bool
}

// Protocol names the port a call came through.
type Protocol uint8

// Protocols; append-only (audit).
const (
	ProtoInternal Protocol = iota
	ProtoNFS3
	ProtoNFS4
	ProtoSMB
	ProtoS3
	ProtoFTP
	ProtoSFTP
	ProtoREST
	ProtoReplication
)

var protocolNames = [...]string{"internal", "nfs3", "nfs4", "smb", "s3", "ftp", "sftp", "rest", "replication"}

// String names the protocol.
func (p Protocol) String() string {
	if int(p) < len(protocolNames) {
		return protocolNames[p]
	}
	return "unknown"
}

// Caller is who calls, from where, and what its way in allows. Immutable; one
// Caller serves many calls.
type Caller struct {
	Cred     *identity.Credential
	Protocol Protocol
	Client   netip.AddrPort
	// ReadOnly caps the caller's rights: a read-only export, share or token.
	ReadOnly bool
	// BypassTraverse lets the caller pass through every directory, whatever its
	// ACL says.
	BypassTraverse bool
	// OnBehalf is who caused a call that a server makes with rights of its own,
	// nil if that is Cred. It gives no rights; records name it.
	OnBehalf *identity.Credential
}

// User is who caused the call.
func (c *Caller) User() identity.AuthID {
	if c.OnBehalf != nil {
		return c.OnBehalf.User
	}
	return c.Cred.User
}

// SystemCaller acts for background jobs.
func SystemCaller() *Caller { return &Caller{Cred: identity.SystemCredential()} }

// Name is one path component as received: bytes, at most MaxName, no '/' or NUL.
type Name = string

// CheckName returns NameInvalid or NameTooLong for what may not be created.
// "." and ".." and ".snapshot" are reserved.
func CheckName(n Name) error {
	switch {
	case len(n) > MaxName:
		return NameTooLong
	case n == "" || n == "." || n == ".." || n == SnapshotDirName:
		return NameInvalid
	}
	for i := 0; i < len(n); i++ {
		if n[i] == '/' || n[i] == 0 {
			return NameInvalid
		}
	}
	return nil
}
