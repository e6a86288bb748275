package smb

import (
	"strings"
	"time"

	"manifold/internal/identity"
)

// Enumerations of [MS-SRVS] 3.1.4 that show what others do; they are for
// administrators, as their REST counterparts are.
const (
	opConnEnum  = 8
	opFileEnum  = 9
	opSessEnum  = 12
	opDiskEnum  = 23
	opRemoteTOD = 28
)

// administers tells whether the caller may see sessions and files of others.
func (r *request) administers() bool {
	c := r.caller.Cred
	return c.Superuser || c.Privileges.Has(identity.FileFullAccess) || c.InGroup(identity.Administrators)
}

// row is an entry of an enumeration: numbers and strings in the order of its
// structure. A string stands there as a pointer and follows all rows.
type row []any

// putRows writes a container of rows with its level, and what ends the answer:
// the total, no handle to go on with, and the result.
func (n *ndr) putRows(level uint32, rows []row, result uint32) {
	n.put(level, level)
	n.ptr()
	n.put(uint32(len(rows)))
	if len(rows) == 0 {
		n.put(0)
	} else {
		n.ptr()
		n.put(uint32(len(rows)))
	}
	for _, r := range rows {
		for _, v := range r {
			switch v := v.(type) {
			case uint32:
				n.put(v)
			case string:
				n.ptr()
			}
		}
	}
	for _, r := range rows {
		for _, v := range r {
			if s, ok := v.(string); ok {
				n.putStr(s)
			}
		}
	}
	n.put(uint32(len(rows)), 0, result)
}

// enumerateRPC answers one of the enumerations. Up to three names say what is
// asked for; rows makes them from a level, or answers false for an unknown one.
func (r *request) enumerateRPC(n *ndr, names int, rows func(level uint32, filter []string) ([]row, bool)) ([]byte, bool) {
	n.strp() // the server's own name
	filter := make([]string, names)
	for i := range filter {
		filter[i] = n.strp()
	}
	level := n.u32()
	if n.bad {
		return nil, false
	}
	list, known := rows(level, filter)
	switch {
	case !known:
		n.put(level, level, 0, 0, 0, werrBadLevel)
	case !r.administers():
		n.putRows(level, nil, werrAccessDenied)
	default:
		n.putRows(level, list, werrOK)
	}
	return n.out, true
}

// sessionRows makes SESSION_INFO structures, [MS-SRVS] 2.2.4.11 to 2.2.4.15.
func (r *request) sessionRows(level uint32, filter []string) ([]row, bool) {
	switch level {
	case 0, 1, 2, 10, 502:
	default:
		return nil, false
	}
	var rows []row
	now := r.c.s.o.Now()
	seconds := func(t time.Time) uint32 { return uint32(max(0, now.Sub(t)/time.Second)) }
	for _, s := range r.c.s.Sessions() {
		client := "\\\\" + s.Client.Addr().Unmap().String()
		user := r.c.s.userOf(s.ID)
		if filter[0] != "" && !equalFold(filter[0], client) || filter[1] != "" && !equalFold(filter[1], user) {
			continue
		}
		guest := uint32(0)
		if s.Guest {
			guest = 1
		}
		full := row{client, user, uint32(s.Opens), seconds(s.Opened), seconds(s.Active), guest, "", ""}
		switch level {
		case 0:
			full = full[:1]
		case 1:
			full = full[:6]
		case 2:
			full = full[:7]
		case 10:
			full = row{full[0], full[1], full[3], full[4]}
		}
		rows = append(rows, full)
	}
	return rows, true
}

// userOf is the name that a session was opened with.
func (s *Server) userOf(id uint64) string {
	x := s.session(id)
	if x == nil {
		return ""
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ident == nil {
		return ""
	}
	return x.ident.User
}

// fileRows makes FILE_INFO structures, [MS-SRVS] 2.2.4.6 and 2.2.4.7.
func (r *request) fileRows(level uint32, filter []string) ([]row, bool) {
	if level != 2 && level != 3 {
		return nil, false
	}
	s := r.c.s
	type file struct {
		id                uint64
		permissions, lock uint32
		path              string
		sess              *session
	}
	var files []file
	s.mu.Lock()
	for _, o := range s.opens {
		if o.handle == nil || o.closed || o.tree == nil {
			continue
		}
		permissions := uint32(0)
		for bit, p := range []uint32{1, 2, 4} { // read, write, create: as the rights to data are
			if uint32(o.granted)&(1<<bit) != 0 {
				permissions |= p
			}
		}
		path := "C:\\" + o.path
		if share := o.tree.shared(); share != nil {
			path = "C:" + strings.TrimSuffix(strings.ReplaceAll(share.Path, "/", "\\"), "\\") + "\\" + o.path
		}
		files = append(files, file{o.id, permissions, uint32(o.locks), path, o.sess})
	}
	s.mu.Unlock()
	var rows []row
	for _, f := range files {
		user := ""
		if f.sess != nil {
			user = s.userOf(f.sess.id)
		}
		if filter[0] != "" && !strings.HasPrefix(strings.ToLower(f.path), strings.ToLower(filter[0])) || filter[1] != "" && !equalFold(filter[1], user) {
			continue
		}
		full := row{uint32(f.id), f.permissions, f.lock, f.path, user}
		if level == 2 {
			full = full[:1]
		}
		rows = append(rows, full)
	}
	return rows, true
}

// connRows makes CONNECTION_INFO structures, [MS-SRVS] 2.2.4.1 and 2.2.4.2, of a
// share or of a client's name.
func (r *request) connRows(level uint32, filter []string) ([]row, bool) {
	if level > 1 {
		return nil, false
	}
	var rows []row
	now := r.c.s.o.Now()
	for _, s := range r.c.s.Sessions() {
		client := "\\\\" + s.Client.Addr().Unmap().String()
		for _, share := range s.Shares {
			if !equalFold(filter[0], share) && !equalFold(filter[0], client) {
				continue
			}
			full := row{uint32(s.ID), uint32(0), uint32(s.Opens), uint32(1), uint32(max(0, now.Sub(s.Opened)/time.Second)), r.c.s.userOf(s.ID), share}
			if equalFold(filter[0], share) {
				full[6] = client // the other end is told
			}
			if level == 0 {
				full = full[:1]
			}
			rows = append(rows, full)
		}
	}
	return rows, true
}

// diskEnum answers that no drives are to be seen; level 0 is the only one.
func (n *ndr) diskEnum() ([]byte, bool) {
	n.strp()
	level := n.u32()
	if n.bad {
		return nil, false
	}
	result := uint32(werrOK)
	if level != 0 {
		result = werrBadLevel
	}
	n.put(0, 0, 0, 0, result)
	return n.out, true
}

// remoteTOD tells the time, [MS-SRVS] 2.2.4.105.
func (r *request) remoteTOD(n *ndr) ([]byte, bool) {
	now := r.c.s.o.Now().UTC()
	n.ptr()
	n.put(uint32(now.Unix()), uint32(now.Sub(r.c.s.start)/time.Millisecond))
	n.put(uint32(now.Hour()), uint32(now.Minute()), uint32(now.Second()), uint32(now.Nanosecond()/10_000_000))
	n.put(0, 310) // no zone; ticks of 31 ms
	n.put(uint32(now.Day()), uint32(now.Month()), uint32(now.Year()), uint32(now.Weekday()))
	n.put(werrOK)
	return n.out, true
}
