package rest

import (
	"manifold/internal/control"
	"manifold/internal/control/service"
	"manifold/internal/fs"
)

type aggEntry struct {
	Name            string `json:"name"`
	Type            string `json:"type"`
	ID              u64    `json:"id"`
	CapacityUsage   u64    `json:"capacity_usage"`
	DataUsage       u64    `json:"data_usage"`
	MetaUsage       u64    `json:"meta_usage"`
	NumFiles        u64    `json:"num_files"`
	NumDirectories  u64    `json:"num_directories"`
	NumSymlinks     u64    `json:"num_symlinks"`
	NumOther        u64    `json:"num_other_objects"`
	NamedStreamData u64    `json:"named_stream_data_usage"`
	NumNamedStreams u64    `json:"num_named_streams"`
	LogicalSize     u64    `json:"logical_size"`
}

type aggregates struct {
	Path             string     `json:"path"`
	ID               u64        `json:"id"`
	Files            []aggEntry `json:"files"`
	TotalCapacity    u64        `json:"total_capacity"`
	TotalData        u64        `json:"total_data"`
	TotalNamedStream u64        `json:"total_named_stream_data"`
	TotalMeta        u64        `json:"total_meta"`
	TotalFiles       u64        `json:"total_files"`
	TotalDirectories u64        `json:"total_directories"`
	TotalSymlinks    u64        `json:"total_symlinks"`
	TotalOther       u64        `json:"total_other_objects"`
	TotalStreams     u64        `json:"total_named_streams"`
	// TotalLogical is ours: the sum of the sizes of regular files, hard links once.
	TotalLogical u64 `json:"total_logical_size"`
}

const (
	maxAggregates      = 1000
	maxTreeAggregates  = 5000
	defaultTreeDepth   = 10
	maxAggregatesAsked = 10_000
)

func totalRoutes() []route {
	entriesArg := query{"max-entries", "integer", "Only the largest entries."}
	order := query{"order-by", "string", "The figure that ranks entries, as total_blocks or total_files."}
	return []route{
		{Method: "GET", Path: "/v1/files/{ref}/aggregates/", Privilege: control.FSAttributesRead,
			Summary: "Exact totals of a directory and of its largest entries.", Out: aggregates{},
			Query: []query{entriesArg, order, querySnapshot}, handle: getAggregates},
		{Method: "GET", Path: "/v1/files/{ref}/recursive-aggregates/", Privilege: control.FSAttributesRead,
			Summary: "Totals of a tree, breadth first; entries under a tenth of their directory are left out.", Out: []aggregates{},
			Query: []query{entriesArg, {"max-depth", "integer", "Levels to descend, 10 without it."}, order, querySnapshot}, handle: getTreeAggregates},
	}
}

// measures by name, in the words of old and new clients.
var measures = map[string]service.Measure{
	"":                              service.Capacity,
	"total_blocks":                  service.Capacity,
	"total_capacity":                service.Capacity,
	"capacity_usage":                service.Capacity,
	"total_datablocks":              func(t *fs.Totals) uint64 { return t.DataBytes },
	"total_data":                    func(t *fs.Totals) uint64 { return t.DataBytes },
	"data_usage":                    func(t *fs.Totals) uint64 { return t.DataBytes },
	"total_named_stream_datablocks": func(t *fs.Totals) uint64 { return t.StreamBytes },
	"total_named_stream_data":       func(t *fs.Totals) uint64 { return t.StreamBytes },
	"named_stream_data_usage":       func(t *fs.Totals) uint64 { return t.StreamBytes },
	"total_metablocks":              func(t *fs.Totals) uint64 { return t.MetaBytes },
	"total_meta":                    func(t *fs.Totals) uint64 { return t.MetaBytes },
	"meta_usage":                    func(t *fs.Totals) uint64 { return t.MetaBytes },
	"total_files":                   func(t *fs.Totals) uint64 { return t.Files },
	"num_files":                     func(t *fs.Totals) uint64 { return t.Files },
	"total_directories":             func(t *fs.Totals) uint64 { return t.Directories },
	"num_directories":               func(t *fs.Totals) uint64 { return t.Directories },
	"total_symlinks":                func(t *fs.Totals) uint64 { return t.Symlinks },
	"num_symlinks":                  func(t *fs.Totals) uint64 { return t.Symlinks },
	"total_other":                   func(t *fs.Totals) uint64 { return t.Other },
	"total_other_objects":           func(t *fs.Totals) uint64 { return t.Other },
	"num_other_objects":             func(t *fs.Totals) uint64 { return t.Other },
	"total_named_streams":           func(t *fs.Totals) uint64 { return t.Streams },
	"num_named_streams":             func(t *fs.Totals) uint64 { return t.Streams },
}

func (q *request) ranking(or uint64) (service.Measure, int, error) {
	by, ok := measures[q.arg("order-by")]
	if !ok {
		return nil, 0, badRequest("http_bad_request_error", "order-by is %q", q.arg("order-by"))
	}
	n, err := q.argUint("max-entries", or)
	return by, int(min(n, maxAggregatesAsked)), err
}

func getAggregates(q *request) (reply, error) {
	by, n, err := q.ranking(maxAggregates)
	if err != nil {
		return reply{}, err
	}
	f, err := q.file(fs.AttrType)
	if err != nil {
		return reply{}, err
	}
	d, err := q.s.svc.Totals(q.Context(), f, by, n, 0)
	return reply{body: renderTotals(&d)}, err
}

func getTreeAggregates(q *request) (reply, error) {
	by, n, err := q.ranking(maxTreeAggregates)
	if err != nil {
		return reply{}, err
	}
	depth, err := q.argUint("max-depth", defaultTreeDepth)
	if err != nil {
		return reply{}, err
	}
	f, err := q.file(fs.AttrType)
	if err != nil {
		return reply{}, err
	}
	ds, err := q.s.svc.TreeTotals(q.Context(), f, by, min(n, maxTreeAggregates), int(min(depth, 1000)))
	out := []aggregates{}
	for i := range ds {
		out = append(out, renderTotals(&ds[i]))
	}
	return reply{body: out}, err
}

func renderTotals(d *service.DirTotals) aggregates {
	t := &d.Totals
	out := aggregates{
		Path: d.Dir.Path, ID: num(uint64(d.Dir.Attr.Node.ID)), Files: []aggEntry{},
		TotalCapacity: num(service.Capacity(t)), TotalData: num(t.DataBytes), TotalNamedStream: num(t.StreamBytes), TotalMeta: num(t.MetaBytes),
		TotalFiles: num(t.Files), TotalDirectories: num(t.Directories), TotalSymlinks: num(t.Symlinks), TotalOther: num(t.Other),
		TotalStreams: num(t.Streams), TotalLogical: num(t.LogicalBytes),
	}
	for i := range d.Entries {
		e := &d.Entries[i]
		out.Files = append(out.Files, renderAggEntry(e))
	}
	return out
}

func renderAggEntry(e *fs.ChildTotals) aggEntry {
	return aggEntry{
		Name: e.Name, Type: typeText(e.Type), ID: num(uint64(e.ID)),
		CapacityUsage: num(service.Capacity(&e.Totals)), DataUsage: num(e.DataBytes), MetaUsage: num(e.MetaBytes),
		NumFiles: num(e.Files), NumDirectories: num(e.Directories), NumSymlinks: num(e.Symlinks), NumOther: num(e.Other),
		NamedStreamData: num(e.StreamBytes), NumNamedStreams: num(e.Streams), LogicalSize: num(e.LogicalBytes),
	}
}
