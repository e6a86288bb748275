package client

import (
	"context"
	"iter"
	"net/url"
)

// Share is an SMB share.
type Share struct {
	ID                string              `json:"id,omitempty"`
	ShareName         string              `json:"share_name"`
	FSPath            string              `json:"fs_path"`
	Description       string              `json:"description"`
	Permissions       []SharePermission   `json:"permissions"`
	Network           []NetworkPermission `json:"network_permissions"`
	AccessBased       bool                `json:"access_based_enumeration_enabled"`
	FileMode          string              `json:"default_file_create_mode"`
	DirMode           string              `json:"default_directory_create_mode"`
	RequireEncryption bool                `json:"require_encryption"`
	ETag              string              `json:"-"`
}

// SharePermission gives rights to somebody, or takes them away; for each right
// the first that mentions it decides.
type SharePermission struct {
	Type    string    `json:"type"` // ALLOWED or DENIED
	Trustee Principal `json:"trustee"`
	// Rights are READ, WRITE, CHANGE_PERMISSIONS, ALL or single rights.
	Rights []string `json:"rights"`
}

// NetworkPermission says what may be done from some addresses; the first that
// matches decides. No addresses are all.
type NetworkPermission struct {
	Type      string   `json:"type"`
	Addresses []string `json:"address_ranges"`
	Rights    []string `json:"rights"`
}

const sharesPath = "/v2/smb/shares/"

// Shares lists the SMB shares.
func (c *Client) Shares(ctx context.Context) (out []Share, err error) {
	err = c.do(ctx, "GET", sharesPath, nil, &out)
	return out, err
}

// Share answers the share with that id or name.
func (c *Client) Share(ctx context.Context, ref string) (s Share, err error) {
	s.ETag, err = c.Do(ctx, Request{Method: "GET", Path: sharesPath + url.PathEscape(ref)}, &s)
	return s, err
}

// AddShare adds a share. mkdir makes its directory if that is missing.
func (c *Client) AddShare(ctx context.Context, s Share, mkdir bool) (out Share, err error) {
	out.ETag, err = c.Do(ctx, Request{Method: "POST", Path: sharesPath + mkdirQuery(mkdir), Body: s}, &out)
	return out, err
}

// ReplaceShare replaces a share, if it still has the tag (unless "").
func (c *Client) ReplaceShare(ctx context.Context, ref string, s Share, mkdir bool, ifMatch string) (out Share, err error) {
	out.ETag, err = c.Do(ctx, Request{Method: "PUT", Path: sharesPath + url.PathEscape(ref) + mkdirQuery(mkdir), Body: s, IfMatch: ifMatch}, &out)
	return out, err
}

// DeleteShare removes the share with that id or name; its clients lose it.
func (c *Client) DeleteShare(ctx context.Context, ref string) error {
	return c.do(ctx, "DELETE", sharesPath+url.PathEscape(ref), nil, nil)
}

// SMBSettings are the settings of SMB. No dialects switch it off.
type SMBSettings struct {
	Encryption      string   `json:"session_encryption"` // NONE, PREFERRED or REQUIRED
	Dialects        []string `json:"supported_dialects"`
	HideFromUsers   bool     `json:"hide_shares_from_unauthorized_users"`
	HideFromHosts   bool     `json:"hide_shares_from_unauthorized_hosts"`
	SnapshotMode    string   `json:"snapshot_directory_mode"` // VISIBLE, HIDDEN or DISABLED
	BypassTraverse  bool     `json:"bypass_traverse_checking"`
	SigningRequired bool     `json:"signing_required"`
	ETag            string   `json:"-"`
}

const smbSettingsPath = "/v1/smb/settings"

// SMBSettings answers the settings of SMB.
func (c *Client) SMBSettings(ctx context.Context) (s SMBSettings, err error) {
	s.ETag, err = c.Do(ctx, Request{Method: "GET", Path: smbSettingsPath}, &s)
	return s, err
}

// ReplaceSMBSettings replaces them; ifMatch "" replaces whatever is there.
func (c *Client) ReplaceSMBSettings(ctx context.Context, s SMBSettings, ifMatch string) (out SMBSettings, err error) {
	out.ETag, err = c.Do(ctx, Request{Method: "PUT", Path: smbSettingsPath, Body: s, IfMatch: ifMatch}, &out)
	return out, err
}

// SMBSession is a client that has signed in over SMB.
type SMBSession struct {
	Location      string        `json:"location"`
	Originator    string        `json:"originator"`
	ServerAddress string        `json:"server_address"`
	User          Principal     `json:"user"`
	NumOpens      int           `json:"num_opens"`
	TimeOpen      SMBNanosecond `json:"time_open"`
	TimeIdle      SMBNanosecond `json:"time_idle"`
	IsGuest       bool          `json:"is_guest"`
	IsEncrypted   bool          `json:"is_encrypted"`
	ShareNames    []string      `json:"share_names"`
}

// SMBNanosecond is how long something lasts.
type SMBNanosecond struct {
	Nanoseconds Number `json:"nanoseconds"`
}

// SMBHandle is a file that is open over SMB.
type SMBHandle struct {
	FileNumber ID            `json:"file_number"`
	Info       SMBHandleInfo `json:"handle_info"`
}

// SMBHandleInfo says who has it open and how.
type SMBHandleInfo struct {
	Location string   `json:"location"`
	NumLocks int      `json:"num_byte_range_locks"`
	Access   []string `json:"access_mask"`
	Owner    string   `json:"owner"` // auth_id
	Path     string   `json:"path"`
}

// SMBSessions lists the sessions of SMB clients, those of one user if identity
// is not "".
func (c *Client) SMBSessions(ctx context.Context, identity string) iter.Seq2[SMBSession, error] {
	return pages[SMBSession](ctx, c, "/v1/smb/sessions/"+query("identity", identity), "session_infos")
}

// SMBHandles lists the files that are open over SMB.
func (c *Client) SMBHandles(ctx context.Context) iter.Seq2[SMBHandle, error] {
	return pages[SMBHandle](ctx, c, "/v1/smb/files/?resolve_paths=true", "file_handles")
}

// SMBClosed is what came of closing something, "" if it is closed.
type SMBClosed struct {
	Error string `json:"error_message"`
}

type smbLocation struct {
	Location string `json:"location"`
}

// CloseSMBSessions closes sessions by their locations.
func (c *Client) CloseSMBSessions(ctx context.Context, locations ...string) (out []SMBClosed, err error) {
	var in []smbLocation
	for _, l := range locations {
		in = append(in, smbLocation{l})
	}
	err = c.do(ctx, "POST", "/v1/smb/sessions/close", in, &out)
	return out, err
}

// CloseSMBHandles closes open files by the locations of their handles.
func (c *Client) CloseSMBHandles(ctx context.Context, locations ...string) (out []SMBClosed, err error) {
	type handle struct {
		Info smbLocation `json:"handle_info"`
	}
	var in []handle
	for _, l := range locations {
		in = append(in, handle{smbLocation{l}})
	}
	err = c.do(ctx, "POST", "/v1/smb/files/close", in, &out)
	return out, err
}
