package rest

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/identity"
)

// auditNames are the operations that change something besides files, and some
// that read what is worth knowing, by method and path without the version. What
// is done to files is recorded below.
var auditNames = map[string]string{
	"POST /session/change-password": "session_change_password",
	"POST /users/":                  "auth_create_user", "PUT /users/{id}": "auth_modify_user", "DELETE /users/{id}": "auth_delete_user", "POST /users/{id}/setpassword": "auth_modify_user_password",
	"POST /groups/": "auth_add_group", "PUT /groups/{id}": "auth_modify_group", "DELETE /groups/{id}": "auth_delete_group",
	"POST /groups/{id}/members/": "auth_add_member_to_group", "DELETE /groups/{id}/members/{member_id}": "auth_remove_member_from_group",
	"POST /auth/roles/": "auth_create_role", "PUT /auth/roles/{role_name}": "auth_modify_role", "PATCH /auth/roles/{role_name}": "auth_modify_role", "DELETE /auth/roles/{role_name}": "auth_delete_role",
	"POST /auth/roles/{role_name}/members": "auth_assign_role", "DELETE /auth/roles/{role_name}/members/{member_id}": "auth_unassign_role",
	"POST /auth/access-tokens/": "auth_create_access_token", "PATCH /auth/access-tokens/{id}": "auth_modify_access_token", "DELETE /auth/access-tokens/{id}": "auth_delete_access_token",
	"GET /auth/access-tokens/": "auth_get_access_tokens", "GET /auth/access-tokens/{id}": "auth_get_access_token",
	"PUT /auth/identities/{id}/attributes": "auth_modify_identity_attributes", "DELETE /auth/identities/{id}/attributes": "auth_delete_identity_attributes",
	"POST /auth/clear-cache":     "auth_clear_cache",
	"PUT /audit/syslog/config":   "audit_modify_syslog_config",
	"PATCH /audit/syslog/config": "audit_modify_syslog_config", "PUT /audit/config": "audit_modify_syslog_config", "PATCH /audit/config": "audit_modify_syslog_config",
	"PUT /cluster/settings": "cluster_modify_config", "PUT /cluster/settings/ssl": "ssl_modify_certificate", "PUT /cluster/settings/ssl/certificate": "ssl_modify_certificate",
	"PUT /cluster/settings/ssl/ca-certificate": "ssl_modify_ca_certificate", "DELETE /cluster/settings/ssl/ca-certificate": "ssl_delete_ca_certificate", "PUT /cluster/settings/ssl/ciphers": "ssl_modify_ciphers",
	"POST /file-system/security/keys/": "fs_create_public_key", "PUT /file-system/security/keys/{key_ref}": "fs_modify_public_key", "PATCH /file-system/security/keys/{key_ref}": "fs_modify_public_key",
	"DELETE /file-system/security/keys/{key_ref}": "fs_delete_public_key", "POST /file-system/security/keys/{key_ref}/replace": "fs_replace_public_key",
	"POST /files/quotas/": "fs_set_quota", "PUT /files/quotas/{id}": "fs_set_quota", "DELETE /files/quotas/{id}": "fs_set_quota",
	"DELETE /files/locks/nlm/byte-range/": "fs_release_nlm_locks_by_client", "DELETE /files/{ref}/locks/nlm/byte-range/": "fs_release_nlm_locks_by_file",
	"POST /tree-delete/jobs/": "tree_delete_start", "DELETE /tree-delete/jobs/{id}": "tree_delete_cancel", "POST /tree-delete/jobs/restart/{id}": "tree_delete_restart",
	"GET /files/{ref}/sample/": "fs_sample",
	"POST /snapshots/":         "snapshot_create_snapshot", "PUT /snapshots/{id}": "snapshot_modify_snapshot", "PATCH /snapshots/{id}": "snapshot_modify_snapshot", "DELETE /snapshots/{id}": "snapshot_delete_snapshot",
	"POST /snapshots/{id}/lock": "snapshot_lock_snapshot", "POST /snapshots/{id}/unlock": "snapshot_unlock_snapshot",
	"GET /snapshots/{id}/unlock-challenge": "snapshot_unlock_snapshot_challege", // as readers of logs know it
	"POST /snapshots/policies/":            "snapshot_create_policy", "PUT /snapshots/policies/{id}": "snapshot_modify_policy", "PATCH /snapshots/policies/{id}": "snapshot_modify_policy", "DELETE /snapshots/policies/{id}": "snapshot_delete_policy",
	"POST /nfs/exports/": "nfs_create_export", "PUT /nfs/exports/{ref}": "nfs_modify_export", "PATCH /nfs/exports/{ref}": "nfs_modify_export", "DELETE /nfs/exports/{ref}": "nfs_delete_export",
	"PUT /nfs/exports/{export_id}": "nfs_modify_export", "PATCH /nfs/exports/{export_id}": "nfs_modify_export", "DELETE /nfs/exports/{export_id}": "nfs_delete_export",
	"POST /nfs/shares/": "nfs_create_export", "PUT /nfs/shares/{id}": "nfs_modify_export", "DELETE /nfs/shares/{id}": "nfs_delete_export",
	"PUT /nfs/settings": "nfs_modify_settings", "PATCH /nfs/settings": "nfs_modify_settings",
	"POST /smb/shares/": "smb_create_share", "PUT /smb/shares/{ref}": "smb_modify_share", "PATCH /smb/shares/{ref}": "smb_modify_share", "DELETE /smb/shares/{ref}": "smb_delete_share",
	"PUT /smb/shares/{share_id}": "smb_modify_share", "PATCH /smb/shares/{share_id}": "smb_modify_share", "DELETE /smb/shares/{share_id}": "smb_delete_share",
	"PUT /smb/shares/{id}": "smb_modify_share", "DELETE /smb/shares/{id}": "smb_delete_share",
	"PUT /smb/settings": "smb_modify_settings", "PATCH /smb/settings": "smb_modify_settings",
	"POST /smb/sessions/close": "smb_close_session", "POST /smb/files/close": "smb_close_handle",
	"PUT /ftp/settings": "ftp_modify_settings", "PATCH /ftp/settings": "ftp_modify_settings",
	"PUT /ssh/settings": "ssh_modify_settings", "PATCH /ssh/settings": "ssh_modify_settings",
	"POST /users/{id}/ssh-keys/": "ssh_add_public_key", "DELETE /users/{id}/ssh-keys/{fingerprint}": "ssh_delete_public_key",
	"PATCH /s3/settings":    "s3_modify_settings",
	"POST /s3/access-keys/": "s3_create_key", "DELETE /s3/access-keys/{id}": "s3_delete_key",
	"PUT /time/settings": "time_modify_config", "PATCH /time/settings": "time_modify_config",
	"PUT /web-ui/settings": "web_ui_modify_settings", "PATCH /web-ui/settings": "web_ui_modify_settings",
	"PATCH /dns/configs/system": "dns_modify", "PUT /dns/lookup-override-config": "dns_set_lookup_overrides", "POST /dns/clear-dns-cache": "dns_clear_cache",
	"PUT /file-system/settings/atime": "fs_modify_atime_settings", "PATCH /file-system/settings/atime": "fs_modify_atime_settings",
	"PUT /file-system/settings/permissions": "fs_modify_permissions_settings", "PUT /file-system/settings/notify": "fs_modify_notify_settings",
	"POST /s3/buckets/": "s3_add_bucket", "PATCH /s3/buckets/{name}": "s3_modify_bucket", "DELETE /s3/buckets/{name}": "s3_delete_bucket",
	"PUT /s3/buckets/{name}/policy": "s3_put_bucket_policy", "GET /s3/buckets/{name}/policy": "s3_get_bucket_policy",
	"POST /s3/buckets/{name}/policy/explain-access": "s3_bucket_policy_explain_access", "DELETE /s3/buckets/{name}/uploads/{id}": "s3_abort_upload",
	"POST /scrub": "scrub_start", "DELETE /scrub": "scrub_stop",
}

// auditName is the name of an operation in the log, "" if it is none of its own.
func (r *route) auditName() string {
	_, path, _ := strings.Cut(strings.TrimPrefix(r.Path, "/"), "/")
	return auditNames[r.Method+" /"+path]
}

// audit records that the caller did something.
func (q *request) audit(op, status, extra, extra2 string) {
	if q.s.o.Audit == nil || q.ses == nil {
		return
	}
	q.s.o.Audit.Verb(control.AuditEvent{User: identity.AuthID(q.ses.User.ID), Client: client(q.Request).Addr(), Operation: op, Status: status, Extra: extra, Extra2: extra2})
}

// refused records that a caller lacks the privilege for an operation. One that
// has no name in the log is recorded once a minute.
func (q *request) refused(err error) {
	if q.route.auditName() != "" {
		q.audited(err)
		return
	}
	if q.s.o.Audit == nil || q.ses == nil {
		return
	}
	q.s.o.Audit.Verb(control.AuditEvent{
		User: identity.AuthID(q.ses.User.ID), Client: client(q.Request).Addr(), Operation: "rest_request", Status: auditStatus(err),
		Extra: q.route.Method + " " + q.route.Path, Extra2: string(q.route.Privilege), Repeats: true,
	})
}

// audited records the outcome of an operation that has a name in the log.
func (q *request) audited(err error) {
	op := q.route.auditName()
	if op == "" {
		return
	}
	about := q.params
	if q.about != "" && !slices.Contains(about, q.about) {
		about = append(slices.Clip(about), q.about)
	}
	extra := [2]string{}
	copy(extra[:], about)
	q.audit(op, auditStatus(err), short(extra[0]), short(extra[1]))
}

// maxExtra bounds what a record takes over from a request.
const maxExtra = 1024

// short cuts a text to what a record takes, at the end of a rune.
func short(s string) string {
	if len(s) <= maxExtra {
		return s
	}
	return strings.ToValidUTF8(s[:maxExtra], "")
}

// auditable bodies name what the operation is about, where the path does not.
type auditable interface{ about() string }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (r userRequest) about() string   { return r.Name }
func (r groupRequest) about() string  { return r.Name }
func (r memberRequest) about() string { return r.MemberID.text() }
func (r roleRecord) about() string    { return r.Name }
func (r tokenRequest) about() string  { return r.User.about() }
func (r s3KeyRequest) about() string  { return r.User.about() }
func (r s3NewBucket) about() string   { return r.Name }
func (r newKey) about() string        { return r.Name }
func (r keyRef) about() string        { return r.Ref }
func (r exportPatch) about() string   { return text(r.ExportPath) }
func (r sharePatch) about() string    { return text(r.ShareName) }
func (r policyRequest) about() string { return cmp.Or(text(r.Name), text(r.NameV1)) }
func (r newSnapshot) about() string {
	return cmp.Or(r.NameSuffix, r.Name, r.SourcePath, r.SourceFileID.text())
}
func (r quota) about() string             { return r.ID.text() }
func (r treeDeleteRequest) about() string { return r.ID }

// about is the identity as it was given.
func (r identityQuery) about() string {
	switch {
	case r.Name != "" && r.Domain != "":
		return r.Domain + "\\" + r.Name
	case r.Name != "":
		return r.Name
	case r.AuthID.Set:
		return "auth_id:" + r.AuthID.text()
	case r.SID != "":
		return r.SID
	case r.UID.Set:
		return "uid:" + r.UID.text()
	case r.GID.Set:
		return "gid:" + r.GID.text()
	}
	return ""
}

// text is "" where nothing was given.
func (u u64) text() string {
	if !u.Set {
		return ""
	}
	return strconv.FormatUint(u.N, 10)
}

func auditStatus(err error) string {
	if err == nil {
		return "ok"
	}
	return strings.TrimSuffix(errorOf(err).Class, "_error")
}

// auditLogin records a sign-in by the name that was given.
func (q *request) auditLogin(name string, err error) {
	if q.s.o.Audit == nil {
		return
	}
	var user identity.AuthID
	if u, uerr := q.s.o.Principals.UserByName(q.Context(), name); uerr == nil {
		user = identity.AuthID(u.ID)
	}
	q.s.o.Audit.Verb(control.AuditEvent{User: user, Client: client(q.Request).Addr(), Operation: "rest_login", Status: auditStatus(err), Extra: name,
		Repeats: errors.Is(err, service.ErrTooManyAttempts)})
}
