package rest

import (
	"errors"
	"math"
	"strconv"

	"manifold/internal/config"
	"manifold/internal/control"
)

type activityEntry struct {
	ID   u64     `json:"id"`
	IP   string  `json:"ip"`
	Rate float64 `json:"rate"`
	Type string  `json:"type"`
}

type activityList struct {
	Entries []activityEntry `json:"entries"`
}

type seriesRecord struct {
	ID     string    `json:"id"`
	Times  []int64   `json:"times"`
	Values []float64 `json:"values"`
}

type capacityRecord struct {
	Start     int64  `json:"period_start_time"`
	Used      u64    `json:"capacity_used"`
	Data      u64    `json:"data_used"`
	Metadata  u64    `json:"metadata_used"`
	Snapshot  u64    `json:"snapshot_used"`
	Usable    u64    `json:"total_usable"`
	Available string `json:"details_status"`
}

type largestPaths struct {
	Threshold u64         `json:"threshold_for_inclusion"`
	Status    string      `json:"status"`
	Paths     []largePath `json:"largest_paths"`
}

type largePath struct {
	Used u64    `json:"capacity_used"`
	Path string `json:"path"`
}

func analyticsRoutes() []route {
	const read = control.AnalyticsRead
	return []route{
		{Method: "GET", Path: "/v1/analytics/activity/current", Privilege: read, Summary: "What each client does to each object, in operations or bytes a second over the last seconds.",
			Out: activityList{}, Query: []query{{"type", "string", "Only rates of a type, as file-iops-read or file-throughput-write."}}, handle: func(q *request) (reply, error) { return activity(q, activityTypes) }},
		{Method: "GET", Path: "/v1/analytics/iops", Privilege: read, Summary: "Operations of each client on each object. For old clients.",
			Out: activityList{}, Query: []query{{"type", "string", "read, write, namespace-read or namespace-write."}}, handle: func(q *request) (reply, error) { return activity(q, oldActivityTypes) }},
		{Method: "GET", Path: "/v1/analytics/time-series/", Privilege: read, Summary: "Operations and bytes a second of the whole system over the last day, since the server started.",
			Out: []seriesRecord{}, Query: []query{{"begin-time", "integer", "Only from there on, in seconds since 1970."}}, handle: timeSeries},
	}
}

func capacityRoutes() []route {
	const read = control.AnalyticsRead
	return []route{
		{Method: "GET", Path: "/v1/analytics/capacity-history/", Privilege: read, Summary: "What the file system took, by the hour, day or week.", Out: []capacityRecord{},
			Query: []query{{"begin-time", "integer", "Seconds since 1970."}, {"end-time", "integer", "Seconds since 1970; until now without it."}, {"interval", "string", "hourly, daily or weekly; hourly without it."}}, handle: capacityHistory},
		{Method: "GET", Path: "/v1/analytics/capacity-history/{timestamp}/", Privilege: read, Summary: "The paths that took the most at a time.", Out: largestPaths{}, handle: largestAt},
	}
}

// activityName is what a type is called.
type activityName struct {
	name string
	of   control.ActivityType
}

// activityTypes and oldActivityTypes are what may be asked for.
var (
	activityTypes = []activityName{
		{"file-iops-read", control.FileReads}, {"file-iops-write", control.FileWrites}, {"metadata-iops-read", control.MetadataReads},
		{"metadata-iops-write", control.MetadataWrites}, {"file-throughput-read", control.BytesRead}, {"file-throughput-write", control.BytesWritten},
	}
	oldActivityTypes = []activityName{
		{"read", control.FileReads}, {"write", control.FileWrites}, {"namespace-read", control.MetadataReads}, {"namespace-write", control.MetadataWrites},
	}
)

func activity(q *request, types []activityName) (reply, error) {
	var only control.ActivityType
	if want := q.arg("type"); want != "" {
		for _, t := range types {
			if t.name == want {
				only = t.of
			}
		}
		if only == "" {
			return reply{}, badRequest("http_bad_request_error", "type is %q", want)
		}
	}
	out := activityList{Entries: []activityEntry{}}
	for _, a := range q.s.o.Analytics.Activity(only) {
		for _, t := range types {
			if t.of == a.Type {
				e := activityEntry{ID: num(uint64(a.File)), Rate: a.Rate, Type: t.name}
				if a.Client.IsValid() {
					e.IP = a.Client.String()
				}
				out.Entries = append(out.Entries, e)
			}
		}
	}
	return reply{body: out}, nil
}

// argTime is a time in seconds since 1970.
func (q *request) argTime(name string, or int64) (int64, error) {
	s := q.arg(name)
	if s == "" {
		return or, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, badRequest("http_bad_request_error", "%s is %q, want seconds since 1970", name, s)
	}
	return n, nil
}

func timeSeries(q *request) (reply, error) {
	begin, err := q.argTime("begin-time", 0)
	if err != nil {
		return reply{}, err
	}
	out := []seriesRecord{}
	for _, s := range q.s.o.Analytics.Series(begin) {
		out = append(out, seriesRecord{s.ID, append([]int64{}, s.Times...), append([]float64{}, s.Values...)})
	}
	return reply{body: out}, nil
}

// Hours of the periods of a history. Weeks begin on Mondays, as the fifth day
// of 1970 was one.
var periods = map[string]struct{ hours, first uint64 }{"": {1, 0}, "hourly": {1, 0}, "daily": {24, 0}, "weekly": {7 * 24, 4 * 24}}

func capacityHistory(q *request) (reply, error) {
	begin, err := q.argTime("begin-time", 0)
	if err != nil {
		return reply{}, err
	}
	end, err := q.argTime("end-time", math.MaxInt64)
	if err != nil {
		return reply{}, err
	}
	period, ok := periods[q.arg("interval")]
	if !ok {
		return reply{}, badRequest("http_bad_request_error", "interval is %q, want hourly, daily or weekly", q.arg("interval"))
	}
	recs, err := q.s.o.Capacity.Capacities(q.Context(), uint64(begin+3599)/3600, uint64(end)/3600)
	if err != nil {
		return reply{}, err
	}
	details, err := q.s.o.Capacity.LargePathHours(q.Context())
	if err != nil {
		return reply{}, err
	}
	out := []capacityRecord{}
	var last uint64
	for i, r := range recs {
		// The first record of a period stands for it.
		p := (r.ID + period.hours - period.first%period.hours) / period.hours
		if i > 0 && p == last {
			continue
		}
		last = p
		v := &r.Value
		c := capacityRecord{int64(r.ID) * 3600, num(v.Used), num(v.Data), num(v.Metadata), num(v.Snapshot), num(v.Usable), "UNAVAILABLE"}
		if details[r.ID] {
			c.Available = "AVAILABLE"
		}
		out = append(out, c)
	}
	return reply{body: out}, nil
}

func largestAt(q *request) (reply, error) {
	at, ok := q.id(0)
	if !ok {
		return reply{}, notFound("%q is no time in seconds since 1970", q.params[0])
	}
	out := largestPaths{Threshold: num(0), Status: "UNAVAILABLE", Paths: []largePath{}}
	r, err := q.s.o.Capacity.LargePaths(q.Context(), at/3600)
	if errors.Is(err, config.ErrNotFound) {
		return reply{body: out}, nil
	}
	if err != nil {
		return reply{}, err
	}
	out.Threshold, out.Status = num(r.Value.Threshold), "AVAILABLE"
	for _, p := range r.Value.Paths {
		out.Paths = append(out.Paths, largePath{num(p.Used), p.Path})
	}
	return reply{body: out}, nil
}
