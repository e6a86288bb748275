package rest

import (
	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
	"manifold/internal/identity"
)

type majorMinor struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
}

type extAttrs struct {
	ReadOnly          bool `json:"read_only"`
	Hidden            bool `json:"hidden"`
	System            bool `json:"system"`
	Archive           bool `json:"archive"`
	Temporary         bool `json:"temporary"`
	Compressed        bool `json:"compressed"`
	NotContentIndexed bool `json:"not_content_indexed"`
	SparseFile        bool `json:"sparse_file"`
	Offline           bool `json:"offline"`
}

type fileLock struct {
	RetentionPeriod *string `json:"retention_period"`
	LegalHold       bool    `json:"legal_hold"`
}

type fileAttrs struct {
	Path                string       `json:"path"`
	Name                string       `json:"name"`
	NumLinks            uint32       `json:"num_links"`
	Type                string       `json:"type"`
	MajorMinor          majorMinor   `json:"major_minor_numbers"`
	SymlinkTarget       string       `json:"symlink_target_type"`
	FileNumber          u64          `json:"file_number"`
	ID                  u64          `json:"id"`
	Mode                string       `json:"mode"`
	Owner               u64          `json:"owner"`
	OwnerDetails        identityText `json:"owner_details"`
	Group               u64          `json:"group"`
	GroupDetails        identityText `json:"group_details"`
	Blocks              u64          `json:"blocks"`
	DataBlocks          u64          `json:"datablocks"`
	MetaBlocks          u64          `json:"metablocks"`
	Size                u64          `json:"size"`
	AccessTime          string       `json:"access_time"`
	ModificationTime    string       `json:"modification_time"`
	ChangeTime          string       `json:"change_time"`
	CreationTime        string       `json:"creation_time"`
	ChildCount          uint64       `json:"child_count"`
	ExtendedAttributes  extAttrs     `json:"extended_attributes"`
	HashPolicy          string       `json:"directory_entry_hash_policy"`
	DataRevision        u64          `json:"data_revision"`
	UserMetadataVersion u64          `json:"user_metadata_revision"`
	Lock                *fileLock    `json:"lock,omitempty"`
}

// attrsPatch is what may be set; what else a client sends back is ignored.
type attrsPatch struct {
	Mode             *string       `json:"mode,omitempty"`
	Owner            u64           `json:"owner,omitzero"`
	OwnerDetails     *identityText `json:"owner_details,omitempty"`
	Group            u64           `json:"group,omitzero"`
	GroupDetails     *identityText `json:"group_details,omitempty"`
	Size             u64           `json:"size,omitzero"`
	AccessTime       string        `json:"access_time,omitempty"`
	ModificationTime string        `json:"modification_time,omitempty"`
	ChangeTime       string        `json:"change_time,omitempty"`
	CreationTime     string        `json:"creation_time,omitempty"`
	Extended         *extPatch     `json:"extended_attributes,omitempty"`
}

type extPatch struct {
	ReadOnly          *bool `json:"read_only,omitempty"`
	Hidden            *bool `json:"hidden,omitempty"`
	System            *bool `json:"system,omitempty"`
	Archive           *bool `json:"archive,omitempty"`
	Temporary         *bool `json:"temporary,omitempty"`
	Compressed        *bool `json:"compressed,omitempty"`
	NotContentIndexed *bool `json:"not_content_indexed,omitempty"`
	SparseFile        *bool `json:"sparse_file,omitempty"`
	Offline           *bool `json:"offline,omitempty"`
}

// apply changes the bits that were given.
func (p *extPatch) apply(a fs.DOSAttr) fs.DOSAttr {
	for _, x := range []struct {
		given *bool
		bit   fs.DOSAttr
	}{
		{p.ReadOnly, fs.DOSReadOnly}, {p.Hidden, fs.DOSHidden}, {p.System, fs.DOSSystem}, {p.Archive, fs.DOSArchive},
		{p.Temporary, fs.DOSTemporary}, {p.Compressed, fs.DOSCompressed}, {p.NotContentIndexed, fs.DOSNotContentIndexed},
		{p.SparseFile, fs.DOSSparse}, {p.Offline, fs.DOSOffline},
	} {
		switch {
		case x.given == nil:
		case *x.given:
			a |= x.bit
		default:
			a &^= x.bit
		}
	}
	return a
}

// wantAttrs are the attributes that fileAttrs shows.
const wantAttrs = fs.AttrType | fs.AttrMode | fs.AttrLinks | fs.AttrOwner | fs.AttrGroup | fs.AttrSize | fs.AttrSpace |
	fs.AttrAtime | fs.AttrMtime | fs.AttrCtime | fs.AttrBtime | fs.AttrChange | fs.AttrDOS | fs.AttrChildren

func attributeRoutes() []route {
	const path = "/v1/files/{ref}/info/attributes"
	patch := route{Path: path, Method: "PATCH", Privilege: control.FSAttributesRead, In: attrsPatch{}, Out: fileAttrs{}, Conditional: true,
		Summary: "Set any of mode, owner, group, size, times and extended attributes.", handle: patchAttributes}
	put := patch
	put.Method, put.Summary = "PUT", "The same, for old clients."
	return []route{
		{Method: "GET", Path: path, Privilege: control.FSAttributesRead, Summary: "Attributes of a file.", Out: fileAttrs{},
			Query: []query{querySnapshot, {"retrieve-file-lock", "boolean", "Add the file lock."}}, handle: getAttributes},
		patch, put,
		{Method: "POST", Path: "/v1/files/resolve", Privilege: control.FSAttributesRead, Summary: "Paths of file ids.",
			In: []string{}, Out: []resolved{}, Query: []query{querySnapshot}, handle: resolve},
	}
}

func getAttributes(q *request) (reply, error) {
	var err error
	if q.lock, err = q.argBool("retrieve-file-lock"); err != nil {
		return reply{}, err
	}
	want := wantAttrs
	if q.lock {
		want |= fs.AttrLock
	}
	f, err := q.file(want)
	if err != nil {
		return reply{}, err
	}
	if q.lock { // who may not read the permissions may not read the lock
		ok, err := q.s.o.FS.Access(q.Context(), q.caller(), f.Attr.Node, fs.RightReadACL)
		if err == nil && ok&fs.RightReadACL == 0 {
			err = ofKind(fs.Access, nil)
		}
		if err != nil {
			return reply{}, err
		}
	}
	return q.attributes(f)
}

// attributes answers the record of a file and its tag.
func (q *request) attributes(f service.File) (reply, error) {
	a, err := q.fileAttrs(&f.Attr, f.Path, f.Name())
	return reply{body: a, tag: fileTag(&f.Attr)}, err
}

func (q *request) fileAttrs(a *fs.Attr, path, name string) (fileAttrs, error) {
	// A file's times are often one time, and that of the file before.
	when := func(t fs.Time) string {
		if q.time.text == "" || q.time.of != t {
			q.time.of, q.time.text = t, timestamp(t.Time())
		}
		return q.time.text
	}
	out := fileAttrs{
		Path: path, Name: name, NumLinks: a.Links, Type: typeText(a.Type),
		MajorMinor: majorMinor{a.RdevMajor, a.RdevMinor}, SymlinkTarget: hintNames[a.SymlinkHint],
		FileNumber: num(uint64(a.Node.ID)), ID: num(uint64(a.Node.ID)), Mode: modeText(a.Mode),
		Owner: num(uint64(a.Owner)), Group: num(uint64(a.Group)),
		Blocks: num(a.Blocks()), DataBlocks: num(a.DataBytes / fs.BlockSize), MetaBlocks: num(a.MetaBytes / fs.BlockSize),
		Size:       num(a.Size),
		AccessTime: when(a.Atime), ModificationTime: when(a.Mtime), ChangeTime: when(a.Ctime), CreationTime: when(a.Btime),
		ChildCount: a.Children,
		ExtendedAttributes: extAttrs{
			ReadOnly: a.DOS&fs.DOSReadOnly != 0, Hidden: a.DOS&fs.DOSHidden != 0, System: a.DOS&fs.DOSSystem != 0,
			Archive: a.DOS&fs.DOSArchive != 0, Temporary: a.DOS&fs.DOSTemporary != 0, Compressed: a.DOS&fs.DOSCompressed != 0,
			NotContentIndexed: a.DOS&fs.DOSNotContentIndexed != 0, SparseFile: a.DOS&fs.DOSSparse != 0, Offline: a.DOS&fs.DOSOffline != 0,
		},
		HashPolicy: "FS_DIRECTORY_HASH_VERSION_FOLDED", DataRevision: num(a.DataRevision), UserMetadataVersion: num(0),
	}
	if q.lock { // an implementation may know it unasked
		out.Lock = &fileLock{LegalHold: a.LegalHold}
		if a.Retention != (fs.Time{}) {
			t := timestamp(a.Retention.Time())
			out.Lock.RetentionPeriod = &t
		}
	}
	var err error
	if out.OwnerDetails, err = q.textOf(a.Owner); err != nil {
		return out, err
	}
	out.GroupDetails, err = q.textOf(a.Group)
	return out, err
}

func patchAttributes(q *request) (reply, error) {
	in, err := body[attrsPatch](q)
	if err != nil {
		return reply{}, err
	}
	f, err := q.file(fs.AttrDOS | fs.AttrChange)
	if err != nil {
		return reply{}, err
	}
	set, err := q.setAttr(&in, &f.Attr)
	if err != nil {
		return reply{}, err
	}
	conditional, err := q.match(fileTag(&f.Attr))
	if err != nil {
		return reply{}, err
	}
	if conditional || in.Extended != nil {
		// The change was decided on what was read, so it must still be so.
		set.GuardChange = &f.Attr.Change
	}
	if _, err := q.s.o.FS.SetAttr(q.Context(), q.caller(), f.Attr.Node, set); err != nil {
		if fs.KindOf(err) == fs.RevisionMismatch && !conditional {
			return reply{}, ofKind(fs.Retry, err)
		}
		return reply{}, err
	}
	return q.reread(f, wantAttrs)
}

// reread answers the new state of a file that was changed.
func (q *request) reread(f service.File, want fs.AttrMask) (reply, error) {
	a, err := q.s.o.FS.GetAttr(q.Context(), q.caller(), f.Attr.Node, want)
	if err != nil {
		return reply{}, err
	}
	f.Attr = a
	return q.attributes(f)
}

func (q *request) setAttr(in *attrsPatch, now *fs.Attr) (*fs.SetAttr, error) {
	set := &fs.SetAttr{}
	if in.Mode != nil && *in.Mode != "" {
		m, err := parseMode(*in.Mode)
		if err != nil {
			return nil, err
		}
		set.Mode = &m
	}
	for _, p := range []struct {
		id   u64
		text *identityText
		set  **identity.AuthID
	}{{in.Owner, in.OwnerDetails, &set.Owner}, {in.Group, in.GroupDetails, &set.Group}} {
		switch {
		case p.id.Set && p.id.N == 0:
			return nil, badRequest("cred_invalid_sid_error", "0 is no identity")
		case p.id.Set:
			a := identity.AuthID(p.id.N)
			*p.set = &a
		case p.text != nil && *p.text != identityText{}:
			a, err := q.principal(*p.text)
			if err != nil {
				return nil, err
			}
			*p.set = &a
		}
	}
	if in.Size.Set {
		set.Size = &in.Size.N
	}
	for _, t := range []struct {
		field, text string
		set         **fs.TimeSet
	}{
		{"access_time", in.AccessTime, &set.Atime}, {"modification_time", in.ModificationTime, &set.Mtime},
		{"change_time", in.ChangeTime, &set.Ctime}, {"creation_time", in.CreationTime, &set.Btime},
	} {
		if t.text == "" {
			continue
		}
		at, err := parseTime(t.field, t.text)
		if err != nil {
			return nil, err
		}
		*t.set = &fs.TimeSet{Time: fs.TimeOf(at)}
	}
	if in.Extended != nil {
		if d := in.Extended.apply(now.DOS); d != now.DOS {
			set.DOS = &d
		}
	}
	return set, nil
}

type resolved struct {
	ID   string `json:"id"`
	Path string `json:"path"`
}

// maxResolve bounds how many ids one request may ask for.
const maxResolve = 10_000

func resolve(q *request) (reply, error) {
	ids, err := body[[]string](q)
	if err != nil {
		return reply{}, err
	}
	if len(ids) > maxResolve {
		return reply{}, tooLarge("at most %d ids at a time", maxResolve)
	}
	snap, err := q.snapshot()
	if err != nil {
		return reply{}, err
	}
	out := []resolved{}
	for _, id := range ids {
		n, ok := service.Ref(id).ID()
		if !ok {
			return reply{}, badRequest("decode_error", "%q is not a file id", id)
		}
		f, err := q.s.svc.File(q.Context(), q.caller(), service.Ref(id), snap, fs.AttrType)
		if k := fs.KindOf(err); err != nil && (k == fs.NotExist || k == fs.Stale) {
			out = append(out, resolved{fs.Node{ID: n}.String(), ""})
			continue
		}
		if err != nil {
			return reply{}, err
		}
		out = append(out, resolved{fs.Node{ID: n}.String(), f.Path})
	}
	return reply{body: out}, nil
}
