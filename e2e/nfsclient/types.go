package nfsclient

import (
	"fmt"
	"time"
)

// Status is an nfsstat3 or mountstat3 other than OK, returned as an error.
type Status uint32

// Statuses of RFC 1813 §2.6 that tests name.
const (
	Perm        Status = 1
	NoEnt       Status = 2
	IO          Status = 5
	Access      Status = 13
	Exist       Status = 17
	XDev        Status = 18
	NotDir      Status = 20
	IsDir       Status = 21
	Inval       Status = 22
	FBig        Status = 27
	NoSpc       Status = 28
	ROFS        Status = 30
	MLink       Status = 31
	NameTooLong Status = 63
	NotEmpty    Status = 66
	DQuot       Status = 69
	Stale       Status = 70
	BadHandle   Status = 10001
	NotSync     Status = 10002
	BadCookie   Status = 10003
	NotSupp     Status = 10004
	TooSmall    Status = 10005
	ServerFault Status = 10006
	BadType     Status = 10007
	Jukebox     Status = 10008
)

func (s Status) Error() string { return fmt.Sprintf("NFS3 status %d", uint32(s)) }

// Handle is an opaque file handle.
type Handle string

// Type is an ftype3.
type Type uint32

// Types.
const (
	Reg     Type = 1
	Dir     Type = 2
	Block   Type = 3
	Char    Type = 4
	Symlink Type = 5
	Socket  Type = 6
	FIFO    Type = 7
)

// Attr is a fattr3.
type Attr struct {
	Type                Type
	Mode, Nlink         uint32
	UID, GID            uint32
	Size, Used          uint64
	Major, Minor        uint32
	FSID, FileID        uint64
	Atime, Mtime, Ctime time.Time
}

// SetAttr is a sattr3; nil fields stay as they are.
type SetAttr struct {
	Mode, UID, GID *uint32
	Size           *uint64
	Atime, Mtime   *time.Time
	// Touch sets both times to the server's clock where no time is given.
	Touch bool
}

func (w *writer) sattr(s SetAttr) {
	for _, p := range []*uint32{s.Mode, s.UID, s.GID} {
		if p == nil {
			w.u32(0)
			continue
		}
		w.u32(1)
		w.u32(*p)
	}
	if s.Size == nil {
		w.u32(0)
	} else {
		w.u32(1)
		w.u64(*s.Size)
	}
	for _, p := range []*time.Time{s.Atime, s.Mtime} {
		switch {
		case p != nil:
			w.u32(2)
			w.u32(uint32(p.Unix()))
			w.u32(uint32(p.Nanosecond()))
		case s.Touch:
			w.u32(1)
		default:
			w.u32(0)
		}
	}
}

func (r *reader) time() time.Time {
	s := r.u32()
	return time.Unix(int64(s), int64(r.u32()))
}

func (r *reader) attr() *Attr {
	a := &Attr{Type: Type(r.u32()), Mode: r.u32(), Nlink: r.u32(), UID: r.u32(), GID: r.u32(),
		Size: r.u64(), Used: r.u64(), Major: r.u32(), Minor: r.u32(), FSID: r.u64(), FileID: r.u64()}
	a.Atime, a.Mtime, a.Ctime = r.time(), r.time(), r.time()
	return a
}

// postAttr reads a post_op_attr; nil if absent.
func (r *reader) postAttr() *Attr {
	if !r.bool() {
		return nil
	}
	return r.attr()
}

// WCC is what a mutation says of an object before and after it.
type WCC struct {
	Before *BeforeAttr
	After  *Attr
}

// BeforeAttr is a wcc_attr.
type BeforeAttr struct {
	Size         uint64
	Mtime, Ctime time.Time
}

func (r *reader) wcc() WCC {
	var w WCC
	if r.bool() {
		w.Before = &BeforeAttr{r.u64(), r.time(), r.time()}
	}
	w.After = r.postAttr()
	return w
}

// Stable is a stable_how.
type Stable uint32

// How stable a write is before its reply.
const (
	Unstable Stable = iota
	DataSync
	FileSync
)

// Verifier changes when unstable writes may have been lost.
type Verifier [8]byte

func (r *reader) verifier() (v Verifier) {
	copy(v[:], r.take(8))
	return v
}

// Entry is one directory entry; Attr and Handle only from ReadDirPlus.
type Entry struct {
	FileID uint64
	Name   string
	Cookie uint64
	Attr   *Attr
	Handle Handle
}
