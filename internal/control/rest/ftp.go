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
	const path = "/v0/ftp/settings"
	return []route{
		{Method: "GET", Path: path, Privilege: control.FTPRead, Summary: "Settings of the FTP server.", Out: ftpSettings{}, handle: getFTP},
		{Method: "PUT", Path: path, Privilege: control.FTPWrite, Summary: "Replace the settings of the FTP server.", In: ftpSettingsPatch{}, Out: ftpSettings{}, Conditional: true,
			handle: func(q *request) (reply, error) { return changeFTP(q, true) }},
		{Method: "PATCH", Path: path, Privilege: control.FTPWrite, Summary: "Change some settings of the FTP server.", In: ftpSettingsPatch{}, Out: ftpSettings{}, Conditional: true,
			handle: func(q *request) (reply, error) { return changeFTP(q, false) }},
		{Method: "GET", Path: "/v0/ftp/status", Privilege: control.FTPRead, Summary: "Settings of the FTP server, and its state on each node.", Out: ftpStatus{}, handle: getFTPStatus},
	}
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

func (q *request) oneFTP(rec config.Record[config.FTP]) (reply, error) {
	v, err := q.ftpSettings(rec.Value)
	return reply{body: v, tag: tag(rec.Revision)}, err
}

func getFTP(q *request) (reply, error) {
	rec, err := q.s.o.FTP.FTP(q.Context())
	if err != nil {
		return reply{}, err
	}
	return q.oneFTP(rec)
}

func changeFTP(q *request, whole bool) (reply, error) {
	in, err := body[ftpSettingsPatch](q)
	if err != nil {
		return reply{}, err
	}
	old, err := q.s.o.FTP.FTP(q.Context())
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(tag(old.Revision), old.Revision)
	if err != nil {
		return reply{}, err
	}
	v := old.Value
	if whole {
		v = config.DefaultFTP
	} else if rev == 0 {
		rev = old.Revision // the parts that stay are those that were read
	}
	given(in.Enabled, &v.Enabled)
	given(in.CheckRemoteHost, &v.CheckRemoteHost)
	given(in.LogOperations, &v.LogOperations)
	given(in.ChrootUsers, &v.ChrootUsers)
	given(in.AllowUnencryptedConnections, &v.AllowUnencrypted)
	given(in.ExpandWildcards, &v.ExpandWildcards)
	given(in.Greeting, &v.Greeting)
	if a := in.AnonymousUser; a.Null {
		v.Anonymous = 0
	} else if a.Given {
		if a.Value.Type != "LOCAL_USER" {
			return reply{}, badRequest("ftp_anonymous_user_invalid_error", "anonymous_user must be a local user")
		}
		if v.Anonymous, err = q.localUser(a.Value.Value); err != nil {
			return reply{}, err
		}
	}
	rec, err := q.s.o.FTP.SetFTP(q.Context(), rev, v)
	if err != nil {
		return reply{}, err
	}
	return q.oneFTP(rec)
}

// given takes a member of a body over if it was there.
func given[T any](from, to *T) {
	if from != nil {
		*to = *from
	}
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
