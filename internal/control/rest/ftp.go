package rest

import (
	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/identity"
)

type ftpSettings struct {
	Enabled                     bool          `json:"enabled"`
	CheckRemoteHost             bool          `json:"check_remote_host"`
	LogOperations               bool          `json:"log_operations"`
	ChrootUsers                 bool          `json:"chroot_users"`
	AllowUnencryptedConnections bool          `json:"allow_unencrypted_connections"`
	ExpandWildcards             bool          `json:"expand_wildcards"`
	AnonymousUser               *identityText `json:"anonymous_user"`
	Greeting                    string        `json:"greeting"`
}

// ftpSettingsPatch are settings of which any may be missing; null for
// anonymous_user takes it away.
type ftpSettingsPatch struct {
	Enabled                     *bool                  `json:"enabled,omitempty"`
	CheckRemoteHost             *bool                  `json:"check_remote_host,omitempty"`
	LogOperations               *bool                  `json:"log_operations,omitempty"`
	ChrootUsers                 *bool                  `json:"chroot_users,omitempty"`
	AllowUnencryptedConnections *bool                  `json:"allow_unencrypted_connections,omitempty"`
	ExpandWildcards             *bool                  `json:"expand_wildcards,omitempty"`
	AnonymousUser               optional[identityText] `json:"anonymous_user,omitzero"`
	Greeting                    *string                `json:"greeting,omitempty"`
}

type ftpNodeStatus struct {
	NodeID int    `json:"node_id"`
	Status string `json:"status"`
}

type ftpStatus struct {
	Settings ftpSettings     `json:"settings"`
	Statuses []ftpNodeStatus `json:"statuses"`
}

func ftpRoutes() []route {
	get, set := verbs(func(q *request) control.FTP { return q.s.o.FTP }, control.FTP.FTP, control.FTP.SetFTP)
	return append(singleton[config.FTP, ftpSettingsPatch]{
		path: "/v0/ftp/settings", read: control.FTPRead, write: control.FTPWrite, about: "Settings of the FTP server", out: ftpSettings{},
		def: config.DefaultFTP, get: get, set: set, merge: (*request).mergeFTP,
		render: func(q *request, v config.FTP) (any, error) { return q.ftpSettings(v) },
	}.routes("PUT", "PATCH"),
		route{Method: "GET", Path: "/v0/ftp/status", Privilege: control.FTPRead, Summary: "Settings of the FTP server, and its state on each node.", Out: ftpStatus{}, handle: getFTPStatus})
}

func (q *request) ftpSettings(v config.FTP) (ftpSettings, error) {
	out := ftpSettings{v.Enabled, v.CheckRemoteHost, v.LogOperations, v.ChrootUsers, v.AllowUnencrypted, v.ExpandWildcards, nil, v.Greeting}
	if v.Anonymous != 0 {
		t, err := q.textOf(identity.AuthID(v.Anonymous))
		if err != nil {
			return out, err
		}
		out.AnonymousUser = &t
	}
	return out, nil
}

func (q *request) mergeFTP(in ftpSettingsPatch, v *config.FTP) (err error) {
	given(in.Enabled, &v.Enabled)
	given(in.CheckRemoteHost, &v.CheckRemoteHost)
	given(in.LogOperations, &v.LogOperations)
	given(in.ChrootUsers, &v.ChrootUsers)
	given(in.AllowUnencryptedConnections, &v.AllowUnencrypted)
	given(in.ExpandWildcards, &v.ExpandWildcards)
	given(in.Greeting, &v.Greeting)
	switch a := in.AnonymousUser; {
	case a.Null:
		v.Anonymous = 0
	case a.Given && a.Value.Type != "LOCAL_USER":
		return badRequest("ftp_anonymous_user_invalid_error", "anonymous_user must be a local user")
	case a.Given:
		v.Anonymous, err = q.localUser(a.Value.Value)
	}
	return err
}

func getFTPStatus(q *request) (reply, error) {
	rec, err := q.s.o.FTP.FTP(q.Context())
	if err != nil {
		return reply{}, err
	}
	v, err := q.ftpSettings(rec.Value)
	if err != nil {
		return reply{}, err
	}
	s := q.s.o.FTP.FTPStatus()
	text := "FTP_SERVER_" + s.State
	if s.Error != "" {
		text += ": " + s.Error
	}
	return reply{body: ftpStatus{v, []ftpNodeStatus{{int(q.s.o.NodeID), text}}}}, nil
}
