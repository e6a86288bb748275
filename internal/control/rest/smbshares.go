package rest

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/identity"
)

type shareV1 struct {
	ID          string `json:"id"`
	ShareName   string `json:"share_name"`
	FSPath      string `json:"fs_path"`
	Description string `json:"description"`
	ReadOnly    bool   `json:"read_only"`
	AllowGuest  bool   `json:"allow_guest_access"`
	shareTail
	TenantID uint64 `json:"tenant_id"`
}

// shareTail is what all versions have alike.
type shareTail struct {
	AccessBased bool   `json:"access_based_enumeration_enabled"`
	FileMode    string `json:"default_file_create_mode"`
	DirMode     string `json:"default_directory_create_mode"`
}

type shareV2 struct {
	ID          string          `json:"id"`
	ShareName   string          `json:"share_name"`
	FSPath      string          `json:"fs_path"`
	Description string          `json:"description"`
	Permissions []shareACE      `json:"permissions"`
	Network     []networkAccess `json:"network_permissions"`
	shareTail
	BytesPerSector    string `json:"bytes_per_sector"`
	RequireEncryption bool   `json:"require_encryption"`
	TenantID          uint64 `json:"tenant_id"`
}

type shareV3 struct {
	ID          string          `json:"id"`
	ShareName   string          `json:"share_name"`
	TenantID    uint64          `json:"tenant_id"`
	FSPath      string          `json:"fs_path"`
	Description string          `json:"description"`
	Permissions []shareACE      `json:"permissions"`
	Network     []networkAccess `json:"network_permissions"`
	shareTail
	RequireEncryption bool `json:"require_encryption"`
}

type shareACE struct {
	Type    string         `json:"type"`
	Trustee identityRecord `json:"trustee"`
	Rights  []string       `json:"rights"`
}

type networkAccess struct {
	Type      string   `json:"type"`
	Addresses []string `json:"address_ranges"`
	Rights    []string `json:"rights"`
}

type shareList struct {
	Entries []shareV3 `json:"entries"`
}

// sharePatch is a share of any version of which any part may be missing.
type sharePatch struct {
	ShareName         *string                    `json:"share_name,omitempty"`
	TenantID          *uint64                    `json:"tenant_id,omitempty"`
	FSPath            *string                    `json:"fs_path,omitempty"`
	Description       *string                    `json:"description,omitempty"`
	ReadOnly          *bool                      `json:"read_only,omitempty"`          // version 1
	AllowGuest        *bool                      `json:"allow_guest_access,omitempty"` // version 1
	Permissions       optional[[]shareACEQuery]  `json:"permissions,omitzero"`
	Network           optional[[]*networkAccess] `json:"network_permissions,omitzero"`
	AccessBased       *bool                      `json:"access_based_enumeration_enabled,omitempty"`
	FileMode          *string                    `json:"default_file_create_mode,omitempty"`
	DirMode           *string                    `json:"default_directory_create_mode,omitempty"`
	BytesPerSector    *string                    `json:"bytes_per_sector,omitempty"`
	RequireEncryption *bool                      `json:"require_encryption,omitempty"`
}

type shareACEQuery struct {
	Type    string        `json:"type"`
	Trustee identityQuery `json:"trustee"`
	Rights  []string      `json:"rights"`
}

func shareRoutes() []route {
	list := []query{{"populate-trustee-names", "boolean", "Accepted; names are always there."}}
	create := []query{{"allow-fs-path-create", "boolean", "Make the directory if it is missing."}}
	var rs []route
	for v, x := range []struct {
		all, one   string
		list, one1 any
	}{
		{"/v1/smb/shares/", "/v1/smb/shares/{id}", []shareV1{}, shareV1{}},
		{"/v2/smb/shares/", "/v2/smb/shares/{ref}", []shareV2{}, shareV2{}},
		{"/v3/smb/shares/", "/v3/smb/shares/{share_id}", shareList{}, shareV3{}},
	} {
		v++
		rs = append(rs,
			route{Method: "GET", Path: x.all, Summary: "All SMB shares.", Out: x.list, Query: list, handle: func(q *request) (reply, error) { return listShares(q, v) }},
			route{Method: "POST", Path: x.all, Summary: "Add an SMB share.", In: sharePatch{}, Out: x.one1, Query: create, handle: func(q *request) (reply, error) { return addShare(q, v) }},
			route{Method: "GET", Path: x.one, Summary: "One SMB share.", Out: x.one1, handle: func(q *request) (reply, error) { return getShare(q, v) }},
			route{Method: "PUT", Path: x.one, Summary: "Replace an SMB share.", In: sharePatch{}, Out: x.one1, Query: create, Conditional: true, handle: func(q *request) (reply, error) { return changeShare(q, v, true) }},
			route{Method: "DELETE", Path: x.one, Summary: "Remove an SMB share.", Conditional: true, handle: func(q *request) (reply, error) { return deleteShare(q, v) }},
		)
		if v > 1 {
			rs = append(rs, route{Method: "PATCH", Path: x.one, Summary: "Change parts of an SMB share.", In: sharePatch{}, Out: x.one1, Query: create, Conditional: true, handle: func(q *request) (reply, error) { return changeShare(q, v, false) }})
		}
	}
	for i := range rs {
		rs[i].Privilege = control.SMBShareRead
		if rs[i].Method != "GET" {
			rs[i].Privilege = control.SMBShareWrite
		}
	}
	return rs
}

// shareGroups are the words that stand for several rights; they come first.
var shareGroups = []named[fs.Rights]{
	{"READ", config.ShareRead}, {"WRITE", config.ShareWrite}, {"CHANGE_PERMISSIONS", config.ShareChangePermissions},
	{"ALL", config.ShareRead | config.ShareWrite | config.ShareChangePermissions},
}

// shareRights names rights, whole groups by the group's word.
func shareRights(r fs.Rights) []string {
	out := []string{}
	for _, g := range shareGroups[:3] {
		if r&g.bits == g.bits {
			out = append(out, g.name)
			r &^= g.bits
		}
	}
	return append(out, rights(r, false)...)
}

var shareWords = append(slices.Clone(shareGroups), rightNames...)

func parseShareRights(in []string) (fs.Rights, error) { return parseWords("rights", shareWords, in) }

var allowedDenied = map[bool]string{false: "ALLOWED", true: "DENIED"}

func parseDeny(s string) (bool, error) {
	if s != "ALLOWED" && s != "DENIED" {
		return false, decodeError("type is %q, want ALLOWED or DENIED", s)
	}
	return s == "DENIED", nil
}

func (q *request) renderShare(r *config.Record[config.Share], version int) (any, error) {
	v := &r.Value
	id := strconv.FormatUint(r.ID, 10)
	tail := shareTail{v.AccessBasedEnumeration, modeText(v.FileMode), modeText(v.DirMode)}
	if version == 1 {
		out := shareV1{ID: id, ShareName: v.Name, FSPath: v.FSPath, Description: v.Description, ReadOnly: true, shareTail: tail, TenantID: 1}
		for _, p := range v.Permissions {
			out.ReadOnly = out.ReadOnly && (p.Deny || p.Rights&config.ShareWrite == 0)
		}
		x := config.ShareInForce{Record: *r}
		out.AllowGuest = x.Guests()
		return out, nil
	}
	perms := []shareACE{}
	for _, p := range v.Permissions {
		t, err := q.identityOf(p.Trustee)
		if err != nil {
			return nil, err
		}
		perms = append(perms, shareACE{allowedDenied[p.Deny], t, shareRights(p.Rights)})
	}
	nets := []networkAccess{}
	for _, p := range v.Network {
		nets = append(nets, networkAccess{allowedDenied[p.Deny], append([]string{}, p.Addresses...), shareRights(p.Rights)})
	}
	if version == 2 {
		return shareV2{id, v.Name, v.FSPath, v.Description, perms, nets, tail, "512", v.RequireEncryption, 1}, nil
	}
	return shareV3{id, v.Name, 1, v.FSPath, v.Description, perms, nets, tail, v.RequireEncryption}, nil
}

func (q *request) shareReply(r config.Record[config.Share], version int, err error) (reply, error) {
	if err != nil {
		return reply{}, q.shareError(err)
	}
	x, err := q.renderShare(&r, version)
	return reply{body: x, tag: tag(r.ID, r.Revision)}, err
}

func (q *request) shareError(err error) error {
	switch {
	case errors.Is(err, config.ErrNotFound):
		return &apiError{Status: http.StatusNotFound, Class: "smb_share_doesnt_exist_error", Text: "There is no share " + strings.Join(q.params, " ")}
	case errors.Is(err, config.ErrExists):
		return conflict("smb_share_already_exists_error", "there is a share of that name already")
	}
	return err
}

func listShares(q *request, version int) (reply, error) {
	recs, err := q.s.o.Shares.Shares(q.Context(), 0, 0)
	if err != nil {
		return reply{}, err
	}
	v1, v2, v3 := []shareV1{}, []shareV2{}, []shareV3{}
	for i := range recs {
		x, err := q.renderShare(&recs[i], version)
		if err != nil {
			return reply{}, err
		}
		switch x := x.(type) {
		case shareV1:
			v1 = append(v1, x)
		case shareV2:
			v2 = append(v2, x)
		case shareV3:
			v3 = append(v3, x)
		}
	}
	return reply{body: []any{v1, v2, shareList{v3}}[version-1]}, nil
}

// share finds the record that the path names: version 2 takes names, too.
func (q *request) share(version int) (config.Record[config.Share], error) {
	var r config.Record[config.Share]
	err := error(config.ErrNotFound)
	if id, ok := q.id(0); ok {
		r, err = q.s.o.Shares.Share(q.Context(), id)
	}
	if version == 2 && errors.Is(err, config.ErrNotFound) {
		r, err = q.s.o.Shares.ShareByName(q.Context(), q.params[0])
	}
	return r, q.shareError(err)
}

func getShare(q *request, version int) (reply, error) {
	r, err := q.share(version)
	if err != nil {
		return reply{}, err
	}
	return q.shareReply(r, version, nil)
}

// freshShare is what is not said of a new share.
func freshShare() config.Share {
	return config.Share{
		FileMode: config.DefaultShareFileMode, DirMode: config.DefaultShareDirMode,
		Network: []config.NetworkPermission{{Rights: config.ShareRead | config.ShareWrite | config.ShareChangePermissions}},
	}
}

func addShare(q *request, version int) (reply, error) {
	in, err := body[sharePatch](q)
	if err != nil {
		return reply{}, err
	}
	if in.ShareName == nil || in.FSPath == nil {
		return reply{}, decodeError("share_name and fs_path are required")
	}
	v := freshShare()
	if err := q.applyShare(&v, &in, version, true); err != nil {
		return reply{}, err
	}
	var r config.Record[config.Share]
	err = q.settles(isTaken, func() (err error) {
		r, err = q.s.o.Shares.AddShare(q.Context(), v)
		return err
	})
	return q.shareReply(r, version, err)
}

func changeShare(q *request, version int, replace bool) (reply, error) {
	in, err := body[sharePatch](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.share(version)
	if err != nil {
		return reply{}, err
	}
	conditional, err := q.match(tag(old.ID, old.Revision))
	if err != nil {
		return reply{}, err
	}
	v, revision := old.Value, old.Revision
	if replace {
		if in.ShareName == nil || in.FSPath == nil {
			return reply{}, decodeError("share_name and fs_path are required")
		}
		v = freshShare()
		if !conditional {
			revision = 0 // the last writer wins
		}
	}
	if err := q.applyShare(&v, &in, version, replace); err != nil {
		return reply{}, err
	}
	r, err := q.s.o.Shares.ModifyShare(q.Context(), old.ID, revision, v)
	return q.shareReply(r, version, raced(conditional, err))
}

func deleteShare(q *request, version int) (reply, error) {
	r, err := q.share(version)
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(r.ID, r.Revision), r.Revision)
	if err != nil {
		return reply{}, err
	}
	return reply{}, q.shareError(q.s.o.Shares.DeleteShare(q.Context(), r.ID, rev))
}

// applyShare puts what was given into v and sees to its directory. whole: what
// is missing was not there before.
func (q *request) applyShare(v *config.Share, in *sharePatch, version int, whole bool) error {
	if err := tenant(in.TenantID); err != nil {
		return err
	}
	if in.BytesPerSector != nil && *in.BytesPerSector != "512" {
		return badRequest("http_bad_request_error", "bytes_per_sector is %q, want 512", *in.BytesPerSector)
	}
	if in.ShareName != nil {
		v.Name = *in.ShareName
		if err := config.CheckShareName(v.Name); err != nil {
			return badRequest("http_bad_request_error", "%v", err)
		}
	}
	given(in.Description, &v.Description)
	given(in.AccessBased, &v.AccessBasedEnumeration)
	given(in.RequireEncryption, &v.RequireEncryption)
	for _, m := range []struct {
		given *string
		to    *fs.Mode
	}{{in.FileMode, &v.FileMode}, {in.DirMode, &v.DirMode}} {
		if m.given != nil {
			mode, err := parseMode(*m.given)
			if err != nil {
				return err
			}
			*m.to = mode
		}
	}
	if version == 1 && whole {
		v.Permissions = permissionsOf(in.ReadOnly != nil && *in.ReadOnly, in.AllowGuest != nil && *in.AllowGuest)
	} else if in.Permissions.Given {
		v.Permissions = nil
		for _, p := range in.Permissions.Value {
			deny, err := parseDeny(p.Type)
			if err != nil {
				return err
			}
			r, err := parseShareRights(p.Rights)
			if err != nil {
				return err
			}
			var who identity.AuthID
			err = q.settles(isNoAccount, func() (err error) {
				who, err = q.resolveIdentity(p.Trustee)
				return err
			})
			if err != nil {
				return err
			}
			v.Permissions = append(v.Permissions, config.SharePermission{Deny: deny, Trustee: who, Rights: r})
		}
	}
	if in.Network.Given && in.Network.Value != nil {
		v.Network = nil
		for _, p := range in.Network.Value {
			if p == nil {
				return decodeError("a network permission is null")
			}
			deny, err := parseDeny(p.Type)
			if err != nil {
				return err
			}
			r, err := parseShareRights(p.Rights)
			if err != nil {
				return err
			}
			v.Network = append(v.Network, config.NetworkPermission{Deny: deny, Addresses: p.Addresses, Rights: r})
		}
	}
	return q.exportedDirectory(in.FSPath, &v.FSPath)
}

// permissionsOf are those that the two switches of version 1 mean.
func permissionsOf(readOnly, guest bool) []config.SharePermission {
	r := config.ShareRead
	if !readOnly {
		r |= config.ShareWrite | config.ShareChangePermissions
	}
	out := []config.SharePermission{{Trustee: identity.Everyone, Rights: r}}
	if guest {
		out = append(out, config.SharePermission{Trustee: identity.Guest, Rights: r})
	}
	return out
}
