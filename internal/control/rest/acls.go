package rest

import (
	"slices"
	"strconv"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
	"manifold/internal/fs/acl"
	"manifold/internal/identity"
)

// ace is an entry of a version 2 ACL, ace1 of the older form.
type ace struct {
	Type    string         `json:"type"`
	Flags   []string       `json:"flags"`
	Trustee identityRecord `json:"trustee"`
	Rights  []string       `json:"rights"`
}

type ace1 struct {
	Type           string       `json:"type"`
	Flags          []string     `json:"flags"`
	Trustee        string       `json:"trustee"`
	TrusteeDetails identityText `json:"trustee_details"`
	Rights         []string     `json:"rights"`
}

type aclHead struct {
	Control []string `json:"control"`
	Special []string `json:"posix_special_permissions"`
}

type acl2 struct {
	aclHead
	ACEs []ace `json:"aces"`
}

type acl1 struct {
	aclHead
	ACEs []ace1 `json:"aces"`
}

type wrappedACL struct {
	Generated bool `json:"generated"`
	ACL       acl1 `json:"acl"`
}

type aceRequest struct {
	Type    string        `json:"type"`
	Flags   []string      `json:"flags"`
	Trustee identityQuery `json:"trustee"`
	Rights  []string      `json:"rights"`
}

type ace1Request struct {
	Type           string        `json:"type"`
	Flags          []string      `json:"flags"`
	Trustee        u64           `json:"trustee"`
	TrusteeDetails *identityText `json:"trustee_details,omitempty"`
	Rights         []string      `json:"rights"`
}

type aclRequest[A any] struct {
	Control *[]string `json:"control,omitempty"`
	Special *[]string `json:"posix_special_permissions,omitempty"`
	ACEs    []A       `json:"aces"`
}

func aclRoutes() []route {
	const (
		v1, v2 = "/v1/files/{ref}/info/acl", "/v2/files/{ref}/info/acl"
		p      = control.FSAttributesRead
	)
	snap := []query{querySnapshot}
	rs := []route{
		{Method: "GET", Path: v1, Summary: "Permissions of a file, with trustees by type and value.", Out: wrappedACL{}, Query: snap, handle: getACL1},
		{Method: "PUT", Path: v1, Summary: "Replace the permissions of a file.", In: aclRequest[ace1Request]{}, Out: wrappedACL{}, Conditional: true, handle: putACL1},
		{Method: "GET", Path: v2, Summary: "Permissions of a file, with full identities.", Out: acl2{}, Query: snap, handle: getACL2},
		{Method: "PUT", Path: v2, Summary: "Replace the permissions of a file.", In: aclRequest[aceRequest]{}, Out: acl2{}, Conditional: true, handle: putACL2},
		{Method: "POST", Path: v1 + "/explain-posix-mode", Summary: "How the mode follows from the permissions.", Out: modeExplanation{}, Query: snap, handle: explainMode},
		{Method: "POST", Path: v1 + "/explain-rights", Summary: "What somebody may do, entry by entry.", In: rightsRequest{}, Out: rightsExplanation{}, Query: snap, handle: explainRights},
		{Method: "POST", Path: v1 + "/explain-set-mode", Summary: "What setting a mode would do to the permissions.", In: setModeRequest{}, Out: setModeExplanation{}, Query: snap, handle: explainSetMode},
	}
	for i := range rs {
		rs[i].Privilege = p
	}
	return rs
}

// named is one word of a set of bits.
type named[B ~uint8 | ~uint16 | ~uint32] struct {
	name string
	bits B
}

var rightNames = []named[fs.Rights]{
	{"READ", fs.RightRead}, {"READ_EA", fs.RightReadEA}, {"READ_ATTR", fs.RightReadAttr}, {"READ_ACL", fs.RightReadACL},
	{"WRITE_EA", fs.RightWriteEA}, {"WRITE_ATTR", fs.RightWriteAttr}, {"WRITE_ACL", fs.RightWriteACL}, {"CHANGE_OWNER", fs.RightChangeOwner},
	{"WRITE_GROUP", fs.RightWriteGroup}, {"DELETE", fs.RightDelete}, {"EXECUTE", fs.RightExecute}, {"MODIFY", fs.RightModify},
	{"EXTEND", fs.RightExtend}, {"ADD_FILE", fs.RightAddFile}, {"ADD_SUBDIR", fs.RightAddSubdir}, {"DELETE_CHILD", fs.RightDeleteChild},
	{"SYNCHRONIZE", fs.RightSynchronize}, {"ACCESS_RIGHTS_ALL", fs.RightsAll},
}

var flagNames = []named[fs.ACEFlags]{
	{"OBJECT_INHERIT", fs.ACEObjectInherit}, {"CONTAINER_INHERIT", fs.ACEContainerInherit}, {"NO_PROPAGATE_INHERIT", fs.ACENoPropagateInherit},
	{"INHERIT_ONLY", fs.ACEInheritOnly}, {"INHERITED", fs.ACEInherited}, {"ACE_FLAGS_ALL", 0x1f},
}

var controlNames = []named[fs.ACLControl]{
	{"PRESENT", fs.ACLPresent}, {"DEFAULTED", fs.ACLDefaulted}, {"TRUSTED", fs.ACLTrusted}, {"AUTO_INHERIT", fs.ACLAutoInherited},
	{"PROTECTED", fs.ACLProtected}, {"ACL_CONTROLS_ALL", fs.ACLPresent | fs.ACLDefaulted | fs.ACLTrusted | fs.ACLAutoInherited | fs.ACLProtected},
}

var specialNames = []named[fs.Mode]{{"STICKY_BIT", 0o1000}, {"SET_GID", 0o2000}, {"SET_UID", 0o4000}}

// words names the single bits of a set.
func words[B ~uint8 | ~uint16 | ~uint32](names []named[B], set B) []string {
	out := []string{}
	for _, n := range names {
		if set&n.bits != 0 && n.bits&(n.bits-1) == 0 {
			out = append(out, n.name)
		}
	}
	return out
}

func parseWords[B ~uint8 | ~uint16 | ~uint32](what string, names []named[B], in []string) (B, error) {
	var set B
next:
	for _, w := range in {
		for _, n := range names {
			if n.name == w {
				set |= n.bits
				continue next
			}
		}
		return 0, decodeError("%s has no %q", what, w)
	}
	return set, nil
}

// rights names rights as they apply to the type of object: to add a file is to
// modify a directory, so a directory has the words of both.
func rights(r fs.Rights, isDir bool) []string {
	out := words(rightNames, r)
	if isDir {
		return out
	}
	files := out[:0]
	for _, w := range out {
		if w != "ADD_FILE" && w != "ADD_SUBDIR" {
			files = append(files, w)
		}
	}
	return files
}

var aceTypes = map[fs.ACEType]string{fs.ACEAllow: "ALLOWED", fs.ACEDeny: "DENIED"}

func parseACE(typ string, flags, rights []string) (fs.ACE, error) {
	var e fs.ACE
	switch typ {
	case "ALLOWED":
	case "DENIED":
		e.Type = fs.ACEDeny
	default:
		return e, decodeError("type of an entry is %q, want ALLOWED or DENIED", typ)
	}
	var err error
	if e.Flags, err = parseWords("flags", flagNames, flags); err != nil {
		return e, err
	}
	e.Rights, err = parseWords("rights", rightNames, rights)
	return e, err
}

func head(a *fs.ACL) aclHead {
	return aclHead{words(controlNames, a.Control|fs.ACLPresent), words(specialNames, a.Mode&0o7000)}
}

func (q *request) ace(e *fs.ACE, isDir bool) (ace, error) {
	t, err := q.identityOf(e.Trustee)
	return ace{aceTypes[e.Type], words(flagNames, e.Flags), t, rights(e.Rights, isDir)}, err
}

func (q *request) acl2(a *fs.ACL, isDir bool) (acl2, error) {
	out := acl2{head(a), []ace{}}
	for i := range a.Entries {
		e, err := q.ace(&a.Entries[i], isDir)
		if err != nil {
			return out, err
		}
		out.ACEs = append(out.ACEs, e)
	}
	return out, nil
}

func (q *request) acl1(a *fs.ACL, isDir bool) (acl1, error) {
	out := acl1{head(a), []ace1{}}
	for i := range a.Entries {
		e := &a.Entries[i]
		t, err := q.textOf(e.Trustee)
		if err != nil {
			return out, err
		}
		out.ACEs = append(out.ACEs, ace1{aceTypes[e.Type], words(flagNames, e.Flags), strconv.FormatUint(uint64(e.Trustee), 10), t, rights(e.Rights, isDir)})
	}
	return out, nil
}

// aclOf answers a file with its permissions, as of a snapshot if asked.
func (q *request) aclOf() (service.File, fs.ACL, error) {
	f, err := q.file(fs.AttrOwner | fs.AttrGroup | fs.AttrMode | fs.AttrParent)
	if err != nil {
		return f, fs.ACL{}, err
	}
	a, err := q.s.o.FS.GetACL(q.Context(), q.caller(), f.Attr.Node)
	return f, a, err
}

func getACL1(q *request) (reply, error) {
	f, a, err := q.aclOf()
	if err != nil {
		return reply{}, err
	}
	isDir := f.Attr.Type == fs.Directory
	out, err := q.acl1(&a, isDir)
	// What a mode alone stands for was generated from it.
	generated := a.ModeOnly || slices.Equal(a.Entries, acl.FromMode(a.Owner, a.Group, a.Mode, isDir))
	return reply{body: wrappedACL{generated, out}, tag: fileTag(&f.Attr)}, err
}

func getACL2(q *request) (reply, error) {
	f, a, err := q.aclOf()
	if err != nil {
		return reply{}, err
	}
	out, err := q.acl2(&a, f.Attr.Type == fs.Directory)
	return reply{body: out, tag: fileTag(&f.Attr)}, err
}

func putACL1(q *request) (reply, error) {
	in, err := body[aclRequest[ace1Request]](q)
	if err != nil {
		return reply{}, err
	}
	err = setACL(q, &in, func(r *ace1Request) (fs.ACE, error) {
		e, err := parseACE(r.Type, r.Flags, r.Rights)
		switch {
		case err != nil:
		case r.Trustee.Set && r.Trustee.N != 0:
			e.Trustee = identity.AuthID(r.Trustee.N)
		case r.TrusteeDetails != nil:
			e.Trustee, err = q.principal(*r.TrusteeDetails)
		default:
			err = decodeError("an entry lacks its trustee")
		}
		return e, err
	})
	if err != nil {
		return reply{}, err
	}
	return getACL1(q)
}

func putACL2(q *request) (reply, error) {
	in, err := body[aclRequest[aceRequest]](q)
	if err != nil {
		return reply{}, err
	}
	err = setACL(q, &in, func(r *aceRequest) (fs.ACE, error) {
		e, err := parseACE(r.Type, r.Flags, r.Rights)
		if err == nil {
			e.Trustee, err = q.resolveIdentity(r.Trustee)
		}
		return e, err
	})
	if err != nil {
		return reply{}, err
	}
	return getACL2(q)
}

// maxACEs bounds the entries of one ACL.
const maxACEs = 200

func setACL[A any](q *request, in *aclRequest[A], entry func(*A) (fs.ACE, error)) error {
	if len(in.ACEs) > maxACEs {
		return badRequest("fs_too_many_aces_error", "%d entries; at most %d are kept", len(in.ACEs), maxACEs)
	}
	set := fs.ACL{Control: fs.ACLPresent, Entries: []fs.ACE{}}
	var err error
	if in.Control != nil {
		if set.Control, err = parseWords("control", controlNames, *in.Control); err != nil {
			return err
		}
		set.Control |= fs.ACLPresent
	}
	for i := range in.ACEs {
		e, err := entry(&in.ACEs[i])
		if err != nil {
			return err
		}
		set.Entries = append(set.Entries, e)
	}
	f, err := q.fileAt(0, fs.AttrMode|fs.AttrChange)
	if err != nil {
		return err
	}
	conditional, err := q.match(fileTag(&f.Attr))
	if err != nil {
		return err
	}
	if in.Special != nil {
		special, err := parseWords("posix_special_permissions", specialNames, *in.Special)
		if err != nil {
			return err
		}
		if mode := f.Attr.Mode&0o777 | special; mode != f.Attr.Mode&fs.ModeAll {
			// The bits are the mode's; what this does to the entries is replaced next.
			s := &fs.SetAttr{Mode: &mode}
			if conditional {
				s.GuardChange = &f.Attr.Change
			}
			if _, err := q.s.o.FS.SetAttr(q.Context(), q.caller(), f.Attr.Node, s); err != nil {
				return err
			}
		}
	}
	_, err = q.s.o.FS.SetACL(q.Context(), q.caller(), f.Attr.Node, &set)
	return err
}
