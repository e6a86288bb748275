package rest

import (
	"net/http"

	"manifold/internal/control"
)

type scrubStatus struct {
	Running   bool     `json:"running"`
	StartTime string   `json:"start_time"` // "" if there never was one
	EndTime   string   `json:"end_time"`   // "" while it runs
	Complete  bool     `json:"complete"`
	Extents   u64      `json:"extents"`
	Bytes     u64      `json:"bytes"`
	Segments  u64      `json:"segments"`
	Findings  u64      `json:"findings"`
	Damage    []string `json:"damage"`
}

type scrubRequest struct {
	// BytesPerSecond bounds reading; absent or zero is no bound.
	BytesPerSecond u64 `json:"bytes_per_second"`
}

func scrubRoutes() []route {
	const path = "/v1/scrub"
	return []route{
		{Method: "GET", Path: path, Privilege: control.ChecksummingRead, Summary: "The running scrub of this node, else the last.", Out: scrubStatus{}, handle: getScrub},
		{Method: "POST", Path: path, Privilege: control.ClusterWrite, Status: http.StatusAccepted, In: scrubRequest{}, Out: scrubStatus{},
			Summary: "Verify every stored byte of this node against its checksum, in the background. A running scrub goes on.", handle: startScrub},
		{Method: "DELETE", Path: path, Privilege: control.ClusterWrite, Out: scrubStatus{}, Summary: "Stop the running scrub.", handle: stopScrub},
	}
}

func renderScrub(s control.ScrubStatus, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	out := scrubStatus{Running: s.Running, Complete: s.Complete, Extents: num(s.Extents), Bytes: num(s.Bytes), Segments: num(s.Segments), Findings: num(s.Findings), Damage: s.Damage}
	if out.Damage == nil {
		out.Damage = []string{}
	}
	if !s.Started.IsZero() {
		out.StartTime = timestamp(s.Started)
	}
	if !s.Ended.IsZero() {
		out.EndTime = timestamp(s.Ended)
	}
	return reply{body: out}, nil
}

func getScrub(q *request) (reply, error) { return renderScrub(q.s.o.Scrubber.ScrubStatus(q.Context())) }

func startScrub(q *request) (reply, error) {
	in, err := body[scrubRequest](q)
	if err != nil {
		return reply{}, err
	}
	if in.BytesPerSecond.N > 1<<40 {
		return reply{}, decodeError("bytes_per_second is %d, at most %d makes sense", in.BytesPerSecond.N, uint64(1<<40))
	}
	return renderScrub(q.s.o.Scrubber.StartScrub(q.Context(), int64(in.BytesPerSecond.N)))
}

func stopScrub(q *request) (reply, error) { return renderScrub(q.s.o.Scrubber.StopScrub(q.Context())) }
