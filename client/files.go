package client

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/url"
	"strconv"
	"time"
)

// Number is a 64-bit quantity, which the API writes as a decimal string.
type Number uint64

// ID names an object for ever. It is a Number.
type ID = Number

// String renders the number.
func (n Number) String() string { return strconv.FormatUint(uint64(n), 10) }

// MarshalText implements encoding.TextMarshaler.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; "" is 0.
func (n *Number) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*n = 0
		return nil
	}
	v, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not an unsigned 64-bit number", b)
	}
	*n = Number(v)
	return nil
}

// Ref names a file: an absolute path, or an id in decimal digits.
type Ref string

// RefOf names a file by its id.
func RefOf(id ID) Ref { return Ref(id.String()) }

// path of an operation on the file.
func (r Ref) path(version, rest string) string {
	return "/" + version + "/files/" + url.PathEscape(string(r)) + rest
}

// File types.
const (
	TypeFile        = "FS_FILE_TYPE_FILE"
	TypeDirectory   = "FS_FILE_TYPE_DIRECTORY"
	TypeSymlink     = "FS_FILE_TYPE_SYMLINK"
	TypePipe        = "FS_FILE_TYPE_UNIX_PIPE"
	TypeSocket      = "FS_FILE_TYPE_UNIX_SOCKET"
	TypeCharDevice  = "FS_FILE_TYPE_UNIX_CHARACTER_DEVICE"
	TypeBlockDevice = "FS_FILE_TYPE_UNIX_BLOCK_DEVICE"
)

// Identity names a user or group: NFS_UID, NFS_GID, LOCAL_USER, LOCAL_GROUP, SMB_SID or INTERNAL.
type Identity struct {
	Type  string `json:"id_type"`
	Value string `json:"id_value"`
}

// Attributes of a file.
type Attributes struct {
	// Path of a directory ends in '/'.
	Path  string `json:"path"`
	Name  string `json:"name"`
	ID    ID     `json:"id"`
	Type  string `json:"type"`
	Mode  string `json:"mode"` // four octal digits
	Links int    `json:"num_links"`
	// Children is the number of entries of a directory.
	Children         uint64    `json:"child_count"`
	Size             Number    `json:"size"`
	Blocks           Number    `json:"blocks"`
	DataBlocks       Number    `json:"datablocks"`
	MetaBlocks       Number    `json:"metablocks"`
	Owner            Number    `json:"owner"`
	OwnerDetails     Identity  `json:"owner_details"`
	Group            Number    `json:"group"`
	GroupDetails     Identity  `json:"group_details"`
	AccessTime       time.Time `json:"access_time"`
	ModificationTime time.Time `json:"modification_time"`
	ChangeTime       time.Time `json:"change_time"`
	CreationTime     time.Time `json:"creation_time"`
	MajorMinor       struct {
		Major uint32 `json:"major"`
		Minor uint32 `json:"minor"`
	} `json:"major_minor_numbers"`
	Extended     map[string]bool `json:"extended_attributes"`
	DataRevision Number          `json:"data_revision"`
	// Lock is there if it was asked for.
	Lock *FileLock `json:"lock,omitempty"`
	// ETag of the answer, for conditional changes; "" in listings.
	ETag string `json:"-"`
}

// Attributes answers the attributes of a file, as of a snapshot unless that is 0.
func (c *Client) Attributes(ctx context.Context, r Ref, snapshot uint64) (a Attributes, err error) {
	path := r.path("v1", "/info/attributes") + query("snapshot", snapshotArg(snapshot))
	a.ETag, err = c.Do(ctx, Request{Method: "GET", Path: path}, &a)
	return a, err
}

// AttributesAndLock also answers what keeps the file from change, which only who may
// read its permissions may know.
func (c *Client) AttributesAndLock(ctx context.Context, r Ref, snapshot uint64) (a Attributes, err error) {
	path := r.path("v1", "/info/attributes") + query("snapshot", snapshotArg(snapshot), "retrieve-file-lock", "true")
	a.ETag, err = c.Do(ctx, Request{Method: "GET", Path: path}, &a)
	return a, err
}

func snapshotArg(id uint64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatUint(id, 10)
}

// AttributesPatch are changes of attributes; what is nil stays.
type AttributesPatch struct {
	Mode             *string         `json:"mode,omitempty"`
	Owner            *Identity       `json:"owner_details,omitempty"`
	Group            *Identity       `json:"group_details,omitempty"`
	Size             *Number         `json:"size,omitempty"`
	AccessTime       *time.Time      `json:"access_time,omitempty"`
	ModificationTime *time.Time      `json:"modification_time,omitempty"`
	ChangeTime       *time.Time      `json:"change_time,omitempty"`
	CreationTime     *time.Time      `json:"creation_time,omitempty"`
	Extended         map[string]bool `json:"extended_attributes,omitempty"`
}

// SetAttributes changes attributes, if the file still has the tag (unless "").
func (c *Client) SetAttributes(ctx context.Context, r Ref, p AttributesPatch, ifMatch string) (a Attributes, err error) {
	a.ETag, err = c.Do(ctx, Request{Method: "PATCH", Path: r.path("v1", "/info/attributes"), Body: p, IfMatch: ifMatch}, &a)
	return a, err
}

// ListOptions narrow a listing.
type ListOptions struct {
	Snapshot uint64 // 0: the live tree
	// Pattern with * and ?, without regard to case; "" is all.
	Pattern string
	// Page is how many entries are asked for at a time, 0 for the server's choice.
	Page int
}

// List yields the entries of a directory by name, page by page. An error is yielded last.
func (c *Client) List(ctx context.Context, dir Ref, o ListOptions) iter.Seq2[Attributes, error] {
	return func(yield func(Attributes, error) bool) {
		next := dir.path("v1", "/entries/") + query("snapshot", snapshotArg(o.Snapshot), "smb-pattern", o.Pattern, "limit", positive(o.Page))
		for next != "" {
			var page struct {
				Files  []Attributes `json:"files"`
				Paging struct{ Next string }
			}
			if err := c.do(ctx, "GET", next, nil, &page); err != nil {
				yield(Attributes{}, err)
				return
			}
			for _, a := range page.Files {
				if !yield(a, nil) {
					return
				}
			}
			next = page.Paging.Next
		}
	}
}

// entry is the body of all calls that make a name.
type entry struct {
	Name    string `json:"name"`
	Action  string `json:"action"`
	OldPath string `json:"old_path,omitempty"`
	Clobber bool   `json:"clobber,omitempty"`
}

func (c *Client) enter(ctx context.Context, dir Ref, e entry) (a Attributes, err error) {
	a.ETag, err = c.Do(ctx, Request{Method: "POST", Path: dir.path("v1", "/entries/"), Body: e}, &a)
	return a, err
}

// Mkdir makes a directory.
func (c *Client) Mkdir(ctx context.Context, dir Ref, name string) (Attributes, error) {
	return c.enter(ctx, dir, entry{Name: name, Action: "CREATE_DIRECTORY"})
}

// Create makes an empty file.
func (c *Client) Create(ctx context.Context, dir Ref, name string) (Attributes, error) {
	return c.enter(ctx, dir, entry{Name: name, Action: "CREATE_FILE"})
}

// Symlink makes a symbolic link to target, which need not exist.
func (c *Client) Symlink(ctx context.Context, dir Ref, name, target string) (Attributes, error) {
	return c.enter(ctx, dir, entry{Name: name, Action: "CREATE_SYMLINK", OldPath: target})
}

// Link gives a file one more name.
func (c *Client) Link(ctx context.Context, dir Ref, name string, file Ref) (Attributes, error) {
	return c.enter(ctx, dir, entry{Name: name, Action: "CREATE_LINK", OldPath: string(file)})
}

// Rename moves a file into dir under a name; replace takes one that exists away.
func (c *Client) Rename(ctx context.Context, from, dir Ref, name string, replace bool) (Attributes, error) {
	return c.enter(ctx, dir, entry{Name: name, Action: "RENAME", OldPath: string(from), Clobber: replace})
}

// Remove takes a file, link or empty directory away.
func (c *Client) Remove(ctx context.Context, r Ref) error {
	return c.do(ctx, "DELETE", r.path("v1", ""), nil, nil)
}

// ReadOptions say what to read.
type ReadOptions struct {
	Snapshot uint64 // 0: the live tree
	Offset   uint64
	Length   uint64 // 0: to the end
}

func (o ReadOptions) query() string {
	number := func(n uint64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatUint(n, 10)
	}
	return query("snapshot", snapshotArg(o.Snapshot), "offset", number(o.Offset), "length", number(o.Length))
}

// Read answers the content of a file, which the caller closes.
func (c *Client) Read(ctx context.Context, r Ref, o ReadOptions) (io.ReadCloser, error) {
	path := r.path("v1", "/data") + o.query()
	resp, err := c.Send(ctx, Request{Method: "GET", Path: path})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Write replaces the content of a file that exists. What it answers for is durable.
func (c *Client) Write(ctx context.Context, r Ref, content io.Reader, ifMatch string) (a Attributes, err error) {
	a.ETag, err = c.Do(ctx, Request{Method: "PUT", Path: r.path("v1", "/data"), Body: content, IfMatch: ifMatch}, &a)
	return a, err
}

// WriteAt writes into a file that exists; a gap before off reads as zeros.
func (c *Client) WriteAt(ctx context.Context, r Ref, off uint64, content io.Reader) (a Attributes, err error) {
	path := r.path("v1", "/data") + query("offset", strconv.FormatUint(off, 10))
	a.ETag, err = c.Do(ctx, Request{Method: "PATCH", Path: path, Body: content}, &a)
	return a, err
}
