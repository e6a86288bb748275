package fs

import "context"

// LockSpace separates families of locks and share modes that do not see each
// other (product rule: NLM and NFSv4 conflict with each other, SMB only with
// SMB), unless strict locking is set.
type LockSpace uint8

// Spaces.
const (
	LockPOSIX LockSpace = iota // NLM, NFSv4 and all who do without locks: advisory, owner's ranges merge and split
	LockSMB                    // SMB: mandatory, ranges stay as they were taken
)

// LockOwner names who holds locks and opens. Client is the unit of recovery
// and release: all locks of a client go together.
type LockOwner struct {
	Client string // NLM caller name or client id: "nlm:host", "smb:session"
	Owner  string // lock owner within the client, opaque bytes
	// Addr is for listings.
	Addr string
}

// LockRange is [Offset, Offset+Length). Length 0 means to the end of all offsets
// in the POSIX space, and in the SMB space no byte: such a lock conflicts with
// ranges that it lies inside of.
type LockRange struct{ Offset, Length uint64 }

// LockRequest asks for a byte-range lock.
type LockRequest struct {
	Node      Node
	Stream    StreamID
	Space     LockSpace
	Owner     LockOwner
	Range     LockRange
	Exclusive bool
	// Reclaim is allowed in the grace period, and only there: else it fails
	// with Grace, as what is no reclaim does in the grace period.
	Reclaim bool
	// Handle ties an SMB lock to its open; 0 otherwise.
	Handle uint64
	// Cookie is the caller's own mark, given back in listings.
	Cookie []byte
}

// LockConflictInfo describes the lock in the way.
type LockConflictInfo struct {
	Owner     LockOwner
	Range     LockRange
	Exclusive bool
}

// LockInfo is a granted or waiting lock in listings.
type LockInfo struct {
	LockRequest
	Waiting bool
}

// Waiter is a blocked lock request in the queue.
type Waiter interface {
	// Granted is closed when the lock has been granted.
	Granted() <-chan struct{}
	// Canceled is closed when the request has left the queue without the lock:
	// by Cancel, or because its owner or client was released.
	Canceled() <-chan struct{}
	// Cancel leaves the queue, or reports false if the lock was granted already.
	Cancel() bool
}

// Locks is the byte-range lock table, one for all protocols.
type Locks interface {
	// Lock grants at once or answers LockConflict with the lock in the way.
	// Grace: only reclaims now.
	Lock(ctx context.Context, c *Caller, r *LockRequest) (*LockConflictInfo, error)
	// LockWait grants at once (nil Waiter), or queues the request in order.
	// Deadlock if waiting would never end (POSIX; SMB waiters can always cancel).
	LockWait(ctx context.Context, c *Caller, r *LockRequest) (Waiter, error)
	// Unlock frees the owner's locks in the range; POSIX splits, SMB needs the exact range (NoLock).
	Unlock(ctx context.Context, c *Caller, r *LockRequest) error
	// TestLock answers the lock that would be in the way, nil if none.
	TestLock(ctx context.Context, c *Caller, r *LockRequest) (*LockConflictInfo, error)
	// CheckIO answers the SMB lock that forbids an open to read or write bytes of
	// a stream, nil if none; another space is bound under strict locking only.
	// Handles ask it themselves; it is there for what goes past them.
	CheckIO(space LockSpace, n Node, s StreamID, handle, off, length uint64, write bool) *LockConflictInfo
	// ReleaseClient frees all locks and waiters of a client; "" Owner.Owner in
	// ReleaseOwner's sense means all owners.
	ReleaseClient(ctx context.Context, client string) (int, error)
	// ReleaseOwner frees all locks and waiters of one owner on one node, or everywhere with the zero Node.
	ReleaseOwner(ctx context.Context, o LockOwner, n Node) (int, error)
	// LockList yields granted and waiting locks: of one node, or all with the zero Node.
	LockList(ctx context.Context, n Node, yield func(*LockInfo) bool) error
	// SetGrace begins or ends the period in which only reclaims are granted.
	SetGrace(on bool)
	// SetStrict makes the spaces see each other, in byte ranges and share modes,
	// or ends that; what conflicts already stays.
	SetStrict(on bool)
}
