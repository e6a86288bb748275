package rest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"manifold/internal/config"
	"manifold/internal/control"
	"manifold/internal/fs"
)

type changeEvent struct {
	Type string `json:"type"`
	// Path below the watched directory.
	Path string `json:"path"`
	// Spine are the ids from the oldest directory below the watched one to the file.
	Spine []string `json:"spine"`
	// Stream is null for the default one.
	Stream *string `json:"stream_name"`
}

func notifyRoutes() []route {
	return []route{{
		Method: "GET", Path: "/v1/files/{ref}/notify", Privilege: control.FSAttributesRead, Out: []changeEvent{}, Events: true,
		Summary: "A stream of server-sent events of changes in a directory, in order, open until the client leaves. One who cannot follow loses the stream, never single events.",
		Query: []query{{"filter", "string", "Only these types, separated by commas, as child_file_added,child_dir_removed."},
			{"recursive", "boolean", "Also what is below; needs PRIVILEGE_FILE_FULL_ACCESS."}},
		handle: notify,
	}}
}

// changeNames are the types of change with the events that they come from.
// Times and owners are told apart only by looking at the file.
var changeNames = []named[fs.EventType]{
	{"child_acl_changed", fs.EventACL | fs.EventAttr}, {"child_atime_changed", fs.EventTimes}, {"child_btime_changed", fs.EventTimes},
	{"child_mtime_changed", fs.EventTimes}, {"child_data_written", fs.EventData}, {"child_size_changed", fs.EventSize},
	{"child_dir_added", fs.EventAdded}, {"child_dir_removed", fs.EventRemoved}, {"child_dir_moved_from", fs.EventMovedFrom}, {"child_dir_moved_to", fs.EventMovedTo},
	{"child_file_added", fs.EventAdded}, {"child_file_removed", fs.EventRemoved}, {"child_file_moved_from", fs.EventMovedFrom}, {"child_file_moved_to", fs.EventMovedTo},
	{"child_extra_attrs_changed", fs.EventAttr | fs.EventXattr}, {"child_owner_changed", fs.EventOwner}, {"child_group_changed", fs.EventOwner},
	{"child_stream_added", fs.EventStream}, {"child_stream_removed", fs.EventStream}, {"child_stream_moved_from", fs.EventStream}, {"child_stream_moved_to", fs.EventStream},
	{"child_stream_data_written", fs.EventData}, {"child_stream_size_changed", fs.EventSize},
	{"self_removed", fs.EventSelfRemoved},
}

// applies tells whether a name goes with the object that changed.
func applies(name string, e *fs.Event) bool {
	switch {
	case strings.HasPrefix(name, "child_dir_"):
		return e.Object == fs.Directory
	case strings.HasPrefix(name, "child_file_"):
		return e.Object != fs.Directory
	case name == "child_stream_data_written", name == "child_stream_size_changed":
		return e.Stream != ""
	case name == "child_data_written", name == "child_size_changed":
		return e.Stream == ""
	case strings.HasPrefix(name, "child_stream_"):
		// One event says that the streams are not what they were.
		return name == "child_stream_added"
	}
	return true
}

// parseFilter answers the names asked for and the events that they need.
func parseFilter(s string) (map[string]bool, fs.EventType, error) {
	want := map[string]bool{}
	var types fs.EventType
	for _, n := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }) {
		i := slices.IndexFunc(changeNames, func(c named[fs.EventType]) bool { return c.name == n })
		if i < 0 {
			return nil, 0, badRequest("http_bad_request_error", "filter has no type %q", n)
		}
		want[n] = true
		types |= changeNames[i].bits
	}
	if len(want) == 0 {
		for _, c := range changeNames {
			want[c.name] = true
		}
		types = fs.EventsAll
	}
	return want, types | fs.EventResync, nil
}

// watchesTrees tells whether changes of whole trees are told; where they are
// not, the setting says whether to ask is an error.
func (q *request) watchesTrees() (bool, error) {
	if q.s.o.FSSettings == nil {
		return true, nil
	}
	rec, err := q.s.o.FSSettings.Notify(q.Context())
	switch {
	case err != nil:
		return false, err
	case rec.Value.RecursiveMode == config.NotifyError:
		return false, badRequest("http_bad_request_error", "changes of whole trees are switched off")
	}
	return rec.Value.RecursiveMode == config.NotifyEnabled, nil
}

const (
	keepAlive = 20 * time.Second
	// maxBatch events go out as one message.
	maxBatch = 128
)

func notify(q *request) (reply, error) {
	want, types, err := parseFilter(q.arg("filter"))
	if err != nil {
		return reply{}, err
	}
	recursive, err := q.argBool("recursive")
	if err != nil {
		return reply{}, err
	}
	if recursive && !q.ses.Has(control.FileFullAccess) {
		return reply{}, forbidden(control.FileFullAccess)
	}
	if recursive {
		if recursive, err = q.watchesTrees(); err != nil {
			return reply{}, err
		}
	}
	f, err := q.fileAt(0, fs.AttrType)
	if err != nil {
		return reply{}, err
	}
	if f.Attr.Type != fs.Directory {
		return reply{}, ofKind(fs.NotDir, nil)
	}
	if got, err := q.s.o.FS.Access(q.Context(), q.caller(), f.Attr.Node, fs.RightList); err != nil {
		return reply{}, err
	} else if got&fs.RightList == 0 {
		return reply{}, ofKind(fs.Access, nil)
	}
	ctx, cancel := context.WithCancel(q.Context())
	defer cancel()
	events, err := q.s.o.FS.Watch(ctx, f.Attr.Node.ID, recursive, types)
	if err != nil {
		return reply{}, err
	}
	ct := "text/event-source" // what programs look for; browsers say what they want
	if strings.Contains(q.Header.Get("Accept"), "text/event-stream") {
		ct = "text/event-stream"
	}
	h := q.w.Header()
	h.Set("Content-Type", ct)
	h.Set("Cache-Control", "no-store")
	q.w.WriteHeader(http.StatusOK)
	w := watchStream{q: q, dir: f.Attr.Node.ID, want: want}
	if err := w.send(": watching\n\n"); err != nil {
		return reply{done: true}, nil
	}
	switch err := w.run(ctx, events); {
	case errors.Is(err, errMissedEvents):
		// The client must not take this for an end that it asked for.
		_ = w.send(": fs_watcher_missed_events_error\n\n")
		panic(http.ErrAbortHandler)
	default:
		return reply{done: true}, nil
	}
}

var errMissedEvents = errors.New("the watcher fell behind")

type watchStream struct {
	q    *request
	dir  fs.FileID
	want map[string]bool
}

func (w *watchStream) send(s string) error {
	if _, err := io.WriteString(w.q.w, s); err != nil {
		return err
	}
	return http.NewResponseController(w.q.w).Flush()
}

func (w *watchStream) run(ctx context.Context, events <-chan fs.Event) error {
	t := time.NewTicker(keepAlive)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.q.s.o.Stopping:
			return nil
		case <-t.C:
			if err := w.send(": keepalive\n\n"); err != nil {
				return err
			}
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if err := w.batch(ctx, e, events); err != nil {
				return err
			}
		}
	}
}

// batch sends an event and those that wait behind it.
func (w *watchStream) batch(ctx context.Context, e fs.Event, events <-chan fs.Event) error {
	var out []changeEvent
	missed := false
	for more := true; more; {
		if e.Type&fs.EventResync != 0 {
			missed = true
			break
		}
		out = w.add(ctx, out, &e)
		if len(out) >= maxBatch {
			break
		}
		select {
		case e, more = <-events:
		default:
			more = false
		}
	}
	if len(out) > 0 {
		b, err := encode(out)
		if err != nil {
			return err
		}
		if err := w.send("data: " + string(b) + "\n\n"); err != nil {
			return err
		}
	}
	if missed {
		return errMissedEvents
	}
	return nil
}

func (w *watchStream) add(ctx context.Context, out []changeEvent, e *fs.Event) []changeEvent {
	if e.Path == "" && e.ID != w.dir {
		e.Path = e.Name // a watch of one directory
	}
	var spine []string
	for _, c := range changeNames {
		if e.Type&c.bits == 0 || !w.want[c.name] || !applies(c.name, e) {
			continue
		}
		if spine == nil {
			spine = w.spine(ctx, e)
		}
		x := changeEvent{Type: c.name, Path: e.Path, Spine: spine}
		if e.Stream != "" {
			x.Stream = &e.Stream
		}
		out = append(out, x)
	}
	return out
}

// spine walks up from a file to the watched directory. What is gone meanwhile
// has no ancestors to be named.
func (w *watchStream) spine(ctx context.Context, e *fs.Event) []string {
	if e.ID == w.dir {
		return []string{}
	}
	ids := []string{strconv.FormatUint(uint64(e.ID), 10)}
	for dir, depth := e.Dir, strings.Count(e.Path, "/"); dir != w.dir && dir != 0 && depth > 0; depth-- {
		ids = append(ids, strconv.FormatUint(uint64(dir), 10))
		a, err := w.q.s.o.FS.GetAttr(ctx, w.q.caller(), fs.Node{ID: dir}, fs.AttrParent)
		if err != nil {
			break
		}
		dir = a.Parent
	}
	slices.Reverse(ids)
	return ids
}
