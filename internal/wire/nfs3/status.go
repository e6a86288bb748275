package nfs3

import (
	"fmt"

	"manifold/internal/fs"
)

// Status is an nfsstat3.
type Status uint32

// Statuses, numbered as in RFC 1813 2.6.
const (
	OK             Status = 0
	ErrPerm        Status = 1
	ErrNoEnt       Status = 2
	ErrIO          Status = 5
	ErrAcces       Status = 13
	ErrExist       Status = 17
	ErrXDev        Status = 18
	ErrNotDir      Status = 20
	ErrIsDir       Status = 21
	ErrInval       Status = 22
	ErrFBig        Status = 27
	ErrNoSpc       Status = 28
	ErrROFS        Status = 30
	ErrMLink       Status = 31
	ErrNameTooLong Status = 63
	ErrNotEmpty    Status = 66
	ErrDQuot       Status = 69
	ErrStale       Status = 70
	ErrBadHandle   Status = 10001
	ErrNotSync     Status = 10002
	ErrBadCookie   Status = 10003
	ErrNotSupp     Status = 10004
	ErrTooSmall    Status = 10005
	ErrServerFault Status = 10006
	ErrBadType     Status = 10007
	ErrJukebox     Status = 10008
)

// String names the status as the RFC does, without its prefix.
func (s Status) String() string {
	switch s {
	case OK:
		return "OK"
	case ErrPerm:
		return "PERM"
	case ErrNoEnt:
		return "NOENT"
	case ErrIO:
		return "IO"
	case ErrAcces:
		return "ACCES"
	case ErrExist:
		return "EXIST"
	case ErrXDev:
		return "XDEV"
	case ErrNotDir:
		return "NOTDIR"
	case ErrIsDir:
		return "ISDIR"
	case ErrInval:
		return "INVAL"
	case ErrFBig:
		return "FBIG"
	case ErrNoSpc:
		return "NOSPC"
	case ErrROFS:
		return "ROFS"
	case ErrMLink:
		return "MLINK"
	case ErrNameTooLong:
		return "NAMETOOLONG"
	case ErrNotEmpty:
		return "NOTEMPTY"
	case ErrDQuot:
		return "DQUOT"
	case ErrStale:
		return "STALE"
	case ErrBadHandle:
		return "BADHANDLE"
	case ErrNotSync:
		return "NOT_SYNC"
	case ErrBadCookie:
		return "BAD_COOKIE"
	case ErrNotSupp:
		return "NOTSUPP"
	case ErrTooSmall:
		return "TOOSMALL"
	case ErrServerFault:
		return "SERVERFAULT"
	case ErrBadType:
		return "BADTYPE"
	case ErrJukebox:
		return "JUKEBOX"
	}
	return fmt.Sprintf("status %d", uint32(s))
}

// statusOfKind maps every kind of error; a test walks them all.
var statusOfKind = map[fs.Kind]Status{
	fs.Other:            ErrServerFault,
	fs.NotExist:         ErrNoEnt,
	fs.Stale:            ErrStale,
	fs.Exist:            ErrExist,
	fs.NotDir:           ErrNotDir,
	fs.IsDir:            ErrIsDir,
	fs.NotEmpty:         ErrNotEmpty,
	fs.NotFile:          ErrInval,
	fs.NotSymlink:       ErrInval,
	fs.Access:           ErrAcces,
	fs.Perm:             ErrPerm,
	fs.ReadOnly:         ErrROFS,
	fs.Invalid:          ErrInval,
	fs.NameInvalid:      ErrInval,
	fs.NameTooLong:      ErrNameTooLong,
	fs.TooBig:           ErrFBig,
	fs.NoSpace:          ErrNoSpc,
	fs.QuotaExceeded:    ErrDQuot,
	fs.TooManyLinks:     ErrMLink,
	fs.CrossDevice:      ErrXDev,
	fs.Loop:             ErrInval,
	fs.Sharing:          ErrJukebox, // an open of another protocol; it may be closed soon
	fs.LockConflict:     ErrJukebox,
	fs.Deadlock:         ErrServerFault,
	fs.NoLock:           ErrServerFault,
	fs.Retry:            ErrJukebox,
	fs.Grace:            ErrJukebox,
	fs.WORM:             ErrROFS,
	fs.Corrupt:          ErrIO,
	fs.NotSupported:     ErrNotSupp,
	fs.BadCookie:        ErrBadCookie,
	fs.NoAttr:           ErrNoEnt,
	fs.TooMany:          ErrNoSpc,
	fs.TooSmall:         ErrTooSmall,
	fs.Busy:             ErrAcces,
	fs.RevisionMismatch: ErrNotSync,
	fs.Canceled:         ErrJukebox, // the server goes down; the client repeats
	fs.Unavailable:      ErrJukebox,
}

// StatusOf answers the status for an error of the contract.
func StatusOf(err error) Status {
	if err == nil {
		return OK
	}
	if s, ok := statusOfKind[fs.KindOf(err)]; ok {
		return s
	}
	return ErrServerFault
}
