package fs

import "context"

// Share says what others may do while an open lives.
type Share uint8

// Share bits, numbered as in [MS-SMB2] 2.2.13.
const (
	ShareRead   Share = 1
	ShareWrite  Share = 2
	ShareDelete Share = 4
	ShareAll          = ShareRead | ShareWrite | ShareDelete
)

// OpenDisposition says what to do about an existing or absent file, numbered
// as in [MS-SMB2] 2.2.13.
type OpenDisposition uint8

// Open dispositions.
const (
	OpenSupersede   OpenDisposition = iota // replace the file, or create
	OpenExisting                           // NotExist if absent
	OpenCreate                             // Exist if there
	OpenIf                                 // open or create
	OpenOverwrite                          // truncate; NotExist if absent
	OpenOverwriteIf                        // truncate or create
)

// OpenSpec is one atomic open: name walk, permission, share mode, creation and
// truncation happen together or not at all.
type OpenSpec struct {
	// Dir and Name say what to open; with Name "" Dir itself is the object.
	Dir  Node
	Name Name
	// FoldCase matches Name without regard to case.
	FoldCase bool
	// StreamName opens a named stream ("" is the default data), created like
	// the file by the disposition.
	StreamName string

	// Desired rights; the open fails with Access unless all are granted.
	Desired Rights
	// MaximumAllowed grants what there is beyond Desired.
	MaximumAllowed bool
	Share          Share
	// Space says whose share modes and mandatory locks bind the open and are
	// bound by it.
	Space       LockSpace
	Disposition OpenDisposition
	// Create describes what is made; Type must be File or Directory.
	Create CreateSpec
	// MustBeDir and MustNotBeDir fail with NotDir or IsDir.
	MustBeDir, MustNotBeDir bool
	// DeleteOnClose removes the name when the last handle closes. Needs
	// RightDelete. WORM: the file is locked.
	DeleteOnClose bool
	// Owner groups opens for lock ownership and listing.
	Owner LockOwner
	Want  AttrMask
}

// OpenAction tells what an open did.
type OpenAction uint8

// Actions, numbered as in [MS-SMB2] 2.2.14.
const (
	OpenSuperseded OpenAction = iota
	OpenOpened
	OpenCreated
	OpenOverwritten
)

// OpenResult answers an open.
type OpenResult struct {
	Attr    Attr
	Action  OpenAction
	Granted Rights
	Stream  StreamID
	Dir     Changed // set if a name was made
}

// Opener opens handles.
type Opener interface {
	// Open answers a handle. Errors: Sharing, Access, Exist, NotExist, NotDir,
	// IsDir, Retry (a lease is being broken).
	Open(ctx context.Context, c *Caller, o *OpenSpec) (Handle, OpenResult, error)
	// Opens yields the open handles: of one node, or all with the zero Node.
	Opens(ctx context.Context, n Node, yield func(OpenInfo) bool) error
}

// OpenInfo describes a handle to an administrator.
type OpenInfo struct {
	Handle  uint64
	Node    Node
	Stream  StreamID
	Granted Rights
	Share   Share
	Space   LockSpace
	Owner   LockOwner
	Caller  *Caller
}

// Handle is an open object. It keeps the object alive without a name. Methods
// check the rights granted at open, not the present ones.
type Handle interface {
	ID() uint64
	Node() Node
	Stream() StreamID
	Granted() Rights
	Read(ctx context.Context, off uint64, dst []byte) (ReadResult, error)
	Write(ctx context.Context, w *WriteRequest) (WriteResult, error)
	Flush(ctx context.Context) error
	GetAttr(ctx context.Context, want AttrMask) (Attr, error)
	SetAttr(ctx context.Context, s *SetAttr) (Changed, error)
	// SetDeleteOnClose marks or unmarks. NotEmpty, Access, ReadOnly, WORM.
	SetDeleteOnClose(ctx context.Context, on bool) error
	// Close flushes, drops the handle's locks and its share mode, and deletes
	// if that was asked for. Answers the last error of buffered writes.
	Close(ctx context.Context) error
}
