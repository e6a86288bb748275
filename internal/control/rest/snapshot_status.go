package rest

import (
	"strconv"
	"strings"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

type snapshotOwner struct {
	ID string `json:"id"`
}

type snapshotStatusV2 struct {
	ID              uint64          `json:"id"`
	Name            string          `json:"name"`
	Timestamp       string          `json:"timestamp"`
	DirectoryName   string          `json:"directory_name"`
	SourceFileID    u64             `json:"source_file_id"`
	SourceFilePath  string          `json:"source_file_path"`
	CreatedByPolicy bool            `json:"created_by_policy"`
	Expiration      string          `json:"expiration"`
	Owners          []snapshotOwner `json:"owners"`
}

type snapshotStatusV3 struct {
	ID             uint64          `json:"id"`
	Name           string          `json:"name"`
	Timestamp      string          `json:"timestamp"`
	SourceFileID   u64             `json:"source_file_id"`
	SourceFilePath string          `json:"source_file_path"`
	PolicyID       *uint64         `json:"policy_id"`
	PolicyName     *string         `json:"policy_name"`
	Expiration     *string         `json:"expiration"`
	Owners         []snapshotOwner `json:"owners"`
	InDelete       bool            `json:"in_delete"`
	LockKey        *string         `json:"lock_key"`
}

func snapshotStatusRoutes() []route {
	rs := []route{
		{Method: "GET", Path: "/v2/snapshots/status/", Summary: "All snapshots with paths and owners.", Out: snapshotList[snapshotStatusV2]{}, handle: listStatus(statusV2)},
		{Method: "GET", Path: "/v2/snapshots/status/{id}", Summary: "One snapshot with path and owners.", Out: snapshotStatusV2{}, handle: getStatus(statusV2)},
		{Method: "GET", Path: "/v3/snapshots/status/", Summary: "All snapshots with policies and locks.", Out: snapshotList[snapshotStatusV3]{},
			Query: []query{{"filter", "string", "all, exclude_in_delete or only_in_delete."}}, handle: listStatus(statusV3)},
		{Method: "GET", Path: "/v3/snapshots/status/{id}", Summary: "One snapshot with policy and lock.", Out: snapshotStatusV3{}, handle: getStatus(statusV3)},
		{Method: "GET", Path: "/v4/snapshots/status/", Summary: "All snapshots with policies and locks.", Out: snapshotList[snapshotStatusV3]{},
			Query: []query{{"filter", "string", "Comma-separated states to leave out, as api_snapshots_exclude_in_delete."}}, handle: listStatus(statusV3)},
	}
	for i := range rs {
		rs[i].Privilege = control.SnapshotRead
	}
	return rs
}

// pathNow is where the snapshotted directory is today, else where it was.
func (q *request) pathNow(s *fs.Snapshot) string {
	f, err := q.s.svc.File(q.Context(), q.caller(), service.Ref(strconv.FormatUint(uint64(s.Root), 10)), 0, fs.AttrType)
	if err == nil {
		return f.Path
	}
	return renderV1(s).SourcePath
}

func owners(s *fs.Snapshot) []snapshotOwner {
	out := []snapshotOwner{}
	for _, o := range s.Owners {
		out = append(out, snapshotOwner{o})
	}
	return out
}

func statusV2(q *request, s *fs.Snapshot) snapshotStatusV2 {
	v := renderV2(s)
	return snapshotStatusV2{v.ID, v.Name, v.Timestamp, v.DirectoryName, v.SourceFileID, q.pathNow(s), v.CreatedByPolicy, v.Expiration, owners(s)}
}

func statusV3(q *request, s *fs.Snapshot) snapshotStatusV3 {
	v := renderV3(s)
	out := snapshotStatusV3{v.ID, v.Name, v.Timestamp, v.SourceFileID, q.pathNow(s), v.PolicyID, nil, v.Expiration, owners(s), v.InDelete, nil}
	if s.LockKey != "" {
		out.LockKey = &s.LockKey
	}
	if s.Policy != 0 && q.s.o.Policies != nil {
		if p, err := q.s.o.Policies.Policy(q.Context(), s.Policy); err == nil { // else it is gone
			out.PolicyName = &p.Value.Name
		}
	}
	return out
}

// statusFilter is that of v4, whose states combine, or that of the listings.
func (q *request) statusFilter() (func(*fs.Snapshot) bool, error) {
	if !strings.HasPrefix(q.route.Path, "/v4/") {
		return q.snapshotFilter()
	}
	drop := map[string]bool{}
	for _, f := range strings.Split(q.arg("filter"), ",") {
		name, ok := strings.CutPrefix(f, "api_snapshots_exclude_")
		switch {
		case f == "" || f == "all":
		case !ok || name != "in_delete" && name != "not_in_delete" && name != "locked" && name != "not_locked":
			return nil, badRequest("http_bad_request_error", "filter is %q", f)
		default:
			drop[name] = true
		}
	}
	return func(s *fs.Snapshot) bool {
		state := func(on bool, name string) bool {
			if !on {
				name = "not_" + name
			}
			return !drop[name]
		}
		return state(s.InDelete, "in_delete") && state(s.LockKey != "", "locked")
	}, nil
}

func listStatus[T any](render func(*request, *fs.Snapshot) T) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		keep, err := q.statusFilter()
		if err != nil {
			return reply{}, err
		}
		// Rendering asks the file system again, so not within its listing.
		var all []fs.Snapshot
		err = q.s.o.FS.ListSnapshots(q.Context(), 0, func(s *fs.Snapshot) bool {
			if keep(s) {
				all = append(all, *s)
			}
			return true
		})
		out := snapshotList[T]{Entries: []T{}}
		for i := range all {
			out.Entries = append(out.Entries, render(q, &all[i]))
		}
		return reply{body: out}, err
	}
}

func getStatus[T any](render func(*request, *fs.Snapshot) T) func(*request) (reply, error) {
	return func(q *request) (reply, error) {
		s, err := q.snapshotParam(0)
		if err != nil {
			return reply{}, err
		}
		return reply{body: render(q, &s), tag: snapshotTag(&s)}, nil
	}
}
