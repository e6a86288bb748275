package ftp

import "manifold/internal/fs"

// codeOf gives the reply code of a failed file command (RFC 959 4.2).
func codeOf(err error) int {
	switch fs.KindOf(err) {
	case fs.NoSpace, fs.QuotaExceeded:
		return 552
	case fs.NameInvalid, fs.NameTooLong:
		return 553
	case fs.Sharing, fs.LockConflict, fs.Retry, fs.Grace, fs.Busy, fs.Unavailable, fs.Canceled:
		return 450
	case fs.Other, fs.Corrupt:
		return 451
	}
	return 550
}

// textOf says what went wrong, without telling about the inside.
func textOf(err error) string {
	k := fs.KindOf(err)
	switch k {
	case fs.Other:
		return "Server error."
	case fs.NotExist:
		return "No such file or directory."
	case fs.Access, fs.Perm:
		return "Permission denied."
	}
	s := []byte(k.String())
	if s[0] >= 'a' && s[0] <= 'z' {
		s[0] -= 'a' - 'A'
	}
	return string(s) + "."
}
