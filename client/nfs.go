package client

import (
	"context"
	"iter"
	"slices"
)

// NFSSettings are the ways into NFS that are open.
type NFSSettings struct {
	V4Enabled      bool   `json:"v4_enabled"`
	Krb5Enabled    bool   `json:"krb5_enabled"`
	Krb5pEnabled   bool   `json:"krb5p_enabled"`
	Krb5iEnabled   bool   `json:"krb5i_enabled"`
	AuthSysEnabled bool   `json:"auth_sys_enabled"`
	ETag           string `json:"-"`
}

const nfsSettingsPath = "/v2/nfs/settings"

// NFSSettings answers the settings of NFS.
func (c *Client) NFSSettings(ctx context.Context) (s NFSSettings, err error) {
	s.ETag, err = c.Do(ctx, Request{Method: "GET", Path: nfsSettingsPath}, &s)
	return s, err
}

// ReplaceNFSSettings replaces them; ifMatch "" replaces whatever is there.
func (c *Client) ReplaceNFSSettings(ctx context.Context, s NFSSettings, ifMatch string) (out NFSSettings, err error) {
	out.ETag, err = c.Do(ctx, Request{Method: "PUT", Path: nfsSettingsPath, Body: s, IfMatch: ifMatch}, &out)
	return out, err
}

// Lock is a byte-range lock of an NFSv3 client, or a request for one that waits.
type Lock struct {
	FileID     ID       `json:"file_id"`
	SnapshotID Number   `json:"snapshot_id"`
	Mode       []string `json:"mode"`
	Offset     Number   `json:"offset"`
	// Size 0 is to the end of all offsets.
	Size         Number `json:"size"`
	OwnerID      string `json:"owner_id"`
	OwnerName    string `json:"owner_name"`
	OwnerAddress string `json:"owner_address"`
}

// Exclusive tells a write lock from a read lock.
func (l *Lock) Exclusive() bool { return slices.Contains(l.Mode, "API_BYTE_RANGE_EXCLUSIVE") }

// LockFilter narrows a listing of locks. The zero value takes all.
type LockFilter struct {
	// File names one file; the other fields then say nothing.
	File     Ref
	Snapshot uint64 // of File, 0: the live tree
	// OwnerName and OwnerAddress name a client.
	OwnerName, OwnerAddress string
}

const locksPath = "/locks/nlm/byte-range/"

func (f *LockFilter) path(rest string) string {
	if f.File != "" {
		return f.File.path("v1", locksPath+rest) + query("snapshot", snapshotArg(f.Snapshot))
	}
	return "/v1/files" + locksPath + rest + query("owner_name", f.OwnerName, "owner_address", f.OwnerAddress)
}

// Locks lists locks that are held.
func (c *Client) Locks(ctx context.Context, f LockFilter) iter.Seq2[Lock, error] {
	return pages[Lock](ctx, c, f.path(""), "grants")
}

// LockWaiters lists requests that wait for a lock.
func (c *Client) LockWaiters(ctx context.Context, f LockFilter) iter.Seq2[Lock, error] {
	return pages[Lock](ctx, c, f.path("waiters/"), "waiters")
}

// ReleaseClientLocks frees all locks of a client, by its name or address or
// both. A client that is alive does not know that it has lost them.
func (c *Client) ReleaseClientLocks(ctx context.Context, name, address string) error {
	return c.do(ctx, "DELETE", "/v1/files"+locksPath+query("owner_name", name, "owner_address", address), nil, nil)
}

// ReleaseLock frees an owner's locks in a range of a file; a size of 0 is to
// the end of all offsets.
func (c *Client) ReleaseLock(ctx context.Context, file Ref, snapshot uint64, owner string, offset, size Number) error {
	return c.do(ctx, "DELETE", file.path("v1", locksPath)+
		query("snapshot", snapshotArg(snapshot), "owner_id", owner, "offset", offset.String(), "size", size.String()), nil, nil)
}

// SMBLocks lists byte-range locks of SMB clients; of the filter, File, Snapshot
// and OwnerAddress count.
func (c *Client) SMBLocks(ctx context.Context, f LockFilter) iter.Seq2[Lock, error] {
	return pages[Lock](ctx, c, f.smb("byte-range/"), "grants")
}

// SMBShareModes lists what opens of SMB clients keep others from.
func (c *Client) SMBShareModes(ctx context.Context, f LockFilter) iter.Seq2[Lock, error] {
	return pages[Lock](ctx, c, f.smb("share-mode/"), "grants")
}

func (f *LockFilter) smb(rest string) string {
	if f.File != "" {
		return f.File.path("v1", "/locks/smb/"+rest) + query("snapshot", snapshotArg(f.Snapshot))
	}
	return "/v1/files/locks/smb/" + rest + query("owner_address", f.OwnerAddress)
}
