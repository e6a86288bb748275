package rest

import (
	"errors"
	"net/http"
	"path"
	"strconv"
	"strings"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/fs/export"
)

type exportRecord struct {
	ID           string        `json:"id"`
	ExportPath   string        `json:"export_path"`
	TenantID     uint64        `json:"tenant_id"`
	FSPath       string        `json:"fs_path"`
	Description  string        `json:"description"`
	Restrictions []restriction `json:"restrictions"`
	Present32    []string      `json:"fields_to_present_as_32_bit"`
}

type restriction struct {
	HostRestrictions       []string      `json:"host_restrictions"`
	RequirePrivilegedPort  bool          `json:"require_privileged_port"`
	ReadOnly               bool          `json:"read_only"`
	UserMapping            string        `json:"user_mapping"`
	MapToUser              *identityText `json:"map_to_user"`
	MapToGroup             *identityText `json:"map_to_group"`
	RequiredAuthentication string        `json:"required_authentication_mode"`
}

// exportV2 has the switch that versions before the list of fields knew; clients
// of their time read it from every export.
type exportV2 struct {
	exportRecord
	AllAs32 bool `json:"present_64_bit_fields_as_32_bit"`
}

// exportV1 is what an export was when exports were called shares. Its clients
// take it apart field by field and stumble over any other.
type exportV1 struct {
	ID           string        `json:"id"`
	ExportPath   string        `json:"export_path"`
	FSPath       string        `json:"fs_path"`
	Description  string        `json:"description"`
	Restrictions []restriction `json:"restrictions"`
}

// exportPatch is a record of which any part may be missing.
type exportPatch struct {
	ExportPath   *string                  `json:"export_path,omitempty"`
	TenantID     *uint64                  `json:"tenant_id,omitempty"`
	FSPath       *string                  `json:"fs_path,omitempty"`
	Description  *string                  `json:"description,omitempty"`
	Restrictions optional[[]*restriction] `json:"restrictions,omitzero"`
	Present32    optional[[]string]       `json:"fields_to_present_as_32_bit,omitzero"`
	AllAs32      *bool                    `json:"present_64_bit_fields_as_32_bit,omitempty"`
}

type exportList struct {
	Entries []exportRecord `json:"entries"`
}

// exportVersion of a resource: 2 takes paths for ids, and 3 has no old fields.
type exportVersion int

func exportRoutes() []route {
	create := []query{{"allow-fs-path-create", "boolean", "Make the directory if it is missing."}}
	var rs []route
	for _, v := range []struct {
		version  exportVersion
		all, one string
		list     any
		record   any
	}{
		{1, "/v1/nfs/shares/", "/v1/nfs/shares/{id}", []exportV1{}, exportV1{}},
		{2, "/v2/nfs/exports/", "/v2/nfs/exports/{ref}", []exportV2{}, exportV2{}},
		{3, "/v3/nfs/exports/", "/v3/nfs/exports/{export_id}", exportList{}, exportRecord{}},
	} {
		old := ""
		if v.version == 1 {
			old = " For old clients."
		}
		rs = append(rs,
			route{Method: "GET", Path: v.all, Summary: "All NFS exports." + old, Out: v.list, handle: func(q *request) (reply, error) { return listExports(q, v.version) }},
			route{Method: "POST", Path: v.all, Summary: "Add an NFS export." + old, In: exportPatch{}, Out: v.record, Query: create, handle: func(q *request) (reply, error) { return addExport(q, v.version) }},
			route{Method: "GET", Path: v.one, Summary: "One NFS export." + old, Out: v.record, handle: func(q *request) (reply, error) { return getExport(q, v.version) }},
			route{Method: "PUT", Path: v.one, Summary: "Replace an NFS export." + old, In: exportPatch{}, Out: v.record, Query: create, Conditional: true, handle: func(q *request) (reply, error) { return changeExport(q, v.version, true) }},
			route{Method: "DELETE", Path: v.one, Summary: "Remove an NFS export." + old, Conditional: true, handle: func(q *request) (reply, error) { return deleteExport(q, v.version) }},
		)
		if v.version > 1 {
			rs = append(rs, route{Method: "PATCH", Path: v.one, Summary: "Change parts of an NFS export.", In: exportPatch{}, Out: v.record, Query: create, Conditional: true, handle: func(q *request) (reply, error) { return changeExport(q, v.version, false) }})
		}
	}
	for i := range rs {
		rs[i].Privilege = control.NFSExportRead
		if rs[i].Method != "GET" {
			rs[i].Privilege = control.NFSExportWrite
		}
	}
	return rs
}

var mappingNames = map[config.Mapping]string{config.MapNone: "NFS_MAP_NONE", config.MapRoot: "NFS_MAP_ROOT", config.MapAll: "NFS_MAP_ALL"}

func (q *request) renderExport(r *config.Record[config.Export]) (exportRecord, error) {
	e := &r.Value
	out := exportRecord{
		ID: strconv.FormatUint(r.ID, 10), ExportPath: e.Path, TenantID: 1, FSPath: e.FSPath, Description: e.Description,
		Restrictions: []restriction{}, Present32: []string{},
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{e.FileIDs32, "FILE_IDS"}, {e.FileSizes32, "FILE_SIZES"}, {e.FSSize32, "FS_SIZE"}} {
		if f.on {
			out.Present32 = append(out.Present32, f.name)
		}
	}
	for _, x := range e.Restrictions {
		o := restriction{
			HostRestrictions: append([]string{}, x.Hosts...), RequirePrivilegedPort: x.PrivilegedPort, ReadOnly: x.ReadOnly,
			UserMapping: mappingNames[x.Mapping], RequiredAuthentication: "AUTHENTICATION_MODE_NONE",
		}
		var err error
		if o.MapToUser, err = q.renderPrincipal(x.MapUser); err != nil {
			return out, err
		}
		if o.MapToGroup, err = q.renderPrincipal(x.MapGroup); err != nil {
			return out, err
		}
		out.Restrictions = append(out.Restrictions, o)
	}
	return out, nil
}

func (q *request) renderPrincipal(p config.Principal) (*identityText, error) {
	id := strconv.FormatUint(p.ID, 10)
	switch p.Type {
	case config.PrincipalUID:
		return &identityText{"NFS_UID", id}, nil
	case config.PrincipalGID:
		return &identityText{"NFS_GID", id}, nil
	case config.PrincipalLocalUser:
		u, err := q.s.o.Principals.User(q.Context(), p.ID)
		if errors.Is(err, config.ErrNotFound) {
			return &identityText{"LOCAL_USER", id}, nil // deleted since
		}
		return &identityText{"LOCAL_USER", u.Value.Name}, err
	}
	return nil, nil
}

func (q *request) exportReply(r config.Record[config.Export], v exportVersion, err error) (reply, error) {
	if err != nil {
		return reply{}, q.exportError(err)
	}
	e, err := q.renderExport(&r)
	return reply{body: e.version(v), tag: tag(r.ID, r.Revision)}, err
}

func (e *exportRecord) v1() exportV1 {
	return exportV1{e.ID, e.ExportPath, e.FSPath, e.Description, e.Restrictions}
}
func (e *exportRecord) v2() exportV2 { return exportV2{*e, len(e.Present32) == 3} }

func (e *exportRecord) version(v exportVersion) any {
	switch v {
	case 1:
		return e.v1()
	case 2:
		return e.v2()
	}
	return *e
}

func (q *request) exportError(err error) error {
	switch {
	case errors.Is(err, config.ErrNotFound):
		return noExport(q.params)
	case errors.Is(err, config.ErrExists):
		return conflict("nfs_export_already_exists_error", "there is an export of that path already")
	}
	return err
}

func noExport(params []string) error {
	return &apiError{Status: http.StatusNotFound, Class: "nfs_export_doesnt_exist_error", Text: "There is no export " + strings.Join(params, " ")}
}

func listExports(q *request, v exportVersion) (reply, error) {
	recs, err := q.s.o.Exports.Exports(q.Context(), 0, 0)
	if err != nil {
		return reply{}, err
	}
	out, two, one := []exportRecord{}, []exportV2{}, []exportV1{}
	for i := range recs {
		e, err := q.renderExport(&recs[i])
		if err != nil {
			return reply{}, err
		}
		out, two, one = append(out, e), append(two, e.v2()), append(one, e.v1())
	}
	return reply{body: []any{one, two, exportList{out}}[v-1]}, nil
}

// export finds the record that the path names.
func (q *request) export(v exportVersion) (config.Record[config.Export], error) {
	var r config.Record[config.Export]
	id, ok := q.id(0)
	var err error
	switch {
	case ok:
		r, err = q.s.o.Exports.Export(q.Context(), id)
	case v == 2 && strings.HasPrefix(q.params[0], "/"):
		r, err = q.s.o.Exports.ExportByPath(q.Context(), cleanExport(q.params[0]))
	default:
		err = config.ErrNotFound
	}
	return r, q.exportError(err)
}

// cleanExport drops trailing slashes, which the stored form has not.
func cleanExport(p string) string {
	if t := strings.TrimRight(p, "/"); t != "" {
		return t
	}
	return "/"
}

func getExport(q *request, v exportVersion) (reply, error) {
	r, err := q.export(v)
	if err != nil {
		return reply{}, err
	}
	return q.exportReply(r, v, nil)
}

func addExport(q *request, v exportVersion) (reply, error) {
	in, err := body[exportPatch](q)
	if err != nil {
		return reply{}, err
	}
	if in.ExportPath == nil || in.FSPath == nil {
		return reply{}, decodeError("export_path and fs_path are required")
	}
	var e config.Export
	if err := q.applyExport(&e, &in); err != nil {
		return reply{}, err
	}
	var r config.Record[config.Export]
	err = q.settles(isTaken, func() (err error) {
		r, err = q.s.o.Exports.AddExport(q.Context(), e)
		return err
	})
	return q.exportReply(r, v, err)
}

func changeExport(q *request, v exportVersion, replace bool) (reply, error) {
	in, err := body[exportPatch](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.export(v)
	if err != nil {
		return reply{}, err
	}
	conditional, err := q.match(tag(old.ID, old.Revision))
	if err != nil {
		return reply{}, err
	}
	e, revision := old.Value, old.Revision
	if replace {
		if in.ExportPath == nil || in.FSPath == nil {
			return reply{}, decodeError("export_path and fs_path are required")
		}
		e = config.Export{}
		if !conditional {
			revision = 0 // the last writer wins
		}
	}
	if err := q.applyExport(&e, &in); err != nil {
		return reply{}, err
	}
	r, err := q.s.o.Exports.ModifyExport(q.Context(), old.ID, revision, e)
	return q.exportReply(r, v, raced(conditional, err))
}

func deleteExport(q *request, v exportVersion) (reply, error) {
	r, err := q.export(v)
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(r.ID, r.Revision), r.Revision)
	if err != nil {
		return reply{}, err
	}
	return reply{}, q.exportError(q.s.o.Exports.DeleteExport(q.Context(), r.ID, rev))
}

// applyExport puts what was given into e and sees to its directory.
func (q *request) applyExport(e *config.Export, in *exportPatch) error {
	if err := tenant(in.TenantID); err != nil {
		return err
	}
	if in.ExportPath != nil {
		e.Path = cleanExport(*in.ExportPath)
		if err := export.CheckPath(e.Path); err != nil || !strings.HasPrefix(*in.ExportPath, "/") {
			return badRequest("http_bad_request_error", "export_path is %q, want an absolute path", *in.ExportPath)
		}
	}
	given(in.Description, &e.Description)
	if in.Restrictions.Given {
		e.Restrictions = nil
		for _, x := range in.Restrictions.Value {
			if x == nil {
				return decodeError("a restriction is null")
			}
			r, err := q.parseRestriction(x)
			if err != nil {
				return err
			}
			e.Restrictions = append(e.Restrictions, r)
		}
	}
	if in.AllAs32 != nil && !in.Present32.Given {
		e.FileIDs32, e.FileSizes32, e.FSSize32 = *in.AllAs32, *in.AllAs32, *in.AllAs32
	}
	if in.Present32.Given {
		e.FileIDs32, e.FileSizes32, e.FSSize32 = false, false, false
		for _, f := range in.Present32.Value {
			switch f {
			case "FILE_IDS":
				e.FileIDs32 = true
			case "FILE_SIZES":
				e.FileSizes32 = true
			case "FS_SIZE":
				e.FSSize32 = true
			case "ALL":
				e.FileIDs32, e.FileSizes32, e.FSSize32 = true, true, true
			default:
				return decodeError("fields_to_present_as_32_bit has %q", f)
			}
		}
	}
	return q.exportedDirectory(in.FSPath, &e.FSPath)
}

// tenant checks the one there is.
func tenant(id *uint64) error {
	if id != nil && *id > 1 {
		return badRequest("http_bad_request_error", "there is no tenant %d", *id)
	}
	return nil
}

// exportedDirectory takes a directory over if it was given, and checks that it
// is there, or makes it.
func (q *request) exportedDirectory(given, to *string) error {
	if given == nil {
		return nil
	}
	if !strings.HasPrefix(*given, "/") {
		return badRequest("http_bad_request_error", "fs_path is %q, want an absolute path", *given)
	}
	p := path.Clean(*given)
	*to = p
	create, err := q.argBool("allow-fs-path-create")
	if err != nil {
		return err
	}
	_, err = q.directory(p, create)
	return err
}

// directory finds a directory by its path, or makes it.
func (q *request) directory(p string, create bool) (fs.Attr, error) {
	if create {
		return q.s.svc.MkdirAll(q.Context(), q.caller(), p)
	}
	a, err := q.s.o.FS.Resolve(q.Context(), q.caller(), p, fs.AttrType)
	if err == nil && a.Type != fs.Directory {
		err = ofKind(fs.NotDir, nil)
	}
	return a, q.missing(p, err)
}

func (q *request) parseRestriction(x *restriction) (config.Restriction, error) {
	out := config.Restriction{Hosts: x.HostRestrictions, ReadOnly: x.ReadOnly, PrivilegedPort: x.RequirePrivilegedPort}
	if _, err := export.ParseHosts(x.HostRestrictions); err != nil {
		return out, badRequest("http_bad_request_error", "host_restrictions: %v", err)
	}
	switch x.RequiredAuthentication {
	case "", "AUTHENTICATION_MODE_NONE":
	default:
		// Taking it without enforcing it would open what is meant to be closed.
		return out, badRequest("http_bad_request_error", "required_authentication_mode %s is not offered", x.RequiredAuthentication)
	}
	known := x.UserMapping == ""
	for m, name := range mappingNames {
		if name == x.UserMapping {
			out.Mapping, known = m, true
		}
	}
	if !known {
		return out, decodeError("user_mapping is %q", x.UserMapping)
	}
	if out.Mapping == config.MapNone {
		return out, nil // whom nobody maps to is ignored
	}
	var err error
	if out.MapUser, err = q.parsePrincipal(x.MapToUser); err != nil {
		return out, err
	}
	out.MapGroup, err = q.parsePrincipal(x.MapToGroup)
	return out, err
}

func (q *request) parsePrincipal(t *identityText) (config.Principal, error) {
	if t == nil || *t == (identityText{}) {
		return config.Principal{}, nil
	}
	if t.Type == "LOCAL_USER" {
		id, err := q.localUser(t.Value)
		return config.Principal{Type: config.PrincipalLocalUser, ID: id}, err
	}
	types := map[string]config.PrincipalType{"NFS_UID": config.PrincipalUID, "NFS_GID": config.PrincipalGID}
	n, err := strconv.ParseUint(t.Value, 10, 32)
	if types[t.Type] == config.PrincipalNone || err != nil {
		return config.Principal{}, badRequest("cred_identity_not_supported_error", "callers cannot be mapped to %s %q", t.Type, t.Value)
	}
	return config.Principal{Type: types[t.Type], ID: n}, nil
}
