package rest

import (
	"errors"
	"net/http"

	"manifold/internal/config"
	"manifold/internal/control"
)

type sshSettings struct {
	Enabled                bool `json:"enabled"`
	SFTPEnabled            bool `json:"sftp_enabled"`
	PasswordAuthentication bool `json:"password_authentication"`
	ChrootUsers            bool `json:"chroot_users"`
}

// sshSettingsPatch are settings of which any may be missing.
type sshSettingsPatch struct {
	Enabled                *bool `json:"enabled,omitempty"`
	SFTPEnabled            *bool `json:"sftp_enabled,omitempty"`
	PasswordAuthentication *bool `json:"password_authentication,omitempty"`
	ChrootUsers            *bool `json:"chroot_users,omitempty"`
}

type sshNodeStatus struct {
	NodeID int    `json:"node_id"`
	Status string `json:"status"`
	Error  string `json:"error"`
}

type sshStatus struct {
	Settings sshSettings     `json:"settings"`
	Statuses []sshNodeStatus `json:"statuses"`
}

type hostKey struct {
	Fingerprint string `json:"fingerprint"`
	Type        string `json:"type"`
	PublicKey   string `json:"public_key"`
}

type hostKeys struct {
	Entries []hostKey `json:"entries"`
}

type sshKey struct {
	Fingerprint  string `json:"fingerprint"`
	Type         string `json:"type"`
	PublicKey    string `json:"public_key"`
	Comment      string `json:"comment"`
	CreationTime string `json:"creation_time"`
}

type sshKeys struct {
	Entries []sshKey `json:"entries"`
}

type sshKeyRequest struct {
	PublicKey string `json:"public_key"`
}

func sshRoutes() []route {
	const r = control.ClusterRead
	get, set := verbs(func(q *request) control.SSH { return q.s.o.SSH }, control.SSH.SSH, control.SSH.SetSSH)
	return append(singleton[config.SSH, sshSettingsPatch]{
		path: "/v1/ssh/settings", read: r, write: control.ClusterWrite, about: "Settings of the SSH server", out: sshSettings{},
		def: config.DefaultSSH, get: get, set: set, render: plain(renderSSH),
		merge: func(_ *request, in sshSettingsPatch, v *config.SSH) error {
			given(in.Enabled, &v.Enabled)
			given(in.SFTPEnabled, &v.SFTP)
			given(in.PasswordAuthentication, &v.Passwords)
			given(in.ChrootUsers, &v.ChrootUsers)
			return nil
		},
	}.routes("PUT", "PATCH"),
		route{Method: "GET", Path: "/v1/ssh/status", Privilege: r, Summary: "Settings of the SSH server, and its state on each node.", Out: sshStatus{}, handle: getSSHStatus},
		route{Method: "GET", Path: "/v1/ssh/host-keys/", Privilege: r, Summary: "Public keys by which clients know this server.", Out: hostKeys{}, handle: listHostKeys})
}

func sshKeyRoutes() []route {
	const path = "/v1/users/{id}/ssh-keys/"
	return []route{
		{Method: "GET", Path: path, Privilege: control.UserRead, Summary: "Public keys with which a local user logs in over SSH.", Out: sshKeys{}, handle: listSSHKeys},
		{Method: "POST", Path: path, Privilege: control.UserWrite, Summary: "Give a local user a public key, in the form of OpenSSH.", In: sshKeyRequest{}, Out: sshKey{}, handle: addSSHKey},
		{Method: "DELETE", Path: path + "{fingerprint}", Privilege: control.UserWrite, Summary: "Take a public key away; the user's SSH connections end.", handle: deleteSSHKey},
	}
}

func renderSSH(v config.SSH) sshSettings {
	return sshSettings{v.Enabled, v.SFTP, v.Passwords, v.ChrootUsers}
}

func getSSHStatus(q *request) (reply, error) {
	rec, err := q.s.o.SSH.SSH(q.Context())
	if err != nil {
		return reply{}, err
	}
	s := q.s.o.SSH.SSHStatus()
	return reply{body: sshStatus{renderSSH(rec.Value), []sshNodeStatus{{int(q.s.o.NodeID), "SSH_SERVER_" + s.State, s.Error}}}}, nil
}

func listHostKeys(q *request) (reply, error) {
	keys, err := q.s.o.SSH.HostKeys(q.Context())
	if err != nil {
		return reply{}, err
	}
	out := hostKeys{Entries: []hostKey{}}
	for _, k := range keys {
		out.Entries = append(out.Entries, hostKey{k.Fingerprint, k.Type, q.s.o.SSH.KeyLine(k)})
	}
	return reply{body: out}, nil
}

func (q *request) sshKey(k config.SSHKey) sshKey {
	return sshKey{k.Fingerprint, k.Type, q.s.o.SSHKeys.KeyLine(k), k.Comment, timestamp(k.Created)}
}

func listSSHKeys(q *request) (reply, error) {
	id, err := q.principalID(0, "user")
	if err != nil {
		return reply{}, err
	}
	keys, err := q.s.o.SSHKeys.SSHKeys(q.Context(), id)
	if err != nil {
		return reply{}, accountError("user", q.params[0], err)
	}
	out := sshKeys{Entries: []sshKey{}}
	for _, k := range keys {
		out.Entries = append(out.Entries, q.sshKey(k))
	}
	return reply{body: out}, nil
}

func addSSHKey(q *request) (reply, error) {
	id, err := q.principalID(0, "user")
	if err != nil {
		return reply{}, err
	}
	in, err := body[sshKeyRequest](q)
	if err != nil {
		return reply{}, err
	}
	k, err := q.s.o.SSHKeys.ParseKey(in.PublicKey)
	if err != nil {
		return reply{}, err
	}
	q.about = k.Fingerprint
	k, err = q.s.o.SSHKeys.AddSSHKey(q.Context(), id, k)
	switch {
	case errors.Is(err, config.ErrExists):
		return reply{}, conflict("ssh_key_already_exists_error", "the user has this key already")
	case errors.Is(err, config.ErrLimit):
		return reply{}, conflict("ssh_key_limit_reached_error", "a user has at most %d keys", config.MaxSSHKeys)
	case err != nil:
		return reply{}, accountError("user", q.params[0], err)
	}
	return reply{body: q.sshKey(k)}, nil
}

func deleteSSHKey(q *request) (reply, error) {
	id, err := q.principalID(0, "user")
	if err != nil {
		return reply{}, err
	}
	err = q.s.o.SSHKeys.DeleteSSHKey(q.Context(), id, q.params[1])
	if errors.Is(err, config.ErrNotFound) {
		return reply{}, &apiError{Status: http.StatusNotFound, Class: "http_not_found_error", Text: "the user has no such key", cause: err}
	}
	return reply{}, err
}
