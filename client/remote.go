package client

import (
	"context"
	"net/url"
)

// FTPSettings of the FTP server.
type FTPSettings struct {
	Enabled bool `json:"enabled"`
	// CheckRemoteHost takes data connections from the client's own host only.
	CheckRemoteHost bool `json:"check_remote_host"`
	LogOperations   bool `json:"log_operations"`
	// ChrootUsers makes the home directory all that a user sees.
	ChrootUsers                 bool `json:"chroot_users"`
	AllowUnencryptedConnections bool `json:"allow_unencrypted_connections"`
	ExpandWildcards             bool `json:"expand_wildcards"`
	// AnonymousUser is the local user that anonymous logins act for, nil for none.
	AnonymousUser *Identity `json:"anonymous_user"`
	Greeting      string    `json:"greeting"`
}

// NodeStatus is how a protocol is on a node.
type NodeStatus struct {
	NodeID int    `json:"node_id"`
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

// FTPSettings answers the settings of the FTP server and their entity tag.
func (c *Client) FTPSettings(ctx context.Context) (s FTPSettings, etag string, err error) {
	etag, err = c.Do(ctx, Request{Method: "GET", Path: "/v0/ftp/settings"}, &s)
	return s, etag, err
}

// SetFTPSettings replaces them; etag "" replaces whatever they are.
func (c *Client) SetFTPSettings(ctx context.Context, in FTPSettings, etag string) (s FTPSettings, err error) {
	_, err = c.Do(ctx, Request{Method: "PUT", Path: "/v0/ftp/settings", Body: in, IfMatch: etag}, &s)
	return s, err
}

// FTPStatus answers the state of the FTP server on each node.
func (c *Client) FTPStatus(ctx context.Context) ([]NodeStatus, error) {
	var out struct {
		Statuses []NodeStatus `json:"statuses"`
	}
	err := c.do(ctx, "GET", "/v0/ftp/status", nil, &out)
	return out.Statuses, err
}

// SSHSettings of the SSH server.
type SSHSettings struct {
	Enabled     bool `json:"enabled"`
	SFTPEnabled bool `json:"sftp_enabled"`
	// PasswordAuthentication lets users log in without a public key.
	PasswordAuthentication bool `json:"password_authentication"`
	// ChrootUsers makes the home directory all that SFTP shows.
	ChrootUsers bool `json:"chroot_users"`
}

// SSHSettings answers the settings of the SSH server and their entity tag.
func (c *Client) SSHSettings(ctx context.Context) (s SSHSettings, etag string, err error) {
	etag, err = c.Do(ctx, Request{Method: "GET", Path: "/v1/ssh/settings"}, &s)
	return s, etag, err
}

// SetSSHSettings replaces them; etag "" replaces whatever they are.
func (c *Client) SetSSHSettings(ctx context.Context, in SSHSettings, etag string) (s SSHSettings, err error) {
	_, err = c.Do(ctx, Request{Method: "PUT", Path: "/v1/ssh/settings", Body: in, IfMatch: etag}, &s)
	return s, err
}

// SSHStatus answers the state of the SSH server on each node.
func (c *Client) SSHStatus(ctx context.Context) ([]NodeStatus, error) {
	var out struct {
		Statuses []NodeStatus `json:"statuses"`
	}
	err := c.do(ctx, "GET", "/v1/ssh/status", nil, &out)
	return out.Statuses, err
}

// SSHKey is a public key of SSH.
type SSHKey struct {
	// Fingerprint as OpenSSH shows it: "SHA256:…".
	Fingerprint string `json:"fingerprint"`
	Type        string `json:"type"`
	// PublicKey is the key as a line of authorized_keys.
	PublicKey string `json:"public_key"`
	Comment   string `json:"comment,omitempty"`
	Created   string `json:"creation_time,omitempty"`
}

// SSHHostKeys lists the keys by which clients of SSH know the server.
func (c *Client) SSHHostKeys(ctx context.Context) ([]SSHKey, error) {
	return c.sshKeys(ctx, "/v1/ssh/host-keys/")
}

// SSHKeys lists the public keys with which a local user logs in.
func (c *Client) SSHKeys(ctx context.Context, user ID) ([]SSHKey, error) {
	return c.sshKeys(ctx, "/v1/users/"+user.String()+"/ssh-keys/")
}

func (c *Client) sshKeys(ctx context.Context, path string) ([]SSHKey, error) {
	var out struct {
		Entries []SSHKey `json:"entries"`
	}
	err := c.do(ctx, "GET", path, nil, &out)
	return out.Entries, err
}

// AddSSHKey lets a local user log in with a public key, given as a line of
// authorized_keys.
func (c *Client) AddSSHKey(ctx context.Context, user ID, line string) (k SSHKey, err error) {
	err = c.do(ctx, "POST", "/v1/users/"+user.String()+"/ssh-keys/", map[string]string{"public_key": line}, &k)
	return k, err
}

// RemoveSSHKey takes a key away by its fingerprint; the user's SSH connections end.
func (c *Client) RemoveSSHKey(ctx context.Context, user ID, fingerprint string) error {
	return c.do(ctx, "DELETE", "/v1/users/"+user.String()+"/ssh-keys/"+url.PathEscape(fingerprint), nil, nil)
}
