package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/url"
	"strconv"
	"time"
)

// Aggregates are exact totals of a directory's tree.
type Aggregates struct {
	Path          string           `json:"path"`
	ID            ID               `json:"id"`
	Entries       []AggregateEntry `json:"files"`
	CapacityBytes Number           `json:"total_capacity"`
	DataBytes     Number           `json:"total_data"`
	StreamBytes   Number           `json:"total_named_stream_data"`
	MetadataBytes Number           `json:"total_meta"`
	LogicalBytes  Number           `json:"total_logical_size"`
	Files         Number           `json:"total_files"`
	Directories   Number           `json:"total_directories"`
	Symlinks      Number           `json:"total_symlinks"`
	Others        Number           `json:"total_other_objects"`
	NamedStreams  Number           `json:"total_named_streams"`
}

// AggregateEntry are the totals of one entry of a directory.
type AggregateEntry struct {
	Name          string `json:"name"`
	Type          string `json:"type"`
	ID            ID     `json:"id"`
	CapacityBytes Number `json:"capacity_usage"`
	DataBytes     Number `json:"data_usage"`
	MetadataBytes Number `json:"meta_usage"`
	LogicalBytes  Number `json:"logical_size"`
	Files         Number `json:"num_files"`
	Directories   Number `json:"num_directories"`
	Symlinks      Number `json:"num_symlinks"`
	Others        Number `json:"num_other_objects"`
}

// AggregateOptions narrow totals.
type AggregateOptions struct {
	Snapshot   uint64 // 0: the live tree
	MaxEntries int    // 0: the server's choice
	MaxDepth   int    // of a tree; 0: the server's choice
	// OrderBy ranks entries: total_blocks, total_files and so on; "" is by capacity.
	OrderBy string
}

// Aggregates answers the totals of a directory and of its largest entries.
func (c *Client) Aggregates(ctx context.Context, dir Ref, o AggregateOptions) (a Aggregates, err error) {
	path := dir.path("v1", "/aggregates/") + query("snapshot", snapshotArg(o.Snapshot), "max-entries", positive(o.MaxEntries), "order-by", o.OrderBy)
	err = c.do(ctx, "GET", path, nil, &a)
	return a, err
}

// TreeAggregates answers the totals of a tree, breadth first, without what is
// under a tenth of its directory.
func (c *Client) TreeAggregates(ctx context.Context, dir Ref, o AggregateOptions) (a []Aggregates, err error) {
	path := dir.path("v1", "/recursive-aggregates/") +
		query("snapshot", snapshotArg(o.Snapshot), "max-entries", positive(o.MaxEntries), "max-depth", positive(o.MaxDepth), "order-by", o.OrderBy)
	err = c.do(ctx, "GET", path, nil, &a)
	return a, err
}

// TreeDelete is a deletion that is running.
type TreeDelete struct {
	ID                ID        `json:"id"`
	Created           time.Time `json:"create_time"`
	InitialPath       string    `json:"initial_path"`
	InitialCapacity   Number    `json:"initial_capacity"`
	InitialFiles      Number    `json:"initial_files"`
	RemainingCapacity Number    `json:"remaining_capacity"`
	RemainingFiles    Number    `json:"remaining_files"`
	RemainingDirs     Number    `json:"remaining_directories"`
	LastError         *string   `json:"last_error_message"`
}

// StartTreeDelete deletes a directory with all below it. Its path is gone when
// the call returns; space is freed in the background. It answers the
// directory's id, which is the job's too.
func (c *Client) StartTreeDelete(ctx context.Context, dir Ref) (ID, error) {
	// The id says which directory was meant, whatever takes its name.
	a, err := c.Attributes(ctx, dir, 0)
	if err != nil {
		return 0, err
	}
	return a.ID, c.do(ctx, "POST", "/v1/tree-delete/jobs/", map[string]string{"id": a.ID.String()}, nil)
}

// TreeDelete answers the progress of a deletion; it is done when the error's
// status is 404.
func (c *Client) TreeDelete(ctx context.Context, id ID) (t TreeDelete, err error) {
	err = c.do(ctx, "GET", "/v1/tree-delete/jobs/"+id.String(), nil, &t)
	return t, err
}

// TreeDeletes lists running deletions.
func (c *Client) TreeDeletes(ctx context.Context) ([]TreeDelete, error) {
	var out struct{ Jobs []TreeDelete }
	err := c.do(ctx, "GET", "/v1/tree-delete/jobs/", nil, &out)
	return out.Jobs, err
}

// CancelTreeDelete stops a deletion; what is gone stays gone.
func (c *Client) CancelTreeDelete(ctx context.Context, id ID) error {
	return c.do(ctx, "DELETE", "/v1/tree-delete/jobs/"+id.String(), nil, nil)
}

// RestartTreeDelete goes on with a deletion that met an error.
func (c *Client) RestartTreeDelete(ctx context.Context, id ID) error {
	return c.do(ctx, "POST", "/v1/tree-delete/jobs/restart/"+id.String(), nil, nil)
}

// Snapshot of a directory.
type Snapshot struct {
	ID         uint64     `json:"id"`
	Name       string     `json:"name"`
	Timestamp  time.Time  `json:"timestamp"`
	Source     ID         `json:"source_file_id"`
	SourcePath string     `json:"source_file_path"` // only with status
	Expiration *time.Time `json:"expiration"`       // nil: never
	InDelete   bool       `json:"in_delete"`
	ETag       string     `json:"-"`
}

// NewSnapshot says what to take.
type NewSnapshot struct {
	// Dir is the directory; "" is the root.
	Dir Ref
	// Suffix of the name.
	Suffix string
	// TimeToLive as in "15minutes" or "2days"; "" is for ever.
	TimeToLive string
	// Expires is when the snapshot is deleted, if TimeToLive does not say; nil is never.
	Expires *time.Time
}

// TakeSnapshot takes a snapshot of a directory.
func (c *Client) TakeSnapshot(ctx context.Context, n NewSnapshot) (s Snapshot, err error) {
	in := map[string]string{"name_suffix": n.Suffix}
	if n.Dir != "" {
		a, err := c.Attributes(ctx, n.Dir, 0)
		if err != nil {
			return s, err
		}
		in["source_file_id"] = a.ID.String()
	}
	if n.Expires != nil {
		in["expiration"] = n.Expires.UTC().Format(time.RFC3339Nano)
	}
	s.ETag, err = c.Do(ctx, Request{Method: "POST", Path: "/v3/snapshots/" + query("expiration-time-to-live", n.TimeToLive), Body: in}, &s)
	return s, err
}

// Snapshots lists snapshots with their paths, those in deletion only if asked for.
func (c *Client) Snapshots(ctx context.Context, inDelete bool) ([]Snapshot, error) {
	filter := "exclude_in_delete"
	if inDelete {
		filter = "all"
	}
	var out struct{ Entries []Snapshot }
	err := c.do(ctx, "GET", "/v3/snapshots/status/?filter="+filter, nil, &out)
	return out.Entries, err
}

// Snapshot answers one snapshot with its path.
func (c *Client) Snapshot(ctx context.Context, id uint64) (s Snapshot, err error) {
	s.ETag, err = c.Do(ctx, Request{Method: "GET", Path: "/v3/snapshots/status/" + strconv.FormatUint(id, 10)}, &s)
	return s, err
}

// ExpireSnapshot sets when a snapshot goes; nil is never.
func (c *Client) ExpireSnapshot(ctx context.Context, id uint64, at *time.Time, ifMatch string) (s Snapshot, err error) {
	in := map[string]*time.Time{"expiration": at}
	s.ETag, err = c.Do(ctx, Request{Method: "PATCH", Path: "/v3/snapshots/" + strconv.FormatUint(id, 10), Body: in, IfMatch: ifMatch}, &s)
	return s, err
}

// DeleteSnapshot deletes a snapshot; space is freed in the background.
func (c *Client) DeleteSnapshot(ctx context.Context, id uint64) error {
	return c.do(ctx, "DELETE", "/v3/snapshots/"+strconv.FormatUint(id, 10), nil, nil)
}

// SnapshotCapacity is what one snapshot keeps that nothing else does.
type SnapshotCapacity struct {
	ID    uint64 `json:"id"`
	Bytes Number `json:"capacity_used_bytes"`
}

// SnapshotCapacities answers for each snapshot what would be free without it
// alone; an estimate where it keeps much.
func (c *Client) SnapshotCapacities(ctx context.Context) ([]SnapshotCapacity, error) {
	var out struct{ Entries []SnapshotCapacity }
	err := c.do(ctx, "GET", "/v1/snapshots/capacity-used-per-snapshot/", nil, &out)
	return out.Entries, err
}

// SnapshotsKeep answers what would be free without those snapshots together.
func (c *Client) SnapshotsKeep(ctx context.Context, ids []uint64) (Number, error) {
	var out struct{ Bytes Number }
	err := c.do(ctx, "POST", "/v1/snapshots/calculate-used-capacity", ids, &out)
	return out.Bytes, err
}

// Change is what happened to a path between two snapshots.
type Change struct {
	Op   string `json:"op"` // CREATE, MODIFY or DELETE
	Path string `json:"path"`
}

// Changes yields what changed from the older to the newer snapshot of a
// directory. An error is yielded last.
func (c *Client) Changes(ctx context.Context, newer, older uint64) iter.Seq2[Change, error] {
	next := "/v2/snapshots/" + strconv.FormatUint(newer, 10) + "/changes-since/" + strconv.FormatUint(older, 10)
	return pages[Change](ctx, c, next, "entries")
}

// pages yields the elements of a paged list.
func pages[T any](ctx context.Context, c *Client, next, list string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for next != "" {
			var page map[string]json.RawMessage
			var items []T
			var more struct{ Next string }
			err := c.do(ctx, "GET", next, nil, &page)
			for part, to := range map[string]any{list: &items, "paging": &more} {
				if b := page[part]; b != nil && err == nil {
					err = json.Unmarshal(b, to)
				}
			}
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
			for _, x := range items {
				if !yield(x, nil) {
					return
				}
			}
			next = more.Next
		}
	}
}

// Quota limits the capacity of a directory's tree.
type Quota struct {
	ID    ID     `json:"id"`
	Limit Number `json:"limit"`
	Path  string `json:"path,omitempty"`           // only with status
	Usage Number `json:"capacity_usage,omitempty"` // only with status
	ETag  string `json:"-"`
}

// Quotas yields all quotas with path and usage. An error is yielded last.
func (c *Client) Quotas(ctx context.Context) iter.Seq2[Quota, error] {
	return pages[Quota](ctx, c, "/v1/files/quotas/status/", "quotas")
}

// Quota answers the quota of a directory with path and usage.
func (c *Client) Quota(ctx context.Context, dir ID) (q Quota, err error) {
	q.ETag, err = c.Do(ctx, Request{Method: "GET", Path: "/v1/files/quotas/status/" + dir.String()}, &q)
	return q, err
}

type quotaBody struct {
	ID    ID     `json:"id"`
	Limit Number `json:"limit"`
}

// CreateQuota limits a directory that has no quota.
func (c *Client) CreateQuota(ctx context.Context, dir ID, limit Number) error {
	return c.do(ctx, "POST", "/v1/files/quotas/", quotaBody{dir, limit}, nil)
}

// ChangeQuota changes the limit of a directory that has a quota.
func (c *Client) ChangeQuota(ctx context.Context, dir ID, limit Number, ifMatch string) error {
	_, err := c.Do(ctx, Request{Method: "PUT", Path: "/v1/files/quotas/" + dir.String(), Body: quotaBody{dir, limit}, IfMatch: ifMatch}, nil)
	return err
}

// RemoveQuota removes the quota of a directory.
func (c *Client) RemoveQuota(ctx context.Context, dir ID) error {
	return c.do(ctx, "DELETE", "/v1/files/quotas/"+dir.String(), nil, nil)
}

// Export is an NFS export.
type Export struct {
	ID           string        `json:"id,omitempty"`
	ExportPath   string        `json:"export_path"`
	FSPath       string        `json:"fs_path"`
	Description  string        `json:"description"`
	Restrictions []Restriction `json:"restrictions"`
	Present32    []string      `json:"fields_to_present_as_32_bit"`
	ETag         string        `json:"-"`
}

// How a Restriction maps callers.
const (
	MapNone = "NFS_MAP_NONE"
	MapRoot = "NFS_MAP_ROOT"
	MapAll  = "NFS_MAP_ALL"
)

// Restriction says what the hosts it names may do; the first that matches decides.
type Restriction struct {
	Hosts                 []string  `json:"host_restrictions"`
	ReadOnly              bool      `json:"read_only"`
	RequirePrivilegedPort bool      `json:"require_privileged_port"`
	UserMapping           string    `json:"user_mapping"`
	MapToUser             *Identity `json:"map_to_user"`
	MapToGroup            *Identity `json:"map_to_group"`
}

// Exports lists the NFS exports.
func (c *Client) Exports(ctx context.Context) (out []Export, err error) {
	err = c.do(ctx, "GET", "/v2/nfs/exports/", nil, &out)
	return out, err
}

func exportPath(ref string) string { return "/v2/nfs/exports/" + url.PathEscape(ref) }

// Export answers the export with that id or path.
func (c *Client) Export(ctx context.Context, ref string) (e Export, err error) {
	e.ETag, err = c.Do(ctx, Request{Method: "GET", Path: exportPath(ref)}, &e)
	return e, err
}

// AddExport adds an export. mkdir makes its directory if that is missing.
func (c *Client) AddExport(ctx context.Context, e Export, mkdir bool) (out Export, err error) {
	out.ETag, err = c.Do(ctx, Request{Method: "POST", Path: "/v2/nfs/exports/" + mkdirQuery(mkdir), Body: e}, &out)
	return out, err
}

// ReplaceExport replaces an export, if it still has the tag (unless "").
func (c *Client) ReplaceExport(ctx context.Context, ref string, e Export, mkdir bool, ifMatch string) (out Export, err error) {
	out.ETag, err = c.Do(ctx, Request{Method: "PUT", Path: exportPath(ref) + mkdirQuery(mkdir), Body: e, IfMatch: ifMatch}, &out)
	return out, err
}

// DeleteExport removes the export with that id or path.
func (c *Client) DeleteExport(ctx context.Context, ref string) error {
	return c.do(ctx, "DELETE", exportPath(ref), nil, nil)
}

func mkdirQuery(mkdir bool) string {
	if mkdir {
		return "?allow-fs-path-create=true"
	}
	return ""
}
