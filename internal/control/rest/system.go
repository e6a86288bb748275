package rest

import (
	"io"
	"net/http"
	"strconv"
	"strings"

	"manifold/internal/control"
	"manifold/internal/fs"
	"manifold/internal/ports"
)

// revision is what clients test their own minimum against: the release whose
// interface this is. Our own version is the build id.
const revision = "Qumulo Core 7.2.3"

type version struct {
	RevisionID string `json:"revision_id"`
	BuildID    string `json:"build_id"`
	Flavor     string `json:"flavor"`
	BuildDate  string `json:"build_date"`
}

type nodeState struct {
	NodeID    uint64 `json:"node_id"`
	State     string `json:"state"`
	ClusterID string `json:"cluster_id"`
}

type nodeInfo struct {
	ID           uint64 `json:"id"`
	NodeStatus   string `json:"node_status"`
	NodeName     string `json:"node_name"`
	UUID         string `json:"uuid"`
	Label        string `json:"label"`
	ModelNumber  string `json:"model_number"`
	SerialNumber string `json:"serial_number"`
	MACAddress   string `json:"mac_address"`
}

type fileSystem struct {
	BlockSize uint64 `json:"block_size_bytes"`
	Total     u64    `json:"total_size_bytes"`
	Free      u64    `json:"free_size_bytes"`
	Snapshots u64    `json:"snapshot_size_bytes"`
}

type checksumming struct {
	Status string `json:"status"`
}

type portList struct {
	Entries []ports.Listing `json:"entries"`
}

func systemRoutes() []route {
	return []route{
		{Method: "GET", Path: "/v1/version", Public: true, Summary: "Release of the interface and build of the server.", Out: version{}, handle: getVersion},
		{Method: "GET", Path: "/v1/node/state", Summary: "State of the node that answers.", Out: nodeState{}, handle: getNodeState},
		{Method: "GET", Path: "/v1/cluster/nodes/", Privilege: control.ClusterRead, Summary: "All nodes.", Out: []nodeInfo{}, handle: listNodes},
		{Method: "GET", Path: "/v1/cluster/nodes/{id}", Privilege: control.ClusterRead, Summary: "One node.", Out: nodeInfo{}, handle: getNode},
		{Method: "GET", Path: "/v1/file-system", Privilege: control.FSAttributesRead, Summary: "Size, free space and space of snapshots.", Out: fileSystem{}, handle: getFileSystem},
		{Method: "GET", Path: "/v1/checksumming/status", Privilege: control.ChecksummingRead, Summary: "Whether what is stored is checksummed, which it always is.", Out: checksumming{},
			handle: func(*request) (reply, error) { return reply{body: checksumming{"ENABLED"}}, nil }},
		{Method: "GET", Path: "/openapi.json", Public: true, Summary: "This description.", Out: map[string]any{}, handle: getAPI},
	}
}

func metricsRoutes() []route {
	const token = " The token in the data directory reads metrics and nothing else."
	return []route{
		{Method: "GET", Path: "/v2/metrics/endpoints/default/data", Privilege: control.MetricsRead,
			Summary: "All metrics as OpenMetrics text; histograms have one bucket." + token, Out: "",
			handle: func(q *request) (reply, error) { return getMetrics(q, q.s.o.Metrics.Write) }},
		{Method: "GET", Path: "/v2/metrics/endpoints/internal/data", Privilege: control.MetricsRead,
			Summary: "The same with all buckets of histograms." + token, Out: "",
			handle: func(q *request) (reply, error) { return getMetrics(q, q.s.o.Metrics.WriteAll) }},
	}
}

func portRoutes() []route {
	return []route{{
		Method: "GET", Path: "/v1/ports", Privilege: control.NetworkRead,
		Summary: "Every port that the server listens on or connects to.", Out: portList{}, handle: getPorts,
	}}
}

func getVersion(q *request) (reply, error) {
	return reply{body: version{revision, q.s.o.Release.BuildID, "release", q.s.o.Release.Date}}, nil
}

func getNodeState(q *request) (reply, error) {
	c, err := q.s.o.Members.Cluster(q.Context())
	return reply{body: nodeState{uint64(q.s.o.NodeID), "ACTIVE", c.Value.UUID}}, err
}

func (q *request) node(id uint64) (nodeInfo, error) {
	n, err := q.s.o.Members.Node(q.Context(), id)
	return nodeInfo{ID: id, NodeStatus: "online", NodeName: n.Value.Name, UUID: n.Value.UUID, Label: n.Value.Name}, err
}

func listNodes(q *request) (reply, error) {
	n, err := q.node(uint64(q.s.o.NodeID))
	return reply{body: []nodeInfo{n}}, err
}

func getNode(q *request) (reply, error) {
	id, ok := q.id(0)
	if !ok || id != uint64(q.s.o.NodeID) {
		return reply{}, notFound("there is no node %s", q.params[0])
	}
	n, err := q.node(id)
	return reply{body: n}, err
}

func getFileSystem(q *request) (reply, error) {
	st, err := q.s.o.FS.StatFS(q.Context(), q.caller(), fs.Root)
	return reply{body: fileSystem{fs.BlockSize, num(st.TotalBytes), num(st.FreeBytes), num(st.SnapshotBytes)}}, err
}

func getPorts(q *request) (reply, error) {
	return reply{body: portList{q.s.o.Ports.Listings()}}, nil
}

func getAPI(q *request) (reply, error) {
	writeJSON(q.w, http.StatusOK, q.s.api())
	return reply{done: true}, nil
}

func getMetrics(q *request, write func(io.Writer) error) (reply, error) {
	var b strings.Builder
	if err := write(&b); err != nil {
		return reply{}, err
	}
	h := q.w.Header()
	h.Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	q.w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(q.w, b.String()) // the peer's loss
	return reply{done: true}, nil
}
