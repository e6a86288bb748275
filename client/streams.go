package client

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/url"
	"strconv"
	"time"
)

// Stream is a named stream of a file or directory.
type Stream struct {
	ID           ID     `json:"id"`
	Name         string `json:"name"`
	Size         Number `json:"size"`
	DataBlocks   Number `json:"datablocks"`
	DataRevision Number `json:"data_revision"`
}

func (r Ref) stream(id ID, rest string) string {
	return r.path("v1", "/streams/"+id.String()+rest)
}

// Streams lists the named streams of a file, as of a snapshot unless that is 0.
func (c *Client) Streams(ctx context.Context, r Ref, snapshot uint64) (out []Stream, err error) {
	return out, c.do(ctx, "GET", r.path("v1", "/streams/")+query("snapshot", snapshotArg(snapshot)), nil, &out)
}

// Stream answers one named stream.
func (c *Client) Stream(ctx context.Context, r Ref, id ID, snapshot uint64) (s Stream, err error) {
	return s, c.do(ctx, "GET", r.stream(id, "/attributes")+query("snapshot", snapshotArg(snapshot)), nil, &s)
}

// AddStream adds an empty named stream.
func (c *Client) AddStream(ctx context.Context, r Ref, name string) (s Stream, err error) {
	return s, c.do(ctx, "POST", r.path("v1", "/streams/"), map[string]string{"stream_name": name}, &s)
}

// ResizeStream shortens or extends a named stream.
func (c *Client) ResizeStream(ctx context.Context, r Ref, id ID, size Number) (s Stream, err error) {
	return s, c.do(ctx, "PATCH", r.stream(id, "/attributes"), map[string]Number{"size": size}, &s)
}

// RenameStream renames a named stream.
func (c *Client) RenameStream(ctx context.Context, r Ref, id ID, name string) (s Stream, err error) {
	return s, c.do(ctx, "POST", r.stream(id, "/rename"), map[string]string{"stream_name": name}, &s)
}

// RemoveStream removes a named stream.
func (c *Client) RemoveStream(ctx context.Context, r Ref, id ID) error {
	return c.do(ctx, "DELETE", r.stream(id, ""), nil, nil)
}

// ReadStream answers the content of a named stream, which the caller closes.
func (c *Client) ReadStream(ctx context.Context, r Ref, id ID, o ReadOptions) (io.ReadCloser, error) {
	resp, err := c.Send(ctx, Request{Method: "GET", Path: r.stream(id, "/data") + o.query()})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// WriteStream replaces the content of a named stream.
func (c *Client) WriteStream(ctx context.Context, r Ref, id ID, content io.Reader) (s Stream, err error) {
	_, err = c.Do(ctx, Request{Method: "PUT", Path: r.stream(id, "/data"), Body: content}, &s)
	return s, err
}

// WriteStreamAt writes into a named stream; a gap before off reads as zeros.
func (c *Client) WriteStreamAt(ctx context.Context, r Ref, id ID, off uint64, content io.Reader) (s Stream, err error) {
	_, err = c.Do(ctx, Request{Method: "PATCH", Path: r.stream(id, "/data") + query("offset", strconv.FormatUint(off, 10)), Body: content}, &s)
	return s, err
}

type extent struct {
	Offset Number `json:"offset"`
	Size   Number `json:"size"`
}

// PunchHole frees a range of a file; it reads as zeros.
func (c *Client) PunchHole(ctx context.Context, r Ref, off, size Number) (a Attributes, err error) {
	return a, c.do(ctx, "POST", r.path("v1", "/punch-hole"), extent{off, size}, &a)
}

// PunchStreamHole frees a range of a named stream.
func (c *Client) PunchStreamHole(ctx context.Context, r Ref, id ID, off, size Number) (s Stream, err error) {
	return s, c.do(ctx, "POST", r.stream(id, "/punch-hole"), extent{off, size}, &s)
}

// Copy says what to copy within the server, and where to.
type Copy struct {
	// Path names the source, or ID does.
	Path     string `json:"source_path,omitempty"`
	ID       ID     `json:"source_id,omitzero"`
	Snapshot Number `json:"source_snapshot,omitzero"` // 0: the live tree
	Stream   ID     `json:"source_stream_id,omitzero"`
	Offset   Number `json:"source_offset,omitzero"`
	// ETag that the source must still have; "" any.
	ETag         string `json:"source_etag,omitempty"`
	TargetOffset Number `json:"target_offset,omitzero"`
	// Length; 0 is all.
	Length Number `json:"length,omitzero"`
}

// CopyChunk copies a part into a file that exists, as much as one call may, and
// answers what is left; done says that nothing is.
func (c *Client) CopyChunk(ctx context.Context, to Ref, x Copy) (rest Copy, done bool, err error) {
	return c.copyChunk(ctx, to.path("v1", "/copy-chunk"), x)
}

// CopyStreamChunk is the same into a named stream.
func (c *Client) CopyStreamChunk(ctx context.Context, to Ref, stream ID, x Copy) (rest Copy, done bool, err error) {
	return c.copyChunk(ctx, to.stream(stream, "/copy-chunk"), x)
}

func (c *Client) copyChunk(ctx context.Context, path string, x Copy) (rest Copy, done bool, err error) {
	resp, err := c.Send(ctx, Request{Method: "POST", Path: path, Body: x})
	if err != nil {
		return rest, false, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && len(bytes.TrimSpace(b)) > 0 { // nothing says that nothing is left
		err = json.Unmarshal(b, &rest)
	}
	return rest, err == nil && rest == (Copy{}), err
}

// UserMetadata is a value that users have attached to a file.
type UserMetadata struct {
	Space string `json:"type"` // GENERIC or S3
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

func (r Ref) metadata(space, key string) string {
	return r.path("v1", "/user-metadata/"+url.PathEscape(space)+"/"+url.PathEscape(key))
}

// ListUserMetadata yields the user metadata of a file in one key space, generic or s3, "" for both.
func (c *Client) ListUserMetadata(ctx context.Context, r Ref, space string, snapshot uint64) iter.Seq2[UserMetadata, error] {
	path := r.path("v1", "/user-metadata/")
	if space != "" {
		path = r.metadata(space, "")
	}
	return pages[UserMetadata](ctx, c, path+query("snapshot", snapshotArg(snapshot)), "entries")
}

// UserMetadata answers one value.
func (c *Client) UserMetadata(ctx context.Context, r Ref, space, key string, snapshot uint64) ([]byte, error) {
	var out struct{ Value []byte }
	err := c.do(ctx, "GET", r.metadata(space, key)+query("snapshot", snapshotArg(snapshot)), nil, &out)
	return out.Value, err
}

// SetUserMetadata sets a value; create demands that there is none yet.
func (c *Client) SetUserMetadata(ctx context.Context, r Ref, space, key string, value []byte, create bool) error {
	method := "PUT"
	if create {
		method = "POST"
	}
	return c.do(ctx, method, r.metadata(space, key), map[string][]byte{"value": value}, nil)
}

// RemoveUserMetadata removes a value.
func (c *Client) RemoveUserMetadata(ctx context.Context, r Ref, space, key string) error {
	return c.do(ctx, "DELETE", r.metadata(space, key), nil, nil)
}

// FileLock keeps a file from change and removal. What is nil stays as it is.
type FileLock struct {
	// Retention is until when; it can be extended, not shortened.
	Retention *time.Time `json:"retention_period,omitempty"`
	LegalHold *bool      `json:"legal_hold,omitempty"`
}

// SetFileLock extends the retention of a file, sets or clears its legal hold.
func (c *Client) SetFileLock(ctx context.Context, r Ref, l FileLock, ifMatch string) (a Attributes, err error) {
	a.ETag, err = c.Do(ctx, Request{Method: "PATCH", Path: r.path("v1", "/file-lock"), Body: l, IfMatch: ifMatch}, &a)
	return a, err
}

// PathOfID is where a file is.
type PathOfID struct {
	ID   ID     `json:"id"`
	Path string `json:"path"`
}

// ResolveIDs answers the paths of files.
func (c *Client) ResolveIDs(ctx context.Context, snapshot uint64, ids ...ID) (out []PathOfID, err error) {
	return out, c.do(ctx, "POST", "/v1/files/resolve"+query("snapshot", snapshotArg(snapshot)), append([]ID{}, ids...), &out)
}

// SampledFile is a file chosen at random.
type SampledFile struct {
	ID            ID     `json:"id"`
	Name          string `json:"name"`
	Type          string `json:"type"`
	CapacityBytes Number `json:"capacity_usage"`
	DataBytes     Number `json:"data_usage"`
	LogicalBytes  Number `json:"logical_size"`
}

// SampleFiles chooses files below a directory at random, likelier those that
// have more of something: capacity, data, file, named_streams; "" is capacity.
func (c *Client) SampleFiles(ctx context.Context, dir Ref, by string, n int) (out []SampledFile, err error) {
	return out, c.do(ctx, "GET", dir.path("v1", "/sample/")+query("by-value", by, "limit", positive(n)), nil, &out)
}
