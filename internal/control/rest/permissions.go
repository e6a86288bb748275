package rest

import (
	"net/http"

	"manifold/internal/config"
	"manifold/internal/control"
)

// permissionsMode is what a chmod does to an ACL.
type permissionsMode struct {
	Mode string `json:"mode" enum:"NATIVE,CROSS_PROTOCOL"`
}

const (
	modeNative        = "NATIVE"
	modeCrossProtocol = "CROSS_PROTOCOL"
)

func permissionsRoutes() []route {
	const at = "/v1/file-system/settings/permissions"
	return []route{
		{Method: "GET", Path: at, Privilege: control.FSSettingsRead, Summary: "What a chmod does to an ACL.", Out: permissionsMode{}, handle: getPermissions},
		{Method: "PUT", Path: at, Privilege: control.FSSettingsWrite, Summary: "Say what a chmod does to an ACL: CROSS_PROTOCOL limits it, NATIVE replaces it. No file is touched.",
			In: permissionsMode{}, Out: permissionsMode{}, Conditional: true, handle: putPermissions},
	}
}

func renderPermissions(r config.Record[config.Permissions]) reply {
	out := permissionsMode{modeCrossProtocol}
	if r.Value.Native {
		out.Mode = modeNative
	}
	return reply{body: out, tag: tag(r.ID, r.Revision)}
}

func getPermissions(q *request) (reply, error) {
	r, err := q.s.o.Permissions.Permissions(q.Context())
	return renderPermissions(r), err
}

func putPermissions(q *request) (reply, error) {
	in, err := body[permissionsMode](q)
	if err != nil {
		return reply{}, err
	}
	if in.Mode != modeNative && in.Mode != modeCrossProtocol {
		return reply{}, badRequest("http_bad_request_error", "mode %q: want %s or %s", in.Mode, modeNative, modeCrossProtocol)
	}
	old, err := q.s.o.Permissions.Permissions(q.Context())
	if err != nil {
		return reply{}, err
	}
	rev, err := q.seen(renderPermissions(old).tag, old.Revision)
	if err != nil {
		return reply{}, err
	}
	r, err := q.s.o.Permissions.SetPermissions(q.Context(), rev, config.Permissions{Native: in.Mode == modeNative})
	return renderPermissions(r), err
}

// limitsACL fails where a chmod replaces the ACL: there is nothing to explain.
func (q *request) limitsACL() error {
	if q.s.o.Permissions == nil {
		return nil
	}
	r, err := q.s.o.Permissions.Permissions(q.Context())
	if err == nil && r.Value.Native {
		err = &apiError{Status: http.StatusConflict, Class: "fs_permissions_mode_operation_unsupported_error", Text: "in the permissions mode NATIVE a mode replaces the ACL"}
	}
	return err
}
