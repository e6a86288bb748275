package client

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// LocalUser is a local user.
type LocalUser struct {
	ID                ID      `json:"id"`
	Name              string  `json:"name"`
	PrimaryGroup      ID      `json:"primary_group"`
	SID               string  `json:"sid"`
	UID               string  `json:"uid"` // "" if none
	Home              *string `json:"home_directory"`
	CanChangePassword bool    `json:"can_change_password"`
}

// NewUser is what a user is made of, or replaced by.
type NewUser struct {
	Name         string `json:"name"`
	PrimaryGroup ID     `json:"primary_group"`
	UID          string `json:"uid"`
	Home         string `json:"home_directory"`
	// Password; "" is none, or in a replacement the one there is.
	Password string `json:"password,omitempty"`
}

// Group is a local group.
type Group struct {
	ID   ID     `json:"id"`
	Name string `json:"name"`
	SID  string `json:"sid"`
	GID  string `json:"gid"` // "" if none
}

// Users lists the local users.
func (c *Client) Users(ctx context.Context) (us []LocalUser, err error) {
	return us, c.do(ctx, "GET", "/v1/users/", nil, &us)
}

// LocalUser answers a local user and its entity tag.
func (c *Client) LocalUser(ctx context.Context, id ID) (u LocalUser, etag string, err error) {
	etag, err = c.Do(ctx, Request{Method: "GET", Path: "/v1/users/" + id.String()}, &u)
	return u, etag, err
}

// AddUser creates a local user.
func (c *Client) AddUser(ctx context.Context, n NewUser) (u LocalUser, err error) {
	return u, c.do(ctx, "POST", "/v1/users/", n, &u)
}

// ReplaceUser replaces a local user, if it still has that entity tag ("": in any case).
func (c *Client) ReplaceUser(ctx context.Context, id ID, n NewUser, etag string) (u LocalUser, err error) {
	_, err = c.Do(ctx, Request{Method: "PUT", Path: "/v1/users/" + id.String(), Body: n, IfMatch: etag}, &u)
	return u, err
}

// RemoveUser removes a local user.
func (c *Client) RemoveUser(ctx context.Context, id ID) error {
	return c.do(ctx, "DELETE", "/v1/users/"+id.String(), nil, nil)
}

// SetPassword sets another user's password.
func (c *Client) SetPassword(ctx context.Context, id ID, password string) error {
	return c.do(ctx, "POST", "/v1/users/"+id.String()+"/setpassword", map[string]string{"new_password": password}, nil)
}

// GroupsOf lists the groups of a local user.
func (c *Client) GroupsOf(ctx context.Context, user ID) (gs []Group, err error) {
	return gs, c.do(ctx, "GET", "/v1/users/"+user.String()+"/groups/", nil, &gs)
}

// Groups lists the local groups.
func (c *Client) Groups(ctx context.Context) (gs []Group, err error) {
	return gs, c.do(ctx, "GET", "/v1/groups/", nil, &gs)
}

// AddGroup creates a local group; gid "" is none.
func (c *Client) AddGroup(ctx context.Context, name, gid string) (g Group, err error) {
	return g, c.do(ctx, "POST", "/v1/groups/", map[string]string{"name": name, "gid": gid}, &g)
}

// ReplaceGroup replaces name and gid of a local group.
func (c *Client) ReplaceGroup(ctx context.Context, id ID, name, gid string) (g Group, err error) {
	return g, c.do(ctx, "PUT", "/v1/groups/"+id.String(), map[string]string{"id": id.String(), "name": name, "gid": gid}, &g)
}

// RemoveGroup removes a local group.
func (c *Client) RemoveGroup(ctx context.Context, id ID) error {
	return c.do(ctx, "DELETE", "/v1/groups/"+id.String(), nil, nil)
}

// Members lists the users of a group.
func (c *Client) Members(ctx context.Context, group ID) (us []LocalUser, err error) {
	return us, c.do(ctx, "GET", "/v1/groups/"+group.String()+"/members/", nil, &us)
}

// AddMember puts a user into a group.
func (c *Client) AddMember(ctx context.Context, group, user ID) error {
	return c.do(ctx, "POST", "/v1/groups/"+group.String()+"/members/", map[string]string{"member_id": user.String()}, nil)
}

// RemoveMember takes a user out of a group.
func (c *Client) RemoveMember(ctx context.Context, group, user ID) error {
	return c.do(ctx, "DELETE", "/v1/groups/"+group.String()+"/members/"+user.String(), nil, nil)
}

// Principal names a principal of any domain by all that is known of it.
type Principal struct {
	Domain string  `json:"domain,omitempty"`
	AuthID *string `json:"auth_id,omitempty"`
	UID    *uint32 `json:"uid,omitempty"`
	GID    *uint32 `json:"gid,omitempty"`
	SID    *string `json:"sid,omitempty"`
	Name   *string `json:"name,omitempty"`
}

// Named is an identity to be found by a text: a name, or a form as local:jane,
// uid:1000, gid:1000, sid:S-1-5-…, auth_id:500 or world:Everyone.
func Named(text string) Principal { return Principal{Name: &text} }

// String is the shortest text that names it.
func (i Principal) String() string {
	switch {
	case i.Name != nil && i.Domain == "LOCAL":
		return "local:" + *i.Name
	case i.Name != nil:
		return *i.Name
	case i.Domain == "POSIX_USER" && i.UID != nil:
		return fmt.Sprintf("uid:%d", *i.UID)
	case i.Domain == "POSIX_GROUP" && i.GID != nil:
		return fmt.Sprintf("gid:%d", *i.GID)
	case i.SID != nil:
		return "sid:" + *i.SID
	case i.AuthID != nil:
		return "auth_id:" + *i.AuthID
	}
	return ""
}

// ExpandedPrincipal is everybody that an identity is.
type ExpandedPrincipal struct {
	ID          Principal   `json:"id"`
	Type        string      `json:"type"`
	SMB         Principal   `json:"smb_id"`
	NFS         Principal   `json:"nfs_id"`
	Equivalents []Principal `json:"equivalent_ids"`
	Groups      []Principal `json:"group_ids"`
}

// FindIdentity completes an identity.
func (c *Client) FindIdentity(ctx context.Context, i Principal) (found Principal, err error) {
	return found, c.do(ctx, "POST", "/v1/identity/find", i, &found)
}

// ExpandIdentity answers who an identity also is, and its groups.
func (c *Client) ExpandIdentity(ctx context.Context, i Principal) (x ExpandedPrincipal, err error) {
	return x, c.do(ctx, "POST", "/v1/identity/expand", map[string]Principal{"id": i}, &x)
}

// Role gives privileges to its members.
type Role struct {
	Name        string   `json:"name,omitempty"`
	Description string   `json:"description"`
	Privileges  []string `json:"privileges"`
}

func rolePath(name string) string { return "/v1/auth/roles/" + url.PathEscape(name) }

// Privileges answers every privilege and what it allows.
func (c *Client) Privileges(ctx context.Context) (p map[string]string, err error) {
	return p, c.do(ctx, "GET", "/v1/auth/privileges/", nil, &p)
}

// Roles answers all roles by name.
func (c *Client) Roles(ctx context.Context) (rs map[string]Role, err error) {
	return rs, c.do(ctx, "GET", "/v1/auth/roles/", nil, &rs)
}

// Role answers one role and its entity tag.
func (c *Client) Role(ctx context.Context, name string) (r Role, etag string, err error) {
	etag, err = c.Do(ctx, Request{Method: "GET", Path: rolePath(name)}, &r)
	return r, etag, err
}

// AddRole creates a role.
func (c *Client) AddRole(ctx context.Context, r Role) (out Role, err error) {
	return out, c.do(ctx, "POST", "/v1/auth/roles/", r, &out)
}

// ReplaceRole replaces description and privileges, if the role still has that
// entity tag ("": in any case).
func (c *Client) ReplaceRole(ctx context.Context, r Role, etag string) (out Role, err error) {
	_, err = c.Do(ctx, Request{Method: "PUT", Path: rolePath(r.Name), Body: r, IfMatch: etag}, &out)
	return out, err
}

// RemoveRole removes a role.
func (c *Client) RemoveRole(ctx context.Context, name string) error {
	return c.do(ctx, "DELETE", rolePath(name), nil, nil)
}

// RoleMembers lists who has a role.
func (c *Client) RoleMembers(ctx context.Context, name string) ([]Principal, error) {
	var all []Principal
	for next := rolePath(name) + "/members"; next != ""; {
		var page struct {
			Members []Principal `json:"members"`
			Paging  struct {
				Next string `json:"next"`
			} `json:"paging"`
		}
		if err := c.do(ctx, "GET", next, nil, &page); err != nil {
			return nil, err
		}
		all, next = append(all, page.Members...), page.Paging.Next
	}
	return all, nil
}

// AddRoleMember gives somebody a role.
func (c *Client) AddRoleMember(ctx context.Context, name string, who Principal) (added Principal, err error) {
	return added, c.do(ctx, "POST", rolePath(name)+"/members", who, &added)
}

// RemoveRoleMember takes a role from somebody.
func (c *Client) RemoveRoleMember(ctx context.Context, name, authID string) error {
	return c.do(ctx, "DELETE", rolePath(name)+"/members/"+url.PathEscape(authID), nil, nil)
}

// AccessToken is what is known of a long-lived token.
type AccessToken struct {
	ID      string    `json:"id"`
	User    Principal `json:"user"`
	Creator Principal `json:"creator"`
	Created string    `json:"creation_time"`
	Expires string    `json:"expiration_time"` // "" is never
	Enabled bool      `json:"enabled"`
}

// AccessTokens lists the long-lived tokens, of one user unless that is "".
func (c *Client) AccessTokens(ctx context.Context, user string) ([]AccessToken, error) {
	var all []AccessToken
	for next := "/v1/auth/access-tokens/" + query("user", user); next != ""; {
		var page struct {
			Entries []AccessToken `json:"entries"`
			Paging  struct {
				Next *string `json:"next"`
			} `json:"paging"`
		}
		if err := c.do(ctx, "GET", next, nil, &page); err != nil {
			return nil, err
		}
		all, next = append(all, page.Entries...), ""
		if page.Paging.Next != nil {
			next = *page.Paging.Next
		}
	}
	return all, nil
}

// NewAccessToken issues a token of a user; the secret is seen only this once.
// A zero expires is never.
func (c *Client) NewAccessToken(ctx context.Context, user Principal, expires time.Time) (id, secret string, err error) {
	in := struct {
		User    Principal `json:"user"`
		Expires string    `json:"expiration_time,omitempty"`
	}{User: user}
	if !expires.IsZero() {
		in.Expires = expires.UTC().Format(time.RFC3339Nano)
	}
	var out struct {
		ID     string `json:"id"`
		Secret string `json:"bearer_token"`
	}
	err = c.do(ctx, "POST", "/v1/auth/access-tokens/", in, &out)
	return out.ID, out.Secret, err
}

// AccessToken answers a token, without its secret.
func (c *Client) AccessToken(ctx context.Context, id string) (t AccessToken, err error) {
	return t, c.do(ctx, "GET", "/v1/auth/access-tokens/"+url.PathEscape(id), nil, &t)
}

// EnableAccessToken switches a token on or off.
func (c *Client) EnableAccessToken(ctx context.Context, id string, on bool) error {
	return c.do(ctx, "PATCH", "/v1/auth/access-tokens/"+url.PathEscape(id), map[string]bool{"enabled": on}, nil)
}

// ExpireAccessToken changes when a token expires; the zero time is never.
func (c *Client) ExpireAccessToken(ctx context.Context, id string, at time.Time) error {
	expires := ""
	if !at.IsZero() {
		expires = at.UTC().Format(time.RFC3339Nano)
	}
	return c.do(ctx, "PATCH", "/v1/auth/access-tokens/"+url.PathEscape(id), map[string]string{"expiration_time": expires}, nil)
}

// RevokeAccessToken ends a token.
func (c *Client) RevokeAccessToken(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", "/v1/auth/access-tokens/"+url.PathEscape(id), nil, nil)
}

// UserNamed finds a local user by its name, or by its id in digits.
func (c *Client) UserNamed(ctx context.Context, name string) (LocalUser, error) {
	us, err := c.Users(ctx)
	if err != nil {
		return LocalUser{}, err
	}
	for _, u := range us {
		if strings.EqualFold(u.Name, name) {
			return u, nil
		}
	}
	if n, perr := strconv.ParseUint(name, 10, 64); perr == nil {
		u, _, err := c.LocalUser(ctx, ID(n))
		return u, err
	}
	return LocalUser{}, fmt.Errorf("there is no local user %q", name)
}

// GroupNamed finds a local group by its name, or by its id in digits.
func (c *Client) GroupNamed(ctx context.Context, name string) (Group, error) {
	gs, err := c.Groups(ctx)
	if err != nil {
		return Group{}, err
	}
	for _, g := range gs {
		if strings.EqualFold(g.Name, name) || g.ID.String() == name {
			return g, nil
		}
	}
	return Group{}, fmt.Errorf("there is no local group %q", name)
}
