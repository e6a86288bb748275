package rest

import (
	"manifold/internal/config"
	"manifold/internal/control"
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
	get, set := verbs(func(q *request) control.NFSSettings { return q.s.o.NFS }, control.NFSSettings.NFS, control.NFSSettings.SetNFS)
	return singleton[config.NFS, nfsSettingsPatch]{
		path: "/v2/nfs/settings", read: control.NFSSettingsRead, write: control.NFSSettingsWrite, about: "Which ways into NFS are open; mounted clients notice a change at once", out: nfsSettings{},
		def: config.DefaultNFS, // what a client leaves out, as some leave out krb5i and krb5p
		get: get, set: set,
		render: plain(func(v config.NFS) nfsSettings {
			return nfsSettings{v.V4Enabled, v.Krb5Enabled, v.Krb5pEnabled, v.Krb5iEnabled, v.AuthSysEnabled}
		}),
		merge: func(_ *request, in nfsSettingsPatch, v *config.NFS) error {
			given(in.V4Enabled, &v.V4Enabled)
			given(in.Krb5Enabled, &v.Krb5Enabled)
			given(in.Krb5pEnabled, &v.Krb5pEnabled)
			given(in.Krb5iEnabled, &v.Krb5iEnabled)
			given(in.AuthSysEnabled, &v.AuthSysEnabled)
			if v.V4Enabled {
				// Taking it without serving it would leave clients without an answer.
				return badRequest("http_bad_request_error", "NFSv4.1 is not offered by this server")
			}
			return nil
		},
	}.routes("PUT", "PATCH")
}
