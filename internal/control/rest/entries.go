package rest

import (
	"net/http"
	"strings"
	"unicode"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

type entriesPaging struct {
	Next string `json:"next"`
	Prev string `json:"prev"`
}

type entries struct {
	Path       string        `json:"path"`
	ID         u64           `json:"id"`
	ChildCount uint64        `json:"child_count"`
	Files      []fileAttrs   `json:"files"`
	Paging     entriesPaging `json:"paging"`
}

type newEntry struct {
	Name          string     `json:"name"`
	Action        string     `json:"action"`
	OldPath       string     `json:"old_path,omitempty"`
	Clobber       bool       `json:"clobber,omitempty"`
	SymlinkTarget string     `json:"symlink_target_type,omitempty"`
	UnixFileType  string     `json:"unix_file_type,omitempty"`
	MajorMinor    majorMinor `json:"major_minor_numbers,omitzero"`
}

func entryRoutes() []route {
	const path = "/v1/files/{ref}/entries/"
	return []route{
		{Method: "GET", Path: path, Privilege: control.FSAttributesRead, Summary: "A page of a directory, by name.", Out: entries{},
			Query: []query{querySnapshot, {"smb-pattern", "string", "Only names that match, without regard to case; * and ? are wild."}, queryAfter, queryLimit}, handle: listEntries},
		{Method: "POST", Path: path, Privilege: control.FSAttributesRead,
			Summary: "Create, link or rename into a directory: CREATE_FILE, CREATE_DIRECTORY, CREATE_SYMLINK, CREATE_LINK, CREATE_UNIX_FILE or RENAME.",
			In:      newEntry{}, Out: fileAttrs{}, handle: addEntry},
		{Method: "DELETE", Path: "/v1/files/{ref}/entries/{name}", Privilege: control.FSAttributesRead, Summary: "Remove a name from a directory.", handle: removeEntry},
		{Method: "DELETE", Path: "/v1/files/{ref}", Privilege: control.FSAttributesRead, Summary: "Remove a file, link or empty directory.",
			handle: func(q *request) (reply, error) {
				err := q.s.svc.Remove(q.Context(), q.caller(), service.Ref(q.params[0]))
				return reply{}, q.missing(q.params[0], err)
			}},
	}
}

// longPage is from how many entries on a page is long.
const longPage = 200

func listEntries(q *request) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	after, err := parseNameKey(p.after)
	if err != nil {
		return reply{}, err
	}
	f, err := q.file(fs.AttrChildren)
	if err != nil {
		return reply{}, err
	}
	if f.Attr.Type != fs.Directory {
		return reply{}, ofKind(fs.NotDir, nil)
	}
	if f.Attr.Children >= longPage && p.limit >= longPage {
		select {
		case q.s.long <- struct{}{}:
			defer func() { <-q.s.long }() // before the answer is sent
		case <-q.Context().Done():
			return reply{}, q.Context().Err()
		}
	}
	matches := pattern(q.arg("smb-pattern"))
	room := q.s.rooms.Get().(*[]byte)
	out := newEntryPage((*room)[:0], f.Path, uint64(f.Attr.Node.ID), f.Attr.Children)
	last, next, more := "", "", false
	var inner error
	_, err = q.s.o.FS.ReadDirByName(q.Context(), q.caller(), f.Attr.Node, after, wantAttrs, func(d *fs.Dirent) bool {
		if d.Attr.Mask == 0 || !matches(d.Name) {
			return true
		}
		if out.n == p.limit {
			more = true
			return false
		}
		if inner = out.add(q, &d.Attr, d.Name); inner != nil {
			return false
		}
		if out.n == p.limit {
			last = strings.Clone(d.Name) // valid only during the call
		}
		return true
	})
	if err == nil {
		err = inner
	}
	if more {
		next = q.next(p, nameKey(last))
	}
	*room = out.end(next)
	if err != nil {
		q.s.vacate(room)
		return reply{}, err
	}
	return reply{room: room}, nil
}

// childPath is the path of an entry of a directory whose path ends in '/'.
func childPath(dir, name string, t fs.Type) string {
	if t == fs.Directory {
		return dir + name + "/"
	}
	return dir + name
}

// pattern matches names as SMB searches do; "" matches all.
func pattern(p string) func(string) bool {
	if p == "" || p == "*" {
		return func(string) bool { return true }
	}
	want := []rune(strings.ToLower(p))
	return func(name string) bool { return wild(want, []rune(strings.ToLower(name))) }
}

// wild matches * and ? in time proportional to the product of the lengths: it
// only ever goes back to the last star.
func wild(p, s []rune) bool {
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == s[j] || unicode.SimpleFold(p[i]) == s[j]):
			i++
			j++
		case star >= 0:
			i = star + 1
			mark++
			j = mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}

// Modes of what is made here: writable by its owner only.
const (
	newFileMode fs.Mode = 0o644
	newDirMode  fs.Mode = 0o755
	newLinkMode fs.Mode = 0o777
)

func addEntry(q *request) (reply, error) {
	in, err := body[newEntry](q)
	if err != nil {
		return reply{}, err
	}
	if in.Action == "" || in.Name == "" {
		return reply{}, decodeError("action and name are required")
	}
	dir, err := q.fileAt(0, fs.AttrType)
	if err != nil {
		return reply{}, err
	}
	if dir.Attr.Type != fs.Directory {
		return reply{}, ofKind(fs.NotDir, nil)
	}
	switch in.Action {
	case "CREATE_LINK":
		return addLink(q, &in, dir)
	case "RENAME":
		return rename(q, &in, dir)
	}
	spec, err := createSpec(&in)
	if err != nil {
		return reply{}, err
	}
	made, err := q.s.o.FS.Create(q.Context(), q.caller(), dir.Attr.Node, in.Name, spec)
	if err != nil {
		return reply{}, taken(err, in.Name)
	}
	f := service.File{Attr: made.Attr, Path: childPath(dir.Path, in.Name, spec.Type)}
	if made.Attr.Mask&wantAttrs != wantAttrs {
		return q.reread(f, wantAttrs)
	}
	return q.attributes(f)
}

func taken(err error, name string) error {
	if fs.KindOf(err) != fs.Exist {
		return err
	}
	return &apiError{Status: http.StatusConflict, Class: "fs_entry_exists_error", Text: "Entry already exists: '" + name + "'", cause: err}
}

func createSpec(in *newEntry) (*fs.CreateSpec, error) {
	spec := &fs.CreateSpec{Want: wantAttrs}
	mode := newFileMode
	switch in.Action {
	case "CREATE_FILE":
		spec.Type = fs.File
	case "CREATE_DIRECTORY":
		spec.Type, mode = fs.Directory, newDirMode
	case "CREATE_SYMLINK":
		if in.OldPath == "" {
			return nil, decodeError("old_path is required: it is the target of the link")
		}
		spec.Type, spec.Target, mode = fs.Symlink, []byte(in.OldPath), newLinkMode
		known := in.SymlinkTarget == ""
		for hint, name := range hintNames {
			if name == in.SymlinkTarget {
				spec.SymlinkHint, known = hint, true
			}
		}
		if !known {
			return nil, decodeError("symlink_target_type is %q", in.SymlinkTarget)
		}
	case "CREATE_UNIX_FILE":
		for t, name := range typeNames {
			if name == in.UnixFileType && t != fs.Symlink && t != fs.Directory {
				spec.Type = t
			}
		}
		if spec.Type == fs.TypeNone {
			return nil, decodeError("unix_file_type is %q", in.UnixFileType)
		}
		spec.RdevMajor, spec.RdevMinor = in.MajorMinor.Major, in.MajorMinor.Minor
	default:
		return nil, decodeError("action is %q", in.Action)
	}
	spec.Set.Mode = &mode
	return spec, nil
}

func addLink(q *request, in *newEntry, dir service.File) (reply, error) {
	if in.OldPath == "" {
		return reply{}, decodeError("old_path is required: it is the file to link to")
	}
	target, err := q.s.svc.File(q.Context(), q.caller(), service.Ref(in.OldPath), 0, fs.AttrType)
	if err != nil {
		return reply{}, q.missing(in.OldPath, err)
	}
	if _, err := q.s.o.FS.Link(q.Context(), q.caller(), target.Attr.Node, dir.Attr.Node, in.Name); err != nil {
		return reply{}, taken(err, in.Name)
	}
	return q.reread(service.File{Attr: target.Attr, Path: childPath(dir.Path, in.Name, target.Attr.Type)}, wantAttrs)
}

func rename(q *request, in *newEntry, dir service.File) (reply, error) {
	if in.OldPath == "" {
		return reply{}, decodeError("old_path is required: it is what moves")
	}
	e, err := q.s.svc.Entry(q.Context(), q.caller(), service.Ref(in.OldPath))
	if err != nil {
		return reply{}, q.missing(in.OldPath, err)
	}
	moved, err := q.s.o.FS.Rename(q.Context(), q.caller(), e.Dir, e.Name, dir.Attr.Node, in.Name, fs.RenameOptions{NoReplace: !in.Clobber})
	if err != nil {
		return reply{}, q.missing(in.OldPath, taken(err, in.Name))
	}
	a, err := q.s.o.FS.GetAttr(q.Context(), q.caller(), moved.Node, wantAttrs)
	if err != nil {
		return reply{}, err
	}
	return q.attributes(service.File{Attr: a, Path: childPath(dir.Path, in.Name, a.Type)})
}

func removeEntry(q *request) (reply, error) {
	dir, err := q.fileAt(0, fs.AttrType)
	if err != nil {
		return reply{}, err
	}
	_, err = q.s.o.FS.Remove(q.Context(), q.caller(), dir.Attr.Node, q.params[1], fs.RemoveAny)
	return reply{}, q.missing(childPath(dir.Path, q.params[1], fs.File), err)
}
