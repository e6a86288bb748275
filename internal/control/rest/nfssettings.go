package rest

import (
	"errors"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
)

type nfsSettings struct {
	V4Enabled      bool `json:"v4_enabled"`
	Krb5Enabled    bool `json:"krb5_enabled"`
	Krb5pEnabled   bool `json:"krb5p_enabled"`
	Krb5iEnabled   bool `json:"krb5i_enabled"`
	AuthSysEnabled bool `json:"auth_sys_enabled"`
}

// nfsSettingsPatch are settings of which any may be missing.
type nfsSettingsPatch struct {
	V4Enabled      *bool `json:"v4_enabled,omitempty"`
	Krb5Enabled    *bool `json:"krb5_enabled,omitempty"`
	Krb5pEnabled   *bool `json:"krb5p_enabled,omitempty"`
	Krb5iEnabled   *bool `json:"krb5i_enabled,omitempty"`
	AuthSysEnabled *bool `json:"auth_sys_enabled,omitempty"`
}

func nfsSettingsRoutes() []route {
	const path = "/v2/nfs/settings"
	return []route{
		{Method: "GET", Path: path, Privilege: control.NFSSettingsRead, Summary: "Which ways into NFS are open.", Out: nfsSettings{}, handle: getNFSSettings},
		{Method: "PUT", Path: path, Privilege: control.NFSSettingsWrite, Summary: "Replace the NFS settings.", In: nfsSettingsPatch{}, Out: nfsSettings{}, Conditional: true,
			handle: func(q *request) (reply, error) { return changeNFSSettings(q, true) }},
		{Method: "PATCH", Path: path, Privilege: control.NFSSettingsWrite, Summary: "Change some NFS settings; mounted clients notice at once.", In: nfsSettingsPatch{}, Out: nfsSettings{}, Conditional: true,
			handle: func(q *request) (reply, error) { return changeNFSSettings(q, false) }},
	}
}

func renderNFSSettings(rec config.Record[config.NFS]) reply {
	v := rec.Value
	return reply{body: nfsSettings{v.V4Enabled, v.Krb5Enabled, v.Krb5pEnabled, v.Krb5iEnabled, v.AuthSysEnabled}, tag: tag(rec.Revision)}
}

func getNFSSettings(q *request) (reply, error) {
	rec, err := q.s.o.NFS.NFS(q.Context())
	return renderNFSSettings(rec), err
}

func changeNFSSettings(q *request, replace bool) (reply, error) {
	in, err := body[nfsSettingsPatch](q)
	if err != nil {
		return reply{}, err
	}
	rec, err := q.s.o.NFS.NFS(q.Context())
	if err != nil {
		return reply{}, err
	}
	conditional, err := q.match(tag(rec.Revision))
	if err != nil {
		return reply{}, err
	}
	v, revision := rec.Value, rec.Revision
	if replace && !conditional {
		revision = 0 // the last writer wins
	}
	if replace {
		v = config.DefaultNFS // what a client leaves out, as some leave out krb5i and krb5p
	}
	for _, f := range []struct{ given, to *bool }{
		{in.V4Enabled, &v.V4Enabled}, {in.Krb5Enabled, &v.Krb5Enabled}, {in.Krb5pEnabled, &v.Krb5pEnabled},
		{in.Krb5iEnabled, &v.Krb5iEnabled}, {in.AuthSysEnabled, &v.AuthSysEnabled},
	} {
		if f.given != nil {
			*f.to = *f.given
		}
	}
	if v.V4Enabled {
		// Taking it without serving it would leave clients without an answer.
		return reply{}, badRequest("http_bad_request_error", "NFSv4.1 is not offered by this server")
	}
	rec, err = q.s.o.NFS.SetNFS(q.Context(), revision, v)
	if errors.Is(err, config.ErrStale) && !conditional {
		return reply{}, ofKind(fs.Retry, err)
	}
	return renderNFSSettings(rec), err
}
