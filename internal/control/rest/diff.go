package rest

import (
	"strconv"

	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

type treeChange struct {
	Op   string `json:"op"`
	Path string `json:"path"`
}

type treeDiff struct {
	Entries []treeChange `json:"entries"`
	Paging  paging       `json:"paging"`
}

type fileRegion struct {
	Type   string `json:"type"`
	Offset u64    `json:"offset"`
	Size   u64    `json:"size"`
}

type fileDiff struct {
	Entries []fileRegion `json:"entries"`
	Paging  paging       `json:"paging"`
}

func diffRoutes() []route {
	const path = "/v2/snapshots/{newer_id}/changes-since/{older_id}"
	page := []query{queryAfter, queryLimit}
	return []route{
		{Method: "GET", Path: path, Privilege: control.SnapshotDiffRead, Out: treeDiff{}, Query: page, handle: diffTrees,
			Summary: "What changed in a directory between two of its snapshots; paths are relative to it."},
		{Method: "GET", Path: path + "/files/{ref}", Privilege: control.SnapshotDiffRead, Out: fileDiff{}, Query: page, handle: diffFile,
			Summary: "Regions of a file that changed between two snapshots."},
	}
}

var opNames = map[fs.DiffOp]string{fs.DiffCreate: "CREATE", fs.DiffModify: "MODIFY", fs.DiffDelete: "DELETE"}

// snapshotPair reads both snapshots of a comparison.
func (q *request) snapshotPair() (newer, older fs.Snapshot, err error) {
	if newer, err = q.snapshotParam(0); err != nil {
		return newer, older, err
	}
	if older, err = q.snapshotParam(1); err != nil {
		return newer, older, err
	}
	switch {
	case newer.Root != older.Root:
		err = badRequest("http_bad_request_error", "snapshots %d and %d are of different directories", newer.ID, older.ID)
	case newer.ID < older.ID:
		err = badRequest("http_bad_request_error", "snapshot %d is older than %d", newer.ID, older.ID)
	}
	return newer, older, err
}

func diffTrees(q *request) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	after, err := parseNameKey(p.after)
	if err != nil {
		return reply{}, err
	}
	newer, older, err := q.snapshotPair()
	if err != nil {
		return reply{}, err
	}
	out := treeDiff{Entries: []treeChange{}}
	err = q.s.o.FS.DiffSnapshots(q.Context(), older.ID, newer.ID, after, func(d *fs.DiffEntry) bool {
		if n := len(out.Entries); n == p.limit {
			out.Paging.Next = q.next(p, nameKey(out.Entries[n-1].Path))
			return false
		}
		out.Entries = append(out.Entries, treeChange{opNames[d.Op], d.Path})
		return true
	})
	return reply{body: out}, err
}

func diffFile(q *request) (reply, error) {
	p, err := q.page()
	if err != nil {
		return reply{}, err
	}
	off, err := p.number()
	if err != nil {
		return reply{}, err
	}
	newer, older, err := q.snapshotPair()
	if err != nil {
		return reply{}, err
	}
	f, err := q.s.svc.File(q.Context(), q.caller(), service.Ref(q.params[2]), newer.ID, fs.AttrType)
	if err != nil {
		return reply{}, q.missing(q.params[2], err)
	}
	if err := regular(&f); err != nil {
		return reply{}, err
	}
	out := fileDiff{Entries: []fileRegion{}}
	err = q.s.o.FS.DiffFile(q.Context(), older.ID, newer.ID, f.Attr.Node.ID, off, func(r fs.Region) bool {
		if len(out.Entries) == p.limit {
			out.Paging.Next = q.next(p, strconv.FormatUint(r.Offset, 10))
			return false
		}
		kind := "FILE_REGION_DATA"
		if r.Hole {
			kind = "FILE_REGION_HOLE"
		}
		out.Entries = append(out.Entries, fileRegion{kind, num(r.Offset), num(r.Length)})
		return true
	})
	return reply{body: out}, err
}
