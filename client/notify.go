package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Notification is a change in a directory that is watched.
type Notification struct {
	Type   string  `json:"type"` // as child_file_added
	Path   string  `json:"path"` // relative to the directory
	Spine  []ID    `json:"spine"`
	Stream *string `json:"stream_name"`
}

// NotifyOptions narrow what is watched.
type NotifyOptions struct {
	// Types of changes; none is all.
	Types []string
	// Recursive watches the whole tree.
	Recursive bool
}

// maxNotification bounds one message of changes.
const maxNotification = 16 << 20

// Notify yields the changes of a directory, in order, until ctx ends. If changes
// were missed, the stream ends with io.ErrUnexpectedEOF as its error.
func (c *Client) Notify(ctx context.Context, dir Ref, o NotifyOptions) iter.Seq2[Notification, error] {
	recursive := ""
	if o.Recursive {
		recursive = "true"
	}
	path := dir.path("v1", "/notify") + query("filter", strings.Join(o.Types, ","), "recursive", recursive)
	return func(yield func(Notification, error) bool) {
		err := c.notify(ctx, path, yield)
		if err != nil && ctx.Err() == nil {
			yield(Notification{}, fmt.Errorf("watch %s: %w", dir, err))
		}
	}
}

func (c *Client) notify(ctx context.Context, path string, yield func(Notification, error) bool) error {
	resp, err := c.Send(ctx, Request{Method: "GET", Path: path})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return readNotifications(resp.Body, func(n Notification) bool { return yield(n, nil) })
}

// readNotifications reads server-sent events of JSON lists.
func readNotifications(r io.Reader, each func(Notification) bool) error {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, maxNotification)
	for sc.Scan() {
		data, ok := strings.CutPrefix(sc.Text(), "data:")
		if !ok {
			continue // a comment, or the end of a message
		}
		var list []Notification
		if err := json.Unmarshal([]byte(data), &list); err != nil {
			return err
		}
		for _, n := range list {
			if !each(n) {
				return nil
			}
		}
	}
	return sc.Err()
}
