package fs

import (
	"context"
	"time"
)

// Snapshot is a point in time of one directory's tree (or one file).
type Snapshot struct {
	ID       SnapshotID
	Name     string // "{id}_{suffix}", the name under .snapshot
	Root     FileID
	Path     string // of Root when it was taken
	Created  time.Time
	Expires  time.Time // zero: never
	Policy   uint64    // policy that made it, 0 by hand
	LockKey  string    // key-store id that locks it, ""
	Owners   []string  // who holds it; deletion and change are refused meanwhile
	InDelete bool      // marked; space is being reclaimed
	Revision uint64
}

// SnapshotSpec says what to take.
type SnapshotSpec struct {
	Root FileID
	// Suffix of the name; "" is "OnDemand".
	Suffix  string
	Expires time.Time
	Policy  uint64
	LockKey string
	Owners  []string
}

// DiffOp is what happened to a path between two snapshots.
type DiffOp uint8

// Diff operations.
const (
	DiffCreate DiffOp = iota + 1
	DiffModify
	DiffDelete
)

// DiffEntry is one changed path, relative to the snapshotted directory.
type DiffEntry struct {
	Op   DiffOp
	Path string // directories end in '/'
	ID   FileID
}

// Snapshots takes and keeps snapshots. All calls need administrator rights,
// which the caller of this interface has checked.
type Snapshots interface {
	// TakeSnapshot is O(1) in the size of the tree. Writes acknowledged before
	// the call are in it.
	TakeSnapshot(ctx context.Context, s SnapshotSpec) (Snapshot, error)
	Snapshot(ctx context.Context, id SnapshotID) (Snapshot, error)
	// ListSnapshots yields all, in order of id, those greater than after.
	ListSnapshots(ctx context.Context, after SnapshotID, yield func(*Snapshot) bool) error
	// ModifySnapshot changes expiry, lock and owners, if Revision matches (0: any).
	ModifySnapshot(ctx context.Context, s Snapshot) (Snapshot, error)
	// DeleteSnapshot marks it at once and reclaims space in the background.
	// Busy: it has owners or is locked.
	DeleteSnapshot(ctx context.Context, id SnapshotID) error
	// SnapshotsKeep is by how much StatFS.SnapshotBytes would fall were those
	// snapshots deleted; an estimate where they keep much. NotExist: one of them
	// is not there, or in deletion.
	SnapshotsKeep(ctx context.Context, ids []SnapshotID) (uint64, error)
	// DiffSnapshots yields the changes from older to newer of the same root in
	// path order by O(changes) work, those after the path after.
	DiffSnapshots(ctx context.Context, older, newer SnapshotID, after string, yield func(*DiffEntry) bool) error
	// DiffFile yields regions of the default stream that differ.
	DiffFile(ctx context.Context, older, newer SnapshotID, id FileID, off uint64, yield func(Region) bool) error
}

// Totals are exact sums over a directory's whole tree, itself included in
// MetaBytes and Directories counting subdirectories below it only.
type Totals struct {
	DataBytes    uint64 // bytes in data blocks of default streams, multiples of BlockSize
	MetaBytes    uint64 // bytes in metadata blocks
	LogicalBytes uint64 // sum of sizes of regular files, hard links once
	Files        uint64
	Directories  uint64
	Symlinks     uint64
	Other        uint64 // FIFOs, sockets, devices
	Streams      uint64 // named streams
	StreamBytes  uint64 // bytes in data blocks of named streams
	WORM         uint64 // files with a legal hold or a retention, one that is over included
}

// ChildTotals are the totals of one entry of a directory.
type ChildTotals struct {
	Name string
	ID   FileID
	Type Type
	Totals
}

// Quota is a hard limit on the capacity of a directory's tree.
type Quota struct {
	Dir      FileID
	Limit    uint64 // bytes, data and metadata blocks of everything below
	Used     uint64
	Revision uint64
}

// Accounting answers totals and keeps quotas.
type Accounting interface {
	// TotalsOf answers the totals of a directory at any depth in O(1), exact,
	// also as of a snapshot.
	TotalsOf(ctx context.Context, n Node) (Totals, error)
	// ChildTotalsOf yields the totals of the entries of a directory.
	ChildTotalsOf(ctx context.Context, n Node, yield func(*ChildTotals) bool) error
	// StatFS answers space and file figures at n, as capped by quotas above it.
	// It needs no right.
	StatFS(ctx context.Context, c *Caller, n Node) (StatFS, error)

	Quota(ctx context.Context, dir FileID) (Quota, error) // NoAttr: none set
	// SetQuota sets or replaces. create demands there is none (Exist), else there must be one (NoAttr).
	SetQuota(ctx context.Context, dir FileID, limit uint64, create bool, revision uint64) (Quota, error)
	RemoveQuota(ctx context.Context, dir FileID, revision uint64) error
	ListQuotas(ctx context.Context, after FileID, yield func(*Quota) bool) error
}

// TreeDelete is a running deletion of a whole tree.
type TreeDelete struct {
	ID          FileID // of the directory
	Created     time.Time
	InitialPath string
	Initial     Totals
	Remaining   Totals
	LastError   string
}

// TreeDeletes removes whole trees.
type TreeDeletes interface {
	// StartTreeDelete detaches the directory at once (its path is gone when
	// the call returns) and frees it in the background, over restarts.
	// The root cannot be deleted (Invalid). WORM: files under retention or legal
	// hold below. A retention that is over is taken off first.
	StartTreeDelete(ctx context.Context, c *Caller, dir FileID) (TreeDelete, error)
	// TreeDelete answers a job; NotExist when finished or unknown.
	TreeDelete(ctx context.Context, id FileID) (TreeDelete, error)
	ListTreeDeletes(ctx context.Context, yield func(*TreeDelete) bool) error
	// CancelTreeDelete stops freeing; what is gone is gone, the rest is put
	// back under its parent's name if that is free, else under "/lost+found".
	CancelTreeDelete(ctx context.Context, id FileID) error
}

// EventType is a set of change kinds.
type EventType uint32

// Event types.
const (
	EventAdded EventType = 1 << iota // name appeared (create, link, or the new name of a rename: Moved set)
	EventRemoved
	EventMovedFrom
	EventMovedTo
	EventData
	EventSize
	EventAttr
	EventACL
	EventOwner
	EventTimes
	EventXattr
	EventStream
	EventSelfRemoved
	EventResync           // events were lost; look again
	EventsAll   EventType = 1<<14 - 1
)

// Event is one change, in order per name and object.
type Event struct {
	Type   EventType
	Dir    FileID // directory that has the name
	Name   Name
	ID     FileID
	Object Type
	Stream string
	Cookie uint64 // joins MovedFrom and MovedTo
	Path   string // relative to the watch, if it is recursive
}

// Watcher delivers changes.
type Watcher interface {
	// Watch delivers events of dir (and below, if recursive) until ctx ends. A
	// watcher that falls behind gets EventResync and the channel closes.
	Watch(ctx context.Context, dir FileID, recursive bool, types EventType) (<-chan Event, error)
}
