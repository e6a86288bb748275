package rest

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

// Three shapes of one snapshot: by path, by directory id, and with policies.

type snapshotV1 struct {
	ID              uint64 `json:"id"`
	Name            string `json:"name"`
	Timestamp       string `json:"timestamp"`
	DirectoryName   string `json:"directory_name"`
	SourcePath      string `json:"source_path"`
	CreatedByPolicy bool   `json:"created_by_policy"`
	Expiration      string `json:"expiration"`
}

type snapshotV2 struct {
	ID              uint64 `json:"id"`
	Name            string `json:"name"`
	Timestamp       string `json:"timestamp"`
	DirectoryName   string `json:"directory_name"`
	SourceFileID    u64    `json:"source_file_id"`
	CreatedByPolicy bool   `json:"created_by_policy"`
	Expiration      string `json:"expiration"`
	InDelete        bool   `json:"in_delete"`
}

type snapshotV3 struct {
	ID           uint64  `json:"id"`
	Name         string  `json:"name"`
	Timestamp    string  `json:"timestamp"`
	SourceFileID u64     `json:"source_file_id"`
	PolicyID     *uint64 `json:"policy_id"`
	Expiration   *string `json:"expiration"`
	InDelete     bool    `json:"in_delete"`
}

type snapshotList[T any] struct {
	Entries []T `json:"entries"`
}

// newSnapshot is what all three forms of creation accept.
type newSnapshot struct {
	Name         string `json:"name,omitempty"`
	NameSuffix   string `json:"name_suffix,omitempty"`
	Expiration   string `json:"expiration,omitempty"`
	SourceFileID u64    `json:"source_file_id,omitzero"`
	SourcePath   string `json:"source_path,omitempty"`
}

type snapshotPatch struct {
	Name       optional[string] `json:"name,omitzero"`
	Expiration optional[string] `json:"expiration,omitzero"`
}

// suffix is the part of the name that its maker chose.
func suffix(s *fs.Snapshot) string {
	_, name, ok := strings.Cut(s.Name, "_")
	if !ok {
		return s.Name
	}
	return name
}

func renderV1(s *fs.Snapshot) snapshotV1 {
	path := s.Path
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	return snapshotV1{uint64(s.ID), suffix(s), timestamp(s.Created), s.Name, path, s.Policy != 0, never(s.Expires)}
}

func renderV2(s *fs.Snapshot) snapshotV2 {
	return snapshotV2{uint64(s.ID), suffix(s), timestamp(s.Created), s.Name, num(uint64(s.Root)), s.Policy != 0, never(s.Expires), s.InDelete}
}

func renderV3(s *fs.Snapshot) snapshotV3 {
	out := snapshotV3{uint64(s.ID), s.Name, timestamp(s.Created), num(uint64(s.Root)), nil, nil, s.InDelete}
	if s.Policy != 0 {
		out.PolicyID = &s.Policy
	}
	if !s.Expires.IsZero() {
		t := timestamp(s.Expires)
		out.Expiration = &t
	}
	return out
}

type usedBySnapshots struct {
	Bytes u64 `json:"bytes"`
}

type usedBySnapshot struct {
	ID    uint64 `json:"id"`
	Bytes u64    `json:"capacity_used_bytes"`
}

func snapshotRoutes() []route {
	v1 := func(s *fs.Snapshot) any { return renderV1(s) }
	v2 := func(s *fs.Snapshot) any { return renderV2(s) }
	v3 := func(s *fs.Snapshot) any { return renderV3(s) }
	ttl := query{"expiration-time-to-live", "string", "Delete it after so long, as in 15minutes."}
	inDelete := query{"include-in-delete", "boolean", "Also those that are being deleted."}
	filter := query{"filter", "string", "all, exclude_in_delete or only_in_delete."}

	rs := []route{
		{Method: "GET", Path: "/v1/snapshots/total-used-capacity", Privilege: control.SnapshotUsedRead, Summary: "Space that would be free if there were no snapshots.", Out: usedBySnapshots{},
			handle: func(q *request) (reply, error) {
				st, err := q.s.o.FS.StatFS(q.Context(), q.caller(), fs.Root)
				return reply{body: usedBySnapshots{num(st.SnapshotBytes)}}, err
			}},
		{Method: "POST", Path: "/v1/snapshots/calculate-used-capacity", Privilege: control.SnapshotUsedRead, Summary: "Space that would be free without these snapshots; an estimate where they keep much.", In: []uint64{}, Out: usedBySnapshots{}, handle: usedByThese},
		{Method: "GET", Path: "/v1/snapshots/capacity-used-per-snapshot/", Privilege: control.SnapshotUsedRead, Summary: "Space that would be free without each snapshot alone.", Out: snapshotList[usedBySnapshot]{}, handle: usedByEach},
		{Method: "GET", Path: "/v1/snapshots/capacity-used-per-snapshot/{id}", Privilege: control.SnapshotUsedRead, Summary: "Space that would be free without one snapshot.", Out: usedBySnapshot{}, handle: usedByOne},
		{Method: "GET", Path: "/v1/snapshots/", Summary: "All snapshots, by path.", Out: snapshotList[snapshotV1]{}, Query: []query{inDelete}, handle: listSnapshots(renderV1)},
		{Method: "POST", Path: "/v1/snapshots/", Summary: "Take a snapshot.", In: newSnapshot{}, Out: snapshotV1{}, Query: []query{ttl}, handle: takeSnapshot(v1)},
		{Method: "GET", Path: "/v2/snapshots/", Summary: "All snapshots, by directory id.", Out: snapshotList[snapshotV2]{}, Query: []query{inDelete}, handle: listSnapshots(renderV2)},
		{Method: "POST", Path: "/v2/snapshots/", Summary: "Take a snapshot of a directory id, of the root without one.", In: newSnapshot{}, Out: snapshotV2{}, Query: []query{ttl}, handle: takeSnapshot(v2)},
		{Method: "GET", Path: "/v3/snapshots/", Summary: "All snapshots, with policies.", Out: snapshotList[snapshotV3]{}, Query: []query{filter}, handle: listSnapshots(renderV3)},
		{Method: "POST", Path: "/v3/snapshots/", Summary: "Take a snapshot; its name becomes its id, an underscore and the suffix.", In: newSnapshot{}, Out: snapshotV3{}, Query: []query{ttl}, handle: takeSnapshot(v3)},
	}
	for _, v := range []struct {
		path   string
		out    any
		render func(*fs.Snapshot) any
		status int
	}{{"/v1/snapshots/{id}", snapshotV1{}, v1, 0}, {"/v2/snapshots/{id}", snapshotV2{}, v2, 0}, {"/v3/snapshots/{id}", snapshotV3{}, v3, http.StatusAccepted}} {
		rs = append(rs,
			route{Method: "GET", Path: v.path, Summary: "One snapshot.", Out: v.out, handle: getSnapshot(v.render)},
			route{Method: "PUT", Path: v.path, Summary: "Set the expiration; never without one.", In: snapshotPatch{}, Out: v.out, Query: []query{ttl}, Conditional: true, handle: modifySnapshot(v.render, true)},
			route{Method: "PATCH", Path: v.path, Summary: "Change the expiration if given.", In: snapshotPatch{}, Out: v.out, Query: []query{ttl}, Conditional: true, handle: modifySnapshot(v.render, false)},
			route{Method: "DELETE", Path: v.path, Summary: "Delete; space is freed in the background.", Status: v.status, Conditional: true, handle: deleteSnapshot},
		)
	}
	for i := range rs {
		switch {
		case rs[i].Privilege != "":
		case rs[i].Method == "GET":
			rs[i].Privilege = control.SnapshotRead
		default:
			rs[i].Privilege = control.SnapshotWrite
		}
	}
	return rs
}

func snapshotNotFound(id uint64) error {
	return &apiError{Status: http.StatusNotFound, Class: "api_snapshots_snapshot_not_found_error", Text: "No such snapshot: " + strconv.FormatUint(id, 10)}
}

// snapshotParam reads the snapshot that parameter i names.
func (q *request) snapshotParam(i int) (fs.Snapshot, error) {
	id, ok := q.id(i)
	if !ok || id == 0 || fs.SnapshotID(id) == fs.SnapshotDir {
		return fs.Snapshot{}, notFound("%q is no snapshot id", q.params[i])
	}
	s, err := q.s.o.FS.Snapshot(q.Context(), fs.SnapshotID(id))
	if k := fs.KindOf(err); err != nil && (k == fs.NotExist || k == fs.Stale) {
		return s, snapshotNotFound(id)
	}
	return s, err
}

func snapshotTag(s *fs.Snapshot) string {
	deleting := uint64(0)
	if s.InDelete {
		deleting = 1
	}
	return tag(uint64(s.ID), s.Revision, deleting)
}

// snapshotFilter decides what a listing shows.
func (q *request) snapshotFilter() (func(*fs.Snapshot) bool, error) {
	keep := func(deleting, others bool) func(*fs.Snapshot) bool {
		return func(s *fs.Snapshot) bool { return s.InDelete && deleting || !s.InDelete && others }
	}
	if strings.HasPrefix(q.route.Path, "/v3/") {
		switch f := q.arg("filter"); f {
		case "", "all":
			return keep(true, true), nil
		case "exclude_in_delete":
			return keep(false, true), nil
		case "only_in_delete":
			return keep(true, false), nil
		default:
			return nil, badRequest("http_bad_request_error", "filter is %q", f)
		}
	}
	deleting, err := q.argBool("include-in-delete")
	return keep(deleting, true), err
}

func listSnapshots[T any](render func(*fs.Snapshot) T) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		keep, err := q.snapshotFilter()
		if err != nil {
			return reply{}, err
		}
		out := snapshotList[T]{Entries: []T{}}
		err = q.s.o.FS.ListSnapshots(q.Context(), 0, func(s *fs.Snapshot) bool {
			if keep(s) {
				out.Entries = append(out.Entries, render(s))
			}
			return true
		})
		return reply{body: out}, err
	}
}

func takeSnapshot(render func(*fs.Snapshot) any) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		in, err := body[newSnapshot](q)
		if err != nil {
			return reply{}, err
		}
		spec := fs.SnapshotSpec{Root: fs.RootID, Suffix: in.NameSuffix}
		if spec.Suffix == "" {
			spec.Suffix = in.Name
		}
		if spec.Expires, err = q.expiration(in.Expiration); err != nil {
			return reply{}, err
		}
		ref := service.Ref(in.SourcePath)
		if in.SourceFileID.Set {
			ref = service.Ref(strconv.FormatUint(in.SourceFileID.N, 10))
		}
		if ref != "" {
			f, err := q.s.svc.File(q.Context(), q.caller(), ref, 0, fs.AttrType)
			if err != nil {
				return reply{}, q.missing(string(ref), err)
			}
			spec.Root = f.Attr.Node.ID
		}
		s, err := q.s.o.FS.TakeSnapshot(q.Context(), spec)
		return reply{body: render(&s), tag: snapshotTag(&s)}, err
	}
}

// expiration comes from the body or, as a time to live, from the query.
func (q *request) expiration(text string) (time.Time, error) {
	ttl := q.arg("expiration-time-to-live")
	if text != "" && ttl != "" {
		return time.Time{}, badRequest("http_bad_request_error", "expiration and expiration-time-to-live exclude each other")
	}
	if text == "" {
		return timeToLive(ttl, q.s.now())
	}
	t, err := parseTime("expiration", text)
	if err == nil && !t.After(q.s.now()) {
		err = badRequest("http_bad_request_error", "expiration %s is in the past", text)
	}
	return t, err
}

func getSnapshot(render func(*fs.Snapshot) any) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		s, err := q.snapshotParam(0)
		return reply{body: render(&s), tag: snapshotTag(&s)}, err
	}
}

func modifySnapshot(render func(*fs.Snapshot) any, replace bool) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		in, err := body[snapshotPatch](q)
		if err != nil {
			return reply{}, err
		}
		s, err := q.snapshotParam(0)
		if err != nil {
			return reply{}, err
		}
		conditional, err := q.match(snapshotTag(&s))
		if err != nil {
			return reply{}, err
		}
		if n := in.Name.Value; in.Name.Given && n != "" && n != s.Name && n != suffix(&s) {
			return reply{}, badRequest("http_bad_request_error", "a snapshot keeps its name")
		}
		if replace || in.Expiration.Given || q.arg("expiration-time-to-live") != "" {
			if s.Expires, err = q.expiration(in.Expiration.Value); err != nil {
				return reply{}, err
			}
		}
		if !conditional {
			s.Revision = 0
		}
		s, err = q.s.o.FS.ModifySnapshot(q.Context(), s)
		return reply{body: render(&s), tag: snapshotTag(&s)}, err
	}
}

func deleteSnapshot(q *request) (reply, error) {
	s, err := q.snapshotParam(0)
	if err != nil {
		return reply{}, err
	}
	if _, err := q.match(snapshotTag(&s)); err != nil {
		return reply{}, err
	}
	err = q.s.o.FS.DeleteSnapshot(q.Context(), s.ID)
	if err != nil && fs.KindOf(err) == fs.Busy {
		return reply{}, conflict("api_snapshots_snapshot_in_use_error", "snapshot %d is locked or has owners", s.ID)
	}
	return reply{}, err
}

// kept is what those snapshots keep that nothing else does.
func (q *request) kept(ids ...fs.SnapshotID) (u64, error) {
	n, err := q.s.o.FS.SnapshotsKeep(q.Context(), ids)
	if k := fs.KindOf(err); err != nil && k == fs.NotExist {
		return u64{}, notThereAmong(ids, err)
	}
	return num(n), err
}

// notThereAmong names the snapshot that is not there.
func notThereAmong(ids []fs.SnapshotID, err error) error {
	var e *fs.Error
	if errors.As(err, &e) && e.Node.Snap != 0 {
		return snapshotNotFound(uint64(e.Node.Snap))
	}
	return snapshotNotFound(uint64(ids[0]))
}

func usedByThese(q *request) (reply, error) {
	in, err := body[[]uint64](q)
	if err != nil {
		return reply{}, err
	}
	ids := make([]fs.SnapshotID, len(in))
	for i := range in {
		ids[i] = fs.SnapshotID(in[i])
	}
	n, err := q.kept(ids...)
	return reply{body: usedBySnapshots{n}}, err
}

func usedByEach(q *request) (reply, error) {
	ids := []fs.SnapshotID{}
	err := q.s.o.FS.ListSnapshots(q.Context(), 0, func(s *fs.Snapshot) bool {
		if !s.InDelete {
			ids = append(ids, s.ID)
		}
		return true
	})
	if err != nil {
		return reply{}, err
	}
	out := snapshotList[usedBySnapshot]{Entries: []usedBySnapshot{}}
	for _, id := range ids {
		n, err := q.s.o.FS.SnapshotsKeep(q.Context(), []fs.SnapshotID{id})
		switch {
		case fs.KindOf(err) == fs.NotExist && err != nil: // it went meanwhile
		case err != nil:
			return reply{}, err
		default:
			out.Entries = append(out.Entries, usedBySnapshot{uint64(id), num(n)})
		}
	}
	return reply{body: out}, nil
}

func usedByOne(q *request) (reply, error) {
	s, err := q.snapshotParam(0)
	if err != nil {
		return reply{}, err
	}
	n, err := q.kept(s.ID)
	return reply{body: usedBySnapshot{uint64(s.ID), n}}, err
}
