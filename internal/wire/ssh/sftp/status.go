package sftp

import (
	"errors"

	"manifold/internal/fs"
)

// Status codes of version 3 (section 7).
const (
	statusOK               = 0
	statusEOF              = 1
	statusNoSuchFile       = 2
	statusPermissionDenied = 3
	statusFailure          = 4
	statusBadMessage       = 5
	statusUnsupported      = 8
)

// errEOF and errUnsupported are answers that no Kind stands for.
var (
	errEOF         = errors.New("end of file")
	errUnsupported = errors.New("operation not supported")
	errBadHandle   = errors.New("no such handle")
)

// statusOf turns an error into a code and a text. Version 3 knows few codes;
// the text says which failure it was, without telling about the inside.
func statusOf(err error) (uint32, string) {
	switch {
	case err == nil:
		return statusOK, "Success"
	case errors.Is(err, errEOF):
		return statusEOF, "End of file"
	case errors.Is(err, errUnsupported):
		return statusUnsupported, "Operation unsupported"
	case errors.Is(err, errBadHandle):
		return statusFailure, "No such handle"
	case errors.Is(err, errShort):
		return statusBadMessage, "Bad message"
	}
	k := fs.KindOf(err)
	switch k {
	case fs.NotExist, fs.Stale, fs.NotDir:
		return statusNoSuchFile, text(k)
	case fs.Access, fs.Perm, fs.ReadOnly, fs.WORM:
		return statusPermissionDenied, text(k)
	case fs.NotSupported:
		return statusUnsupported, text(k)
	case fs.Other:
		return statusFailure, "Server error"
	}
	return statusFailure, text(k)
}

// text starts a Kind's words with a capital letter, as clients print them.
func text(k fs.Kind) string {
	s := []byte(k.String())
	if s[0] >= 'a' && s[0] <= 'z' {
		s[0] -= 'a' - 'A'
	}
	return string(s)
}
