package audit

import (
	"net/netip"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// Record is one thing that somebody did. It is only read during [Log.Add], so
// its texts may lie in memory that is used again.
type Record struct {
	User      identity.AuthID
	Client    netip.Addr
	Protocol  string
	Operation string
	// Status is "ok" or an error class without its suffix.
	Status string

	// Of operations on files: the object, its path, and another path. A path
	// is that of a directory and, unless empty, a name in it.
	FileID                 uint64
	Path, Name             string
	Target, TargetName     string
	Offset, Size, FileSize Number
	// Before and After are what a change of attributes found and left.
	Before, After *Attributes

	// Extra names what an operation that is on no file was about.
	Extra, Extra2 string
}

// Number is an optional one.
type Number struct {
	Set bool
	N   uint64
}

func number(n uint64) Number { return Number{true, n} }

// Attributes of an object as a record shows them.
type Attributes struct {
	Set          bool
	Ctime, Mtime fs.Time
	Owner, Group identity.AuthID
	Mode         fs.Mode
	Size         uint64
}

func attributesBefore(b *fs.Before) Attributes {
	return Attributes{b.Set, b.Ctime, b.Mtime, b.Owner, b.Group, b.Mode, b.Size}
}

func attributesOf(a *fs.Attr) Attributes {
	const all = fs.AttrCtime | fs.AttrMtime | fs.AttrOwner | fs.AttrGroup | fs.AttrMode | fs.AttrSize
	return Attributes{a.Mask&all == all, a.Ctime, a.Mtime, a.Owner, a.Group, a.Mode, a.Size}
}

// Format of the message part.
type Format string

// Formats.
const (
	CSV  Format = "csv"
	JSON Format = "json"
)

// Names tells how a principal is called; empty texts are unknown. It is asked
// within the call that is recorded and must not wait.
type Names func(a identity.AuthID) (name, sid string)
