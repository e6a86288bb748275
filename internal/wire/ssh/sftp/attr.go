package sftp

import (
	"fmt"
	"math"
	"strings"
	"time"

	"manifold/internal/fs"
	"manifold/internal/identity"
)

// File types in a mode, numbered as in POSIX.
var typeBits = map[fs.Type]uint32{
	fs.File: 0o100000, fs.Directory: 0o040000, fs.Symlink: 0o120000, fs.FIFO: 0o010000,
	fs.Socket: 0o140000, fs.CharDevice: 0o020000, fs.BlockDevice: 0o060000,
}

var typeLetters = map[fs.Type]byte{
	fs.File: '-', fs.Directory: 'd', fs.Symlink: 'l', fs.FIFO: 'p',
	fs.Socket: 's', fs.CharDevice: 'c', fs.BlockDevice: 'b',
}

// seconds are clipped to what 32 bits hold.
func seconds(t fs.Time) uint32 {
	return uint32(max(0, min(t.Sec, math.MaxUint32)))
}

// wire renders attributes.
func (s *session) wire(a *fs.Attr) attrs {
	return attrs{
		flags: attrSize | attrUIDGID | attrMode | attrTimes,
		size:  a.Size, uid: s.Identities.UIDOf(a.Owner), gid: s.Identities.GIDOf(a.Group),
		mode: uint32(a.Mode&fs.ModeAll) | typeBits[a.Type], atime: seconds(a.Atime), mtime: seconds(a.Mtime),
	}
}

// long renders an entry as "ls -l" does, which OpenSSH's client shows as it is.
func (s *session) long(name string, a *fs.Attr, now time.Time) string {
	m := []byte("-rwxrwxrwx")
	m[0] = typeLetters[a.Type]
	if m[0] == 0 {
		m[0] = '?'
	}
	for i := range 9 {
		if a.Mode&(1<<(8-i)) == 0 {
			m[1+i] = '-'
		}
	}
	special := func(bit fs.Mode, at int, set, unset byte) {
		if a.Mode&bit == 0 {
			return
		}
		if m[at] == '-' {
			m[at] = unset
		} else {
			m[at] = set
		}
	}
	special(fs.ModeSetuid, 3, 's', 'S')
	special(fs.ModeSetgid, 6, 's', 'S')
	special(fs.ModeSticky, 9, 't', 'T')
	t := a.Mtime.Time()
	when := t.Format("Jan _2 15:04")
	if age := now.Sub(t); age > 182*24*time.Hour || age < -24*time.Hour {
		when = t.Format("Jan _2  2006")
	}
	return fmt.Sprintf("%s %4d %-8d %-8d %8d %s %s", m, a.Links, s.Identities.UIDOf(a.Owner), s.Identities.GIDOf(a.Group), a.Size, when, strings.ToValidUTF8(name, "?"))
}

// set turns wire attributes into changes. A number that is already shown for
// the owner or group stays what it is, so that a change of one does not turn
// the other from a directory's user into a bare number.
func (s *session) set(a *attrs, now *fs.Attr) *fs.SetAttr {
	var q fs.SetAttr
	if a.flags&attrSize != 0 {
		q.Size = &a.size
	}
	if a.flags&attrUIDGID != 0 {
		if now == nil || a.uid != s.Identities.UIDOf(now.Owner) {
			u := identity.UID(a.uid)
			q.Owner = &u
		}
		if now == nil || a.gid != s.Identities.GIDOf(now.Group) {
			g := identity.GID(a.gid)
			q.Group = &g
		}
	}
	if a.flags&attrMode != 0 {
		m := fs.Mode(a.mode) & fs.ModeAll
		q.Mode = &m
	}
	if a.flags&attrTimes != 0 {
		q.Atime = &fs.TimeSet{Time: fs.Time{Sec: int64(a.atime)}}
		q.Mtime = &fs.TimeSet{Time: fs.Time{Sec: int64(a.mtime)}}
	}
	return &q
}
