package client

import "context"

// Login signs in and keeps the token.
func (c *Client) Login(ctx context.Context, user, password string) error {
	var out struct {
		Token string `json:"bearer_token"`
	}
	in := map[string]string{"username": user, "password": password}
	if err := c.do(ctx, "POST", "/v1/session/login", in, &out); err != nil {
		return err
	}
	c.SetToken(out.Token)
	return nil
}

// ChangePassword sets the password of the user who is signed in.
func (c *Client) ChangePassword(ctx context.Context, old, new string) error {
	return c.do(ctx, "POST", "/v1/session/change-password", map[string]string{"old_password": old, "new_password": new}, nil)
}

// User is who is signed in.
type User struct {
	ID                ID       `json:"id"`
	Name              string   `json:"name"`
	PrimaryGroup      ID       `json:"primary_group"`
	SID               string   `json:"sid"`
	UID               string   `json:"uid"`
	HomeDirectory     *string  `json:"home_directory"`
	CanChangePassword bool     `json:"can_change_password"`
	Privileges        []string `json:"privileges"`
}

// WhoAmI answers who is signed in.
func (c *Client) WhoAmI(ctx context.Context) (u User, err error) {
	err = c.do(ctx, "GET", "/v1/session/who-am-i", nil, &u)
	return u, err
}

// Version of a server.
type Version struct {
	// RevisionID is the release whose API it is.
	RevisionID string `json:"revision_id"`
	// BuildID is the server itself.
	BuildID   string `json:"build_id"`
	Flavor    string `json:"flavor"`
	BuildDate string `json:"build_date"`
}

// Version needs no sign-in.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	err = c.do(ctx, "GET", "/v1/version", nil, &v)
	return v, err
}

// NodeState is the state of the node that answers.
type NodeState struct {
	NodeID    int    `json:"node_id"`
	State     string `json:"state"`
	ClusterID string `json:"cluster_id"`
}

// NodeState answers the state of the node that answers.
func (c *Client) NodeState(ctx context.Context) (s NodeState, err error) {
	err = c.do(ctx, "GET", "/v1/node/state", nil, &s)
	return s, err
}

// FileSystem are the sizes of the whole system.
type FileSystem struct {
	BlockSize     int    `json:"block_size_bytes"`
	TotalBytes    Number `json:"total_size_bytes"`
	FreeBytes     Number `json:"free_size_bytes"`
	SnapshotBytes Number `json:"snapshot_size_bytes"`
}

// FileSystem answers the sizes of the whole system.
func (c *Client) FileSystem(ctx context.Context) (s FileSystem, err error) {
	err = c.do(ctx, "GET", "/v1/file-system", nil, &s)
	return s, err
}
