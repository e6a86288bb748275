package fs

import "context"

// MaxStageOwner bounds the owner of a staged file.
const MaxStageOwner = 512

// MaxPublishMeta bounds the metadata that one Publish sets: keys and values
// together, and their number. More is set on the staged file before.
const (
	MaxPublishMetaBytes = 512 << 10
	MaxPublishMetaItems = 64
	MaxPublishLinks     = 4
	// MaxMoves bounds the moves of one transaction.
	MaxMoves = 8
)

// StageSpec says what a staged file is for.
type StageSpec struct {
	// Dir is a live directory at or above the place where the file is going to
	// be. Its quotas bound what may be written, so that a file which could
	// never be published fails early. It may go away meanwhile.
	Dir Node
	// Owner names the work that the file belongs to, for ListStaged; at most
	// MaxStageOwner bytes, no NUL. A file with an owner stays until it is
	// published or unstaged. One without is freed when the server starts anew,
	// so that a crash leaves nothing behind.
	Owner string
}

// Staged is a staged file in a listing.
type Staged struct {
	Owner string
	Node  Node
	Dir   FileID // of its StageSpec
	Size  uint64
}

// MetaItem is one entry of user-visible metadata.
type MetaItem struct {
	Space MetaSpace
	Key   string
	Value []byte
}

// Entry is a name in a directory.
type Entry struct {
	Dir  Node
	Name Name
}

// Version is an object as it was seen: Attr.Node.ID and Attr.Change of one answer.
type Version struct {
	ID     FileID
	Change uint64
}

// Move changes a name of something that is no directory: From becomes To, or
// goes if To is zero, or stays besides To if Keep is set.
type Move struct {
	From Entry
	// Is, if not 0, is what From must stand for, or the call fails with RevisionMismatch.
	Is   FileID
	To   Entry
	Keep bool
}

// PublishSpec says how a staged file appears.
type PublishSpec struct {
	// Set are attributes as of a Create: owner, group, mode or what the
	// directory's ACL makes of it, DOS attributes, times, retention and legal
	// hold. Times that are not set are the moment of the call. Size must be nil.
	Set SetAttr
	// Meta is set in the same transaction, over what the staged file has.
	Meta []MetaItem
	// Links are further names, made in the same transaction; they must be free (Exist).
	Links []Entry
	// Moves are made in the same transaction, before the file takes its names,
	// with the rules of Rearrange.
	Moves []Move
	// Within, if not zero, is the one directory in which the caller's permission
	// is asked: names elsewhere lie in directories that the calling program keeps.
	Within Node
	// NoReplace fails with Exist if the name is taken.
	NoReplace bool
	// Replaces, if set, is what the name must stand for and how, or the call
	// fails with RevisionMismatch: an absent name, another object, or one that
	// has changed since.
	Replaces *Version
	// Want are the attributes to answer.
	Want AttrMask
}

// PublishResult answers a Publish.
type PublishResult struct {
	Attr     Attr
	Dir      Changed
	Replaced Node // what was there, zero if nothing
}

// Staging builds files out of sight. A staged file is a regular file without a
// name: in no directory, no totals, no snapshot, seen by nobody but who knows
// its node. Who staged it owns it with mode 0600, and reads, writes, resizes
// and describes it by its node through Files and Metadata like any other file;
// Link and Rename do not know it. It takes its names whole and at once.
type Staging interface {
	// Stage makes an empty staged file. Errors: NotDir, Stale, ReadOnly, NameTooLong.
	Stage(ctx context.Context, c *Caller, s *StageSpec) (Node, error)

	// Publish gives a staged file the name in dir, replacing a file that has
	// it as Rename would. All of its data are durable when the call returns.
	// Needs what Create in dir and, for what it replaces, Remove need; owner,
	// permissions and inherited entries are those of a file that c makes there.
	// The replaced object lives on while it has links or opens. On an error
	// the file stays staged. What no state of the file system allows (ReadOnly,
	// what is no name, limits of the call) is refused first, then the staged file,
	// the moves and the names are looked at in their order. Errors: Stale (not
	// staged, or dir is gone), Exist, RevisionMismatch, IsDir, Access, Perm,
	// QuotaExceeded, WORM, TooMany.
	Publish(ctx context.Context, c *Caller, staged, dir Node, name Name, p *PublishSpec) (PublishResult, error)

	// Rearrange makes moves in their order and in one transaction, all or none;
	// up to MaxMoves. Each needs what Remove of From and Link of To need, but that
	// with within not zero the caller's permission is asked in that directory
	// only, and that a locked object may change names as long as it keeps one.
	// An object that loses its last name lives on while it is open. Errors:
	// NotExist, Exist (To is taken), RevisionMismatch, IsDir (From is a
	// directory), Access, Perm, WORM, Stale, TooMany.
	Rearrange(ctx context.Context, c *Caller, moves []Move, within Node) error

	// Splice appends the default streams of parts, in their order, to the end
	// of dst, by reference: no data are copied but small rests. It answers the
	// new size. dst is staged; parts, staged or not, need read and stay as
	// they are. After an error dst may have got some of it.
	Splice(ctx context.Context, c *Caller, dst Node, parts []Node) (uint64, error)

	// Unstage frees a staged file. Stale: it is none (any more). Needs ownership.
	Unstage(ctx context.Context, c *Caller, staged Node) error

	// ListStaged yields the staged files whose owner begins with prefix, those
	// without owner not among them, in order of owner and id, the ones greater
	// than after (its Owner and Node.ID; nil: from the start). The caller has
	// the right to see them all.
	ListStaged(ctx context.Context, prefix string, after *Staged, yield func(*Staged) bool) error
}
