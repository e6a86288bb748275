package rest

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

type treeDeleteJob struct {
	ID                   u64     `json:"id"`
	CreateTime           string  `json:"create_time"`
	Mode                 string  `json:"mode"`
	InitialPath          string  `json:"initial_path"`
	InitialCapacity      u64     `json:"initial_capacity"`
	InitialDirectories   u64     `json:"initial_directories"`
	InitialFiles         u64     `json:"initial_files"`
	RemainingCapacity    u64     `json:"remaining_capacity"`
	RemainingDirectories u64     `json:"remaining_directories"`
	RemainingFiles       u64     `json:"remaining_files"`
	LastErrorMessage     *string `json:"last_error_message"`
}

type treeDeleteList struct {
	Jobs []treeDeleteJob `json:"jobs"`
}

type treeDeleteRequest struct {
	ID string `json:"id"`
}

type monitor struct {
	MonitorURI string `json:"monitor_uri"`
}

func treeDeleteRoutes() []route {
	const all, one = "/v1/tree-delete/jobs/", "/v1/tree-delete/jobs/{id}"
	return []route{
		{Method: "GET", Path: all, Privilege: control.TreeDeleteRead, Summary: "Running deletions of trees.", Out: treeDeleteList{}, handle: listTreeDeletes},
		{Method: "POST", Path: all, Privilege: control.TreeDeleteWrite, Status: http.StatusAccepted, In: treeDeleteRequest{}, Out: monitor{},
			Summary: "Delete a directory with all below it, named by id or URL-encoded path. Its path is gone at once.", handle: startTreeDelete},
		{Method: "POST", Path: "/v1/tree-delete/jobs/restart/{id}", Privilege: control.TreeDeleteWrite, Status: http.StatusAccepted, Out: monitor{},
			Summary: "Go on with a deletion that met an error; 404 once it is done.", handle: restartTreeDelete},
		{Method: "GET", Path: one, Privilege: control.TreeDeleteRead, Summary: "Progress of a deletion; 404 once it is done.", Out: treeDeleteJob{}, handle: getTreeDelete},
		{Method: "POST", Path: "/v1/files/{ref}/delete-tree", Privilege: control.TreeDeleteWrite, Status: http.StatusAccepted, Out: monitor{},
			Summary: "Delete a directory with all below it. For old clients.", handle: func(q *request) (reply, error) { return deleteTree(q, q.params[0]) }},
		{Method: "GET", Path: "/v1/files/{ref}/delete-tree/status", Privilege: control.TreeDeleteRead, Summary: "Progress of a deletion; 404 once it is done. For old clients.",
			Out: treeDeleteJob{}, handle: getTreeDeleteOf},
		{Method: "DELETE", Path: one, Privilege: control.TreeDeleteWrite, Summary: "Stop a deletion; what is gone stays gone.", handle: cancelTreeDelete},
	}
}

func renderTreeDelete(j *fs.TreeDelete) treeDeleteJob {
	out := treeDeleteJob{
		ID: num(uint64(j.ID)), CreateTime: timestamp(j.Created), Mode: "IN_PLACE", InitialPath: j.InitialPath,
		InitialCapacity: num(service.Capacity(&j.Initial)), InitialDirectories: num(j.Initial.Directories), InitialFiles: num(j.Initial.Files),
		RemainingCapacity: num(service.Capacity(&j.Remaining)), RemainingDirectories: num(j.Remaining.Directories), RemainingFiles: num(j.Remaining.Files),
	}
	if j.LastError != "" {
		out.LastErrorMessage = &j.LastError
	}
	return out
}

func listTreeDeletes(q *request) (reply, error) {
	out := treeDeleteList{Jobs: []treeDeleteJob{}}
	err := q.s.o.FS.ListTreeDeletes(q.Context(), func(j *fs.TreeDelete) bool {
		out.Jobs = append(out.Jobs, renderTreeDelete(j))
		return true
	})
	return reply{body: out}, err
}

func startTreeDelete(q *request) (reply, error) {
	in, err := body[treeDeleteRequest](q)
	if err != nil {
		return reply{}, err
	}
	ref := in.ID
	if !strings.HasPrefix(ref, "/") { // else it is a path as it stands
		if ref, err = url.PathUnescape(ref); err != nil {
			return reply{}, decodeError("id is %q, want a file id or URL-encoded path", in.ID)
		}
	}
	return deleteTree(q, ref)
}

func deleteTree(q *request, ref string) (reply, error) {
	f, err := q.other(ref, 0, fs.AttrType)
	if err != nil {
		return reply{}, err
	}
	if f.Attr.Type != fs.Directory {
		return reply{}, ofKind(fs.NotDir, nil)
	}
	j, err := q.s.o.FS.StartTreeDelete(q.Context(), q.caller(), f.Attr.Node.ID)
	if err != nil {
		return reply{}, q.missing(ref, err)
	}
	return reply{body: monitorOf(j.ID)}, nil
}

func monitorOf(job fs.FileID) monitor {
	return monitor{"v1/tree-delete/jobs/" + strconv.FormatUint(uint64(job), 10)}
}

// restartTreeDelete finds out whether there is something to go on with. The
// file system tries again by itself what has met an error.
func restartTreeDelete(q *request) (reply, error) {
	id, ok := q.id(0)
	if !ok {
		return reply{}, q.noJob(nil)
	}
	j, err := q.s.o.FS.TreeDelete(q.Context(), fs.FileID(id))
	if err != nil {
		return reply{}, q.noJob(err)
	}
	return reply{body: monitorOf(j.ID)}, nil
}

// noJob turns "does not exist" into the class that clients wait for.
func (q *request) noJob(err error) error {
	if k := fs.KindOf(err); err != nil && k != fs.NotExist && k != fs.Stale {
		return err
	}
	return notFound("tree deletion %s has finished or was never started", q.params[0])
}

func getTreeDelete(q *request) (reply, error) {
	id, ok := q.id(0)
	if !ok {
		return reply{}, q.noJob(nil)
	}
	j, err := q.s.o.FS.TreeDelete(q.Context(), fs.FileID(id))
	if err != nil {
		return reply{}, q.noJob(err)
	}
	return reply{body: renderTreeDelete(&j)}, nil
}

// getTreeDeleteOf finds the job by its directory. The path of a directory that
// is being deleted leads nowhere, so only an id finds one.
func getTreeDeleteOf(q *request) (reply, error) {
	id, ok := service.Ref(q.params[0]).ID()
	if !ok {
		return reply{}, q.noJob(nil)
	}
	j, err := q.s.o.FS.TreeDelete(q.Context(), id)
	if err != nil {
		return reply{}, q.noJob(err)
	}
	return reply{body: renderTreeDelete(&j)}, nil
}

func cancelTreeDelete(q *request) (reply, error) {
	id, ok := q.id(0)
	if !ok {
		return reply{}, q.noJob(nil)
	}
	if err := q.s.o.FS.CancelTreeDelete(q.Context(), fs.FileID(id)); err != nil {
		return reply{}, q.noJob(err)
	}
	return reply{}, nil
}
