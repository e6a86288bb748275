package fs

import (
	"errors"
	"fmt"
)

// Kind classifies an error for every protocol alike. Closed and append-only:
// each protocol maps every Kind to its own code, and a test walks them all.
type Kind uint8

// Kinds.
const (
	Other            Kind = iota // a fault of ours; protocols answer their I/O or server error
	NotExist                     // no such name in the directory
	Stale                        // the object of a node or handle is gone
	Exist                        // the name is taken
	NotDir                       // a directory was needed
	IsDir                        // a directory is not allowed here
	NotEmpty                     // directory not empty
	NotFile                      // a regular file was needed
	NotSymlink                   // a symlink was needed
	Access                       // permission bits or ACL forbid it
	Perm                         // only the owner or the superuser may do it
	ReadOnly                     // snapshot, read-only export or read-only system
	Invalid                      // an argument makes no sense
	NameInvalid                  // empty name, '/', NUL, or reserved such as ".snapshot"
	NameTooLong                  // over 255 bytes
	TooBig                       // offset or size over 2^63-1
	NoSpace                      // the system is full
	QuotaExceeded                // a directory quota would be exceeded
	TooManyLinks                 // over 1,024 hard links
	CrossDevice                  // rename or link between live tree and snapshot
	Loop                         // a directory would move below itself
	Sharing                      // a share mode of another open forbids it
	LockConflict                 // a byte-range lock of another owner forbids it
	Deadlock                     // waiting would never end
	NoLock                       // unlock or cancel of a lock that is not held
	Retry                        // try again soon: a lease break, a grace period, an engine fail-over
	Grace                        // only reclaims are granted now
	WORM                         // retention or legal hold forbids it
	Corrupt                      // stored bytes fail their checksum
	NotSupported                 // this object or system does not offer it
	BadCookie                    // a directory cookie or paging key that was never given out
	NoAttr                       // no such extended attribute, stream or metadata key
	TooMany                      // over a count limit: ACEs, streams, snapshots
	TooSmall                     // the caller's buffer cannot hold one item
	Busy                         // in use: a mounted or shared object, a snapshot with owners
	RevisionMismatch             // If-Match or guard does not hold
	Canceled                     // the caller gave up
	Unavailable                  // an engine is away
	kindCount
)

// Kinds lists all Kinds, for tests that walk them.
func Kinds() []Kind {
	ks := make([]Kind, kindCount)
	for i := range ks {
		ks[i] = Kind(i)
	}
	return ks
}

var kindNames = [kindCount]string{
	"other error", "no such entry", "stale object", "entry exists", "not a directory", "is a directory",
	"directory not empty", "not a regular file", "not a symlink", "access denied", "not permitted",
	"read-only", "invalid argument", "invalid name", "name too long", "too big", "no space left",
	"quota exceeded", "too many links", "crosses file systems", "directory loop", "sharing violation",
	"lock conflict", "deadlock", "no such lock", "try again", "in grace period", "retention lock",
	"data corrupt", "not supported", "bad cookie", "no such attribute", "too many", "buffer too small",
	"busy", "revision mismatch", "canceled", "unavailable",
}

// String names the Kind for people.
func (k Kind) String() string {
	if k < kindCount {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Error makes a Kind usable as a target of errors.Is and as a sentinel.
func (k Kind) Error() string { return k.String() }

// Error is the one error type of the contract.
type Error struct {
	Op    string // what was being done: "rename"
	Node  Node   // the object, zero if none
	Name  string // the name in it, "" if none
	Kind  Kind
	Cause error // nil if the kind says it all
}

// Error renders the operation, object, kind and cause.
func (e *Error) Error() string {
	s := e.Op
	if e.Node != (Node{}) {
		s += " " + e.Node.String()
	}
	if e.Name != "" {
		s += fmt.Sprintf(" %q", e.Name)
	}
	s += ": " + e.Kind.String()
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is matches a bare Kind.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// E builds an Error.
func E(op string, n Node, name string, k Kind, cause error) *Error {
	return &Error{Op: op, Node: n, Name: name, Kind: k, Cause: cause}
}

// KindOf returns the Kind of err: of the outermost *Error or Kind in its chain, Other if none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return Other
}
