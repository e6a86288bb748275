// Package fs is the file system as protocols see it: vocabulary, errors and
// interfaces, no logic and no I/O. fs/core is the one implementation of file
// semantics; fs/memfs is its fake; fs/fstest is the suite both pass. The pure
// semantics that both share lie in fs/acl, fs/lock and fs/export.
//
// Promises of every implementation:
//   - What a call reports as done is durable, except writes that say otherwise
//     in WriteResult.Committed.
//   - Every call is atomic to every other, of any protocol.
//   - Every error is or wraps *Error; protocols switch on KindOf.
//   - Permissions of the Caller are checked in the same transaction as the change.
//   - Calls may be made from many goroutines; ctx ends waiting, not what is committed.
//
// The package must not know any wire format, nor how things are stored.
package fs

import (
	"context"
)

// FS is the whole file system.
type FS interface {
	Namespace
	Files
	Permissions
	Metadata
	Opener
	Locks
	Snapshots
	Accounting
	TreeDeletes
	Staging
	Watcher
}

// Namespace finds, makes and moves names. Implementations resolve
// SnapshotDirName in every directory.
type Namespace interface {
	// Lookup finds name in dir: "." and ".." included (".." of the root is the
	// root). Needs traverse. Attributes in want are answered for the object.
	// Errors: NotExist, NotDir, Access, Stale, NameTooLong.
	Lookup(ctx context.Context, c *Caller, dir Node, name Name, want AttrMask) (Attr, error)

	// LookupFold finds name without regard to case (SMB); an exact match wins.
	// It answers the name as stored.
	LookupFold(ctx context.Context, c *Caller, dir Node, name Name, want AttrMask) (Attr, Name, error)

	// ReadDir yields entries with a cookie greater than after in cookie order,
	// "." , ".." and ".snapshot" not among them, until yield returns false or the end.
	// Needs list. Cookies are unique in the directory, at least FirstCookie,
	// below 2^63, and stable while the entry lives: an entry that exists
	// throughout a listing is listed exactly once. It answers whether the end
	// was reached. The Dirent is only valid during yield.
	ReadDir(ctx context.Context, c *Caller, dir Node, after uint64, want AttrMask, yield func(*Dirent) bool) (eof bool, err error)

	// ReadDirByName yields entries in byte order of their names, those greater than after.
	ReadDirByName(ctx context.Context, c *Caller, dir Node, after Name, want AttrMask, yield func(*Dirent) bool) (eof bool, err error)

	// Create makes an object of any type, or with Exclusive/Unchecked finds it.
	Create(ctx context.Context, c *Caller, dir Node, name Name, spec *CreateSpec) (CreateResult, error)

	// Link adds a hard link to a file (not a directory: Perm).
	Link(ctx context.Context, c *Caller, target, dir Node, name Name) (LinkResult, error)

	// Remove takes the name away; see RemoveMode. The object lives on while it
	// has links or opens. A directory must be empty. Sticky and delete rights are checked.
	Remove(ctx context.Context, c *Caller, dir Node, name Name, mode RemoveMode) (RemoveResult, error)

	// Rename moves a name, replacing the target as POSIX rename(2) does unless
	// NoReplace. Old and new being links to one inode is a success that does nothing.
	Rename(ctx context.Context, c *Caller, from Node, fromName Name, to Node, toName Name, o RenameOptions) (RenameResult, error)

	// Retype makes n, in place, an object of another type that has no contents
	// of its own to lose: an empty file becomes a symlink or a special file, and
	// one of these an empty file, or another one of its type. Id, name, owner, permissions, metadata and
	// opens stay. Needs RightModify or RightWriteAttr. Errors: Invalid (no such
	// type, or no target), NameTooLong (target), IsDir, NotEmpty (data or named
	// streams), Exist (it is of another special type), Busy (it
	// has several names), Stale (it has none), Access, WORM, Sharing.
	Retype(ctx context.Context, c *Caller, n Node, spec *RetypeSpec) (Changed, error)

	// Readlink returns the target bytes of a symlink.
	Readlink(ctx context.Context, c *Caller, n Node) ([]byte, error)

	// PathOf returns a path of n from the root ("/" for the root), the primary
	// one for files, in O(depth). No permission is checked.
	PathOf(ctx context.Context, n Node) (string, error)

	// Resolve walks an absolute path, following no symlink. Needs traverse all along.
	Resolve(ctx context.Context, c *Caller, path string, want AttrMask) (Attr, error)

	// Contains tells whether n is dir or below it, by any of its links, as of
	// n's snapshot. O(depth), cached.
	Contains(ctx context.Context, dir FileID, n Node) (bool, error)
}

// Dirent is one entry of a directory.
type Dirent struct {
	Name   Name
	ID     FileID
	Type   Type
	Cookie uint64
	// Attr has what was asked for; Mask 0 if the object vanished meanwhile.
	Attr Attr
}

// CreateDisposition says what an existing name means.
type CreateDisposition uint8

// Dispositions.
const (
	// CreateNew fails with Exist if the name is taken.
	CreateNew CreateDisposition = iota
	// CreateUnchecked opens an existing regular file, applying Set.Size only.
	CreateUnchecked
	// CreateExclusive is NFS's: an existing file made with the same Verifier is
	// success, any other Exist.
	CreateExclusive
)

// CreateSpec says what to make.
type CreateSpec struct {
	Type        Type
	Disposition CreateDisposition
	// Verifier of CreateExclusive; stored until the first SetAttr.
	Verifier uint64
	// Set are initial attributes. A nil Mode is 0777 for directories and
	// symlinks and 0666 for others. The owner is the caller, the group the
	// directory's if it is setgid, else the caller's.
	Set SetAttr
	// ModeYields says that the mode counts only if nothing is inherited, be it
	// only to be passed on: so it is for callers who name no mode of their own.
	ModeYields bool
	// Target of a symlink, 1 to 4,095 bytes.
	Target      []byte
	SymlinkHint SymlinkHint
	// Rdev of devices.
	RdevMajor, RdevMinor uint32
	// Meta is set in the same transaction on what Create makes; bounded as that
	// of PublishSpec. Open does not know it.
	Meta []MetaItem
	// Data are the contents of a file, in the same transaction; at most
	// MaxCreateData, with Set.Size nil. They go nowhere if the name is there
	// already, which CreateResult.Created and OpenResult.Action tell.
	Data []byte
	// Want are the attributes to answer.
	Want AttrMask
}

// MaxCreateData bounds what a file can be made with.
const MaxCreateData = 16 << 10

// CreateResult answers a Create.
type CreateResult struct {
	Attr    Attr
	Created bool // false: the existing object was taken
	Dir     Changed
}

// RetypeSpec says what an object is going to be; its fields are those of CreateSpec.
type RetypeSpec struct {
	Type                 Type
	Target               []byte
	SymlinkHint          SymlinkHint
	RdevMajor, RdevMinor uint32
}

// LinkResult answers a Link.
type LinkResult struct {
	Target Attr
	Dir    Changed
}

// RemoveMode restricts what Remove takes.
type RemoveMode uint8

// Remove modes.
const (
	// RemoveAny takes both.
	RemoveAny RemoveMode = iota
	// RemoveFile refuses directories (IsDir).
	RemoveFile
	// RemoveDir takes only directories (NotDir).
	RemoveDir
)

// RemoveResult answers a Remove.
type RemoveResult struct {
	Dir  Changed
	Node Node // what the name stood for
	Gone bool // the last link went
}

// RenameOptions vary a rename.
type RenameOptions struct {
	// NoReplace fails with Exist if the target exists.
	NoReplace bool
	// Only, unless it is zero, is what the name must stand for, else NotExist:
	// for callers who mean an object and not a name.
	Only Node
}

// RenameResult answers a Rename.
type RenameResult struct {
	From, To Changed
	Node     Node
	Replaced Node // what was there, zero if nothing
}

// Stability of a write, ordered.
type Stability uint8

// Stabilities, numbered as in RFC 1813 3.3.7.
const (
	Unstable Stability = iota
	DataSync
	FileSync
)

// Verifier changes whenever unstable writes may have been lost.
type Verifier uint64

// Buffer lets an implementation keep a caller's bytes without copying: Retain
// before the call returns, Release when done with them.
type Buffer interface {
	Retain()
	Release()
}

// WriteRequest is one write.
type WriteRequest struct {
	Stream StreamID
	Offset uint64
	Data   []byte
	// Owner, if set, owns the memory of Data; if nil, Data is only valid
	// during the call.
	Owner     Buffer
	Stability Stability
	// OwnerOverride lets the owner of the file write whatever the mode says
	// (stateless protocols, where the check was at open).
	OwnerOverride bool
	// Append ignores Offset and writes at the end, atomically.
	Append bool
	// Want are the attributes to answer.
	Want AttrMask
}

// WriteResult answers a write. All of Data was written, or an error is returned.
type WriteResult struct {
	Count     int
	Committed Stability
	Verifier  Verifier
	File      Changed
	Offset    uint64 // where it went, for Append
}

// ReadRequest is one read.
type ReadRequest struct {
	Stream        StreamID
	Offset        uint64
	OwnerOverride bool
	// Execute accepts execute permission in place of read (NFS has no exec).
	Execute bool
	Want    AttrMask
}

// ReadResult answers a read of N bytes. EOF: the read reached the end of the stream.
type ReadResult struct {
	N    int
	EOF  bool
	Attr Attr
}

// Region is a run of data or a hole.
type Region struct {
	Offset, Length uint64
	Hole           bool
}

// Files reads and writes by node, without an open: for stateless protocols and
// jobs. Share modes and mandatory locks of opens still apply (Sharing, LockConflict).
type Files interface {
	// GetAttr answers the attributes in want. Needs nothing but the node (the
	// parent's rights were checked at lookup).
	GetAttr(ctx context.Context, c *Caller, n Node, want AttrMask) (Attr, error)
	// SetAttr changes attributes in one transaction. Growing leaves a hole.
	SetAttr(ctx context.Context, c *Caller, n Node, s *SetAttr) (Changed, error)
	// Read fills dst from the stream. Reading at or past the end answers 0, EOF.
	Read(ctx context.Context, c *Caller, n Node, r *ReadRequest, dst []byte) (ReadResult, error)
	// Write stores Data. Errors: NoSpace, Quota, Access, ReadOnly, TooBig, WORM, IsDir/NotFile.
	Write(ctx context.Context, c *Caller, n Node, w *WriteRequest) (WriteResult, error)
	// Commit makes all unstable writes in [off, off+length) durable; length 0
	// means to the end.
	Commit(ctx context.Context, c *Caller, n Node, stream StreamID, off, length uint64) (Verifier, Changed, error)
	// Zero deallocates [off, off+length): reads give zeros; the size stays.
	Zero(ctx context.Context, c *Caller, n Node, stream StreamID, off, length uint64) (Changed, error)
	// Regions yields data and holes from off on, in order, up to the end.
	Regions(ctx context.Context, c *Caller, n Node, stream StreamID, off uint64, yield func(Region) bool) error
	// CopyRange copies within the file system, by reference where it can, and
	// answers how much it did, at least 1 unless there is nothing to copy. What
	// it answers is durable. Copying a range onto itself is Invalid.
	CopyRange(ctx context.Context, c *Caller, src Node, srcStream StreamID, srcOff uint64, dst Node, dstStream StreamID, dstOff, length uint64) (uint64, error)
	// WriteVerifier is the present verifier of this instance.
	WriteVerifier() Verifier
}

// Permissions asks and sets who may do what.
type Permissions interface {
	// Access answers which of the wanted rights the caller has on n, read-only
	// ways in, parent's rights and privileges included.
	Access(ctx context.Context, c *Caller, n Node, want Rights) (Rights, error)
	// GetACL answers the ACL with ModeOnly resolved into entries. Needs READ_ACL.
	GetACL(ctx context.Context, c *Caller, n Node) (ACL, error)
	// SetACL replaces control flags and entries; owner and group too where set
	// (not Unset). Needs WRITE_ACL, CHANGE_OWNER.
	SetACL(ctx context.Context, c *Caller, n Node, a *ACL) (Changed, error)
}

// MetaSpace separates the key spaces of user-visible key-value metadata.
type MetaSpace uint8

// Key spaces; stored, append-only.
const (
	MetaXattr   MetaSpace = 1 // POSIX user.* and NFSv4 extended attributes
	MetaEA      MetaSpace = 2 // SMB extended attributes
	MetaGeneric MetaSpace = 3 // REST user metadata, generic; S3 object tags
	MetaS3      MetaSpace = 4 // REST user metadata, S3; x-amz-meta
)

// MetaMode says what SetMeta does about an existing key.
type MetaMode uint8

// Modes of SetMeta.
const (
	MetaUpsert  MetaMode = iota
	MetaCreate           // Exist if there
	MetaReplace          // NoAttr if not there
)

// StreamInfo describes a named stream.
type StreamInfo struct {
	ID           StreamID
	Name         string
	Size         uint64
	DataBytes    uint64
	DataRevision uint64
}

// Metadata keeps key-value metadata and named streams.
type Metadata interface {
	GetMeta(ctx context.Context, c *Caller, n Node, s MetaSpace, key string) ([]byte, error)
	SetMeta(ctx context.Context, c *Caller, n Node, s MetaSpace, key string, value []byte, m MetaMode) (Changed, error)
	RemoveMeta(ctx context.Context, c *Caller, n Node, s MetaSpace, key string) (Changed, error)
	// ListMeta yields keys and value sizes in byte order, those greater than after.
	ListMeta(ctx context.Context, c *Caller, n Node, s MetaSpace, after string, yield func(key string, size int) bool) error

	// Streams lists the named streams.
	Streams(ctx context.Context, c *Caller, n Node) ([]StreamInfo, error)
	// CreateStream makes an empty named stream, or answers the existing one
	// (matched without case) unless exclusive (Exist).
	CreateStream(ctx context.Context, c *Caller, n Node, name string, exclusive bool) (StreamInfo, error)
	// SetStreamSize truncates or extends a stream.
	SetStreamSize(ctx context.Context, c *Caller, n Node, id StreamID, size uint64) (Changed, error)
	RenameStream(ctx context.Context, c *Caller, n Node, id StreamID, name string) error
	RemoveStream(ctx context.Context, c *Caller, n Node, id StreamID) error
}

// StatFS are the figures of the system as seen at a node, capped by the
// tightest quota above it.
type StatFS struct {
	TotalBytes, FreeBytes, AvailBytes uint64
	// SnapshotBytes is the data that only snapshots keep, of the whole system.
	SnapshotBytes         uint64
	TotalFiles, FreeFiles uint64
	FSID                  [16]byte // UUID of the file system
}
